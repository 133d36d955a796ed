#include "verify/math_compare.h"

#include <algorithm>

#include "verify/math_balls.h"
#include "verify/math_matrix.h"
#include "verify/math_names.h"
#include "verify/math_sets.h"

namespace raison {
namespace {

using Kind = MathKind;

bool has_signs(const MathExpr& e) { return math_contains(e, Kind::PlusMinus) || math_contains(e, Kind::MinusPlus); }

// All its +- as + (or as -), all its -+ the other way.
MathExpr with_sign(const MathExpr& e, bool plus) {
  std::vector<MathExpr> kids;
  for (const MathExpr& kid : e->kids) kids.push_back(with_sign(kid, plus));
  if (e->kind == Kind::PlusMinus || e->kind == Kind::MinusPlus)
    return (e->kind == Kind::PlusMinus) == plus ? math_sum({kids[0], kids[1]}) : math_difference(kids[0], kids[1]);
  return math_node(e->kind, e->text, std::move(kids), e->rows);
}

bool is_list(const MathExpr& e) { return e->kind == Kind::List || e->kind == Kind::Set; }

std::vector<MathExpr> members(const MathExpr& e) {
  std::vector<MathExpr> out;
  for (const MathExpr& kid : is_list(e) ? e->kids : std::vector<MathExpr>{e}) {
    if (has_signs(kid)) {
      out.push_back(with_sign(kid, true));
      out.push_back(with_sign(kid, false));
    } else {
      out.push_back(kid);
    }
  }
  return out;
}

// A quantity and its unit: "deg", "%", "cm", "" for none.
struct Quantity {
  MathExpr amount;
  std::string unit;
};

Quantity quantity(const MathExpr& e) {
  switch (e->kind) {
    case Kind::Unit: {
      const Quantity inner = quantity(e->kids[0]);
      return {inner.amount, e->text.empty() ? inner.unit : e->text};
    }
    case Kind::Degree: return {e->kids[0], "deg"};
    case Kind::Percent: return {e->kids[0], "%"};
    case Kind::Neg: {
      const Quantity inner = quantity(e->kids[0]);
      return {math_node(Kind::Neg, {inner.amount}), inner.unit};
    }
    case Kind::Mul:
    case Kind::Add: break;
    default: return {e, ""};
  }
  std::vector<MathExpr> kids;
  std::string unit;
  for (const MathExpr& kid : e->kids) {
    const Quantity q = quantity(kid);
    const bool first = kids.empty();
    kids.push_back(q.amount);
    if (q.unit.empty() && (unit != "%" || e->kind == Kind::Mul)) continue;
    // Of a sum all members are of one unit, of a product one factor has it; else it is no quantity.
    if (e->kind == Kind::Add ? (!first && unit != q.unit && (!unit.empty() || q.unit == "%")) : !unit.empty()) return {e, ""};
    unit = q.unit;
  }
  if (unit.empty()) return {e, ""};
  return {math_node(e->kind, std::move(kids)), unit};
}

bool is_sum_of_symbols(const MathExpr& e) {
  return e->kind == Kind::Add &&
         std::all_of(e->kids.begin(), e->kids.end(), [](const MathExpr& kid) { return kid->kind == Kind::Symbol; });
}

MathExpr hundredth(const MathExpr& e) { return math_quotient(e, math_number("100")); }

bool infinite(const MathExpr& e) {
  return e->kind == Kind::Infinity || (e->kind == Kind::Neg && e->kids[0]->kind == Kind::Infinity);
}

// The digits of a decimal with a point, without its sign; null: it is none.
const std::string* decimal_digits(const MathExpr& e) {
  const MathExpr& n = e->kind == Kind::Neg ? e->kids[0] : e;
  if (n->kind != Kind::Number || n->text.find('.') == std::string::npos || n->text.find('(') != std::string::npos)
    return nullptr;
  return &n->text;
}

bool is_literal(const MathExpr& e) {
  return e->kind == Kind::Number || (e->kind == Kind::Neg && e->kids[0]->kind == Kind::Number);
}

// A decimal of 12 digits or more, as a program prints one.
bool long_decimal(const std::string& digits) {
  const size_t first = digits.find_first_of("123456789");
  if (first == std::string::npos) return false;
  return std::count_if(digits.begin() + static_cast<std::ptrdiff_t>(first), digits.end(), [](char c) { return c != '.'; }) >=
         12;
}

// "(C) 12", an option with its value: the value. Null: it is none.
MathExpr behind_label(const MathExpr& e) {
  if (e->kind != Kind::Mul || e->kids[0]->kind != Kind::Text) return nullptr;
  const std::string& label = e->kids[0]->text;
  if (label.size() != 3 || label[0] != '(' || label[1] < 'A' || label[1] > 'Z' || label[2] != ')') return nullptr;
  return math_product({e->kids.begin() + 1, e->kids.end()});
}

class Comparer {
 public:
  Comparer(int64_t decimals, MathBudget* budget) : decimals_(decimals), budget_(budget) {}

