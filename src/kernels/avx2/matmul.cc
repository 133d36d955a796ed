// Matrix products on AVX2: tile sizes for 16 ymm registers, int8 dot products by vpmaddubsw.
#include "kernels/avx2/simd.h"

#define RAISON_TILE_ROWS 6
#define RAISON_Q8_TILE_ROWS 4

namespace raison::avx2 {

constexpr int kTileRows = RAISON_TILE_ROWS;  // 12 accumulators, 2 weights, 1 activation of 16 registers
constexpr int tile_panels(int rows) { return rows == 1 ? 4 : rows == 2 ? 3 : rows == 3 ? 2 : 1; }
constexpr int kQ8TileRows = RAISON_Q8_TILE_ROWS;
constexpr int32_t kQ8Correction = 0;

// sum[r] = exact integer products of 32 columns. |w| <= 128 and |x| <= 127, so a pair is at most 32512: vpmaddubsw of |w|
// and x with w's sign never saturates.
template <int R>
RAISON_INLINE void int8_block(const int8_t* w, const int8_t* x, int64_t ldx, const int32_t*, int64_t, VI (&sum)[R]) {
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) sum[r] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
#pragma GCC unroll 1
  for (int line = 0; line < 8; ++line) {
    const VI wv = load_i(w + line * 64);
    const __m256i lo = _mm256_abs_epi8(wv.lo), hi = _mm256_abs_epi8(wv.hi);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      int32_t four;
      __builtin_memcpy(&four, x + r * ldx + line * 4, 4);
      const __m256i xv = _mm256_set1_epi32(four);
      const __m256i a = _mm256_maddubs_epi16(lo, _mm256_sign_epi8(xv, wv.lo));
      const __m256i b = _mm256_maddubs_epi16(hi, _mm256_sign_epi8(xv, wv.hi));
      sum[r].lo = _mm256_add_epi32(sum[r].lo, _mm256_madd_epi16(a, ones));
      sum[r].hi = _mm256_add_epi32(sum[r].hi, _mm256_madd_epi16(b, ones));
    }
  }
}

}  // namespace raison::avx2

#include "kernels/generic/matmul.inc"
