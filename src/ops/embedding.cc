#include "ops/check.h"
#include "ops/ops.h"

namespace raison {

Tensor embedding(Context& ctx, const Parameter& table, std::span<const int32_t> ids) {
  check_shape(table.is_matrix(), "embedding: table is no matrix");
  for (int32_t id : ids) check_shape(id >= 0 && id < table.shape[0], "embedding: token id out of range");
  const auto rows = static_cast<int64_t>(ids.size());
  Tensor y = ctx.tensor(rows, table.shape[1]);
  ctx.kernels.embedding(ctx.exec, table.packed().view(), ids.data(), rows, y.data, y.cols);
  if (!ctx.tape || !table.trainable) return y;
  ctx.tape->track(y);
  ctx.tape->record([&table, y, kept = std::vector<int32_t>(ids.begin(), ids.end())](Context& c) {
    const float* dy = c.tape->grad(y.slot);
    if (!dy) return;
    c.kernels.embedding_dw(c.exec, kept.data(), dy, y.cols, y.rows, y.cols, c.tape->gradients().micro_zeroed(table));
  });
  return y;
}

}  // namespace raison
