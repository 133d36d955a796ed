// What a recipe says of reinforcement learning: how rollouts are drawn, what rewards them, by which loss a policy follows.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "train/advantages.h"
#include "train/policy_loss.h"

namespace raison {

struct RolloutRecipe {
  int64_t prompts = 32;    // of a step
  int64_t group = 8;       // samples of each
  int64_t max_length = 0;  // tokens of a sequence at most, the prompt's included; 0 = the task's, or the model's context
  int64_t together = 256;  // sequences computed together at most: bounds the cache's memory, changes no bit
  double temperature = 1;
  std::string system;                // message before each prompt
  std::optional<bool> think;         // unset: as the model does
  int64_t budget = -1, minimum = 0;  // tokens of a thought at most and at least; -1: no bound
  // What truncates or bends the distribution that is sampled, which the loss knows nothing of: only with off_policy.
  int64_t top_k = 0;
  double top_p = 1, min_p = 0, repetition_penalty = 1, presence_penalty = 0, frequency_penalty = 0;
  bool off_policy = false;
};

// One part of the reward.
struct RewardRecipe {
  std::string verifier;  // of verify/verifier.h, or "task": that of the built-in task
  std::string name;      // in metrics; default: the verifier's
  double weight = 1;
  nlohmann::json options;  // the verifier's; null = none
};

// By default all is what the paper of `loss` says (policy_loss_named); `dapo` brings dynamic sampling and overlong shaping along, dr_grpo
// advantages that are not divided by their deviation.
struct PolicyRecipe {
  std::string name = "grpo";
  PolicyLossOptions loss;
  AdvantageOptions advantage;
  int64_t epochs = 1;   // passes over a step's rollouts (mu of DeepSeekMath's algorithm 1)
  int64_t updates = 1;  // of the weights in each pass: the rollouts' groups are parted evenly
  // Steps after which the reference becomes the policy of that moment; 0: there is no reference, and no KL; -1: never, it stays the model that the
  // run began with.
  int64_t reference_every = -1;
  // Groups whose rewards are all the same teach nothing. skip_silent: they are left out of the loss's means too (TRL and the papers count them).
  bool skip_silent = false;
  bool dynamic_sampling = false;  // draw on until `prompts` groups have a signal (DAPO, arXiv:2503.14476, eq. 11)
  int64_t most_draws = 4;         // of dynamic sampling, the first included; what has a signal by then is used
  // Tokens before max_length within which the reward falls by up to 1 (DAPO, eq. 13); 0: none; -1: dapo's fifth of max_length (the paper's
  // 4,096 of 20,480), settled when that is known.
  int64_t overlong_cache = -1;
  bool has_reference() const { return loss.beta > 0; }
};

// Direct preference optimisation (arXiv:2305.18290).
struct PreferenceRecipe {
  double beta = 0.1;
  int64_t pairs = 32;  // of a step
};

class TomlSection;
void read_rollout(TomlSection& section, RolloutRecipe* out);
void read_reward(TomlSection& section, RewardRecipe* out);
void read_policy(TomlSection& section, const RolloutRecipe& rollout, PolicyRecipe* out);
void read_preference(TomlSection& section, PreferenceRecipe* out);

// "rollout.prompts", ... into `out`.
void policy_json(const RolloutRecipe& rollout, const std::vector<RewardRecipe>& rewards, const PolicyRecipe& policy,
                 nlohmann::ordered_json* out);

}  // namespace raison
