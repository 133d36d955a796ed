// KernelTable: raw-pointer math, one table per instruction set. All tables give the same bits: `ref` (src/kernels/ref/) is
// plain scalar code that defines the meaning of each entry; docs/numerics.md states the formulas and their order.
//
// An entry does a whole op on an Exec; how it splits the work is its own business. Matrices are row-major fp32 with a
// leading dimension (floats between rows) unless a panel layout is named (tensor/packed.h). No entry prints or
// returns an error: callers check shapes. Memory comes from Exec::scratch alone, and what that throws (bad_alloc) is all an
// entry can throw. Buffers may not overlap unless said.
#pragma once
#include <cstdint>

#include "base/exec.h"
#include "tensor/kv_view.h"
#include "tensor/packed.h"

namespace raison {

// A batch's rows against the KV cache (layout: tensor/kv_view.h; head_dim is the width of a key, v_dim of a value, which in a
// latent cache is the beginning of the key). Row r belongs to a sequence whose pages are row_pages[r] and stands at absolute
// position positions[r]; it sees positions 0..positions[r]. `layer` selects the layer within each page.
struct AttentionArgs {
  KvLayout layout;
  int layer;
  int q_heads;  // a multiple of layout.kv_heads; head h reads KV head h / (q_heads / kv_heads)
  int64_t rows;
  const int32_t* positions;          // [rows]
  uint8_t* const* const* row_pages;  // [rows] -> the sequence's page pointers
  float score_scale;                 // softmax scale * log2(e), computed in double, rounded once
  const float* q;                    // [rows][q_heads][head_dim], after RoPE
  float* out;                        // [rows][q_heads][v_dim]
  float* max_out;                    // [rows][q_heads] final maximum (log2 units), or null
  float* sum_out;                    // [rows][q_heads] final sum L, or null
  // The rows' own keys and values, as in KvAppendArgs: they go into the cache first; or null: they are there. If given, a sequence's rows
  // stand side by side with the same row_pages, and what is appended lies in no other sequence's pages.
  const float* k = nullptr;
  const float* v = nullptr;
};

// Backward of AttentionArgs for sequences that lie whole in the batch: sequence s is rows [seq_offsets[s], seq_offsets[s+1])
// at positions 0, 1, 2, ...
struct AttentionBackwardArgs {
  KvLayout layout;
  int layer;
  int q_heads;
  int64_t sequences;
  const int32_t* seq_offsets;              // [sequences + 1]
  uint8_t* const* const* row_pages;        // [rows]
  float score_scale;                       // as in the forward
  float scale;                             // the softmax scale itself, fp32
  const float *q, *out, *max_in, *sum_in;  // of the forward
  const float* dout;                       // [rows][q_heads][v_dim]
  float* dq;                               // [rows][q_heads][head_dim], overwritten
  float* dk;                               // [rows][kv_heads][head_dim], overwritten: through the scores alone
  float* dv;                               // [rows][kv_heads][v_dim], overwritten; latent: the caller adds it to dk
};

struct KvAppendArgs {
  KvLayout layout;
  int layer;
  int64_t rows;
  const int32_t* positions;
  uint8_t* const* const* row_pages;
  const float* k;  // [rows][kv_heads][head_dim]; stored by absolute position, f16/bf16 saturating, i8/i16 rotated and quantised
  const float* v;  // [rows][kv_heads][v_dim], the same way; ignored if the layout is latent
};

struct AdamWArgs {
  float *p, *m, *v;  // parameter, first and second moment
  const float* g;    // gradient, already clipped
  int64_t n;
  float decay;  // 1 - lr * weight_decay
  float one_minus_b1, b2, one_minus_b2;
  float step_size;    // lr / (1 - b1^t)
  float inv_sqrt_c2;  // sqrt(1 - b2^t), divided by
  float eps;
};

struct KernelTable {
  const char* name;  // "ref", "avx2", "avx512"

  // y[r][n] = sum over ascending k of w[n][k] * x[r][k]. Float weights and FP8: one FMA chain from 0. Block types: x is quantised
  // per block (quant(x, 127)), integers inside a block are exact, acc = fma(d_x, d * float(total), acc) over ascending blocks.
  void (*matmul)(Exec&, const PackedView& w, const float* x, int64_t ldx, int64_t rows, float* y, int64_t ldy);
  // dx[r][k] = FMA chain over ascending n of dy[r][n] * w[n][k] (w dequantised to fp32). Overwrites dx.
  void (*matmul_dx)(Exec&, const PackedView& w, const float* dy, int64_t lddy, int64_t rows, float* dx, int64_t lddx);
  // dw[n][k] = FMA chain over ascending r of dy[r][n] * x[r][k], into F32 panels of [n][k]; starts from 0, or from what dw
  // holds if `accumulate`, so a batch cut in chunks gives the same bits. Padding lanes become 0 or keep 0.
  void (*matmul_dw)(Exec&, const float* dy, int64_t lddy, const float* x, int64_t ldx, int64_t rows, int64_t n, int64_t k,
                    float* dw, bool accumulate);

  // y[r][k] = w[ids[r]][k], dequantised.
  void (*embedding)(Exec&, const PackedView& w, const int32_t* ids, int64_t rows, float* y, int64_t ldy);
  // dw[ids[r]][k] += dy[r][k], in ascending r, F32 panels with `k` columns.
  void (*embedding_dw)(Exec&, const int32_t* ids, const float* dy, int64_t lddy, int64_t rows, int64_t k, float* dw);

