// Figures of GGUF's non-uniform formats (ggml-common.h): a code's values. Constants with external linkage, one copy for all kernels.
//
// A codebook's entry is 8 values (4 for IQ3) in the bytes of little-endian 32-bit words, so that a kernel gathers words and
// byte i of word j is value 4j + i. All magnitudes are positive bytes, the signs lie elsewhere; kIq1s holds signed bytes -1, 0, 1.
#pragma once
#include <cstdint>

namespace raison {

extern const uint32_t kIq1s[2048][2];  // IQ1_S, IQ1_M
extern const uint32_t kIq2xxs[256][2];
extern const uint32_t kIq2xs[512][2];
extern const uint32_t kIq2s[1024][2];
extern const uint32_t kIq3xxs[256];
extern const uint32_t kIq3s[512];
// 7 stored signs (bit set: negative) -> 8, the eighth making their number even. In bits 0..7.
extern const uint32_t kSigns7[128];
extern const int8_t kIq4nl[16];  // IQ4_NL, IQ4_XS
extern const int8_t kMxfp4[16];  // E2M1 doubled

}  // namespace raison
