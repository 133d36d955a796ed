// Tensor: an activation, fp32, [rows, cols] dense. rows are packed tokens, cols features (heads flattened). A value: copying
// it copies the view. The memory belongs to an Arena; `slot` names its gradient on the tape (-1: none is wanted).
#pragma once
#include <cstdint>

namespace raison {

struct Tensor {
  float* data = nullptr;
  int64_t rows = 0, cols = 0;
  int32_t slot = -1;
  int64_t size() const { return rows * cols; }
  float* row(int64_t r) const { return data + r * cols; }
};

}  // namespace raison
