#include "nn/adapter.h"

#include <map>

#include "ops/check.h"

namespace raison {
namespace {

// Adds product(update, rows of x) for every adapter that has an update of `weight`.
template <class Product>
void add_updates(Context& ctx, const Parameter& weight, const Tensor& x, const Tensor& y, Product product) {
  if (!ctx.adapters) return;
  check_shape(x.rows == ctx.adapters->rows && y.rows == x.rows, "adapter: rows of another pass");
  for (const RowAdapters::Group& g : ctx.adapters->groups) {
    const LowRank* update = g.adapter->find(weight);
    if (!update) continue;
    const bool all = static_cast<int64_t>(g.rows.size()) == x.rows;
    add_rows(ctx, y, g.rows, update->scale, product(*update, all ? x : gather_rows(ctx, x, g.rows)));
  }
}

// Heads as rows, and back: the same numbers in the same places.
Tensor reshape(const Tensor& x, int64_t rows) { return {x.data, rows, x.size() / rows, x.slot}; }

}  // namespace

void Adapter::set(const Parameter& weight, const LowRank& update) {
  check_shape(weight.is_matrix() && update.a->is_matrix() && update.b->is_matrix() && update.a->shape[1] == weight.shape[1] &&
                  update.b->shape[0] == weight.shape[0] && update.a->shape[0] == update.b->shape[1],
              "adapter: shapes of A, B and the weight differ");
  const auto at = static_cast<size_t>(weight.index);
  if (updates_.size() <= at) updates_.resize(at + 1);
  updates_[at] = update;
}

const LowRank* Adapter::find(const Parameter& weight) const {
  const auto at = static_cast<size_t>(weight.index);
  return at < updates_.size() && updates_[at].a ? &updates_[at] : nullptr;
}

RowAdapters RowAdapters::of(std::span<const int32_t> selection) const {
  std::vector<int32_t> group_of(static_cast<size_t>(rows), -1);
  for (size_t g = 0; g < groups.size(); ++g)
    for (const int32_t r : groups[g].rows) group_of[static_cast<size_t>(r)] = static_cast<int32_t>(g);
  RowAdapters out;
  out.rows = static_cast<int64_t>(selection.size());
  for (const Group& g : groups) out.groups.push_back({g.adapter, {}});
  for (size_t i = 0; i < selection.size(); ++i)
    if (const int32_t g = group_of[static_cast<size_t>(selection[i])]; g >= 0)
      out.groups[static_cast<size_t>(g)].rows.push_back(static_cast<int32_t>(i));
  std::erase_if(out.groups, [](const Group& g) { return g.rows.empty(); });
  return out;
}

RowAdapters row_adapters(const ForwardBatch& batch, const std::vector<std::shared_ptr<Adapter>>& adapters) {
  RowAdapters out;
  out.rows = batch.rows();
  std::map<int32_t, std::vector<int32_t>> by_id;
  for (size_t s = 0; s < batch.adapters.size(); ++s)
    for (int32_t r = batch.seq_offsets[s]; batch.adapters[s] >= 0 && r < batch.seq_offsets[s + 1]; ++r)
      by_id[batch.adapters[s]].push_back(r);
  for (auto& [id, rows] : by_id) out.groups.push_back({adapters.at(static_cast<size_t>(id)).get(), std::move(rows)});
  return out;
}

void add_low_rank(Context& ctx, const Parameter& weight, const Tensor& x, const Tensor& y) {
  add_updates(ctx, weight, x, y, [&](const LowRank& l, const Tensor& in) {
    return linear(ctx, *l.b, nullptr, linear(ctx, *l.a, nullptr, in));  // [n, r], [n, N]
  });
}

void add_head_low_rank(Context& ctx, const Parameter& weight, const HeadRows& part, const Tensor& x, const Tensor& y) {
  add_updates(ctx, weight, x, y, [&](const LowRank& l, const Tensor& in) {
    const Tensor low = linear(ctx, *l.a, nullptr, reshape(in, in.rows * part.heads));  // [n * heads, r]
    return head_linear(ctx, *l.b, part, reshape(low, in.rows));                        // [n, heads * rows]
  });
}

void add_head_low_rank_transposed(Context& ctx, const Parameter& weight, const HeadRows& part, const Tensor& x,
                                  const Tensor& y) {
  add_updates(ctx, weight, x, y, [&](const LowRank& l, const Tensor& in) {
    const Tensor low = head_linear_transposed(ctx, *l.b, part, in);  // [n, heads * r]
    const int64_t rank = l.a->shape[0];
    const Tensor up = head_linear_transposed(ctx, *l.a, {1, rank, 0, rank}, reshape(low, in.rows * part.heads));
    return reshape(up, in.rows);  // [n, heads * K]
  });
}

}  // namespace raison
