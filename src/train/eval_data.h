// Data sets for evaluation: the usual files of reasoning benchmarks, as they are published, and files of one's own.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "verify/verifier.h"

namespace raison {

// A data set that is known by name.
struct EvalPreset {
  const char* name;
  const char* verifier;
  int64_t samples;  // of a question, unless said otherwise: few questions need several each
  const char* about;
};
const std::vector<EvalPreset>& eval_presets();
const EvalPreset* find_eval_preset(const std::string& name);  // null: none

// What DeepSeek recommends to set behind questions of mathematics (the README of DeepSeek-R1).
inline constexpr const char* kBoxedSuffix = "Please reason step by step, and put your final answer within \\boxed{}.";

struct EvalFile {
  std::string task;  // a preset's name, or one's own
  std::string path;  // JSON lines; or, if its name ends in ".csv", a table with a heading: each row is then a record of texts
  std::string verifier;
  std::optional<std::string> suffix;  // behind every question, on a line of its own; unset: the task's, "" is none
  std::string system;                 // message before each; may be empty
  int64_t limit = 0;                  // the first so many questions; 0 = all
  // Countdown as the built-in task writes it, "4 5 7 -> 8" and nothing else: for models that know no other words.
  bool bare_countdown = false;
};

struct EvalQuestion {
  Question question;                // its text without the suffix; its record with "answer" (and "nums", "target") in one form
  nlohmann::ordered_json messages;  // what the model is asked
  nlohmann::json id;                // the record's own, else its number in the file, from 0
  std::string where;                // "FILE:LINE"
};

// Keys that are read, the first that is there: "question", "problem", "prompt" (or with a capital), "messages"; "answer". By preset:
//   gsm8k               the answer is what follows "####"
//   svamp               "Body" and "Question"; "Answer" is a number
//   countdown, game24   "nums" (or "numbers") and "target"; "input": "30,100,93" with "output": "23"; "Puzzles": "1 1 4 6", whose target is
//                       24; or the question itself, "4 5 7 -> 8". Records without words of their own get ours.
// Error: "FILE:LINE: what"; a file without questions.
Result<std::vector<EvalQuestion>> read_eval_file(const EvalFile& file);

}  // namespace raison
