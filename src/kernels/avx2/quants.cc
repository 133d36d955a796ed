// Block types on AVX2: int8 dot products by vpmaddubsw, whose pairs of products are summed in 16 bits as long as that is exact.
#include "kernels/avx2/simd.h"

#define RAISON_TILE_ROWS 6
#define RAISON_QUANT_ROWS 4

namespace raison::avx2 {

constexpr int kTileRows = RAISON_TILE_ROWS, kTilePanels = 1;
constexpr int kQuantRows = RAISON_QUANT_ROWS;
constexpr int32_t kWideOffset = 0;  // wide codes are multiplied with their signs
constexpr int chain_of(int chain) { return chain; }

// A sub-scale as two equal int16, so that vpmaddwd multiplies while it adds pairs.
template <int kByte>
RAISON_INLINE VI scale_form(VI bytes) {
  const VI p = permute_b(bytes, 0x00800080 + kByte * 0x01000100);
  return {_mm256_srai_epi16(p.lo, 8), _mm256_srai_epi16(p.hi, 8)};
}
RAISON_INLINE VI scale_value(VI form) { return sar_i<16>(form); }

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

// sum += p. As asm, of which GCC 12 knows no law of association: it would make all products of an unrolled loop first, and spill.
RAISON_INLINE void add_16(__m256i& sum, __m256i p) { __asm__("vpaddw %1, %0, %0" : "+x"(sum) : "x"(p)); }
RAISON_INLINE void add_32(__m256i& sum, __m256i p) { __asm__("vpaddd %1, %0, %0" : "+x"(sum) : "x"(p)); }

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
        if (i == 0) {
          sum[r] = p;
        } else {
          add_16(sum[r].lo, p.lo);
          add_16(sum[r].hi, p.hi);
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const VI t = dot2_i(sum[r], scale);
      add_32(total[r].lo, t.lo);
      add_32(total[r].hi, t.hi);
    }
  }
}

template <int R, int kChain, class X>
RAISON_INLINE void int8_sum(const uint8_t* codes, const X* x, int column, VI (&total)[R]) {
  int8_dot<R, 8, kChain>(codes, x, column, set1_i(0x00010001), total);
}

// The same a line at a time, of one row: `sum` is what runs.
template <int kLines, int kChain, bool kScaled>
RAISON_INLINE void fused_line(VI& sum, VI& total, const int32_t (*scales)[16], int line, VI w, const int8_t* x) {
  constexpr int kStep = kChain == 0 ? 1 : kChain;
  const VI size = kChain == 0 ? VI{_mm256_abs_epi8(w.lo), _mm256_abs_epi8(w.hi)} : w;
  const VI p = pairs_of<kChain == 0>(w, size, x);
  if (line % kStep == 0) {
    sum.lo = p.lo;  // not `sum = p`, which GCC 12 does by way of memory
    sum.hi = p.hi;
  } else {
    add_16(sum.lo, p.lo);
    add_16(sum.hi, p.hi);
  }
  if (line % kStep < kStep - 1) return;
  const VI t = dot2_i(sum, kScaled ? load_i(scales[line / kLines]) : set1_i(0x00010001));
  add_32(total.lo, t.lo);
  add_32(total.hi, t.hi);
}

}  // namespace raison::avx2

#include "kernels/generic/gemm.inc"
#include "kernels/generic/quants.inc"
