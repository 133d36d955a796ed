#include "base/math.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace raison {
namespace {

template <class To, class From>
To bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

constexpr double kRound = 0x1.8p52;  // adding and subtracting it rounds to the nearest integer, ties to even
constexpr double kLn2Hi = 0x1.62e42fefa39efp-1, kLn2Lo = 0x1.abc9e3b39803fp-56;
constexpr double kLog2e = 0x1.71547652b82fep+0;
constexpr double kPio2[] = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110};

// Horner by FMA, highest coefficient first.
template <int N>
double horner(const double (&c)[N], double x) {
  double p = c[0];
  for (int i = 1; i < N; ++i) p = std::fma(p, x, c[i]);
  return p;
}
}  // namespace

float exp2_f32(float x) {
  x = x > -100.0f ? x : -100.0f;
  const float z = x + 12582912.0f;  // 1.5 * 2^23
  const float r = x - (z - 12582912.0f);
  float p = 0x1.5ec866p-10f;
  p = std::fma(p, r, 0x1.3cbf60p-7f);
  p = std::fma(p, r, 0x1.c6afeep-5f);
  p = std::fma(p, r, 0x1.ebfa4cp-3f);
  p = std::fma(p, r, 0x1.62e430p-1f);
  p = std::fma(p, r, 1.0f);
  return bits<float>(bits<uint32_t>(p) + (bits<uint32_t>(z) << 23));
}

float exp_f32(float x) {
  if (x != x) return x;
  const float c = x > -87.0f ? (x < 88.0f ? x : 88.0f) : -87.0f;
  const float z = std::fma(c, 0x1.715476p+0f, 12582912.0f);
  const float n = z - 12582912.0f;
  float r = std::fma(n, -0x1.62e400p-1f, c);
  r = std::fma(n, -0x1.7f7d1cp-20f, r);
  float p = 0x1.6d110ep-10f;  // 1 + r + r^2 g(r), |r| <= 0.347: g interpolates at Chebyshev's points, error below 2e-8
  p = std::fma(p, r, 0x1.120b72p-7f);
  p = std::fma(p, r, 0x1.55551ap-5f);
  p = std::fma(p, r, 0x1.5554dcp-3f);
  p = std::fma(p, r, 0.5f);
  p = std::fma(p, r, 1.0f);
  p = std::fma(p, r, 1.0f);
  const float y = bits<float>(bits<uint32_t>(p) + (bits<uint32_t>(z) << 23));
  if (x < -87.0f) return 0.0f;
  if (x > 88.0f) return std::numeric_limits<float>::infinity();
  return y;
}

float log_f32(float x) { return static_cast<float>(log_f64(static_cast<double>(x))); }

double exp_f64(double x) {
  if (x != x) return x;
  if (x > 709.0) return std::numeric_limits<double>::infinity();
  if (x < -708.0) return 0.0;
  const double n = (x * kLog2e + kRound) - kRound;
  double r = std::fma(n, -kLn2Hi, x);
  r = std::fma(n, -kLn2Lo, r);
  static const double c[] = {1.0 / 6227020800.0,
                             1.0 / 479001600.0,
                             1.0 / 39916800.0,
                             1.0 / 3628800.0,
                             1.0 / 362880.0,
                             1.0 / 40320.0,
                             1.0 / 5040.0,
                             1.0 / 720.0,
                             1.0 / 120.0,
                             1.0 / 24.0,
                             1.0 / 6.0,
                             0.5,
                             1.0,
                             1.0};
  const double p = horner(c, r);
  return bits<double>(bits<uint64_t>(p) + (static_cast<uint64_t>(static_cast<int64_t>(n)) << 52));
}

double log_f64(double x) {
  if (x != x || x < 0) return std::numeric_limits<double>::quiet_NaN();
  if (x == 0) return -std::numeric_limits<double>::infinity();
  if (x == std::numeric_limits<double>::infinity()) return x;
  int64_t e = 0;
  if (x < 0x1p-1022) {  // subnormal
    x *= 0x1p54;
    e = -54;
  }
  const uint64_t u = bits<uint64_t>(x);
  e += static_cast<int64_t>(u >> 52) - 1023;
  double m = bits<double>((u & 0xFFFFFFFFFFFFF) | 0x3FF0000000000000);  // [1, 2)
  if (m > 0x1.6a09e667f3bcdp+0) {
    m *= 0.5;
    ++e;
  }
  const double f = m - 1.0;
  const double s = f / (2.0 + f);  // ln m = 2 atanh(s), |s| <= 0.1716
  const double z = s * s;
  static const double c[] = {1.0 / 25, 1.0 / 23, 1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15,
                             1.0 / 13, 1.0 / 11, 1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3};
  const double t = horner(c, z) * z;  // atanh(s)/s - 1
  const double n = static_cast<double>(e);
  const double lo = std::fma(2.0 * s, t, n * kLn2Lo);
  return std::fma(n, kLn2Hi, 2.0 * s + lo);
}

void sincos_f64(double x, double* sin_x, double* cos_x) {
  const double n = (x * (1.0 / 0x1.921fb54442d18p+0) + kRound) - kRound;
  double r = std::fma(n, -kPio2[0], x);
  r = std::fma(n, -kPio2[1], r);
  r = std::fma(n, -kPio2[2], r);
  const double z = r * r;
  static const double sc[] = {1.0 / 355687428096000.0, -1.0 / 1307674368000.0, 1.0 / 6227020800.0, -1.0 / 39916800.0,
                              1.0 / 362880.0,          -1.0 / 5040.0,          1.0 / 120.0,        -1.0 / 6.0};
  static const double cc[] = {1.0 / 20922789888000.0,
                              -1.0 / 87178291200.0,
                              1.0 / 479001600.0,
                              -1.0 / 3628800.0,
                              1.0 / 40320.0,
                              -1.0 / 720.0,
                              1.0 / 24.0,
                              -0.5,
                              1.0};
  const double s = std::fma(horner(sc, z) * z, r, r);
  const double c = horner(cc, z);
  const int64_t q = static_cast<int64_t>(n) & 3;
  const double a = (q & 1) ? c : s, b = (q & 1) ? s : c;
  *sin_x = (q & 2) ? -a : a;
  *cos_x = (q == 1 || q == 2) ? -b : b;
}

double pow_f64(double base, double exponent) { return exp_f64(exponent * log_f64(base)); }

}  // namespace raison
