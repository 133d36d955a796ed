#include "tensor/quantize_k.h"

#include <cmath>
#include <cstring>

#include "tensor/blocks.h"
#include "tensor/codebooks.h"

namespace raison::blocks {
namespace {

constexpr int kTrials = 24;  // at most; the loops over trials are the inner ones, so that they need no reordered sums

// Round half to even without libm, for |v| < 2^22.
float nearest(float v) { return (v + 12582912.0f) - 12582912.0f; }
float clamp(float v, float lo, float hi) {
  v = v > lo ? v : lo;  // NaN becomes lo
  return v < hi ? v : hi;
}
int nearest_int(float v, int lo, int hi) {
  return static_cast<int>(nearest(clamp(v, static_cast<float>(lo), static_cast<float>(hi))));
}

void store_half(uint8_t* p, float f) {
  const uint16_t h = f32_to_f16_saturate(f);
  std::memcpy(p, &h, 2);
}

// What cannot be scaled: infinities and NaN would spoil their whole block of 256, so they count as the largest finite value of f16
// and as 0.
void sane_block(const float* x, int n, float* out) {
  for (int i = 0; i < n; ++i) out[i] = std::isnan(x[i]) ? 0 : clamp(x[i], -65504.0f, 65504.0f);
}

struct AffineFit {
  float scale = 0, minimum = 0;  // x ~ scale * code - minimum, both >= 0
};

// The best of trial step widths (steps + first + 0.1 t) / (max - min), each with its least-squares scale and minimum. n <= 32.
AffineFit fit_affine(const float* x, const float* w, int n, int steps, float first, int trials) {
  float lo = 0, hi = x[0];
  for (int i = 0; i < n; ++i) {
    lo = x[i] < lo ? x[i] : lo;
    hi = x[i] > hi ? x[i] : hi;
  }
  AffineFit best;
  best.minimum = -lo;
  if (!(hi > lo)) return best;
  const auto top = static_cast<float>(steps);
  float inverse[kTrials], sl[kTrials] = {}, sll[kTrials] = {}, sxl[kTrials] = {};
  for (int t = 0; t < kTrials; ++t) inverse[t] = (top + first + 0.1f * static_cast<float>(t)) / (hi - lo);
  float sw = 0, sx = 0, sxx = 0;
  for (int i = 0; i < n; ++i) {
    const float wi = w[i], wx = w[i] * x[i], above = x[i] - lo;
    sw += wi;
    sx += wx;
    sxx += wx * x[i];
    for (int t = 0; t < kTrials; ++t) {
      const float v = above * inverse[t], capped = v < top ? v : top;  // never negative
      const float l = (capped + 12582912.0f) - 12582912.0f, wl = wi * l;
      sl[t] += wl;
      sll[t] += wl * l;
      sxl[t] += wx * l;
    }
  }
  double least = 0;
  bool found = false;
  for (int t = 0; t < trials; ++t) {
    const double a = sw, b = sl[t], c = sll[t], p = sx, q = sxl[t], d = a * c - b * b;
    if (!(d > 0)) continue;
    double scale = (a * q - p * b) / d, offset = (c * p - b * q) / d;
    if (offset > 0) {
      offset = 0;
      scale = c > 0 ? q / c : 0;
    }
    const double off = sxx - 2 * scale * q - 2 * offset * p + scale * scale * c + 2 * scale * offset * b + offset * offset * a;
    if (scale > 0 && (!found || off < least)) {
      found = true;
      least = off;
      best.scale = static_cast<float>(scale);
      best.minimum = static_cast<float>(-offset);
    }
  }
  if (!found) best.scale = (hi - lo) / top;  // weights so small that their sums vanish
  return best;
}

// The scale of a symmetric format with codes -levels .. levels - 1, of trials that bring the extreme value near the code -levels.
// n = 16. May be negative.
float fit_symmetric(const float* x, int levels) {
  constexpr int n = 16;
  float extreme = 0;
  for (int i = 0; i < n; ++i) extreme = std::fabs(x[i]) > std::fabs(extreme) ? x[i] : extreme;
  if (std::fabs(extreme) < 1e-15f) return 0;
  const float lo = static_cast<float>(-levels), hi = static_cast<float>(levels - 1);
  float inverse[kTrials], sll[kTrials] = {}, sxl[kTrials] = {};
  for (int t = 0; t < kTrials; ++t) inverse[t] = (lo - 0.1f * static_cast<float>(t - 12)) / extreme;
  for (int i = 0; i < n; ++i) {
    const float w = std::fabs(x[i]), wx = w * x[i], xi = x[i];
    for (int t = 0; t < kTrials; ++t) {
      const float v = xi * inverse[t], low = v > lo ? v : lo, capped = low < hi ? low : hi;
      const float l = (capped + 12582912.0f) - 12582912.0f;
      sll[t] += w * l * l;
      sxl[t] += wx * l;
    }
  }
  double most = -1;
  float scale = extreme / lo;
  for (int t = 0; t < kTrials; ++t) {
    if (!(sll[t] > 0)) continue;
    const double gain = static_cast<double>(sxl[t]) * sxl[t] / sll[t];
    if (gain > most) {
      most = gain;
      scale = sxl[t] / sll[t];
    }
  }
  return scale;
}

// Codes of kIq4nl's values by halves: entry v + 256 belongs to values in [v/2, (v+1)/2).
struct NearestIq4 {
  uint8_t code[512];
  NearestIq4() {
    for (int v = -256; v < 256; ++v) {
      int best = 0;
      // The middle of the interval: boundaries between two values are whole or half numbers, so nothing lies between.
      const auto off = [v](int c) { return std::fabs((static_cast<float>(v) + 0.5f) / 2 - static_cast<float>(kIq4nl[c])); };
      for (int c = 1; c < 16; ++c) best = off(c) < off(best) ? c : best;
      code[v + 256] = static_cast<uint8_t>(best);
    }
  }
};
const uint8_t* nearest_iq4() {
  static const NearestIq4 table;
  return table.code;
}
int iq4_code(const uint8_t* table, float v) { return table[static_cast<int>(clamp(v, -127.5f, 127.5f) * 2 + 256)]; }

// The scale of 32 values in kIq4nl's units.
float fit_iq4(const float* x) {
  constexpr int n = 32, trials = 15;
  const uint8_t* table = nearest_iq4();
  float extreme = 0;
  for (int i = 0; i < n; ++i) extreme = std::fabs(x[i]) > std::fabs(extreme) ? x[i] : extreme;
  if (std::fabs(extreme) < 1e-15f) return 0;
  float inverse[trials], sqq[trials] = {}, sxq[trials] = {};
  for (int t = 0; t < trials; ++t) inverse[t] = (static_cast<float>(kIq4nl[0]) + static_cast<float>(t - trials / 2)) / extreme;
  for (int i = 0; i < n; ++i) {
    const float w = std::fabs(x[i]), wx = w * x[i];
    for (int t = 0; t < trials; ++t) {
      const auto q = static_cast<float>(kIq4nl[iq4_code(table, x[i] * inverse[t])]);
      sqq[t] += w * q * q;
      sxq[t] += wx * q;
    }
  }
  double most = -1;
  float scale = extreme / static_cast<float>(kIq4nl[0]);
  for (int t = 0; t < trials; ++t) {
    if (!(sqq[t] > 0)) continue;
    const double gain = static_cast<double>(sxq[t]) * sxq[t] / sqq[t];
    if (gain > most) {
      most = gain;
      scale = sxq[t] / sqq[t];
    }
  }
  return scale;
}

// Of scales of either sign, the one of largest magnitude.
float largest(const float* scales, int n) {
  float out = 0;
  for (int i = 0; i < n; ++i) out = std::fabs(scales[i]) > std::fabs(out) ? scales[i] : out;
  return out;
}
float inverse_of(float v) {
  const float r = v != 0 ? 1.0f / v : 0.0f;
  return std::isfinite(r) ? r : 0.0f;
}

// The weighted squared error of a group with that scale and minimum, codes to nearest. n a multiple of 4.
float affine_error(const float* x, const float* w, int n, float scale, float minimum, int steps) {
  const float inverse = inverse_of(scale), top = static_cast<float>(steps);
  float lanes[4] = {};
  for (int i = 0; i < n; i += 4)
    for (int j = 0; j < 4; ++j) {
      const float v = (x[i + j] + minimum) * inverse, low = v > 0 ? v : 0, capped = low < top ? low : top;
      const float off = scale * ((capped + 12582912.0f) - 12582912.0f) - minimum - x[i + j];
      lanes[j] += w[i + j] * off * off;
    }
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

// A group's scale and minimum as multiples 0 .. top of d and m: of the nearest and their neighbours the pair of least error.
void round_fit(const float* x, const float* w, int n, int steps, int top, float d, float m, float scale, float minimum,
               int* scale_code, int* minimum_code) {
  const int s0 = nearest_int(scale, 0, top), m0 = nearest_int(minimum, 0, top);
  float least = -1;
  for (int s = s0 > 0 ? s0 - 1 : 0; s <= s0 + 1 && s <= top; ++s)
    for (int k = m0 > 0 ? m0 - 1 : 0; k <= m0 + 1 && k <= top; ++k) {
      const float off = affine_error(x, w, n, d * static_cast<float>(s), m * static_cast<float>(k), steps);
      if (least >= 0 && !(off < least)) continue;
      least = off;
      *scale_code = s;
      *minimum_code = k;
    }
}

// 256 values in groups of `size` with codes 0 .. steps, scales and minima rounded to 0 .. top; f16 scales of both at out_d, out_m.
struct AffineBlock {
  int scale[16], minimum[16];
  uint8_t code[256];
};
AffineBlock affine_block(const float* in, int size, int steps, int top, float first, int trials, uint8_t* out_d,
                         uint8_t* out_m) {
  AffineBlock b;
  float x[256], weights[256];
  sane_block(in, 256, x);
  const int groups = 256 / size;
  AffineFit fits[16];
  float most_scale = 0, most_minimum = 0;
  for (int g = 0; g < groups; ++g) {
    const float* y = x + g * size;
    float* w = weights + g * size;
    float squares = 0;
    for (int i = 0; i < size; ++i) squares += y[i] * y[i];
    const float rms = std::sqrt(squares / static_cast<float>(size));
    for (int i = 0; i < size; ++i) w[i] = rms + std::fabs(y[i]);
    fits[g] = fit_affine(y, w, size, steps, first, trials);
    most_scale = fits[g].scale > most_scale ? fits[g].scale : most_scale;
    most_minimum = fits[g].minimum > most_minimum ? fits[g].minimum : most_minimum;
  }
  store_half(out_d, most_scale / static_cast<float>(top));
  store_half(out_m, most_minimum / static_cast<float>(top));
  const float d = load_f16(out_d), m = load_f16(out_m);
  const float to_scale = static_cast<float>(top) * inverse_of(most_scale);
  const float to_minimum = static_cast<float>(top) * inverse_of(most_minimum);
  for (int g = 0; g < groups; ++g) {
    const float* y = x + g * size;
    round_fit(y, weights + g * size, size, steps, top, d, m, fits[g].scale * to_scale, fits[g].minimum * to_minimum,
              &b.scale[g], &b.minimum[g]);
    const float inverse = inverse_of(d * static_cast<float>(b.scale[g])), lift = m * static_cast<float>(b.minimum[g]);
    for (int i = 0; i < size; ++i) b.code[g * size + i] = static_cast<uint8_t>(nearest_int((y[i] + lift) * inverse, 0, steps));
  }
  return b;
}

// Eight 6-bit scales and minima in 12 bytes (blocks::scale_and_min).
void pack_scales(const AffineBlock& b, uint8_t* out) {
  for (int g = 0; g < 4; ++g) {
    out[g] = static_cast<uint8_t>(b.scale[g] | (b.scale[g + 4] >> 4) << 6);
    out[g + 4] = static_cast<uint8_t>(b.minimum[g] | (b.minimum[g + 4] >> 4) << 6);
    out[g + 8] = static_cast<uint8_t>((b.scale[g + 4] & 15) | (b.minimum[g + 4] & 15) << 4);
  }
}

// Symmetric: 16 groups, codes in -levels .. levels - 1, scales rounded to lo .. hi of which `lo` belongs to the largest.
struct SymmetricBlock {
  int scale[16];
  int code[256];
};
SymmetricBlock symmetric_block(const float* in, int levels, int lo, int hi, uint8_t* out_d) {
  SymmetricBlock b;
  float x[256], scales[16];
  sane_block(in, 256, x);
  for (int g = 0; g < 16; ++g) scales[g] = fit_symmetric(x + g * 16, levels);
  const float most = largest(scales, 16);
  store_half(out_d, most / static_cast<float>(lo));
  const float d = load_f16(out_d), to_scale = static_cast<float>(lo) * inverse_of(most);
  for (int g = 0; g < 16; ++g) {
    b.scale[g] = nearest_int(scales[g] * to_scale, lo, hi);
    const float inverse = inverse_of(d * static_cast<float>(b.scale[g]));
    for (int i = g * 16; i < g * 16 + 16; ++i) b.code[i] = nearest_int(x[i] * inverse, -levels, levels - 1);
  }
  return b;
}

// Four planes of 2 bits of each half of 128 values in 32 bytes.
template <class Code>
void pack_planes(const Code& code, uint8_t* out) {
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 32; ++i) {
      int byte = 0;
      for (int plane = 0; plane < 4; ++plane) byte |= (code(half * 128 + plane * 32 + i) & 3) << (2 * plane);
      out[half * 32 + i] = static_cast<uint8_t>(byte);
    }
}

}  // namespace

void write_q2_k(const float* x, uint8_t* out) {
  const AffineBlock b = affine_block(x, 16, 3, 15, -0.5f, 16, out + 80, out + 82);
  for (int g = 0; g < 16; ++g) out[g] = static_cast<uint8_t>(b.scale[g] | b.minimum[g] << 4);
  pack_planes([&b](int i) { return b.code[i]; }, out + 16);
}

void write_q3_k(const float* x, uint8_t* out) {
  const SymmetricBlock b = symmetric_block(x, 4, -32, 31, out + 108);
  std::memset(out, 0, 32);
  for (int i = 0; i < 256; ++i) out[i % 32] |= static_cast<uint8_t>((b.code[i] >= 0 ? 1 : 0) << (i / 32));
  pack_planes([&b](int i) { return b.code[i] & 3; }, out + 32);
  std::memset(out + 96, 0, 12);
  for (int g = 0; g < 16; ++g) {
    const int scale = b.scale[g] + 32;
    out[96 + g % 8] |= static_cast<uint8_t>((scale & 15) << (g / 8 * 4));
    out[104 + g % 4] |= static_cast<uint8_t>((scale >> 4) << (g / 4 * 2));
  }
}

void write_q4_k(const float* x, uint8_t* out) {
  const AffineBlock b = affine_block(x, 32, 15, 63, -1.0f, 21, out, out + 2);
  pack_scales(b, out + 4);
  for (int pair = 0; pair < 4; ++pair)
    for (int i = 0; i < 32; ++i)
      out[16 + pair * 32 + i] = static_cast<uint8_t>(b.code[pair * 64 + i] | b.code[pair * 64 + 32 + i] << 4);
}

void write_q5_k(const float* x, uint8_t* out) {
  const AffineBlock b = affine_block(x, 32, 31, 63, -0.5f, 16, out, out + 2);
  pack_scales(b, out + 4);
  std::memset(out + 16, 0, 32);
  for (int g = 0; g < 8; ++g)
    for (int i = 0; i < 32; ++i) out[16 + i] |= static_cast<uint8_t>((b.code[g * 32 + i] >> 4) << g);
  for (int pair = 0; pair < 4; ++pair)
    for (int i = 0; i < 32; ++i)
      out[48 + pair * 32 + i] = static_cast<uint8_t>((b.code[pair * 64 + i] & 15) | (b.code[pair * 64 + 32 + i] & 15) << 4);
}

void write_q6_k(const float* x, uint8_t* out) {
  const SymmetricBlock b = symmetric_block(x, 32, -128, 127, out + 208);
  const auto code = [&b](int i) { return b.code[i] + 32; };
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 64; ++i)
      out[half * 64 + i] = static_cast<uint8_t>((code(half * 128 + i) & 15) | (code(half * 128 + 64 + i) & 15) << 4);
  pack_planes([&code](int i) { return code(i) >> 4; }, out + 128);
  for (int g = 0; g < 16; ++g) out[192 + g] = static_cast<uint8_t>(static_cast<int8_t>(b.scale[g]));
}

