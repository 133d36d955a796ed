// y = x W^T for block types: blocks taken apart into integers one value at a time (docs/numerics.md, section 3).
#include "kernels/ref/common.h"
#include "tensor/codebooks.h"

namespace raison::ref {
namespace {
// A weight is d * scale[i / width] * code[i], less dmin * minimum[i / width], or plus m.
struct Block {
  int code[256];
  int scale[16], minimum[16];
  int width;  // values a sub-scale serves
  float d, dmin, m;
};

int u16_at(const uint8_t* p) { return p[0] | p[1] << 8; }
uint32_t u32_at(const uint8_t* p) { return static_cast<uint32_t>(u16_at(p)) | static_cast<uint32_t>(u16_at(p + 2)) << 16; }
float f16_at(const uint8_t* p) { return f16_to_f32(static_cast<uint16_t>(u16_at(p))); }
int nibble(const uint8_t* p, int i) { return p[i / 2] >> (i % 2 * 4) & 15; }
int bits(const uint8_t* p, int first, int count) {  // of a little-endian stream; at most 9
  const int at = first / 8, shift = first % 8;
  int v = p[at] >> shift;
  if (shift + count > 8) v |= p[at + 1] << (8 - shift);
  return v & ((1 << count) - 1);
}

// Blocks of 32: the low nibbles of 16 bytes, then the high ones.
int split_nibble(const uint8_t* p, int i) { return i < 16 ? p[i] & 15 : p[i - 16] >> 4; }

void read_32(DType type, const uint8_t* p, Block& b) {
  b.width = 32;
  b.d = f16_at(p);
  if (type == DType::Q4_1 || type == DType::Q5_1) b.m = f16_at(p + 2);
  if (type == DType::MXFP4) b.d = std::ldexp(1.0f, p[0] - 128);
  for (int i = 0; i < 32; ++i) switch (type) {
      case DType::Q4_0: b.code[i] = split_nibble(p + 2, i) - 8; break;
      case DType::Q4_1: b.code[i] = split_nibble(p + 4, i); break;
      case DType::Q5_0: b.code[i] = (split_nibble(p + 6, i) | bits(p + 2, i, 1) << 4) - 16; break;
      case DType::Q5_1: b.code[i] = split_nibble(p + 8, i) | bits(p + 4, i, 1) << 4; break;
      case DType::IQ4_NL: b.code[i] = kIq4nl[split_nibble(p + 2, i)]; break;
      case DType::MXFP4: b.code[i] = kMxfp4[split_nibble(p + 1, i)]; break;
      default: b.code[i] = static_cast<int8_t>(p[2 + i]); break;  // Q8_0
    }
}

// The 2-bit code i where each half of 128 values has four planes of 32 bytes.
int plane_2(const uint8_t* p, int i) { return p[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3; }

void read_k(DType type, const uint8_t* p, Block& b) {
  b.width = type == DType::Q4_K || type == DType::Q5_K ? 32 : 16;
  switch (type) {
    case DType::Q2_K:
      b.d = f16_at(p + 80), b.dmin = f16_at(p + 82);
      for (int s = 0; s < 16; ++s) b.scale[s] = p[s] & 15, b.minimum[s] = p[s] >> 4;
      for (int i = 0; i < 256; ++i) b.code[i] = plane_2(p + 16, i);
      return;
    case DType::Q3_K:
      b.d = f16_at(p + 108);
      for (int s = 0; s < 16; ++s)
        b.scale[s] = ((p[96 + s % 8] >> (s / 8 * 4) & 15) | (p[104 + s % 4] >> (s / 4 * 2) & 3) << 4) - 32;
      for (int i = 0; i < 256; ++i) b.code[i] = plane_2(p + 32, i) + 4 * (p[i % 32] >> (i / 32) & 1) - 4;
      return;
    case DType::Q6_K:
      b.d = f16_at(p + 208);
      for (int s = 0; s < 16; ++s) b.scale[s] = static_cast<int8_t>(p[192 + s]);
      for (int i = 0; i < 256; ++i)
        b.code[i] = ((p[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 15) | plane_2(p + 128, i) << 4) - 32;
      return;
    default: break;
  }
  b.d = f16_at(p), b.dmin = f16_at(p + 2);  // Q4_K, Q5_K
  for (int s = 0; s < 4; ++s) {
    b.scale[s] = p[4 + s] & 63, b.minimum[s] = p[8 + s] & 63;
    b.scale[4 + s] = (p[12 + s] & 15) | p[4 + s] >> 6 << 4;
    b.minimum[4 + s] = p[12 + s] >> 4 | p[8 + s] >> 6 << 4;
  }
  const uint8_t* nibbles = p + (type == DType::Q4_K ? 16 : 48);
  for (int i = 0; i < 256; ++i) {
    b.code[i] = nibbles[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
    if (type == DType::Q5_K) b.code[i] |= (p[16 + i % 32] >> (i / 32) & 1) << 4;
  }
}

void read_ternary(DType type, const uint8_t* p, Block& b) {
  b.width = 32;
  b.d = f16_at(p + (type == DType::TQ1_0 ? 52 : 64));
  for (int& s : b.scale) s = 1;
  static constexpr int kPower[] = {1, 3, 9, 27, 81};
  for (int i = 0; i < 256; ++i) {
    if (type == DType::TQ2_0) {
      b.code[i] = plane_2(p, i) - 1;
      continue;
    }
    const int byte = i < 160 ? i % 32 : i < 240 ? 32 + i % 16 : 48 + i % 4;
    const int digit = i < 160 ? i / 32 : i < 240 ? (i - 160) / 16 : (i - 240) / 4;
    b.code[i] = ((p[byte] * kPower[digit] & 255) * 3 >> 8) - 1;
  }
}

int entry(const uint32_t* words, int i) { return static_cast<int>(words[i / 4] >> (i % 4 * 8) & 255); }
int negated(int magnitude, uint32_t negative) { return (negative & 1) != 0 ? -magnitude : magnitude; }

void read_iq1(DType type, const uint8_t* p, Block& b) {
  const bool small = type == DType::IQ1_S;
  b.width = small ? 32 : 16;
  const uint8_t* index = small ? p + 2 : p;
  int d = 0;
  for (int i = 0; i < 4; ++i) d |= p[49 + 2 * i] >> 4 << (4 * i);
  b.d = (small ? f16_at(p) : f16_to_f32(static_cast<uint16_t>(d))) / 8;
  for (int s = 0; s < 256 / b.width; ++s)
    b.scale[s] = 2 * (small ? p[35 + 2 * s] >> 4 & 7 : u16_at(p + 48 + s / 4 * 2) >> (s % 4 * 3) & 7) + 1;
  for (int i = 0; i < 256; ++i) {
    const int eight = i / 8;
    const int word = u16_at(p + 34 + (small ? i / 32 * 2 : 0));
    const int top = small ? word >> (eight % 4 * 3) & 7 : nibble(p + 32, eight) & 7;
    const bool down = small ? (word & 0x8000) != 0 : (nibble(p + 32, eight) & 8) != 0;
    b.code[i] = 8 * static_cast<int8_t>(entry(kIq1s[index[eight] | top << 8], i % 8)) + (down ? -1 : 1);
  }
}

void read_iq2(DType type, const uint8_t* p, Block& b) {
  b.width = type == DType::IQ2_XXS ? 32 : 16;
  b.d = f16_at(p) / 8;
  for (int s = 0; s < 256 / b.width; ++s)
    b.scale[s] = 2 * (type == DType::IQ2_XXS  ? p[9 + 8 * s] >> 4
                      : type == DType::IQ2_XS ? nibble(p + 66, s)
                                              : nibble(p + 74, s)) +
                 1;
  for (int i = 0; i < 256; ++i) {
    const int eight = i / 8;
    const uint32_t* words;
    uint32_t signs;
    if (type == DType::IQ2_XXS) {
      const uint8_t* group = p + 2 + i / 32 * 8;
      words = kIq2xxs[group[eight % 4]];
      signs = kSigns7[u32_at(group + 4) >> (eight % 4 * 7) & 127];
    } else if (type == DType::IQ2_XS) {
      const int word = u16_at(p + 2 + 2 * eight);
      words = kIq2xs[word & 511];
      signs = kSigns7[word >> 9];
    } else {
      words = kIq2s[p[2 + eight] | bits(p + 66, 2 * eight, 2) << 8];
      signs = p[34 + eight];
    }
    b.code[i] = negated(entry(words, i % 8), signs >> (i % 8));
  }
}

void read_iq3(DType type, const uint8_t* p, Block& b) {
  const bool small = type == DType::IQ3_XXS;
  b.width = 32;
  b.d = small ? f16_at(p) / 4 : f16_at(p);
  for (int s = 0; s < 8; ++s) b.scale[s] = 2 * (small ? p[69 + 4 * s] >> 4 : nibble(p + 106, s)) + 1;
  for (int i = 0; i < 256; ++i) {
    const int four = i / 4;
    const uint32_t word = small ? kIq3xxs[p[2 + four]] : kIq3s[p[2 + four] | bits(p + 66, four, 1) << 8];
    const uint32_t signs = small ? kSigns7[u32_at(p + 66 + i / 32 * 4) >> (i / 8 % 4 * 7) & 127] : p[74 + i / 8];
    b.code[i] = negated(entry(&word, i % 4), signs >> (i % 8));
  }
}

void read_iq4_xs(const uint8_t* p, Block& b) {
  b.width = 32;
  b.d = f16_at(p);
  for (int s = 0; s < 8; ++s) b.scale[s] = (nibble(p + 4, s) | bits(p + 2, 2 * s, 2) << 4) - 32;
  for (int i = 0; i < 256; ++i) b.code[i] = kIq4nl[split_nibble(p + 8 + i / 32 * 16, i % 32)];
}

void read(DType type, const uint8_t* raw, Block& b) {
  switch (type) {
    case DType::Q2_K:
    case DType::Q3_K:
    case DType::Q4_K:
    case DType::Q5_K:
    case DType::Q6_K: return read_k(type, raw, b);
    case DType::TQ1_0:
    case DType::TQ2_0: return read_ternary(type, raw, b);
    case DType::IQ1_S:
    case DType::IQ1_M: return read_iq1(type, raw, b);
    case DType::IQ2_XXS:
    case DType::IQ2_XS:
    case DType::IQ2_S: return read_iq2(type, raw, b);
    case DType::IQ3_XXS:
    case DType::IQ3_S: return read_iq3(type, raw, b);
    case DType::IQ4_XS: return read_iq4_xs(raw, b);
    default: return read_32(type, raw, b);
  }
}

bool has_minima(DType type) { return type == DType::Q2_K || type == DType::Q4_K || type == DType::Q5_K; }
bool has_minimum(DType type) { return type == DType::Q4_1 || type == DType::Q5_1; }

// quant(x, 127), one scale for n values.
float quantize(const float* x, int n, int8_t* codes) {
  float a = 0;
  for (int i = 0; i < n; ++i) {
    const float v = std::fabs(x[i]);
    a = v > a ? v : a;
  }
  const float inverse = 127.0f / a;
  const bool zero = !(a > 0) || std::isinf(inverse);
  for (int i = 0; i < n; ++i) {  // nearbyint: to nearest even in the default rounding mode
    const float q = zero ? 0.0f : std::nearbyint(x[i] * inverse);
    codes[i] = static_cast<int8_t>(q > 127 ? 127 : q < -127 ? -127 : std::isnan(q) ? 0 : q);
  }
  return zero ? 0.0f : a / 127.0f;
}

// A block's part of an output, but for the activations' scale.
float dot(DType type, const Block& b, const int8_t* x) {
  int32_t total = 0, mins = 0, plain = 0;
  const int n = dtype_info(type).block_elements;
  for (int first = 0; first < n; first += b.width) {
    int32_t products = 0, sum = 0;
    for (int i = first; i < first + b.width; ++i) products += b.code[i] * x[i], sum += x[i];
    if (n == 32) {
      total = products, plain = sum;
    } else {
      total += b.scale[first / b.width] * products;
      if (has_minima(type)) mins += b.minimum[first / b.width] * sum;
    }
  }
  const float t = b.d * static_cast<float>(total);
  if (has_minimum(type)) return std::fma(b.m, static_cast<float>(plain), t);
  return has_minima(type) ? std::fma(-b.dmin, static_cast<float>(mins), t) : t;
}

// Block `index` of row n as files hold it.
void gather(const PackedView& w, int64_t n, int64_t index, uint8_t* raw) {
  const PanelFormat f = panel_format(w.type);
  const uint8_t* panel = w.data + n / 16 * panel_bytes(w.type, w.cols);
  const uint8_t* body = panel + panel_head_bytes(w.type, w.cols) + index * 16 * f.body_bytes;
  for (int i = 0; i < f.head_bytes; ++i) raw[f.head_at + i] = panel[(index * 16 + n % 16) * f.head_bytes + i];
  for (int i = 0; i < f.body_bytes; ++i) raw[f.body_at + i] = body[i / 4 * 64 + n % 16 * 4 + i % 4];
}
}  // namespace

void matmul_blocks(Exec& exec, const PackedView& w, const float* x, int64_t ldx, int64_t rows, float* y, int64_t ldy) {
  const int size = dtype_info(w.type).block_elements;
  const int64_t blocks = w.cols / size;
  auto* codes = static_cast<int8_t*>(exec.scratch(0, 3, static_cast<size_t>(rows * w.cols)));
  auto* scales = static_cast<float*>(exec.scratch(0, 2, static_cast<size_t>(rows * blocks) * 4));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < blocks; ++i)
      scales[r * blocks + i] = quantize(x + r * ldx + i * size, size, codes + r * w.cols + i * size);
  parallel(exec, w.rows, [&](int64_t n, int) {  // each block is taken apart once for all rows
    for (int64_t r = 0; r < rows; ++r) y[r * ldy + n] = 0;
    for (int64_t i = 0; i < blocks; ++i) {
      uint8_t raw[kMostBlockBytes];
      Block b = {};
      gather(w, n, i, raw);
      read(w.type, raw, b);
      for (int64_t r = 0; r < rows; ++r) {
        float& acc = y[r * ldy + n];
        acc = std::fma(scales[r * blocks + i], dot(w.type, b, codes + r * w.cols + i * size), acc);
      }
    }
  });
}

}  // namespace raison::ref
