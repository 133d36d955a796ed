// Losses of policies over sampled tokens: GRPO and its relatives, as functions of logprobs alone. Forward passes, tapes and models are the
// trainer's; here a token is three numbers (its logprob now, when it was sampled, and under the reference) and its sample's advantage.
// Everything is computed in double in a fixed order with base/math.h, so the bits are the same everywhere.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace raison {

enum class RatioLevel { Token, Sequence };  // w of each token, or the geometric mean over the sample's (GSPO)
enum class LossMean {
  Samples,  // of each sample over its tokens, then over the samples of the step
  Tokens,   // over all tokens of the step
  Constant  // sum over tokens, divided by the samples of the step times `length`
};

// L of a token = -min(min(w, delta) A, clip(w, 1 - clip_low, 1 + clip_high) A) + beta KL, w = e^(logprob - old),
// KL = e^(ref - logprob) - (ref - logprob) - 1 (k3). Truncated importance sampling (CISPO) instead: L = -min(w, weight_most) A logprob with
// the weight held constant.
struct PolicyLossOptions {
  RatioLevel ratio = RatioLevel::Token;
  LossMean mean = LossMean::Samples;
  double clip_low = 0.2, clip_high = 0.2;
  std::optional<double> delta;        // two-sided clipping: bounds w where A < 0 too
  std::optional<double> weight_most;  // CISPO
  double beta = 0;                    // 0: no KL, no reference
  bool kl_by_ratio = false;           // KL times w, both differentiated (DeepSeek-V3.2)
  bool skip_truncated = false;        // samples that did not end have no loss; they stay among the samples of the step
  double length = 1;                  // Constant
  Status validate() const;
};

// "grpo":    DeepSeekMath, arXiv:2402.03300, eq. 3 (and R1, arXiv:2501.12948, eq. 1): clip 0.2, beta 0.04, mean of the samples' means.
// "dr_grpo": arXiv:2503.20783, eq. 3: no length in the mean (Constant, by `length` tokens, which the authors' code sets to the most that a sample may
//            have), no KL; advantages are not divided by their deviation (AdvantageScale::None).
// "dapo":    arXiv:2503.14476, eq. 8: clip 0.2 and 0.28, mean over tokens, no KL, samples that did not end left out.
// "gspo":    arXiv:2507.18071, eq. 5: one ratio a sample, clip 3e-4 and 4e-4, no KL.
// "cispo":   MiniMax-M1, arXiv:2506.13585, eq. 4: weights at most 5 (ScaleRL's bound, arXiv:2510.13786), mean over tokens, no KL.
// Error: another name, with the list.
Result<PolicyLossOptions> policy_loss_named(const std::string& name);
std::vector<std::string> policy_loss_names();

// One sample's tokens, all spans of one length.
struct PolicySample {
  std::span<const float> logprob, old, ref;  // ref may be empty if beta is 0; old empty: on policy, old = logprob
  std::span<const uint8_t> mask = {};        // 0: not the policy's own (a tool's); empty: all are
  double advantage = 0;
  bool truncated = false;
};

// What the whole step holds, of which a call may see a part: so that the parts' losses and gradients sum up to the step's.
struct PolicyTotals {
  int64_t samples = 0, tokens = 0;  // tokens that count
};
PolicyTotals policy_totals(const std::vector<PolicySample>& samples, const PolicyLossOptions& options);

struct PolicyLoss {
  double loss = 0;
  std::vector<std::vector<float>> gradient;  // d loss / d logprob, by sample and token
  // Sums over tokens that count (by sample where the ratio is the sample's), to be divided by `counted`.
  int64_t counted = 0;
  double clipped_low = 0, clipped_high = 0, kl = 0, ratio = 0;
};
// Error: spans of different lengths.
Result<PolicyLoss> policy_loss(const std::vector<PolicySample>& samples, const PolicyTotals& totals,
                               const PolicyLossOptions& options);

// DPO (arXiv:2305.18290, eq. 7) of one pair: -log sigmoid(beta ((chosen - ref_chosen) - (rejected - ref_rejected))), of logprobs summed over a
// reply's tokens; the gradient by `chosen`, which is that by `rejected` with the other sign.
struct PreferenceLoss {
  double loss = 0, gradient = 0;
  double chosen_reward = 0, rejected_reward = 0;  // beta (logprob - ref)
};
PreferenceLoss dpo_loss(double chosen, double rejected, double ref_chosen, double ref_rejected, double beta);

}  // namespace raison
