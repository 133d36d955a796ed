// Rollouts as an update takes them.
#pragma once
#include "train/policy_update.h"

namespace raison::testing {

inline PolicyBatch batch_of(const std::vector<Rollout>& rollouts, const Advantages& gains) {
  PolicyBatch b;
  for (const Rollout& r : rollouts) b.rollouts.push_back(&r);
  b.advantages = gains.values;
  b.silent = gains.silent;
  return b;
}

}  // namespace raison::testing
