#include "ops/ops.h"

namespace raison {

Tensor softmax(Context& ctx, const Tensor& x) {
  Tensor y = ctx.tensor(x.rows, x.cols);
  ctx.kernels.softmax(ctx.exec, x.data, x.rows, x.cols, y.data);
  if (!ctx.tape) return y;
  ctx.tape->track(y);
  ctx.tape->record([x, y](Context& c) {
    const float* dy = c.tape->grad(y.slot);
    if (!dy) return;
    float* dx = c.arena.floats(x.size());
    c.kernels.softmax_backward(c.exec, y.data, dy, x.rows, x.cols, dx);
    c.tape->add_grad(c, x, dx, true);
  });
  return y;
}

}  // namespace raison
