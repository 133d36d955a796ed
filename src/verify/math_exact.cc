#include "verify/math_exact.h"

#include <flint/fmpz_mpoly.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace raison {
namespace {

using Kind = MathKind;

// FLINT ends the program where memory does, so nothing is begun that could grow beyond these.
constexpr int64_t kRationalBits = int64_t{1} << 20;
constexpr int64_t kCoefficientBits = 1 << 14;
constexpr int64_t kTerms = 4000;
constexpr int64_t kDegree = 2000;
constexpr size_t kVariables = 12;
constexpr int64_t kFactorial = 5000;

int64_t bits_of(const MathRational& q) {
  return static_cast<int64_t>(std::max(fmpz_bits(fmpq_numref(q.get())), fmpz_bits(fmpq_denref(q.get()))));
}

class RationalEvaluator {
 public:
  explicit RationalEvaluator(MathBudget* budget) : budget_(budget) {}

  MathStatus value(const MathExpr& e, MathRational* out) {
    if (!budget_->spend(1)) return MathStatus::Other;
    switch (e->kind) {
      case Kind::Number: {
        const auto q = rational_of_digits(e->text);
        if (!q) return MathStatus::Other;
        *out = *q;
        return MathStatus::Ok;
      }
      case Kind::Add:
      case Kind::Mul: return fold(e, out);
      case Kind::Neg: {
        const MathStatus s = value(e->kids[0], out);
        if (s == MathStatus::Ok) fmpq_neg(out->get(), out->get());
        return s;
      }
      case Kind::Inv: return inverse(e->kids[0], out);
      case Kind::Pow: return power(e, out);
      case Kind::Percent: {
        const MathStatus s = value(e->kids[0], out);
        const MathRational hundred(100);
        if (s == MathStatus::Ok) fmpq_div(out->get(), out->get(), hundred.get());
        return s;
      }
      case Kind::Ratio: return e->kids.size() == 2 ? ratio(e, out) : MathStatus::Other;
      case Kind::Degree:
      case Kind::Unit: return value(e->kids[0], out);
      case Kind::Call: return call(e, out);
      default: return MathStatus::Other;
    }
  }

 private:
  bool fits(const MathRational& a, const MathRational& b) {
    const int64_t bits = bits_of(a) + bits_of(b);
    return bits <= kRationalBits && budget_->spend(1 + bits / 256);
  }

  MathStatus fold(const MathExpr& e, MathRational* out) {
    MathRational sum(e->kind == Kind::Add ? 0 : 1);
    for (const MathExpr& kid : e->kids) {
      MathRational v;
      const MathStatus s = value(kid, &v);
      if (s != MathStatus::Ok) return s;
      if (!fits(sum, v)) return MathStatus::Other;
      if (e->kind == Kind::Add) {
        fmpq_add(sum.get(), sum.get(), v.get());
      } else {
        fmpq_mul(sum.get(), sum.get(), v.get());
      }
    }
    *out = sum;
    return MathStatus::Ok;
  }

  MathStatus inverse(const MathExpr& e, MathRational* out) {
    const MathStatus s = value(e, out);
    if (s != MathStatus::Ok) return s;
    if (out->zero()) return MathStatus::Undefined;
    fmpq_inv(out->get(), out->get());
    return MathStatus::Ok;
  }

  MathStatus ratio(const MathExpr& e, MathRational* out) {
    MathRational top;
    MathStatus s = value(e->kids[0], &top);
    if (s == MathStatus::Ok) s = inverse(e->kids[1], out);
    if (s == MathStatus::Ok && !fits(top, *out)) return MathStatus::Other;
    if (s == MathStatus::Ok) fmpq_mul(out->get(), out->get(), top.get());
    return s;
  }

  MathStatus power(const MathExpr& e, MathRational* out) {
    MathRational base, exponent;
    MathStatus s = value(e->kids[0], &base);
    if (s == MathStatus::Ok) s = value(e->kids[1], &exponent);
    if (s != MathStatus::Ok) return s;
    const auto n = exponent.small(-kRationalBits, kRationalBits);
    if (!n) return MathStatus::Other;
    if (base.zero() && *n <= 0) return MathStatus::Undefined;
    const int64_t bits = bits_of(base) * std::abs(*n);
    if (bits > kRationalBits || !budget_->spend(1 + bits / 256)) return MathStatus::Other;
    fmpq_pow_si(out->get(), base.get(), *n);
    return MathStatus::Ok;
  }

