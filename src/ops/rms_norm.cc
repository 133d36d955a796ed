#include "ops/check.h"
#include "ops/ops.h"

namespace raison {

Tensor rms_norm(Context& ctx, const Parameter& weight, const Tensor& x, float eps) {
  check_shape(!weight.is_matrix() && weight.shape[0] == x.cols, "rms_norm: weight of another width");
  Tensor y = ctx.tensor(x.rows, x.cols);
  float* rstd = ctx.tape ? ctx.arena.floats(x.rows) : nullptr;  // [T]
  ctx.kernels.rms_norm(ctx.exec, x.data, weight.vector.data(), eps, x.rows, x.cols, y.data, rstd);
  if (!ctx.tape) return y;
  ctx.tape->track(y);
  ctx.tape->record([&weight, x, y, rstd](Context& c) {
    const float* dy = c.tape->grad(y.slot);
    if (!dy) return;
    float* dw = weight.trainable ? c.tape->gradients().micro_zeroed(weight) : nullptr;
    float* dx = c.arena.floats(x.size());
    c.kernels.rms_norm_backward(c.exec, x.data, weight.vector.data(), rstd, dy, x.rows, x.cols, dx, dw);
    c.tape->add_grad(c, x, dx, true);
  });
  return y;
}

}  // namespace raison
