// Sampler: from logits to the next token. The draw is a pure function of (logits, history, parameters, seed, sample,
// position): the uniform number is counter-based, sums run in ascending id, the exponential is our own.
//
// Processors, in this order (HF's formulas; x are the logits in fp32):
//   1 repetition_penalty r: each id in prompt or generated, once: x < 0 ? x*r : x/r
//   2 x -= count*frequency_penalty, then x -= presence_penalty where count > 0; count over generated ids only
//   3 no_repeat_ngram n: a token that would complete an n-gram of prompt + generated seen before becomes -inf
//   4 temperature T: x /= T (0: the argmax is taken here, the lowest id among equals)
//   5 top_k: removes x below the k-th largest; all that tie with it stay
//   6 top_p: the smallest set of most probable tokens whose mass reaches p; among equal logits at its edge the lowest ids
//   7 min_p: removes what is less probable than min_p times the most probable
//   8 typical_p: of |-ln p - entropy| ascending, up to the first at which the mass reaches typical_p, ties with it included
// Each of 6 to 8 renormalises what its predecessors left.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace raison {

struct SamplingParams {
  float temperature = 1;         // 0 = greedy, else in [1e-4, 1e4]
  int top_k = 0;                 // 0 = off
  float top_p = 1;               // (0, 1], 1 = off
  float min_p = 0;               // [0, 1], 0 = off
  float typical_p = 1;           // (0, 1], 1 = off
  float repetition_penalty = 1;  // [1e-4, 1e4], 1 = off
  float presence_penalty = 0;    // [-100, 100], 0 = off
  float frequency_penalty = 0;   // [-100, 100], 0 = off
  int no_repeat_ngram = 0;       // 0 = off
  uint64_t seed = 0;
  Status validate() const;  // one line naming the value and its bounds
};

// The processed logits [vocab]; removed tokens are -inf. At temperature 0 the processors 1 to 3 only.
// Error: parameters out of bounds; a logit that is NaN or +inf; a history id outside [0, vocab); no token left.
Result<std::vector<float>> process_logits(std::span<const float> logits, std::span<const int32_t> prompt,
                                          std::span<const int32_t> generated, const SamplingParams& params);

// The next token: the first id at which the running sum of probabilities exceeds uniform01(seed, sample, position).
// `sample`: which of the samples of one prompt; `position`: of the new token in the sequence. Errors as above.
Result<int32_t> sample_token(std::span<const float> logits, std::span<const int32_t> prompt, std::span<const int32_t> generated,
                             const SamplingParams& params, uint64_t sample, uint64_t position);

// The largest logit, the lowest id among equals. Errors as above.
Result<int32_t> argmax_token(std::span<const float> logits);

// Watches a stream of text and ids for its end. Text that could still become a stop string is held back, so nothing of a
// stop string is ever given out.
class StopChecker {
 public:
  // Error: an empty stop string.
  static Result<StopChecker> create(std::vector<std::string> strings, std::vector<int32_t> ids = {});
  bool is_stop_id(int32_t id) const;
  // Adds text; returns what can be given out now. Once a stop string is complete (the first to be, the longest if several
  // are at once): what stood before it, and then nothing more. How the text is cut into pieces does not matter.
  std::string push(std::string_view text);
  // The text is over: what was held back.
  std::string finish();
  bool stopped() const { return !found_.empty(); }
  const std::string& found() const { return found_; }  // the stop string met, "" if none

 private:
  StopChecker() = default;
  std::vector<std::string> strings_;
  std::vector<int32_t> ids_;
  std::string held_, found_;
};

}  // namespace raison
