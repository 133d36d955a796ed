// One block of each of GGUF's formats to fp32, by the definitions of ggml-common.h. Inside src/tensor; others use
// dequantize_row. Every product of scales and codes is exact in fp32; Q4_1, Q5_1, Q2_K, Q4_K and Q5_K round once, where the
// minimum is added or subtracted. `block` needs no alignment.
#pragma once
#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"

namespace raison::blocks {

using Read = void (*)(const uint8_t* block, float* out);
Read reader(DType type);  // nullptr for plain types

// Legacy formats, 32 values (block_legacy.cc), and the ternary ones.
void read_q4_0(const uint8_t* block, float* out);
void read_q4_1(const uint8_t* block, float* out);
void read_q5_0(const uint8_t* block, float* out);
void read_q5_1(const uint8_t* block, float* out);
void read_q8_0(const uint8_t* block, float* out);
void read_iq4_nl(const uint8_t* block, float* out);
void read_mxfp4(const uint8_t* block, float* out);
void read_tq1_0(const uint8_t* block, float* out);
void read_tq2_0(const uint8_t* block, float* out);
// K formats, 256 values (block_k.cc).
void read_q2_k(const uint8_t* block, float* out);
void read_q3_k(const uint8_t* block, float* out);
void read_q4_k(const uint8_t* block, float* out);
void read_q5_k(const uint8_t* block, float* out);
void read_q6_k(const uint8_t* block, float* out);
// Formats with codebooks, 256 values (block_iq.cc).
void read_iq4_xs(const uint8_t* block, float* out);
void read_iq1_s(const uint8_t* block, float* out);
void read_iq1_m(const uint8_t* block, float* out);
void read_iq2_xxs(const uint8_t* block, float* out);
void read_iq2_xs(const uint8_t* block, float* out);
void read_iq2_s(const uint8_t* block, float* out);
void read_iq3_xxs(const uint8_t* block, float* out);
void read_iq3_s(const uint8_t* block, float* out);

// Scale i (0..7) and minimum i of Q4_K and Q5_K, from their 12 packed bytes: 6 bits each; the upper four lend their high bits to
// the bytes of the lower four.
inline void scale_and_min(const uint8_t* packed, int i, int& scale, int& minimum) {
  if (i < 4) {
    scale = packed[i] & 63;
    minimum = packed[i + 4] & 63;
  } else {
    scale = (packed[i + 4] & 15) | (packed[i - 4] >> 6 << 4);
    minimum = (packed[i + 4] >> 4) | (packed[i] >> 6 << 4);
  }
}

inline uint16_t load_u16(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, 2);
  return v;
}
inline uint32_t load_u32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}
inline float load_f16(const uint8_t* p) { return f16_to_f32(load_u16(p)); }

}  // namespace raison::blocks
