// Export: a model as a HF folder that any HF-format reader loads, and the tokenizer files that travel with it.
#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "io/model_files.h"
#include "models/model.h"
#include "tokenizer/tokenizer.h"

namespace raison {

// The text files beside the weights; empty = not written.
struct ModelText {
  std::string tokenizer_json, tokenizer_config_json, chat_template_jinja;
  nlohmann::ordered_json generation_config;  // null = not written
};

// Those of a model on disk: a HF folder's as they are, a GGUF's translated.
Result<ModelText> read_model_text(const ModelFiles& files);

// Ok if a model may be exported to `folder`: it is absent, empty, or holds a model.
Status check_export_folder(const std::string& folder);

// config.json, generation_config.json, model.safetensors (type: F32 or BF16), tokenizer.json, tokenizer_config.json,
// chat_template.jinja. The folder appears whole: written beside `folder` and renamed; a folder that was there is replaced.
Status export_model(const Model& model, const ModelText& text, DType type, const std::string& folder);

}  // namespace raison
