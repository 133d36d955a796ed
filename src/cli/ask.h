// One question to a model, as `raison run` asks it: alone or at the end of a conversation, one reply or a vote.
#pragma once
#include <string>

#include "cli/reply.h"
#include "cli/sampling_options.h"
#include "cli/session.h"
#include "cli/thinking.h"
#include "cli/vote.h"

namespace raison::cli {

struct RunOptions {
  std::string model, cache_type, system, adapter;
  SamplingOptions sampling;
  ThinkingOptions thinking;
  VoteSettings vote;
  int threads = 0;
  LoadOptions load;
  std::optional<int64_t> cache_memory;
  int64_t context = 0;
  bool raw = false;
  bool show_thinking = false;
  bool keys = false;           // see ReplyRequest
  bool context_shift = false;  // what outgrows the context loses its oldest turns, instead of being refused
};

// `messages` end with the question; `last` is its text as it stands (for --raw, and models without a chat template). With context_shift
// they lose their oldest turns if the prompt, or the reply on its way, outgrows the context; a note says so.
// `outgrown` is set if the whole conversation did not fit.
Result<Reply> ask(LoadedModel& model, const Thinking& thinking, Engine& engine, const RunOptions& options,
                  nlohmann::ordered_json* messages, const std::string& last, bool* outgrown = nullptr);

}  // namespace raison::cli
