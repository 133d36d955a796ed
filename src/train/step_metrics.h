// StepMetrics: what a step of a run tells, in metrics.jsonl, in TensorBoard's event files and on the progress line.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace raison {

// Of a step of reinforcement learning. Shares are of the rollouts drawn, in [0, 1].
struct PolicyMetrics {
  double reward = 0, reward_std = 0;                  // over all rollouts, weighted parts summed
  std::vector<std::pair<std::string, double>> parts;  // mean of each part, unweighted
  double right = 0, unparseable = 0, failed = 0;      // by the first part's verdicts
  double silent = 0;                                  // share of groups without signal: all rewards the same
  int64_t groups = 0, draws = 1;                      // groups used; times that prompts were drawn
  double length = 0, length_ended = 0;                // generated tokens, mean: of all, of those that ended by themselves
  int64_t length_most = 0;
  double truncated = 0;  // share that did not end by itself
  // Estimated by the drawn tokens: the mean of -logprob, whose expectation is the policy's entropy (nats per token, at the rollout's temperature).
  double entropy = 0;
  double kl = 0, clipped_low = 0, clipped_high = 0, ratio = 1;  // means over tokens, of the step's updates
  int64_t updates = 0, samples = 0;                             // rollouts that took part in updates
  int64_t compared = 0;                                         // logprobs of trainer and rollout compared to the bit
  double delta_logprob = 0;                                     // the greatest difference among them
  int64_t generated = 0, updated = 0;                           // tokens drawn; tokens that went through updates
  double rollout_seconds = 0, verify_seconds = 0, update_seconds = 0;
};

struct StepMetrics {
  int64_t step = 0;  // 1 .. steps: the update just made
  int64_t steps = 0;
  double loss = 0;  // pretrain, sft: sum(w * -logprob) / sum(w), nats; else the loss of the method
  double lr = 0;
  double grad_norm = 0;  // before clipping
  int64_t tokens = 0;    // in this step's batch
  uint64_t total_tokens = 0;
  double seconds = 0;            // of this step
  double tokens_per_second = 0;  // smoothed over about the last 20 steps
  double eta_seconds = 0;        // to the last step
  bool has_validation = false;
  double validation_loss = 0;
  std::optional<double> validation_reward;  // grpo: mean of the summed rewards of held-out prompts, one sample each
  std::optional<PolicyMetrics> policy;
  std::vector<std::pair<std::string, double>> more;  // of other methods: name, value
  int64_t memory = 0;                                // resident bytes of this program
};

// A line of metrics.jsonl: of the values that a clock gives, the names end in "seconds" or "per_second".
nlohmann::ordered_json step_json(const StepMetrics& metrics);
// name -> value of every number in it, as curves are named ("reward/mean").
std::vector<std::pair<std::string, double>> step_scalars(const StepMetrics& metrics);
// "step 12/6000  loss 2.3045  lr 4.80e-04  norm 1.02  21.3k tok/s  ETA 4:12": the progress line, without a line end.
std::string progress_line(const StepMetrics& metrics);

}  // namespace raison
