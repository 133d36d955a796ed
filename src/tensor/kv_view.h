// KvView: what attention sees of the KV cache: pages lent by their owner (engine/kv_cache.h, or a trainer's ephemeral cache).
//
// A page holds `page_size` positions of one sequence, all layers. Within a page, for layer l and KV head h, at byte offset
// (l * kv_heads + h) * head_bytes():
//   K  [page_size/16][head_dim][16]   positions in lanes, so that q.k needs no reduction across lanes
//   V  [page_size][v_dim]             nothing if latent
// In a latent cache (multi-head latent attention, DeepSeek-V2, arXiv:2405.04434, in its absorbed form) a position has one key
// row [normed latent; roped key] of head_dim values, and its value row is the row's beginning, the latent: its first v_dim values.
// Elements are F32, F16 or BF16. Where a position lies in which page never changes a bit of the result.
//
// I8 and I16: codes for integer dot products, kGroup = 4 (I8) or 2 (I16) of them side by side where the sum runs, so that 16 lanes
// of a group fill 64 bytes; a scale for each position's K row and V row. Rows are rotated before (docs/numerics.md, 8).
//   K      [page_size/16][key_codes/kGroup][16 positions][kGroup dims]          I8: code + 128, unsigned
//   V      [padded v_dim/16][page_size/kGroup][16 dims][kGroup positions]       I8: signed; nothing if latent
//   roped  [page_size/16][roped/2][16 positions][2 dims], int16 for both types  the roped part of a latent cache's keys
//   K's scales [page_size], then V's or, if latent, the roped part's [page_size], floats
#pragma once
#include <cstdint>

#include "base/result.h"
#include "tensor/dtype.h"

namespace raison {

constexpr int kAttentionSplit = 256;  // positions per split, anchored at 0 (docs/numerics.md)

struct KvLayout {
  DType type = DType::F32;
  int layers = 0, kv_heads = 0;
  int head_dim = 0;     // width of a key row
  int page_size = 64;   // 16, 32, 64, 128 or 256 (divides kAttentionSplit)
  int value_dim = 0;    // width of a value row; 0: head_dim
  bool latent = false;  // values are the first v_dim() values of the keys (v_dim() <= head_dim); nothing is stored for them
  int v_dim() const { return value_dim > 0 ? value_dim : head_dim; }
  bool integer() const { return type == DType::I8 || type == DType::I16; }
  int64_t element_bytes() const { return type == DType::F32 ? 4 : type == DType::I8 ? 1 : 2; }
  int64_t head_bytes() const {
    if (integer()) return scale_offset() + int64_t{2} * page_size * 4;
    return int64_t{page_size} * (head_dim + (latent ? 0 : v_dim())) * element_bytes();
  }
  int64_t page_bytes() const { return head_bytes() * kv_heads * layers; }

  // Integer caches. Widths of a key's two parts, and where the arrays begin in a head.
  int key_codes() const { return latent ? v_dim() : head_dim; }
  int roped() const { return latent ? head_dim - v_dim() : 0; }
  int64_t value_offset() const { return int64_t{page_size} * key_codes() * element_bytes(); }
  int64_t rope_offset() const {
    return value_offset() + (latent ? 0 : int64_t{page_size} * ((v_dim() + 15) / 16 * 16) * element_bytes());
  }
  int64_t scale_offset() const { return rope_offset() + int64_t{page_size} * roped() * 2; }
};

// The layout, or why it can't be: one line that names the types that can.
Result<KvLayout> checked(const KvLayout& layout);

// Sequence s of a batch owns pages[page_offsets[s] .. page_offsets[s+1]); its position p lies in page p / page_size.
struct KvView {
  KvLayout layout;
  uint8_t* const* pages = nullptr;
  const int32_t* page_offsets = nullptr;  // [sequences + 1]
};

}  // namespace raison
