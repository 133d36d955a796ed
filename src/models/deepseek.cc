#include "models/deepseek.h"

#include "models/decoder.h"

namespace raison {
namespace {

using DeepseekBlock = DecoderBlock<MultiHeadLatentAttention>;

class DeepseekDecoder final : public Decoder {
 public:
  explicit DeepseekDecoder(const DeepseekConfig& c) : Decoder(deepseek_info(c), c.rope), c_(c) {}

  Result<KvLayout> kv_layout(DType type, int page_size) const override {
    KvLayout k;
    k.type = type;
    k.layers = static_cast<int>(c_.layers);
    k.kv_heads = 1;
    k.head_dim = static_cast<int>(c_.kv_rank + c_.rope_dim);
    k.page_size = page_size;
    k.value_dim = static_cast<int>(c_.kv_rank);
    k.latent = true;
    return checked(k);
  }

  Status expressible_in_hf() const override { return {}; }

  nlohmann::ordered_json hf_config(DType type) const override {
    const RouterConfig& r = c_.router;
    nlohmann::ordered_json j = {
        {"architectures", {info().hf_class}},
        {"model_type", c_.model_type},
        {"vocab_size", c_.vocab},
        {"hidden_size", c_.hidden},
        {"intermediate_size", c_.feed_forward},
        {"num_hidden_layers", c_.layers},
        {"num_attention_heads", c_.heads},
        {"num_key_value_heads", c_.heads},
        {"q_lora_rank", c_.q_rank > 0 ? nlohmann::ordered_json(c_.q_rank) : nlohmann::ordered_json()},
        {"kv_lora_rank", c_.kv_rank},
        {"qk_nope_head_dim", c_.nope},
        {"qk_rope_head_dim", c_.rope_dim},
        {"v_head_dim", c_.value},
        {"hidden_act", "silu"},
        {"max_position_embeddings", c_.context},
        {"rms_norm_eps", c_.norm_eps},
        {"rope_theta", c_.rope.theta},
        {"rope_interleave", c_.rope.interleaved},
        {"attention_bias", false},
        {"tie_word_embeddings", c_.tied},
        {"torch_dtype", torch_dtype_name(type)},
        {"num_nextn_predict_layers", 0},
        {"n_routed_experts", r.experts > 0 ? nlohmann::ordered_json(r.experts) : nlohmann::ordered_json()},
    };
    if (!c_.rope_scaling.is_null()) j["rope_scaling"] = c_.rope_scaling;
    if (r.experts > 0) {
      j["num_experts_per_tok"] = r.top_k;
      j["moe_intermediate_size"] = c_.expert_feed_forward;
      j["n_shared_experts"] = c_.shared_experts;
      j["first_k_dense_replace"] = c_.dense_layers;
      j["moe_layer_freq"] = c_.sparse_step;
      j["scoring_func"] = r.sigmoid ? "sigmoid" : "softmax";
      j["topk_method"] = c_.correction ? "noaux_tc" : r.groups > 1 ? "group_limited_greedy" : "greedy";
      j["n_group"] = r.groups;
      j["topk_group"] = r.top_groups;
      j["norm_topk_prob"] = r.normalise;
      j["routed_scaling_factor"] = decimal_of_f32(double{r.scale});
    }
    if (c_.bos >= 0) j["bos_token_id"] = c_.bos;
    if (c_.eos >= 0) j["eos_token_id"] = c_.eos;
    return j;
  }

  Result<GgufConfig> gguf_config() const override {
    GgufConfigWriter w(DeepseekFamily::kName);
    RAISON_RETURN_IF_ERROR(describe_decoder(w, c_.norm_eps, c_.rope, c_.rope_scaling));
    if (!c_.rope.interleaved) return error("rope_interleave is false, which GGUF cannot say");
    // MLA as llama.cpp computes it: one shared latent head; per-head widths under the _mla keys.
    w.count("attention.head_count_kv", 1);
    w.count("attention.key_length", c_.kv_rank + c_.rope_dim);
    w.count("attention.value_length", c_.kv_rank);
    w.count("attention.key_length_mla", c_.nope + c_.rope_dim);
    w.count("attention.value_length_mla", c_.value);
    w.count("attention.kv_lora_rank", c_.kv_rank);
    if (c_.q_rank > 0) w.count("attention.q_lora_rank", c_.q_rank);
    w.count("rope.dimension_count", c_.rope_dim);
    const RouterConfig& r = c_.router;
    if (r.experts == 0) return w.take();
    if (c_.sparse_step != 1) return error("moe_layer_freq is not 1, which GGUF cannot say");
    w.count("expert_count", r.experts);
    w.count("expert_used_count", r.top_k);
    w.count("expert_shared_count", c_.shared_experts);
    w.count("expert_feed_forward_length", c_.expert_feed_forward);
    w.count("leading_dense_block_count", c_.dense_layers);
    w.count("expert_group_count", r.groups);
    w.count("expert_group_used_count", r.top_groups);
    w.count("expert_gating_func", r.sigmoid ? 2 : 1);
    w.set("expert_weights_norm", r.normalise);
    w.real("expert_weights_scale", double{r.scale});
    return w.take();
  }

