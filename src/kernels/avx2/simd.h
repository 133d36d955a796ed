// AVX2 + FMA + F16C behind the 16-lane vector of kernels/generic (see generic/README.md for the API's contract).
// V is two ymm registers; lane 0 is the low lane of `lo`. Everything has internal linkage or is always inlined: code
// built with these flags must never be the copy that the linker keeps for another part of the program.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#define RAISON_ISA avx2
#define RAISON_INLINE static inline __attribute__((always_inline))

namespace raison::avx2 {

struct V {
  __m256 lo, hi;
};
struct VI {  // 16 x 32-bit integers
  __m256i lo, hi;
};
struct Mask {  // all ones or all zeros per lane
  __m256 lo, hi;
};

RAISON_INLINE V load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
RAISON_INLINE void store(float* p, V v) {
  _mm256_storeu_ps(p, v.lo);
  _mm256_storeu_ps(p + 8, v.hi);
}
RAISON_INLINE V set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
RAISON_INLINE V zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
RAISON_INLINE V fma(V a, V b, V c) { return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)}; }
RAISON_INLINE V add(V a, V b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
RAISON_INLINE V sub(V a, V b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
RAISON_INLINE V mul(V a, V b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
RAISON_INLINE V div(V a, V b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
RAISON_INLINE V sqrt(V a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
RAISON_INLINE V max(V a, V b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
RAISON_INLINE V min(V a, V b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
RAISON_INLINE V neg(V a) {
  const __m256 s = _mm256_set1_ps(-0.0f);
  return {_mm256_xor_ps(a.lo, s), _mm256_xor_ps(a.hi, s)};
}
RAISON_INLINE V abs(V a) {
  const __m256 s = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(s, a.lo), _mm256_andnot_ps(s, a.hi)};
}

// Masks. Comparisons with NaN are false.
RAISON_INLINE Mask gt(V a, V b) { return {_mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ)}; }
RAISON_INLINE Mask eq(V a, V b) { return {_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)}; }
RAISON_INLINE Mask is_nan(V a) { return {_mm256_cmp_ps(a.lo, a.lo, _CMP_UNORD_Q), _mm256_cmp_ps(a.hi, a.hi, _CMP_UNORD_Q)}; }
RAISON_INLINE V select(Mask m, V a, V b) { return {_mm256_blendv_ps(b.lo, a.lo, m.lo), _mm256_blendv_ps(b.hi, a.hi, m.hi)}; }
RAISON_INLINE uint32_t mask_bits(Mask m) {
  return static_cast<uint32_t>(_mm256_movemask_ps(m.lo)) | static_cast<uint32_t>(_mm256_movemask_ps(m.hi)) << 8;
}
RAISON_INLINE VI lane_index() {
  return {_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15)};
}
RAISON_INLINE Mask first_n(int n) {
  const VI i = lane_index();
  const __m256i c = _mm256_set1_epi32(n);
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(c, i.lo)), _mm256_castsi256_ps(_mm256_cmpgt_epi32(c, i.hi))};
}
// Tails: lanes >= n load as +0 and are not stored; no byte beyond p[n-1] is touched.
RAISON_INLINE V load_n(const float* p, int n) {
  const Mask m = first_n(n);
  return {_mm256_maskload_ps(p, _mm256_castps_si256(m.lo)), _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.hi))};
}
RAISON_INLINE void store_n(float* p, V v, int n) {
  const Mask m = first_n(n);
  _mm256_maskstore_ps(p, _mm256_castps_si256(m.lo), v.lo);
  _mm256_maskstore_ps(p + 8, _mm256_castps_si256(m.hi), v.hi);
}