  MathStatus call(const MathExpr& e, MathRational* out) {
    if (e->kids.size() > 2 || e->kids.empty()) return MathStatus::Other;
    const std::string& f = e->text;
    if (f != "abs" && f != "floor" && f != "ceil" && f != "fact" && f != "binom") return MathStatus::Other;
    MathRational a, b;
    MathStatus s = value(e->kids[0], &a);
    if (s == MathStatus::Ok && e->kids.size() == 2) s = value(e->kids[1], &b);
    if (s != MathStatus::Ok) return s;
    if (f == "abs") {
      fmpq_abs(out->get(), a.get());
      return MathStatus::Ok;
    }
    if (f == "floor" || f == "ceil") {
      fmpz_t whole;
      fmpz_init(whole);
      (f == "floor" ? fmpz_fdiv_q : fmpz_cdiv_q)(whole, fmpq_numref(a.get()), fmpq_denref(a.get()));
      fmpq_set_fmpz(out->get(), whole);
      fmpz_clear(whole);
      return MathStatus::Ok;
    }
    const auto n = a.small(0, kFactorial), k = b.small(0, kFactorial);
    if (!n || (f == "binom" && (!k || e->kids.size() != 2)) || !budget_->spend(1 + *n / 4)) return MathStatus::Other;
    fmpq_one(out->get());
    if (f == "fact") {
      fmpz_fac_ui(fmpq_numref(out->get()), static_cast<ulong>(*n));
    } else {
      fmpz_bin_uiui(fmpq_numref(out->get()), static_cast<ulong>(*n), static_cast<ulong>(*k));
    }
    return MathStatus::Ok;
  }

  MathBudget* budget_;
};

// Polynomials over the integers in the symbols of one comparison.
class PolyRing {
 public:
  explicit PolyRing(std::vector<std::string> names) : names_(std::move(names)) {
    fmpz_mpoly_ctx_init(ctx_, static_cast<slong>(names_.size()), ORD_LEX);
  }
  ~PolyRing() { fmpz_mpoly_ctx_clear(ctx_); }
  PolyRing(const PolyRing&) = delete;
  PolyRing& operator=(const PolyRing&) = delete;
  const fmpz_mpoly_ctx_struct* ctx() const { return ctx_; }
  slong index(const std::string& name) const { return std::lower_bound(names_.begin(), names_.end(), name) - names_.begin(); }
  size_t size() const { return names_.size(); }

 private:
  std::vector<std::string> names_;  // sorted
  fmpz_mpoly_ctx_t ctx_;
};

class Poly {
 public:
  explicit Poly(const PolyRing& ring) : ring_(ring) { fmpz_mpoly_init(p_, ring.ctx()); }
  ~Poly() { fmpz_mpoly_clear(p_, ring_.ctx()); }
  Poly(const Poly&) = delete;
  Poly& operator=(const Poly&) = delete;
  fmpz_mpoly_struct* get() { return p_; }
  const fmpz_mpoly_struct* get() const { return p_; }
  bool zero() const { return fmpz_mpoly_is_zero(p_, ring_.ctx()); }
  int64_t terms() const { return fmpz_mpoly_length(p_, ring_.ctx()); }
  int64_t bits() const { return std::abs(static_cast<int64_t>(fmpz_mpoly_max_bits(p_))); }
  int64_t degree() const { return zero() ? 0 : fmpz_mpoly_total_degree_si(p_, ring_.ctx()); }
  void swap(Poly& other) { fmpz_mpoly_swap(p_, other.p_, ring_.ctx()); }

 private:
  const PolyRing& ring_;
  fmpz_mpoly_t p_;
};

struct Fraction {
  explicit Fraction(const PolyRing& ring) : num(ring), den(ring) { fmpz_mpoly_one(den.get(), ring.ctx()); }
  void swap(Fraction& other) {
    num.swap(other.num);
    den.swap(other.den);
  }
  Poly num, den;
};

class FunctionEvaluator {
 public:
  FunctionEvaluator(const PolyRing& ring, MathBudget* budget) : ring_(ring), budget_(budget) {}

  // *out = a * b. False: too large.
  bool multiply(const Poly& a, const Poly& b, Poly* out) {
    if (a.terms() * b.terms() > kTerms * 16 || a.degree() + b.degree() > kDegree || a.bits() + b.bits() > kCoefficientBits)
      return false;
    if (!budget_->spend(1 + a.terms() * b.terms() / 4)) return false;
    fmpz_mpoly_mul(out->get(), a.get(), b.get(), ring_.ctx());
    return out->terms() <= kTerms;
  }

