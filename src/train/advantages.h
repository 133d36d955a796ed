// From rewards to advantages: how much better a sample was than others of its prompt.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"

namespace raison {

enum class AdvantageScale {
  Group,  // divided by the standard deviation of its group (GRPO: DeepSeekMath, arXiv:2402.03300, section 4.1.2)
  Batch,  // by that of all rewards of the step
  None    // not divided (Dr. GRPO, arXiv:2503.20783)
};

struct AdvantageOptions {
  int64_t group = 8;  // samples of one prompt, which lie side by side
  AdvantageScale scale = AdvantageScale::Group;
  // The papers divide by std as it stands, of which they don't say whether n or n - 1 is meant; TRL takes n - 1 and adds 1e-4. With
  // `epsilon` 0 a group whose rewards are all the same gets advantages of 0.
  bool unbiased_std = true;  // n - 1
  double epsilon = 1e-4;
  // Several rewards: each is normalised within its group first, then their weighted sum over the step; else the sum is normalised.
  bool normalise_each = false;
  Status validate() const;
};

struct Advantages {
  std::vector<double> values;   // [n]; 0 for a sample without any reward
  std::vector<double> rewards;  // [n] weighted sums; NaN without any
  std::vector<uint8_t> silent;  // [n] 1: of a group without signal, all rewards the same
};

// rewards[f][i]: what reward f gives to sample i; none: nothing to say (it is left out of sums, means and deviations). n is a multiple of the
// group. Error: sizes that do not fit, a weight or reward that is not finite.
Result<Advantages> advantages(const std::vector<std::vector<std::optional<double>>>& rewards, std::span<const double> weights,
                              const AdvantageOptions& options);

}  // namespace raison
