// Every kernel table this build and this CPU can run beside ref, for tests that compare with ref by memcmp.
#pragma once
#include <cstdio>
#include <vector>

#include "kernels/kernel_table.h"

#ifdef RAISON_HAVE_SIMDE
namespace raison::isa {
extern const KernelTable avx512_simde_table;  // the AVX-512 sources on portable intrinsics
}
#endif

namespace raison::testing {

// The AVX-512 sources on SIMDe, or null: not built, or not for this CPU.
inline const KernelTable* simde_table() {
#ifdef RAISON_HAVE_SIMDE
  if (avx2_kernels()) return &isa::avx512_simde_table;  // its AVX2 parts are native
#endif
  return nullptr;
}

// The same where nothing else runs those sources: whole models on them are slow, and pointless where the CPU has AVX-512.
inline const KernelTable* simde_stand_in() { return avx512_kernels() ? nullptr : simde_table(); }

inline std::vector<const KernelTable*> vector_tables() {
  std::vector<const KernelTable*> tables;
  if (avx2_kernels()) tables.push_back(avx2_kernels());
  if (avx512_kernels()) tables.push_back(avx512_kernels());
  if (const KernelTable* t = simde_table()) tables.push_back(t);
  static const bool told = [] {
    if (!avx2_kernels()) std::fprintf(stderr, "WARNING: this CPU has no AVX2: its kernels are NOT tested here\n");
    if (!avx512_kernels())
      std::fprintf(stderr, "WARNING: this CPU has no AVX-512: its kernels run on SIMDe or NOT AT ALL here\n");
    return true;
  }();
  (void)told;
  return tables;
}

}  // namespace raison::testing
