// Measures a model on held-out Countdown problems: how often it is right, how long it thinks, how well it calculates.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "tokenizer/tokenizer.h"
#include "train/synthetic_task.h"

namespace raison {

struct CountdownEvalOptions {
  int64_t sampled = 1024;  // problems at temperature 1; 0 = none
  int64_t greedy = 512;    // the first of the same problems, greedy; 0 = none
  double temperature = 1.0;
  int64_t length = 0;          // tokens at most, the prompt's included; 0: the task's longest sequence
  uint64_t problem_seed = 99;  // which held-out problems
  uint64_t sample_seed = 1;    // of the sampler
  DType cache_type = DType::F32;
  int32_t adapter = -1;                                       // an id of the model's; -1: the base
  int max_sequences = 256;                                    // in one batch
  std::function<void(int64_t done, int64_t total)> progress;  // may be empty
};

struct CountdownScore {
  int64_t problems = 0;
  double accuracy = 0;    // exact verifier; an answer without <eos> is wrong
  double length = 0;      // mean generated tokens, <eos> included
  double truncated = 0;   // share without <eos>
  double arithmetic = 0;  // share of right equations among all written
  int64_t equations = 0;
  double verdicts = 0;  // share of right yes/lo/hi
  int64_t verdict_count = 0;
  double leaves = 0;  // verdicts per thought
  double seconds = 0;
};

struct CountdownReport {
  std::string task;
  CountdownScore sampled, greedy;
};

// Of any of the Countdown tasks. Error: the model's tokenizer does not have the task's vocabulary.
Result<CountdownReport> evaluate_countdown(Model& model, const Tokenizer& tokenizer, Exec& exec, const KernelTable& kernels,
                                           const SyntheticTask& task, const CountdownEvalOptions& options = {});
// Is it one of the Countdown tasks?
bool has_countdown_report(const std::string& task);
nlohmann::ordered_json countdown_report_json(const CountdownReport& report);

}  // namespace raison
