// DeepSeek-V2 and V2-Lite (arXiv:2405.04434): softmax router, greedy or limited to groups.
#include "models/architecture.h"
#include "models/deepseek.h"

namespace raison {
namespace {
struct DeepseekV2 : DeepseekFamily {
  static std::vector<std::string> model_types() { return {"deepseek_v2"}; }
  static Result<DeepseekConfig> from_hf(const nlohmann::json& json, const std::string& where) {
    RAISON_ASSIGN(DeepseekConfig c, deepseek_from_hf(json, where, false));
    c.model_type = "deepseek_v2";
    c.hf_class = "DeepseekV2ForCausalLM";
    return c;
  }
};
}  // namespace

Architecture deepseek_v2_architecture() { return architecture_of<DeepseekV2>(); }

}  // namespace raison
