#include "convert/merge.h"

namespace raison {
namespace {

class LowRankRows final : public RowSource {
 public:
  LowRankRows(RowSourcePtr base, const LowRank& update)
      : RowSource(base->shape()),
        base_(std::move(base)),
        rank_(update.a->shape[0]),
        scale_(double{update.scale}),
        a_(update.a->to_row_major()),
        b_(update.b->to_row_major()) {}

  int64_t unit() const override { return base_->unit(); }
  void read(int64_t first, int64_t count, float* out) const override {
    base_->read(first, count, out);
    std::vector<double> sums(static_cast<size_t>(cols()));
    for (int64_t n = first; n < first + count; ++n, out += cols()) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (int64_t r = 0; r < rank_; ++r) {
        const double weight = scale_ * double{b_[static_cast<size_t>(n * rank_ + r)]};
        const float* a = a_.data() + r * cols();
        for (int64_t k = 0; k < cols(); ++k) sums[static_cast<size_t>(k)] += weight * double{a[k]};
      }
      for (int64_t k = 0; k < cols(); ++k) out[k] = static_cast<float>(double{out[k]} + sums[static_cast<size_t>(k)]);
    }
  }
  void release(int64_t first, int64_t count) const override { base_->release(first, count); }

 private:
  RowSourcePtr base_;
  int64_t rank_;
  double scale_;
  std::vector<float> a_, b_;  // [r, cols], [rows, r]
};

}  // namespace

RowSourcePtr add_low_rank_rows(RowSourcePtr base, const LowRank& update) {
  return std::make_shared<LowRankRows>(std::move(base), update);
}

Result<RowMap> merging(const std::string& folder, const Model& model) {
  if (folder.empty()) return RowMap();
  RAISON_ASSIGN(LoraAdapter lora, read_lora(folder, model, false));
  return RowMap([adapter = lora.adapter, &model](const ParameterSpec& spec, RowSourcePtr rows) {
    const Parameter* p = model.parameters().find(spec.hf);
    const LowRank* update = p ? adapter->find(*p) : nullptr;
    return update ? add_low_rank_rows(std::move(rows), *update) : rows;
  });
}

}  // namespace raison
