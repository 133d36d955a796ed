// Integer dot products of attention on AVX-512: bytes by vpdpbusd, a 16-bit operand as two planes of bytes; int16 by vpdpwssd.
#pragma once
#include "kernels/avx512/simd.h"

namespace raison::RAISON_ISA {

constexpr int kIntTile = 6;  // 24 sums of two planes, 2 lines, 1 broadcast of 32 registers
constexpr int int_columns(int /*rows*/) { return 2; }

#ifdef RAISON_SIMDE
// Inlined everywhere, these would take a minute to compile. In 16-bit halves: vpdpbusd sums exactly, where vpmaddubsw would
// saturate.
static __attribute__((noinline)) void mac_u8_s8(VI& sum, const VI& u, const VI& s) {
  const __m256i ones = _mm256_set1_epi16(1);
  const auto half = [&](__m256i a, __m256i b) {
    const __m256i even =
        _mm256_mullo_epi16(_mm256_and_si256(a, _mm256_set1_epi16(0xFF)), _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    const __m256i odd = _mm256_mullo_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
    return _mm256_add_epi32(_mm256_madd_epi16(even, ones), _mm256_madd_epi16(odd, ones));
  };
  sum.z = _mm512_add_epi32(sum.z, join_i(half(low_i(u.z), low_i(s.z)), half(high_i(u.z), high_i(s.z))));
}
static __attribute__((noinline)) void mac_16(VI& sum, const VI& codes, const VI& x) { sum = add_i(sum, dot2_i(codes, x)); }
RAISON_INLINE __m128i narrow_8(VI a) {  // the low bytes
  const __m512i low = and_i(a, set1_i(0xFF)).z;
  const __m256i w = _mm256_permute4x64_epi64(_mm256_packus_epi32(low_i(low), high_i(low)), 0xD8);
  return _mm_packus_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
}
#else
// As asm: GCC 12 copies the accumulator around the intrinsics.
RAISON_INLINE void mac_u8_s8(VI& sum, VI u, VI s) { __asm__("vpdpbusd %2, %1, %0" : "+v"(sum.z) : "v"(u.z), "v"(s.z)); }
RAISON_INLINE void mac_16(VI& sum, VI codes, VI x) { __asm__("vpdpwssd %2, %1, %0" : "+v"(sum.z) : "v"(codes.z), "v"(x.z)); }
RAISON_INLINE __m128i narrow_8(VI a) { return _mm512_cvtepi32_epi8(a.z); }
#endif

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
// Unsigned bytes against the high bytes of four codes, then against the low ones, which are signed: 256 * high + low.
struct DotKeys8 {
  static constexpr int kParts = 2, kSums = 2, kGroup = 4;
  template <int kPart>
  RAISON_INLINE VI part(VI line) {
    return line;
  }
  RAISON_INLINE void mac(VI& sum, VI codes, VI x) { mac_u8_s8(sum, codes, x); }
  RAISON_INLINE VI join(const VI (&sum)[2]) { return add_i(shl_i<8>(sum[0]), sum[1]); }
};
// Signed bytes against unsigned high and low bytes.
struct DotValues8 {
  static constexpr int kParts = 2, kSums = 2, kGroup = 4;
  template <int kPart>
  RAISON_INLINE VI part(VI line) {
    return line;
  }
  RAISON_INLINE void mac(VI& sum, VI codes, VI x) { mac_u8_s8(sum, x, codes); }
  RAISON_INLINE VI join(const VI (&sum)[2]) { return add_i(shl_i<8>(sum[0]), sum[1]); }
};

// Sixteen codes as the words that Dot16 takes, and as those that DotKeys8 (queries) and DotValues8 (weights) take: 32 bytes.
RAISON_INLINE void pack_16(VI codes, uint8_t* to) {
  const __m256i w = _mm256_packs_epi32(low_i(codes.z), high_i(codes.z));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(w, 0xD8));
}
RAISON_INLINE void pack_planes(VI high, VI low, uint8_t* to) {
  const __m128i h = narrow_8(high), l = narrow_8(low);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi32(h, l));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16), _mm_unpackhi_epi32(h, l));
}
RAISON_INLINE void pack_query_8(VI codes, uint8_t* to) { pack_planes(sar_i<8>(add_i(codes, set1_i(128))), codes, to); }
RAISON_INLINE void pack_weights_8(VI codes, uint8_t* to) { pack_planes(shr_i<8>(codes), codes, to); }

// Lane i gets lane i ^ kDistance.
template <int kDistance>
RAISON_INLINE V swap_lanes(V v) {
  const auto swap = [](__m256 x) {
    if (kDistance == 4) return _mm256_permute2f128_ps(x, x, 1);
    return kDistance == 1 ? _mm256_permute_ps(x, 0xB1) : _mm256_permute_ps(x, 0x4E);
  };
  if (kDistance == 8) return join_f(high_f(v.z), low_f(v.z));
  return join_f(swap(low_f(v.z)), swap(high_f(v.z)));
}

}  // namespace raison::RAISON_ISA
