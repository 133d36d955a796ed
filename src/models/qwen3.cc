// Qwen3 (Yang et al. 2025, arXiv:2505.09388; R1-0528-Qwen3-8B): each head's q and k are normed before they are rotated.
#include "models/architecture.h"
#include "models/gqa_decoder.h"

namespace raison {
namespace {
struct Qwen3 : GqaFamily {
  static constexpr const char* kName = "qwen3";
  static std::vector<std::string> model_types() { return {"qwen3"}; }
  static void complete(GqaConfig* c) {
    c->gguf_architecture = kName;
    c->model_type = "qwen3";
    c->hf_class = "Qwen3ForCausalLM";
    c->qk_norm = true;
  }
  static Result<GqaConfig> from_hf(const nlohmann::json& json, const std::string& where) {
    RAISON_ASSIGN(GqaConfig c, gqa_from_hf(json, where));
    complete(&c);
    RAISON_ASSIGN(c.qkv_bias, ConfigReader(json, where).boolean_or("attention_bias", false));
    c.o_bias = c.qkv_bias;
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

Architecture qwen3_architecture() { return architecture_of<Qwen3>(); }

}  // namespace raison
