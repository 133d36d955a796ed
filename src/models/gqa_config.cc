#include <algorithm>

#include "io/tensor_read.h"
#include "models/gqa_decoder.h"

namespace raison {
namespace {

Status check_heads(const GqaConfig& c, const std::string& where) {
  if (c.q_heads % c.kv_heads != 0)
    return error("{}: {} attention heads are no multiple of {} key/value heads", where, c.q_heads, c.kv_heads);
  if (c.head_dim % 2 != 0) return error("{}: head_dim {} is odd; rotary positions need pairs", where, c.head_dim);
  return {};
}

Status refuse_what_is_not_computed(const ConfigReader& r) {
  RAISON_ASSIGN(const std::string act, r.string_or("hidden_act", "silu"));
  if (act != "silu") return error("{}: hidden_act \"{}\" is not supported; silu is", r.where(), act.substr(0, 64));
  RAISON_ASSIGN(const bool mlp_bias, r.boolean_or("mlp_bias", false));
  RAISON_ASSIGN(const bool sliding, r.boolean_or("use_sliding_window", false));
  if (mlp_bias) return error("{}: mlp_bias true is not supported", r.where());
  if (sliding) return error("{}: use_sliding_window true is not supported", r.where());
  if (r.has("layer_types"))
    for (const nlohmann::json& t : r.json()["layer_types"])
      if (!t.is_string() || t.get<std::string>() != "full_attention")
        return error("{}: \"layer_types\" asks for other than full_attention, which is not supported", r.where());
  return {};
}

Status read_rope_freqs(const GgufFile& file, const GgufKeys& keys, GqaConfig* c) {
  const TensorInfo* freqs = file.find("rope_freqs.weight");
  if (!freqs) return {};
  RAISON_ASSIGN(const auto values, read_f32(*freqs));
  if (static_cast<int64_t>(values.size()) != c->rope.rot / 2)
    return error("{}: rope_freqs.weight has {} values, {} were expected", file.path(), values.size(), c->rope.rot / 2);
  for (const float v : values)
    if (!(v >= 1e-6f && v <= 1e6f))  // NaN too
      return error("{}: rope_freqs.weight holds {}; divisors of frequencies lie between 1e-6 and 1e6", file.path(), v);
  c->rope.divisors.assign(values.begin(), values.end());
  const auto said = llama3_of_divisors(c->rope);
  c->rope_sayable = said.has_value();
  if (said) c->rope_scaling = rope_scaling_json(*said, keys, "rope_type");
  return {};
}
}  // namespace

bool GqaConfig::has_experts(int64_t layer) const {
  return router.experts > 0 && (layer + 1) % sparse_step == 0 && !std::count(dense_layers.begin(), dense_layers.end(), layer);
}

Result<GqaConfig> gqa_from_hf(const nlohmann::json& json, const std::string& where) {
  const ConfigReader r(json, where);
  GqaConfig c;
  RAISON_ASSIGN(c.vocab, r.integer("vocab_size", 1, 1 << 24));
  RAISON_ASSIGN(c.hidden, r.integer("hidden_size", 2, 1 << 20));
  RAISON_ASSIGN(c.feed_forward, r.integer("intermediate_size", 1, 1 << 22));
  RAISON_ASSIGN(c.layers, r.integer("num_hidden_layers", 1, 4096));
  RAISON_ASSIGN(c.q_heads, r.integer("num_attention_heads", 1, 4096));
  RAISON_ASSIGN(c.kv_heads, r.integer_or("num_key_value_heads", c.q_heads, 1, 4096));
  if (!r.has("head_dim") && c.hidden % c.q_heads != 0)
    return error("{}: hidden_size {} is no multiple of num_attention_heads {}", where, c.hidden, c.q_heads);
  RAISON_ASSIGN(c.head_dim, r.integer_or("head_dim", c.hidden / c.q_heads, 2, 4096));
  RAISON_ASSIGN(c.context, r.integer_or("max_position_embeddings", 2048, 1, 1 << 30));
  RAISON_ASSIGN(c.norm_eps, r.number_or("rms_norm_eps", 1e-6, 0.0, 1.0));
  RAISON_ASSIGN(c.tied, r.boolean_or("tie_word_embeddings", false));
  RAISON_ASSIGN(c.rope, rope_from_hf(r, static_cast<int>(c.head_dim)));
  c.rope_scaling = rope_scaling_json(json);
  RAISON_RETURN_IF_ERROR(refuse_what_is_not_computed(r));
  c.bos = first_id(json, "bos_token_id");
  c.eos = first_id(json, "eos_token_id");
  RAISON_RETURN_IF_ERROR(check_heads(c, where));
  return c;
}

Result<GqaConfig> gqa_from_gguf(const GgufFile& file, const std::string& architecture) {
  const GgufKeys r(file.metadata(), file.path(), architecture);
  GqaConfig c;
  RAISON_ASSIGN(c.hidden, r.integer("embedding_length", 2, 1 << 20));
  RAISON_ASSIGN(c.layers, r.integer("block_count", 1, 4096));
  RAISON_ASSIGN(c.feed_forward, r.integer_or("feed_forward_length", 0, 0, 1 << 22));
  RAISON_ASSIGN(c.q_heads, r.integer("attention.head_count", 1, 4096));
  RAISON_ASSIGN(c.kv_heads, r.integer_or("attention.head_count_kv", c.q_heads, 1, 4096));
  RAISON_ASSIGN(c.head_dim, r.integer_or("attention.key_length", c.hidden / c.q_heads, 2, 4096));
  RAISON_ASSIGN(c.context, r.integer_or("context_length", 2048, 1, 1 << 30));
  RAISON_ASSIGN(c.norm_eps, r.number_or("attention.layer_norm_rms_epsilon", 1e-6, 0.0, 1.0));
  RAISON_ASSIGN(const int64_t rot, r.integer_or("rope.dimension_count", c.head_dim, 2, 4096));
  if (rot != c.head_dim)
    return error("{}: rope.dimension_count {} with heads of {} is not supported; the two must be equal", file.path(), rot,
                 c.head_dim);
  RAISON_ASSIGN(const int64_t value_length, r.integer_or("attention.value_length", c.head_dim, 1, 4096));
  if (value_length != c.head_dim)
    return error("{}: attention.value_length {} differs from key_length {}, which is not supported", file.path(), value_length,
                 c.head_dim);
  RAISON_ASSIGN(const int64_t window, r.integer_or("attention.sliding_window", 0, 0, int64_t{1} << 40));
  if (window > 0 && window < c.context) return error("{}: attention.sliding_window {} is not supported", file.path(), window);
  c.rope.rot = static_cast<int>(rot);
  RAISON_ASSIGN(c.rope.theta, r.number_or("rope.freq_base", 10000.0, 1.0, 1e12));
  RAISON_RETURN_IF_ERROR(rope_scaling_from_gguf(r, &c.rope));
  c.rope_scaling = rope_scaling_json(c.rope, r, "rope_type");
  RAISON_RETURN_IF_ERROR(read_rope_freqs(file, r, &c));
  const TensorInfo* embedding = file.find("token_embd.weight");
  if (!embedding || embedding->shape.size() != 2) return error("{}: tensor token_embd.weight is missing", file.path());
  c.vocab = embedding->shape[0];
  c.tied = file.find("output.weight") == nullptr;
  c.qkv_bias = file.find("blk.0.attn_q.bias") != nullptr;
  c.o_bias = file.find("blk.0.attn_output.bias") != nullptr;
  c.bos = file.metadata().integer("tokenizer.ggml.bos_token_id").value_or(-1);
  c.eos = file.metadata().integer("tokenizer.ggml.eos_token_id").value_or(-1);
  RAISON_RETURN_IF_ERROR(check_heads(c, file.path()));
  return c;
}

Status check_feed_forward(const GqaConfig& c, const GgufFile& file, const std::string& architecture) {
  if (c.feed_forward >= 1) return {};
  return error("{}: key {}.feed_forward_length is missing", file.path(), architecture);
}

ModelInfo gqa_info(const GqaConfig& c) {
  ModelInfo i;
  i.architecture = c.model_type;
  i.hf_class = c.hf_class;
  i.layers = c.layers;
  i.hidden = c.hidden;
  i.vocab = c.vocab;
  i.context_length = c.context;
  i.q_heads = c.q_heads;
  i.kv_heads = c.kv_heads;
  i.head_dim = c.head_dim;
  i.cache_values = 2 * c.layers * c.kv_heads * c.head_dim;
  i.feed_forward = c.feed_forward;
  i.tied_embeddings = c.tied;
  i.experts = c.router.experts;
  i.experts_used = c.router.experts > 0 ? c.router.top_k : 0;
  const int64_t q = c.q_heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  const int64_t attention = c.hidden * (2 * q + 2 * kv + 2) + (c.qkv_bias ? q + 2 * kv : 0) + (c.o_bias ? c.hidden : 0) +
                            (c.qk_norm ? 2 * c.head_dim : 0);
  const int64_t dense = 3 * c.hidden * c.feed_forward, expert = 3 * c.hidden * c.expert_feed_forward;
  const int64_t router = c.hidden * c.router.experts;
  i.parameters = c.vocab * c.hidden * (c.tied ? 1 : 2) + c.hidden;
  i.active_parameters = i.parameters - (c.tied ? 0 : c.vocab * c.hidden);  // the embedding is looked up
  for (int64_t l = 0; l < c.layers; ++l) {
    const bool experts = c.has_experts(l);
    i.parameters += attention + (experts ? router + c.router.experts * expert : dense);
    i.active_parameters += attention + (experts ? router + c.router.top_k * expert : dense);
  }
  return i;
}

}  // namespace raison
