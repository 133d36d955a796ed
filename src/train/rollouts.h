// Rollouts: groups of samples of one prompt each, drawn by the Engine for reinforcement learning.
#pragma once
#include <functional>

#include "engine/engine.h"

namespace raison {

struct RolloutOptions {
  int64_t group = 8;  // samples of a prompt
  // Temperature above 0; its seed is not used. What truncates or bends the distribution makes rollouts off policy, their logprobs stay those of
  // softmax(logits / temperature).
  SamplingParams sampling;
  int64_t length = 0;      // tokens at most, the prompt's included
  int64_t max_tokens = 0;  // of a reply at most, within `length`; 0 = no other bound
  std::vector<int32_t> stop_ids;
  int32_t adapter = -1;  // an id of the model's; -1: the base
  // How thoughts are marked and bounded; null: they are not.
  std::shared_ptr<const ThinkRules> think;
  ThinkLimits think_limits;
};

struct RolloutPrompt {
  std::vector<int32_t> tokens;
  ThinkPhase start = ThinkPhase::None;  // in which they end
};

struct Rollout {
  std::vector<int32_t> prompt;
  Generation reply;
  bool finished() const { return reply.finish != FinishReason::None; }
  bool truncated() const { return reply.finish != FinishReason::Stop; }
};

// Samples of prompt p are [p * group, (p + 1) * group). They depend on the model, the prompts, `seed` and a prompt's place among them, on nothing
// else. *rollouts is empty, or what an earlier call with the same arguments left when it was stopped: what is finished there is kept.
// `progress` (may be empty) hears after every step how many are finished; false ends it: the answer is then false. An error of `progress` is
// returned. Error: a prompt that does not fit.
Result<bool> draw_rollouts(Engine& engine, const std::vector<RolloutPrompt>& prompts, uint64_t seed,
                           const RolloutOptions& options, std::vector<Rollout>* rollouts,
                           const std::function<Result<bool>(int64_t finished)>& progress = {});

}  // namespace raison
