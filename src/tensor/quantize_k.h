// Making K blocks and IQ4 blocks from fp32: each group's scale (and minimum) is searched for, by weighted least squares over a
// few trial scales; then the scales are themselves rounded, with a look at their neighbours, and the codes made from the rounded
// ones. The weights say that errors of large values matter more: |x|, with a minimum |x| + rms. Errors are those of ggml's
// reference or a little less. Scalar code in a fixed order: the same bytes on every CPU. Inside src/tensor; others use
// quantize_row.
#pragma once
#include <cstdint>

namespace raison::blocks {

void write_q2_k(const float* x, uint8_t* out);
void write_q3_k(const float* x, uint8_t* out);
void write_q4_k(const float* x, uint8_t* out);
void write_q5_k(const float* x, uint8_t* out);
void write_q6_k(const float* x, uint8_t* out);
void write_iq4_nl(const float* x, uint8_t* out);
void write_iq4_xs(const float* x, uint8_t* out);

}  // namespace raison::blocks
