// Writing GGUF v3.
#pragma once
#include "io/gguf.h"
#include "io/safetensors.h"

namespace raison {

// Writes atomically; the same input gives the same bytes, and reading them gives the same metadata and tensors.
// Types: F32, F16, BF16, Q8_0 (data = blocks as GGUF stores them), F64, I8 .. I64. Shapes: 1 to 4 dimensions, none 0,
// row-major as everywhere here; rows of Q8_0 are multiples of 32. Each tensor begins at a multiple of general.alignment,
// 32 if the metadata holds none. Metadata's integers and reals are written in the narrowest of u32/u64, i32/i64, f32/f64
// that holds the value exactly (for arrays: all values).
Status write_gguf(const std::string& path, const Metadata& metadata, const std::vector<TensorToWrite>& tensors);

}  // namespace raison
