// Decisions by balls: constants, functions at points, order.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "verify/math_balls.h"

namespace raison {
namespace {

using Kind = MathKind;

constexpr int64_t kPrecisions[] = {128, 1200, 4096};
constexpr slong kAgreement = -1000;  // 2^this, about 1e-301

// E = U / L with algebraic integers U, L: upper bounds of the logarithms (base 2) of all conjugates, and the degree's bound as a product over the
// roots, each counted once. If E is not 0 then |E| >= 2^-((degree - 1) * upper + lower).
struct RootBound {
  double upper = 0, lower = 0;
};

class BoundOf {
 public:
  explicit BoundOf(MathBudget* budget) : budget_(budget) {}
  // How many bits tell E from 0; infinite if it is algebraic but too large to say. None: it is not known to be algebraic.
  std::optional<double> bits(const MathExpr& e) {
    const auto b = bound(e);
    if (!b) return std::nullopt;
    return (degree_ - 1) * b->upper + b->lower + 1;
  }

 private:
  static constexpr double kInfinite = std::numeric_limits<double>::infinity();
  static RootBound times(RootBound a, RootBound b) { return {a.upper + b.upper, a.lower + b.lower}; }

  std::optional<RootBound> bound(const MathExpr& e) {
    if (!budget_->spend(1)) return std::nullopt;
    MathRational q;
    if (exact_rational(e, budget_, &q) == MathStatus::Ok)
      return RootBound{static_cast<double>(fmpz_bits(fmpq_numref(q.get()))),
                       static_cast<double>(fmpz_bits(fmpq_denref(q.get())))};
    switch (e->kind) {
      case Kind::Imaginary: once("i", 2); return RootBound{};
      case Kind::Neg:
      case Kind::Unit: return bound(e->kids[0]);
      case Kind::Inv: {
        auto b = bound(e->kids[0]);
        if (b) std::swap(b->upper, b->lower);
        return b;
      }
      case Kind::Add:
      case Kind::Mul: return fold(e);
      case Kind::Root: return root(e->kids[0], e->kids[1]);
      case Kind::Pow: return power(e);
      default: return std::nullopt;
    }
  }

  std::optional<RootBound> fold(const MathExpr& e) {
    std::optional<RootBound> out;
    for (const MathExpr& kid : e->kids) {
      const auto b = bound(kid);
      if (!b) return std::nullopt;
      if (!out) {
        out = b;
      } else if (e->kind == Kind::Mul) {
        out = times(*out, *b);
      } else {
        out = RootBound{std::max(out->upper + b->lower, b->upper + out->lower) + 1, out->lower + b->lower};
      }
    }
    return out;
  }

  std::optional<RootBound> root(const MathExpr& radicand, const MathExpr& index) {
    MathRational q;
    if (exact_rational(index, budget_, &q) != MathStatus::Ok) return std::nullopt;
    const auto d = q.small(1, 64);
    const auto b = bound(radicand);
    if (!d || !b) return std::nullopt;
    once(math_key(radicand) + "^1/" + std::to_string(*d), static_cast<double>(*d));
    // The d-th root of U/L is that of U L^(d-1), over L: one root of degree d.
    const auto degree = static_cast<double>(*d);
    return RootBound{(b->upper + (degree - 1) * b->lower) / degree, b->lower};
  }

  std::optional<RootBound> power(const MathExpr& e) {
    MathRational q;
    if (exact_rational(e->kids[1], budget_, &q) != MathStatus::Ok) {
      // 10^(10^(10^10)) is an integer, 2^sqrt(2) is none.
      const auto exponent = bound(e->kids[1]);
      return exponent && exponent->upper == kInfinite ? exponent : std::nullopt;
    }
    MathRational top, bottom;
    fmpz_set(fmpq_numref(top.get()), fmpq_numref(q.get()));
    fmpz_set(fmpq_numref(bottom.get()), fmpq_denref(q.get()));
    const auto n = top.small(-4096, 4096), d = bottom.small(1, 64);
    if (!n || !d) return RootBound{kInfinite, kInfinite};
    auto b = *d == 1 ? bound(e->kids[0]) : root(e->kids[0], math_number(std::to_string(*d)));
    if (!b) return std::nullopt;
    if (*n < 0) std::swap(b->upper, b->lower);
    const auto times_n = static_cast<double>(std::abs(*n));
    return RootBound{b->upper * times_n, b->lower * times_n};
  }

