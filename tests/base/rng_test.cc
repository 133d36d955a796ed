// Philox against the known answers of its authors' library; distributions by their statistics.
#include "base/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

namespace raison {
namespace {

using Counter = std::array<uint32_t, 4>;

TEST(PhiloxTest, KnownAnswers) {  // Random123's kat_vectors
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}), (Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PhiloxTest, NumbersAreKeyedAsDocumented) {
  const uint64_t seed = 0x299f31d0a4093822, stream = 0x0370734413198a2e, index = 0x85a308d3243f6a88;
  const uint64_t bits = 0xd16cfe0994fdcceb;
  EXPECT_EQ(uniform01(seed, stream, index), static_cast<double>(bits >> 11) * 0x1p-53);
  Rng rng(seed, stream, index);
  EXPECT_EQ(rng.next_u64(), bits);
  EXPECT_EQ(rng.cursor(), index + 1);
}

TEST(RngTest, TheCursorIsTheWholeState) {
  Rng a(7, 3);
  for (int i = 0; i < 100; ++i) a.next_u64();
  Rng b(a.seed(), a.stream(), a.cursor());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.next_u64(), b.next_u64());
}

TEST(RngTest, SeedsAndStreamsDiffer) {
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 30; ++seed)
    for (uint64_t stream = 0; stream < 30; ++stream) seen.insert(Rng(seed, stream).next_u64());
  EXPECT_EQ(seen.size(), 900u);
}

TEST(RngTest, HashSeedTellsItsPartsAndTheirOrderApart) {
  std::set<uint64_t> seen;
  for (uint64_t a = 0; a < 40; ++a)
    for (uint64_t b = 0; b < 40; ++b) seen.insert(hash_seed({a, b}));
  EXPECT_EQ(seen.size(), 1600u);
  EXPECT_NE(hash_seed({1}), hash_seed({1, 0}));
  EXPECT_EQ(hash_seed({1, 2, 3}), hash_seed({1, 2, 3}));
}

TEST(RngTest, UniformFillsTheUnitInterval) {
  Rng rng(1);
  constexpr int n = 200000, bins = 50;
  std::vector<int> count(bins);
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    const double u = rng.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    ++count[static_cast<size_t>(u * bins)];
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / n, 0.5, 0.003);
  EXPECT_NEAR(squares / n, 1.0 / 3, 0.003);
  double chi = 0;  // 49 degrees of freedom: mean 49, deviation 10
  for (int c : count) chi += (c - n / bins) * double(c - n / bins) / (n / bins);
  EXPECT_LT(chi, 49 + 5 * 10);
  EXPECT_GT(chi, 49 - 4 * 10);
}

TEST(RngTest, BelowIsUniformForAwkwardBounds) {
  for (const uint64_t n : {1ull, 2ull, 3ull, 7ull, 10ull, 1000ull}) {
    Rng rng(2, n);
    std::vector<double> count(n);
    const int draws = 100000;
    for (int i = 0; i < draws; ++i) {
      const uint64_t x = rng.below(n);
      ASSERT_LT(x, n);
      ++count[x];
    }
    double chi = 0;
    const double expected = static_cast<double>(draws) / static_cast<double>(n);
    for (double c : count) chi += (c - expected) * (c - expected) / expected;
    const auto freedom = static_cast<double>(n - 1);
    EXPECT_LT(chi, freedom + 5 * std::sqrt(2 * freedom) + 1) << n;
  }
  // Where the rejected part is largest: two thirds of the range, the upper half of which a plain remainder would favour.
  Rng rng(3);
  const uint64_t n = 0xAAAAAAAAAAAAAAAA;
  int upper = 0;
  for (int i = 0; i < 20000; ++i) {
    const uint64_t x = rng.below(n);
    ASSERT_LT(x, n);
    upper += x >= n / 2 ? 1 : 0;
  }
  EXPECT_NEAR(upper / 20000.0, 0.5, 0.02);
  EXPECT_GT(rng.cursor(), 25000u);  // a third was rejected
}

TEST(RngTest, BetweenHoldsItsEnds) {
  Rng rng(4);
  std::set<int64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(rng.between(-3, 3));
  EXPECT_EQ(seen, (std::set<int64_t>{-3, -2, -1, 0, 1, 2, 3}));
}

TEST(RngTest, NormalHasItsMomentsAndTails) {
  Rng rng(5);
  constexpr int n = 400000;
  double m[5] = {};
  int beyond[3] = {};
  for (int i = 0; i < n; ++i) {
    const double x = rng.normal();
    ASSERT_TRUE(std::isfinite(x));
    double p = 1;
    for (double& sum : m) sum += p, p *= x;
    for (int s = 0; s < 3; ++s) beyond[s] += std::fabs(x) > s + 1 ? 1 : 0;
  }
  EXPECT_NEAR(m[1] / n, 0, 0.008);
  EXPECT_NEAR(m[2] / n, 1, 0.01);
  EXPECT_NEAR(m[3] / n, 0, 0.03);
  EXPECT_NEAR(m[4] / n, 3, 0.1);
  EXPECT_NEAR(beyond[0] / double(n), 0.3173, 0.004);
  EXPECT_NEAR(beyond[1] / double(n), 0.0455, 0.002);
  EXPECT_NEAR(beyond[2] / double(n), 0.0027, 0.0005);
}

TEST(RngTest, ShuffleIsAPermutationAndFair) {
  Rng rng(6);
  std::vector<int> first(5);
  for (int i = 0; i < 20000; ++i) {
    std::vector<int> v(5);
    std::iota(v.begin(), v.end(), 0);
    rng.shuffle(v);
    ++first[static_cast<size_t>(v[0])];
    std::sort(v.begin(), v.end());
    for (int j = 0; j < 5; ++j) ASSERT_EQ(v[static_cast<size_t>(j)], j);
  }
  for (int c : first) EXPECT_NEAR(c, 4000, 300);
}

}  // namespace
}  // namespace raison
