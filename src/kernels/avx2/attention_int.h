// Integer dot products of attention on AVX2: everything goes by vpmaddwd, which multiplies int16 and saturates nowhere.
#pragma once
#include "kernels/avx2/simd.h"

namespace raison::avx2 {

constexpr int kIntTile = 6;                            // 12 sums, 2 codes, 1 broadcast, 1 product of 16 registers
constexpr int int_columns(int /*rows*/) { return 1; }  // vectors a tile is wide

// sum += p. As asm, of which GCC 12 knows no law of association: it would make all products of an unrolled loop first, and spill.
RAISON_INLINE void add_32(__m256i& sum, __m256i p) { __asm__("vpaddd %1, %0, %0" : "+x"(sum) : "x"(p)); }
RAISON_INLINE void mac_16(VI& sum, VI codes, VI x) {
  add_32(sum.lo, _mm256_madd_epi16(codes.lo, x.lo));
  add_32(sum.hi, _mm256_madd_epi16(codes.hi, x.hi));
}

// A line of 64 bytes (16 lanes of a group of codes) goes in kParts, each against a word of its own, into kSums sums.
struct Dot16 {
  static constexpr int kParts = 1, kSums = 1, kGroup = 2;
  template <int kPart>
  RAISON_INLINE VI part(VI line) {
    return line;
  }
  RAISON_INLINE void mac(VI& sum, VI codes, VI x) { mac_16(sum, codes, x); }
  RAISON_INLINE VI join(const VI (&sum)[1]) { return sum[0]; }
};
// Unsigned bytes: the even ones of a group, then the odd ones, as int16.
struct DotKeys8 {
  static constexpr int kParts = 2, kSums = 1, kGroup = 4;
  template <int kPart>
  RAISON_INLINE VI part(VI line) {
    const __m256i even = _mm256_set1_epi16(0xFF);
    if (kPart == 0) return {_mm256_and_si256(line.lo, even), _mm256_and_si256(line.hi, even)};
    return {_mm256_srli_epi16(line.lo, 8), _mm256_srli_epi16(line.hi, 8)};
  }
  RAISON_INLINE void mac(VI& sum, VI codes, VI x) { mac_16(sum, codes, x); }
  RAISON_INLINE VI join(const VI (&sum)[1]) { return sum[0]; }
};
// Signed bytes, in the same way.
struct DotValues8 {
  static constexpr int kParts = 2, kSums = 1, kGroup = 4;
  template <int kPart>
  RAISON_INLINE VI part(VI line) {
    if (kPart == 0) line = {_mm256_slli_epi16(line.lo, 8), _mm256_slli_epi16(line.hi, 8)};
    return {_mm256_srai_epi16(line.lo, 8), _mm256_srai_epi16(line.hi, 8)};
  }
  RAISON_INLINE void mac(VI& sum, VI codes, VI x) { mac_16(sum, codes, x); }
  RAISON_INLINE VI join(const VI (&sum)[1]) { return sum[0]; }
};

RAISON_INLINE __m256i narrow_16(VI codes) { return _mm256_permute4x64_epi64(_mm256_packs_epi32(codes.lo, codes.hi), 0xD8); }
// Sixteen codes as the words that Dot16 takes, and as those that DotKeys8 (queries) and DotValues8 (weights) take: 32 bytes.
RAISON_INLINE void pack_16(VI codes, uint8_t* to) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), narrow_16(codes)); }
RAISON_INLINE void pack_query_8(VI codes, uint8_t* to) {
  const __m256i order = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_shuffle_epi8(narrow_16(codes), order));
}
RAISON_INLINE void pack_weights_8(VI codes, uint8_t* to) { pack_query_8(codes, to); }

// Lane i gets lane i ^ kDistance.
template <int kDistance>
RAISON_INLINE V swap_lanes(V v) {
  if (kDistance == 1) return {_mm256_permute_ps(v.lo, 0xB1), _mm256_permute_ps(v.hi, 0xB1)};
  if (kDistance == 2) return {_mm256_permute_ps(v.lo, 0x4E), _mm256_permute_ps(v.hi, 0x4E)};
  if (kDistance == 4) return {_mm256_permute2f128_ps(v.lo, v.lo, 1), _mm256_permute2f128_ps(v.hi, v.hi, 1)};
  return {v.hi, v.lo};
}

}  // namespace raison::avx2
