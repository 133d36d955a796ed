// Low-rank adapters (LoRA; Hu et al. 2021, arXiv:2106.09685, section 4.1): a matrix W [N, K] of the base stays as it is, and rows of an
// adapter's sequences get y = W x + b + scale * (B (A x)). Never merged; sequences of one batch may have different adapters, and a row's
// bits depend on its own adapter alone (docs/numerics.md, section 13).
#pragma once
#include <span>
#include <vector>

#include "ops/ops.h"

namespace raison {

struct LowRank {
  const Parameter* a = nullptr;  // [r, K]
  const Parameter* b = nullptr;  // [N, r]
  float scale = 1;               // alpha / r, or alpha / sqrt(r) (rsLoRA; Kalajdzievski 2023, arXiv:2312.03732)
};

// The low-rank updates of one model's matrices. Its parameters are a store of their own, F32: what an optimiser sees of an adapter
// that is trained. It must outlive the backward of passes that used it.
class Adapter {
 public:
  Adapter() = default;
  Adapter(const Adapter&) = delete;
  Adapter& operator=(const Adapter&) = delete;
  ParameterStore& parameters() { return store_; }
  const ParameterStore& parameters() const { return store_; }
  // The update of `weight`, a parameter of the model that this is for. A may serve several weights.
  void set(const Parameter& weight, const LowRank& update);
  const LowRank* find(const Parameter& weight) const;  // null: none

 private:
  ParameterStore store_;
  std::vector<LowRank> updates_;  // by the weight's index in its model; a null: none
};

// The rows of a pass that have an adapter.
struct RowAdapters {
  struct Group {
    const Adapter* adapter;
    std::vector<int32_t> rows;  // ascending
  };
  int64_t rows = 0;           // of the pass
  std::vector<Group> groups;  // no row is in two

  // The same for a selection of the rows, in its order.
  RowAdapters of(std::span<const int32_t> selection) const;
};
// `adapters` by id; those of the batch must be there (check_batch).
RowAdapters row_adapters(const ForwardBatch& batch, const std::vector<std::shared_ptr<Adapter>>& adapters);

// Adds to y = x·Wᵀ what ctx.adapters says of W, in place. x and y have a row for each row of the pass.
void add_low_rank(Context&, const Parameter& weight, const Tensor& x, const Tensor& y);
// The same for head_linear and head_linear_transposed, which multiply with a part of W for each head.
void add_head_low_rank(Context&, const Parameter& weight, const HeadRows& part, const Tensor& x, const Tensor& y);
void add_head_low_rank_transposed(Context&, const Parameter& weight, const HeadRows& part, const Tensor& x, const Tensor& y);

}  // namespace raison
