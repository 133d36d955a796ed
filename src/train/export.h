// Export: a model as a HF folder that any HF-format reader loads, and the tokenizer files that travel with it.
#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "convert/model_text.h"
#include "io/model_files.h"
#include "models/model.h"
#include "tokenizer/tokenizer.h"

namespace raison {

// Ok if a model may be exported to `folder`: it is absent, empty, or holds a model.
Status check_export_folder(const std::string& folder);

// config.json, generation_config.json, model.safetensors (type: F32 or BF16), tokenizer.json, tokenizer_config.json,
// chat_template.jinja. The folder appears whole: written beside `folder` and renamed; a folder that was there is replaced.
Status export_model(const Model& model, const ModelText& text, DType type, const std::string& folder);

}  // namespace raison
