#include "kernels/kernel_table.h"

#include <cstdlib>
#include <string>

#if defined(__x86_64__) && !defined(RAISON_REF_ONLY)
#include <cpuid.h>
#endif

namespace raison {
namespace isa {
extern const KernelTable avx2_table;
extern const KernelTable avx512_table;
}  // namespace isa

namespace {
#if defined(__x86_64__) && !defined(RAISON_REF_ONLY)
// The OS must save the registers too: XCR0 bits 1,2 (ymm) and 5,6,7 (zmm).
bool os_saves(unsigned mask) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return false;
  unsigned lo, hi;
  __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (lo & mask) == mask;
}
bool cpu_has_avx2() {
  return os_saves(0x6) && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
[[maybe_unused]] bool cpu_has_avx512() {
  return os_saves(0xE6) && cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}
#endif
}  // namespace

const KernelTable* avx2_kernels() {
#if defined(__x86_64__) && !defined(RAISON_REF_ONLY)
  static const bool has = cpu_has_avx2();
  return has ? &isa::avx2_table : nullptr;
#else
  return nullptr;
#endif
}

const KernelTable* avx512_kernels() {
#if defined(__x86_64__) && !defined(RAISON_REF_ONLY) && !defined(RAISON_NO_AVX512)
  static const bool has = cpu_has_avx512();
  return has ? &isa::avx512_table : nullptr;
#else
  return nullptr;
#endif
}

Result<const KernelTable*> select_kernels(Isa isa) {
  switch (isa) {
    case Isa::Ref: return &ref_kernels();
    case Isa::Avx2:
      if (const KernelTable* t = avx2_kernels()) return t;
      return error("RAISON_ISA=avx2: this CPU or build has no AVX2 with FMA; use ref, or leave RAISON_ISA unset");
    case Isa::Avx512:
      if (const KernelTable* t = avx512_kernels()) return t;
      return error(
          "RAISON_ISA=avx512: this CPU or build has no AVX-512 (F, BW, DQ, VL, VNNI); use avx2 or ref, or leave RAISON_ISA "
          "unset");
    case Isa::Auto: break;
  }
  if (const KernelTable* t = avx512_kernels()) return t;
  if (const KernelTable* t = avx2_kernels()) return t;
  return &ref_kernels();
}

Result<const KernelTable*> select_kernels_from_environment() {
  const char* name = std::getenv("RAISON_ISA");
  if (!name || !*name) return select_kernels(Isa::Auto);
  const std::string isa = name;
  if (isa == "ref") return select_kernels(Isa::Ref);
  if (isa == "avx2") return select_kernels(Isa::Avx2);
  if (isa == "avx512") return select_kernels(Isa::Avx512);
  return error("RAISON_ISA={}: unknown; use ref, avx2 or avx512", isa);
}

}  // namespace raison
