// Sets of real numbers that answers name by intervals and inequalities.
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "verify/math_expr.h"

namespace raison {

// One interval; lo = hi and both closed: a point. Infinite ends are open.
struct RealPiece {
  MathExpr lo, hi;
  bool lo_closed = false, hi_closed = false;
};
// In order, apart from each other, none empty.
using RealSet = std::vector<RealPiece>;

// Of intervals, unions, intersections, differences, {a, b} and R. None: it is no such set, or its ends can't be put in order.
std::optional<RealSet> real_set(const MathExpr& e, MathBudget* budget);

// Of x for which a relation with numbers holds: a < x <= b, x >= 2, 1 <= |x| <= 2, x in [0, 1], x != 0. None: it is no such relation.
std::optional<RealSet> solution_set(const MathExpr& relation, MathBudget* budget);

// Of several relations of one name beside each other: where all hold ("x > 1, x < 3"), or, if they exclude each other, where any does ("x < 1 or
// x > 3"). None: one of them is no such relation.
std::optional<RealSet> solution_set_of_list(const MathExpr& list, MathBudget* budget);

// Whether they are the same, ends compared by `same_end`.
bool same_real_set(const RealSet& a, const RealSet& b, const std::function<bool(const MathExpr&, const MathExpr&)>& same_end);

}  // namespace raison
