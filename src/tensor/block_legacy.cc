// Blocks of 32 values with one scale, and the ternary formats.
#include "tensor/blocks.h"
#include "tensor/codebooks.h"

namespace raison::blocks {

// Half a power of two, for the doubled values of kMxfp4: 2^(e - 128).
static float half_power(uint8_t e) {
  const uint32_t bits = e < 2 ? 0x00200000u << e : static_cast<uint32_t>(e - 1) << 23;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

// Low nibbles are the first 16 values, high nibbles the others.
void read_q4_0(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((block[2 + i] & 15) - 8);
    out[16 + i] = d * static_cast<float>((block[2 + i] >> 4) - 8);
  }
}

void read_q4_1(const uint8_t* block, float* out) {
  const float d = load_f16(block), m = load_f16(block + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(block[4 + i] & 15) + m;
    out[16 + i] = d * static_cast<float>(block[4 + i] >> 4) + m;
  }
}

// The fifth bits of all 32 values lie in one word.
void read_q5_0(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  const uint32_t high = load_u32(block + 2);
  for (int i = 0; i < 16; ++i) {
    const int a = (block[6 + i] & 15) | static_cast<int>((high >> i & 1) << 4);
    const int b = (block[6 + i] >> 4) | static_cast<int>((high >> (16 + i) & 1) << 4);
    out[i] = d * static_cast<float>(a - 16);
    out[16 + i] = d * static_cast<float>(b - 16);
  }
}

void read_q5_1(const uint8_t* block, float* out) {
  const float d = load_f16(block), m = load_f16(block + 2);
  const uint32_t high = load_u32(block + 4);
  for (int i = 0; i < 16; ++i) {
    const int a = (block[8 + i] & 15) | static_cast<int>((high >> i & 1) << 4);
    const int b = (block[8 + i] >> 4) | static_cast<int>((high >> (16 + i) & 1) << 4);
    out[i] = d * static_cast<float>(a) + m;
    out[16 + i] = d * static_cast<float>(b) + m;
  }
}

void read_q8_0(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * d;
}

void read_iq4_nl(const uint8_t* block, float* out) {
  const float d = load_f16(block);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(kIq4nl[block[2 + i] & 15]);
    out[16 + i] = d * static_cast<float>(kIq4nl[block[2 + i] >> 4]);
  }
}

void read_mxfp4(const uint8_t* block, float* out) {
  const float d = half_power(block[0]);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(kMxfp4[block[1 + i] & 15]);
    out[16 + i] = d * static_cast<float>(kMxfp4[block[1 + i] >> 4]);
  }
}

// Five ternary digits a byte, as a fraction of 256: multiplying by 3 brings the next digit above the byte.
static float ternary(uint8_t byte, int digit, float d) {
  static constexpr uint8_t kPower[5] = {1, 3, 9, 27, 81};
  const auto shifted = static_cast<uint8_t>(byte * kPower[digit]);
  return d * static_cast<float>(((shifted * 3) >> 8) - 1);
}

void read_tq1_0(const uint8_t* block, float* out) {
  const float d = load_f16(block + 52);
  for (int n = 0; n < 5; ++n)
    for (int m = 0; m < 32; ++m) *out++ = ternary(block[m], n, d);
  for (int n = 0; n < 5; ++n)
    for (int m = 0; m < 16; ++m) *out++ = ternary(block[32 + m], n, d);
  for (int n = 0; n < 4; ++n)
    for (int m = 0; m < 4; ++m) *out++ = ternary(block[48 + m], n, d);
}

void read_tq2_0(const uint8_t* block, float* out) {
  const float d = load_f16(block + 64);
  for (int half = 0; half < 64; half += 32)
    for (int shift = 0; shift < 8; shift += 2)
      for (int m = 0; m < 32; ++m) *out++ = d * static_cast<float>((block[half + m] >> shift & 3) - 1);
}

}  // namespace raison::blocks
