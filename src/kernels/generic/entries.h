// The entries of one instruction set's KernelTable, in namespace raison::RAISON_ISA. Included after that set's simd.h.
#pragma once
#include "kernels/kernel_table.h"

namespace raison::RAISON_ISA {

// matmul.cc
void matmul(Exec&, const PackedView& w, const float* x, int64_t ldx, int64_t rows, float* y, int64_t ldy);
void matmul_dx(Exec&, const PackedView& w, const float* dy, int64_t lddy, int64_t rows, float* dx, int64_t lddx);
void matmul_dw(Exec&, const float* dy, int64_t lddy, const float* x, int64_t ldx, int64_t rows, int64_t n, int64_t k, float* dw,
               bool accumulate);
void embedding(Exec&, const PackedView& w, const int32_t* ids, int64_t rows, float* y, int64_t ldy);
void embedding_dw(Exec&, const int32_t* ids, const float* dy, int64_t lddy, int64_t rows, int64_t k, float* dw);

// quants.cc: for matmul.cc. matmul of a block type.
void matmul_blocks(Exec&, const PackedView& w, const float* x, int64_t ldx, int64_t rows, float* y, int64_t ldy);
// Columns [k0, k0 + 256) of a panel of a block type as fp32 [256][16], or those that there are; k0 a multiple of 256.
void dequantize_blocks(const PackedView& w, int64_t panel, int64_t k0, float* out);

// elementwise.cc
void rms_norm(Exec&, const float* x, const float* w, float eps, int64_t rows, int64_t dim, float* y, float* rstd);
void rms_norm_backward(Exec&, const float* x, const float* w, const float* rstd, const float* dy, int64_t rows, int64_t dim,
                       float* dx, float* dw);
void rope(Exec&, const float* x, const float* cos, const float* sin, int64_t rows, int heads, int head_dim, int rot,
          bool interleaved, bool inverse, float* y);
void silu_mul(Exec&, const float* g, const float* u, int64_t n, float* y);
void silu_mul_backward(Exec&, const float* g, const float* u, const float* dy, int64_t n, float* dg, float* du);
void add(Exec&, const float* a, const float* b, int64_t n, float* y);
void scale(Exec&, float* x, float s, int64_t n);
void add_bias(Exec&, float* y, const float* bias, int64_t rows, int64_t dim);
void bias_backward(Exec&, const float* dy, int64_t rows, int64_t dim, float* dbias);
void softmax(Exec&, const float* x, int64_t rows, int64_t n, float* y);
void softmax_backward(Exec&, const float* y, const float* dy, int64_t rows, int64_t n, float* dx);
void scatter_rows(Exec&, const float* x, const int32_t* rows, const float* w, int64_t n, int64_t dim, float* y);
void scatter_rows_backward(Exec&, const float* x, const int32_t* rows, const float* w, int64_t n, int64_t dim, const float* dy,
                           float* dx, float* dw);
void logprob_rows(Exec&, const float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets,
                  float temperature, float* logprob, float* max_out, float* sum_out);
void logprob_rows_backward(Exec&, float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets,
                           float temperature, const float* max_in, const float* sum_in, const float* dlogprob);
void adamw(Exec&, const AdamWArgs&);
double sum_squares(Exec&, const float* x, int64_t n);

// attention.cc
void kv_append(Exec&, const KvAppendArgs&);
void attention(Exec&, const AttentionArgs&);
void attention_backward(Exec&, const AttentionBackwardArgs&);

}  // namespace raison::RAISON_ISA

// Which of the files above exist; table.inc takes ref's entries for the others.
#define RAISON_HAVE_MATMUL 1
#define RAISON_HAVE_ELEMENTWISE 1
#define RAISON_HAVE_ATTENTION 1
