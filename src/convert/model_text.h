// The text files that travel with a model: tokenizer, chat template, sampling defaults.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "io/model_files.h"

namespace raison {

// The text files beside the weights; empty = not written.
struct ModelText {
  std::string tokenizer_json, tokenizer_config_json, chat_template_jinja;
  nlohmann::ordered_json generation_config;  // null = not written
};

// Those of a model on disk: a HF folder's as they are, a GGUF's translated.
Result<ModelText> read_model_text(const ModelFiles& files);
// Into a HF folder.
Status write_model_text(const ModelText& text, const std::string& folder);

// tokenizer.ggml.*, tokenizer.chat_template and general.sampling.* of a HF folder, for a GGUF whose embedding has `vocab` rows (the
// token list is filled up to them). A folder without tokenizer gives what generation_config.json says alone.
Result<Metadata> gguf_text(const ModelFiles& files, int64_t vocab);

}  // namespace raison
