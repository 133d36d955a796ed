#include "ops/check.h"
#include "ops/ops.h"

namespace raison {

Tensor rope(Context& ctx, const Tensor& x, const RopeRows& rows, int heads, int head_dim) {
  check_shape(x.cols == int64_t{heads} * head_dim && rows.rot <= head_dim && rows.rot % 2 == 0, "rope: shape");
  check_shape(static_cast<int64_t>(rows.cos->size()) == x.rows * (rows.rot / 2), "rope: one row of angles per token");
  Tensor y = ctx.tensor(x.rows, x.cols);
  ctx.kernels.rope(ctx.exec, x.data, rows.cos->data(), rows.sin->data(), x.rows, heads, head_dim, rows.rot, rows.interleaved,
                   false, y.data);
  if (!ctx.tape) return y;
  ctx.tape->track(y);
  ctx.tape->record([x, y, rows, heads, head_dim](Context& c) {
    const float* dy = c.tape->grad(y.slot);
    if (!dy) return;
    float* dx = c.arena.floats(x.size());
    c.kernels.rope(c.exec, dy, rows.cos->data(), rows.sin->data(), x.rows, heads, head_dim, rows.rot, rows.interleaved, true,
                   dx);
    c.tape->add_grad(c, x, dx, true);
  });
  return y;
}

}  // namespace raison
