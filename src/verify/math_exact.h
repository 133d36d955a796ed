// Exact values by FLINT: rational numbers, and rational functions of symbols.
#pragma once
#include <flint/fmpq.h>
#include <flint/fmpz.h>

#include <optional>
#include <string>
#include <vector>

#include "verify/math_expr.h"

namespace raison {

// An fmpq_t that frees itself.
class MathRational {
 public:
  MathRational() { fmpq_init(q_); }
  explicit MathRational(int64_t n) : MathRational() { fmpq_set_si(q_, n, 1); }
  MathRational(const MathRational& other) : MathRational() { fmpq_set(q_, other.q_); }
  MathRational& operator=(const MathRational& other) {
    fmpq_set(q_, other.q_);
    return *this;
  }
  ~MathRational() { fmpq_clear(q_); }
  fmpq* get() { return q_; }
  const fmpq* get() const { return q_; }
  bool zero() const { return fmpq_is_zero(q_); }
  bool integer() const { return fmpz_is_one(fmpq_denref(q_)); }
  // Its value if it is an integer within these.
  std::optional<int64_t> small(int64_t least, int64_t most) const;
  bool operator==(const MathRational& other) const { return fmpq_equal(q_, other.q_); }

 private:
  fmpq_t q_;
};

enum class MathStatus {
  Ok,
  Undefined,  // it divides by zero, or is 0^0
  Other       // not of this kind, or too large to be worked out
};

// The value of a tree made of numbers, + - * / and integer powers, factorials, binomials, absolute values and percent. Degrees and units count
// as 1. Numbers stay below 2^20 bits.
MathStatus exact_rational(const MathExpr& e, MathBudget* budget, MathRational* out);

// The number that digits with a point and a repeating part stand for.
std::optional<MathRational> rational_of_digits(const std::string& digits);

enum class Sameness {
  Same,
  Different,
  Undefined,  // one of them divides by zero
  Unknown
};

// Whether a and b are the same rational function of their symbols. Unknown: one is no rational function, or too large.
Sameness same_rational_function(const MathExpr& a, const MathExpr& b, MathBudget* budget);

// Whether a = c b for a number c that is not 0 and, if `positive`, above 0: the equations a = 0 and b = 0 are then the same. Denominators are cleared.
Sameness proportional_functions(const MathExpr& a, const MathExpr& b, bool positive, MathBudget* budget);

// Frees what FLINT and Arb keep for this thread when the thread ends. Called by everything here and in math_balls.h.
void keep_flint_clean();

}  // namespace raison
