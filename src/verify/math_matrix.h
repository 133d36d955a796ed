// Sums and products of matrices, worked out entry by entry.
#pragma once
#include "verify/math_expr.h"

namespace raison {

// With sums, multiples and products of matrices as one matrix of expressions; what does not fit together stays as it is.
MathExpr folded_matrices(const MathExpr& e, MathBudget* budget);

}  // namespace raison
