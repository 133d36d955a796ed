#include <cmath>

#include "ops/check.h"
#include "ops/ops.h"

namespace raison {
namespace {
constexpr double kLog2e = 0x1.71547652b82fep+0;

float softmax_scale(int head_dim) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim))); }
float score_scale(int head_dim) { return static_cast<float>(kLog2e / std::sqrt(static_cast<double>(head_dim))); }
}  // namespace

Tensor attention(Context& ctx, const AttentionShape& shape, const ForwardBatch& batch,
                 const std::vector<uint8_t* const*>& row_pages, const Tensor& q, const Tensor& k, const Tensor& v) {
  check_shape(q.cols == int64_t{shape.q_heads} * shape.head_dim, "attention: width of q");
  check_shape(k.cols == int64_t{shape.kv_heads} * shape.head_dim && v.cols == k.cols, "attention: width of k or v");
  check_shape(shape.q_heads % shape.kv_heads == 0, "attention: heads are no multiple of KV heads");
  check_shape(batch.kv.head_dim == shape.head_dim && batch.kv.kv_heads == shape.kv_heads, "attention: cache layout");
  ctx.kernels.kv_append(ctx.exec, {batch.kv, shape.layer, q.rows, batch.positions.data(), row_pages.data(), k.data, v.data});
  Tensor out = ctx.tensor(q.rows, q.cols);
  float *max = nullptr, *sum = nullptr;  // [T, q_heads]
  if (ctx.tape) {
    max = ctx.arena.floats(q.rows * shape.q_heads);
    sum = ctx.arena.floats(q.rows * shape.q_heads);
  }
  ctx.kernels.attention(ctx.exec, {batch.kv, shape.layer, shape.q_heads, q.rows, batch.positions.data(), row_pages.data(),
                                   score_scale(shape.head_dim), q.data, out.data, max, sum});
  if (!ctx.tape) return out;
  for (int64_t s = 0; s < batch.sequences(); ++s) {
    const auto row = static_cast<size_t>(batch.seq_offsets[static_cast<size_t>(s)]);
    check_shape(batch.seq_offsets[static_cast<size_t>(s) + 1] == static_cast<int32_t>(row) || batch.positions[row] == 0,
                "attention: a sequence on the tape starts at position 0");
  }
  ctx.tape->track(out);
  ctx.tape->record([shape, &batch, &row_pages, q, k, v, out, max, sum](Context& c) {
    const float* dout = c.tape->grad(out.slot);
    if (!dout) return;
    float *dq = c.arena.floats(q.size()), *dk = c.arena.floats(k.size()), *dv = c.arena.floats(v.size());
    c.kernels.attention_backward(
        c.exec, {batch.kv, shape.layer, shape.q_heads, batch.sequences(), batch.seq_offsets.data(), row_pages.data(),
                 score_scale(shape.head_dim), softmax_scale(shape.head_dim), q.data, out.data, max, sum, dout, dq, dk, dv});
    c.tape->add_grad(c, q, dq, true);
    c.tape->add_grad(c, k, dk, true);
    c.tape->add_grad(c, v, dv, true);
  });
  return out;
}

}  // namespace raison
