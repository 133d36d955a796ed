// ModelFiles: a model as it lies on disk, HF folder or GGUF file, before any architecture is known.
#pragma once
#include <nlohmann/json.hpp>

#include "io/gguf.h"
#include "io/safetensors.h"

namespace raison {

// Sampling defaults of generation_config.json; unset = not given there.
struct GenerationDefaults {
  std::optional<bool> do_sample;
  std::optional<double> temperature, top_p, min_p, typical_p, repetition_penalty;
  std::optional<int64_t> top_k, max_new_tokens;
  std::vector<int64_t> eos_ids;  // eos_token_id, number or list
  std::optional<int64_t> bos_id, pad_id;
};

struct ModelFiles {
  enum class Format { HfFolder, Gguf };
  Format format = Format::HfFolder;
  std::string path;                       // as the user named it
  std::shared_ptr<TensorSource> tensors;  // never null
  std::shared_ptr<GgufFile> gguf;         // set for Gguf
  nlohmann::json config;                  // HF config.json (object) or null
  GenerationDefaults generation;
  // Paths within the folder, empty if absent: tokenizer.json, tokenizer_config.json, chat_template.jinja
  std::string tokenizer_json, tokenizer_config_json, chat_template_jinja;

  // A folder with config.json, or a GGUF file (recognised by its magic, not by its name); of a model in several GGUF files any
  // part. One-line errors.
  // load_weights = false leaves the weights of a HF folder unopened (tensors is then an empty source): for tokenize, render.
  static Result<ModelFiles> open(const std::string& path, bool load_weights = true);
};

// JSON files with one-line errors ("FILE: not valid JSON at byte N: ..."); refuses nesting over 64 deep and files over 512 MB, and
// with unique_keys a key that occurs twice in its object (else the last one counts).
Result<nlohmann::json> read_json_file(const std::string& path, bool unique_keys = false);

// HF config keys old and new style, one place: typed readers over `config` that say which key is wrong.
// integer_in("hidden_size", 1, 1 << 20): missing, non-integer or out of range is an error naming path, key and bounds.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& config, std::string where) : config_(config), where_(std::move(where)) {}
  Result<int64_t> integer(const std::string& key, int64_t lo, int64_t hi) const;
  Result<int64_t> integer_or(const std::string& key, int64_t fallback, int64_t lo,
                             int64_t hi) const;  // null counts as missing
  Result<double> number(const std::string& key, double lo, double hi) const;
  Result<double> number_or(const std::string& key, double fallback, double lo, double hi) const;
  Result<bool> boolean_or(const std::string& key, bool fallback) const;
  Result<std::string> string_or(const std::string& key, const std::string& fallback) const;
  bool has(const std::string& key) const;  // present and not null
  const nlohmann::json& json() const { return config_; }
  const std::string& where() const { return where_; }
  Error bad(const std::string& key, const std::string& why) const;

 private:
  const nlohmann::json& config_;
  std::string where_;
};

}  // namespace raison
