// Attention on AVX-512: tile sizes for 32 zmm registers.
#include "kernels/avx512/simd.h"

#define RAISON_QUERY_TILE 12

namespace raison::RAISON_ISA {

constexpr int kQueryTile = RAISON_QUERY_TILE;  // 24 sums, 2 keys; queries broadcast from memory
constexpr int tile_columns(int rows) { return rows == 1 ? 8 : rows <= 6 ? 4 : 2; }

}  // namespace raison::RAISON_ISA

#include "kernels/generic/attention.inc"
#include "kernels/generic/kv_append.inc"
