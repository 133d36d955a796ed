// How tokens are drawn: what the user says over what the model's generation_config.json says.
#pragma once
#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "io/model_files.h"

namespace raison::cli {

struct SamplingOptions {
  std::optional<double> temp, top_p, min_p, typical_p, repeat_penalty, presence_penalty, frequency_penalty;
  std::optional<int64_t> top_k, no_repeat_ngram, max_tokens;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;

  void add_to(CLI::App* command);
  // One of the above by name ("temp", "top-k", ...). Error: no such setting, or no such value; nothing changes then.
  Status set(const std::string& key, const std::string& value);
  static std::string names();
};

struct ResolvedSampling {
  SamplingParams params;
  int64_t max_tokens = 0;   // 0: what the context holds
  bool seed_drawn = false;  // the seed is the clock's, not the user's
};
// Without a word from user or model: temperature 0.6, top-p 0.95, as DeepSeek recommends for R1.
Result<ResolvedSampling> resolve_sampling(const SamplingOptions& options, const GenerationDefaults& defaults);
// "temp 0.6, top-p 0.95, seed 7"
std::string sampling_words(const ResolvedSampling& sampling);

}  // namespace raison::cli
