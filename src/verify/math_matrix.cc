#include "verify/math_matrix.h"

#include <algorithm>

namespace raison {
namespace {

using Kind = MathKind;

size_t columns(const MathExpr& m) { return m->kids.size() / static_cast<size_t>(m->rows); }

MathExpr times(const MathExpr& a, const MathExpr& b) {
  std::vector<MathExpr> out;
  const bool scalar = a->kind != Kind::Matrix;
  if (scalar || b->kind != Kind::Matrix) {
    const MathExpr& m = scalar ? b : a;
    for (const MathExpr& x : m->kids) out.push_back(math_product({scalar ? a : b, x}));
    return math_node(Kind::Matrix, "", std::move(out), m->rows);
  }
  const size_t inner = columns(a), width = columns(b);
  if (inner != static_cast<size_t>(b->rows)) return nullptr;
  for (size_t i = 0; i < static_cast<size_t>(a->rows); ++i)
    for (size_t j = 0; j < width; ++j) {
      std::vector<MathExpr> sum;
      for (size_t k = 0; k < inner; ++k) sum.push_back(math_product({a->kids[i * inner + k], b->kids[k * width + j]}));
      out.push_back(math_sum(std::move(sum)));
    }
  return math_node(Kind::Matrix, "", std::move(out), a->rows);
}

MathExpr plus(const MathExpr& a, const MathExpr& b) {
  if (a->kind != Kind::Matrix || b->kind != Kind::Matrix || a->rows != b->rows || a->kids.size() != b->kids.size())
    return nullptr;
  std::vector<MathExpr> out;
  for (size_t i = 0; i < a->kids.size(); ++i) out.push_back(math_sum({a->kids[i], b->kids[i]}));
  return math_node(Kind::Matrix, "", std::move(out), a->rows);
}

}  // namespace

MathExpr folded_matrices(const MathExpr& e, MathBudget* budget) {
  if ((e->kind != Kind::Add && e->kind != Kind::Mul && e->kind != Kind::Neg) || !math_contains(e, Kind::Matrix)) return e;
  MathExpr out;
  for (const MathExpr& kid : e->kids) {
    const MathExpr k = folded_matrices(kid, budget);
    if (e->kind == Kind::Neg) {
      out = k->kind == Kind::Matrix ? times(math_node(Kind::Neg, {math_number("1")}), k) : nullptr;
    } else if (!out) {
      out = k;
    } else if (e->kind == Kind::Mul) {
      out = out->kind == Kind::Matrix || k->kind == Kind::Matrix ? times(out, k) : math_product({out, k});
    } else {
      out = plus(out, k);
    }
    if (!out || out->kids.size() > MathLimits::kMatrixEntries || out->nodes > MathLimits::kNodes * 8 ||
        out->depth > MathLimits::kDepth || !budget->spend(out->nodes))
      return e;
  }
  return out;
}

}  // namespace raison
