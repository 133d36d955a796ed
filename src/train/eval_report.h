// What an evaluation found, as JSON, as lines of samples, and as curves.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "train/eval_run.h"

namespace raison {

struct EvalTaskReport {
  std::string task, file, verifier;  // file: empty for a built-in task
  int64_t samples = 1;               // of a question
  int64_t left_out = 0;              // questions too long
  std::vector<EvalPrompt> prompts;
  struct Run {
    int64_t budget = -1;  // tokens of a thought at most; -1: none was set
    EvalRun run;
  };
  std::vector<Run> runs;
  bool whole() const { return runs.empty() || runs.back().run.whole; }
};

// "task", "file", "verifier", "questions" (how many there are to ask), "left_out", "samples_each", "partial", and "runs": each with its figures
// and "questions", one object a question with its "samples". What a clock wrote has "second" in its key.
nlohmann::ordered_json eval_report_json(const EvalTaskReport& report);
// One JSON line for every finished sample, with its text if that was kept.
std::string eval_samples_jsonl(const EvalTaskReport& report);
// Of each task: pass@k and maj@k by k, if there are several k; accuracy by budget, if there are several. Empty: there are no curves.
std::string eval_reports_svg(const std::vector<EvalTaskReport>& reports);

const char* finish_reason_name(FinishReason reason);  // "stop", "length", ...

}  // namespace raison
