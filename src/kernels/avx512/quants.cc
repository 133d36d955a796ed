// Block types on AVX-512: int8 dot products by vpdpbusd, which sums exactly in 32 bits.
#include "kernels/avx512/simd.h"

#define RAISON_TILE_ROWS 12
#define RAISON_QUANT_ROWS 8

namespace raison::RAISON_ISA {

constexpr int kTileRows = RAISON_TILE_ROWS;
constexpr int kQuantRows = RAISON_QUANT_ROWS;
constexpr int32_t kWideOffset = 128;       // vpdpbusd wants unsigned weights: wide codes enter as code + 128
constexpr int chain_of(int) { return 8; }  // any chain is exact

RAISON_INLINE VI scale_form(VI scale) { return scale; }
RAISON_INLINE VI scale_value(VI form) { return form; }

// acc += four products of unsigned a and signed b per lane. As asm: GCC 12 copies the accumulator around the intrinsic.
RAISON_INLINE void dot4(__m512i& acc, __m512i a, __m512i b) {
#ifdef RAISON_SIMDE
  // In 16-bit halves: vpdpbusd sums exactly, where vpmaddubsw would saturate. 255 * -127 fits 16 bits.
  const auto half = [](__m256i u, __m256i s) {
    const __m256i even =
        _mm256_mullo_epi16(_mm256_and_si256(u, _mm256_set1_epi16(0xFF)), _mm256_srai_epi16(_mm256_slli_epi16(s, 8), 8));
    const __m256i odd = _mm256_mullo_epi16(_mm256_srli_epi16(u, 8), _mm256_srai_epi16(s, 8));
    const __m256i ones = _mm256_set1_epi16(1);
    return _mm256_add_epi32(_mm256_madd_epi16(even, ones), _mm256_madd_epi16(odd, ones));
  };
  acc = _mm512_add_epi32(acc, join_i(half(low_i(a), low_i(b)), half(high_i(a), high_i(b))));
#else
  __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
#endif
}

}  // namespace raison::RAISON_ISA

#include "kernels/generic/expand.inc"
#include "kernels/generic/gemm.inc"

namespace raison::RAISON_ISA {

template <int R, int kLines, int kChain, class X>
RAISON_INLINE void dot_lines(const uint8_t* codes, const X* x, int column, VI (&sum)[R]) {
#pragma GCC unroll 8
  for (int i = 0; i < kLines; ++i) {
    VI w = load_i(codes + i * 64);
    if (kChain == 0) w = xor_i(w, set1_i(static_cast<int32_t>(0x80808080u)));
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      int32_t four;
      __builtin_memcpy(&four, x[r].codes + column + i * 4, 4);
      dot4(sum[r].z, w.z, _mm512_set1_epi32(four));
    }
  }
}

template <int R, int kLines, int kChain, class X>
RAISON_INLINE void int8_dot(const uint8_t* codes, const X* x, int column, VI scale, VI (&total)[R]) {
  VI sum[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) sum[r] = set1_i(0);
  dot_lines<R, kLines, kChain>(codes, x, column, sum);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) total[r] = add_i(total[r], mul_i(sum[r], scale));
}

template <int R, int kChain, class X>
RAISON_INLINE void int8_sum(const uint8_t* codes, const X* x, int column, VI (&total)[R]) {
  dot_lines<R, 8, kChain>(codes, x, column, total);
}

}  // namespace raison::RAISON_ISA

#include "kernels/generic/quants.inc"
