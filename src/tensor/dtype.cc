#include "tensor/dtype.h"

#include <cmath>
#include <cstring>

#include "tensor/blocks.h"

namespace raison {
namespace {
// In the order of DType.
constexpr DTypeInfo kInfo[] = {
    {"F32", 1, 4},       {"F16", 1, 2},      {"BF16", 1, 2},       {"F64", 1, 8},       {"F8_E4M3", 1, 1},
    {"F8_E5M2", 1, 1},   {"F8_E8M0", 1, 1},  {"Q4_0", 32, 18},     {"Q4_1", 32, 20},    {"Q5_0", 32, 22},
    {"Q5_1", 32, 24},    {"Q8_0", 32, 34},   {"IQ4_NL", 32, 18},   {"MXFP4", 32, 17},   {"Q2_K", 256, 84},
    {"Q3_K", 256, 110},  {"Q4_K", 256, 144}, {"Q5_K", 256, 176},   {"Q6_K", 256, 210},  {"IQ4_XS", 256, 136},
    {"TQ1_0", 256, 54},  {"TQ2_0", 256, 66}, {"IQ1_S", 256, 50},   {"IQ1_M", 256, 56},  {"IQ2_XXS", 256, 66},
    {"IQ2_XS", 256, 74}, {"IQ2_S", 256, 82}, {"IQ3_XXS", 256, 98}, {"IQ3_S", 256, 110}, {"I8", 1, 1},
    {"I16", 1, 2},       {"I32", 1, 4},      {"I64", 1, 8},        {"U8", 1, 1},        {"U16", 1, 2},
    {"U32", 1, 4},       {"U64", 1, 8},      {"BOOL", 1, 1},
};
constexpr int kTypes = sizeof(kInfo) / sizeof(kInfo[0]);

float from_bits(uint32_t u) {
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
uint32_t to_bits(float f) {
  uint32_t u;
  std::memcpy(&u, &f, 4);
  return u;
}
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
}  // namespace

const DTypeInfo& dtype_info(DType type) { return kInfo[static_cast<int>(type)]; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (int i = 0; i < kTypes; ++i) {
    std::string_view n = kInfo[i].name;
    if (n.size() != name.size()) continue;
    bool same = true;
    for (size_t j = 0; j < n.size(); ++j) same = same && lower(n[j]) == lower(name[j]);
    if (same) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::optional<uint64_t> row_bytes(DType type, uint64_t elements) {
  const DTypeInfo& info = dtype_info(type);
  if (elements % static_cast<uint64_t>(info.block_elements) != 0) return std::nullopt;
  const uint64_t blocks = elements / static_cast<uint64_t>(info.block_elements);
  uint64_t bytes;
  if (__builtin_mul_overflow(blocks, static_cast<uint64_t>(info.block_bytes), &bytes)) return std::nullopt;
  return bytes;
}

float f16_to_f32(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const uint32_t exponent = (h >> 10) & 31;
  const uint32_t mantissa = h & 1023;
  if (exponent == 31) return from_bits(sign | 0x7F800000 | (mantissa << 13));
  if (exponent != 0) return from_bits(sign | ((exponent + 112) << 23) | (mantissa << 13));
  if (mantissa == 0) return from_bits(sign);
  int shift = 0;  // subnormal: normalise
  uint32_t m = mantissa;
  while (!(m & 1024)) {
    m <<= 1;
    ++shift;
  }
  return from_bits(sign | (static_cast<uint32_t>(113 - shift) << 23) | ((m & 1023) << 13));
}

uint16_t f32_to_f16(float f) {
  const uint32_t u = to_bits(f);
  const auto sign = static_cast<uint16_t>((u >> 16) & 0x8000);
  const uint32_t a = u & 0x7FFFFFFF;
  if (a > 0x7F800000) return static_cast<uint16_t>(sign | 0x7E00 | ((a >> 13) & 0x3FF));
  if (a >= 0x47800000) return static_cast<uint16_t>(sign | 0x7C00);  // >= 65536 (or infinity)
  if (a < 0x38800000) {                                              // below 2^-14: subnormal or zero
    const int exponent = static_cast<int>(a >> 23);
    if (exponent < 102) return sign;  // below 2^-25
    const uint32_t m = (a & 0x7FFFFF) | 0x800000;
    const int shift = 126 - exponent;  // 14..24
    const uint32_t half = 1u << (shift - 1);
    const uint32_t rest = m & ((1u << shift) - 1);
    uint32_t q = m >> shift;
    if (rest > half || (rest == half && (q & 1))) ++q;
    return static_cast<uint16_t>(sign | q);
  }
  const uint32_t r = a + 0xFFF + ((a >> 13) & 1);
  return static_cast<uint16_t>(sign | ((r - 0x38000000) >> 13));
}

uint16_t f32_to_f16_saturate(float f) {
  const uint16_t h = f32_to_f16(f);
  return (h & 0x7FFF) == 0x7C00 ? static_cast<uint16_t>((h & 0x8000) | 0x7BFF) : h;
}

float bf16_to_f32(uint16_t b) { return from_bits(static_cast<uint32_t>(b) << 16); }

uint16_t f32_to_bf16(float f) {
  const uint32_t u = to_bits(f);
  if ((u & 0x7FFFFFFF) > 0x7F800000) return static_cast<uint16_t>((u >> 16) | 0x40);
  return static_cast<uint16_t>((u + 0x7FFF + ((u >> 16) & 1)) >> 16);
}

uint16_t f32_to_bf16_saturate(float f) {
  const uint16_t b = f32_to_bf16(f);
  return (b & 0x7FFF) == 0x7F80 ? static_cast<uint16_t>((b & 0x8000) | 0x7F7F) : b;
}

float f8_e4m3_to_f32(uint8_t code) {
  const uint32_t sign = static_cast<uint32_t>(code & 0x80) << 24, rest = code & 0x7F;
  if (rest == 0x7F) return from_bits(sign | 0x7FC00000);
  // Exponent and mantissa at fp32's place, then the difference of the biases: exact, subnormals too.
  return from_bits(sign | 0x3F800000) * (from_bits(rest << 20) * 0x1p120f);
}
float f8_e5m2_to_f32(uint8_t code) { return f16_to_f32(static_cast<uint16_t>(code << 8)); }
float f8_e8m0_to_f32(uint8_t code) {
  if (code == 255) return from_bits(0x7FC00000);
  return code == 0 ? 0x1p-127f : from_bits(static_cast<uint32_t>(code) << 23);
}

void quantize_q8_0(const float* x, uint8_t* blocks, int64_t elements) {
  for (int64_t b = 0; b < elements / 32; ++b, x += 32, blocks += 34) {
    float amax = 0;
    for (int i = 0; i < 32; ++i) amax = std::fabs(x[i]) > amax ? std::fabs(x[i]) : amax;
    const float d = amax / 127.0f;
    const float id = d != 0 ? 1.0f / d : 0.0f;
    const uint16_t h = f32_to_f16(d);
    std::memcpy(blocks, &h, 2);
    for (int i = 0; i < 32; ++i) {
      float q = std::isfinite(id) ? std::round(x[i] * id) : 0.0f;  // half away from zero
      q = q > 127 ? 127 : q < -127 ? -127 : q;
      blocks[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::isnan(q) ? 0 : q));
    }
  }
}

namespace blocks {
Read reader(DType type) {
  switch (type) {
    case DType::Q4_0: return read_q4_0;
    case DType::Q4_1: return read_q4_1;
    case DType::Q5_0: return read_q5_0;
    case DType::Q5_1: return read_q5_1;
    case DType::Q8_0: return read_q8_0;
    case DType::IQ4_NL: return read_iq4_nl;
    case DType::MXFP4: return read_mxfp4;
    case DType::Q2_K: return read_q2_k;
    case DType::Q3_K: return read_q3_k;
    case DType::Q4_K: return read_q4_k;
    case DType::Q5_K: return read_q5_k;
    case DType::Q6_K: return read_q6_k;
    case DType::IQ4_XS: return read_iq4_xs;
    case DType::TQ1_0: return read_tq1_0;
    case DType::TQ2_0: return read_tq2_0;
    case DType::IQ1_S: return read_iq1_s;
    case DType::IQ1_M: return read_iq1_m;
    case DType::IQ2_XXS: return read_iq2_xxs;
    case DType::IQ2_XS: return read_iq2_xs;
    case DType::IQ2_S: return read_iq2_s;
    case DType::IQ3_XXS: return read_iq3_xxs;
    case DType::IQ3_S: return read_iq3_s;
    default: return nullptr;
  }
}
}  // namespace blocks

void dequantize_row(DType type, const uint8_t* row, float* out, int64_t n) {
  switch (type) {
    case DType::F32: std::memcpy(out, row, static_cast<size_t>(n) * 4); return;
    case DType::F16:
    case DType::BF16:
      for (int64_t i = 0; i < n; ++i) {
        uint16_t h;
        std::memcpy(&h, row + 2 * i, 2);
        out[i] = type == DType::F16 ? f16_to_f32(h) : bf16_to_f32(h);
      }
      return;
    case DType::F64:
      for (int64_t i = 0; i < n; ++i) {
        double d;
        std::memcpy(&d, row + 8 * i, 8);
        out[i] = static_cast<float>(d);
      }
      return;
    case DType::F8_E5M2:
      for (int64_t i = 0; i < n; ++i) out[i] = f8_e5m2_to_f32(row[i]);
      return;
    case DType::F8_E4M3:
      for (int64_t i = 0; i < n; ++i) out[i] = f8_e4m3_to_f32(row[i]);
      return;
    case DType::F8_E8M0:
      for (int64_t i = 0; i < n; ++i) out[i] = f8_e8m0_to_f32(row[i]);
      return;
    default: break;
  }
  const blocks::Read read = blocks::reader(type);
  if (read == nullptr) {
    std::memset(out, 0, static_cast<size_t>(n) * 4);
    return;
  }
  const DTypeInfo& info = dtype_info(type);
  for (int64_t i = 0; i < n; i += info.block_elements, row += info.block_bytes) read(row, out + i);
}

void dequantize_fp8_row(const uint8_t* codes, int64_t row, int64_t cols, const float* scales, float* out) {
  const float* scale = scales + row / 128 * ((cols + 127) / 128);
  for (int64_t k = 0; k < cols; ++k) out[k] = f8_e4m3_to_f32(codes[k]) * scale[k / 128];
}

}  // namespace raison
