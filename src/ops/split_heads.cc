#include <cstring>

#include "ops/check.h"
#include "ops/ops.h"

namespace raison {
namespace {
// Copies `width` columns of each of `count` stretches: to[i * to_stride] = from[i * from_stride].
void copy_columns(const float* from, int64_t from_stride, float* to, int64_t to_stride, int64_t width, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(to + i * to_stride, from + i * from_stride, static_cast<size_t>(width) * sizeof(float));
}
}  // namespace

std::pair<Tensor, Tensor> split_heads(Context& ctx, const Tensor& x, int heads, int64_t left) {
  const int64_t width = x.cols / heads, right = width - left, count = x.rows * heads;
  check_shape(x.cols % heads == 0 && left > 0 && right > 0, "split_heads: widths");
  Tensor a = ctx.tensor(x.rows, heads * left), b = ctx.tensor(x.rows, heads * right);
  copy_columns(x.data, width, a.data, left, left, count);
  copy_columns(x.data + left, width, b.data, right, right, count);
  if (!ctx.tape) return {a, b};
  ctx.tape->track(a);
  ctx.tape->track(b);
  ctx.tape->record([x, a, b, width, left, right, count](Context& c) {
    const float *da = c.tape->grad(a.slot), *db = c.tape->grad(b.slot);
    if (x.slot < 0 || (!da && !db)) return;
    float* dx = c.arena.floats(x.size());
    if (!da || !db) std::memset(dx, 0, static_cast<size_t>(x.size()) * sizeof(float));
    if (da) copy_columns(da, left, dx, width, left, count);
    if (db) copy_columns(db, right, dx + left, width, right, count);
    c.tape->add_grad(c, x, dx, true);
  });
  return {a, b};
}

Tensor join_heads(Context& ctx, const Tensor& a, const Tensor& b, int heads) {
  check_shape(a.rows == b.rows && a.cols % heads == 0 && b.cols % heads == 0, "join_heads: shapes");
  const int64_t left = a.cols / heads, right = b.cols / heads, width = left + right, count = a.rows * heads;
  Tensor y = ctx.tensor(a.rows, heads * width);
  copy_columns(a.data, left, y.data, width, left, count);
  copy_columns(b.data, right, y.data + left, width, right, count);
  if (!ctx.tape) return y;
  ctx.tape->track(y);
  ctx.tape->record([a, b, y, left, right, width, count](Context& c) {
    const float* dy = c.tape->grad(y.slot);
    if (!dy) return;
    float *da = c.arena.floats(a.size()), *db = c.arena.floats(b.size());
    copy_columns(dy, width, da, left, left, count);
    copy_columns(dy + left, width, db, right, right, count);
    c.tape->add_grad(c, a, da, true);
    c.tape->add_grad(c, b, db, true);
  });
  return y;
}

}  // namespace raison
