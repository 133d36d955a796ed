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
    Failed        // the verifier could not tell (it crashed, hung or wrote nonsense): counted apart, score 0
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
// Error: an unknown name, with the list; an option that the verifier does not have, or of a wrong type.
Result<std::unique_ptr<Verifier>> make_verifier(const std::string& name, const nlohmann::json& options = nullptr);
std::vector<std::string> verifier_names();

}  // namespace raison
