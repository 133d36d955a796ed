#include "nn/layers.h"

namespace raison {

Tensor GroupedQueryAttention::operator()(Context& ctx, int layer, const ForwardBatch& batch,
                                         const std::vector<uint8_t* const*>& row_pages, const RopeRows& angles,
                                         const Tensor& x) const {
  const Tensor query = rope(ctx, q(ctx, x), angles, q_heads, head_dim);  // [T, q_heads * head_dim]
  const Tensor key = rope(ctx, k(ctx, x), angles, kv_heads, head_dim);   // [T, kv_heads * head_dim]
  const Tensor value = v(ctx, x);                                        // [T, kv_heads * head_dim]
  const auto shape = AttentionShape::grouped_query(layer, q_heads, kv_heads, head_dim);
  return o(ctx, attention(ctx, shape, batch, row_pages, query, key, value));
}

}  // namespace raison