  void once(const std::string& key, double degree) {
    if (roots_.insert(key).second) degree_ *= degree;
  }

  MathBudget* budget_;
  double degree_ = 1;
  std::set<std::string> roots_;
};

// Whether z's modulus is surely below 2^exponent.
bool surely_below(const MathBall& z, slong exponent) {
  mag_t m;
  mag_init(m);
  acb_get_mag(m, z.get());
  const bool out = mag_cmp_2exp_si(m, exponent) < 0;
  mag_clear(m);
  return out;
}

// Whether |d| is surely below 2^exponent, and below 2^exponent |a| unless a may be 0.
bool small_beside(const MathBall& d, const MathBall& a, slong exponent) {
  if (!surely_below(d, exponent)) return false;
  if (acb_contains_zero(a.get())) return true;
  mag_t m, n;
  mag_init(m);
  mag_init(n);
  acb_get_mag(m, d.get());
  acb_get_mag_lower(n, a.get());
  mag_mul_2exp_si(n, n, exponent);
  const bool out = mag_cmp(m, n) < 0;
  mag_clear(m);
  mag_clear(n);
  return out;
}

// Values at which symbols are put: fixed by the number of the point and the symbol's place.
constexpr int kPoints = 8;
MathPoint sample_point(const std::vector<std::string>& names, int k) {
  static constexpr int64_t kTop[kPoints] = {7, 13, 29, 3, 41, 11, 5, 17};
  static constexpr int64_t kBottom[kPoints] = {5, 3, 8, 7, 6, 9, 11, 4};
  MathPoint out;
  for (size_t i = 0; i < names.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    int64_t top = kTop[(static_cast<size_t>(k) + 3 * i) % kPoints] + 19 * at;
    const int64_t bottom = kBottom[(static_cast<size_t>(k) + 5 * i) % kPoints] + 2 * (at / kPoints);
    if (k >= 4 && (k + at) % 2 == 0) top = -top;
    MathRational q;
    fmpq_set_si(q.get(), top, static_cast<ulong>(bottom));
    out.emplace(names[i], q);
  }
  return out;
}

struct PointPair {
  MathBall a, b;
};

// Calls `use` with the values at each point where both are defined; prefers points at which both are functions of reals. False: too few.
bool at_points(const MathExpr& a, const MathExpr& b, int64_t bits, MathBudget* budget,
               const std::function<void(const PointPair&)>& use) {
  const auto names = math_symbols(math_sum({a, b}));
  std::vector<PointPair> real, complex;
  for (int k = 0; k < kPoints; ++k) {
    const MathPoint point = sample_point(names, k);
    const BallResult x = ball_value(a, point, bits, budget), y = ball_value(b, point, bits, budget);
    if (budget->spent()) return false;
    if (x.status != MathStatus::Ok || y.status != MathStatus::Ok) continue;
    (x.left_reals || y.left_reals ? complex : real).push_back({x.value, y.value});
  }
  // Two functions that live on different reals agree nowhere we looked: then as complex functions, all points of them.
  const auto& chosen = real.size() >= 2 ? real : complex;
  if (chosen.size() < 2) return false;
  for (const PointPair& p : chosen) use(p);
  return true;
}

}  // namespace

Sameness same_constant(const MathExpr& a, const MathExpr& b, MathBudget* budget) {
  MathRational x, y;
  const MathStatus s = exact_rational(a, budget, &x), t = exact_rational(b, budget, &y);
  if (s == MathStatus::Undefined || t == MathStatus::Undefined) return Sameness::Undefined;
  if (s == MathStatus::Ok && t == MathStatus::Ok) return x == y ? Sameness::Same : Sameness::Different;
  const MathExpr difference = math_difference(a, b);
  std::optional<std::optional<double>> needed;
  for (const int64_t bits : kPrecisions) {
    const BallResult u = ball_value(a, {}, bits, budget), v = ball_value(b, {}, bits, budget);
    if (u.status == MathStatus::Undefined || v.status == MathStatus::Undefined) return Sameness::Undefined;
    if (budget->spent()) return Sameness::Unknown;
    if (u.status != MathStatus::Ok || v.status != MathStatus::Ok) continue;
    MathBall d;
    acb_sub(d.get(), u.value.get(), v.value.get(), bits);
    if (!acb_contains_zero(d.get())) return Sameness::Different;
    if (!needed) needed = BoundOf(budget).bits(difference);
    if (*needed && **needed < 4096 && surely_below(d, -static_cast<slong>(std::ceil(**needed)))) return Sameness::Same;
    // Not algebraic, or of a degree too high for the bound: agreement is all there is. Integers too large to be worked out agree in their leading
    // digits only, which small_beside() does not take for more.
    if ((!*needed || bits == kPrecisions[2]) && small_beside(d, u.value, kAgreement)) return Sameness::Same;
  }
  return Sameness::Unknown;
}

Sameness same_function(const MathExpr& a, const MathExpr& b, MathBudget* budget) {
  for (const int64_t bits : {96, 512}) {
    bool different = false, close = true;
    const bool enough = at_points(a, b, bits, budget, [&](const PointPair& p) {
      MathBall d;
      acb_sub(d.get(), p.a.get(), p.b.get(), bits);
      if (!acb_contains_zero(d.get())) different = true;
      if (!small_beside(d, p.a, -200)) close = false;
    });
    if (!enough) return Sameness::Unknown;
    if (different) return Sameness::Different;
    if (close) return Sameness::Same;
  }
  return Sameness::Unknown;
}

Sameness proportional_by_balls(const MathExpr& a, const MathExpr& b, bool positive, MathBudget* budget) {
  constexpr int64_t kBits = 512;
  std::optional<MathBall> first;
  bool different = false, close = true;
  const bool enough = at_points(a, b, kBits, budget, [&](const PointPair& p) {
    if (acb_contains_zero(p.b.get()) || acb_contains_zero(p.a.get())) {
      if (!(acb_contains_zero(p.b.get()) && acb_contains_zero(p.a.get()))) different = true;
      return;
    }
    MathBall q;
    acb_div(q.get(), p.a.get(), p.b.get(), kBits);
    if (positive && !(q.real() && arb_is_positive(acb_realref(q.get())))) different = true;
    if (!first) {
      first = q;
      return;
    }
    MathBall d;
    acb_sub(d.get(), q.get(), first->get(), kBits);
    if (!acb_contains_zero(d.get())) different = true;
    if (!small_beside(d, q, -200)) close = false;
  });
  if (!enough || !first) return Sameness::Unknown;
  if (different) return Sameness::Different;
  return close ? Sameness::Same : Sameness::Unknown;
}

std::optional<int> order_of_constants(const MathExpr& a, const MathExpr& b, MathBudget* budget) {
  const auto infinite = [](const MathExpr& e) {
    if (e->kind == Kind::Infinity) return 1;
    return e->kind == Kind::Neg && e->kids[0]->kind == Kind::Infinity ? -1 : 0;
  };
  const int x = infinite(a), y = infinite(b);
  if (x != 0 || y != 0) return x < y ? -1 : x > y ? 1 : 0;
  const Sameness same = same_constant(a, b, budget);
  if (same == Sameness::Same) return 0;
  if (same != Sameness::Different) return std::nullopt;
  for (const int64_t bits : kPrecisions) {
    const BallResult u = ball_value(a, {}, bits, budget), v = ball_value(b, {}, bits, budget);
    if (u.status != MathStatus::Ok || v.status != MathStatus::Ok) continue;
    if (!u.value.real() || !v.value.real()) return std::nullopt;
    if (arb_lt(acb_realref(u.value.get()), acb_realref(v.value.get()))) return -1;
    if (arb_gt(acb_realref(u.value.get()), acb_realref(v.value.get()))) return 1;
  }
  return std::nullopt;
}

}  // namespace raison