  bool same(const MathExpr& gold, const MathExpr& answer) {
    if (!budget_->spend(16 + gold->nodes + answer->nodes)) return false;
    const MathExpr g = folded_matrices(gold, budget_), a = folded_matrices(answer, budget_);
    if (math_key(g) == math_key(a)) return true;
    if (g->kind == Kind::Relation && !has_signs(g) && !is_list(a) && !has_signs(a)) return relation(g, a);
    if (a->kind == Kind::Relation && !has_signs(a) && !is_list(g) && !has_signs(g)) return relation(g, a);
    if (const MathExpr value = behind_label(a)) return same(g, g->kind == Kind::Text ? a->kids[0] : value);
    if (is_conditions(g) || is_conditions(a)) {
      const auto x = values_of(g), y = values_of(a);
      if (x && y) return same_set(*x, *y);
    }
    if (is_list(g) != is_list(a) && (g->kind == Kind::List || a->kind == Kind::List)) return lists(g, a);
    if (is_real_set(g) || is_real_set(a)) return real_sets(g, a);
    if (is_list(g) || is_list(a) || has_signs(g) || has_signs(a)) return lists(g, a);
    if (g->kind == Kind::Matrix || a->kind == Kind::Matrix) return matrices(g, a);
    if (g->kind == Kind::Tuple || a->kind == Kind::Tuple) return tuples(g, a);
    if (g->kind == Kind::Based || a->kind == Kind::Based) return based(g, a);
    if (g->kind == Kind::Ratio && a->kind == Kind::Ratio && g->kids.size() > 2) return ratios(g, a);
    return quantities(g, a);
  }

 private:
  static bool is_real_set(const MathExpr& e) {
    return e->kind == Kind::Union || e->kind == Kind::Intersect || e->kind == Kind::Without || e->kind == Kind::Named ||
           (e->kind == Kind::Tuple && (e->text == "[)" || e->text == "(]"));
  }

  // "x < 1 or x > 3": some of it inequalities, all of it relations.
  static bool is_conditions(const MathExpr& e) {
    const auto is_relation = [](const MathExpr& kid) { return kid->kind == Kind::Relation; };
    return e->kind == Kind::List && std::all_of(e->kids.begin(), e->kids.end(), is_relation) &&
           std::any_of(e->kids.begin(), e->kids.end(),
                       [](const MathExpr& kid) { return kid->text.find_first_of("<>lg") != std::string::npos; });
  }

  // The real numbers that an interval, a relation or several name.
  std::optional<RealSet> values_of(const MathExpr& e) {
    if (has_signs(e)) return std::nullopt;
    if (e->kind == Kind::Relation) return solution_set(e, budget_);
    return is_conditions(e) ? solution_set_of_list(e, budget_) : real_set(e, budget_);
  }

  bool real_sets(const MathExpr& g, const MathExpr& a) {
    const auto x = real_set(g, budget_), y = real_set(a, budget_);
    if (x && y) return same_set(*x, *y);
    // Ends with symbols: the same parts in any order.
    if (g->kind != a->kind || g->kids.size() != a->kids.size()) return false;
    if (g->kind == Kind::Tuple) return tuples(g, a);
    return g->kind == Kind::Union && each_in(g->kids, a->kids) && each_in(a->kids, g->kids, true);
  }

