#include "nn/layers.h"

namespace raison {

Tensor GroupedQueryAttention::operator()(Context& ctx, int layer, const ForwardBatch& batch,
                                         const std::vector<uint8_t* const*>& row_pages, const RopeRows& angles,
                                         const Tensor& x) const {
  Tensor query = q(ctx, x);        // [T, q_heads * head_dim]
  Tensor key = k(ctx, x);          // [T, kv_heads * head_dim]
  const Tensor value = v(ctx, x);  // [T, kv_heads * head_dim]
  if (q_norm.weight) query = q_norm(ctx, query);
  if (k_norm.weight) key = k_norm(ctx, key);
  query = rope(ctx, query, angles, q_heads, head_dim);
  key = rope(ctx, key, angles, kv_heads, head_dim);
  const auto shape = AttentionShape::grouped_query(layer, q_heads, kv_heads, head_dim);
  return o(ctx, attention(ctx, shape, batch, row_pages, query, key, value));
}

Tensor MultiHeadLatentAttention::operator()(Context& ctx, int layer, const ForwardBatch& batch,
                                            const std::vector<uint8_t* const*>& row_pages, const RopeRows& angles,
                                            const Tensor& x) const {
  const Tensor all = q.weight ? q(ctx, x) : q_b(ctx, q_a_norm(ctx, q_a(ctx, x)));  // [T, heads * (nope + rope)]
  const auto [q_nope, q_rope] = split_heads(ctx, all, heads, nope);
  const auto [latent, k_rope] = split_heads(ctx, kv_a(ctx, x), 1, rank);  // [T, rank], [T, rope]
  const int64_t stride = nope + value;
  const HeadRows keys{heads, stride, 0, nope}, values{heads, stride, nope, value};
  const Tensor absorbed = head_linear_transposed(ctx, *kv_b, keys, q_nope);  // [T, heads * rank]
  add_head_low_rank_transposed(ctx, *kv_b, keys, q_nope, absorbed);
  const Tensor query = join_heads(ctx, absorbed, raison::rope(ctx, q_rope, angles, heads, rope), heads);
  const Tensor key = join_heads(ctx, kv_a_norm(ctx, latent), raison::rope(ctx, k_rope, angles, 1, rope), 1);
  const auto shape = AttentionShape::multi_head_latent(layer, heads, rank, rope, softmax_scale);
  const Tensor mixed = attention(ctx, shape, batch, row_pages, query, key, {});  // [T, heads * rank]
  const Tensor out = head_linear(ctx, *kv_b, values, mixed);                     // [T, heads * value]
  add_head_low_rank(ctx, *kv_b, values, mixed, out);
  return o(ctx, out);
}

Tensor MixtureOfExperts::operator()(Context& ctx, const Tensor& x) const {
  const std::span<const float> bias = correction ? std::span<const float>(correction->vector) : std::span<const float>();
  const Routing routing = route(ctx, router(ctx, x), bias, config);
  std::vector<ExpertOutput> inputs(experts.size());  // each expert's tokens, ascending
  for (size_t i = 0; i < routing.experts.size(); ++i) {
    ExpertOutput& in = inputs[static_cast<size_t>(routing.experts[i])];
    in.rows.push_back(static_cast<int32_t>(i / static_cast<size_t>(config.top_k)));
    in.places.push_back(static_cast<int64_t>(i));
  }
  std::vector<ExpertOutput> outputs;
  for (size_t e = 0; e < experts.size(); ++e) {
    if (inputs[e].rows.empty()) continue;
    const Tensor gathered = gather_rows(ctx, x, inputs[e].rows);
    const RowAdapters adapters = ctx.adapters ? ctx.adapters->of(inputs[e].rows) : RowAdapters();
    Context own = ctx;
    own.adapters = adapters.groups.empty() ? nullptr : &adapters;
    inputs[e].y = experts[e](own, gathered);
    outputs.push_back(std::move(inputs[e]));
  }
  const Tensor routed = combine_experts(ctx, outputs, routing.weights, x.rows, x.cols);
  return shared.gate.weight ? add(ctx, routed, shared(ctx, x)) : routed;
}

}  // namespace raison
