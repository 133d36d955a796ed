#include <cmath>

#include "models/deepseek.h"

namespace raison {
namespace {

Status check(const DeepseekConfig& c, const std::string& where) {
  const RouterConfig& r = c.router;
  if (c.rope_dim % 2 != 0) return error("{}: {} rotary values a head are odd; rotary positions need pairs", where, c.rope_dim);
  if (r.experts == 0) return {};
  if (r.groups < 1 || r.experts % r.groups != 0)
    return error("{}: {} experts cannot be cut into {} groups", where, r.experts, r.groups);
  if (r.top_groups < 1 || r.top_groups > r.groups)
    return error("{}: {} of {} expert groups cannot be kept", where, r.top_groups, r.groups);
  if (r.top_k > r.experts / r.groups * r.top_groups)
    return error("{}: {} experts a token of {} in reach", where, r.top_k, r.experts / r.groups * r.top_groups);
  if (r.group_top2 && r.groups > 1 && r.experts / r.groups < 2)
    return error("{}: groups of one expert have no two best", where);
  return check_expert_count(c.layers, r.experts, c.hidden, c.expert_feed_forward, where);
}

Status read_router(const ConfigReader& r, bool sigmoid, DeepseekConfig* c) {
  RAISON_ASSIGN(const int64_t experts, r.integer_or("n_routed_experts", 0, 0, 1 << 16));
  if (experts == 0) return {};
  RAISON_ASSIGN(const int64_t used, r.integer("num_experts_per_tok", 1, 1 << 16));
  RAISON_ASSIGN(c->expert_feed_forward, r.integer("moe_intermediate_size", 1, 1 << 22));
  RAISON_ASSIGN(c->shared_experts, r.integer_or("n_shared_experts", 0, 0, 1 << 10));
  RAISON_ASSIGN(c->dense_layers, r.integer_or("first_k_dense_replace", 0, 0, 4096));
  RAISON_ASSIGN(c->sparse_step, r.integer_or("moe_layer_freq", 1, 1, 4096));
  RAISON_ASSIGN(const std::string scoring, r.string_or("scoring_func", sigmoid ? "sigmoid" : "softmax"));
  RAISON_ASSIGN(const std::string method, r.string_or("topk_method", sigmoid ? "noaux_tc" : "greedy"));
  if (scoring != "sigmoid" && scoring != "softmax")
    return r.bad("scoring_func", "is \"" + scoring.substr(0, 32) + "\"; sigmoid and softmax are known");
  if (method != "noaux_tc" && method != "greedy" && method != "group_limited_greedy")
    return r.bad("topk_method", "is \"" + method.substr(0, 32) + "\"; noaux_tc, greedy and group_limited_greedy are known");
  // What the reference's classes take where a config is silent.
  RAISON_ASSIGN(const int64_t groups, r.integer_or("n_group", sigmoid ? 8 : 1, 1, 1 << 16));
  RAISON_ASSIGN(const int64_t top_groups, r.integer_or("topk_group", sigmoid ? 4 : 1, 1, 1 << 16));
  RAISON_ASSIGN(c->router.normalise, r.boolean_or("norm_topk_prob", sigmoid));
  RAISON_ASSIGN(const double scale, r.number_or("routed_scaling_factor", sigmoid ? 2.5 : 1, 0, 1e6));
  c->router.experts = static_cast<int>(experts);
  c->router.top_k = static_cast<int>(used);
  c->router.sigmoid = scoring == "sigmoid";
  c->router.groups = method == "greedy" ? 1 : static_cast<int>(groups);
  c->router.top_groups = method == "greedy" ? 1 : static_cast<int>(top_groups);
  c->router.group_top2 = method == "noaux_tc";
  c->router.scale = static_cast<float>(scale);
  c->correction = method == "noaux_tc";
  return {};
}

std::pair<int64_t, int64_t> published_groups(int64_t experts) {
  if (experts == 256) return {8, 4};  // V3, R1
  if (experts == 160) return {8, 3};  // V2
  return {1, 1};
}

Status read_router(const GgufFile& file, const GgufKeys& r, DeepseekConfig* c) {
  RAISON_ASSIGN(const int64_t experts, r.integer_or("expert_count", 0, 0, 1 << 16));
  if (experts == 0) return {};
  RAISON_ASSIGN(const int64_t used, r.integer("expert_used_count", 1, 1 << 16));
  RAISON_ASSIGN(c->expert_feed_forward, r.integer("expert_feed_forward_length", 1, 1 << 22));
  RAISON_ASSIGN(c->shared_experts, r.integer_or("expert_shared_count", 0, 0, 1 << 10));
  RAISON_ASSIGN(c->dense_layers, r.integer_or("leading_dense_block_count", 0, 0, 4096));
  RAISON_ASSIGN(const double scale, r.number_or("expert_weights_scale", 1, 0, 1e6));
  // Without expert_gating_func: sigmoid if the correction bias is there (V3, R1), else softmax (V2). Without expert_group_count: the
  // published models' groups.
  c->correction = file.find(fmt::format("blk.{}.exp_probs_b.bias", c->dense_layers)) != nullptr;
  RAISON_ASSIGN(const int64_t gating, r.integer_or("expert_gating_func", 0, 0, 100));  // 0: not said
  if (gating > 2)
    return error("{}: deepseek2.expert_gating_func {} is not known; 1 (softmax) and 2 (sigmoid) are", file.path(), gating);
  const auto [groups, kept] = published_groups(experts);
  RAISON_ASSIGN(const int64_t all_groups, r.integer_or("expert_group_count", groups, 1, 1 << 16));
  RAISON_ASSIGN(const int64_t top_groups, r.integer_or("expert_group_used_count", kept, 1, 1 << 16));
  c->router.normalise = file.metadata().boolean("deepseek2.expert_weights_norm").value_or(false);
  c->router.experts = static_cast<int>(experts);
  c->router.top_k = static_cast<int>(used);
  c->router.sigmoid = gating == 0 ? c->correction : gating == 2;
  c->router.groups = static_cast<int>(all_groups);
  c->router.top_groups = static_cast<int>(top_groups);
  c->router.group_top2 = c->correction;
  c->router.scale = scale == 0 ? 1.0f : static_cast<float>(scale);
  return {};
}

// Widths of a head. Files with attn_k_b and attn_v_b say them under *_mla; their key_length is the cache's.
Status read_heads(const GgufKeys& r, DeepseekConfig* c) {
  RAISON_ASSIGN(c->heads, r.integer("attention.head_count", 1, 4096));
  RAISON_ASSIGN(c->kv_rank, r.integer("attention.kv_lora_rank", 1, 1 << 16));
  RAISON_ASSIGN(c->q_rank, r.integer_or("attention.q_lora_rank", 0, 0, 1 << 20));
  RAISON_ASSIGN(c->rope_dim, r.integer("rope.dimension_count", 2, 4096));
  RAISON_ASSIGN(const int64_t key, r.integer("attention.key_length", 1, 1 << 16));
  RAISON_ASSIGN(const int64_t value, r.integer("attention.value_length", 1, 1 << 16));
  RAISON_ASSIGN(const int64_t key_mla, r.integer_or("attention.key_length_mla", key, 1, 1 << 16));
  RAISON_ASSIGN(c->value, r.integer_or("attention.value_length_mla", value, 1, 1 << 16));
  c->nope = key_mla - c->rope_dim;
  if (c->nope < 1) return error("{}: heads of {} leave nothing beside {} rotary values", r.where(), key_mla, c->rope_dim);
  return {};
}
}  // namespace

double DeepseekConfig::softmax_scale() const {
  const double scale = 1.0 / std::sqrt(static_cast<double>(nope + rope_dim));
  if (rope.scaling != RopeConfig::Scaling::Yarn || !(rope.mscale_all_dim > 0)) return scale;
  const double mscale = yarn_mscale(rope.factor, rope.mscale_all_dim);
  return scale * (mscale * mscale);
}

Result<DeepseekConfig> deepseek_from_hf(const nlohmann::json& json, const std::string& where, bool sigmoid) {
  const ConfigReader r(json, where);
  DeepseekConfig c;
  RAISON_ASSIGN(c.vocab, r.integer("vocab_size", 1, 1 << 24));
  RAISON_ASSIGN(c.hidden, r.integer("hidden_size", 2, 1 << 20));
  RAISON_ASSIGN(c.feed_forward, r.integer("intermediate_size", 1, 1 << 22));
  RAISON_ASSIGN(c.layers, r.integer("num_hidden_layers", 1, 4096));
  RAISON_ASSIGN(c.heads, r.integer("num_attention_heads", 1, 4096));
  RAISON_ASSIGN(c.q_rank, r.integer_or("q_lora_rank", 0, 0, 1 << 20));
  RAISON_ASSIGN(c.kv_rank, r.integer("kv_lora_rank", 1, 1 << 16));
  RAISON_ASSIGN(c.nope, r.integer("qk_nope_head_dim", 1, 1 << 16));
  RAISON_ASSIGN(c.rope_dim, r.integer("qk_rope_head_dim", 2, 4096));
  RAISON_ASSIGN(c.value, r.integer("v_head_dim", 1, 1 << 16));
  RAISON_ASSIGN(c.context, r.integer_or("max_position_embeddings", 2048, 1, 1 << 30));
  RAISON_ASSIGN(c.norm_eps, r.number_or("rms_norm_eps", 1e-6, 0.0, 1.0));
  RAISON_ASSIGN(c.tied, r.boolean_or("tie_word_embeddings", false));
  RAISON_ASSIGN(c.mtp_layers, r.integer_or("num_nextn_predict_layers", 0, 0, 64));
  RAISON_ASSIGN(c.rope, rope_from_hf(r, static_cast<int>(c.rope_dim)));
  RAISON_ASSIGN(c.rope.interleaved, r.boolean_or("rope_interleave", true));
  c.rope_scaling = rope_scaling_json(json);
  RAISON_ASSIGN(const std::string act, r.string_or("hidden_act", "silu"));
  if (act != "silu") return error("{}: hidden_act \"{}\" is not supported; silu is", where, act.substr(0, 64));
  RAISON_ASSIGN(const bool bias, r.boolean_or("attention_bias", false));
  if (bias) return error("{}: attention_bias true is not supported", where);
  RAISON_RETURN_IF_ERROR(read_router(r, sigmoid, &c));
  c.bos = first_id(json, "bos_token_id");
  c.eos = first_id(json, "eos_token_id");
  RAISON_RETURN_IF_ERROR(check(c, where));
  return c;
}

Result<DeepseekConfig> deepseek_from_gguf(const GgufFile& file) {
  const GgufKeys r(file.metadata(), file.path(), "deepseek2");
  DeepseekConfig c;
  RAISON_ASSIGN(c.hidden, r.integer("embedding_length", 2, 1 << 20));
  RAISON_ASSIGN(c.feed_forward, r.integer("feed_forward_length", 1, 1 << 22));
  RAISON_ASSIGN(const int64_t blocks, r.integer("block_count", 1, 4096));
  RAISON_ASSIGN(c.mtp_layers, r.integer_or("nextn_predict_layers", 0, 0, 64));
  c.layers = blocks - c.mtp_layers;
  if (c.layers < 1)
    return error("{}: {} blocks of which {} predict further tokens leave no layer", r.where(), blocks, c.mtp_layers);
  RAISON_RETURN_IF_ERROR(read_heads(r, &c));
  RAISON_ASSIGN(c.context, r.integer_or("context_length", 2048, 1, 1 << 30));
  RAISON_ASSIGN(c.norm_eps, r.number_or("attention.layer_norm_rms_epsilon", 1e-6, 0.0, 1.0));
  c.rope.rot = static_cast<int>(c.rope_dim);
  c.rope.interleaved = true;
  RAISON_ASSIGN(c.rope.theta, r.number_or("rope.freq_base", 10000.0, 1.0, 1e12));
  RAISON_RETURN_IF_ERROR(rope_scaling_from_gguf(r, &c.rope));
  c.rope_scaling = rope_scaling_json(c.rope, r, "type");
  RAISON_RETURN_IF_ERROR(read_router(file, r, &c));
  c.model_type = c.router.sigmoid ? "deepseek_v3" : "deepseek_v2";
  c.hf_class = c.router.sigmoid ? "DeepseekV3ForCausalLM" : "DeepseekV2ForCausalLM";
  const TensorInfo* embedding = file.find("token_embd.weight");
  if (!embedding || embedding->shape.size() != 2) return error("{}: tensor token_embd.weight is missing", file.path());
  c.vocab = embedding->shape[0];
  c.tied = file.find("output.weight") == nullptr;
  c.bos = file.metadata().integer("tokenizer.ggml.bos_token_id").value_or(-1);
  c.eos = file.metadata().integer("tokenizer.ggml.eos_token_id").value_or(-1);
  RAISON_RETURN_IF_ERROR(check(c, file.path()));
  return c;
}

ModelInfo deepseek_info(const DeepseekConfig& c) {
  ModelInfo i;
  i.architecture = c.model_type;
  i.hf_class = c.hf_class;
  i.layers = c.layers;
  i.hidden = c.hidden;
  i.vocab = c.vocab;
  i.context_length = c.context;
  i.q_heads = c.heads;
  i.kv_heads = 1;
  i.head_dim = c.kv_rank + c.rope_dim;
  i.cache_values = c.layers * (c.kv_rank + c.rope_dim);
  i.feed_forward = c.feed_forward;
  i.tied_embeddings = c.tied;
  i.experts = c.router.experts;
  i.experts_used = c.router.experts > 0 ? c.router.top_k : 0;
  i.shared_experts = c.shared_experts;
  i.mtp_layers = c.mtp_layers;
  const int64_t q_rows = c.heads * (c.nope + c.rope_dim);
  const int64_t query = c.q_rank > 0 ? c.q_rank * (c.hidden + q_rows + 1) : q_rows * c.hidden;
  const int64_t attention = query + c.hidden * (c.kv_rank + c.rope_dim) + c.kv_rank + c.heads * (c.nope + c.value) * c.kv_rank +
                            c.hidden * c.heads * c.value + 2 * c.hidden;
  const int64_t dense = 3 * c.hidden * c.feed_forward, expert = 3 * c.hidden * c.expert_feed_forward;
  const int64_t router = c.router.experts * (c.hidden + (c.correction ? 1 : 0)) + c.shared_experts * expert;
  i.parameters = c.vocab * c.hidden * (c.tied ? 1 : 2) + c.hidden;
  i.active_parameters = i.parameters - (c.tied ? 0 : c.vocab * c.hidden);  // the embedding is looked up
  for (int64_t l = 0; l < c.layers; ++l) {
    i.parameters += attention + (c.has_experts(l) ? router + c.router.experts * expert : dense);
    i.active_parameters += attention + (c.has_experts(l) ? router + c.router.top_k * expert : dense);
  }
  return i;
}

}  // namespace raison
