#include "kernels/avx512/simd.h"

#include "kernels/generic/elementwise.inc"
