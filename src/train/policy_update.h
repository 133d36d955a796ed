// One update of a policy from rollouts: advantages, the loss' gradient through the model in micro-batches, a step of the optimiser.
#pragma once
#include "train/advantages.h"
#include "train/optimizer.h"
#include "train/policy_loss.h"
#include "train/rollouts.h"
#include "train/train_step.h"

namespace raison {

struct PolicyUpdateOptions {
  PolicyLossOptions loss;
  float temperature = 1;       // of the rollouts
  int64_t micro_batch = 4096;  // tokens
};

struct PolicyUpdate {
  double loss = 0;
  double grad_norm = 0;             // before clipping; 0 if there was no signal and nothing was changed
  int64_t samples = 0, tokens = 0;  // used: those of groups with signal; tokens that the policy wrote
  int64_t silent = 0;               // samples of groups without signal
  double clipped_low = 0, clipped_high = 0, kl = 0, ratio = 0;  // means over tokens
  int64_t compared = 0;                                         // logprobs of the trainer that equal the rollout's to the bit
};

class PolicyUpdater {
 public:
  PolicyUpdater(Model& model, Exec& exec, const KernelTable& kernels, MicroBatchRunner& runner, AdamW& optimizer)
      : model_(model), exec_(exec), kernels_(kernels), runner_(runner), optimizer_(optimizer) {
    forget();
  }

  // Rollouts of silent groups take no part: neither in the loss nor in its means. `fresh`: the weights are those that drew the rollouts, so that every logprob must equal the
  // rollout's to the bit: one that does not is an error that names the first. `ref`: logprobs of the reference, by rollout (empty without KL).
  // Error: those of the parts; the weights are then as before.
  Result<PolicyUpdate> update(const std::vector<Rollout>& rollouts, const Advantages& advantages, bool fresh,
                              const std::vector<std::vector<float>>& ref, const PolicyUpdateOptions& options, double lr);

 private:
  Model& model_;
  Exec& exec_;
  const KernelTable& kernels_;
  MicroBatchRunner& runner_;
  AdamW& optimizer_;
  void forget() { gradients_ = std::make_unique<GradientStore>(model_.parameters()); }
  std::unique_ptr<GradientStore> gradients_;
};

}  // namespace raison
