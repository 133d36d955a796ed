#include "verify/math_balls.h"

#include <acb_hypgeom.h>

#include <cmath>

namespace raison {
namespace {

using Kind = MathKind;

// Beyond these Arb's exponents or its work could grow without end.
constexpr int64_t kExponentBits = int64_t{1} << 40;

class BallEvaluator {
 public:
  BallEvaluator(const MathPoint& point, int64_t bits, MathBudget* budget) : point_(point), bits_(bits), budget_(budget) {}

  MathStatus value(const MathExpr& e, MathBall* out) {
    if (!budget_->spend(1 + bits_ / 256)) return MathStatus::Other;
    const MathStatus s = node(e, out);
    if (s == MathStatus::Ok && !out->finite()) return MathStatus::Other;
    return s;
  }
  bool left_reals() const { return left_reals_; }

 private:
  MathStatus node(const MathExpr& e, MathBall* out) {
    switch (e->kind) {
      case Kind::Number: {
        const auto q = rational_of_digits(e->text);
        if (!q) return MathStatus::Other;
        acb_set_fmpq(out->get(), q->get(), bits_);
        return MathStatus::Ok;
      }
      case Kind::Symbol: {
        const auto it = point_.find(e->text);
        if (it == point_.end()) return MathStatus::Other;
        acb_set_fmpq(out->get(), it->second.get(), bits_);
        return MathStatus::Ok;
      }
      case Kind::Pi: acb_const_pi(out->get(), bits_); return MathStatus::Ok;
      case Kind::Euler: {
        acb_one(out->get());
        acb_exp(out->get(), out->get(), bits_);
        return MathStatus::Ok;
      }
      case Kind::Imaginary: acb_onei(out->get()); return MathStatus::Ok;
      case Kind::Add:
      case Kind::Mul: return fold(e, out);
      case Kind::Neg:
      case Kind::Percent:
      case Kind::Degree:
      case Kind::Unit: return scaled(e, out);
      case Kind::Inv: return inverse(e->kids[0], out);
      case Kind::Ratio: return ratio(e, out);
      case Kind::Pow: return power(e->kids[0], e->kids[1], out);
      case Kind::Root: return root(e, out);
      case Kind::Call: return call(e, out);
      default: return MathStatus::Other;
    }
  }

  MathStatus fold(const MathExpr& e, MathBall* out) {
    MathBall sum;
    if (e->kind == Kind::Mul) acb_one(sum.get());
    for (const MathExpr& kid : e->kids) {
      MathBall v;
      const MathStatus s = value(kid, &v);
      if (s != MathStatus::Ok) return s;
      (e->kind == Kind::Add ? acb_add : acb_mul)(sum.get(), sum.get(), v.get(), bits_);
    }
    *out = sum;
    return MathStatus::Ok;
  }

  MathStatus scaled(const MathExpr& e, MathBall* out) {
    const MathStatus s = value(e->kids[0], out);
    if (s != MathStatus::Ok) return s;
    if (e->kind == Kind::Neg) acb_neg(out->get(), out->get());
    if (e->kind == Kind::Percent) acb_div_ui(out->get(), out->get(), 100, bits_);
    if ((e->kind == Kind::Degree || (e->kind == Kind::Unit && e->text == "deg")) && angles_ > 0) {
      MathBall pi;
      acb_const_pi(pi.get(), bits_);
      acb_mul(out->get(), out->get(), pi.get(), bits_);
      acb_div_ui(out->get(), out->get(), 180, bits_);
    }
    return s;
  }

  MathStatus inverse(const MathExpr& e, MathBall* out) {
    const MathStatus s = value(e, out);
    if (s != MathStatus::Ok) return s;
    if (acb_is_zero(out->get())) return MathStatus::Undefined;
    acb_inv(out->get(), out->get(), bits_);
    return MathStatus::Ok;
  }

  MathStatus ratio(const MathExpr& e, MathBall* out) {
    if (e->kids.size() != 2) return MathStatus::Other;
    MathBall top;
    MathStatus s = value(e->kids[0], &top);
    if (s == MathStatus::Ok) s = inverse(e->kids[1], out);
    if (s == MathStatus::Ok) acb_mul(out->get(), out->get(), top.get(), bits_);
    return s;
  }

