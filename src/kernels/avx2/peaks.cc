#include <immintrin.h>

#include "kernels/peak_loops.h"

namespace raison::isa {
namespace {

void products(int64_t steps, float* sink) {
  const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
#define RAISON_DECLARE(a) __m256 a = y;
#define RAISON_STEP(a) __asm__ volatile("vfmadd213ps %2, %1, %0" : "+x"(a) : "x"(x), "x"(y));
#define RAISON_SINK(a) _mm256_storeu_ps(sink, a);
  RAISON_CHAINS(RAISON_DECLARE)
  for (int64_t s = 0; s < steps; ++s) { RAISON_CHAINS(RAISON_STEP) }
  RAISON_CHAINS(RAISON_SINK)
#undef RAISON_DECLARE
#undef RAISON_STEP
#undef RAISON_SINK
}

// Summed in pairs to 16 bits and added there.
void byte_products(int64_t steps, float* sink) {
  const __m256i x = _mm256_set1_epi8(1), y = _mm256_set1_epi8(1);
#define RAISON_DECLARE(a) __m256i a = y;
#define RAISON_STEP(a)                                                                                   \
  {                                                                                                      \
    __m256i p;                                                                                           \
    __asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(a), "=&x"(p) : "x"(x), "x"(y)); \
  }
#define RAISON_SINK(a) _mm256_storeu_si256(reinterpret_cast<__m256i*>(sink), a);
  RAISON_CHAINS(RAISON_DECLARE)
  for (int64_t s = 0; s < steps; ++s) { RAISON_CHAINS(RAISON_STEP) }
  RAISON_CHAINS(RAISON_SINK)
#undef RAISON_DECLARE
#undef RAISON_STEP
#undef RAISON_SINK
}

// Exclusive or of all words, four streams at a time: reads at whatever the memory gives.
void read(const uint8_t* p, int64_t bytes, float* sink) {
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  const int64_t quarter = bytes / 4;
#define RAISON_WORD(offset) _mm256_load_si256(reinterpret_cast<const __m256i*>(p + (offset)))
  for (int64_t i = 0; i < quarter; i += 32) {
    a = _mm256_xor_si256(a, RAISON_WORD(i));
    b = _mm256_xor_si256(b, RAISON_WORD(i + quarter));
    c = _mm256_xor_si256(c, RAISON_WORD(i + 2 * quarter));
    d = _mm256_xor_si256(d, RAISON_WORD(i + 3 * quarter));
  }
#undef RAISON_WORD
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(sink), _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d)));
}

}  // namespace

extern const PeakLoops avx2_peaks;
const PeakLoops avx2_peaks = {products, byte_products, 12 * 16, 12 * 64, read};

}  // namespace raison::isa
