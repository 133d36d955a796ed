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
  // Silent groups have no gradient but that of KL. false: they take no part at all; true: they count in the loss's means, as in the papers.
  bool count_silent = false;
};

// What an update learns from: rollouts with their advantages; all lists of one length.
struct PolicyBatch {
  std::vector<const Rollout*> rollouts;
  std::vector<double> advantages;
  std::vector<uint8_t> silent;
  std::vector<const std::vector<float>*> ref;  // by rollout: a logprob for each token of the reply; empty without KL
};

struct PolicyUpdate {
  bool made = false;  // false: no group had a signal, and nothing was changed
  double loss = 0;
  double grad_norm = 0;             // before clipping; 0 if there was no signal and nothing was changed
  int64_t samples = 0, tokens = 0;  // used: those of groups with signal; tokens that the policy wrote
  int64_t silent = 0;               // samples of groups without signal
  double clipped_low = 0, clipped_high = 0, kl = 0, ratio = 0;  // means over tokens
  int64_t compared = 0;                                         // logprobs of the trainer that equal the rollout's to the bit
  double delta_logprob = 0;  // the greatest difference among them: 0, or the update had ended in an error
};

class PolicyUpdater {
 public:
  // What `optimizer` steps is trained: the model's parameters, or those of the adapter that `runner` and the rollouts use.
  PolicyUpdater(Exec& exec, const KernelTable& kernels, MicroBatchRunner& runner, AdamW& optimizer)
      : exec_(exec), kernels_(kernels), runner_(runner), optimizer_(optimizer) {
    forget();
  }

  // `fresh`: the weights are those that drew the rollouts, so that every logprob must equal the rollout's to the bit: one that does not is an
  // error that names the first. Error: those of the parts; the weights are then as before.
  Result<PolicyUpdate> update(const PolicyBatch& batch, bool fresh, const PolicyUpdateOptions& options, double lr);
  // Logprobs of the replies' tokens under the weights as they are (0 for forced ones), by rollout.
  Result<std::vector<std::vector<float>>> logprobs(const std::vector<const Rollout*>& rollouts, float temperature,
                                                   int64_t micro_batch);

 private:
  Exec& exec_;
  const KernelTable& kernels_;
  MicroBatchRunner& runner_;
  AdamW& optimizer_;
  Result<std::vector<float>> derive(const PolicyBatch& batch, const std::vector<size_t>& part, std::span<const float> logprobs,
                                    bool fresh, const PolicyUpdateOptions& options, const PolicyTotals& totals,
                                    PolicyUpdate* out, int64_t* counted) const;
  void forget() { gradients_ = std::make_unique<GradientStore>(optimizer_.parameters()); }
  std::unique_ptr<GradientStore> gradients_;
};

}  // namespace raison
