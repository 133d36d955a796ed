#include <cstring>

#include "ops/check.h"
#include "ops/ops.h"

namespace raison {

Tensor checkpoint(Context& ctx, const Tensor& x, const std::function<Tensor(Context&, const Tensor&)>& fn) {
  if (!ctx.tape || !ctx.recompute) return fn(ctx, x);
  Tensor y = ctx.tensor(x.rows, x.cols);
  {
    Context inner{ctx.exec, ctx.kernels, ctx.arena, nullptr, false, ctx.adapters};
    const auto mark = ctx.arena.mark();
    const Tensor result = fn(inner, x);
    check_shape(result.rows == x.rows && result.cols == x.cols, "checkpoint: the result has not the input's shape");
    std::memcpy(y.data, result.data, static_cast<size_t>(y.size()) * sizeof(float));
    ctx.arena.rewind(mark);
  }
  ctx.tape->track(y);
  ctx.tape->record([x, y, fn, adapters = ctx.adapters](Context& c) {
    float* dy = c.tape->grad(y.slot);
    if (!dy) return;
    float* dx = c.arena.floats(x.size());  // outlives the inner activations
    const auto mark = c.arena.mark();
    Tape tape(c.tape->gradients());
    Context inner{c.exec, c.kernels, c.arena, &tape, false, adapters};
    Tensor input = x;
    tape.track(input);
    const Tensor again = fn(inner, input);
    check_shape(again.rows == y.rows && again.cols == y.cols, "checkpoint: recomputation gave another shape");
    tape.add_grad(inner, again, dy, false);
    tape.backward(inner);
    const float* reached = tape.grad(input.slot);  // null where fn does not use its input
    if (reached) std::memcpy(dx, reached, static_cast<size_t>(x.size()) * sizeof(float));
    c.arena.rewind(mark);
    if (reached) c.tape->add_grad(c, x, dx, true);
  });
  return y;
}

}  // namespace raison
