// AVX-512 (F, BW, DQ, VL, VNNI) behind the 16-lane vector of kernels/generic (see generic/README.md for the API's contract).
// V is one zmm register. Everything has internal linkage or is always inlined: see avx2/simd.h.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/avx512/intrinsics.h"

#define RAISON_INLINE static inline __attribute__((always_inline))

namespace raison::RAISON_ISA {

struct V {
  __m512 z;
};
struct VI {  // 16 x 32-bit integers
  __m512i z;
};
struct Mask {
  __mmask16 m;
};

RAISON_INLINE V load(const float* p) { return {_mm512_loadu_ps(p)}; }
RAISON_INLINE void store(float* p, V v) { _mm512_storeu_ps(p, v.z); }
RAISON_INLINE V set1(float x) { return {_mm512_set1_ps(x)}; }
RAISON_INLINE V zero() { return {_mm512_setzero_ps()}; }
RAISON_INLINE V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.z, b.z, c.z)}; }
RAISON_INLINE V add(V a, V b) { return {_mm512_add_ps(a.z, b.z)}; }
RAISON_INLINE V sub(V a, V b) { return {_mm512_sub_ps(a.z, b.z)}; }
RAISON_INLINE V mul(V a, V b) { return {_mm512_mul_ps(a.z, b.z)}; }
RAISON_INLINE V div(V a, V b) { return {_mm512_div_ps(a.z, b.z)}; }
RAISON_INLINE V sqrt(V a) { return {_mm512_sqrt_ps(a.z)}; }

// Masks. Comparisons with NaN are false.
RAISON_INLINE Mask gt(V a, V b) { return {_mm512_cmp_ps_mask(a.z, b.z, _CMP_GT_OQ)}; }
RAISON_INLINE Mask eq(V a, V b) { return {_mm512_cmp_ps_mask(a.z, b.z, _CMP_EQ_OQ)}; }
RAISON_INLINE Mask is_nan(V a) { return {_mm512_cmp_ps_mask(a.z, a.z, _CMP_UNORD_Q)}; }
RAISON_INLINE V select(Mask m, V a, V b) { return {_mm512_mask_blend_ps(m.m, b.z, a.z)}; }
RAISON_INLINE uint32_t mask_bits(Mask m) { return m.m; }
RAISON_INLINE VI lane_index() { return {_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)}; }
RAISON_INLINE Mask first_n(int n) {
  return {static_cast<__mmask16>(n >= 16 ? 0xFFFFu : n <= 0 ? 0u : (1u << static_cast<unsigned>(n)) - 1u)};
}
#ifdef RAISON_SIMDE  // SIMDe's max and min leave zeros of both signs and NaN to the host; these are maxps and minps to the letter
RAISON_INLINE V max(V a, V b) { return select(gt(a, b), a, b); }
RAISON_INLINE V min(V a, V b) { return select(gt(b, a), a, b); }
RAISON_INLINE V load_n(const float* p, int n) {
  alignas(64) float t[16] = {};
  for (int i = 0; i < n && i < 16; ++i) t[i] = p[i];
  return load(t);
}
RAISON_INLINE void store_n(float* p, V v, int n) {
  alignas(64) float t[16];
  store(t, v);
  for (int i = 0; i < n && i < 16; ++i) p[i] = t[i];
}
#else
RAISON_INLINE V max(V a, V b) { return {_mm512_max_ps(a.z, b.z)}; }
RAISON_INLINE V min(V a, V b) { return {_mm512_min_ps(a.z, b.z)}; }
// Tails: lanes >= n load as +0 and are not stored; no byte beyond p[n-1] is touched.
RAISON_INLINE V load_n(const float* p, int n) { return {_mm512_maskz_loadu_ps(first_n(n).m, p)}; }
RAISON_INLINE void store_n(float* p, V v, int n) { _mm512_mask_storeu_ps(p, first_n(n).m, v.z); }
#endif

