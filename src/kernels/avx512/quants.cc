// Block types on AVX-512: int8 dot products by vpdpbusd, which sums exactly in 32 bits.
#include "kernels/avx512/simd.h"

#define RAISON_TILE_ROWS 12
#define RAISON_QUANT_ROWS 8

namespace raison::RAISON_ISA {

constexpr int kTileRows = RAISON_TILE_ROWS, kTilePanels = 1;
constexpr int kQuantRows = RAISON_QUANT_ROWS;
constexpr int32_t kWideOffset = 128;  // vpdpbusd wants unsigned weights: wide codes enter as code + 128
constexpr int chain_of(int chain) { return chain == 0 ? 0 : 8; }  // any chain is exact

template <int kByte>
RAISON_INLINE VI scale_form(VI bytes) {
  return sar_i<24>(shl_i<24 - 8 * kByte>(bytes));
}
RAISON_INLINE VI scale_value(VI form) { return form; }

// acc += four products of unsigned w and signed x (the same four for all lanes) per lane.
#ifdef RAISON_SIMDE
#define RAISON_DOT static __attribute__((noinline))  // inlined everywhere, it would take a minute to compile
RAISON_DOT void dot4(VI& acc, const VI& w, const int8_t* x) {
  // In 16-bit halves: vpdpbusd sums exactly, where vpmaddubsw would saturate. 255 * -127 fits 16 bits.
  int32_t four;
  __builtin_memcpy(&four, x, 4);
  const __m256i s = _mm256_set1_epi32(four), ones = _mm256_set1_epi16(1);
  const __m256i s_even = _mm256_srai_epi16(_mm256_slli_epi16(s, 8), 8), s_odd = _mm256_srai_epi16(s, 8);
  const auto half = [&](__m256i u) {
    const __m256i even = _mm256_mullo_epi16(_mm256_and_si256(u, _mm256_set1_epi16(0xFF)), s_even);
    const __m256i odd = _mm256_mullo_epi16(_mm256_srli_epi16(u, 8), s_odd);
    return _mm256_add_epi32(_mm256_madd_epi16(even, ones), _mm256_madd_epi16(odd, ones));
  };
  acc.z = _mm512_add_epi32(acc.z, join_i(half(low_i(w.z)), half(high_i(w.z))));
}
#else
#define RAISON_DOT RAISON_INLINE
using Word = int32_t __attribute__((may_alias, aligned(1)));
RAISON_INLINE void dot4(VI& acc, VI w, const int8_t* x) {  // as asm: GCC 12 copies the accumulator around the intrinsic
  __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc.z) : "v"(w.z), "m"(*reinterpret_cast<const Word*>(x)));
}
#endif

template <int R, int kLines, int kChain, class X>
RAISON_INLINE void dot_lines(const uint8_t* codes, const X* x, int column, VI (&sum)[R]) {
#pragma GCC unroll 8
  for (int i = 0; i < kLines; ++i) {
    VI w = load_i(codes + i * 64);
    if (kChain == 0) w = xor_i(w, set1_i(static_cast<int32_t>(0x80808080u)));
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) dot4(sum[r], w, x[r].codes + column + i * 4);
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

// The same a line at a time, of one row: `sum` is what runs.
template <int kLines, int kChain, bool kScaled>
RAISON_DOT void fused_line(VI& sum, VI& total, const int32_t (*scales)[16], int line, VI w, const int8_t* x) {
  if (kChain == 0) w = xor_i(w, set1_i(static_cast<int32_t>(0x80808080u)));
  if (!kScaled) return dot4(total, w, x);
  if (line % kLines == 0) sum = set1_i(0);
  dot4(sum, w, x);
  if (line % kLines == kLines - 1) total = add_i(total, mul_i(sum, load_i(scales[line / kLines])));
}

}  // namespace raison::RAISON_ISA

#include "kernels/generic/gemm.inc"
#include "kernels/generic/quants.inc"
