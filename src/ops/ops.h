// Ops: each checks shapes (assert-like, a programming error throws std::logic_error), calls its kernel, and, if there is a
// tape, records its backward. The first two steps never look at the tape, so the bits are the same with and without one.
// Formulas and orders: docs/numerics.md. Files: one op, one .cc.
#pragma once
#include <cmath>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "autodiff/tape.h"
#include "ops/forward_batch.h"

namespace raison {

// [T] ids -> [T, cols of table].
Tensor embedding(Context&, const Parameter& table, std::span<const int32_t> ids);
// x [T, K] -> x·Wᵀ (+ bias) [T, N]; W is [N, K].
Tensor linear(Context&, const Parameter& weight, const Parameter* bias, const Tensor& x);
// Over each stretch of weight's width: a row of x, or each head of it.
Tensor rms_norm(Context&, const Parameter& weight, const Tensor& x, float eps);
Tensor silu_mul(Context&, const Tensor& gate, const Tensor& up);
Tensor add(Context&, const Tensor& a, const Tensor& b);
// Adds in place: y's row rows[i] becomes fma(scale, u's row i, itself). Rows ascend. Whoever reads y afterwards reads the sum.
void add_rows(Context&, const Tensor& y, std::span<const int32_t> rows, float scale, const Tensor& u);
Tensor softmax(Context&, const Tensor& x);  // along rows
// Rows `rows` (ascending) of x.
Tensor select_rows(Context&, const Tensor& x, std::span<const int32_t> rows);

// Each head's columns cut in two: x [T, heads*(left + right)] -> [T, heads*left], [T, heads*right]; and the way back.
std::pair<Tensor, Tensor> split_heads(Context&, const Tensor& x, int heads, int64_t left);
Tensor join_heads(Context&, const Tensor& a, const Tensor& b, int heads);

// One matrix that holds a part for each head: head h's are rows [h*stride + first, h*stride + first + rows).
struct HeadRows {
  int heads;
  int64_t stride, first, rows;
};
// Per head x_h·W_hᵀ: x [T, heads*cols of W] -> [T, heads*rows].
Tensor head_linear(Context&, const Parameter& weight, const HeadRows& part, const Tensor& x);
// Per head x_h·W_h: x [T, heads*rows] -> [T, heads*cols of W], chains over ascending row.
Tensor head_linear_transposed(Context&, const Parameter& weight, const HeadRows& part, const Tensor& x);

// ---- mixture of experts (docs/numerics.md, section 12) ----

struct RouterConfig {
  int experts = 0, top_k = 0;
  bool sigmoid = false;  // scores: sigmoid of the logits (DeepSeek-V3), else their softmax
  int groups = 1, top_groups = 1;
  bool group_top2 = false;  // a group's score: the sum of its two best (V3), else its best (V2)
  bool normalise = false;   // the chosen scores are divided by (their sum + 1e-20)
  float scale = 1;
};
struct Routing {
  std::vector<int32_t> experts;  // [T][top_k], ascending within a token
  Tensor weights;                // [T, top_k]
};
// logits [T, experts]. `bias` [experts] (may be empty) is added to the scores for the choice alone. Ties go to the lowest index.
Routing route(Context&, const Tensor& logits, std::span<const float> bias, const RouterConfig&);

// Copies of the rows `rows` of x (each at most once).
Tensor gather_rows(Context&, const Tensor& x, std::span<const int32_t> rows);
// An expert's outputs y [n, dim] for the tokens `rows`; its weight for rows[i] is routing.weights' element `places[i]`.
struct ExpertOutput {
  Tensor y;
  std::vector<int32_t> rows;
  std::vector<int64_t> places;
};
// [T, dim]: the sum over each token's experts, in the order given, of weight * output.
Tensor combine_experts(Context&, const std::vector<ExpertOutput>& outputs, const Tensor& weights, int64_t tokens, int64_t dim);

// cos, sin: [T, rot/2], one row per token; shared by every layer of a forward (and by its backward).
struct RopeRows {
  std::shared_ptr<const std::vector<float>> cos, sin;
  int rot = 0;               // rotated values of each head
  bool interleaved = false;  // pairs (2i, 2i+1) instead of (i, i + rot/2)
};
Tensor rope(Context&, const Tensor& x, const RopeRows& rows, int heads, int head_dim);

struct AttentionShape {
  int layer, q_heads, kv_heads;
  int head_dim;          // width of a query or key row
  int value_dim;         // width of a value or output row
  bool latent;           // values are the first value_dim values of the keys (tensor/kv_view.h)
  double softmax_scale;  // scores are softmax_scale * q.k

  static AttentionShape grouped_query(int layer, int q_heads, int kv_heads, int head_dim) {
    return {layer, q_heads, kv_heads, head_dim, head_dim, false, 1.0 / std::sqrt(static_cast<double>(head_dim))};
  }
  // Multi-head latent attention, absorbed (DeepSeek-V2, arXiv:2405.04434): one key row [latent; rope] for all heads, whose latent
  // is the value. The scale is the model's: it is that of the width before absorption, and YaRN's correction.
  static AttentionShape multi_head_latent(int layer, int q_heads, int latent_dim, int rope_dim, double softmax_scale) {
    return {layer, q_heads, 1, latent_dim + rope_dim, latent_dim, true, softmax_scale};
  }
};
// Appends k [T, kv_heads*head_dim] and v [T, kv_heads*value_dim] to the batch's pages (rounded to the cache's dtype), reads
// them back, attends: q [T, q_heads*head_dim] -> [T, q_heads*value_dim]. In a latent shape v is an empty Tensor.
// With a tape every sequence must start at position 0. `row_pages` is ForwardBatch::row_pages(), made once per forward;
// batch and row_pages must outlive the tape's backward.
Tensor attention(Context&, const AttentionShape&, const ForwardBatch& batch, const std::vector<uint8_t* const*>& row_pages,
                 const Tensor& q, const Tensor& k, const Tensor& v);

// log softmax(hidden·headᵀ / temperature)[target] for each row -> [T, 1]. Owns the head product in chunks of rows and
// recomputes it in backward, so no [T, vocabulary] buffer exists. target -1: 0, no gradient.
// With logits_out (row-major [T, vocab], may be null) the raw logits are also written.
Tensor log_softmax_gather(Context&, const Parameter& head, const Tensor& hidden, std::span<const int32_t> targets,
                          float temperature, float* logits_out = nullptr);

// The same head product and the same log-probability, split in two for the sampler, which must see the logits before it knows
// the target: logits [R, vocab] (never taped), then log softmax(row / temperature)[target] of one row.
Tensor head_logits(Context&, const Parameter& head, const Tensor& hidden);
float log_softmax_at(Context&, const float* logits, int64_t vocab, int32_t target, float temperature);

// Runs fn(ctx, x), whose result has x's shape. With ctx.recompute and a tape, keeps only x and recomputes fn in backward; what
// ctx.adapters points to must live until then.
Tensor checkpoint(Context&, const Tensor& x, const std::function<Tensor(Context&, const Tensor&)>& fn);

}  // namespace raison
