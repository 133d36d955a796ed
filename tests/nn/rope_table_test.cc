// RoPE angles: exact in double, llama3's correction, far positions.
#include "nn/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>

namespace raison {
namespace {

TEST(RopeTable, AnglesAreThoseOfTheDefinition) {
  RopeConfig c;
  c.rot = 64;
  c.theta = 500000;
  RopeTable table(c);
  const std::vector<int32_t> positions = {0, 1, 77, 5000, 131071};
  const RopeRows rows = table.rows(positions, 160000);
  for (size_t r = 0; r < positions.size(); ++r)
    for (int i = 0; i < 32; ++i) {
      const long double angle = (positions[r] + 160000.0L) * powl(500000.0L, -2.0L * i / 64);
      EXPECT_NEAR((*rows.cos)[r * 32 + static_cast<size_t>(i)], static_cast<double>(cosl(angle)), 6e-8)
          << positions[r] << " " << i;
      EXPECT_NEAR((*rows.sin)[r * 32 + static_cast<size_t>(i)], static_cast<double>(sinl(angle)), 6e-8)
          << positions[r] << " " << i;
    }
}

TEST(RopeTable, Llama3KeepsShortWavesAndStretchesLongOnes) {
  RopeConfig c;
  c.rot = 128;
  c.theta = 500000;
  const auto plain = rope_inverse_frequencies(c);
  c.scaling = RopeConfig::Scaling::Llama3;
  c.factor = 8;
  c.original_context = 8192;
  const auto scaled = rope_inverse_frequencies(c);
  int kept = 0, stretched = 0, between = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double wavelength = 2 * M_PI / plain[i];
    if (wavelength < 8192 / 4.0) {
      EXPECT_EQ(scaled[i], plain[i]);
      ++kept;
    } else if (wavelength > 8192) {
      EXPECT_DOUBLE_EQ(scaled[i], plain[i] / 8);
      ++stretched;
    } else {
      EXPECT_LT(scaled[i], plain[i]);
      EXPECT_GT(scaled[i], plain[i] / 8);
      ++between;
    }
  }
  EXPECT_GT(kept, 0);
  EXPECT_GT(stretched, 0);
  EXPECT_GT(between, 0);
}

TEST(RopeTable, DivisorsAndLinearScaling) {
  RopeConfig c;
  c.rot = 4;
  c.divisors = {2, 4};
  const auto f = rope_inverse_frequencies(c);
  EXPECT_DOUBLE_EQ(f[0], 0.5);
  EXPECT_NEAR(f[1], 0.01 / 4, 1e-15);
  c.divisors.clear();
  c.scaling = RopeConfig::Scaling::Linear;
  c.factor = 4;
  EXPECT_DOUBLE_EQ(rope_inverse_frequencies(c)[0], 0.25);
}

}  // namespace
}  // namespace raison
