// Matrix products on AVX2: tile sizes for 16 ymm registers.
#include "kernels/avx2/simd.h"

#define RAISON_TILE_ROWS 6

namespace raison::avx2 {

constexpr int kTileRows = RAISON_TILE_ROWS, kTilePanels = 1;  // 12 accumulators, 2 weights, 1 activation of 16 registers
constexpr int tile_panels(int rows) { return rows == 1 ? 4 : rows == 2 ? 3 : rows == 3 ? 2 : 1; }

}  // namespace raison::avx2

#include "kernels/generic/matmul.inc"
