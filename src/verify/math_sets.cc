#include "verify/math_sets.h"

#include <algorithm>

#include "verify/math_balls.h"
#include "verify/math_names.h"

namespace raison {
namespace {

using Kind = MathKind;

MathExpr infinity(bool plus) {
  const MathExpr oo = math_leaf(Kind::Infinity);
  return plus ? oo : math_node(Kind::Neg, {oo});
}

bool is_infinite(const MathExpr& e) {
  return e->kind == Kind::Infinity || (e->kind == Kind::Neg && e->kids[0]->kind == Kind::Infinity);
}

RealPiece whole_line() { return {infinity(false), infinity(true), false, false}; }

// Works on pieces whose ends are compared by value; `lost` once two of them can't be.
class SetWork {
 public:
  explicit SetWork(MathBudget* budget) : budget_(budget) {}
  bool lost() const { return lost_; }

  int order(const MathExpr& a, const MathExpr& b) {
    const auto o = order_of_constants(a, b, budget_);
    if (!o) lost_ = true;
    return o.value_or(0);
  }

  bool empty(const RealPiece& p) {
    const int o = order(p.lo, p.hi);
    return o > 0 || (o == 0 && !(p.lo_closed && p.hi_closed));
  }

  // Sorted, what touches or overlaps joined.
  RealSet joined(RealSet pieces) {
    RealSet out;
    for (RealPiece& p : pieces) {
      p.lo_closed = p.lo_closed && !is_infinite(p.lo);
      p.hi_closed = p.hi_closed && !is_infinite(p.hi);
      size_t at = 0;
      while (at < out.size() && !lost_ && order(out[at].lo, p.lo) < 0) ++at;
      if (!lost_ && !empty(p)) out.insert(out.begin() + static_cast<std::ptrdiff_t>(at), p);
    }
    RealSet merged;
    for (const RealPiece& p : out) {
      if (lost_) break;
      if (!merged.empty() && touches(merged.back(), p)) {
        absorb(&merged.back(), p);
      } else {
        merged.push_back(p);
      }
    }
    return merged;
  }

  RealPiece common(const RealPiece& a, const RealPiece& b) {
    RealPiece out = a;
    const int lo = order(a.lo, b.lo), hi = order(a.hi, b.hi);
    if (lo < 0) out.lo = b.lo, out.lo_closed = b.lo_closed;
    if (lo == 0) out.lo_closed = a.lo_closed && b.lo_closed;
    if (hi > 0) out.hi = b.hi, out.hi_closed = b.hi_closed;
    if (hi == 0) out.hi_closed = a.hi_closed && b.hi_closed;
    return out;
  }

  RealSet intersection(const RealSet& a, const RealSet& b) {
    RealSet out;
    for (const RealPiece& p : a)
      for (const RealPiece& q : b)
        if (!lost_) out.push_back(common(p, q));
    return joined(std::move(out));
  }

  RealSet complement(const RealSet& a) {
    RealSet out{whole_line()};
    for (const RealPiece& p : a) {
      const RealSet sides{{infinity(false), p.lo, false, !p.lo_closed}, {p.hi, infinity(true), !p.hi_closed, false}};
      out = intersection(out, sides);
    }
    return out;
  }

 private:
  bool touches(const RealPiece& a, const RealPiece& b) {
    const int o = order(b.lo, a.hi);
    return o < 0 || (o == 0 && (b.lo_closed || a.hi_closed));
  }
  void absorb(RealPiece* a, const RealPiece& b) {
    if (order(a->lo, b.lo) == 0) a->lo_closed = a->lo_closed || b.lo_closed;
    const int o = order(a->hi, b.hi);
    if (o < 0) a->hi = b.hi, a->hi_closed = b.hi_closed;
    if (o == 0) a->hi_closed = a->hi_closed || b.hi_closed;
  }

