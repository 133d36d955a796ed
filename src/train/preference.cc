// Direct preference optimisation (arXiv:2305.18290): pairs of replies, of which one is liked better.
#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "train/hash.h"
#include "train/policy_loss.h"
#include "train/reference_weights.h"
#include "train/train_method.h"

namespace raison {
namespace {

constexpr const char* kPairReference = "reference.safetensors";

struct Pair {
  TrainSequence chosen, rejected;  // weights 1 on the reply's tokens
  int64_t tokens() const { return static_cast<int64_t>(chosen.tokens.size() + rejected.tokens.size()); }
};

// What a batch of pairs came to, sums over pairs.
struct PairSums {
  double loss = 0, right = 0, chosen = 0, rejected = 0;
};

class Preference final : public TrainMethod {
 public:
  Preference(const TrainParts& parts, std::vector<Pair> train, std::vector<Pair> valid)
      : p_(parts), r_(parts.recipe), train_(std::move(train)), valid_(std::move(valid)) {
    forget();
    fingerprint_ = 1;
    for (const Pair& pair : train_)
      for (const TrainSequence* s : {&pair.chosen, &pair.rejected})
        fingerprint_ = hash_bytes(s->tokens.data(), s->tokens.size() * sizeof(int32_t), fingerprint_);
  }

  Result<bool> step(int64_t, double lr, StepMetrics* m) override {
    std::vector<const Pair*> pairs;
    for (int64_t i = 0; i < r_.preference.pairs; ++i) pairs.push_back(&at(taken_ + static_cast<uint64_t>(i)));
    auto sums = run(pairs, true);
    if (sums.ok() && !std::isfinite(sums->loss)) sums = error("the loss is {}; lower the learning rate", sums->loss);
    if (!sums.ok()) {
      forget();
      return sums.error();
    }
    auto norm = p_.optimizer.step(p_.exec, p_.kernels, *gradients_, lr);
    if (!norm.ok()) {
      forget();
      return norm.error();
    }
    taken_ += pairs.size();
    const double n = static_cast<double>(pairs.size());
    m->loss = sums->loss / n;
    m->grad_norm = *norm;
    for (const Pair* pair : pairs) m->tokens += pair->tokens();
    m->more = {{"accuracy", sums->right / n},
               {"margin", (sums->chosen - sums->rejected) / n},
               {"chosen_reward", sums->chosen / n},
               {"rejected_reward", sums->rejected / n}};
    return true;
  }

  Status validate(StepMetrics* m) override {
    if (valid_.empty()) return {};
    std::vector<const Pair*> pairs;
    for (const Pair& pair : valid_)
      if (static_cast<int64_t>(pairs.size()) < r_.validation_sequences) pairs.push_back(&pair);
    RAISON_ASSIGN(const PairSums sums, run(pairs, false));
    m->has_validation = true;
    m->validation_loss = sums.loss / static_cast<double>(pairs.size());
    m->more.emplace_back("validation_accuracy", sums.right / static_cast<double>(pairs.size()));
    return {};
  }

  nlohmann::ordered_json cursor() const override { return {{"pairs", taken_}}; }
  Status seek(const nlohmann::ordered_json& j) override {
    if (!j.is_object() || !j.contains("pairs") || !j["pairs"].is_number_unsigned())
      return error("the data cursor {} names no place among pairs", j.dump());
    taken_ = j["pairs"].get<uint64_t>();
    return {};
  }
  uint64_t fingerprint() const override { return fingerprint_; }
  std::vector<CheckpointPart> parts() const override {
    return {{kPairReference, [this](const std::string& path) { return reference_.write(path, p_.setup.trained()); }}};
  }
  Status read_parts(const std::string& folder) override {
    return reference_.read(folder + "/" + kPairReference, p_.setup.trained());
  }
  Status begin(int64_t) override {
    if (!reference_.held()) reference_.take(p_.setup.trained());
    return {};
  }

 private:
  void forget() { gradients_ = std::make_unique<GradientStore>(p_.setup.trained()); }

  const Pair& at(uint64_t n) {
    const uint64_t epoch = n / train_.size();
    if (order_.empty() || epoch != epoch_) {
      epoch_ = epoch;
      order_.resize(train_.size());
      for (size_t i = 0; i < order_.size(); ++i) order_[i] = i;
      Rng rng(hash_seed({r_.seed, 0x70616972}), epoch);  // "pair"
      if (r_.data.shuffle) rng.shuffle(order_);
    }
    return train_[order_[n % train_.size()]];
  }

  // Both replies of a pair are in one micro-batch: its loss is a function of both.
  std::vector<std::vector<const Pair*>> cut(const std::vector<const Pair*>& pairs) const {
    std::vector<std::vector<const Pair*>> out;
    int64_t used = 0;
    for (const Pair* pair : pairs) {
      if (out.empty() || used + pair->tokens() > r_.batch.tokens) out.emplace_back(), used = 0;
      out.back().push_back(pair);
      used += pair->tokens();
    }
    return out;
  }

  // Sums of the replies' logprobs: chosen, rejected of each pair in order.
  static std::vector<double> reply_sums(const MicroBatch& batch, std::span<const float> logprobs) {
    std::vector<double> out;
    size_t at = 0;
    for (const TrainSequence& s : batch) {
      double sum = 0;
      for (size_t t = 1; t < s.weights.size(); ++t)
        if (s.weights[t] > 0) sum += static_cast<double>(logprobs[at++]);
      out.push_back(sum);
    }
    return out;
  }