void write_iq4_nl(const float* in, uint8_t* out) {
  float x[32];
  const uint8_t* table = nearest_iq4();
  sane_block(in, 32, x);
  const float scale = fit_iq4(x), inverse = inverse_of(scale);
  store_half(out, scale);
  for (int i = 0; i < 16; ++i)
    out[2 + i] = static_cast<uint8_t>(iq4_code(table, x[i] * inverse) | iq4_code(table, x[16 + i] * inverse) << 4);
}

void write_iq4_xs(const float* in, uint8_t* out) {
  float x[256], scales[8];
  const uint8_t* table = nearest_iq4();
  sane_block(in, 256, x);
  for (int g = 0; g < 8; ++g) scales[g] = fit_iq4(x + g * 32);
  const float most = largest(scales, 8);
  store_half(out, most / -32.0f);
  const float d = load_f16(out), to_scale = -32.0f * inverse_of(most);
  int high = 0;
  std::memset(out + 4, 0, 4);
  for (int g = 0; g < 8; ++g) {
    const int scale = nearest_int(scales[g] * to_scale, -32, 31);
    high |= ((scale + 32) >> 4) << (2 * g);
    out[4 + g / 2] |= static_cast<uint8_t>(((scale + 32) & 15) << (g % 2 * 4));
    const float inverse = inverse_of(d * static_cast<float>(scale));
    const float* y = x + g * 32;
    for (int i = 0; i < 16; ++i)
      out[8 + g * 16 + i] = static_cast<uint8_t>(iq4_code(table, y[i] * inverse) | iq4_code(table, y[16 + i] * inverse) << 4);
  }
  const auto word = static_cast<uint16_t>(high);
  std::memcpy(out + 2, &word, 2);
}

}  // namespace raison::blocks