  MathBudget* budget_;
  bool lost_ = false;
};

bool constant(const MathExpr& e) { return math_symbols(e).empty() && !math_contains(e, Kind::Text); }

std::optional<RealSet> interval(const MathExpr& e) {
  if (e->kids.size() != 2 || e->text.size() != 2 || e->text[0] == '<') return std::nullopt;
  if (!constant(e->kids[0]) || !constant(e->kids[1])) return std::nullopt;
  return RealSet{{e->kids[0], e->kids[1], e->text[0] == '[', e->text[1] == ']'}};
}

std::optional<RealSet> set_of(const MathExpr& e, SetWork* work) {
  switch (e->kind) {
    case Kind::Tuple: {
      auto out = interval(e);
      if (!out || work->order((*out)[0].lo, (*out)[0].hi) > 0) return std::nullopt;  // (3, 1) is no interval
      return work->joined(std::move(*out));
    }
    case Kind::Named: return e->text == "R" ? std::optional<RealSet>({whole_line()}) : std::nullopt;
    case Kind::Set: {
      RealSet out;
      for (const MathExpr& kid : e->kids) {
        if (!constant(kid) || is_infinite(kid)) return std::nullopt;
        out.push_back({kid, kid, true, true});
      }
      return work->joined(std::move(out));
    }
    case Kind::Union:
    case Kind::Intersect:
    case Kind::Without: break;
    default: return std::nullopt;
  }
  auto out = set_of(e->kids[0], work);
  for (size_t i = 1; out && i < e->kids.size() && !work->lost(); ++i) {
    const auto more = set_of(e->kids[i], work);
    if (!more) return std::nullopt;
    if (e->kind == Kind::Union) {
      out->insert(out->end(), more->begin(), more->end());
      out = work->joined(std::move(*out));
    } else {
      out = work->intersection(*out, e->kind == Kind::Without ? work->complement(*more) : *more);
    }
  }
  return out;
}

// {x : x op c}
std::optional<RealSet> half_line(char op, const MathExpr& c) {
  switch (op) {
    case '<': return RealSet{{infinity(false), c, false, false}};
    case 'l': return RealSet{{infinity(false), c, false, true}};
    case '>': return RealSet{{c, infinity(true), false, false}};
    case 'g': return RealSet{{c, infinity(true), true, false}};
    case '=': return RealSet{{c, c, true, true}};
    case 'n': return RealSet{{infinity(false), c, false, false}, {c, infinity(true), false, false}};
    default: return std::nullopt;
  }
}

char turned(char op) { return op == '<' ? '>' : op == '>' ? '<' : op == 'l' ? 'g' : op == 'g' ? 'l' : op; }

// What |x| lies in, as what x lies in.
RealSet mirrored(const RealSet& of_absolute, SetWork* work) {
  const MathExpr zero = math_number("0");
  RealSet out = work->intersection(of_absolute, {{zero, infinity(true), true, false}});
  const RealSet right = out;
  for (const RealPiece& p : right) {
    const auto negated = [](const MathExpr& e) { return math_node(Kind::Neg, {e}); };
    out.push_back({p.hi->kind == Kind::Infinity ? infinity(false) : negated(p.hi), negated(p.lo), p.hi_closed, p.lo_closed});
  }
  return work->joined(std::move(out));
}

}  // namespace

std::optional<RealSet> real_set(const MathExpr& e, MathBudget* budget) {
  SetWork work(budget);
  auto out = set_of(e, &work);
  if (work.lost()) return std::nullopt;
  return out;
}

std::optional<RealSet> solution_set(const MathExpr& relation, MathBudget* budget) {
  if (relation->kind != Kind::Relation) return std::nullopt;
  SetWork work(budget);
  const auto& kids = relation->kids;
  if (relation->text == "e") {
    if (!is_math_name(kids[0])) return std::nullopt;
    auto out = set_of(kids[1], &work);
    return work.lost() ? std::nullopt : out;
  }
  // The one side that is no number; every other stands beside it.
  size_t name = kids.size();
  for (size_t i = 0; i < kids.size(); ++i) {
    if (constant(kids[i])) continue;
    if (name != kids.size()) return std::nullopt;
    name = i;
  }
  if (name == kids.size() || !is_math_name(kids[name])) return std::nullopt;
  RealSet out{whole_line()};
  for (size_t i = 0; i + 1 < kids.size(); ++i) {
    if (i != name && i + 1 != name) return std::nullopt;
    const char op = i == name ? relation->text[i] : turned(relation->text[i]);
    const auto half = half_line(op, i == name ? kids[i + 1] : kids[i]);
    if (!half) return std::nullopt;
    out = work.intersection(out, work.joined(*half));
  }
  if (kids[name]->kind == Kind::Call && kids[name]->text == "abs" && kids[name]->kids[0]->kind == Kind::Symbol &&
      kids[name]->kids[0]->text.size() == 1 && kids[name]->kids[0]->text[0] >= 'a')
    out = mirrored(out, &work);
  if (work.lost()) return std::nullopt;
  return out;
}

std::optional<RealSet> solution_set_of_list(const MathExpr& list, MathBudget* budget) {
  SetWork work(budget);
  RealSet all{whole_line()}, any;
  bool apart = true;
  for (const MathExpr& kid : list->kids) {
    const auto s = solution_set(kid, budget);
    if (!s || math_symbols(kid) != math_symbols(list->kids[0])) return std::nullopt;
    apart = apart && work.intersection(any, *s).empty();
    all = work.intersection(all, *s);
    any.insert(any.end(), s->begin(), s->end());
  }
  RealSet out = apart ? work.joined(std::move(any)) : std::move(all);
  if (work.lost()) return std::nullopt;
  return out;
}

bool same_real_set(const RealSet& a, const RealSet& b, const std::function<bool(const MathExpr&, const MathExpr&)>& same_end) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].lo_closed != b[i].lo_closed || a[i].hi_closed != b[i].hi_closed) return false;
    if (!same_end(a[i].lo, b[i].lo) || !same_end(a[i].hi, b[i].hi)) return false;
  }
  return true;
}

}  // namespace raison