  // The logarithm of |z|'s size in bits, roughly; far too large ones are refused before they are raised or exponentiated.
  static bool small_exponent(const MathBall& z) {
    return z.finite() && acb_rel_accuracy_bits(z.get()) > 0 ? below(z, 40) : below(z, 8);
  }
  static bool below(const MathBall& z, slong bits) {
    mag_t m;
    mag_init(m);
    acb_get_mag(m, z.get());
    const bool out = mag_cmp_2exp_si(m, bits) < 0;
    mag_clear(m);
    return out;
  }

  bool negative_real(const MathBall& z) {
    if (arb_is_zero(acb_imagref(z.get()))) return arb_is_negative(acb_realref(z.get()));
    return z.real() && arb_is_negative(acb_realref(z.get()));
  }

  MathStatus power(const MathExpr& base, const MathExpr& exponent, MathBall* out) {
    MathRational q;
    MathBall b;
    const MathStatus s = value(base, &b);
    if (s != MathStatus::Ok) return s;
    const MathStatus exact = math_contains(exponent, Kind::Symbol) ? MathStatus::Other : exact_rational(exponent, budget_, &q);
    if (exact == MathStatus::Undefined) return exact;
    if (exact == MathStatus::Ok) return rational_power(b, q, out);
    if (base->kind == Kind::Euler) {
      MathBall x;
      const MathStatus t = value(exponent, &x);
      if (t != MathStatus::Ok || !small_exponent(x)) return t == MathStatus::Undefined ? t : MathStatus::Other;
      acb_exp(out->get(), x.get(), bits_);
      return MathStatus::Ok;
    }
    MathBall x;
    const MathStatus t = value(exponent, &x);
    if (t != MathStatus::Ok) return t;
    if (acb_contains_zero(b.get())) return MathStatus::Other;
    if (negative_real(b)) left_reals_ = true;
    acb_log(out->get(), b.get(), bits_);
    acb_mul(out->get(), out->get(), x.get(), bits_);
    if (!small_exponent(*out)) return MathStatus::Other;
    acb_exp(out->get(), out->get(), bits_);
    return MathStatus::Ok;
  }

  MathStatus rational_power(const MathBall& base, const MathRational& q, MathBall* out) {
    if (acb_is_zero(base.get())) {
      if (fmpq_sgn(q.get()) <= 0) return MathStatus::Undefined;
      acb_zero(out->get());
      return MathStatus::Ok;
    }
    MathRational top;
    fmpz_set(fmpq_numref(top.get()), fmpq_numref(q.get()));
    const auto n = top.small(-kExponentBits, kExponentBits);
    MathRational bottom;
    fmpz_set(fmpq_numref(bottom.get()), fmpq_denref(q.get()));
    const auto d = bottom.small(1, 1 << 16);
    if (!n || !d) return MathStatus::Other;
    MathBall b = base;
    if (*d > 1) take_root(&b, *d);
    // Too large an exponent of too large a base: the result's own exponent must stay a small integer.
    if (!below(b, int64_t{1} << 20) || (acb_contains_zero(b.get()) && *n < 0)) return MathStatus::Other;
    fmpz_t e;
    fmpz_init_set_si(e, *n);
    acb_pow_fmpz(out->get(), b.get(), e, bits_);
    fmpz_clear(e);
    return MathStatus::Ok;
  }

  // *z = its d-th root; of a negative real number and odd d the real one.
  void take_root(MathBall* z, int64_t d) {
    if (negative_real(*z)) {
      if (d % 2 == 1) {
        arb_zero(acb_imagref(z->get()));
        acb_neg(z->get(), z->get());
        acb_root_ui(z->get(), z->get(), static_cast<ulong>(d), bits_);
        acb_neg(z->get(), z->get());
        return;
      }
      left_reals_ = true;
      // A ball around a negative number lies across the cut: the branch above it.
      if (arb_contains_zero(acb_imagref(z->get()))) arb_zero(acb_imagref(z->get()));
    }
    acb_root_ui(z->get(), z->get(), static_cast<ulong>(d), bits_);
  }

