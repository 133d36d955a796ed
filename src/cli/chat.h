// The chat: what `raison run` is when nobody gives it a prompt and the keyboard is a terminal.
#pragma once
#include <string>

#include "cli/sampling_options.h"
#include "cli/session.h"
#include "cli/thinking.h"

namespace raison::cli {

struct RunOptions {
  std::string model, cache_type, system;
  SamplingOptions sampling;
  ThinkingOptions thinking;
  int threads = 0;
  LoadOptions load;
  std::optional<int64_t> cache_memory;
  int64_t context = 0;
  bool raw = false;
};

Result<int> run_chat(LoadedModel& model, const Thinking& thinking, Engine& engine, RunOptions options);

}  // namespace raison::cli
