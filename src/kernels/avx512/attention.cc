// Attention on AVX-512: tile sizes for 32 zmm registers.
#include "kernels/avx512/attention_int.h"
#include "kernels/avx512/simd.h"

#define RAISON_QUERY_TILE 12

namespace raison::RAISON_ISA {

constexpr int kQueryTile = RAISON_QUERY_TILE;  // 24 sums, 2 keys; queries broadcast from memory
constexpr int tile_columns(int rows) { return rows == 1 ? 8 : rows <= 6 ? 4 : 2; }

}  // namespace raison::RAISON_ISA

// Each uses what those before it define.
// clang-format off
#include "kernels/generic/attention.inc"
#include "kernels/generic/attention_int.inc"
#include "kernels/generic/attention_backward.inc"
#include "kernels/generic/kv_append_int.inc"
#include "kernels/generic/kv_append.inc"
// clang-format on
