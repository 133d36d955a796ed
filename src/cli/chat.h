// The chat: what `raison run` is when nobody gives it a prompt and the keyboard is a terminal.
#pragma once
#include "cli/ask.h"

namespace raison::cli {

Result<int> run_chat(LoadedModel& model, const Thinking& thinking, Engine& engine, RunOptions options);

}  // namespace raison::cli
