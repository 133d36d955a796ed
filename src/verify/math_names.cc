#include "verify/math_names.h"

#include <algorithm>

namespace raison {
namespace {

using Kind = MathKind;

bool every_name(const std::vector<MathExpr>& kids) {
  return std::all_of(kids.begin(), kids.end(), [](const MathExpr& kid) { return is_math_name(kid); });
}

}  // namespace

bool is_math_name(const MathExpr& e) {
  switch (e->kind) {
    case Kind::Symbol:
    case Kind::Text: return true;
    // E of an energy, and segments such as Ei; "e" alone is a number.
    case Kind::Mul:
      return std::all_of(e->kids.begin(), e->kids.end(), [](const MathExpr& kid) {
        return is_math_name(kid) || kid->kind == Kind::Euler || kid->kind == Kind::Imaginary ||
               (kid->kind == Kind::Inv && is_math_name(kid->kids[0]));
      });
    case Kind::Tuple:
    case Kind::Ratio: return every_name(e->kids);
    case Kind::Call: {
      static constexpr std::string_view kMeasured[] = {"abs", "sin", "cos", "tan", "cot", "sec", "csc", "det", "max", "min"};
      if (std::find(std::begin(kMeasured), std::end(kMeasured), e->text) != std::end(kMeasured)) return every_name(e->kids);
      static constexpr std::string_view kComputed[] = {"ln",     "log",    "exp",  "fact", "binom",  "floor",
                                                       "ceil",   "mod",    "gcd",  "lcm",  "arcsin", "arccos",
                                                       "arctan", "arccot", "sinh", "cosh", "tanh",   "arg"};
      return std::find(std::begin(kComputed), std::end(kComputed), e->text) == std::end(kComputed);
    }
    default: return false;
  }
}

std::string math_name_of(const MathExpr& e) {
  if (e->kind == Kind::Symbol && !e->text.starts_with("angle")) return e->text;
  if (e->kind == Kind::Call) return e->text == "abs" ? "" : e->text;
  // W(n) is a product as long as it stands by itself.
  if (e->kind == Kind::Mul && e->kids.size() == 2 && e->kids[0]->kind == Kind::Symbol) return e->kids[0]->text;
  return "";
}

std::optional<MathEquation> read_equation(const MathExpr& e) {
  if (e->kind != Kind::Relation || e->text.find_first_not_of("=~") != std::string::npos) return std::nullopt;
  MathEquation out;
  out.about = e->text.find('~') != std::string::npos;
  for (const MathExpr& kid : e->kids) (is_math_name(kid) ? out.names : out.values).push_back(kid);
  return out;
}

}  // namespace raison
