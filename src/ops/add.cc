#include "ops/check.h"
#include "ops/ops.h"

namespace raison {

Tensor add(Context& ctx, const Tensor& a, const Tensor& b) {
  check_shape(a.rows == b.rows && a.cols == b.cols, "add: shapes differ");
  Tensor y = ctx.tensor(a.rows, a.cols);
  ctx.kernels.add(ctx.exec, a.data, b.data, y.size(), y.data);
  if (!ctx.tape) return y;
  ctx.tape->track(y);
  ctx.tape->record([a, b, y](Context& c) {
    float* dy = c.tape->grad(y.slot);
    if (!dy) return;
    c.tape->add_grad(c, a, dy, false);  // copied first: b may then take the buffer itself
    c.tape->add_grad(c, b, dy, true);
  });
  return y;
}

}  // namespace raison