  bool same_set(const RealSet& a, const RealSet& b) {
    return same_real_set(a, b, [&](const MathExpr& x, const MathExpr& y) { return scalars(x, y); });
  }

  bool each_in(const std::vector<MathExpr>& some, const std::vector<MathExpr>& others, bool turned = false) {
    return std::all_of(some.begin(), some.end(), [&](const MathExpr& x) {
      return std::any_of(others.begin(), others.end(), [&](const MathExpr& y) { return turned ? same(y, x) : same(x, y); });
    });
  }

  bool lists(const MathExpr& g, const MathExpr& a) {
    if (g->kind == Kind::Tuple || a->kind == Kind::Tuple) {
      // "1, 2" or "x = 1, y = 2" for (1, 2): in their order. A set has none.
      const auto& [tuple, list] = g->kind == Kind::Tuple ? std::pair(g, a) : std::pair(a, g);
      if (list->kind == Kind::List && list->kids.size() == tuple->kids.size() && list->kids.size() > 1 &&
          tuple->kids[0]->kind != Kind::Tuple)
        return in_order(g->kids, a->kids);
      if (members(list).size() != 1) return false;
    }
    const auto x = members(g), y = members(a);
    if (x.size() > MathLimits::kListItems || y.size() > MathLimits::kListItems) return false;
    return each_in(x, y) && each_in(y, x, true);
  }

  bool in_order(const std::vector<MathExpr>& g, const std::vector<MathExpr>& a) {
    if (g.size() != a.size()) return false;
    for (size_t i = 0; i < g.size(); ++i)
      if (!same(g[i], a[i])) return false;
    return true;
  }

  bool tuples(const MathExpr& g, const MathExpr& a) {
    if (g->kind != Kind::Tuple || a->kind != Kind::Tuple) return false;
    const auto brackets = [](const MathExpr& e) { return e->kids.size() == 2 && e->text != "<>" ? e->text : "()"; };
    return brackets(g) == brackets(a) && in_order(g->kids, a->kids);
  }

  bool matrices(const MathExpr& g, const MathExpr& a) {
    const auto vector = [](const MathExpr& m, const MathExpr& point) {
      return m->kind == Kind::Matrix && point->kind == Kind::Tuple &&
             (m->rows == 1 || static_cast<size_t>(m->rows) == m->kids.size()) && (point->text == "()" || point->text == "<>");
    };
    if (vector(g, a) || vector(a, g)) return in_order(g->kids, a->kids);
    if (g->kind == Kind::Matrix && g->kids.size() == 1) return same(g->kids[0], a);
    return g->kind == Kind::Matrix && a->kind == Kind::Matrix && g->rows == a->rows && in_order(g->kids, a->kids);
  }

  bool based(const MathExpr& g, const MathExpr& a) {
    if (g->kind == Kind::Based && a->kind == Kind::Based) return g->text == a->text && same(g->kids[0], a->kids[0]);
    const MathExpr& digits = g->kind == Kind::Based ? g : a;
    const MathExpr& other = g->kind == Kind::Based ? a : g;
    return other->kind == Kind::Number && other->text == digits->text;
  }

  bool ratios(const MathExpr& g, const MathExpr& a) {
    if (g->kids.size() != a->kids.size()) return false;
    for (size_t i = 1; i < g->kids.size(); ++i)
      if (!same(math_quotient(g->kids[i], g->kids[0]), math_quotient(a->kids[i], a->kids[0]))) return false;
    return true;
  }

  bool quantities(const MathExpr& g, const MathExpr& a) {
    const Quantity x = quantity(g), y = quantity(a);
    if (!x.unit.empty() && !y.unit.empty() && x.unit != y.unit) return false;
    if (scalars(x.amount, y.amount)) return true;
    if (x.unit == y.unit) return false;
    if (x.unit == "%") return scalars(hundredth(x.amount), y.amount);
    if (y.unit == "%") return scalars(x.amount, hundredth(y.amount));
    return false;
  }

