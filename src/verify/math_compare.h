// Whether two trees say the same answer.
#pragma once
#include <string_view>

#include "verify/math_expr.h"

namespace raison {

// `gold` is trusted, `answer` is not: an answer that is a chain of equations must be true to count. What counts as the same:
//   numbers by exact value, decimals too (0.333 is not 1/3), save that a decimal of 12 digits or more may be the gold rounded or cut off, and
//   one of `decimals` places or more, where that is above 0, may be off by half a unit of that place;
//   5, 5 cm and $5 are the same, 5 cm and 5 m are not; 25% is 0.25 and 25;
//   x = 5 is 5, and so is any name before the sign; x = 5 is not y = 5; equations up to a factor; x >= 2 is [2, oo);
//   1, 2 is {2, 1} and (1, 2), but (1, 2) is not {1, 2}; 3 +- 1 is 4, 2; vectors are points, but a row is no column;
//   52_8 is 52 (its base left out) and never 42; "(C) 12" is 12 and (C), whichever the gold is.
bool same_math(const MathExpr& gold, const MathExpr& answer, int64_t decimals, MathBudget* budget);

// Whether two answers are written the same: but for commands of style, spaces, brackets around all of it and, where they are words, capital letters.
bool same_text(std::string_view gold, std::string_view answer);

}  // namespace raison
