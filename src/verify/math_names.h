// Names: what may stand before the sign of equality in "x = 5" without being part of the answer.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "verify/math_expr.h"

namespace raison {

// A symbol, x_1, AB, |AB|, f(2), AB/CD, V_1 : V_2, (x, y), an angle, words; nothing with a number of its own beside it.
bool is_math_name(const MathExpr& e);

// The name that two of these must share to be the same, "x" of x, "f" of f(2); "" for those that may be called as one likes (words, angles).
std::string math_name_of(const MathExpr& e);

// A chain of equations and what it says.
struct MathEquation {
  std::vector<MathExpr> names, values;  // its sides, as they stand
  bool about = false;                   // a sign of it was "about"
};
// None: it is no relation by = and "about" alone.
std::optional<MathEquation> read_equation(const MathExpr& e);

}  // namespace raison