  MathStatus root(const MathExpr& e, MathBall* out) {
    MathRational index;
    const MathStatus s =
        math_contains(e->kids[1], Kind::Symbol) ? MathStatus::Other : exact_rational(e->kids[1], budget_, &index);
    if (s == MathStatus::Ok && index.zero()) return MathStatus::Undefined;
    const auto d = s == MathStatus::Ok ? index.small(1, 1 << 16) : std::nullopt;
    if (!d) return power(e->kids[0], math_node(Kind::Inv, {e->kids[1]}), out);
    const MathStatus t = value(e->kids[0], out);
    if (t == MathStatus::Ok) take_root(out, *d);
    return t;
  }

  MathStatus call(const MathExpr& e, MathBall* out) {
    const std::string& f = e->text;
    const bool angle = f == "sin" || f == "cos" || f == "tan" || f == "cot" || f == "sec" || f == "csc";
    if (angle) ++angles_;
    std::vector<MathBall> args(e->kids.size());
    MathStatus s = MathStatus::Ok;
    for (size_t i = 0; i < args.size() && s == MathStatus::Ok; ++i) s = value(e->kids[i], &args[i]);
    if (angle) --angles_;
    if (s != MathStatus::Ok) return s;
    if (args.empty()) return MathStatus::Other;
    MathBall& a = args[0];
    if (f == "fact" || f == "binom") return gamma_call(e, args, out);
    if (f == "abs") {
      arb_t r;
      arb_init(r);
      acb_abs(r, a.get(), bits_);
      acb_set_arb(out->get(), r);
      arb_clear(r);
      return MathStatus::Ok;
    }
    if (f == "ln" || f == "log") return logarithm(e, args, out);
    if (f == "max" || f == "min") return extreme(f == "max", args, out);
    if (f == "floor" || f == "ceil") {
      if (!a.real()) return MathStatus::Other;
      acb_zero(out->get());
      (f == "floor" ? arb_floor : arb_ceil)(acb_realref(out->get()), acb_realref(a.get()), bits_);
      return MathStatus::Ok;
    }
    if (!small_exponent(a)) return MathStatus::Other;
    if (angle) return circular(f, a, out);
    if (f == "mod" || f == "gcd" || f == "lcm" || f == "det" || f == "arg") return MathStatus::Other;
    return other_function(f, args, out);
  }

  MathStatus circular(const std::string& f, const MathBall& a, MathBall* out) {
    MathBall s, c;
    acb_sin_cos(s.get(), c.get(), a.get(), bits_);
    const MathBall& below_line = f == "tan" || f == "sec" ? c : s;
    if ((f != "sin" && f != "cos") && acb_is_zero(below_line.get())) return MathStatus::Undefined;
    if (f == "sin") *out = s;
    if (f == "cos") *out = c;
    if (f == "tan") acb_div(out->get(), s.get(), c.get(), bits_);
    if (f == "cot") acb_div(out->get(), c.get(), s.get(), bits_);
    if (f == "sec") acb_inv(out->get(), c.get(), bits_);
    if (f == "csc") acb_inv(out->get(), s.get(), bits_);
    return MathStatus::Ok;
  }

  MathStatus logarithm(const MathExpr& e, const std::vector<MathBall>& args, MathBall* out) {
    std::vector<MathBall> logs(args.size());
    for (size_t i = 0; i < args.size(); ++i) {
      if (acb_is_zero(args[i].get())) return MathStatus::Undefined;
      if (acb_contains_zero(args[i].get())) return MathStatus::Other;
      if (negative_real(args[i])) left_reals_ = true;
      acb_log(logs[i].get(), args[i].get(), bits_);
    }
    *out = logs[0];
    if (e->text == "log" && logs.size() == 2) {
      if (acb_is_zero(logs[1].get())) return MathStatus::Undefined;
      acb_div(out->get(), out->get(), logs[1].get(), bits_);
    }
    return MathStatus::Ok;
  }

  MathStatus extreme(bool most, const std::vector<MathBall>& args, MathBall* out) {
    *out = args[0];
    for (const MathBall& a : args) {
      if (!a.real()) return MathStatus::Other;
      (most ? arb_max : arb_min)(acb_realref(out->get()), acb_realref(out->get()), acb_realref(a.get()), bits_);
    }
    return MathStatus::Ok;
  }