  bool scalars(const MathExpr& g, const MathExpr& a) {
    if (infinite(g) || infinite(a)) return math_key(g) == math_key(a);
    if (g->kind == Kind::Text || a->kind == Kind::Text) return g->kind == a->kind && same_text(g->text, a->text);
    if (math_contains(g, Kind::Symbol) || math_contains(a, Kind::Symbol)) {
      Sameness s = same_rational_function(g, a, budget_);
      if (s == Sameness::Unknown) s = same_function(g, a, budget_);
      return s == Sameness::Same;
    }
    const Sameness s = same_constant(g, a, budget_);
    if (s == Sameness::Same) return true;
    return s == Sameness::Different && (rounds_to(g, a) || rounds_to(a, g));
  }

  // Whether `decimal` is right to its last digit, which may be rounded or cut off, and a long one; or rounded right to decimals_ places.
  bool rounds_to(const MathExpr& exact, const MathExpr& decimal) {
    const std::string* digits = decimal_digits(decimal);
    if (digits == nullptr) return false;
    const size_t places = digits->size() - digits->find('.') - 1;
    if (decimals_ > 0 && places >= static_cast<size_t>(decimals_))
      return within(exact, decimal, static_cast<size_t>(decimals_), true);
    return !is_literal(exact) && long_decimal(*digits) && within(exact, decimal, places, false);
  }

  // Whether they differ by less than a unit of the last of so many decimal places, or by at most half of it.
  bool within(const MathExpr& exact, const MathExpr& decimal, size_t places, bool half) {
    const int64_t bits = 128 + 4 * static_cast<int64_t>((decimal->kind == Kind::Neg ? decimal->kids[0] : decimal)->text.size());
    const BallResult x = ball_value(exact, {}, bits, budget_), y = ball_value(decimal, {}, bits, budget_);
    const MathExpr place = math_number(places == 0 ? "1" : "0." + std::string(places - 1, '0') + "1");
    const BallResult unit = ball_value(place, {}, bits, budget_);
    if (x.status != MathStatus::Ok || y.status != MathStatus::Ok || unit.status != MathStatus::Ok || !x.value.real())
      return false;
    MathBall d;
    acb_sub(d.get(), x.value.get(), y.value.get(), bits);
    if (half) acb_mul_ui(d.get(), d.get(), 2, bits);
    arb_abs(acb_realref(d.get()), acb_realref(d.get()));
    // Exactly half a unit can't be told from a little more in balls: the few bits that both lack count for it.
    return half ? !arb_gt(acb_realref(d.get()), acb_realref(unit.value.get()))
                : arb_lt(acb_realref(d.get()), acb_realref(unit.value.get()));
  }

  // --- relations ---

  bool relation(const MathExpr& g, const MathExpr& a) {
    const auto x = read_equation(g), y = read_equation(a);
    if (x && y) return equations(g, *x, a, *y);
    if (x || y) return x ? a->kind != Kind::Relation && says(*x, true, a) : g->kind != Kind::Relation && says(*y, false, g);
    if (g->kind == Kind::Relation && a->kind == Kind::Relation) return inequalities(g, a);
    const MathExpr& r = g->kind == Kind::Relation ? g : a;
    const MathExpr& set = g->kind == Kind::Relation ? a : g;
    const auto solutions = solution_set(r, budget_);
    const auto other = real_set(set, budget_);
    if (solutions && other) return same_set(*solutions, *other);
    return r->text == "e" && is_math_name(r->kids[0]) && same(g == r ? r->kids[1] : g, g == r ? a : r->kids[1]);
  }

  // Whether an equation says the value `other`.
  bool says(const MathEquation& e, bool gold, const MathExpr& other) {
    const auto values = said(e, gold);
    return std::any_of(values.begin(), values.end(), [&](const MathExpr& v) { return gold ? same(v, other) : same(other, v); });
  }

  // What a chain says its name is: its last value. All values must be the same, or the answer might say several to have one right; with a
  // sign of "about" among them both the first and the last count, if they are near each other.
  std::vector<MathExpr> said(const MathEquation& e, bool gold) {
    if (e.values.empty()) return e.names.size() == 2 ? std::vector<MathExpr>{e.names[1]} : std::vector<MathExpr>();
    if (gold && !e.names.empty()) return {e.values.back()};
    // "m + n = 7", asked for m + n: the sum is the name.
    const bool named = !gold && e.names.empty() && e.values.size() >= 2 && is_sum_of_symbols(e.values[0]);
    for (size_t i = named ? 2 : 1; i < e.values.size(); ++i)
      if (!same(e.values[i - 1], e.values[i]) && !(e.about && near(e.values[i - 1], e.values[i]))) return {};
    if (e.about && !named && e.values.size() > 1) return {e.values.front(), e.values.back()};
    return {e.values.back()};
  }

