// Matrix products on AVX-512: tile sizes for 32 zmm registers, int8 dot products by vpdpbusd.
#include "kernels/avx512/simd.h"

#define RAISON_TILE_ROWS 12
#define RAISON_Q8_TILE_ROWS 8

namespace raison::RAISON_ISA {

constexpr int kTileRows = RAISON_TILE_ROWS;
constexpr int tile_panels(int rows) { return rows == 1 ? 8 : 4; }
constexpr int kQ8TileRows = RAISON_Q8_TILE_ROWS;
constexpr int32_t kQ8Correction = -128;  // weights enter as w + 128, so a block's sum starts at -128 times x's sum

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

// sum[r] = exact integer products of 32 columns.
template <int R>
RAISON_INLINE void int8_block(const int8_t* w, const int8_t* x, int64_t ldx, const int32_t* start, int64_t ld_start,
                              VI (&sum)[R]) {
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) sum[r].z = _mm512_set1_epi32(start[r * ld_start]);
#pragma GCC unroll 8
  for (int line = 0; line < 8; ++line) {
    const __m512i wv = _mm512_xor_si512(load_i(w + line * 64).z, flip);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      int32_t four;
      __builtin_memcpy(&four, x + r * ldx + line * 4, 4);
      dot4(sum[r].z, wv, _mm512_set1_epi32(four));
    }
  }
}

}  // namespace raison::RAISON_ISA

#include "kernels/generic/matmul.inc"
