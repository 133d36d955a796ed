// From the text of an answer to its tree.
#pragma once
#include <string_view>

#include "base/result.h"
#include "verify/math_expr.h"

namespace raison {

// Reads LaTeX or plain text, as an answer is written in a \boxed{} or between dollar signs. Precedence, from the loosest: ";" and ",",
// relations, unions, ratios, sums, products (written or not), signs, powers and other suffixes.
//   a/bx is (a/b)x; sin 2x y is sin(2xy), but \sin(x) y is sin(x) y; 2\frac13 is a mixed number; x^12 and \sqrt12 take all digits, \frac12
//   two; 1,234 is a number outside brackets and two members within.
// Error: no mathematics, or more of it than MathLimits allow.
Result<MathExpr> parse_math(std::string_view text);

}  // namespace raison
