#include <algorithm>

#include "ops/check.h"
#include "ops/ops.h"

namespace raison {
namespace {
// Rows whose logits exist at once: about 64 MB. Any value gives the same bits. Each chunk of the backward dequantises the whole head, which at
// 13 rows (8 MB of 152k words) was three quarters of a step of an adapter on a quantised base.
int64_t chunk_rows(int64_t vocab) { return std::clamp<int64_t>((int64_t{1} << 24) / vocab, 8, 512); }
}  // namespace

Tensor head_logits(Context& ctx, const Parameter& head, const Tensor& hidden) {
  check_shape(head.is_matrix() && head.shape[1] == hidden.cols, "head_logits: width of hidden and head differ");
  Tensor z = ctx.tensor(hidden.rows, head.shape[0]);
  ctx.kernels.matmul(ctx.exec, head.packed().view(), hidden.data, hidden.cols, hidden.rows, z.data, z.cols);
  return z;
}

float log_softmax_at(Context& ctx, const float* logits, int64_t vocab, int32_t target, float temperature) {
  float logprob = 0;
  ctx.kernels.logprob_rows(ctx.exec, logits, vocab, 1, vocab, &target, temperature, &logprob, nullptr, nullptr);
  return logprob;
}

Tensor log_softmax_gather(Context& ctx, const Parameter& head, const Tensor& hidden, std::span<const int32_t> targets,
                          float temperature, float* logits_out) {
  const int64_t rows = hidden.rows, vocab = head.shape[0];
  check_shape(head.is_matrix() && head.shape[1] == hidden.cols, "log_softmax_gather: width of hidden and head differ");
  check_shape(static_cast<int64_t>(targets.size()) == rows, "log_softmax_gather: one target per row");
  for (int32_t t : targets) check_shape(t >= -1 && t < vocab, "log_softmax_gather: target out of range");
  Tensor y = ctx.tensor(rows, 1);
  float *max = ctx.arena.floats(rows), *sum = ctx.arena.floats(rows);  // [T]
  const auto mark = ctx.arena.mark();
  const int64_t chunk = chunk_rows(vocab);
  float* buffer = logits_out ? nullptr : ctx.arena.floats(std::min(chunk, rows) * vocab);
  for (int64_t r = 0; r < rows; r += chunk) {
    const int64_t n = std::min(chunk, rows - r);
    float* z = logits_out ? logits_out + r * vocab : buffer;
    ctx.kernels.matmul(ctx.exec, head.packed().view(), hidden.row(r), hidden.cols, n, z, vocab);
    ctx.kernels.logprob_rows(ctx.exec, z, vocab, n, vocab, targets.data() + r, temperature, y.data + r, max + r, sum + r);
  }
  ctx.arena.rewind(mark);
  if (!ctx.tape) return y;
  ctx.tape->track(y);
  ctx.tape->record([&head, hidden, y, max, sum, temperature, vocab, chunk,
                    kept = std::vector<int32_t>(targets.begin(), targets.end())](Context& c) {
    const float* dy = c.tape->grad(y.slot);
    if (!dy) return;
    float* dx = c.arena.floats(hidden.size());
    const auto inner = c.arena.mark();
    float* z = c.arena.floats(std::min(chunk, hidden.rows) * vocab);
    for (int64_t r = 0; r < hidden.rows; r += chunk) {
      const int64_t n = std::min(chunk, hidden.rows - r);
      c.kernels.matmul(c.exec, head.packed().view(), hidden.row(r), hidden.cols, n, z, vocab);
      c.kernels.logprob_rows_backward(c.exec, z, vocab, n, vocab, kept.data() + r, temperature, max + r, sum + r, dy + r);
      if (head.trainable) {
        bool fresh;
        float* dw = c.tape->gradients().micro(head, &fresh);
        c.kernels.matmul_dw(c.exec, z, vocab, hidden.row(r), hidden.cols, n, vocab, hidden.cols, dw, !fresh);
      }
      c.kernels.matmul_dx(c.exec, head.packed().view(), z, vocab, n, dx + r * hidden.cols, hidden.cols);
    }
    c.arena.rewind(inner);
    c.tape->add_grad(c, hidden, dx, true);
  });
  return y;
}

}  // namespace raison
