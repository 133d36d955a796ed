// Rewards of rollouts: what verifiers and shaping say of them, part by part.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "train/prompts.h"
#include "train/rollouts.h"

namespace raison {

// Of several rollouts, in their order.
struct RewardScores {
  std::vector<std::vector<std::optional<double>>> parts;  // [part][rollout]; none: nothing to say
  std::vector<Verdict> verdicts;                          // of the first part
  void append(RewardScores more);
  size_t size() const { return verdicts.size(); }
};

class RewardSet {
 public:
  // The recipe's parts, then overlong shaping if it is on. `task` may be null. Error: a verifier that does not exist, or options it has not.
  static Result<std::unique_ptr<RewardSet>> create(const Recipe& recipe, std::shared_ptr<const SyntheticTask> task,
                                                   const TextCodec& codec, const Thinking& thinking, int64_t max_length);
  const std::vector<std::string>& names() const { return names_; }
  const std::vector<double>& weights() const { return weights_; }
  Status check(const Question& question) const;  // can every part judge it?
  // rollouts[i] answers prompts[i].
  Result<RewardScores> score(const std::vector<const TrainPrompt*>& prompts, const std::vector<const Rollout*>& rollouts);
  Reply reply_of(const Rollout& rollout) const;

 private:
  struct Part {
    std::unique_ptr<Verifier> verifier;  // null: the task's own reward, or overlong shaping
    bool overlong = false;
  };
  Result<std::vector<Verdict>> judge(Part& part, const std::vector<const TrainPrompt*>& prompts,
                                     const std::vector<const Rollout*>& rollouts, const std::vector<Reply>& replies) const;
  std::vector<Part> parts_;
  std::vector<std::string> names_;
  std::vector<double> weights_;
  std::shared_ptr<const SyntheticTask> task_;
  TextCodec codec_;
  std::optional<ThinkFormat> format_;
  int64_t max_length_ = 0, overlong_cache_ = 0;
};

// DAPO (arXiv:2503.14476), eq. 13: 0 up to `most` - `cache` tokens, then falling by a straight line to -1 at `most`, -1 beyond.
double soft_overlong(int64_t tokens, int64_t most, int64_t cache);

}  // namespace raison
