// DeepSeek-V2 and V2-Lite (arXiv:2405.04434): softmax router, greedy or limited to groups. Also the GGUF side of the whole family:
// its architecture deepseek2 is V2, V3, R1 and Kimi-K2 alike.
#include "models/architecture.h"
#include "models/deepseek.h"

namespace raison {
namespace {
struct DeepseekV2 {
  static constexpr const char* kName = "deepseek2";
  static std::vector<std::string> model_types() { return {"deepseek_v2"}; }
  static Result<DeepseekConfig> from_hf(const nlohmann::json& json, const std::string& where) {
    RAISON_ASSIGN(DeepseekConfig c, deepseek_from_hf(json, where, false));
    c.model_type = "deepseek_v2";
    c.hf_class = "DeepseekV2ForCausalLM";
    return c;
  }
  static Result<DeepseekConfig> from_gguf(const GgufFile& file) { return deepseek_from_gguf(file); }
  static ModelInfo info(const DeepseekConfig& c) { return deepseek_info(c); }
  static Result<std::unique_ptr<Model>> build(const DeepseekConfig& c, ParameterLoader& loader) {
    return build_deepseek(c, loader);
  }
};
}  // namespace

Architecture deepseek_v2_architecture() { return architecture_of<DeepseekV2>(); }

}  // namespace raison
