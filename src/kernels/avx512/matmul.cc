// Matrix products on AVX-512: tile sizes for 32 zmm registers.
#include "kernels/avx512/simd.h"

#define RAISON_TILE_ROWS 12

namespace raison::RAISON_ISA {

constexpr int kTileRows = RAISON_TILE_ROWS, kTilePanels = 2;  // 24 accumulators, 2 weights, 1 activation of 32 registers
constexpr int tile_panels(int rows) { return rows == 1 ? 8 : 4; }

}  // namespace raison::RAISON_ISA

#include "kernels/generic/matmul.inc"
