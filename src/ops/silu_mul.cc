#include "ops/check.h"
#include "ops/ops.h"

namespace raison {

Tensor silu_mul(Context& ctx, const Tensor& gate, const Tensor& up) {
  check_shape(gate.rows == up.rows && gate.cols == up.cols, "silu_mul: shapes differ");
  Tensor y = ctx.tensor(gate.rows, gate.cols);
  ctx.kernels.silu_mul(ctx.exec, gate.data, up.data, y.size(), y.data);
  if (!ctx.tape) return y;
  ctx.tape->track(y);
  ctx.tape->record([gate, up, y](Context& c) {
    const float* dy = c.tape->grad(y.slot);
    if (!dy) return;
    float *dg = c.arena.floats(y.size()), *du = c.arena.floats(y.size());
    c.kernels.silu_mul_backward(c.exec, gate.data, up.data, dy, y.size(), dg, du);
    c.tape->add_grad(c, gate, dg, true);
    c.tape->add_grad(c, up, du, true);
  });
  return y;
}

}  // namespace raison