// Integers.
RAISON_INLINE VI bits(V a) { return {_mm512_castps_si512(a.z)}; }
RAISON_INLINE V from_bits(VI a) { return {_mm512_castsi512_ps(a.z)}; }
RAISON_INLINE VI set1_i(int32_t x) { return {_mm512_set1_epi32(x)}; }
RAISON_INLINE VI add_i(VI a, VI b) { return {_mm512_add_epi32(a.z, b.z)}; }
RAISON_INLINE VI sub_i(VI a, VI b) { return {_mm512_sub_epi32(a.z, b.z)}; }
RAISON_INLINE VI mul_i(VI a, VI b) { return {_mm512_mullo_epi32(a.z, b.z)}; }
RAISON_INLINE VI and_i(VI a, VI b) { return {_mm512_and_si512(a.z, b.z)}; }
RAISON_INLINE VI or_i(VI a, VI b) { return {_mm512_or_si512(a.z, b.z)}; }
RAISON_INLINE VI xor_i(VI a, VI b) { return {_mm512_xor_si512(a.z, b.z)}; }
template <int N>
RAISON_INLINE VI shl_i(VI a) {
  return {_mm512_slli_epi32(a.z, N)};
}
template <int N>
RAISON_INLINE VI shr_i(VI a) {  // logical
  return {_mm512_srli_epi32(a.z, N)};
}
RAISON_INLINE VI load_i(const void* p) { return {_mm512_loadu_si512(p)}; }
RAISON_INLINE void store_i(void* p, VI a) { _mm512_storeu_si512(p, a.z); }
// Each of the 64 bytes on its own.
RAISON_INLINE VI add_b(VI a, VI b) { return {_mm512_add_epi8(a.z, b.z)}; }
RAISON_INLINE VI sub_b(VI a, VI b) { return {_mm512_sub_epi8(a.z, b.z)}; }
// Halves: the low and high eight lanes.
RAISON_INLINE __m256i low_i(__m512i z) { return _mm512_castsi512_si256(z); }
RAISON_INLINE __m256i high_i(__m512i z) { return _mm512_extracti64x4_epi64(z, 1); }
RAISON_INLINE __m256 low_f(__m512 z) { return _mm256_castsi256_ps(low_i(_mm512_castps_si512(z))); }
RAISON_INLINE __m256 high_f(__m512 z) { return _mm256_castsi256_ps(high_i(_mm512_castps_si512(z))); }
RAISON_INLINE __m512i join_i(__m256i lo, __m256i hi) { return _mm512_inserti64x4(_mm512_castsi256_si512(lo), hi, 1); }
RAISON_INLINE V join_f(__m256 lo, __m256 hi) {
  return {_mm512_castsi512_ps(join_i(_mm256_castps_si256(lo), _mm256_castps_si256(hi)))};
}
#ifdef RAISON_SIMDE
template <int N>
RAISON_INLINE VI sar_i(VI a) {  // arithmetic
  return {join_i(_mm256_srai_epi32(low_i(a.z), N), _mm256_srai_epi32(high_i(a.z), N))};
}
RAISON_INLINE VI round_i(V a) { return {join_i(_mm256_cvtps_epi32(low_f(a.z)), _mm256_cvtps_epi32(high_f(a.z)))}; }
RAISON_INLINE V to_float(VI a) { return join_f(_mm256_cvtepi32_ps(low_i(a.z)), _mm256_cvtepi32_ps(high_i(a.z))); }
RAISON_INLINE __m512 cvt_f16(__m256i h) {
  return join_f(_mm256_cvtph_ps(_mm256_castsi256_si128(h)), _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1))).z;
}
RAISON_INLINE __m256i round_f16(__m512 z) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm256_cvtps_ph(low_f(z), 0)), _mm256_cvtps_ph(high_f(z), 0), 1);
}
RAISON_INLINE __m512i widen_u16(__m256i h) {
  return join_i(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(h)), _mm256_cvtepu16_epi32(_mm256_extracti128_si256(h, 1)));
}
RAISON_INLINE __m256i narrow_u16(__m512i z) {  // lanes are below 65536
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(low_i(z), high_i(z)), 0xD8);
}
RAISON_INLINE VI shr_i(VI a, int n) {  // logical
  const __m128i count = _mm_cvtsi32_si128(n);
  return {join_i(_mm256_srl_epi32(low_i(a.z), count), _mm256_srl_epi32(high_i(a.z), count))};
}
RAISON_INLINE VI load_u8(const uint8_t* p) {  // 16 bytes
  const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {join_i(_mm256_cvtepu8_epi32(b), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(b, b)))};
}
RAISON_INLINE VI gather_i(const uint32_t* table, VI index) {
  const auto* t = reinterpret_cast<const int*>(table);
  return {join_i(_mm256_i32gather_epi32(t, low_i(index.z), 4), _mm256_i32gather_epi32(t, high_i(index.z), 4))};
}
RAISON_INLINE VI lookup_b(const int8_t* table, VI index) {  // indices are below 16
  const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  return {join_i(_mm256_shuffle_epi8(t, low_i(index.z)), _mm256_shuffle_epi8(t, high_i(index.z)))};
}
// Each of the 32 pairs of int16: a0 * b0 + a1 * b1.
RAISON_INLINE VI dot2_i(VI a, VI b) {
  return {join_i(_mm256_madd_epi16(low_i(a.z), low_i(b.z)), _mm256_madd_epi16(high_i(a.z), high_i(b.z)))};
}
#else
template <int N>
RAISON_INLINE VI sar_i(VI a) {  // arithmetic
  return {_mm512_srai_epi32(a.z, N)};
}
RAISON_INLINE VI round_i(V a) { return {_mm512_cvtps_epi32(a.z)}; }
RAISON_INLINE V to_float(VI a) { return {_mm512_cvtepi32_ps(a.z)}; }
RAISON_INLINE __m512 cvt_f16(__m256i h) { return _mm512_cvtph_ps(h); }
RAISON_INLINE __m256i round_f16(__m512 z) { return _mm512_cvtps_ph(z, _MM_FROUND_TO_NEAREST_INT); }
RAISON_INLINE __m512i widen_u16(__m256i h) { return _mm512_cvtepu16_epi32(h); }
RAISON_INLINE __m256i narrow_u16(__m512i z) { return _mm512_cvtepi32_epi16(z); }
RAISON_INLINE VI shr_i(VI a, int n) { return {_mm512_srl_epi32(a.z, _mm_cvtsi32_si128(n))}; }  // logical
RAISON_INLINE VI load_u8(const uint8_t* p) {                                                   // 16 bytes
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
RAISON_INLINE VI gather_i(const uint32_t* table, VI index) { return {_mm512_i32gather_epi32(index.z, table, 4)}; }
RAISON_INLINE VI lookup_b(const int8_t* table, VI index) {  // indices are below 16
  const __m512i t = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  return {_mm512_shuffle_epi8(t, index.z)};
}
// Each of the 32 pairs of int16: a0 * b0 + a1 * b1.
RAISON_INLINE VI dot2_i(VI a, VI b) { return {_mm512_madd_epi16(a.z, b.z)}; }
#endif
RAISON_INLINE void store_i8(int8_t* p, VI a) {  // lanes are within [-128, 127]
  const __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(low_i(a.z), high_i(a.z)), 0xD8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1)));
}
RAISON_INLINE V neg(V a) {
  return {_mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a.z), _mm512_set1_epi32(INT32_MIN)))};
}
RAISON_INLINE V abs(V a) {
  return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a.z), _mm512_set1_epi32(INT32_MAX)))};
}

