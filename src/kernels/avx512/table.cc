#include "kernels/kernel_table.h"
namespace raison::isa { extern const KernelTable avx512_table; const KernelTable avx512_table = {}; }
