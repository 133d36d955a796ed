// AnswerJudge: what a kind of question knows of its answers: which are the same, and what a thought says of its own.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace raison {

class AnswerJudge {
 public:
  virtual ~AnswerJudge() = default;
  virtual const std::string& name() const = 0;
  // One text for all answers that are the same vote; none: this is no answer.
  virtual std::optional<std::string> canonical(std::string_view answer) const = 0;
  // Whether a thought can be asked if it found its answer right.
  virtual bool can_self_verify() const { return false; }
  virtual bool self_verified(std::string_view) const { return false; }
};

// "countdown": expressions up to swapped operands of + and *; a thought verifies itself by the word "yes".
// "final":     what stands in the last \boxed{...} of the answer, else after its last "answer:" (or "answer is"), else its last line;
//              without spaces, markup around it and a last full stop, letters in lower case.
// "text":      the whole answer, white space at its ends apart.
// Error: an unknown name, with the list.
Result<std::unique_ptr<AnswerJudge>> make_judge(const std::string& name);
std::vector<std::string> judge_names();

}  // namespace raison
