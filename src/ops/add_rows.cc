#include <cstring>

#include "ops/check.h"
#include "ops/ops.h"

namespace raison {

void add_rows(Context& ctx, const Tensor& y, std::span<const int32_t> rows, float scale, const Tensor& u) {
  check_shape(u.cols == y.cols && u.rows == static_cast<int64_t>(rows.size()), "add_rows: shapes");
  for (size_t i = 0; i < rows.size(); ++i)
    check_shape(rows[i] >= 0 && rows[i] < y.rows && (i == 0 || rows[i] > rows[i - 1]), "add_rows: rows must ascend");
  const std::vector<float> scales(rows.size(), scale);
  ctx.kernels.scatter_rows(ctx.exec, u.data, rows.data(), scales.data(), u.rows, u.cols, y.data);
  if (!ctx.tape) return;
  // y's own gradient stays what it is: the record of whoever made y comes after this one.
  ctx.tape->record([y, u, scale, kept = std::vector<int32_t>(rows.begin(), rows.end())](Context& c) {
    const float* dy = c.tape->grad(y.slot);
    if (!dy || u.slot < 0) return;
    float* du = c.arena.floats(u.size());
    const auto bytes = static_cast<size_t>(u.cols) * sizeof(float);
    for (size_t i = 0; i < kept.size(); ++i) std::memcpy(du + static_cast<int64_t>(i) * u.cols, dy + kept[i] * y.cols, bytes);
    c.kernels.scale(c.exec, du, scale, u.size());
    c.tape->add_grad(c, u, du, true);
  });
}

}  // namespace raison
