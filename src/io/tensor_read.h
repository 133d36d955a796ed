// Values of a tensor as numbers.
#pragma once
#include <vector>

#include "io/tensor_source.h"

namespace raison {

// Any float or block type this build knows, dequantised, row-major.
Result<std::vector<float>> read_f32(const TensorInfo& tensor);
// I32, or I64 whose values fit.
Result<std::vector<int32_t>> read_i32(const TensorInfo& tensor);

}  // namespace raison
