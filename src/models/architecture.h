// What an architecture's file gives to the registry, in one line: architecture_of<A>(), where A has
//   static constexpr const char* kName          GGUF's general.architecture
//   static std::vector<std::string> model_types()  config.json's model_type
//   static Result<Config> from_hf(const nlohmann::json& config, const std::string& where)
//   static Result<Config> from_gguf(const GgufFile& file)
//   static ModelInfo info(const Config&)
//   static Result<std::unique_ptr<Model>> build(const Config&, ParameterLoader&)
#pragma once
#include "models/loading.h"
#include "models/registry.h"

namespace raison {

template <class A>
auto config_of(const ModelFiles& files) {
  return files.format == ModelFiles::Format::Gguf ? A::from_gguf(*files.gguf)
                                                  : A::from_hf(files.config, files.path + "/config.json");
}

template <class A>
Architecture architecture_of() {
  return {A::kName, A::model_types(),
          [](const nlohmann::json& config, const std::string& where) -> Result<std::unique_ptr<Model>> {
            RAISON_ASSIGN(const auto c, A::from_hf(config, where));
            ZeroParameterLoader loader;
            return A::build(c, loader);
          },
          [](const ModelFiles& files) -> Result<ModelInfo> {
            RAISON_ASSIGN(const auto c, config_of<A>(files));
            return A::info(c);
          },
          [](const ModelFiles& files, ParameterLoader& loader) -> Result<std::unique_ptr<Model>> {
            RAISON_ASSIGN(const auto c, config_of<A>(files));
            return A::build(c, loader);
          }};
}

}  // namespace raison
