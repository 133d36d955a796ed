// Verifier: judges what a model replied to a question of a dataset. What rewards, rejection sampling and `raison eval` count by.
#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace raison {

struct Question {
  std::string prompt;     // its text, as the data has it
  nlohmann::json record;  // the data's whole record: "answer" is the right one; verifiers name the other keys they read
};

struct Reply {
  std::string text;             // all that the model wrote, the thought and its end mark included, the end token left out
  std::string thought, answer;  // its two parts; without a thought the answer is all of it
  bool ended = true;            // false: cut off by its length
  bool thought_ended = true;    // false: cut off within its thought; then `answer` is empty
  int64_t tokens = 0;           // generated
};

struct Verdict {
  enum Kind {
    Right,
    Wrong,
    Unparseable,  // no answer was found in it, or one that can't be read: counted apart from Wrong
    Failed        // the verifier could not tell (it crashed, hung or wrote nonsense): counted apart, and no reward at all
  };
  Kind kind = Unparseable;
  double score = 0;    // the reward: 1 for Right and 0 otherwise, but a graded verifier may say anything finite
  std::string answer;  // what was found as the answer; may be empty
  std::string reason;  // one line; empty for Right
  bool right() const { return kind == Right; }
};
const char* verdict_name(Verdict::Kind kind);  // "right", "wrong", "unparseable", "failed"

struct Submission {
  const Question* question = nullptr;
  const Reply* reply = nullptr;
};

class Verifier {
 public:
  virtual ~Verifier() = default;
  virtual const std::string& name() const = 0;
  // Ok if this question can be judged: said of every record before a run begins. Error: the gold is missing or can't be read.
  virtual Status check(const Question& question) const = 0;
  // One verdict for each submission, in their order. However hostile a reply: no crash, and bounded time and memory. Error: the verifier as
  // a whole is out of order (a sandbox or program that can't be started).
  virtual Result<std::vector<Verdict>> judge(std::span<const Submission> submissions) = 0;
};

// Judges one after the other, by a function of one: what most verifiers are.
class SingleVerifier : public Verifier {
 public:
  Result<std::vector<Verdict>> judge(std::span<const Submission> submissions) override;

 protected:
  // A reply that was cut off never comes here: it is Wrong.
  virtual Verdict judge_one(const Question& question, const Reply& reply) const = 0;
};

// `options`: an object of settings of this verifier, e.g. {"division": true}; null = none. The names are verifier_names().
//   "countdown": the record has "nums" (or "numbers") and "target"; else the prompt is "4 5 7 -> 8". The answer is the expression in
//                <answer>...</answer>, else in the last \boxed{}, else the whole answer; "... = 8" at its end is passed over. Option
//                `division` (true by default).
//   "math":      the record has "answer", a text (an answer in LaTeX or plain, GSM8K's "... #### 42", or a solution with a \boxed{}) or a number;
//                else "solution" with a \boxed{}. Where the answer is looked for: math_answer.h; what counts as equal: math_compare.h. Option
//                `decimals` (0 by default: decimals are exact; else one of so many places may be rounded there).
//   "choice":    the record has "answer": a letter, an index (0 is A) into "choices" (or "options": a list, a table by letters, or a table with
//                the list "text"), or the text of one. The answer is the letter, or an option's text, in the last \boxed{}, else in
//                <answer>...</answer>, else behind the last "answer is" or "answer:", else the whole answer or its last line, else the last
//                "(B)". No options.
//   "exact":     the answer (as above) equals "answer": a text, a number, or a list of accepted ones. Options: `case` (true: capitals of ASCII
//                count), `spaces` (false: white space within is one space).
//   "regex":     "pattern", or else option `pattern`, a PCRE2 regex, is found in the answer. Options: `field` ("answer", or "text": all of the
//                reply), `full` (false; true: it must match all of it). What takes too much work is Failed.
//   "format":    no keys. 1 if the text is <think>...</think> and an answer, each mark once. Options: `begin`, `end` (the marks), `opened`
//                (true: the prompt ends within the thought; false: it does not; not given: either), `answer_tag` (false).
//   "length":    no keys. 0 up to `max` - `cache` tokens, then down to -1 at `max` (DAPO, arXiv:2503.14476, eq. 13). Option `cache`: max / 5.
//   "language":  no keys. The share of the thought's words in the script of option `language` ("en", "zh", ...; scripts.h). Option `part`.
//   "code":      "tests" (a text or a list), or "inputs" and "outputs" (lists), or HumanEval's "test", "entry_point" and "prompt"; the last
//                code block is run in the sandbox (sandbox.h). Options: `language` ("python", "cpp", or any with a `command`), `readable`,
//                `compare` ("lines", "tokens", "exact"), `fenced`, `timeout`, `cpu_seconds`, `memory_mb`, `processes`, `output_kb`,
//                `disk_mb`, `parallel`.
//   "program":   a program of the user's judges, by lines of JSON. Options: `command`, `timeout`, `batch`, `sandbox`, `readable`, `memory_mb`.
//   "http":      so does what answers at option `url`. Options: `headers`, `timeout`, `retries`, `backoff`, `batch`.
// The last two get the whole record. docs/verifiers.md has the protocol, and more of all.
// Error: an unknown name, with the list; an option that the verifier does not have, or of a wrong type.
Result<std::unique_ptr<Verifier>> make_verifier(const std::string& name, const nlohmann::json& options = nullptr);
std::vector<std::string> verifier_names();

}  // namespace raison
