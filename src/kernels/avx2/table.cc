#include "kernels/kernel_table.h"
namespace raison::isa { extern const KernelTable avx2_table; const KernelTable avx2_table = {}; }
