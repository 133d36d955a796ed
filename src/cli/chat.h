// The chat: what `raison run` is when nobody gives it a prompt and the keyboard is a terminal.
#pragma once
#include <string>

#include "cli/sampling_options.h"
#include "cli/session.h"

namespace raison::cli {

struct RunOptions {
  std::string model, cache_type, system;
  SamplingOptions sampling;
  int threads = 0;
  LoadOptions load;
  int64_t context = 0;
  bool raw = false;
};

// Tokens of a prompt: by the chat template, or plain if `raw` or there is none.
Result<std::vector<int32_t>> prompt_tokens(const TextSide& text, const nlohmann::ordered_json& messages,
                                           const std::string& last, bool raw);
Result<int> run_chat(LoadedModel& model, Engine& engine, RunOptions options);

}  // namespace raison::cli