  // n! and binomials as gamma functions: what they are for symbols too.
  MathStatus gamma_call(const MathExpr& e, const std::vector<MathBall>& args, MathBall* out) {
    MathRational q;
    if (!math_contains(e, Kind::Symbol) && exact_rational(e, budget_, &q) == MathStatus::Ok) {
      acb_set_fmpq(out->get(), q.get(), bits_);
      return MathStatus::Ok;
    }
    for (const MathBall& a : args)
      if (!below(a, 32)) return MathStatus::Other;
    if (!budget_->spend(bits_)) return MathStatus::Other;
    MathBall n;
    acb_add_ui(n.get(), args[0].get(), 1, bits_);
    acb_gamma(out->get(), n.get(), bits_);
    if (e->text == "fact") return MathStatus::Ok;
    if (args.size() != 2) return MathStatus::Other;
    MathBall k, rest;
    acb_add_ui(k.get(), args[1].get(), 1, bits_);
    acb_sub(rest.get(), n.get(), args[1].get(), bits_);
    acb_rgamma(k.get(), k.get(), bits_);
    acb_rgamma(rest.get(), rest.get(), bits_);
    acb_mul(out->get(), out->get(), k.get(), bits_);
    acb_mul(out->get(), out->get(), rest.get(), bits_);
    return MathStatus::Ok;
  }

  MathStatus other_function(const std::string& f, const std::vector<MathBall>& args, MathBall* out) {
    const MathBall& a = args[0];
    using Function = void (*)(acb_t, const acb_t, slong);
    struct Known {
      const char* name;
      Function call;
    };
    static constexpr Known kKnown[] = {{"exp", acb_exp},   {"arcsin", acb_asin}, {"arccos", acb_acos}, {"arctan", acb_atan},
                                       {"sinh", acb_sinh}, {"cosh", acb_cosh},   {"tanh", acb_tanh}};
    for (const Known& k : kKnown)
      if (f == k.name) {
        k.call(out->get(), a.get(), bits_);
        if (a.real() && !out->real()) left_reals_ = true;
        return MathStatus::Ok;
      }
    if (f == "arccot" || f == "arcsec" || f == "arccsc") {
      if (acb_contains_zero(a.get())) return MathStatus::Other;
      acb_inv(out->get(), a.get(), bits_);
      (f == "arccot" ? acb_atan : f == "arcsec" ? acb_acos : acb_asin)(out->get(), out->get(), bits_);
      return MathStatus::Ok;
    }
    return nobodys_function(f, args, out);
  }

  // f(x, y) := cos(h + sum of c_k z_k + z_k^2 / c_k) with h, c_k of the name: no identity that holds for it is one of few symbols by chance.
  MathStatus nobodys_function(const std::string& f, const std::vector<MathBall>& args, MathBall* out) {
    uint64_t hash = 1469598103934665603u;  // FNV-1a
    for (const char c : f) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
    MathBall sum;
    acb_set_ui(sum.get(), hash % 1009 + 3);
    for (size_t i = 0; i < args.size(); ++i) {
      const ulong c = (hash >> 16) % 97 + 2 + 5 * i;
      MathBall t;
      acb_mul(t.get(), args[i].get(), args[i].get(), bits_);
      acb_div_ui(t.get(), t.get(), c, bits_);
      acb_add(sum.get(), sum.get(), t.get(), bits_);
      acb_mul_ui(t.get(), args[i].get(), c, bits_);
      acb_add(sum.get(), sum.get(), t.get(), bits_);
    }
    if (!small_exponent(sum)) return MathStatus::Other;
    acb_cos(out->get(), sum.get(), bits_);
    return MathStatus::Ok;
  }

  const MathPoint& point_;
  int64_t bits_;
  MathBudget* budget_;
  int angles_ = 0;  // within a circular function a degree is pi / 180
  bool left_reals_ = false;
};

}  // namespace

BallResult ball_value(const MathExpr& e, const MathPoint& point, int64_t bits, MathBudget* budget) {
  keep_flint_clean();
  BallResult out;
  BallEvaluator evaluator(point, bits, budget);
  out.status = evaluator.value(e, &out.value);
  out.left_reals = evaluator.left_reals();
  return out;
}

}  // namespace raison
