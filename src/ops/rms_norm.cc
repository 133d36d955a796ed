#include "ops/check.h"
#include "ops/ops.h"

namespace raison {

Tensor rms_norm(Context& ctx, const Parameter& weight, const Tensor& x, float eps) {
  check_shape(!weight.is_matrix() && x.cols % weight.shape[0] == 0, "rms_norm: weight of another width");
  const int64_t dim = weight.shape[0], rows = x.size() / dim;  // each head of a row is a row of its own
  Tensor y = ctx.tensor(x.rows, x.cols);
  float* rstd = ctx.tape ? ctx.arena.floats(rows) : nullptr;  // [rows]
  ctx.kernels.rms_norm(ctx.exec, x.data, weight.vector.data(), eps, rows, dim, y.data, rstd);
  if (!ctx.tape) return y;
  ctx.tape->track(y);
  ctx.tape->record([&weight, x, y, rstd, rows, dim](Context& c) {
    const float* dy = c.tape->grad(y.slot);
    if (!dy) return;
    float* dw = weight.trainable ? c.tape->gradients().micro_zeroed(weight) : nullptr;
    float* dx = c.arena.floats(x.size());
    c.kernels.rms_norm_backward(c.exec, x.data, weight.vector.data(), rstd, dy, rows, dim, dx, dw);
    c.tape->add_grad(c, x, dx, true);
  });
  return y;
}

}  // namespace raison
