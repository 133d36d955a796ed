// Answers in mathematics: where one stands in a reply, and whether two are the same.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace raison {

struct MathOptions {
  int64_t decimals = 0;  // above 0: a decimal of that many places or more may be rounded there; 0: decimals are exact
};

struct MathJudgement {
  enum Kind {
    Same,
    Different,
    Unparseable  // no answer was found, or it can't be read
  };
  Kind kind = Unparseable;
  std::string answer;  // what was found, as it is written
  std::string reason;  // one line; empty for Same
};

// Judges a reply (or an answer alone) by the gold: an answer, "... #### 42", or a solution with a \boxed{}. Exact where math_exact.h is, proved or
// to 1000 bits where math_balls.h is; the rules of form stand in math_compare.h, those of finding an answer in math_answer.h. Deterministic:
// work is counted in steps, not in time. May be called from several threads at once.
MathJudgement judge_math_answer(std::string_view gold, std::string_view reply, const MathOptions& options = {});

// Whether `b` is the same as the gold `a`. Error: no answer was found in one of them, or it can't be read.
Result<bool> same_math_answer(std::string_view a, std::string_view b);

// The answer in a reply as it is written there; where it stands in several boxes they are joined by ", ". None: no answer was found.
std::optional<std::string> extract_math_answer(std::string_view reply);

}  // namespace raison
