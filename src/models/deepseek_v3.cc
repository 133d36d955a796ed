// DeepSeek-V3, R1 and V3.1 (arXiv:2412.19437, 2501.12948) and Kimi-K2 (arXiv:2507.20534): sigmoid router whose choice is corrected
// by a bias and limited to groups.
#include "models/architecture.h"
#include "models/deepseek.h"

namespace raison {
namespace {
struct DeepseekV3 : DeepseekFamily {
  static std::vector<std::string> model_types() { return {"deepseek_v3", "kimi_k2"}; }
  static Result<DeepseekConfig> from_hf(const nlohmann::json& json, const std::string& where) {
    RAISON_ASSIGN(DeepseekConfig c, deepseek_from_hf(json, where, true));
    c.model_type = json.value("model_type", "deepseek_v3");
    c.hf_class = "DeepseekV3ForCausalLM";
    return c;
  }
};
}  // namespace

Architecture deepseek_v3_architecture() { return architecture_of<DeepseekV3>(); }

}  // namespace raison
