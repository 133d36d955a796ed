// Making blocks and small floats from fp32. Scalar code without FMA: the same bytes on every CPU.
#pragma once
#include <cstdint>

#include "tensor/dtype.h"

namespace raison {

// The types quantize_row writes: F32, F16, BF16 and all block types but IQ1_*, IQ2_* and IQ3_*, which come to nothing without
// a measured importance of each column. Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, MXFP4, TQ1_0 and TQ2_0 have the bytes of ggml's reference
// (gguf-py's quants.py); K types and IQ4_* its quality.
bool can_quantize(DType type);
// A row of `elements` (a multiple of the type's block) values; `out` has row_bytes(type, elements). A NaN becomes a code of
// small magnitude, and a block so small that 1/scale is infinite becomes zeros.
void quantize_row(DType type, const float* x, uint8_t* out, int64_t elements);

// fp32 to OCP's 8-bit floats, to nearest, ties to even. What exceeds the largest finite value becomes that value if `saturate`
// (infinities too), otherwise NaN (E4M3, which has no infinities) or an infinity (E5M2). NaN stays NaN.
uint8_t f32_to_f8_e4m3(float f, bool saturate);
uint8_t f32_to_f8_e5m2(float f, bool saturate);

}  // namespace raison
