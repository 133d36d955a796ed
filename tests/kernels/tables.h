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

inline std::vector<const KernelTable*> vector_tables() {
  std::vector<const KernelTable*> tables;
  if (avx2_kernels()) tables.push_back(avx2_kernels());
  if (avx512_kernels()) tables.push_back(avx512_kernels());
#ifdef RAISON_HAVE_SIMDE
  if (avx2_kernels()) tables.push_back(&isa::avx512_simde_table);  // its AVX2 parts are native
#endif
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
