#include <cstring>

#include "ops/check.h"
#include "ops/ops.h"

namespace raison {

Tensor select_rows(Context& ctx, const Tensor& x, std::span<const int32_t> rows) {
  const auto count = static_cast<int64_t>(rows.size());
  const size_t bytes = static_cast<size_t>(x.cols) * sizeof(float);
  Tensor y = ctx.tensor(count, x.cols);
  for (int64_t i = 0; i < count; ++i) {
    const int32_t r = rows[static_cast<size_t>(i)];
    check_shape(r >= 0 && r < x.rows && (i == 0 || r > rows[static_cast<size_t>(i) - 1]), "select_rows: rows must ascend");
    std::memcpy(y.row(i), x.row(r), bytes);
  }
  if (!ctx.tape) return y;
  ctx.tape->track(y);
  ctx.tape->record([x, y, bytes, kept = std::vector<int32_t>(rows.begin(), rows.end())](Context& c) {
    const float* dy = c.tape->grad(y.slot);
    if (!dy || x.slot < 0) return;
    float* dx = c.arena.floats(x.size());
    std::memset(dx, 0, static_cast<size_t>(x.size()) * sizeof(float));
    for (size_t i = 0; i < kept.size(); ++i) std::memcpy(dx + kept[i] * x.cols, dy + static_cast<int64_t>(i) * x.cols, bytes);
    c.tape->add_grad(c, x, dx, true);
  });
  return y;
}

}  // namespace raison
