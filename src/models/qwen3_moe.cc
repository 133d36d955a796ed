// Qwen3-MoE (Yang et al. 2025, arXiv:2505.09388): Qwen3 with experts chosen by a softmax router, none shared.
#include "models/architecture.h"
#include "models/gqa_decoder.h"

namespace raison {
namespace {
struct Qwen3Moe : GqaFamily {
  static constexpr const char* kName = "qwen3moe";
  static std::vector<std::string> model_types() { return {"qwen3_moe"}; }
  static void complete(GqaConfig* c) {
    c->gguf_architecture = kName;
    c->model_type = "qwen3_moe";
    c->hf_class = "Qwen3MoeForCausalLM";
    c->qk_norm = true;
  }
  static Status check(const GqaConfig& c, const std::string& where) {
    if (c.router.top_k > c.router.experts)
      return error("{}: {} experts a token of {} experts", where, c.router.top_k, c.router.experts);
    for (int64_t l = 0; l < c.layers; ++l)
      if (!c.has_experts(l) && c.feed_forward < 1) return error("{}: layer {} has neither experts nor a width", where, l);
    return check_expert_count(c.layers, c.router.experts, c.hidden, c.expert_feed_forward, where);
  }
  static Result<GqaConfig> from_hf(const nlohmann::json& json, const std::string& where) {
    const ConfigReader r(json, where);
    RAISON_ASSIGN(GqaConfig c, gqa_from_hf(json, where));
    complete(&c);
    RAISON_ASSIGN(c.qkv_bias, r.boolean_or("attention_bias", false));
    c.o_bias = c.qkv_bias;
    RAISON_ASSIGN(const int64_t experts, r.integer("num_experts", 1, 1 << 16));
    RAISON_ASSIGN(const int64_t used, r.integer("num_experts_per_tok", 1, 1 << 16));
    RAISON_ASSIGN(c.expert_feed_forward, r.integer("moe_intermediate_size", 1, 1 << 22));
    RAISON_ASSIGN(c.router.normalise, r.boolean_or("norm_topk_prob", false));
    RAISON_ASSIGN(c.sparse_step, r.integer_or("decoder_sparse_step", 1, 1, 1 << 16));
    c.router.experts = static_cast<int>(experts);
    c.router.top_k = static_cast<int>(used);
    if (r.has("mlp_only_layers")) {
      if (!json["mlp_only_layers"].is_array()) return r.bad("mlp_only_layers", "is no list");
      for (const nlohmann::json& l : json["mlp_only_layers"]) {
        if (!l.is_number_integer()) return r.bad("mlp_only_layers", "is no list of layers");
        c.dense_layers.push_back(l.get<int64_t>());
      }
    }
    RAISON_RETURN_IF_ERROR(check(c, where));
    return c;
  }
  static Result<GqaConfig> from_gguf(const GgufFile& file) {
    RAISON_ASSIGN(GqaConfig c, gqa_from_gguf(file, kName));
    complete(&c);
    const GgufKeys r(file.metadata(), file.path(), kName);
    RAISON_ASSIGN(const int64_t experts, r.integer("expert_count", 1, 1 << 16));
    RAISON_ASSIGN(const int64_t used, r.integer("expert_used_count", 1, 1 << 16));
    RAISON_ASSIGN(c.expert_feed_forward, r.integer("expert_feed_forward_length", 1, 1 << 22));
    c.router.experts = static_cast<int>(experts);
    c.router.top_k = static_cast<int>(used);
    c.router.normalise = true;  // the format has no key for it: all published ones are
    RAISON_RETURN_IF_ERROR(check(c, file.path()));
    return c;
  }
};
}  // namespace

Architecture qwen3_moe_architecture() { return architecture_of<Qwen3Moe>(); }

}  // namespace raison