RAISON_INLINE V from_f16(__m256i h) { return {cvt_f16(h)}; }
// 16-bit floats. Stores give the bits of tensor/dtype.h's *_saturate functions.
RAISON_INLINE V load_f16(const uint16_t* p) { return {cvt_f16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))}; }
// The signed bytes 2 * kPair and 2 * kPair + 1 of each lane as int16.
template <int kPair>
RAISON_INLINE VI widen_pair(VI a) {
  const VI low = sar_i<24>(kPair == 0 ? shl_i<24>(a) : shl_i<8>(a)), high = sar_i<8>(kPair == 0 ? shl_i<16>(a) : a);
  return or_i(and_i(low, set1_i(0xFFFF)), and_i(high, set1_i(INT32_MIN >> 15)));
}
// The f16 in each lane's low half. The high half: shr_i<16> first.
RAISON_INLINE V low_f16(VI a) { return {cvt_f16(narrow_u16(and_i(a, set1_i(0xFFFF)).z))}; }
RAISON_INLINE V load_bf16(const uint16_t* p) {
  return from_bits(shl_i<16>({widen_u16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))}));
}
// Infinity (magnitude bits equal to `inf`) steps down by one, to the largest finite value.
RAISON_INLINE __m256i saturate_16(__m256i h, short inf) {
  const __m256i magnitude = _mm256_and_si256(h, _mm256_set1_epi16(0x7FFF));
  return _mm256_add_epi16(h, _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(inf)));
}
RAISON_INLINE void store_f16_saturate(uint16_t* p, V v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), saturate_16(round_f16(v.z), 0x7C00));
}
RAISON_INLINE void store_bf16_saturate(uint16_t* p, V v) {
  const VI u = bits(v), top = shr_i<16>(u);
  const VI r = shr_i<16>(add_i(add_i(u, set1_i(0x7FFF)), and_i(top, set1_i(1))));
  const VI quiet = or_i(top, set1_i(0x40));
  const VI b = bits(select(is_nan(v), from_bits(quiet), from_bits(r)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), saturate_16(narrow_u16(b.z), 0x7F80));
}

// lane[j] += lane[j + 8], then 4, 2, 1.
RAISON_INLINE float tree16(V v) {
  const __m256 a = _mm256_add_ps(low_f(v.z), high_f(v.z));
  __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
// The largest lane. With NaN lanes, or zeros of both signs on top, which one comes out is not defined.
RAISON_INLINE float max16(V v) {
  const __m256 a = _mm256_max_ps(low_f(v.z), high_f(v.z));
  __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

}  // namespace raison::RAISON_ISA

#include "kernels/generic/simd_common.inc"
