// Ops: each checks shapes (assert-like, a programming error throws std::logic_error), calls its kernel, and, if there is a
// tape, records its backward. The first two steps never look at the tape, so the bits are the same with and without one.
// Formulas and orders: docs/numerics.md. Files: one op, one .cc.
#pragma once
#include <cmath>
#include <functional>
#include <memory>
#include <span>

#include "autodiff/tape.h"
#include "ops/forward_batch.h"

namespace raison {

// [T] ids -> [T, cols of table].
Tensor embedding(Context&, const Parameter& table, std::span<const int32_t> ids);
// x [T, K] -> x·Wᵀ (+ bias) [T, N]; W is [N, K].
Tensor linear(Context&, const Parameter& weight, const Parameter* bias, const Tensor& x);
Tensor rms_norm(Context&, const Parameter& weight, const Tensor& x, float eps);
Tensor silu_mul(Context&, const Tensor& gate, const Tensor& up);
Tensor add(Context&, const Tensor& a, const Tensor& b);
Tensor softmax(Context&, const Tensor& x);  // along rows
// Rows `rows` (ascending) of x.
Tensor select_rows(Context&, const Tensor& x, std::span<const int32_t> rows);

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

// Runs fn(ctx, x), whose result has x's shape. With ctx.recompute and a tape, keeps only x and recomputes fn in backward.
Tensor checkpoint(Context&, const Tensor& x, const std::function<Tensor(Context&, const Tensor&)>& fn);

}  // namespace raison
