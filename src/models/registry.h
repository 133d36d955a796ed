// One line per architecture. An entry recognises its files and builds its model.
#pragma once
#include <functional>
#include <vector>

#include "models/model.h"

namespace raison {

class ParameterLoader;

struct Architecture {
  std::string name;                         // GGUF's general.architecture
  std::vector<std::string> hf_model_types;  // config.json's model_type
  // Each fails with one line.
  Result<std::unique_ptr<Model>> (*create)(const nlohmann::json& config, const std::string& where);
  Result<ModelInfo> (*describe)(const ModelFiles& files);
  // Builds the model from what `loader` gives.
  Result<std::unique_ptr<Model>> (*build)(const ModelFiles& files, ParameterLoader& loader);
};

const std::vector<Architecture>& architectures();
Result<const Architecture*> find_architecture(const ModelFiles& files);

Architecture llama_architecture();        // models/llama.cc
Architecture qwen2_architecture();        // models/qwen2.cc
Architecture qwen3_architecture();        // models/qwen3.cc
Architecture qwen3_moe_architecture();    // models/qwen3_moe.cc
Architecture deepseek_v2_architecture();  // models/deepseek_v2.cc
Architecture deepseek_v3_architecture();  // models/deepseek_v3.cc

}  // namespace raison
