#include "train/synthetic_task.h"

#include <algorithm>

#include "train/countdown_four_task.h"
#include "train/countdown_task.h"

namespace raison {
namespace {

// Reverses a row of digits: `<bos> 3 1 4 -> 4 1 3 <eos>`. The smallest task that needs attention: for smoke tests.
class ReverseTask final : public SyntheticTask {
 public:
  ReverseTask() {
    vocab_ = {"<pad>", "<bos>", "<eos>", "->"};
    for (int d = 0; d < 10; ++d) vocab_.push_back(std::to_string(d));
  }
  const std::string& name() const override { return name_; }
  const std::vector<std::string>& vocab() const override { return vocab_; }
  int64_t max_sequence() const override { return 2 * kLongest + 3; }

  TrainSequence sequence(Rng& rng, bool held_out) const override {
    TrainSequence s;
    s.tokens = problem(rng, held_out);
    s.weights.assign(s.tokens.size(), 0.0f);
    s.tokens.insert(s.tokens.end(), s.tokens.rbegin() + 1, s.tokens.rend() - 1);
    s.tokens.push_back(kEos);
    s.weights.resize(s.tokens.size(), 1.0f);
    return s;
  }

  std::vector<int32_t> problem(Rng& rng, bool held_out) const override {
    for (;;) {
      std::vector<int32_t> p{kBos};
      uint64_t hash = 0;
      for (int64_t n = rng.between(2, kLongest); n > 0; --n) {
        p.push_back(kFirstDigit + static_cast<int32_t>(rng.below(10)));
        hash = hash_seed({hash, static_cast<uint64_t>(p.back())});
      }
      p.push_back(kArrow);
      if ((hash % 10 == 0) == held_out) return p;
    }
  }

  double reward(std::span<const int32_t> prompt, std::span<const int32_t> reply) const override {
    if (prompt.size() < 2 || reply.size() != prompt.size() - 1 || reply.back() != kEos) return 0;
    return std::equal(reply.begin(), reply.end() - 1, prompt.rbegin() + 1) ? 1 : 0;
  }

  std::optional<std::string> vote(std::span<const int32_t> reply) const override {
    if (reply.empty() || reply.back() != kEos) return std::nullopt;
    return text(reply);
  }

 private:
  static constexpr int32_t kArrow = 3, kFirstDigit = 4;
  static constexpr int64_t kLongest = 8;
  std::string name_ = "reverse";
  std::vector<std::string> vocab_;
};

}  // namespace

std::string SyntheticTask::text(std::span<const int32_t> tokens) const {
  std::string out;
  for (int32_t t : tokens) {
    const bool known = t >= 0 && static_cast<size_t>(t) < vocab().size();
    if (!out.empty()) out += ' ';
    out += known ? vocab()[static_cast<size_t>(t)] : "<?>";
  }
  return out;
}

std::vector<std::string> synthetic_task_names() { return {"countdown", "countdown-tries", "countdown-four", "reverse"}; }

bool is_synthetic_task(const std::string& name) {
  const auto names = synthetic_task_names();
  return std::find(names.begin(), names.end(), name) != names.end();
}

Result<std::shared_ptr<const SyntheticTask>> make_synthetic_task(const std::string& name) {
  if (name == "countdown") return std::shared_ptr<const SyntheticTask>(std::make_shared<CountdownTask>());
  if (name == "countdown-tries")
    return std::shared_ptr<const SyntheticTask>(std::make_shared<CountdownTask>(countdown_tries_mix()));
  if (name == "countdown-four") return std::shared_ptr<const SyntheticTask>(std::make_shared<CountdownFourTask>());
  if (name == "reverse") return std::shared_ptr<const SyntheticTask>(std::make_shared<ReverseTask>());
  return error("no built-in task is named '{}'; there are {}", name, fmt::join(synthetic_task_names(), ", "));
}

std::vector<MicroBatch> TaskStream::round(uint64_t index) const {
  Rng rng(hash_seed({seed_, 0x7461736B}), index);  // one stream of numbers for each round
  std::vector<TrainSequence> drawn;
  for (int64_t i = 0; i < round_size_; ++i) drawn.push_back(task_->sequence(rng));
  std::stable_sort(drawn.begin(), drawn.end(), [](const auto& a, const auto& b) { return a.tokens.size() < b.tokens.size(); });
  std::vector<MicroBatch> out;
  MicroBatch batch;
  for (TrainSequence& s : drawn) {  // ascending, so the newcomer is the longest
    if (!batch.empty() && static_cast<int64_t>(s.tokens.size() * (batch.size() + 1)) > budget_) {
      out.push_back(std::move(batch));
      batch.clear();
    }
    batch.push_back(std::move(s));
  }
  if (!batch.empty()) out.push_back(std::move(batch));
  rng.shuffle(out);
  return out;
}

void TaskStream::load() {
  if (loaded_ == cursor_.round) return;
  batches_ = round(cursor_.round);
  loaded_ = cursor_.round;
}

MicroBatch TaskStream::next() {
  load();
  if (cursor_.position >= batches_.size()) {
    cursor_ = {cursor_.round + 1, 0};
    load();
  }
  return batches_[cursor_.position++];
}

Status TaskStream::seek(Cursor cursor) {
  const auto batches = static_cast<uint64_t>(round(cursor.round).size());
  if (cursor.position > batches)
    return error("the data cursor names batch {} of round {}, which has {}; it belongs to another task, seed or batch size",
                 cursor.position, cursor.round, batches);
  cursor_ = cursor;
  return {};
}

}  // namespace raison
