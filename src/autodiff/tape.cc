#include "autodiff/tape.h"

#include <cstring>

namespace raison {

int32_t Tape::track(Tensor& t) {
  t.slot = static_cast<int32_t>(grads_.size());
  grads_.push_back({});
  return t.slot;
}

void Tape::add_grad(Context& ctx, const Tensor& t, float* g, bool handed_over) {
  if (t.slot < 0) return;
  Grad& grad = grads_[static_cast<size_t>(t.slot)];
  if (!grad.data) {
    if (handed_over) {
      grad.data = g;
      return;
    }
    grad.data = ctx.arena.floats(t.size());
    std::memcpy(grad.data, g, static_cast<size_t>(t.size()) * sizeof(float));
    return;
  }
  ctx.kernels.add(ctx.exec, grad.data, g, t.size(), grad.data);
}

void Tape::backward(Context& ctx) {
  for (size_t i = records_.size(); i-- > 0;) {
    records_[i](ctx);
    records_[i] = nullptr;  // frees what the record held
  }
  records_.clear();
}

void Tape::clear() {
  grads_.clear();
  records_.clear();
}

}  // namespace raison
