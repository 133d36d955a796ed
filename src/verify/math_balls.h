// Values in balls, by Arb: every number comes with a bound of its error, so that disjoint balls prove two numbers different.
#pragma once
#include <acb.h>

#include <map>
#include <optional>
#include <string>

#include "verify/math_exact.h"
#include "verify/math_expr.h"

namespace raison {

// An acb_t that frees itself.
class MathBall {
 public:
  MathBall() { acb_init(z_); }
  MathBall(const MathBall& other) : MathBall() { acb_set(z_, other.z_); }
  MathBall& operator=(const MathBall& other) {
    acb_set(z_, other.z_);
    return *this;
  }
  ~MathBall() { acb_clear(z_); }
  acb_ptr get() { return z_; }
  acb_srcptr get() const { return z_; }
  bool finite() const { return acb_is_finite(z_); }
  bool real() const { return arb_contains_zero(acb_imagref(z_)); }

 private:
  acb_t z_;
};

// Values of the symbols; empty for constants.
using MathPoint = std::map<std::string, MathRational>;

struct BallResult {
  MathStatus status = MathStatus::Other;
  MathBall value;
  bool left_reals =
      false;  // a root, a power or a logarithm of a negative number stood in it: as a function of reals it has no value here
};

// The value at `point` with about `bits` bits. Powers, logarithms and roots take their principal branch, but an odd root of a negative
// real number is the real one. A function that nobody knows (f(x)) takes a value that depends on its name and arguments alone.
BallResult ball_value(const MathExpr& e, const MathPoint& point, int64_t bits, MathBudget* budget);

// Whether two constants are the same number. Different is proved. Same is proved for rationals and for what is made of them by + - * /,
// roots, fractional powers and i (by a bound on how near to 0 such a number can be without being 0: Burnikel, Funke, Mehlhorn,
// Schirra, Schmitt, "A separation bound for real algebraic expressions", ESA 2001, which bounds all conjugates and so holds for
// complex ones too), if that bound asks for at most 4096 bits; for the others it means that they agree to 1000 bits.
Sameness same_constant(const MathExpr& a, const MathExpr& b, MathBudget* budget);

// Whether two functions of symbols are the same where both have real values (or, if nowhere, as complex ones): compared by balls at fixed
// rational points, negative ones among them. Different is proved; Same means agreement to 200 bits at every point.
Sameness same_function(const MathExpr& a, const MathExpr& b, MathBudget* budget);

// Whether a = c b with a number c that is not 0 and, if `positive`, above 0, at the same points.
Sameness proportional_by_balls(const MathExpr& a, const MathExpr& b, bool positive, MathBudget* budget);

// -1, 0, 1 as a < b, a = b, a > b, for real constants and the infinities. None: not to be told.
std::optional<int> order_of_constants(const MathExpr& a, const MathExpr& b, MathBudget* budget);

}  // namespace raison
