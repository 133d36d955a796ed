// YaRN's frequencies and factors against the formulas of the paper and of the reference implementations, written apart in long
// double and with libm.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "nn/rope_table.h"

namespace raison {
namespace {

struct YarnCase {
  std::string name;
  int rot;
  double theta, factor, original, fast, slow;
  bool truncate;
  double magnitude;
};
std::vector<YarnCase> yarn_cases() {
  return {{"R1", 64, 10000, 40, 4096, 32, 1, true, 1},
          {"Kimi-K2", 64, 50000, 32, 4096, 1, 1, true, 1},
          {"R1-0528-Qwen3", 128, 1e6, 4, 32768, 32, 1, true, 0.1 * std::log(4.0) + 1},
          {"untruncated", 64, 150000, 32, 4096, 32, 1, false, 1.3466},
          {"equal ends", 64, 50000, 32, 4096, 2, 2, false, 1},
          {"beyond both ends", 16, 10, 8, 64, 1000, 1e-3, true, 1},
          {"factor 1", 32, 10000, 1, 2048, 32, 1, true, 1},
          {"tiny", 2, 10000, 40, 1024, 32, 1, true, 1.1}};
}

RopeConfig config_of(const YarnCase& y) {
  RopeConfig c;
  c.rot = y.rot;
  c.theta = y.theta;
  c.scaling = RopeConfig::Scaling::Yarn;
  c.factor = y.factor;
  c.original_context = y.original;
  c.beta_fast = y.fast;
  c.beta_slow = y.slow;
  c.truncate = y.truncate;
  c.magnitude = y.magnitude;
  return c;
}

// "NTK-by-parts": section 3.2 of the paper with the ramp over dimensions that its authors' code has.
std::vector<long double> reference_frequencies(const YarnCase& y) {
  const auto dimension = [&](long double rotations) {
    return y.rot * logl(y.original / (rotations * 2 * M_PIl)) / (2 * logl(y.theta));
  };
  long double low = dimension(y.fast), high = dimension(y.slow);
  if (y.truncate) {
    low = floorl(low);
    high = ceill(high);
  }
  low = fmaxl(low, 0);
  high = fminl(high, y.rot - 1);
  if (low == high) high += 0.001L;
  std::vector<long double> out;
  for (int i = 0; i < y.rot / 2; ++i) {
    const long double ramp = fminl(fmaxl((i - low) / (high - low), 0), 1);
    const long double extrapolated = 1 / powl(y.theta, 2.0L * i / y.rot), interpolated = extrapolated / y.factor;
    out.push_back(interpolated * ramp + extrapolated * (1 - ramp));
  }
  return out;
}

TEST(Yarn, FrequenciesAreThoseOfTheReference) {
  for (const YarnCase& y : yarn_cases()) {
    const auto got = rope_inverse_frequencies(config_of(y));
    const auto want = reference_frequencies(y);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i] / static_cast<double>(want[i]), 1.0, 1e-13) << y.name << " dimension " << i;
  }
}

// R1's: fast dimensions are kept to the last digit, slow ones divided, and some lie between.
TEST(Yarn, KeepsFastTurnsAndStretchesSlowOnes) {
  RopeConfig c = config_of(yarn_cases()[0]);
  const auto scaled = rope_inverse_frequencies(c);
  c.scaling = RopeConfig::Scaling::None;
  const auto plain = rope_inverse_frequencies(c);
  int kept = 0, stretched = 0, between = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double turns = 4096 * plain[i] / (2 * M_PI);
    if (scaled[i] == plain[i]) {
      EXPECT_GT(turns, 16) << i;
      ++kept;
    } else if (std::fabs(scaled[i] * 40 / plain[i] - 1) < 1e-13) {
      EXPECT_LT(turns, 2) << i;
      ++stretched;
    } else {
      EXPECT_TRUE(scaled[i] < plain[i] && scaled[i] > plain[i] / 40) << i;
      ++between;
    }
  }
  EXPECT_GT(kept, 5);
  EXPECT_GT(stretched, 5);
  EXPECT_GT(between, 5);
}

TEST(Yarn, TheTemperatureIsTheReferences) {
  EXPECT_EQ(yarn_mscale(1, 1), 1.0);
  EXPECT_EQ(yarn_mscale(0.5, 7), 1.0);
  for (const double factor : {1.5, 4.0, 32.0, 40.0})
    for (const double mscale : {1.0, 0.707, 2.0})
      EXPECT_NEAR(yarn_mscale(factor, mscale), static_cast<double>(0.1L * mscale * logl(factor) + 1), 1e-14);
}

TEST(Yarn, AnglesFarOutAreExact) {
  for (const YarnCase& y : yarn_cases()) {
    RopeTable table(config_of(y));
    const auto frequencies = reference_frequencies(y);
    const std::vector<int32_t> positions = {0, 1, 4095, 4096, 31234, 131071};
    for (const int64_t offset : {0, 160000}) {
      const RopeRows rows = table.rows(positions, offset);
      const size_t half = frequencies.size();
      for (size_t r = 0; r < positions.size(); ++r)
        for (size_t i = 0; i < half; ++i) {
          const long double angle = static_cast<long double>(positions[r] + offset) * frequencies[i];
          ASSERT_NEAR((*rows.cos)[r * half + i], static_cast<double>(cosl(angle) * y.magnitude), 1e-7)
              << y.name << " position " << positions[r] + offset << " dimension " << i;
          ASSERT_NEAR((*rows.sin)[r * half + i], static_cast<double>(sinl(angle) * y.magnitude), 1e-7)
              << y.name << " position " << positions[r] + offset << " dimension " << i;
        }
    }
  }
}

// Positions far beyond what the table keeps at once come back the same.
TEST(Yarn, TheTableForgetsWithoutHarm) {
  RopeTable table(config_of(yarn_cases()[7]));
  const RopeRows before = table.rows({5}, 0);
  std::vector<int32_t> many((1 << 16) + 10);
  for (size_t i = 0; i < many.size(); ++i) many[i] = static_cast<int32_t>(i) + 100;
  table.rows(many, 0);
  table.rows({1}, 0);
  EXPECT_EQ(*table.rows({5}, 0).cos, *before.cos);
}

}  // namespace
}  // namespace raison
