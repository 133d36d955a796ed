// Our own elementary functions against long double libm, within the bounds that base/math.h documents.
#include "base/math.h"

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/rng.h"

namespace raison {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr double kInf64 = std::numeric_limits<double>::infinity();

// Error in units of the last place of the exact result as a T (those of normal numbers).
template <class T>
double ulps(T got, long double want) {
  int exponent;
  std::frexp(want, &exponent);
  const int digits = std::numeric_limits<T>::digits;
  const long double ulp = std::ldexp(1.0L, std::max(exponent, std::numeric_limits<T>::min_exponent) - digits);
  return static_cast<double>(std::fabs((static_cast<long double>(got) - want) / ulp));
}

// Even steps over [lo, hi] and random points between them.
template <class F>
void sweep(double lo, double hi, int n, const F& f) {
  Rng rng(1);
  for (int i = 0; i <= n; ++i) {
    f(lo + (hi - lo) * i / n);
    f(lo + (hi - lo) * rng.uniform());
  }
}

TEST(MathTest, Exp2F32) {
  double worst = 0;
  sweep(-100, 0, 400000, [&](double x) {
    const auto f = static_cast<float>(x);
    const long double want = std::exp2(static_cast<long double>(f));
    worst = std::max(worst, static_cast<double>(std::fabs((exp2_f32(f) - want) / want)));
  });
  EXPECT_LT(worst, 2.7e-7);
  EXPECT_EQ(exp2_f32(0), 1.0f);
  EXPECT_EQ(exp2_f32(-0.0f), 1.0f);
  EXPECT_EQ(exp2_f32(-3), 0.125f);
  for (const float x : {-100.0f, -101.0f, -1e30f, -kInf, std::nanf("")}) EXPECT_EQ(exp2_f32(x), 0x1p-100f) << x;
}

TEST(MathTest, ExpF32) {
  double worst = 0;
  sweep(-87, 88, 400000, [&](double x) {
    const auto f = static_cast<float>(x);
    if (f >= -87 && f <= 88) worst = std::max(worst, ulps(exp_f32(f), std::exp(static_cast<long double>(f))));
  });
  EXPECT_LT(worst, 1);
  EXPECT_EQ(exp_f32(0), 1.0f);
  EXPECT_EQ(exp_f32(-0.0f), 1.0f);
  EXPECT_EQ(exp_f32(-87.00001f), 0.0f);
  EXPECT_EQ(exp_f32(-kInf), 0.0f);
  EXPECT_EQ(exp_f32(88.00001f), kInf);
  EXPECT_EQ(exp_f32(kInf), kInf);
  EXPECT_TRUE(std::isnan(exp_f32(std::nanf(""))));
}

TEST(MathTest, LogF32) {
  Rng rng(2);
  for (int i = 0; i < 400000; ++i) {
    // Any positive finite float, denormals included; half of them near 1, where the logarithm is small.
    uint32_t u = static_cast<uint32_t>(rng.below(0x7F800000 - 1)) + 1;
    if (i % 2 == 0) u = 0x3F800000 - 200000 + static_cast<uint32_t>(i);
    float x;
    std::memcpy(&x, &u, 4);
    const long double want = std::log(static_cast<long double>(x));
    if (want != 0) { ASSERT_LT(ulps(log_f32(x), want), 0.5000001) << x; }
  }
  EXPECT_EQ(log_f32(1), 0.0f);
  EXPECT_EQ(log_f32(0), -kInf);
  EXPECT_EQ(log_f32(kInf), kInf);
  EXPECT_TRUE(std::isnan(log_f32(-1)));
  EXPECT_TRUE(std::isnan(log_f32(std::nanf(""))));
}

TEST(MathTest, ExpF64) {
  double worst = 0;
  const auto check = [&](double x) { worst = std::max(worst, ulps(exp_f64(x), std::exp(static_cast<long double>(x)))); };
  sweep(-708, 709, 200000, check);
  sweep(-1, 1, 200000, check);
  EXPECT_LT(worst, 2);
  EXPECT_EQ(exp_f64(0), 1.0);
  EXPECT_EQ(exp_f64(-1e9), 0.0);
  EXPECT_EQ(exp_f64(1e9), kInf64);
  EXPECT_TRUE(std::isnan(exp_f64(std::nan(""))));
}

TEST(MathTest, LogF64) {
  double worst = 0;
  const auto check = [&](double x) {
    const long double want = std::log(static_cast<long double>(x));
    if (want != 0) worst = std::max(worst, ulps(log_f64(x), want));
  };
  sweep(0.5, 2, 200000, check);
  sweep(1e-3, 1e3, 100000, check);
  sweep(0.999999, 1.000001, 100000, check);
  Rng rng(3);
  for (int i = 0; i < 200000; ++i) {
    const uint64_t u = rng.below(0x7FF0000000000000 - 1) + 1;  // any positive finite double
    double x;
    std::memcpy(&x, &u, 8);
    check(x);
  }
  EXPECT_LT(worst, 2);
  EXPECT_EQ(log_f64(1), 0.0);
  EXPECT_EQ(log_f64(0), -kInf64);
  EXPECT_EQ(log_f64(kInf64), kInf64);
  EXPECT_NEAR(log_f64(5e-324), -744.44007192138126, 1e-12);
  EXPECT_TRUE(std::isnan(log_f64(-1)));
}

TEST(MathTest, SincosF64) {
  double worst = 0;
  const auto check = [&](double x) {
    double s, c;
    sincos_f64(x, &s, &c);
    const long double wide = x;
    worst = std::max(worst, static_cast<double>(std::fabs(s - std::sin(wide))));
    worst = std::max(worst, static_cast<double>(std::fabs(c - std::cos(wide))));
  };
  sweep(-10, 10, 200000, check);
  sweep(-0x1p26, 0x1p26, 200000, check);
  for (int i = -2000; i < 2000; ++i) check(i * 1.5707963267948966), check(i * 41943.0 * 0.7853981633974483);
  EXPECT_LT(worst, 1e-15);
  double s, c;
  sincos_f64(0, &s, &c);
  EXPECT_EQ(s, 0.0);
  EXPECT_EQ(c, 1.0);
}

TEST(MathTest, PowF64) {
  double worst = 0;
  Rng rng(4);
  for (int i = 0; i < 200000; ++i) {
    const double base = std::exp2(40 * rng.uniform() - 20), exponent = 4 * rng.uniform() - 2;
    const long double want = std::pow(static_cast<long double>(base), static_cast<long double>(exponent));
    if (want < 1e-30L || want > 1e30L) continue;
    worst = std::max(worst, static_cast<double>(std::fabs((pow_f64(base, exponent) - want) / want)));
  }
  for (int i = 0; i < 128; ++i)  // the angles of rotary embeddings
    for (const double theta : {1e4, 5e5, 1e6, 1e7}) {
      const long double want = std::pow(static_cast<long double>(theta), static_cast<long double>(2.0 * i / 128));
      worst = std::max(worst, static_cast<double>(std::fabs((pow_f64(theta, 2.0 * i / 128) - want) / want)));
    }
  EXPECT_LT(worst, 1e-14);
  EXPECT_EQ(pow_f64(10000, 0), 1.0);
}

}  // namespace
}  // namespace raison
