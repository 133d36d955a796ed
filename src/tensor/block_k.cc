// K formats: 256 values in groups of 16 or 32 whose scales are themselves quantised.
#include "tensor/blocks.h"

namespace raison::blocks {

// Sixteen groups of 16; 4-bit scale and minimum in a byte. Two halves of 128 values, each 32 bytes with four planes of 2 bits.
void read_q2_k(const uint8_t* block, float* out) {
  const uint8_t *scales = block, *codes = block + 16;
  const float d = load_f16(block + 80), dmin = load_f16(block + 82);
  for (int group = 0; group < 16; ++group) {
    const uint8_t* in = codes + group / 8 * 32 + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    const float scale = d * static_cast<float>(scales[group] & 15), minimum = dmin * static_cast<float>(scales[group] >> 4);
    for (int i = 0; i < 16; ++i) *out++ = scale * static_cast<float>(in[i] >> shift & 3) - minimum;
  }
}

// As Q2_K with a third bit in a mask (set: 0, clear: -4) and 6-bit signed scales: low nibbles in 8 bytes, high bits in 4.
void read_q3_k(const uint8_t* block, float* out) {
  const uint8_t *mask = block, *codes = block + 32, *scales = block + 96;
  const float d = load_f16(block + 108);
  for (int group = 0; group < 16; ++group) {
    const uint8_t *in = codes + group / 8 * 32 + group % 2 * 16, *third = mask + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    const int low = scales[group % 8] >> (group / 8 * 4) & 15, high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
    const float scale = d * static_cast<float>((low | high << 4) - 32);
    for (int i = 0; i < 16; ++i)
      *out++ = scale * static_cast<float>((in[i] >> shift & 3) + (third[i] >> (group / 2) & 1) * 4 - 4);
  }
}

// Eight groups of 32; groups 2j and 2j + 1 share 32 bytes, low nibbles first.
void read_q4_k(const uint8_t* block, float* out) {
  const float d = load_f16(block), dmin = load_f16(block + 2);
  const uint8_t* codes = block + 16;
  for (int group = 0; group < 8; ++group) {
    int scale, minimum;
    scale_and_min(block + 4, group, scale, minimum);
    const float dl = d * static_cast<float>(scale), ml = dmin * static_cast<float>(minimum);
    for (int i = 0; i < 32; ++i)
      out[group * 32 + i] = dl * static_cast<float>(codes[group / 2 * 32 + i] >> (group % 2 * 4) & 15) - ml;
  }
}

// As Q4_K; the fifth bit of group g is bit g of 32 bytes.
void read_q5_k(const uint8_t* block, float* out) {
  const float d = load_f16(block), dmin = load_f16(block + 2);
  const uint8_t *high = block + 16, *codes = block + 48;
  for (int group = 0; group < 8; ++group) {
    int scale, minimum;
    scale_and_min(block + 4, group, scale, minimum);
    const float dl = d * static_cast<float>(scale), ml = dmin * static_cast<float>(minimum);
    for (int i = 0; i < 32; ++i) {
      const int code = (codes[group / 2 * 32 + i] >> (group % 2 * 4) & 15) | (high[i] >> group & 1) << 4;
      out[group * 32 + i] = dl * static_cast<float>(code) - ml;
    }
  }
}

// Sixteen groups of 16, signed 8-bit scales. A half of 128 values has 64 bytes of low nibbles (its first 64 values low, the
// others high) and 32 bytes of four planes of high bits.
void read_q6_k(const uint8_t* block, float* out) {
  const uint8_t *low = block, *high = block + 128, *scales = block + 192;
  const float d = load_f16(block + 208);
  for (int group = 0; group < 16; ++group) {
    const uint8_t *nibbles = low + group / 8 * 64 + group % 4 * 16, *tops = high + group / 8 * 32 + group % 2 * 16;
    const int shift_low = group % 8 / 4 * 4, shift_high = group % 8 / 2 * 2;
    const float scale = d * static_cast<float>(static_cast<int8_t>(scales[group]));
    for (int i = 0; i < 16; ++i)
      *out++ = scale * static_cast<float>(((nibbles[i] >> shift_low & 15) | (tops[i] >> shift_high & 3) << 4) - 32);
  }
}

}  // namespace raison::blocks
