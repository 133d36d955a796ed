// ForwardBatch: what one forward pass computes: packed tokens of several sequences, never padded.
#pragma once
#include <cstdint>
#include <vector>

#include "tensor/kv_view.h"

namespace raison {

struct ForwardBatch {
  std::vector<int32_t> tokens;       // [T]
  std::vector<int32_t> positions;    // [T] absolute, in each sequence consecutive
  std::vector<int32_t> seq_offsets;  // [S + 1]: sequence s is rows [seq_offsets[s], seq_offsets[s+1])
  std::vector<int32_t> adapters;     // [S] adapter id, -1 = the base; empty = all the base
  std::vector<int32_t> output_rows;  // rows whose final hidden state is wanted, ascending; empty = none
  KvLayout kv;
  std::vector<uint8_t* const*> seq_pages;  // [S] page pointers of each sequence, enough for its last position
  // Position ids given to RoPE are positions + rope_offset (far-position tests); pages use `positions`.
  int64_t rope_offset = 0;

  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
  int64_t sequences() const { return static_cast<int64_t>(seq_offsets.size()) - 1; }
  // [T] page pointers by row; call after the fields above are final.
  std::vector<uint8_t* const*> row_pages() const {
    std::vector<uint8_t* const*> out(tokens.size());
    for (int64_t s = 0; s < sequences(); ++s)
      for (int32_t r = seq_offsets[static_cast<size_t>(s)]; r < seq_offsets[static_cast<size_t>(s) + 1]; ++r)
        out[static_cast<size_t>(r)] = seq_pages[static_cast<size_t>(s)];
    return out;
  }
};

}  // namespace raison
