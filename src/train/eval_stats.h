// What samples of many questions say of a model: pass@k, majority votes, and intervals that take the question as the unit.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace raison {

// A share or mean of values in [0, 1], with a two-sided 95 % interval.
struct Estimate {
  double value = 0, low = 0, high = 1;
  int64_t questions = 0;  // that it is drawn from
};

// Wilson's interval of a share of n (two-sided, 95 %). n need not be whole: see clustered_estimate.
void wilson_interval(double share, double n, double* low, double* high);

// The mean of one value in [0, 1] per question. Its standard error is that of the questions' values (samples of one question are no
// independent ones: clustered, as in arXiv:2411.00640, sec. 2.2), and the interval is Wilson's for so many independent answers as would
// have that error: p(1-p)/se^2, at least the number of questions, at most `samples`, the number of answers behind all the values. With one
// sample each it is Wilson's own, it never leaves [0, 1], and where all questions agree it still has a width.
Estimate clustered_estimate(const std::vector<double>& values, int64_t samples);

// Chen et al. 2021 (arXiv:2107.03374), eq. 1: 1 - C(n-c, k) / C(n, k), the chance that of k samples out of n, c of them right, one is
// right; computed as a product. 1 <= k <= n.
double pass_at_k(int64_t n, int64_t c, int64_t k);

// One sample, as statistics see it. A sample that was never finished is not among them.
struct ScoredSample {
  bool right = false;
  std::optional<std::string> answer;  // equal texts are one answer; none: it gave none, or was cut off, and does not vote
  bool verified = false;              // by its own thought
};

// How often the winner of k votes is right: the mean over the blocks of k samples [0, k), [k, 2k), ... that are whole. Ties go to the
// earliest sample; nobody voting is wrong. `self_verified`: those whose own thought found the answer right vote, if there are any.
// 1 <= k <= samples.size().
double majority_at_k(const std::vector<ScoredSample>& samples, int64_t k, bool self_verified);

// 1, 2, 4, ... and `most` itself.
std::vector<int64_t> powers_up_to(int64_t most);

}  // namespace raison
