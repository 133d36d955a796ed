// Block types on AVX2: int8 dot products by vpmaddubsw, whose pairs of products are summed in 16 bits as long as that is exact.
#include "kernels/avx2/simd.h"

#define RAISON_TILE_ROWS 6
#define RAISON_QUANT_ROWS 4

namespace raison::avx2 {

constexpr int kTileRows = RAISON_TILE_ROWS;
constexpr int kQuantRows = RAISON_QUANT_ROWS;
constexpr int32_t kWideOffset = 0;  // wide codes are multiplied with their signs
constexpr int chain_of(int chain) { return chain; }

// A sub-scale as two equal int16, so that vpmaddwd multiplies while it adds pairs.
RAISON_INLINE VI scale_form(VI scale) { return or_i(and_i(scale, set1_i(0xFFFF)), shl_i<16>(scale)); }
RAISON_INLINE VI scale_value(VI form) { return sar_i<16>(form); }

}  // namespace raison::avx2

#include "kernels/generic/expand.inc"
#include "kernels/generic/gemm.inc"

namespace raison::avx2 {

// 16 x 4 products of a line, in pairs of int16. Wide codes: |w| <= 128 and |x| <= 127, so a pair is at most 32512: vpmaddubsw of
// |w| and x with w's sign never saturates.
template <bool kWide>
RAISON_INLINE VI pairs_of(VI w, VI size, const int8_t* x) {
  int32_t four;
  __builtin_memcpy(&four, x, 4);
  const __m256i xv = _mm256_set1_epi32(four);
  if (kWide)
    return {_mm256_maddubs_epi16(size.lo, _mm256_sign_epi8(xv, w.lo)),
            _mm256_maddubs_epi16(size.hi, _mm256_sign_epi8(xv, w.hi))};
  return {_mm256_maddubs_epi16(w.lo, xv), _mm256_maddubs_epi16(w.hi, xv)};
}

template <int R, int kLines, int kChain, class X>
RAISON_INLINE void int8_dot(const uint8_t* codes, const X* x, int column, VI scale, VI (&total)[R]) {
  constexpr int kStep = kChain == 0 ? 1 : kChain;
#pragma GCC unroll 8
  for (int first = 0; first < kLines; first += kStep) {
    VI sum[R];
#pragma GCC unroll 8
    for (int i = 0; i < kStep; ++i) {
      const VI w = load_i(codes + (first + i) * 64);
      const VI size = kChain == 0 ? VI{_mm256_abs_epi8(w.lo), _mm256_abs_epi8(w.hi)} : w;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const VI p = pairs_of<kChain == 0>(w, size, x[r].codes + column + (first + i) * 4);
        sum[r] = i == 0 ? p : VI{_mm256_add_epi16(sum[r].lo, p.lo), _mm256_add_epi16(sum[r].hi, p.hi)};
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) total[r] = add_i(total[r], dot2_i(sum[r], scale));
  }
}

template <int R, int kChain, class X>
RAISON_INLINE void int8_sum(const uint8_t* codes, const X* x, int column, VI (&total)[R]) {
  int8_dot<R, 8, kChain>(codes, x, column, set1_i(0x00010001), total);
}

}  // namespace raison::avx2

#include "kernels/generic/quants.inc"
