// raison eval: what the command line says, and its parts: the built-in countdown's own report, and data sets.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "cli/sampling_options.h"
#include "cli/session.h"
#include "cli/thinking.h"
#include "train/eval_data.h"
#include "train/eval_report.h"

namespace raison::cli {

struct EvalCommand {
  std::string model, verifier, verifier_options, system, json, plot, samples_file, cache_type, adapter;
  std::vector<std::string> tasks;  // NAME, NAME=FILE or FILE
  std::optional<std::string> suffix;
  int64_t samples = -1, greedy = -1, limit = 0, context = 0, together = 256;
  std::vector<int64_t> votes, budgets, minimums;
  SamplingOptions sampling;
  ThinkingOptions thinking;
  std::optional<int64_t> cache_memory;
  int threads = 0;
  LoadOptions load;
  uint64_t seed() const { return sampling.seed.value_or(1); }
};

// The built-in countdown alone: sampled and greedy side by side, or curves of scaling.
Result<int> run_countdown_eval(const EvalCommand& command);
// Data sets, and built-in tasks asked like them.
Result<int> run_task_eval(const EvalCommand& command);

// Tried before the work (and removed again), so that none is lost on a name that can't be written.
Status check_writable(const std::vector<std::string>& files);
Status write_eval_json(const std::string& file, const nlohmann::ordered_json& json);
std::string percent(double share);  // "12.3 %"

// One task's figures for the terminal.
std::string eval_table(const EvalTaskReport& report, const std::string& settings);

}  // namespace raison::cli
