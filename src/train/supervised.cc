// Pretraining and supervised fine-tuning: the loss of tokens that are given.
#include <cmath>

#include "train/train_method.h"

namespace raison {
namespace {

class Supervised final : public TrainMethod {
 public:
  Supervised(const TrainParts& parts, std::unique_ptr<DataSource> data) : p_(parts), data_(std::move(data)) {
    forget();
    pack_validation();
  }

  Result<bool> step(int64_t, double lr, StepMetrics* m) override {
    const auto before = data_->cursor();
    const auto failed = [&](const std::string& why) {
      forget();  // half a step
      const Status back = data_->seek(before);
      return error("{}{}", why, back.ok() ? "" : "; " + back.message());
    };
    std::vector<MicroBatch> batches;
    double weight = 0;
    for (int64_t i = 0; i < p_.recipe.batch.accumulation; ++i) {
      auto batch = data_->next();
      if (!batch.ok()) return failed(batch.message());
      weight += total_weight(*batch);
      m->tokens += token_count(*batch);
      batches.push_back(std::move(batch).value());
    }
    auto loss = accumulate(batches, weight);
    if (!loss.ok()) return failed(loss.message());
    if (!std::isfinite(*loss))
      return failed(fmt::format("the loss is {}; lower the learning rate or lengthen the warm-up", *loss));
    auto norm = p_.optimizer.step(p_.exec, p_.kernels, *gradients_, lr);
    if (!norm.ok()) return failed(norm.message());
    m->loss = *loss;
    m->grad_norm = *norm;
    return true;
  }

  Status validate(StepMetrics* m) override {
    double loss = 0, weight = 0;
    for (const MicroBatch& b : validation_) {
      RAISON_ASSIGN(const double sum, p_.runner.run(b, nullptr, 1));
      loss += sum;
      weight += total_weight(b);
    }
    m->has_validation = !validation_.empty();
    m->validation_loss = weight > 0 ? loss / weight : 0;
    return {};
  }

  nlohmann::ordered_json cursor() const override { return data_->cursor(); }
  Status seek(const nlohmann::ordered_json& cursor) override { return data_->seek(cursor); }
  uint64_t fingerprint() const override { return data_->fingerprint(); }

 private:
  void forget() { gradients_ = std::make_unique<GradientStore>(p_.setup.trained()); }

  void pack_validation() {
    const int64_t budget = p_.recipe.batch.tokens > 0 ? p_.recipe.batch.tokens : 4096;
    int64_t used = 0;
    for (TrainSequence& s : data_->validation(p_.recipe.validation_sequences)) {
      const auto n = static_cast<int64_t>(s.tokens.size());
      if (validation_.empty() || used + n > budget) {
        validation_.emplace_back();
        used = 0;
      }
      validation_.back().push_back(std::move(s));
      used += n;
    }
  }

  Result<double> accumulate(const std::vector<MicroBatch>& batches, double weight) {
    double loss = 0;
    for (const MicroBatch& b : batches) {
      RAISON_ASSIGN(const double sum, p_.runner.run(b, gradients_.get(), weight));
      loss += sum;
    }
    return loss / weight;
  }

  TrainParts p_;
  std::unique_ptr<DataSource> data_;
  std::unique_ptr<GradientStore> gradients_;
  std::vector<MicroBatch> validation_;
};

}  // namespace

Result<std::unique_ptr<TrainMethod>> make_supervised(const TrainParts& parts) {
  std::vector<std::string> notices;
  RAISON_ASSIGN(auto data, make_data_source(parts.recipe, parts.setup.codec, &notices));
  for (const std::string& n : notices) parts.notice(n);
  return std::unique_ptr<TrainMethod>(std::make_unique<Supervised>(parts, std::move(data)));
}

}  // namespace raison
