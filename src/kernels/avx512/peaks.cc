#ifndef RAISON_SIMDE  // a peak of instructions that are not there
#include <immintrin.h>

#include "kernels/peak_loops.h"

namespace raison::isa {
namespace {

void products(int64_t steps, float* sink) {
  const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
#define RAISON_DECLARE(a) __m512 a = y;
#define RAISON_STEP(a) __asm__ volatile("vfmadd213ps %2, %1, %0" : "+v"(a) : "v"(x), "v"(y));
#define RAISON_SINK(a) _mm512_storeu_ps(sink, a);
  RAISON_CHAINS(RAISON_DECLARE)
  for (int64_t s = 0; s < steps; ++s) { RAISON_CHAINS(RAISON_STEP) }
  RAISON_CHAINS(RAISON_SINK)
#undef RAISON_DECLARE
#undef RAISON_STEP
#undef RAISON_SINK
}

void byte_products(int64_t steps, float* sink) {
  const __m512i x = _mm512_set1_epi32(0x01010101), y = x;
#define RAISON_DECLARE(a) __m512i a = y;
#define RAISON_STEP(a) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(a) : "v"(x), "v"(y));
#define RAISON_SINK(a) _mm512_storeu_si512(sink, a);
  RAISON_CHAINS(RAISON_DECLARE)
  for (int64_t s = 0; s < steps; ++s) { RAISON_CHAINS(RAISON_STEP) }
  RAISON_CHAINS(RAISON_SINK)
#undef RAISON_DECLARE
#undef RAISON_STEP
#undef RAISON_SINK
}

void read(const uint8_t* p, int64_t bytes, float* sink) {
  __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
  const int64_t quarter = bytes / 4;
  for (int64_t i = 0; i < quarter; i += 64) {
    a = _mm512_xor_si512(a, _mm512_load_si512(p + i));
    b = _mm512_xor_si512(b, _mm512_load_si512(p + i + quarter));
    c = _mm512_xor_si512(c, _mm512_load_si512(p + i + 2 * quarter));
    d = _mm512_xor_si512(d, _mm512_load_si512(p + i + 3 * quarter));
  }
  _mm512_storeu_si512(sink, _mm512_xor_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(c, d)));
}

}  // namespace

extern const PeakLoops avx512_peaks;
const PeakLoops avx512_peaks = {products, byte_products, 12 * 32, 12 * 128, read};

}  // namespace raison::isa
#endif
