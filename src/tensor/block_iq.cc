// Formats with codebooks: eight (IQ3: four) values at a time are an index into a table of vectors, signs apart.
#include "tensor/blocks.h"
#include "tensor/codebooks.h"

namespace raison::blocks {
namespace {

// Byte i of the entry's words.
int magnitude(const uint32_t* entry, int i) { return static_cast<int>(entry[i / 4] >> (i % 4 * 8) & 255); }

// out[0..8) = scale * entry with the signs in the bits of `signs`.
void emit8(const uint32_t* entry, uint32_t signs, float scale, float* out) {
  for (int i = 0; i < 8; ++i) {
    const auto m = static_cast<float>(magnitude(entry, i));
    out[i] = scale * ((signs >> i & 1) != 0 ? -m : m);
  }
}
void emit4(uint32_t entry, uint32_t signs, float scale, float* out) {
  for (int i = 0; i < 4; ++i) {
    const auto m = static_cast<float>(entry >> (8 * i) & 255);
    out[i] = scale * ((signs >> i & 1) != 0 ? -m : m);
  }
}
// Ternary vectors moved by +-1/8.
void emit_ternary(const uint32_t* entry, bool down, float scale, float* out) {
  const float delta = down ? -0.125f : 0.125f;
  for (int i = 0; i < 8; ++i) out[i] = scale * (static_cast<float>(static_cast<int8_t>(magnitude(entry, i))) + delta);
}

}  // namespace

// Eight groups of 32: 16 bytes of nibbles each, 6-bit signed scales (four bits in a nibble, two in a word).
void read_iq4_xs(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  const uint16_t high = load_u16(block + 2);
  for (int group = 0; group < 8; ++group) {
    const int low = block[4 + group / 2] >> (group % 2 * 4) & 15;
    const float scale = d * static_cast<float>((low | (high >> (2 * group) & 3) << 4) - 32);
    const uint8_t* codes = block + 8 + group * 16;
    for (int i = 0; i < 16; ++i) {
      out[group * 32 + i] = scale * static_cast<float>(kIq4nl[codes[i] & 15]);
      out[group * 32 + 16 + i] = scale * static_cast<float>(kIq4nl[codes[i] >> 4]);
    }
  }
}

// Groups of 32: four bytes of indices; a word of 3-bit index tops, a 3-bit scale and the shift's sign.
void read_iq1_s(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  for (int group = 0; group < 8; ++group) {
    const uint8_t* low = block + 2 + group * 4;
    const uint16_t high = load_u16(block + 34 + group * 2);
    const float scale = d * static_cast<float>(2 * (high >> 12 & 7) + 1);
    for (int i = 0; i < 4; ++i)
      emit_ternary(kIq1s[low[i] | (high >> (3 * i) & 7) << 8], (high & 0x8000) != 0, scale, out + group * 32 + i * 8);
  }
}

// As IQ1_S; a nibble per eight values holds the index's top and the shift's sign; 3-bit scales per 16 values in the low twelve
// bits of four words, whose top nibbles make the f16 scale.
void read_iq1_m(const uint8_t* block, float* out) {
  const uint8_t *low = block, *high = block + 32, *scales = block + 48;
  uint16_t bits = 0;
  for (int i = 0; i < 4; ++i) bits = static_cast<uint16_t>(bits | (load_u16(scales + 2 * i) >> 12) << (4 * i));
  const float d = f16_to_f32(bits);
  for (int i = 0; i < 32; ++i) {
    const int nibble = high[i / 2] >> (i % 2 * 4) & 15, sixteen = i / 2;
    const int scale = load_u16(scales + sixteen / 4 * 2) >> (sixteen % 4 * 3) & 7;
    emit_ternary(kIq1s[low[i] | (nibble & 7) << 8], (nibble & 8) != 0, d * static_cast<float>(2 * scale + 1), out + i * 8);
  }
}

// Groups of 32: four index bytes, then a word of four 7-bit signs and a 4-bit scale.
void read_iq2_xxs(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  for (int group = 0; group < 8; ++group) {
    const uint8_t* index = block + 2 + group * 8;
    const uint32_t word = load_u32(index + 4);
    const float scale = d * (0.5f + static_cast<float>(word >> 28)) * 0.25f;
    for (int i = 0; i < 4; ++i) emit8(kIq2xxs[index[i]], kSigns7[word >> (7 * i) & 127], scale, out + group * 32 + i * 8);
  }
}

// A word per eight values: 9 bits of index, 7 of signs. 4-bit scales per 16 values.
void read_iq2_xs(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  for (int i = 0; i < 32; ++i) {
    const uint16_t word = load_u16(block + 2 + 2 * i);
    const int code = block[66 + i / 4] >> (i / 2 % 2 * 4) & 15;
    const float scale = d * (0.5f + static_cast<float>(code)) * 0.25f;
    emit8(kIq2xs[word & 511], kSigns7[word >> 9], scale, out + i * 8);
  }
}

// Index bytes, sign bytes, two high bits of index, 4-bit scales per 16 values.
void read_iq2_s(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  const uint8_t *low = block + 2, *signs = block + 34, *high = block + 66, *scales = block + 74;
  for (int i = 0; i < 32; ++i) {
    const int index = low[i] | (high[i / 4] >> (i % 4 * 2) & 3) << 8;
    const int code = scales[i / 4] >> (i / 2 % 2 * 4) & 15;
    emit8(kIq2s[index], signs[i], d * (0.5f + static_cast<float>(code)) * 0.25f, out + i * 8);
  }
}

// An index byte per four values; a word per group of 32 with four 7-bit signs and a 4-bit scale.
void read_iq3_xxs(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  for (int group = 0; group < 8; ++group) {
    const uint8_t* index = block + 2 + group * 8;
    const uint32_t word = load_u32(block + 66 + group * 4);
    const float scale = d * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
    for (int i = 0; i < 8; ++i) {
      const uint32_t signs = kSigns7[word >> (7 * (i / 2)) & 127] >> (i % 2 * 4);
      emit4(kIq3xxs[index[i]], signs, scale, out + group * 32 + i * 4);
    }
  }
}

// Index bytes, their ninth bits, sign bits, 4-bit scales per 32 values.
void read_iq3_s(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  const uint8_t *low = block + 2, *high = block + 66, *signs = block + 74, *scales = block + 106;
  for (int i = 0; i < 64; ++i) {
    const int index = low[i] | (high[i / 8] >> (i % 8) & 1) << 8;
    const int code = scales[i / 16] >> (i / 8 % 2 * 4) & 15;
    emit4(kIq3s[index], static_cast<uint32_t>(signs[i / 2] >> (i % 2 * 4)), d * static_cast<float>(1 + 2 * code), out + i * 4);
  }
}

}  // namespace raison::blocks
