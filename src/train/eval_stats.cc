#include "train/eval_stats.h"

#include <algorithm>
#include <cmath>

#include "engine/voting.h"

namespace raison {

void wilson_interval(double share, double n, double* low, double* high) {
  if (!(n > 0)) {
    *low = 0;
    *high = 1;
    return;
  }
  constexpr double z = 1.959963984540054;
  const double z2 = z * z / n;
  const double centre = (share + z2 / 2) / (1 + z2);
  const double half = z / (1 + z2) * std::sqrt(share * (1 - share) / n + z2 / (4 * n));
  *low = std::max(0.0, centre - half);
  *high = std::min(1.0, centre + half);
}

Estimate clustered_estimate(const std::vector<double>& values, int64_t samples) {
  Estimate out;
  out.questions = static_cast<int64_t>(values.size());
  if (values.empty()) return out;
  const auto n = static_cast<double>(values.size());
  for (const double v : values) out.value += v;
  out.value = std::clamp(out.value / n, 0.0, 1.0);
  double squares = 0;
  for (const double v : values) squares += (v - out.value) * (v - out.value);
  const double error2 = squares / n / n, spread = out.value * (1 - out.value);
  const double most = std::max(n, static_cast<double>(samples));
  const double independent = error2 > 0 ? std::clamp(spread / error2, n, most) : spread > 0 ? most : n;
  wilson_interval(out.value, independent, &out.low, &out.high);
  return out;
}

double pass_at_k(int64_t n, int64_t c, int64_t k) {
  if (n - c < k) return 1;
  double none = 1;
  for (int64_t i = n - c + 1; i <= n; ++i) none *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - none;
}

double majority_at_k(const std::vector<ScoredSample>& samples, int64_t k, bool self_verified) {
  int64_t blocks = 0, right = 0;
  for (int64_t begin = 0; begin + k <= static_cast<int64_t>(samples.size()); begin += k, ++blocks) {
    Ballot ballot(self_verified ? VoteRule::SelfVerified : VoteRule::Majority, k);
    for (int64_t i = 0; i < k; ++i) {
      const ScoredSample& s = samples[static_cast<size_t>(begin + i)];
      Vote vote;
      vote.answer = s.answer;
      vote.verified = s.verified;
      ballot.add(i, std::move(vote));
    }
    if (const auto winner = ballot.winner()) right += samples[static_cast<size_t>(begin + *winner)].right ? 1 : 0;
  }
  return blocks > 0 ? static_cast<double>(right) / static_cast<double>(blocks) : 0;
}

std::vector<int64_t> powers_up_to(int64_t most) {
  std::vector<int64_t> out;
  for (int64_t k = 1; k < most; k *= 2) out.push_back(k);
  out.push_back(most);
  return out;
}

}  // namespace raison
