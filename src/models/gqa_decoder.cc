// Pre-norm blocks of grouped-query attention and SwiGLU, rotary positions, optional biases, tied or untied embeddings.
#include "models/gqa_decoder.h"

#include "models/decoder.h"

namespace raison {
namespace {

using GqaBlock = DecoderBlock<GroupedQueryAttention>;

class GqaDecoder final : public Decoder {
 public:
  explicit GqaDecoder(const GqaConfig& c) : Decoder(gqa_info(c), c.rope), c_(c) {}

  Result<KvLayout> kv_layout(DType type, int page_size) const override {
    return checked(
        {type, static_cast<int>(c_.layers), static_cast<int>(c_.kv_heads), static_cast<int>(c_.head_dim), page_size});
  }

  Status expressible_in_hf() const override {
    if (!c_.rope_sayable)
      return error(
          "the rotary frequencies of this GGUF (rope_freqs.weight) have no place in a config.json; take the model's "
          "Hugging Face folder instead");
    const bool qwen2 = c_.model_type == "qwen2";
    const bool sayable = qwen2 ? c_.qkv_bias && !c_.o_bias : c_.qkv_bias == c_.o_bias;
    if (!sayable) return error("this GGUF has other attention biases than a {} config.json can say", c_.model_type);
    return {};
  }

  nlohmann::ordered_json hf_config(DType type) const override {
    nlohmann::ordered_json j = {
        {"architectures", {info().hf_class}},
        {"model_type", c_.model_type},
        {"vocab_size", c_.vocab},
        {"hidden_size", c_.hidden},
        {"intermediate_size", c_.feed_forward},
        {"num_hidden_layers", c_.layers},
        {"num_attention_heads", c_.q_heads},
        {"num_key_value_heads", c_.kv_heads},
        {"head_dim", c_.head_dim},
        {"hidden_act", "silu"},
        {"max_position_embeddings", c_.context},
        {"rms_norm_eps", c_.norm_eps},
        {"rope_theta", c_.rope.theta},
        {"tie_word_embeddings", c_.tied},
        {"torch_dtype", torch_dtype_name(type)},
    };
    if (!c_.rope_scaling.is_null()) j["rope_scaling"] = c_.rope_scaling;
    const bool qwen2 = c_.model_type == "qwen2";
    if (!qwen2) j["attention_bias"] = c_.o_bias;
    if (c_.model_type != "llama") j["use_sliding_window"] = false;
    if (c_.router.experts > 0) {
      j["num_experts"] = c_.router.experts;
      j["num_experts_per_tok"] = c_.router.top_k;
      j["moe_intermediate_size"] = c_.expert_feed_forward;
      j["norm_topk_prob"] = c_.router.normalise;
      j["decoder_sparse_step"] = c_.sparse_step;
      j["mlp_only_layers"] = c_.dense_layers;
    }
    if (c_.bos >= 0) j["bos_token_id"] = c_.bos;
    if (c_.eos >= 0) j["eos_token_id"] = c_.eos;
    return j;
  }

  Result<GgufConfig> gguf_config() const override {
    GgufConfigWriter w(c_.gguf_architecture);
    RAISON_RETURN_IF_ERROR(describe_decoder(w, c_.norm_eps, c_.rope, c_.rope_scaling));
    w.count("attention.head_count_kv", c_.kv_heads);
    w.count("attention.key_length", c_.head_dim);
    w.count("attention.value_length", c_.head_dim);
    w.count("rope.dimension_count", c_.head_dim);
    if (c_.router.experts == 0) return w.take();
    if (!c_.router.normalise) return error("norm_topk_prob is false; GGUF's {} always normalises", c_.gguf_architecture);
    if (c_.sparse_step != 1 || !c_.dense_layers.empty())
      return error("mlp_only_layers or decoder_sparse_step names dense layers, which GGUF cannot say");
    w.count("expert_count", c_.router.experts);
    w.count("expert_used_count", c_.router.top_k);
    w.count("expert_feed_forward_length", c_.expert_feed_forward);
    return w.take();
  }

