// Layers: parameters with their shapes, and the few lines that call the ops. [T, ...] tensors are packed tokens.
#pragma once
#include "nn/adapter.h"
#include "nn/rope_table.h"

namespace raison {

struct Linear {
  Parameter* weight = nullptr;  // [out, in]
  Parameter* bias = nullptr;    // [out] or null
  Tensor operator()(Context& ctx, const Tensor& x) const {
    const Tensor y = linear(ctx, *weight, bias, x);
    add_low_rank(ctx, *weight, x, y);
    return y;
  }
};

struct RmsNorm {
  Parameter* weight = nullptr;  // [dim]
  float eps = 1e-6f;
  Tensor operator()(Context& ctx, const Tensor& x) const { return rms_norm(ctx, *weight, x, eps); }
};

// Grouped-query attention with rotary positions (Ainslie et al. 2023, arXiv:2305.13245).
struct GroupedQueryAttention {
  Linear q, k, v, o;
  RmsNorm q_norm, k_norm;  // of each head before its rotation (Qwen3); weight null: none
  int q_heads = 0, kv_heads = 0, head_dim = 0;
  Tensor operator()(Context& ctx, int layer, const ForwardBatch& batch, const std::vector<uint8_t* const*>& row_pages,
                    const RopeRows& angles, const Tensor& x) const;
};

// Multi-head latent attention in its absorbed form (DeepSeek-V2, arXiv:2405.04434, section 2.1 and appendix B): keys and values
// are one latent row per token, the up-projections of keys and values move to the query's and the output's side.
struct MultiHeadLatentAttention {
  Linear q;                   // [heads*(nope + rope), hidden], or, with a low-rank query:
  Linear q_a, q_b;            // [q_rank, hidden], [heads*(nope + rope), q_rank]
  RmsNorm q_a_norm;           // [q_rank]
  Linear kv_a;                // [rank + rope, hidden]
  RmsNorm kv_a_norm;          // [rank]
  Parameter* kv_b = nullptr;  // [heads*(nope + v), rank]: of each head, the rows of keys, then those of values
  Linear o;                   // [hidden, heads*v]
  int heads = 0, nope = 0, rope = 0, value = 0, rank = 0;
  double softmax_scale = 0;
  Tensor operator()(Context& ctx, int layer, const ForwardBatch& batch, const std::vector<uint8_t* const*>& row_pages,
                    const RopeRows& angles, const Tensor& x) const;
};

// down(silu(gate(x)) * up(x)) (Shazeer 2020, arXiv:2002.05202).
struct SwiGlu {
  Linear gate, up, down;
  Tensor operator()(Context& ctx, const Tensor& x) const {
    const Tensor g = gate(ctx, x), u = up(ctx, x);
    return down(ctx, silu_mul(ctx, g, u));
  }
};

// A router sends each token to top_k of the experts; shared experts see every token (DeepSeekMoE, arXiv:2401.06066, equations
// 3 to 5; DeepSeek-V3, arXiv:2412.19437, equations 12 to 16).
struct MixtureOfExperts {
  Linear router;                    // [experts, hidden]
  Parameter* correction = nullptr;  // [experts] or null: added to the scores for the choice alone, never trained
  RouterConfig config;
  std::vector<SwiGlu> experts;
  SwiGlu shared;  // gate.weight null: none
  Tensor operator()(Context& ctx, const Tensor& x) const;
};

}  // namespace raison
