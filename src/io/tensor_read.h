// Values of a tensor as numbers.
#pragma once
#include <vector>

#include "io/tensor_source.h"

namespace raison {

// F32, F16, BF16, F64 or any block type, dequantised, row-major. Not F8_*, whose values mean nothing without their scales.
Result<std::vector<float>> read_f32(const TensorInfo& tensor);
// I32, or I64 whose values fit.
Result<std::vector<int32_t>> read_i32(const TensorInfo& tensor);

}  // namespace raison
