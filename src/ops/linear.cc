#include "ops/check.h"
#include "ops/ops.h"

namespace raison {

Tensor linear(Context& ctx, const Parameter& weight, const Parameter* bias, const Tensor& x) {
  check_shape(weight.is_matrix() && weight.shape[1] == x.cols, "linear: width of input and weight differ");
  const int64_t n = weight.shape[0];
  Tensor y = ctx.tensor(x.rows, n);
  ctx.kernels.matmul(ctx.exec, weight.packed().view(), x.data, x.cols, x.rows, y.data, n);
  if (bias) {
    check_shape(!bias->is_matrix() && bias->shape[0] == n, "linear: bias of another width");
    ctx.kernels.add_bias(ctx.exec, y.data, bias->vector.data(), x.rows, n);
  }
  if (!ctx.tape) return y;
  ctx.tape->track(y);
  ctx.tape->record([&weight, bias, x, y](Context& c) {
    float* dy = c.tape->grad(y.slot);
    if (!dy) return;
    GradientStore& g = c.tape->gradients();
    if (bias && bias->trainable) c.kernels.bias_backward(c.exec, dy, x.rows, y.cols, g.micro_zeroed(*bias));
    if (weight.trainable) {
      bool fresh;
      float* dw = g.micro(weight, &fresh);
      c.kernels.matmul_dw(c.exec, dy, y.cols, x.data, x.cols, x.rows, y.cols, x.cols, dw, !fresh);
    }
    if (x.slot < 0) return;
    float* dx = c.arena.floats(x.size());
    c.kernels.matmul_dx(c.exec, weight.packed().view(), dy, y.cols, x.rows, dx, x.cols);
    c.tape->add_grad(c, x, dx, true);
  });
  return y;
}

}  // namespace raison