  Status load(ParameterLoader& loader) {
    RAISON_RETURN_IF_ERROR(load_embedding(loader));
    blocks_.resize(static_cast<size_t>(c_.layers));
    for (int64_t l = 0; l < c_.layers; ++l) RAISON_RETURN_IF_ERROR(load_block(loader, l));
    std::vector<std::string> known = {"rope_freqs.weight"};  // read with the config
    return load_head(loader, c_.norm_eps, known);
  }

 private:
  Tensor block(Context& c, int64_t layer, const Tensor& in, const ForwardBatch& batch,
               const std::vector<uint8_t* const*>& row_pages, const RopeRows& angles) const override {
    return blocks_[static_cast<size_t>(layer)](c, static_cast<int>(layer), in, batch, row_pages, angles);
  }

  Status load_block(ParameterLoader& loader, int64_t l) {
    GqaBlock& b = blocks_[static_cast<size_t>(l)];
    const std::string hf = fmt::format("model.layers.{}.", l), gguf = fmt::format("blk.{}.", l);
    const int64_t q = c_.q_heads * c_.head_dim, kv = c_.kv_heads * c_.head_dim;
    const int q_order = c_.gguf_interleaved ? static_cast<int>(c_.q_heads) : 0;
    const int k_order = c_.gguf_interleaved ? static_cast<int>(c_.kv_heads) : 0;
    const auto projection = [&](const char* hf_name, const char* gguf_name, int64_t rows, int64_t cols, bool bias, int order,
                                Linear* out) {
      return load_linear(loader, store_, hf + "self_attn." + hf_name, gguf + gguf_name, rows, cols, bias, order, out);
    };
    const auto norm = [&](const char* hf_name, const char* gguf_name, int64_t dim, RmsNorm* out) {
      return load_norm(loader, store_, hf + hf_name, gguf + gguf_name, dim, c_.norm_eps, out);
    };
    GroupedQueryAttention& a = b.attention;
    RAISON_RETURN_IF_ERROR(norm("input_layernorm", "attn_norm", c_.hidden, &b.input_norm));
    RAISON_RETURN_IF_ERROR(projection("q_proj", "attn_q", q, c_.hidden, c_.qkv_bias, q_order, &a.q));
    RAISON_RETURN_IF_ERROR(projection("k_proj", "attn_k", kv, c_.hidden, c_.qkv_bias, k_order, &a.k));
    RAISON_RETURN_IF_ERROR(projection("v_proj", "attn_v", kv, c_.hidden, c_.qkv_bias, 0, &a.v));
    RAISON_RETURN_IF_ERROR(projection("o_proj", "attn_output", c_.hidden, q, c_.o_bias, 0, &a.o));
    if (c_.qk_norm) {
      RAISON_RETURN_IF_ERROR(norm("self_attn.q_norm", "attn_q_norm", c_.head_dim, &a.q_norm));
      RAISON_RETURN_IF_ERROR(norm("self_attn.k_norm", "attn_k_norm", c_.head_dim, &a.k_norm));
    }
    a.q_heads = static_cast<int>(c_.q_heads);
    a.kv_heads = static_cast<int>(c_.kv_heads);
    a.head_dim = static_cast<int>(c_.head_dim);
    RAISON_RETURN_IF_ERROR(norm("post_attention_layernorm", "ffn_norm", c_.hidden, &b.post_norm));
    if (!c_.has_experts(l)) return load_swiglu(loader, store_, hf + "mlp", gguf, "", c_.hidden, c_.feed_forward, &b.mlp);
    b.moe.config = c_.router;
    return load_experts(loader, store_, hf + "mlp.", gguf, c_.hidden, c_.expert_feed_forward, false, &b.moe);
  }

  GqaConfig c_;
  std::vector<GqaBlock> blocks_;
};
}  // namespace

Result<std::unique_ptr<Model>> build_gqa_decoder(const GqaConfig& c, ParameterLoader& loader) {
  auto m = std::make_unique<GqaDecoder>(c);
  RAISON_RETURN_IF_ERROR(m->load(loader));
  return std::unique_ptr<Model>(std::move(m));
}

}  // namespace raison
