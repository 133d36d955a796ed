// AVX-512 intrinsics: the compiler's own, or SIMDe's portable ones (RAISON_SIMDE, tests only), so that the same kernels
// can be proved on a CPU without AVX-512. RAISON_ISA names the namespace and thereby every symbol.
#pragma once
#ifdef RAISON_SIMDE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#define RAISON_ISA avx512_simde
#else
#pragma GCC diagnostic push  // GCC 12 takes its own _mm512_undefined_ps for an uninitialised read (its bug 105593)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#define RAISON_ISA avx512
#endif
