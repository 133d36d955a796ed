// Qwen2 and Qwen2.5 (Yang et al. 2024, arXiv:2407.10671; R1-Distill-Qwen): biases on q, k and v alone.
#include "models/architecture.h"
#include "models/gqa_decoder.h"

namespace raison {
namespace {
struct Qwen2 : GqaFamily {
  static constexpr const char* kName = "qwen2";
  static std::vector<std::string> model_types() { return {"qwen2"}; }
  static void complete(GqaConfig* c) {
    c->gguf_architecture = kName;
    c->model_type = "qwen2";
    c->hf_class = "Qwen2ForCausalLM";
  }
  static Result<GqaConfig> from_hf(const nlohmann::json& json, const std::string& where) {
    RAISON_ASSIGN(GqaConfig c, gqa_from_hf(json, where));
    complete(&c);
    c.qkv_bias = true;
    return c;
  }
  static Result<GqaConfig> from_gguf(const GgufFile& file) {
    RAISON_ASSIGN(GqaConfig c, gqa_from_gguf(file, kName));
    complete(&c);
    RAISON_RETURN_IF_ERROR(check_feed_forward(c, file, kName));
    return c;
  }
};
}  // namespace

Architecture qwen2_architecture() { return architecture_of<Qwen2>(); }

}  // namespace raison
