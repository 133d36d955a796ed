#include "ops/check.h"
#include "ops/ops.h"

namespace raison {
namespace {
constexpr double kLog2e = 0x1.71547652b82fep+0;

void check_attention(const AttentionShape& s, const KvLayout& kv, const Tensor& q, const Tensor& k, const Tensor& v) {
  check_shape(q.cols == int64_t{s.q_heads} * s.head_dim, "attention: width of q");
  check_shape(k.rows == q.rows && k.cols == int64_t{s.kv_heads} * s.head_dim, "attention: shape of k");
  if (s.latent)
    check_shape(!v.data && v.size() == 0 && s.value_dim <= s.head_dim, "attention: a latent shape has no v of its own");
  else
    check_shape(v.rows == q.rows && v.cols == int64_t{s.kv_heads} * s.value_dim, "attention: shape of v");
  check_shape(s.q_heads % s.kv_heads == 0, "attention: heads are no multiple of KV heads");
  check_shape(s.softmax_scale > 0, "attention: no softmax scale");
  check_shape(kv.head_dim == s.head_dim && kv.kv_heads == s.kv_heads && kv.v_dim() == s.value_dim && kv.latent == s.latent,
              "attention: cache layout");
}

// The values' gradient goes to the keys' first columns, which the values are: dk + dv.
void add_value_gradient(Context& c, const AttentionShape& s, const float* dv, int64_t rows, float* dk) {
  for (int64_t r = 0; r < rows * s.kv_heads; ++r)
    c.kernels.add(c.exec, dk + r * s.head_dim, dv + r * s.value_dim, s.value_dim, dk + r * s.head_dim);
}
}  // namespace

Tensor attention(Context& ctx, const AttentionShape& shape, const ForwardBatch& batch,
                 const std::vector<uint8_t* const*>& row_pages, const Tensor& q, const Tensor& k, const Tensor& v) {
  check_attention(shape, batch.kv, q, k, v);
  const auto score_scale = static_cast<float>(shape.softmax_scale * kLog2e);
  Tensor out = ctx.tensor(q.rows, int64_t{shape.q_heads} * shape.value_dim);
  float *max = nullptr, *sum = nullptr;  // [T, q_heads]
  if (ctx.tape) {
    max = ctx.arena.floats(q.rows * shape.q_heads);
    sum = ctx.arena.floats(q.rows * shape.q_heads);
  }
  ctx.kernels.attention(ctx.exec, {batch.kv, shape.layer, shape.q_heads, q.rows, batch.positions.data(), row_pages.data(),
                                   score_scale, q.data, out.data, max, sum, k.data, v.data});
  if (!ctx.tape) return out;
  for (int64_t s = 0; s < batch.sequences(); ++s) {
    const auto row = static_cast<size_t>(batch.seq_offsets[static_cast<size_t>(s)]);
    check_shape(batch.seq_offsets[static_cast<size_t>(s) + 1] == static_cast<int32_t>(row) || batch.positions[row] == 0,
                "attention: a sequence on the tape starts at position 0");
  }
  ctx.tape->track(out);
  ctx.tape->record([shape, score_scale, &batch, &row_pages, q, k, v, out, max, sum](Context& c) {
    const float* dout = c.tape->grad(out.slot);
    if (!dout) return;
    float *dq = c.arena.floats(q.size()), *dk = c.arena.floats(k.size());
    float* dv = c.arena.floats(q.rows * shape.kv_heads * shape.value_dim);
    c.kernels.attention_backward(
        c.exec, {batch.kv, shape.layer, shape.q_heads, batch.sequences(), batch.seq_offsets.data(), row_pages.data(),
                 score_scale, static_cast<float>(shape.softmax_scale), q.data, out.data, max, sum, dout, dq, dk, dv});
    if (shape.latent) add_value_gradient(c, shape, dv, q.rows, dk);
    c.tape->add_grad(c, q, dq, true);
    c.tape->add_grad(c, k, dk, true);
    if (!shape.latent) c.tape->add_grad(c, v, dv, true);
  });
  return out;
}

}  // namespace raison
