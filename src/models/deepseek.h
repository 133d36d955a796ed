// DeepSeek-V2, V3, R1, V3.1 and Kimi-K2: multi-head latent attention, experts with shared ones beside them, leading dense layers.
// deepseek_v2.cc and deepseek_v3.cc say how their configs read; the forward pass is the same.
#pragma once
#include "models/loading.h"

namespace raison {

struct DeepseekConfig {
  std::string model_type, hf_class;  // HF's names
  int64_t vocab = 0, hidden = 0, feed_forward = 0, layers = 0, heads = 0, context = 0;
  int64_t q_rank = 0;  // 0: the query is projected at once
  int64_t kv_rank = 0, nope = 0, rope_dim = 0, value = 0;
  double norm_eps = 1e-6;
  RopeConfig rope;
  nlohmann::ordered_json rope_scaling;  // as HF writes it, null if none
  bool tied = false;
  int64_t bos = -1, eos = -1;
  RouterConfig router;      // experts 0: dense
  bool correction = false;  // a bias for the choice of experts
  int64_t expert_feed_forward = 0, shared_experts = 0;
  int64_t dense_layers = 0, sparse_step = 1;  // layer l has experts if l >= dense_layers and l % sparse_step == 0
  int64_t mtp_layers = 0;                     // multi-token-prediction layers, kept aside

  bool has_experts(int64_t layer) const { return router.experts > 0 && layer >= dense_layers && layer % sparse_step == 0; }
  // (nope + rope)^-0.5, and YaRN's correction on the whole logit (DeepSeek-V2's modeling_deepseek.py).
  double softmax_scale() const;
};

// `sigmoid`: what a config means that names neither scoring_func nor topk_method (DeepSeek-V3's defaults, else V2's).
Result<DeepseekConfig> deepseek_from_hf(const nlohmann::json& json, const std::string& where, bool sigmoid);
// Architecture deepseek2: V2, V3, R1 and Kimi-K2 alike, both layouts of latent attention.
Result<DeepseekConfig> deepseek_from_gguf(const GgufFile& file);
ModelInfo deepseek_info(const DeepseekConfig&);
Result<std::unique_ptr<Model>> build_deepseek(const DeepseekConfig&, ParameterLoader&);

// What architecture_of asks for and both answer alike: one GGUF architecture is the whole family's.
struct DeepseekFamily {
  static constexpr const char* kName = "deepseek2";
  static Result<DeepseekConfig> from_gguf(const GgufFile& file) { return deepseek_from_gguf(file); }
  static ModelInfo info(const DeepseekConfig& c) { return deepseek_info(c); }
  static Result<std::unique_ptr<Model>> build(const DeepseekConfig& c, ParameterLoader& loader) {
    return build_deepseek(c, loader);
  }
};

}  // namespace raison