  // s = tree16(sum x*x); rstd = 1/sqrt(s/dim + eps); y = (x * rstd) * w. rstd may be null. [rows][dim] dense.
  void (*rms_norm)(Exec&, const float* x, const float* w, float eps, int64_t rows, int64_t dim, float* y, float* rstd);
  // g = dy*w; c = ((rstd*rstd)*rstd) * (tree16(sum g*x)/dim); dx = fma(g, rstd, -(x*c)).
  // dw[i] = fma(dy, x*rstd, dw[i]) over ascending rows, continuing from what dw holds; dw may be null.
  void (*rms_norm_backward)(Exec&, const float* x, const float* w, const float* rstd, const float* dy, int64_t rows,
                            int64_t dim, float* dx, float* dw);

  // Rotates pairs of the first `rot` of head_dim values of each head; the rest is copied. cos, sin: [rows][rot/2].
  // Pairs (i, i + rot/2), or (2i, 2i+1) if interleaved. y0 = fma(x0, c, -(x1*s)); y1 = fma(x1, c, x0*s).
  // inverse uses -s (the backward). y may be x.
  void (*rope)(Exec&, const float* x, const float* cos, const float* sin, int64_t rows, int heads, int head_dim, int rot,
               bool interleaved, bool inverse, float* y);

  // s = 1/(1 + exp(-g)); y = (g*s)*u.
  void (*silu_mul)(Exec&, const float* g, const float* u, int64_t n, float* y);
  // du = dy*(g*s); dg = (dy*u) * (s * fma(g, 1-s, 1)).
  void (*silu_mul_backward)(Exec&, const float* g, const float* u, const float* dy, int64_t n, float* dg, float* du);

  void (*add)(Exec&, const float* a, const float* b, int64_t n, float* y);                 // y = a + b; y may be a or b
  void (*scale)(Exec&, float* x, float s, int64_t n);                                      // x *= s
  void (*add_bias)(Exec&, float* y, const float* bias, int64_t rows, int64_t dim);         // y[r][i] += bias[i]
  void (*bias_backward)(Exec&, const float* dy, int64_t rows, int64_t dim, float* dbias);  // += over ascending rows

  // m = max; e = exp(x - m); y = e * (1 / tree16(sum e)).
  void (*softmax)(Exec&, const float* x, int64_t rows, int64_t n, float* y);
  // dx = y * (dy - tree16(sum dy*y)).
  void (*softmax_backward)(Exec&, const float* y, const float* dy, int64_t rows, int64_t n, float* dx);

  // y[rows[i]] = fma(w[i], x[i], y[rows[i]]), elementwise over `dim`; no row occurs twice. x [n][dim], y [..][dim].
  void (*scatter_rows)(Exec&, const float* x, const int32_t* rows, const float* w, int64_t n, int64_t dim, float* y);
  // dx[i] = w[i] * dy[rows[i]]; dw[i] = tree16(sum dy[rows[i]] * x[i]).
  void (*scatter_rows_backward)(Exec&, const float* x, const int32_t* rows, const float* w, int64_t n, int64_t dim,
                                const float* dy, float* dx, float* dw);

  void (*kv_append)(Exec&, const KvAppendArgs&);
  void (*attention)(Exec&, const AttentionArgs&);
  void (*attention_backward)(Exec&, const AttentionBackwardArgs&);

  // Per row: y = z / temperature; m = max y; S = tree16(sum exp(y - m)); logprob = (y[target] - m) - ln S.
  // target -1: no logprob is written (0). max_out/sum_out get m and S.
  void (*logprob_rows)(Exec&, const float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets,
                       float temperature, float* logprob, float* max_out, float* sum_out);
  // In place: z[i] becomes g*((i == target) - p_i), g = dlogprob/temperature, p_i = exp(y_i - m) * (1/S);
  // computed as i == target ? g*(1 - p) : -(g*p). A row with target -1 becomes 0.
  void (*logprob_rows_backward)(Exec&, float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets,
                                float temperature, const float* max_in, const float* sum_in, const float* dlogprob);

  // p *= decay; m = fma(g - m, one_minus_b1, m); v = fma(g*g, one_minus_b2, v*b2);
  // p = p - step_size * (m / (sqrt(v)/inv_sqrt_c2 + eps)). Elementwise.
  void (*adamw)(Exec&, const AdamWArgs&);
  // Sum of squares: chunks of 4096 values, each a tree16 in fp32, chunk sums added in double in ascending order.
  double (*sum_squares)(Exec&, const float* x, int64_t n);
};

// tree16(sum f(i)): 16 lanes, lane i mod 16 takes its terms in ascending i (FMA where the term is a product), then
// lane[j] += lane[j + 8] for j < 8, then 4, 2, 1.

const KernelTable& ref_kernels();
// nullptr where this build or this CPU lacks the instruction set.
const KernelTable* avx2_kernels();
const KernelTable* avx512_kernels();

enum class Isa { Auto, Ref, Avx2, Avx512 };
// The table for an ISA; Auto takes the best this CPU has. Error: the CPU or the build lacks it.
Result<const KernelTable*> select_kernels(Isa isa);
// RAISON_ISA=ref|avx2|avx512, else Auto. Error: unknown name, or not available here.
Result<const KernelTable*> select_kernels_from_environment();

}  // namespace raison
