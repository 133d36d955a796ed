// Llama (Touvron et al. 2023, arXiv:2302.13971; Llama 3.x; R1-Distill-Llama).
#include "models/architecture.h"
#include "models/gqa_decoder.h"

namespace raison {
namespace {
struct Llama : GqaFamily {
  static constexpr const char* kName = "llama";
  static std::vector<std::string> model_types() { return {"llama"}; }
  static void complete(GqaConfig* c) {
    c->gguf_architecture = kName;
    c->model_type = "llama";
    c->hf_class = "LlamaForCausalLM";
    c->gguf_interleaved = true;
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
    const GgufKeys r(file.metadata(), file.path(), kName);
    RAISON_ASSIGN(const int64_t experts, r.integer_or("expert_count", 0, 0, 1 << 20));
    if (experts > 0) return error("{}: expert_count {}: a Llama with experts is not supported", file.path(), experts);
    RAISON_RETURN_IF_ERROR(check_feed_forward(c, file, kName));
    return c;
  }
};
}  // namespace

Architecture llama_architecture() { return architecture_of<Llama>(); }

}  // namespace raison
