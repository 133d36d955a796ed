// Products with the part of a matrix that belongs to a head. A head's rows need not begin where a panel does: the panels that
// cover them are multiplied and what is not the head's is left out, or met by zeros. Neither changes a bit of a chain.
#include <cstring>

#include "ops/check.h"
#include "ops/ops.h"
#include "ops/serial_exec.h"

namespace raison {
namespace {

// The panels that cover a head's rows.
struct Cover {
  PackedView view;
  int64_t lead;  // rows of the view before the head's first

  Cover(const PackedView& w, const HeadRows& part, int64_t head) {
    const int64_t begin = head * part.stride + part.first, end = begin + part.rows;
    const int64_t panel = begin / kPanelRows, last = panel_count(end);
    const int64_t rows = (last * kPanelRows < w.rows ? last * kPanelRows : w.rows) - panel * kPanelRows;
    view = {w.type, rows, w.cols, w.data + panel * panel_bytes(w.type, w.cols)};
    lead = begin - panel * kPanelRows;
  }
  bool exact(const HeadRows& part) const { return lead == 0 && view.rows == part.rows; }
};

void check_part(const Parameter& weight, const HeadRows& part) {
  check_shape(weight.is_matrix() && part.heads > 0 && part.first >= 0 && part.rows > 0 &&
                  (part.heads - 1) * part.stride + part.first + part.rows <= weight.shape[0],
              "head_linear: rows outside of the matrix");
}

// Columns a view's product takes at most: of a part that panels do not cover exactly.
int64_t widest_cover(const HeadRows& part) { return (part.rows + 2 * kPanelRows - 1) / kPanelRows * kPanelRows; }

// y_h = x_h W_hT.
void product(Context& ctx, const PackedView& w, const HeadRows& part, const float* x, int64_t tokens, float* y) {
  const int64_t ldx = part.heads * w.cols, ldy = part.heads * part.rows, wide = widest_cover(part);
  float* covers = ctx.arena.floats(part.heads * tokens * wide);  // of heads whose panels hold more than their rows
  parallel_serial(ctx.exec, part.heads, [&](int64_t h, Exec& exec) {
    const Cover cover(w, part, h);
    float* out = y + h * part.rows;
    if (cover.exact(part)) return ctx.kernels.matmul(exec, cover.view, x + h * w.cols, ldx, tokens, out, ldy);
    float* all = covers + h * tokens * wide;
    ctx.kernels.matmul(exec, cover.view, x + h * w.cols, ldx, tokens, all, wide);
    for (int64_t t = 0; t < tokens; ++t)
      std::memcpy(out + t * ldy, all + t * wide + cover.lead, static_cast<size_t>(part.rows) * sizeof(float));
  });
}

// A head's columns of x [tokens, heads*rows] with zeros where the cover has other rows: [tokens, wide].
void widen(const float* x, int64_t ldx, int64_t tokens, const HeadRows& part, int64_t lead, int64_t wide, float* out) {
  std::memset(out, 0, static_cast<size_t>(tokens * wide) * sizeof(float));
  for (int64_t t = 0; t < tokens; ++t)
    std::memcpy(out + t * wide + lead, x + t * ldx, static_cast<size_t>(part.rows) * sizeof(float));
}

// y_h = x_h W_h.
void transposed_product(Context& ctx, const PackedView& w, const HeadRows& part, const float* x, int64_t tokens, float* y) {
  const int64_t ldx = part.heads * part.rows, ldy = part.heads * w.cols, wide = widest_cover(part);
  float* covers = ctx.arena.floats(part.heads * tokens * wide);
  parallel_serial(ctx.exec, part.heads, [&](int64_t h, Exec& exec) {
    const Cover cover(w, part, h);
    const float* in = x + h * part.rows;
    if (cover.exact(part)) return ctx.kernels.matmul_dx(exec, cover.view, in, ldx, tokens, y + h * w.cols, ldy);
    float* all = covers + h * tokens * wide;
    widen(in, ldx, tokens, part, cover.lead, wide, all);
    ctx.kernels.matmul_dx(exec, cover.view, all, wide, tokens, y + h * w.cols, ldy);
  });
}

// dW_h += a_hT b_h, head after head: neighbours may share a panel. a [tokens, heads*rows], b [tokens, heads*cols].
void weight_gradient(Context& ctx, const Parameter& weight, const HeadRows& part, const float* a, const float* b,
                     int64_t tokens) {
  float* dw = ctx.tape->gradients().micro_zeroed(weight);
  const PackedView w = weight.matrix.view();
  const int64_t lda = part.heads * part.rows, ldb = part.heads * w.cols, wide = widest_cover(part);
  float* all = ctx.arena.floats(tokens * wide);
  for (int64_t h = 0; h < part.heads; ++h) {
    const Cover cover(w, part, h);
    widen(a + h * part.rows, lda, tokens, part, cover.lead, wide, all);
    float* to = dw + (cover.view.data - w.data) / static_cast<int64_t>(sizeof(float));
    ctx.kernels.matmul_dw(ctx.exec, all, wide, b + h * w.cols, ldb, tokens, cover.view.rows, w.cols, to, true);
  }
}
}  // namespace

Tensor head_linear(Context& ctx, const Parameter& weight, const HeadRows& part, const Tensor& x) {
  check_part(weight, part);
  check_shape(x.cols == part.heads * weight.shape[1], "head_linear: width of input");
  Tensor y = ctx.tensor(x.rows, part.heads * part.rows);
  const auto mark = ctx.arena.mark();
  product(ctx, weight.packed().view(), part, x.data, x.rows, y.data);
  ctx.arena.rewind(mark);
  if (!ctx.tape) return y;
  ctx.tape->track(y);
  ctx.tape->record([&weight, part, x, y](Context& c) {
    const float* dy = c.tape->grad(y.slot);
    if (!dy) return;
    float* dx = c.arena.floats(x.size());
    const auto inner = c.arena.mark();
    if (weight.trainable) weight_gradient(c, weight, part, dy, x.data, x.rows);
    transposed_product(c, weight.packed().view(), part, dy, x.rows, dx);
    c.arena.rewind(inner);
    c.tape->add_grad(c, x, dx, true);
  });
  return y;
}

Tensor head_linear_transposed(Context& ctx, const Parameter& weight, const HeadRows& part, const Tensor& x) {
  check_part(weight, part);
  check_shape(x.cols == part.heads * part.rows, "head_linear_transposed: width of input");
  Tensor y = ctx.tensor(x.rows, part.heads * weight.shape[1]);
  const auto mark = ctx.arena.mark();
  transposed_product(ctx, weight.packed().view(), part, x.data, x.rows, y.data);
  ctx.arena.rewind(mark);
  if (!ctx.tape) return y;
  ctx.tape->track(y);
  ctx.tape->record([&weight, part, x, y](Context& c) {
    const float* dy = c.tape->grad(y.slot);
    if (!dy) return;
    float* dx = c.arena.floats(x.size());
    const auto inner = c.arena.mark();
    if (weight.trainable) weight_gradient(c, weight, part, x.data, dy, x.rows);
    product(c, weight.packed().view(), part, dy, x.rows, dx);
    c.arena.rewind(inner);
    c.tape->add_grad(c, x, dx, true);
  });
  return y;
}

}  // namespace raison
