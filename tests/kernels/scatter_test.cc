// scatter_rows and its backward: every table has ref's bits at every width, rows that are not named stay, and ref is the sum it
// should be.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "kernels/tables.h"

namespace raison {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

struct Case {
  int64_t n, dim, rows;  // n of `rows` rows are met
  std::vector<float> x, w, y, dy;
  std::vector<int32_t> to;
};

std::vector<float> mixed(int64_t n, Rng& rng, bool odd) {
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) {
    v = static_cast<float>(rng.normal());
    const uint64_t kind = rng.below(20);
    if (kind == 0) v = rng.below(2) ? 0.0f : -0.0f;
    if (kind == 1) v *= 1e-39f;
    if (odd && kind == 2) v = kNan;
    if (odd && kind == 3) v = rng.below(2) ? kInf : -kInf;
  }
  return out;
}

Case make(int64_t n, int64_t dim, bool odd, uint64_t seed) {
  Rng rng(seed, 41);
  Case c{n, dim, 2 * n + 1, {}, {}, {}, {}, {}};
  c.x = mixed(n * dim, rng, odd);
  c.w = mixed(n, rng, odd);
  c.y = mixed(c.rows * dim, rng, false);
  c.dy = mixed(c.rows * dim, rng, odd);
  std::vector<int32_t> all(static_cast<size_t>(c.rows));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(i);
  rng.shuffle(all);
  c.to.assign(all.begin(), all.begin() + n);
  return c;
}

// y, dx, dw, with guards behind each.
std::vector<float> outputs(const KernelTable& t, Exec& exec, const Case& c) {
  constexpr float kGuard = -321.0f;
  std::vector<float> y = c.y, dx(c.x.size() + 17, kGuard), dw(c.w.size() + 17, kGuard);
  y.resize(y.size() + 17, kGuard);
  t.scatter_rows(exec, c.x.data(), c.to.data(), c.w.data(), c.n, c.dim, y.data());
  t.scatter_rows_backward(exec, c.x.data(), c.to.data(), c.w.data(), c.n, c.dim, c.dy.data(), dx.data(), dw.data());
  for (const auto* part : {&dx, &dw}) y.insert(y.end(), part->begin(), part->end());
  return y;
}

::testing::AssertionResult bits_equal(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) return ::testing::AssertionFailure() << "sizes differ";
  for (size_t i = 0; i < got.size(); ++i)
    if (!(std::isnan(got[i]) && std::isnan(want[i])) && std::memcmp(&got[i], &want[i], 4) != 0)
      return ::testing::AssertionFailure() << "first difference at " << i << ": " << got[i] << " but ref has " << want[i];
  return ::testing::AssertionSuccess();
}

TEST(ScatterRows, EveryTableHasRefsBits) {
  ThreadPool one(1), three(3);
  for (const bool odd : {false, true})
    for (const int64_t dim : {1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 257, 1000})
      for (const int64_t n : {0, 1, 2, 9, 70}) {
        const Case c = make(n, dim, odd, static_cast<uint64_t>(dim * 100 + n));
        const auto want = outputs(ref_kernels(), one, c);
        for (const KernelTable* t : testing::vector_tables())
          for (ThreadPool* pool : {&one, &three})
            ASSERT_TRUE(bits_equal(outputs(*t, *pool, c), want)) << t->name << " dim " << dim << " n " << n << " odd " << odd;
      }
}

TEST(ScatterRows, RefIsTheWeightedSumAndItsDerivative) {
  ThreadPool pool(2);
  const Case c = make(9, 100, false, 5);
  const auto out = outputs(ref_kernels(), pool, c);
  std::vector<float> want_y = c.y;
  const float *y = out.data(), *dx = y + c.y.size() + 17, *dw = dx + c.x.size() + 17;
  for (int64_t i = 0; i < c.n; ++i) {
    double dot = 0;
    for (int64_t k = 0; k < c.dim; ++k) {
      const auto from = static_cast<size_t>(i * c.dim + k), to = static_cast<size_t>(c.to[static_cast<size_t>(i)] * c.dim + k);
      want_y[to] = std::fma(c.w[static_cast<size_t>(i)], c.x[from], want_y[to]);
      dot += double{c.dy[to]} * double{c.x[from]};
      EXPECT_EQ(dx[from], c.w[static_cast<size_t>(i)] * c.dy[to]);
    }
    EXPECT_NEAR(dw[i], dot, 1e-5);
  }
  EXPECT_TRUE(bits_equal(std::vector<float>(y, y + c.y.size()), want_y)) << "rows that are not named stay as they are";
  for (int64_t i = 0; i < 17; ++i) EXPECT_EQ(y[c.y.size() + static_cast<size_t>(i)], -321.0f);
}

}  // namespace
}  // namespace raison