// Integers.
RAISON_INLINE VI bits(V a) { return {_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
RAISON_INLINE V from_bits(VI a) { return {_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }
RAISON_INLINE VI set1_i(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
RAISON_INLINE VI add_i(VI a, VI b) { return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
RAISON_INLINE VI sub_i(VI a, VI b) { return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)}; }
RAISON_INLINE VI mul_i(VI a, VI b) { return {_mm256_mullo_epi32(a.lo, b.lo), _mm256_mullo_epi32(a.hi, b.hi)}; }
RAISON_INLINE VI and_i(VI a, VI b) { return {_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)}; }
RAISON_INLINE VI or_i(VI a, VI b) { return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)}; }
RAISON_INLINE VI xor_i(VI a, VI b) { return {_mm256_xor_si256(a.lo, b.lo), _mm256_xor_si256(a.hi, b.hi)}; }
template <int N>
RAISON_INLINE VI shl_i(VI a) {
  return {_mm256_slli_epi32(a.lo, N), _mm256_slli_epi32(a.hi, N)};
}
template <int N>
RAISON_INLINE VI shr_i(VI a) {  // logical
  return {_mm256_srli_epi32(a.lo, N), _mm256_srli_epi32(a.hi, N)};
}
template <int N>
RAISON_INLINE VI sar_i(VI a) {  // arithmetic
  return {_mm256_srai_epi32(a.lo, N), _mm256_srai_epi32(a.hi, N)};
}
RAISON_INLINE VI shr_i(VI a, int n) {  // logical
  const __m128i count = _mm_cvtsi32_si128(n);
  return {_mm256_srl_epi32(a.lo, count), _mm256_srl_epi32(a.hi, count)};
}
RAISON_INLINE VI load_i(const void* p) {
  const auto* q = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
RAISON_INLINE void store_i(void* p, VI a) {
  auto* q = static_cast<__m256i*>(p);
  _mm256_storeu_si256(q, a.lo);
  _mm256_storeu_si256(q + 1, a.hi);
}
RAISON_INLINE VI load_u8(const uint8_t* p) {  // 16 bytes
  const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepu8_epi32(b), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(b, b))};
}
RAISON_INLINE VI gather_i(const uint32_t* table, VI index) {
  const auto* t = reinterpret_cast<const int*>(table);
  return {_mm256_i32gather_epi32(t, index.lo, 4), _mm256_i32gather_epi32(t, index.hi, 4)};
}
// Each of the 64 bytes on its own.
RAISON_INLINE VI add_b(VI a, VI b) { return {_mm256_add_epi8(a.lo, b.lo), _mm256_add_epi8(a.hi, b.hi)}; }
RAISON_INLINE VI sub_b(VI a, VI b) { return {_mm256_sub_epi8(a.lo, b.lo), _mm256_sub_epi8(a.hi, b.hi)}; }
RAISON_INLINE VI lookup_b(const int8_t* table, VI index) {  // indices are below 16
  const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  return {_mm256_shuffle_epi8(t, index.lo), _mm256_shuffle_epi8(t, index.hi)};
}
// Bytes to the places that `order` names in each lane; 128: zero.
RAISON_INLINE VI permute_b(VI a, uint32_t order) {
  const __m128i step = _mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0C0C0C0C);
  const __m256i o = _mm256_broadcastsi128_si256(_mm_add_epi32(_mm_set1_epi32(static_cast<int>(order)), step));
  return {_mm256_shuffle_epi8(a.lo, o), _mm256_shuffle_epi8(a.hi, o)};
}
// The signed bytes 2 * kPair and 2 * kPair + 1 of each lane as int16.
template <int kPair>
RAISON_INLINE VI widen_pair(VI a) {
  const VI p = permute_b(a, kPair == 0 ? 0x01800080 : 0x03800280);
  return {_mm256_srai_epi16(p.lo, 8), _mm256_srai_epi16(p.hi, 8)};
}
// Each of the 32 pairs of int16: a0 * b0 + a1 * b1.
RAISON_INLINE VI dot2_i(VI a, VI b) { return {_mm256_madd_epi16(a.lo, b.lo), _mm256_madd_epi16(a.hi, b.hi)}; }
RAISON_INLINE VI round_i(V a) { return {_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)}; }
RAISON_INLINE void store_i8(int8_t* p, VI a) {  // lanes are within [-128, 127]
  const __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xD8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1)));
}
RAISON_INLINE V to_float(VI a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }

RAISON_INLINE V from_f16(__m256i h) {
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(h)), _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1))};
}
// 16-bit floats. Stores give the bits of tensor/dtype.h's *_saturate functions.
RAISON_INLINE V load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
// The f16 in each lane's low half. The high half: shr_i<16> first.
RAISON_INLINE V low_f16(VI a) {
  const __m256i low = _mm256_set1_epi32(0xFFFF);
  const __m256i h = _mm256_packus_epi32(_mm256_and_si256(a.lo, low), _mm256_and_si256(a.hi, low));
  return from_f16(_mm256_permute4x64_epi64(h, 0xD8));
}
RAISON_INLINE V load_bf16(const uint16_t* p) {
  const __m256i a = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m256i b = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b, 16))};
}
// Infinity (magnitude bits equal to `inf`) steps down by one, to the largest finite value.
RAISON_INLINE __m256i saturate_16(__m256i h, short inf) {
  const __m256i magnitude = _mm256_and_si256(h, _mm256_set1_epi16(0x7FFF));
  return _mm256_add_epi16(h, _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(inf)));
}
RAISON_INLINE void store_f16_saturate(uint16_t* p, V v) {
  const __m256i h =
      _mm256_setr_m128i(_mm256_cvtps_ph(v.lo, _MM_FROUND_TO_NEAREST_INT), _mm256_cvtps_ph(v.hi, _MM_FROUND_TO_NEAREST_INT));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), saturate_16(h, 0x7C00));
}
RAISON_INLINE __m256i round_bf16(__m256 v) {  // in the low half of each 32-bit lane
  const __m256i u = _mm256_castps_si256(v);
  const __m256i top = _mm256_srli_epi32(u, 16);
  const __m256i odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
  const __m256i r = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7FFF)), odd), 16);
  const __m256i quiet = _mm256_or_si256(top, _mm256_set1_epi32(0x40));
  return _mm256_blendv_epi8(r, quiet, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
}
RAISON_INLINE void store_bf16_saturate(uint16_t* p, V v) {
  const __m256i h = _mm256_permute4x64_epi64(_mm256_packus_epi32(round_bf16(v.lo), round_bf16(v.hi)), 0xD8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), saturate_16(h, 0x7F80));
}

// lane[j] += lane[j + 8], then 4, 2, 1.
RAISON_INLINE float tree16(V v) {
  const __m256 a = _mm256_add_ps(v.lo, v.hi);
  __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
// The largest lane. With NaN lanes, or zeros of both signs on top, which one comes out is not defined.
RAISON_INLINE float max16(V v) {
  const __m256 a = _mm256_max_ps(v.lo, v.hi);
  __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

}  // namespace raison::avx2

#include "kernels/generic/simd_common.inc"
