// Sampler: logits -> token. Order and formulas of the processors: repetition penalty, presence and frequency penalties,
// no-repeat n-gram, temperature, top-k, top-p, min-p, typical-p (as transformers; presence and frequency as OpenAI and vLLM).
// Random numbers are a function of (seed, sample index, position) alone.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace raison {

struct SamplingParams {
  float temperature = 1.0f;         // 0 = greedy: the largest raw logit, lowest id among equals; nothing below matters then but penalties
  int64_t top_k = 0;                // 0 = off; all tokens tied with the k-th stay
  float top_p = 1.0f;               // 1 = off (Holtzman et al. 2020)
  float min_p = 0.0f;               // 0 = off
  float typical_p = 1.0f;           // 1 = off (Meister et al. 2023)
  float repetition_penalty = 1.0f;  // on ids of prompt and reply (Keskar et al. 2019)
  float presence_penalty = 0.0f;    // on ids of the reply
  float frequency_penalty = 0.0f;
  int64_t no_repeat_ngram = 0;      // 0 = off
  uint64_t seed = 0;
  Status validate() const;          // one line naming the value and its bounds
};

// Logits after all processors; removed tokens are -infinity. With temperature 0 only the penalties and n-grams act.
std::vector<float> process_logits(std::span<const float> logits, std::span<const int32_t> prompt,
                                  std::span<const int32_t> generated, const SamplingParams& params);

// The token: argmax if greedy, else the inverse of the cumulative distribution (ids ascending, sums in double) at
// uniform01(seed, sample_index, position). position = number of tokens before the one drawn. Error: a NaN, or nothing left.
Result<int32_t> sample_token(std::span<const float> logits, std::span<const int32_t> prompt, std::span<const int32_t> generated,
                             const SamplingParams& params, uint64_t sample_index, uint64_t position);

// Stop strings over streamed text: holds back what could begin one, cuts the text before one that is complete.
class StopChecker {
 public:
  explicit StopChecker(std::vector<std::string> stops);
  std::string push(const std::string& text);  // text that is safe to show
  bool stopped() const { return stopped_; }
  std::string flush();                        // what was held back (the end came); "" once stopped

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace raison