  // Whether the number b is a, which is no number yet, rounded to b's last place: "70/9 = about 7.78", but no "7 = about 8".
  bool near(const MathExpr& a, const MathExpr& b) {
    const MathExpr exact = quantity(a).amount, rounded = quantity(b).amount;
    if (is_literal(exact) || !is_literal(rounded)) return false;
    const std::string& digits = (rounded->kind == Kind::Neg ? rounded->kids[0] : rounded)->text;
    const size_t point = digits.find('.');
    return digits.find('(') == std::string::npos &&
           within(exact, rounded, point == std::string::npos ? 0 : digits.size() - point - 1, true);
  }

  bool equations(const MathExpr& g, const MathEquation& x, const MathExpr& a, const MathEquation& y) {
    if (!x.names.empty() && !y.names.empty() && same_names(x.names[0], y.names[0])) {
      const auto values = said(x, true);
      if (std::any_of(values.begin(), values.end(), [&](const MathExpr& v) { return says(y, false, v); })) return true;
    }
    if (g->kids.size() != 2 || a->kids.size() != 2) return false;
    return proportional(math_difference(g->kids[0], g->kids[1]), math_difference(a->kids[0], a->kids[1]), false);
  }

  static bool same_names(const MathExpr& a, const MathExpr& b) {
    const std::string x = math_name_of(a), y = math_name_of(b);
    return x == y || x.empty() || y.empty();
  }

  bool proportional(const MathExpr& a, const MathExpr& b, bool positive) {
    if (!math_contains(a, Kind::Symbol) || !math_contains(b, Kind::Symbol)) return false;
    Sameness s = proportional_functions(a, b, positive, budget_);
    if (s == Sameness::Unknown) s = proportional_by_balls(a, b, positive, budget_);
    return s == Sameness::Same;
  }

  // a > b or a >= b as a - b and its sign's strictness; not equal as it stands.
  struct Comparison {
    MathExpr difference;
    char op = '>';
  };
  static std::vector<Comparison> comparisons(const MathExpr& e) {
    std::vector<Comparison> out;
    for (size_t i = 0; i + 1 < e->kids.size(); ++i) {
      const char op = e->text[i];
      const bool less = op == '<' || op == 'l';
      out.push_back(
          {less ? math_difference(e->kids[i + 1], e->kids[i]) : math_difference(e->kids[i], e->kids[i + 1]), op == '<'   ? '>'
                                                                                                             : op == 'l' ? 'g'
                                                                                                                         : op});
    }
    return out;
  }

  bool inequalities(const MathExpr& g, const MathExpr& a) {
    if (g->text == "e" && a->text == "e") return same_names(g->kids[0], a->kids[0]) && same(g->kids[1], a->kids[1]);
    if (math_symbols(g) == math_symbols(a)) {
      const auto x = solution_set(g, budget_), y = solution_set(a, budget_);
      if (x && y) return same_set(*x, *y);
    }
    const auto x = comparisons(g), y = comparisons(a);
    const auto holds = [&](const Comparison& p, const Comparison& q) {
      return p.op == q.op && (p.op == '>' || p.op == 'g' || p.op == 'n') &&
             proportional(p.difference, q.difference, p.op != 'n');
    };
    const auto covered = [&](const std::vector<Comparison>& some, const std::vector<Comparison>& others) {
      return std::all_of(some.begin(), some.end(), [&](const Comparison& p) {
        return std::any_of(others.begin(), others.end(), [&](const Comparison& q) { return holds(p, q); });
      });
    };
    return covered(x, y) && covered(y, x);
  }

  int64_t decimals_;
  MathBudget* budget_;
};

}  // namespace

bool same_math(const MathExpr& gold, const MathExpr& answer, int64_t decimals, MathBudget* budget) {
  return Comparer(decimals, budget).same(gold, answer) && !budget->spent();
}

}  // namespace raison
