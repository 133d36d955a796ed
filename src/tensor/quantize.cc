#include "tensor/quantize.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "tensor/blocks.h"
#include "tensor/codebooks.h"
#include "tensor/quantize_k.h"

namespace raison {
namespace {

void store_f16(uint8_t* p, float f) {
  const uint16_t h = f32_to_f16(f);
  std::memcpy(p, &h, 2);
}

// 1/d, 0 where that is no finite number: every code is then that of zero.
float reciprocal(float d) {
  const float id = d != 0 ? 1.0f / d : 0.0f;
  return std::isfinite(id) ? id : 0.0f;
}

// trunc(t) in [0, most]; NaN gives `fallback`.
int code_of(float t, int most, int fallback) {
  if (!(t >= 0)) return t < 0 ? 0 : fallback;
  return t >= static_cast<float>(most) ? most : static_cast<int>(t);
}

// The first value of largest magnitude.
float extreme(const float* x, int n) {
  float amax = 0, value = n > 0 ? x[0] : 0;
  if (std::isnan(value)) value = 0;
  for (int i = 0; i < n; ++i)
    if (std::fabs(x[i]) > amax) {
      amax = std::fabs(x[i]);
      value = x[i];
    }
  return value;
}

void range(const float* x, int n, float& lo, float& hi) {
  lo = std::numeric_limits<float>::infinity();
  hi = -lo;
  for (int i = 0; i < n; ++i) {
    lo = x[i] < lo ? x[i] : lo;
    hi = x[i] > hi ? x[i] : hi;
  }
  if (lo > hi) lo = hi = 0;  // all NaN
}

// 32 codes of 4 bits (the fifth bit to `high`, if given) in 16 bytes: the first half in the low nibbles.
void pack_nibbles(const int* codes, uint8_t* out, uint8_t* high) {
  uint32_t fifth = 0;
  for (int i = 0; i < 16; ++i) out[i] = static_cast<uint8_t>((codes[i] & 15) | (codes[16 + i] & 15) << 4);
  if (high == nullptr) return;
  for (int i = 0; i < 32; ++i) fifth |= static_cast<uint32_t>(codes[i] >> 4 & 1) << i;
  std::memcpy(high, &fifth, 4);
}

// Q4_0 (middle 8) and Q5_0 (16): the value of largest magnitude gets the code 0, so the other end has one step less.
void symmetric(const float* x, int middle, int codes[32], float& d) {
  d = extreme(x, 32) / static_cast<float>(-middle);
  const float id = reciprocal(d);
  for (int i = 0; i < 32; ++i) codes[i] = code_of(x[i] * id + (static_cast<float>(middle) + 0.5f), 2 * middle - 1, middle);
}

// Q4_1 (15 steps) and Q5_1 (31).
void affine(const float* x, int steps, int codes[32], float& d, float& lo) {
  float hi;
  range(x, 32, lo, hi);
  d = (hi - lo) / static_cast<float>(steps);
  const float id = reciprocal(d);
  for (int i = 0; i < 32; ++i) codes[i] = code_of((x[i] - lo) * id + 0.5f, steps, 0);
}

void write_q4_0(const float* x, uint8_t* out) {
  int codes[32];
  float d;
  symmetric(x, 8, codes, d);
  store_f16(out, d);
  pack_nibbles(codes, out + 2, nullptr);
}
void write_q5_0(const float* x, uint8_t* out) {
  int codes[32];
  float d;
  symmetric(x, 16, codes, d);
  store_f16(out, d);
  pack_nibbles(codes, out + 6, out + 2);
}
void write_q4_1(const float* x, uint8_t* out) {
  int codes[32];
  float d, lo;
  affine(x, 15, codes, d, lo);
  store_f16(out, d);
  store_f16(out + 2, lo);
  pack_nibbles(codes, out + 4, nullptr);
}
void write_q5_1(const float* x, uint8_t* out) {
  int codes[32];
  float d, lo;
  affine(x, 31, codes, d, lo);
  store_f16(out, d);
  store_f16(out + 2, lo);
  pack_nibbles(codes, out + 8, out + 4);
}

// The scale is the power of two that brings the largest magnitude to 4 <= m < 8 (E2M1's top binade); codes to nearest, the first
// of two equally near.
void write_mxfp4(const float* x, uint8_t* out) {
  const float amax = std::fabs(extreme(x, 32));
  int e = 0;
  if (amax > 0) e = (std::isinf(amax) ? 128 : std::ilogb(amax)) - 2 + 127;
  e = e < 0 ? 0 : e;
  out[0] = static_cast<uint8_t>(e);
  uint8_t one[17] = {static_cast<uint8_t>(e), 1};  // a block whose first value is half the scale
  float values[32];
  blocks::read_mxfp4(one, values);
  int codes[32];
  for (int i = 0; i < 32; ++i) {
    codes[i] = 0;
    float nearest = std::fabs(0 - x[i]);
    for (int c = 1; c < 16; ++c) {
      const float off = std::fabs(values[0] * static_cast<float>(kMxfp4[c]) - x[i]);
      if (off < nearest) {
        nearest = off;
        codes[i] = c;
      }
    }
  }
  pack_nibbles(codes, out + 1, nullptr);
}

// Digits 0, 1, 2 for -1, 0, 1 of the largest magnitude.
void ternary_digits(const float* x, int digits[256], float& d) {
  d = std::fabs(extreme(x, 256));
  const float id = reciprocal(d);
  for (int i = 0; i < 256; ++i) {
    const float q = std::round(x[i] * id);
    digits[i] = q >= 1 ? 2 : q <= -1 ? 0 : 1;
  }
}

void write_tq1_0(const float* x, uint8_t* out) {
  int digits[256];
  float d;
  ternary_digits(x, digits, d);
  // Five digits, the first the highest, as a fraction of 243 brought to 256 and rounded up.
  const auto pack = [&out](const int* first, int stride, int count) {
    int number = 0;
    for (int n = 0; n < 5; ++n) number = number * 3 + (n < count ? first[n * stride] : 0);
    *out++ = static_cast<uint8_t>((number * 256 + 242) / 243);
  };
  for (int m = 0; m < 32; ++m) pack(digits + m, 32, 5);
  for (int m = 0; m < 16; ++m) pack(digits + 160 + m, 16, 5);
  for (int m = 0; m < 4; ++m) pack(digits + 240 + m, 4, 4);
  store_f16(out, d);
}

void write_tq2_0(const float* x, uint8_t* out) {
  int digits[256];
  float d;
  ternary_digits(x, digits, d);
  for (int half = 0; half < 2; ++half)
    for (int m = 0; m < 32; ++m) {
      int byte = 0;
      for (int plane = 0; plane < 4; ++plane) byte |= digits[half * 128 + plane * 32 + m] << (2 * plane);
      out[half * 32 + m] = static_cast<uint8_t>(byte);
    }
  store_f16(out + 64, d);
}

using Write = void (*)(const float* x, uint8_t* out);
Write writer(DType type) {
  switch (type) {
    case DType::Q4_0: return write_q4_0;
    case DType::Q4_1: return write_q4_1;
    case DType::Q5_0: return write_q5_0;
    case DType::Q5_1: return write_q5_1;
    case DType::MXFP4: return write_mxfp4;
    case DType::TQ1_0: return write_tq1_0;
    case DType::TQ2_0: return write_tq2_0;
    case DType::Q2_K: return blocks::write_q2_k;
    case DType::Q3_K: return blocks::write_q3_k;
    case DType::Q4_K: return blocks::write_q4_k;
    case DType::Q5_K: return blocks::write_q5_k;
    case DType::Q6_K: return blocks::write_q6_k;
    case DType::IQ4_NL: return blocks::write_iq4_nl;
    case DType::IQ4_XS: return blocks::write_iq4_xs;
    default: return nullptr;
  }
}

// Sign and magnitude of f rounded to `mantissa` bits with the smallest normal exponent `first` (biased as fp32's): a code
// without the sign, which counts on beyond the largest finite value.
uint32_t round_small(uint32_t magnitude, int mantissa, uint32_t first) {
  const uint32_t exponent = magnitude >> 23;
  uint32_t shift = static_cast<uint32_t>(23 - mantissa);
  if (exponent >= first) {
    const uint32_t r = magnitude + ((1u << (shift - 1)) - 1) + (magnitude >> shift & 1);
    return (r >> shift) - ((first - 1) << mantissa);
  }
  shift += first - (exponent == 0 ? 1 : exponent);
  if (shift > 24) return 0;  // below half of the smallest value
  const uint32_t m = (magnitude & 0x7FFFFF) | (exponent == 0 ? 0 : 0x800000);
  return (m + ((1u << (shift - 1)) - 1) + (m >> shift & 1)) >> shift;
}

// `top`: the code of the largest finite value. `beyond`: what larger values become.
uint8_t encode_small(float f, int mantissa, uint32_t first, uint32_t top, uint32_t beyond, uint32_t nan) {
  uint32_t u;
  std::memcpy(&u, &f, 4);
  const uint32_t sign = u >> 24 & 0x80, magnitude = u & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<uint8_t>(sign | nan);
  const uint32_t code = round_small(magnitude, mantissa, first);
  return static_cast<uint8_t>(sign | (code > top ? beyond : code));
}
}  // namespace

bool can_quantize(DType type) {
  return type == DType::F32 || type == DType::F16 || type == DType::BF16 || type == DType::Q8_0 || writer(type) != nullptr;
}

void quantize_row(DType type, const float* x, uint8_t* out, int64_t n) {
  if (type == DType::F32) {
    std::memcpy(out, x, static_cast<size_t>(n) * 4);
  } else if (type == DType::F16 || type == DType::BF16) {
    for (int64_t i = 0; i < n; ++i) {
      const uint16_t h = type == DType::F16 ? f32_to_f16(x[i]) : f32_to_bf16(x[i]);
      std::memcpy(out + 2 * i, &h, 2);
    }
  } else if (type == DType::Q8_0) {
    quantize_q8_0(x, out, n);
  } else if (const Write write = writer(type)) {
    const DTypeInfo& info = dtype_info(type);
    for (int64_t i = 0; i < n; i += info.block_elements, out += info.block_bytes) write(x + i, out);
  }
}

uint8_t f32_to_f8_e4m3(float f, bool saturate) { return encode_small(f, 3, 121, 0x7E, saturate ? 0x7E : 0x7F, 0x7F); }
uint8_t f32_to_f8_e5m2(float f, bool saturate) { return encode_small(f, 2, 113, 0x7B, saturate ? 0x7B : 0x7C, 0x7F); }

}  // namespace raison
