#include "kernels/ref/common.h"

namespace raison::ref {
namespace {
constexpr int64_t kChunk = 256;  // columns dequantised at once

// f(k0, count, w) with columns [k0, k0 + count) of row n as fp32, in ascending order.
template <class F>
void for_chunks(const PackedView& w, int64_t n, F f) {
  float chunk[kChunk];
  for (int64_t k = 0; k < w.cols; k += kChunk) {
    const int64_t count = k + kChunk < w.cols ? kChunk : w.cols - k;
    dequantize_panel_row(w, n, k, count, chunk);
    f(k, count, chunk);
  }
}
}  // namespace

void matmul(Exec& exec, const PackedView& w, const float* x, int64_t ldx, int64_t rows, float* y, int64_t ldy) {
  if (is_block_type(w.type)) return matmul_blocks(exec, w, x, ldx, rows, y, ldy);
  parallel(exec, rows, [&](int64_t r, int) {
    for (int64_t n = 0; n < w.rows; ++n) {
      float acc = 0;
      for_chunks(w, n, [&](int64_t k, int64_t count, const float* chunk) {
        for (int64_t i = 0; i < count; ++i) acc = std::fma(chunk[i], x[r * ldx + k + i], acc);
      });
      y[r * ldy + n] = acc;
    }
  });
}

void matmul_dx(Exec& exec, const PackedView& w, const float* dy, int64_t lddy, int64_t rows, float* dx, int64_t lddx) {
  parallel(exec, rows, [&](int64_t r, int) {
    float* out = dx + r * lddx;
    for (int64_t k = 0; k < w.cols; ++k) out[k] = 0;
    for (int64_t n = 0; n < w.rows; ++n)
      for_chunks(w, n, [&](int64_t k, int64_t count, const float* chunk) {
        for (int64_t i = 0; i < count; ++i) out[k + i] = std::fma(dy[r * lddy + n], chunk[i], out[k + i]);
      });
  });
}

void matmul_dw(Exec& exec, const float* dy, int64_t lddy, const float* x, int64_t ldx, int64_t rows, int64_t n, int64_t k,
               float* dw, bool accumulate) {
  parallel(exec, panel_count(n), [&](int64_t p, int) {
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t lane = 0; lane < 16; ++lane) {
        float& out = dw[(p * k + i) * 16 + lane];
        float acc = accumulate ? out : 0.0f;
        if (p * 16 + lane < n)
          for (int64_t r = 0; r < rows; ++r) acc = std::fma(dy[r * lddy + p * 16 + lane], x[r * ldx + i], acc);
        out = acc;
      }
    }
  });
}

void embedding(Exec& exec, const PackedView& w, const int32_t* ids, int64_t rows, float* y, int64_t ldy) {
  parallel(exec, rows, [&](int64_t r, int) { dequantize_panel_row(w, ids[r], 0, w.cols, y + r * ldy); });
}

void embedding_dw(Exec& exec, const int32_t* ids, const float* dy, int64_t lddy, int64_t rows, int64_t k, float* dw) {
  parallel(exec, (k + 15) / 16, [&](int64_t block, int) {  // each column belongs to one item: rows stay in order
    const int64_t end = block * 16 + 16 < k ? block * 16 + 16 : k;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = block * 16; i < end; ++i) dw[(ids[r] / 16 * k + i) * 16 + ids[r] % 16] += dy[r * lddy + i];
  });
}

}  // namespace raison::ref