  MathStatus value(const MathExpr& e, Fraction* out) {
    if (!budget_->spend(1)) return MathStatus::Other;
    if (!math_contains_symbol(e)) return number(e, out);
    switch (e->kind) {
      case Kind::Symbol: fmpz_mpoly_gen(out->num.get(), ring_.index(e->text), ring_.ctx()); return MathStatus::Ok;
      case Kind::Add:
      case Kind::Mul: return fold(e, out);
      case Kind::Neg: {
        const MathStatus s = value(e->kids[0], out);
        if (s == MathStatus::Ok) fmpz_mpoly_neg(out->num.get(), out->num.get(), ring_.ctx());
        return s;
      }
      case Kind::Inv: {
        const MathStatus s = value(e->kids[0], out);
        if (s == MathStatus::Ok && out->num.zero()) return MathStatus::Undefined;
        if (s == MathStatus::Ok) out->num.swap(out->den);
        return s;
      }
      case Kind::Pow: return power(e, out);
      case Kind::Unit:
      case Kind::Degree: return value(e->kids[0], out);
      default: return MathStatus::Other;
    }
  }

 private:
  static bool math_contains_symbol(const MathExpr& e) { return math_contains(e, Kind::Symbol); }

  MathStatus number(const MathExpr& e, Fraction* out) {
    MathRational q;
    const MathStatus s = exact_rational(e, budget_, &q);
    if (s != MathStatus::Ok) return s;
    if (bits_of(q) > kCoefficientBits) return MathStatus::Other;
    fmpz_mpoly_set_fmpz(out->num.get(), fmpq_numref(q.get()), ring_.ctx());
    fmpz_mpoly_set_fmpz(out->den.get(), fmpq_denref(q.get()), ring_.ctx());
    return MathStatus::Ok;
  }

  MathStatus fold(const MathExpr& e, Fraction* out) {
    Fraction sum(ring_);
    if (e->kind == Kind::Mul) fmpz_mpoly_one(sum.num.get(), ring_.ctx());
    for (const MathExpr& kid : e->kids) {
      Fraction v(ring_);
      const MathStatus s = value(kid, &v);
      if (s != MathStatus::Ok) return s;
      if (!(e->kind == Kind::Add ? add(v, &sum) : multiply_by(v, &sum))) return MathStatus::Other;
    }
    out->swap(sum);
    return MathStatus::Ok;
  }

  bool multiply_by(const Fraction& v, Fraction* out) {
    Poly num(ring_), den(ring_);
    if (!multiply(v.num, out->num, &num) || !multiply(v.den, out->den, &den)) return false;
    out->num.swap(num);
    out->den.swap(den);
    return true;
  }

  bool add(const Fraction& v, Fraction* out) {
    if (fmpz_mpoly_equal(v.den.get(), out->den.get(), ring_.ctx())) {
      fmpz_mpoly_add(out->num.get(), out->num.get(), v.num.get(), ring_.ctx());
      return out->num.terms() <= kTerms;
    }
    Poly a(ring_), b(ring_), den(ring_);
    if (!multiply(out->num, v.den, &a) || !multiply(v.num, out->den, &b) || !multiply(out->den, v.den, &den)) return false;
    fmpz_mpoly_add(out->num.get(), a.get(), b.get(), ring_.ctx());
    out->den.swap(den);
    return out->num.terms() <= kTerms;
  }

  MathStatus power(const MathExpr& e, Fraction* out) {
    MathRational exponent;
    const MathStatus s = exact_rational(e->kids[1], budget_, &exponent);
    if (s != MathStatus::Ok) return s;
    const auto n = exponent.small(-kDegree, kDegree);
    if (!n) return MathStatus::Other;
    Fraction base(ring_);
    const MathStatus b = value(e->kids[0], &base);
    if (b != MathStatus::Ok) return b;
    if (*n <= 0 && base.num.zero()) return MathStatus::Undefined;
    if (*n < 0) base.num.swap(base.den);
    Fraction result(ring_);
    fmpz_mpoly_one(result.num.get(), ring_.ctx());
    for (int64_t left = std::abs(*n); left > 0; left /= 2) {
      if (left % 2 == 1 && !multiply_by(base, &result)) return MathStatus::Other;
      if (left == 1) break;
      Fraction square(ring_);
      if (!multiply(base.num, base.num, &square.num) || !multiply(base.den, base.den, &square.den)) return MathStatus::Other;
      base.swap(square);
    }
    out->swap(result);
    return MathStatus::Ok;
  }

  const PolyRing& ring_;
  MathBudget* budget_;
};

std::vector<std::string> symbols_of_both(const MathExpr& a, const MathExpr& b) { return math_symbols(math_sum({a, b})); }

}  // namespace

void keep_flint_clean() {
  struct Cleaner {
    ~Cleaner() { flint_cleanup(); }
  };
  static thread_local const Cleaner cleaner;
  (void)cleaner;
}

std::optional<int64_t> MathRational::small(int64_t least, int64_t most) const {
  if (!integer() || !fmpz_fits_si(fmpq_numref(q_))) return std::nullopt;
  const int64_t v = fmpz_get_si(fmpq_numref(q_));
  if (v < least || v > most) return std::nullopt;
  return v;
}

