#include "kernels/ref/common.h"

namespace raison::ref {
namespace {
const uint8_t* panel_of(const PackedView& w, int64_t n) { return w.data + n / 16 * panel_bytes(w.type, w.cols); }

uint16_t load_u16(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return h;
}

// Q8_0 against quant(x, 127) per 32 values.
void quantize_row(const float* x, int64_t k, int8_t* codes, float* scales) {
  for (int64_t b = 0; b < k / 32; ++b) {
    float a = 0;
    for (int i = 0; i < 32; ++i) {
      const float v = std::fabs(x[32 * b + i]);
      a = v > a ? v : a;
    }
    const float inverse = 127.0f / a;
    const bool zero = !(a > 0) || std::isinf(inverse);
    scales[b] = zero ? 0.0f : a / 127.0f;
    for (int i = 0; i < 32; ++i) {  // nearbyint: to nearest even in the default rounding mode
      const float q = zero ? 0.0f : std::nearbyint(x[32 * b + i] * inverse);
      codes[32 * b + i] = static_cast<int8_t>(q > 127 ? 127 : q < -127 ? -127 : std::isnan(q) ? 0 : q);
    }
  }
}

float dot_q8(const PackedView& w, int64_t n, const int8_t* codes, const float* scales) {
  const uint8_t* panel = panel_of(w, n);
  const int64_t lane = n % 16;
  float acc = 0;
  for (int64_t b = 0; b < w.cols / 32; ++b) {
    int32_t sum = 0;
    const uint8_t* block = panel + q8_scale_bytes(w.cols) + b * 512;
    for (int i = 0; i < 32; ++i) sum += static_cast<int8_t>(block[i / 4 * 64 + lane * 4 + i % 4]) * codes[32 * b + i];
    const float t = f16_to_f32(load_u16(panel + (b * 16 + lane) * 2)) * static_cast<float>(sum);
    acc = std::fma(scales[b], t, acc);
  }
  return acc;
}
}  // namespace

float weight_at(const PackedView& w, int64_t n, int64_t k) {
  const uint8_t* panel = panel_of(w, n);
  const int64_t lane = n % 16;
  switch (w.type) {
    case DType::F32: {
      float f;
      std::memcpy(&f, panel + (k * 16 + lane) * 4, 4);
      return f;
    }
    case DType::F16: return f16_to_f32(load_u16(panel + (k * 16 + lane) * 2));
    case DType::BF16: return bf16_to_f32(load_u16(panel + (k * 16 + lane) * 2));
    default: {  // Q8_0
      const auto code = static_cast<int8_t>(panel[q8_scale_bytes(w.cols) + k / 4 * 64 + lane * 4 + k % 4]);
      return static_cast<float>(code) * f16_to_f32(load_u16(panel + (k / 32 * 16 + lane) * 2));
    }
  }
}

void matmul(Exec& exec, const PackedView& w, const float* x, int64_t ldx, int64_t rows, float* y, int64_t ldy) {
  parallel(exec, rows, [&](int64_t r, int worker) {
    if (w.type == DType::Q8_0) {
      auto* scales = static_cast<float*>(exec.scratch(worker, 0, static_cast<size_t>(w.cols / 32) * 4));
      auto* codes = static_cast<int8_t*>(exec.scratch(worker, 1, static_cast<size_t>(w.cols)));
      quantize_row(x + r * ldx, w.cols, codes, scales);
      for (int64_t n = 0; n < w.rows; ++n) y[r * ldy + n] = dot_q8(w, n, codes, scales);
      return;
    }
    for (int64_t n = 0; n < w.rows; ++n) {
      float acc = 0;
      for (int64_t k = 0; k < w.cols; ++k) acc = std::fma(weight_at(w, n, k), x[r * ldx + k], acc);
      y[r * ldy + n] = acc;
    }
  });
}

void matmul_dx(Exec& exec, const PackedView& w, const float* dy, int64_t lddy, int64_t rows, float* dx, int64_t lddx) {
  parallel(exec, w.cols, [&](int64_t k, int) {
    for (int64_t r = 0; r < rows; ++r) {
      float acc = 0;
      for (int64_t n = 0; n < w.rows; ++n) acc = std::fma(dy[r * lddy + n], weight_at(w, n, k), acc);
      dx[r * lddx + k] = acc;
    }
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
  parallel(exec, rows, [&](int64_t r, int) {
    for (int64_t k = 0; k < w.cols; ++k) y[r * ldy + k] = weight_at(w, ids[r], k);
  });
}

void embedding_dw(Exec& exec, const int32_t* ids, const float* dy, int64_t lddy, int64_t rows, int64_t k, float* dw) {
  parallel(exec, (k + 15) / 16, [&](int64_t block, int) {  // each column belongs to one item: rows stay in order
    const int64_t end = block * 16 + 16 < k ? block * 16 + 16 : k;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = block * 16; i < end; ++i) dw[(ids[r] / 16 * k + i) * 16 + ids[r] % 16] += dy[r * lddy + i];
  });
}

}  // namespace raison::ref