  Result<PairSums> run(const std::vector<const Pair*>& pairs, bool learn) {
    PairSums total;
    for (const auto& part : cut(pairs)) {
      MicroBatch batch;
      for (const Pair* pair : part) batch.push_back(pair->chosen), batch.push_back(pair->rejected);
      std::vector<double> ref;
      {
        const ReferenceWeights::InPlace in_place(reference_, p_.setup.trained());
        RAISON_RETURN_IF_ERROR(
            p_.runner.differentiate(batch, 1, nullptr, [&](std::span<const float> logprobs) -> Result<std::vector<float>> {
              ref = reply_sums(batch, logprobs);
              return std::vector<float>();
            }));
      }
      RAISON_RETURN_IF_ERROR(p_.runner.differentiate(
          batch, 1, learn ? gradients_.get() : nullptr,
          [&](std::span<const float> logprobs) { return seeds(batch, logprobs, ref, pairs.size(), &total); }));
    }
    return total;
  }

  // d (mean loss) / d logprob of each token of a reply.
  Result<std::vector<float>> seeds(const MicroBatch& batch, std::span<const float> logprobs, const std::vector<double>& ref,
                                   size_t pairs, PairSums* total) const {
    const std::vector<double> now = reply_sums(batch, logprobs);
    std::vector<float> out;
    for (size_t i = 0; i < batch.size(); i += 2) {
      const PreferenceLoss l = dpo_loss(now[i], now[i + 1], ref[i], ref[i + 1], r_.preference.beta);
      total->loss += l.loss;
      total->right += l.chosen_reward > l.rejected_reward ? 1 : 0;
      total->chosen += l.chosen_reward;
      total->rejected += l.rejected_reward;
      const auto g = static_cast<float>(l.gradient / static_cast<double>(pairs));
      for (size_t k = 0; k < 2; ++k)
        for (size_t t = 1; t < batch[i + k].weights.size(); ++t)
          if (batch[i + k].weights[t] > 0) out.push_back(k == 0 ? g : -g);
    }
    return out;
  }

  TrainParts p_;
  const Recipe& r_;
  std::vector<Pair> train_, valid_;
  std::vector<size_t> order_;
  uint64_t epoch_ = 0, taken_ = 0, fingerprint_ = 0;
  ReferenceWeights reference_;
  std::unique_ptr<GradientStore> gradients_;
};

// {"prompt", "chosen", "rejected"}: texts, or lists of messages (a reply may be one message). Or "chosen" and "rejected" whole conversations.
Result<Pair> read_pair(const nlohmann::ordered_json& record, const TextCodec& codec, const DataRecipe& data) {
  if (!record.is_object()) return error("must be a JSON object");
  for (const char* key : {"chosen", "rejected"})
    if (!record.contains(key)) return error("needs `prompt`, `chosen` and `rejected`; {} is missing", key);
  Pair out;
  for (const bool chosen : {true, false}) {
    const nlohmann::ordered_json& reply = record[chosen ? "chosen" : "rejected"];
    nlohmann::ordered_json one;
    if (reply.is_string()) {
      if (!record.contains("prompt") || !record["prompt"].is_string())
        return error("`prompt` must be a text, as the replies are");
      one = {{"prompt", record["prompt"]}, {"completion", reply}};
    } else {
      auto messages = nlohmann::ordered_json::array();
      if (record.contains("prompt") && record["prompt"].is_array()) messages = record["prompt"];
      if (record.contains("prompt") && record["prompt"].is_string())
        messages.push_back({{"role", "user"}, {"content", record["prompt"]}});
      if (reply.is_object()) messages.push_back(reply);
      if (reply.is_array()) messages.insert(messages.end(), reply.begin(), reply.end());
      one = {{"messages", messages}};
    }
    DataRecipe how = data;
    how.format = "auto";
    RAISON_ASSIGN(TrainSequence s, read_record(one, codec, how));
    if (std::none_of(s.weights.begin(), s.weights.end(), [](float w) { return w > 0; }))
      return error("`{}` has nothing that the model says", chosen ? "chosen" : "rejected");
    for (float& w : s.weights) w = w > 0 ? 1.0f : 0.0f;
    (chosen ? out.chosen : out.rejected) = std::move(s);
  }
  return out;
}

Result<std::vector<Pair>> read_pairs(const std::vector<std::string>& paths, const TrainParts& parts) {
  std::vector<Pair> out;
  for (const std::string& path : paths) {
    int64_t too_long = 0;
    const int64_t longest = parts.recipe.data.max_length;
    RAISON_RETURN_IF_ERROR(read_json_lines(path, [&](const nlohmann::ordered_json& record, int64_t) -> Status {
      RAISON_ASSIGN(Pair pair, read_pair(record, parts.setup.codec, parts.recipe.data));
      const auto most = static_cast<int64_t>(std::max(pair.chosen.tokens.size(), pair.rejected.tokens.size()));
      if (most > longest) {
        ++too_long;
      } else {
        out.push_back(std::move(pair));
      }
      return {};
    }));
    if (too_long > 0)
      parts.notice(
          fmt::format("{}: {} pairs are longer than {} tokens (data.max_length) and were left out", path, too_long, longest));
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<TrainMethod>> make_preference(const TrainParts& parts) {
  RAISON_ASSIGN(auto train, read_pairs(parts.recipe.data.train, parts));
  RAISON_ASSIGN(auto valid, read_pairs(parts.recipe.data.valid, parts));
  if (train.empty()) return error("{}: data.train holds no pairs", parts.recipe.file);
  return std::unique_ptr<TrainMethod>(std::make_unique<Preference>(parts, std::move(train), std::move(valid)));
}

}  // namespace raison
