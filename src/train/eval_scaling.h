// Test-time scaling on a built-in task: how a model's accuracy grows with votes, and with how long it may, or must, think.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>

#include "engine/voting.h"
#include "tokenizer/tokenizer.h"
#include "train/eval_stats.h"
#include "train/synthetic_task.h"

namespace raison {

struct ScalingOptions {
  std::vector<int64_t> votes;     // numbers of votes, ascending; empty: no curve of votes
  std::vector<int64_t> budgets;   // a thought is closed after that many failed tries
  std::vector<int64_t> minimums;  // a thought may not end before that many tries, or one that succeeds
  int64_t problems = 256;
  double temperature = 1;
  int64_t length = 0;          // tokens at most, the prompt's included; 0: the task's longest sequence
  uint64_t problem_seed = 99;  // which held-out problems
  uint64_t sample_seed = 1;
  DType cache_type = DType::F32;
  int32_t adapter = -1;                                       // an id of the model's; -1: the base
  std::function<void(int64_t done, int64_t total)> progress;  // samples; may be empty
};

struct ScalingPoint {
  int64_t x = 0;             // votes, or tries
  double accuracy = 0;       // exact verifier
  double low = 0, high = 0;  // Wilson's 95 % interval
  double tokens = 0;         // generated for one problem
};
struct ScalingCurve {
  std::string name, label;  // "majority", "by majority"
  std::vector<ScalingPoint> points;
};
struct ScalingReport {
  std::string task;
  int64_t problems = 0;
  ScalingPoint single;  // one free sample a problem
  std::vector<ScalingCurve> votes, budgets, minimums;
};

// Error: the task's thoughts have no marks to count (budgets, minimums), the tokenizer lacks its vocabulary, out of memory.
Result<ScalingReport> evaluate_scaling(Model& model, const Tokenizer& tokenizer, Exec& exec, const KernelTable& kernels,
                                       const SyntheticTask& task, const ScalingOptions& options);
nlohmann::ordered_json scaling_report_json(const ScalingReport& report);
std::string scaling_report_svg(const ScalingReport& report);

}  // namespace raison