std::optional<MathRational> rational_of_digits(const std::string& digits) {
  std::string whole;
  size_t after = 0, repeat = 0;  // digits behind the point, and how many of them repeat
  bool point = false, repeating = false;
  for (const char c : digits) {
    if (c == '.') point = true;
    if (c == '(') repeating = true;
    if (c < '0' || c > '9') continue;
    whole += c;
    if (point) ++after;
    if (repeating) ++repeat;
  }
  if (whole.empty() || whole.size() > MathLimits::kAnswerBytes) return std::nullopt;
  MathRational out;
  fmpz_t num, ten, den;
  fmpz_init(num);
  fmpz_init(ten);
  fmpz_init(den);
  fmpz_set_str(num, whole.c_str(), 10);
  if (repeat > 0) {
    // 0.1(6) = (16 - 1) / (100 - 10)
    const std::string head = whole.substr(0, whole.size() - repeat);
    fmpz_set_str(ten, head.empty() ? "0" : head.c_str(), 10);
    fmpz_sub(num, num, ten);
    fmpz_set_ui(ten, 10);
    fmpz_pow_ui(den, ten, after);
    fmpz_pow_ui(ten, ten, after - repeat);
    fmpz_sub(den, den, ten);
  } else {
    fmpz_set_ui(ten, 10);
    fmpz_pow_ui(den, ten, after);
  }
  fmpq_set_fmpz_frac(out.get(), num, den);
  fmpz_clear(num);
  fmpz_clear(ten);
  fmpz_clear(den);
  return out;
}

MathStatus exact_rational(const MathExpr& e, MathBudget* budget, MathRational* out) {
  keep_flint_clean();
  return RationalEvaluator(budget).value(e, out);
}

Sameness same_rational_function(const MathExpr& a, const MathExpr& b, MathBudget* budget) {
  keep_flint_clean();
  const auto names = symbols_of_both(a, b);
  if (names.empty() || names.size() > kVariables) return Sameness::Unknown;
  const PolyRing ring(names);
  FunctionEvaluator evaluator(ring, budget);
  Fraction x(ring), y(ring);
  for (const auto& [e, f] : {std::pair(&a, &x), std::pair(&b, &y)}) {
    const MathStatus s = evaluator.value(*e, f);
    if (s != MathStatus::Ok) return s == MathStatus::Undefined ? Sameness::Undefined : Sameness::Unknown;
  }
  Poly left(ring), right(ring);
  if (!evaluator.multiply(x.num, y.den, &left) || !evaluator.multiply(y.num, x.den, &right)) return Sameness::Unknown;
  return fmpz_mpoly_equal(left.get(), right.get(), ring.ctx()) ? Sameness::Same : Sameness::Different;
}

Sameness proportional_functions(const MathExpr& a, const MathExpr& b, bool positive, MathBudget* budget) {
  keep_flint_clean();
  const auto names = symbols_of_both(a, b);
  if (names.empty() || names.size() > kVariables) return Sameness::Unknown;
  const PolyRing ring(names);
  FunctionEvaluator evaluator(ring, budget);
  Fraction x(ring), y(ring);
  for (const auto& [e, f] : {std::pair(&a, &x), std::pair(&b, &y)}) {
    const MathStatus s = evaluator.value(*e, f);
    if (s != MathStatus::Ok) return s == MathStatus::Undefined ? Sameness::Undefined : Sameness::Unknown;
  }
  if (x.num.zero() || y.num.zero()) return x.num.zero() && y.num.zero() ? Sameness::Same : Sameness::Different;
  if (positive) {  // the sign of a denominator matters: only the exact quotient is compared
    Poly left(ring), right(ring);
    if (!evaluator.multiply(x.num, y.den, &left) || !evaluator.multiply(y.num, x.den, &right)) return Sameness::Unknown;
    x.num.swap(left);
    y.num.swap(right);
  }
  fmpz_t p, q;
  fmpz_init(p);
  fmpz_init(q);
  fmpz_mpoly_get_term_coeff_fmpz(p, x.num.get(), 0, ring.ctx());
  fmpz_mpoly_get_term_coeff_fmpz(q, y.num.get(), 0, ring.ctx());
  const bool sign = !positive || fmpz_sgn(p) == fmpz_sgn(q);
  fmpz_mpoly_scalar_mul_fmpz(x.num.get(), x.num.get(), q, ring.ctx());
  fmpz_mpoly_scalar_mul_fmpz(y.num.get(), y.num.get(), p, ring.ctx());
  const bool same = sign && fmpz_mpoly_equal(x.num.get(), y.num.get(), ring.ctx());
  fmpz_clear(p);
  fmpz_clear(q);
  return same ? Sameness::Same : Sameness::Different;
}

}  // namespace raison
