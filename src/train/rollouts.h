// Rollouts: groups of samples of one prompt each, drawn by the Engine for reinforcement learning.
#pragma once
#include <functional>

#include "engine/engine.h"

namespace raison {

struct RolloutOptions {
  int64_t group = 8;  // samples of a prompt
  float temperature =
      1;               // above 0; no truncation of the distribution, so that the logprobs are those that the trainer computes
  int64_t length = 0;  // tokens at most, the prompt's included
  std::vector<int32_t> stop_ids;
  // How thoughts are marked and bounded; null: they are not.
  std::shared_ptr<const ThinkRules> think;
  ThinkPhase think_start = ThinkPhase::Undecided;
  ThinkLimits think_limits;
};

struct Rollout {
  std::vector<int32_t> prompt;
  Generation reply;
  bool truncated() const { return reply.finish != FinishReason::Stop; }
};

// Samples of prompt p are [p * group, (p + 1) * group). They depend on the model, the prompts, `seed` and a prompt's place among them, on nothing
// else. `progress` (may be empty) hears how many have ended; false ends it (none is the answer then). Error: a prompt that does not fit.
Result<std::optional<std::vector<Rollout>>> draw_rollouts(Engine& engine, const std::vector<std::vector<int32_t>>& prompts,
                                                          uint64_t seed, const RolloutOptions& options,
                                                          const std::function<bool(int64_t ended)>& progress = {});

}  // namespace raison
