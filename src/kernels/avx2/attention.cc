// Attention on AVX2: tile sizes for 16 ymm registers.
#include "kernels/avx2/attention_int.h"
#include "kernels/avx2/simd.h"

#define RAISON_QUERY_TILE 6

namespace raison::avx2 {

constexpr int kQueryTile = RAISON_QUERY_TILE;  // 12 sums, 2 keys, 1 query of 16 registers
constexpr int tile_columns(int rows) { return rows == 1 ? 4 : rows <= 3 ? 2 : 1; }

}  // namespace raison::avx2

// Each uses what those before it define.
// clang-format off
#include "kernels/generic/attention.inc"
#include "kernels/generic/attention_int.inc"
#include "kernels/generic/attention_backward.inc"
#include "kernels/generic/kv_append_int.inc"
#include "kernels/generic/kv_append.inc"
// clang-format on
