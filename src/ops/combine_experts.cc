#include <cstring>

#include "ops/check.h"
#include "ops/ops.h"

namespace raison {

Tensor gather_rows(Context& ctx, const Tensor& x, std::span<const int32_t> rows) {
  const size_t bytes = static_cast<size_t>(x.cols) * sizeof(float);
  Tensor y = ctx.tensor(static_cast<int64_t>(rows.size()), x.cols);
  for (size_t i = 0; i < rows.size(); ++i) {
    check_shape(rows[i] >= 0 && rows[i] < x.rows, "gather_rows: row out of range");
    std::memcpy(y.row(static_cast<int64_t>(i)), x.row(rows[i]), bytes);
  }
  if (!ctx.tape) return y;
  ctx.tape->track(y);
  ctx.tape->record([x, y, kept = std::vector<int32_t>(rows.begin(), rows.end())](Context& c) {
    const float* dy = c.tape->grad(y.slot);
    if (!dy || x.slot < 0) return;
    float* dx = c.tape->grad(x.slot);
    if (!dx) {
      dx = c.arena.floats(x.size());
      std::memset(dx, 0, static_cast<size_t>(x.size()) * sizeof(float));
      c.tape->add_grad(c, x, dx, true);
    }
    // Into the tape's own buffer: a layer gathers once for every expert, each time a few of all rows.
    const std::vector<float> ones(kept.size(), 1.0f);
    c.kernels.scatter_rows(c.exec, dy, kept.data(), ones.data(), y.rows, x.cols, dx);
  });
  return y;
}

Tensor combine_experts(Context& ctx, const std::vector<ExpertOutput>& outputs, const Tensor& weights, int64_t tokens,
                       int64_t dim) {
  Tensor y = ctx.tensor(tokens, dim);
  std::memset(y.data, 0, static_cast<size_t>(y.size()) * sizeof(float));
  std::vector<float> w;
  for (const ExpertOutput& o : outputs) {
    check_shape(o.y.cols == dim && o.rows.size() == static_cast<size_t>(o.y.rows) && o.places.size() == o.rows.size(),
                "combine_experts: shapes");
    w.clear();
    for (const int64_t p : o.places) w.push_back(weights.data[p]);
    ctx.kernels.scatter_rows(ctx.exec, o.y.data, o.rows.data(), w.data(), o.y.rows, dim, y.data);
  }
  if (!ctx.tape) return y;
  ctx.tape->track(y);
  ctx.tape->record([outputs, weights, y](Context& c) {
    const float* dy = c.tape->grad(y.slot);
    if (!dy) return;
    float* dweights = c.arena.floats(weights.size());
    std::memset(dweights, 0, static_cast<size_t>(weights.size()) * sizeof(float));
    for (const ExpertOutput& o : outputs) {
      std::vector<float> kept, dots(o.places.size());
      for (const int64_t p : o.places) kept.push_back(weights.data[p]);
      float* dx = c.arena.floats(o.y.size());
      c.kernels.scatter_rows_backward(c.exec, o.y.data, o.rows.data(), kept.data(), o.y.rows, y.cols, dy, dx, dots.data());
      for (size_t i = 0; i < dots.size(); ++i) dweights[o.places[i]] = dots[i];
      c.tape->add_grad(c, o.y, dx, true);
    }
    c.tape->add_grad(c, weights, dweights, true);
  });
  return y;
}

}  // namespace raison
