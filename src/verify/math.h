// Answers in mathematics: where one stands in a reply, and whether two are the same.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace raison {

// Whether `b`, an answer or a whole reply with one, is the same as the gold `a` (an answer, "... #### 42", or a solution with a \boxed{}).
// Exact where math_exact.h is, proved or to 1000 bits where math_balls.h is; rules of form in math_compare.h. Deterministic: work is
// counted in steps, not in time. Error: no answer was found in one of them, or one can't be read.
Result<bool> same_math_answer(std::string_view a, std::string_view b);

// The answer in a reply as it is written there; where it stands in several boxes they are joined by ", ". None: no answer was found.
std::optional<std::string> extract_math_answer(std::string_view reply);

}  // namespace raison
