// Layers: parameters with their shapes, and the few lines that call the ops. [T, ...] tensors are packed tokens.
#pragma once
#include "nn/rope_table.h"

namespace raison {

struct Linear {
  Parameter* weight = nullptr;  // [out, in]
  Parameter* bias = nullptr;    // [out] or null
  Tensor operator()(Context& ctx, const Tensor& x) const { return linear(ctx, *weight, bias, x); }
};

struct RmsNorm {
  Parameter* weight = nullptr;  // [dim]
  float eps = 1e-6f;
  Tensor operator()(Context& ctx, const Tensor& x) const { return rms_norm(ctx, *weight, x, eps); }
};

// Grouped-query attention with rotary positions (Ainslie et al. 2023, arXiv:2305.13245).
struct GroupedQueryAttention {
  Linear q, k, v, o;
  int q_heads = 0, kv_heads = 0, head_dim = 0;
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

}  // namespace raison
