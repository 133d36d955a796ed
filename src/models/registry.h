// One line per architecture. An entry recognises its files and builds its model.
#pragma once
#include <functional>
#include <vector>

#include "models/model.h"

namespace raison {

struct Architecture {
  std::string name;                         // GGUF's general.architecture
  std::vector<std::string> hf_model_types;  // config.json's model_type
  // Each fails with one line. `files` may be null for create (weights zero).
  Result<std::unique_ptr<Model>> (*load)(const ModelFiles& files, const LoadOptions& options);
  Result<std::unique_ptr<Model>> (*create)(const nlohmann::json& config, const std::string& where);
  Result<ModelInfo> (*describe)(const ModelFiles& files);
};

const std::vector<Architecture>& architectures();
Result<const Architecture*> find_architecture(const ModelFiles& files);

// models/dense_decoder.cc
Architecture llama_architecture();
Architecture qwen2_architecture();

}  // namespace raison