  Status load(ParameterLoader& loader) {
    RAISON_RETURN_IF_ERROR(load_embedding(loader));
    blocks_.resize(static_cast<size_t>(c_.layers));
    for (int64_t l = 0; l < c_.layers; ++l) RAISON_RETURN_IF_ERROR(load_block(loader, l));
    // Multi-token prediction stands in layers after the last one.
    std::vector<std::string> aside;
    for (int64_t l = c_.layers; l < c_.layers + c_.mtp_layers; ++l) {
      aside.push_back(fmt::format("model.layers.{}.*", l));
      aside.push_back(fmt::format("blk.{}.*", l));
    }
    return load_head(loader, c_.norm_eps, std::move(aside));
  }

 private:
  // The reference's class gives these norms no other eps, whatever rms_norm_eps says.
  static constexpr double kLatentNormEps = 1e-6;

  Tensor block(Context& c, int64_t layer, const Tensor& in, const ForwardBatch& batch,
               const std::vector<uint8_t* const*>& row_pages, const RopeRows& angles) const override {
    return blocks_[static_cast<size_t>(layer)](c, static_cast<int>(layer), in, batch, row_pages, angles);
  }

  Status load_attention(ParameterLoader& loader, const std::string& hf, const std::string& gguf, MultiHeadLatentAttention* a) {
    const auto projection = [&](const char* hf_name, const char* gguf_name, int64_t rows, int64_t cols, Linear* out) {
      return load_linear(loader, store_, hf + "self_attn." + hf_name, gguf + gguf_name, rows, cols, false, 0, out);
    };
    const auto norm = [&](const char* hf_name, const char* gguf_name, int64_t dim, RmsNorm* out) {
      return load_norm(loader, store_, hf + "self_attn." + hf_name, gguf + gguf_name, dim, kLatentNormEps, out);
    };
    const int64_t q_rows = c_.heads * (c_.nope + c_.rope_dim);
    if (c_.q_rank > 0) {
      RAISON_RETURN_IF_ERROR(projection("q_a_proj", "attn_q_a", c_.q_rank, c_.hidden, &a->q_a));
      RAISON_RETURN_IF_ERROR(norm("q_a_layernorm", "attn_q_a_norm", c_.q_rank, &a->q_a_norm));
      RAISON_RETURN_IF_ERROR(projection("q_b_proj", "attn_q_b", q_rows, c_.q_rank, &a->q_b));
    } else {
      RAISON_RETURN_IF_ERROR(projection("q_proj", "attn_q", q_rows, c_.hidden, &a->q));
    }
    RAISON_RETURN_IF_ERROR(projection("kv_a_proj_with_mqa", "attn_kv_a_mqa", c_.kv_rank + c_.rope_dim, c_.hidden, &a->kv_a));
    RAISON_RETURN_IF_ERROR(norm("kv_a_layernorm", "attn_kv_a_norm", c_.kv_rank, &a->kv_a_norm));
    RAISON_ASSIGN(a->kv_b,
                  loader.latent_kv(store_, hf + "self_attn.kv_b_proj.weight", gguf, c_.heads, c_.nope, c_.value, c_.kv_rank));
    RAISON_RETURN_IF_ERROR(projection("o_proj", "attn_output", c_.hidden, c_.heads * c_.value, &a->o));
    a->heads = static_cast<int>(c_.heads);
    a->nope = static_cast<int>(c_.nope);
    a->rope = static_cast<int>(c_.rope_dim);
    a->value = static_cast<int>(c_.value);
    a->rank = static_cast<int>(c_.kv_rank);
    a->softmax_scale = c_.softmax_scale();
    return {};
  }

  Status load_block(ParameterLoader& loader, int64_t l) {
    DeepseekBlock& b = blocks_[static_cast<size_t>(l)];
    const std::string hf = fmt::format("model.layers.{}.", l), gguf = fmt::format("blk.{}.", l);
    RAISON_RETURN_IF_ERROR(
        load_norm(loader, store_, hf + "input_layernorm", gguf + "attn_norm", c_.hidden, c_.norm_eps, &b.input_norm));
    RAISON_RETURN_IF_ERROR(load_attention(loader, hf, gguf, &b.attention));
    RAISON_RETURN_IF_ERROR(
        load_norm(loader, store_, hf + "post_attention_layernorm", gguf + "ffn_norm", c_.hidden, c_.norm_eps, &b.post_norm));
    if (!c_.has_experts(l)) return load_swiglu(loader, store_, hf + "mlp", gguf, "", c_.hidden, c_.feed_forward, &b.mlp);
    b.moe.config = c_.router;
    RAISON_RETURN_IF_ERROR(
        load_experts(loader, store_, hf + "mlp.", gguf, c_.hidden, c_.expert_feed_forward, c_.correction, &b.moe));
    if (c_.shared_experts == 0) return {};
    return load_swiglu(loader, store_, hf + "mlp.shared_experts", gguf, "_shexp", c_.hidden,
                       c_.expert_feed_forward * c_.shared_experts, &b.moe.shared);
  }

  DeepseekConfig c_;
  std::vector<DeepseekBlock> blocks_;
};
}  // namespace

Result<std::unique_ptr<Model>> build_deepseek(const DeepseekConfig& c, ParameterLoader& loader) {
  auto m = std::make_unique<DeepseekDecoder>(c);
  RAISON_RETURN_IF_ERROR(m->load(loader));
  return std::unique_ptr<Model>(std::move(m));
}

}  // namespace raison
