// Decoders of grouped-query attention and SwiGLU, dense or with experts: what llama.cc, qwen2.cc, qwen3.cc and qwen3_moe.cc
// share. Each of those files says how its configs read; the forward pass is the same.
#pragma once
#include "models/loading.h"

namespace raison {

struct GqaConfig {
  std::string model_type, hf_class;  // HF's names
  std::string gguf_architecture;
  int64_t vocab = 0, hidden = 0, feed_forward = 0, layers = 0, q_heads = 0, kv_heads = 0, head_dim = 0, context = 0;
  double norm_eps = 1e-6;
  RopeConfig rope;
  nlohmann::ordered_json rope_scaling;  // as HF writes it, null if none
  bool rope_sayable = true;             // false: divisors of a GGUF that HF has no word for
  bool tied = false;
  bool qkv_bias = false, o_bias = false;
  bool qk_norm = false;           // q and k of each head are normed before they are rotated
  bool gguf_interleaved = false;  // GGUF holds q and k with rotary pairs interleaved
  int64_t bos = -1, eos = -1;
  RouterConfig router;  // experts 0: dense
  int64_t expert_feed_forward = 0;
  int64_t sparse_step = 1;  // layer l has experts if (l + 1) % sparse_step == 0 and it is not in dense_layers
  std::vector<int64_t> dense_layers;

  bool has_experts(int64_t layer) const;
};

// Keys that all of them have; model_type, biases and norms are the caller's. A key that asks for what is not computed is refused.
Result<GqaConfig> gqa_from_hf(const nlohmann::json& json, const std::string& where);
Result<GqaConfig> gqa_from_gguf(const GgufFile& file, const std::string& architecture);
ModelInfo gqa_info(const GqaConfig&);
Result<std::unique_ptr<Model>> build_gqa_decoder(const GqaConfig&, ParameterLoader&);
// The key that a dense model must have, and a model of experts need not.
Status check_feed_forward(const GqaConfig&, const GgufFile& file, const std::string& architecture);

// What architecture_of asks for and all of them answer alike.
struct GqaFamily {
  static ModelInfo info(const GqaConfig& c) { return gqa_info(c); }
  static Result<std::unique_ptr<Model>> build(const GqaConfig& c, ParameterLoader& loader) {
    return build_gqa_decoder(c, loader);
  }
};

}  // namespace raison
