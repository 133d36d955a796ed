// What a CPU without AVX2 is held against: SSE2, which every x86-64 has. Elsewhere reads alone.
#include "kernels/peak_loops.h"

#include <cstring>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace raison::isa {
namespace {

#if defined(__x86_64__)
void products(int64_t steps, float* sink) {
  const __m128 x = _mm_set1_ps(0.999f), y = _mm_set1_ps(0.001f);
#define RAISON_DECLARE(a) __m128 a = y;
#define RAISON_STEP(a) __asm__ volatile("mulps %1, %0\n\taddps %2, %0" : "+x"(a) : "x"(x), "x"(y));
#define RAISON_SINK(a) _mm_storeu_ps(sink, a);
  RAISON_CHAINS(RAISON_DECLARE)
  for (int64_t s = 0; s < steps; ++s) { RAISON_CHAINS(RAISON_STEP) }
  RAISON_CHAINS(RAISON_SINK)
#undef RAISON_DECLARE
#undef RAISON_STEP
#undef RAISON_SINK
}

// Bytes widened to 16 bits.
void byte_products(int64_t steps, float* sink) {
  const __m128i x = _mm_set1_epi16(1), y = x;
#define RAISON_DECLARE(a) __m128i a = y;
#define RAISON_STEP(a)                                                                                        \
  {                                                                                                           \
    __m128i p;                                                                                                \
    __asm__ volatile("movdqa %2, %1\n\tpmaddwd %3, %1\n\tpaddd %1, %0" : "+x"(a), "=&x"(p) : "x"(x), "x"(y)); \
  }
#define RAISON_SINK(a) _mm_storeu_si128(reinterpret_cast<__m128i*>(sink), a);
  RAISON_CHAINS(RAISON_DECLARE)
  for (int64_t s = 0; s < steps; ++s) { RAISON_CHAINS(RAISON_STEP) }
  RAISON_CHAINS(RAISON_SINK)
#undef RAISON_DECLARE
#undef RAISON_STEP
#undef RAISON_SINK
}
#endif

void read(const uint8_t* p, int64_t bytes, float* sink) {
  uint64_t words[8] = {};
  for (int64_t i = 0; i < bytes; i += 64)
    for (int w = 0; w < 8; ++w) {
      uint64_t word;
      std::memcpy(&word, p + i + 8 * w, 8);
      words[w] ^= word;
    }
  std::memcpy(sink, words, sizeof words);
}

}  // namespace

extern const PeakLoops ref_peaks;
#if defined(__x86_64__)
const PeakLoops ref_peaks = {products, byte_products, 12 * 8, 12 * 16, read};
#else
const PeakLoops ref_peaks = {nullptr, nullptr, 0, 0, read};
#endif

}  // namespace raison::isa
