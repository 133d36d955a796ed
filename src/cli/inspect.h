// What a model is, read from headers and configs only.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "models/model.h"

namespace raison::cli {

struct TypeCount {
  std::string type;
  int64_t tensors = 0, elements = 0;
  uint64_t bytes = 0;
};

struct TokenizerFacts {
  std::string kind;  // "BPE"
  int64_t vocabulary = 0;
  std::string bos, eos;
  bool has_template = false;
  bool think_tokens = false;          // <think> and </think> are single tokens
  bool prompt_opens_thought = false;  // the template's prompt ends inside <think>
  bool template_knows_thought = false;
  std::string template_problem;  // why it could not be read or rendered
};

struct Inspection {
  std::string path, format;  // "HF folder", "GGUF v3", "safetensors file", "tokenizer folder"
  std::string name;          // what the file calls itself, may be empty
  std::string title;         // our honest name: "Qwen2 1.5B"
  std::string remark;        // e.g. that a distill is not R1 itself
  std::string architecture, hf_class;
  std::optional<ModelInfo> info;  // of an architecture known here
  std::string unsupported;        // why raison cannot run it, empty if it can
  int64_t parameters = 0;
  std::vector<TypeCount> types;  // biggest first
  uint64_t tensor_bytes = 0, disk_bytes = 0;
  int64_t files = 0;
  std::optional<uint64_t> memory_bytes;  // weights as raison keeps them
  std::optional<TokenizerFacts> tokenizer;
  std::string tokenizer_problem;
};

Result<Inspection> inspect_path(const std::string& path);
std::string inspection_text(const Inspection& inspection);
nlohmann::ordered_json inspection_json(const Inspection& inspection);

}  // namespace raison::cli
