// Caches of integers: sums at their bounds, how near they come to attention on unrounded data, what infinities may spoil, and the
// gradient. That tables agree bit by bit over shapes is attention_test.cc's.
#include <algorithm>
#include <functional>
#include <limits>

#include "kernels/attention_fixture.h"

namespace raison {
namespace {

using namespace raison::testing;

constexpr DType kIntegers[] = {DType::I8, DType::I16};
const KernelTable& best_table() {
  if (avx512_kernels()) return *avx512_kernels();
  return avx2_kernels() ? *avx2_kernels() : ref_kernels();
}

class IntegerCacheTest : public ::testing::Test {
 protected:
  ThreadPool one_{1}, two_{2}, three_{3};
};

TEST_F(IntegerCacheTest, BytesOfAPosition) {
  const auto bytes = [](DType type, int dim, int value_dim, bool latent) {
    return KvLayout{type, 1, 1, dim, 64, value_dim, latent}.page_bytes() / 64;
  };
  EXPECT_EQ(bytes(DType::I8, 128, 0, false), 2 * (128 + 4));
  EXPECT_EQ(bytes(DType::I16, 128, 0, false), 2 * (256 + 4));
  EXPECT_EQ(bytes(DType::I8, 576, 512, true), 648);
  EXPECT_EQ(bytes(DType::I16, 576, 512, true), 1160);
}

TEST_F(IntegerCacheTest, LayoutsThatCannotBe) {
  for (const DType type : kIntegers) {
    for (const int page_size : {16, 32, 64, 128, 256}) EXPECT_TRUE(checked({type, 2, 2, 64, page_size}).ok());
    EXPECT_TRUE(checked({type, 2, 1, 576, 64, 512, true}).ok());
    const KvLayout wrong[] = {{type, 1, 1, 24, 64},
                              {type, 1, 1, 2, 64},
                              {type, 1, 1, 1024, 64},
                              {type, 1, 1, 32, 64, 48},
                              {type, 1, 1, 64, 48},
                              {type, 1, 1, 64, 8},
                              {type, 1, 1, 64, 512},
                              {type, 1, 1, 576, 64, 500, true},
                              {type, 1, 1, 64, 64, 64, true},
                              {type, 1, 1, 64 + 7, 64, 64, true},
                              {type, 1, 1, 64 + 130, 64, 64, true}};
    for (const KvLayout& layout : wrong) {
      const auto refused = checked(layout);
      ASSERT_FALSE(refused.ok()) << layout.head_dim << " " << layout.page_size;
      EXPECT_EQ(refused.message().find('\n'), std::string::npos);
      EXPECT_EQ(refused.message().find("f32, f16 or bf16") != std::string::npos, layout.page_size == 64) << refused.message();
    }
  }
  EXPECT_FALSE(checked({DType::Q8_0, 1, 1, 64, 64}).ok());
  EXPECT_FALSE(checked({DType::F16, 1, 1, 64, 20}).ok());
  EXPECT_TRUE(checked({DType::F16, 1, 1, 24, 64}).ok());
}

// A row that one value alone fills is turned into equal codes: every product at its bound, all of one sign.
TEST_F(IntegerCacheTest, SumsAtTheirBounds) {
  struct Shape {
    int dim, value_dim;
    bool latent;
  };
  for (const DType type : kIntegers)
    for (const Shape& s : {Shape{512, 512, false}, Shape{64, 16, false}, Shape{640, 512, true}})
      for (const float sign : {1.0f, -1.0f}) {
        const KvLayout layout = layout_of(type, 1, s.dim, 64, s.value_dim, s.latent);
        constexpr int64_t kLength = 300;
        Cache cache(layout, {kLength});
        Floats k(static_cast<size_t>(kLength * s.dim)), v(static_cast<size_t>(kLength * s.value_dim)),
            q(static_cast<size_t>(7 * s.dim));
        const auto dim = static_cast<size_t>(s.dim), v_dim = static_cast<size_t>(s.value_dim);
        for (size_t j = 0; j < kLength; ++j) {
          k[j * dim] = sign, v[j * v_dim] = sign;
          if (s.latent) std::fill(&k[j * dim] + v_dim, &k[j * dim] + dim, -sign);
        }
        for (size_t r = 0; r < 7; ++r) {
          q[r * dim] = 1.0f;
          if (s.latent) std::fill(&q[r * dim] + v_dim, &q[r * dim] + dim, 1.0f);
        }
        fill(ref_kernels(), two_, cache, {kLength}, k, v);
        const std::vector<Span> spans = {{0, 255, 3}, {0, 295, 4}};
        const Forward want = attend(ref_kernels(), two_, cache, 1, spans, q);
        // All positions are alike, so the output is a position's value and the maximum a position's score.
        const double score = (s.latent ? sign * (1.0 - 128.0) : sign * 1.0) * double{score_scale(s.dim)};
        for (size_t r = 0; r < 7; ++r) {
          EXPECT_NEAR(want.out[r * v_dim], sign, 2e-3) << dtype_name(type);
          EXPECT_NEAR(want.out[r * v_dim + 1], 0, 1e-4) << dtype_name(type);
          EXPECT_NEAR(want.max[r], score, 1e-3 * std::fabs(score)) << dtype_name(type);
        }
        for (const KernelTable* t : vector_tables()) {
          const Forward got = attend(*t, two_, cache, 1, spans, q);
          EXPECT_TRUE(same_bits(got.out, want.out)) << t->name << " " << dtype_name(type);
          EXPECT_TRUE(same_bits(got.max, want.max)) << t->name << " " << dtype_name(type);
        }
      }
}

// 24 rows of mixed limits: each alone, and on pages of any size, is what it is among the others.
TEST_F(IntegerCacheTest, RowsAloneAndPagesOfAnySize) {
  constexpr int kGroup = 6;
  const std::vector<int64_t> lengths = {600, 90};
  const std::vector<Span> spans = {{0, 0, 1},   {0, 14, 3}, {1, 88, 2},  {0, 254, 4}, {0, 300, 1},
                                   {0, 127, 1}, {1, 0, 3},  {0, 510, 4}, {0, 599, 1}, {0, 63, 4}};
  for (const DType type : kIntegers)
    for (const bool latent : {false, true}) {
      const int dim = latent ? 74 : 64;
      const KvLayout first = layout_of(type, 2, dim, 64, 64, latent);
      const Floats k = values(690 * 2 * dim, 41, 30), v = values(690 * 2 * 64, 42, 30), q = values(24 * 2 * kGroup * dim, 43);
      Cache cache(first, lengths);
      fill(best_table(), two_, cache, lengths, k, v);
      const Forward all = attend(best_table(), three_, cache, 2 * kGroup, spans, q);
      for (const int page_size : {16, 32, 128, 256}) {
        Cache other(layout_of(type, 2, dim, page_size, 64, latent), lengths);
        fill(best_table(), three_, other, lengths, k, v);
        EXPECT_TRUE(same_bits(attend(best_table(), one_, other, 2 * kGroup, spans, q).out, all.out)) << page_size;
      }
      size_t row = 0;
      for (const Span& s : spans)
        for (int64_t i = 0; i < s.count; ++i, ++row) {
          const size_t width = 2 * kGroup * static_cast<size_t>(dim), out_width = size_t{2} * kGroup * 64;
          const Floats alone(q.begin() + static_cast<std::ptrdiff_t>(row * width),
                             q.begin() + static_cast<std::ptrdiff_t>((row + 1) * width));
          const Forward got = attend(best_table(), one_, cache, 2 * kGroup, {{s.sequence, s.first + i, 1}}, alone);
          ASSERT_EQ(std::memcmp(got.out.data(), &all.out[row * out_width], out_width * 4), 0) << dtype_name(type) << " " << row;
        }
    }
}

// Rows that see a NaN or an infinity may be spoilt; nobody else is, not even in the same group of codes.
TEST_F(IntegerCacheTest, NaNAndInfinityStayWithThoseWhoSeeThem) {
  constexpr size_t kDim = 32, kLength = 40, kBad = 9;
  for (const DType type : kIntegers)
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
      for (const bool in_v : {false, true}) {
        const KvLayout layout = layout_of(type, 2, kDim, 16);
        Floats k = values(kLength * 2 * kDim, 51), v = values(kLength * 2 * kDim, 52);
        const Floats q = values(kLength * 4 * kDim, 53);
        Cache clean(layout, {kLength}), spoilt(layout, {kLength});
        fill(best_table(), one_, clean, {kLength}, k, v);
        (in_v ? v : k)[(kBad * 2 + 1) * kDim + 5] = bad;  // of the second KV head
        fill(best_table(), one_, spoilt, {kLength}, k, v);
        const std::vector<Span> all = {{0, 0, kLength}};
        const Forward want = attend(best_table(), two_, clean, 4, all, q), got = attend(best_table(), two_, spoilt, 4, all, q);
        for (size_t row = 0; row < kLength; ++row)
          for (size_t head = 0; head < 4; ++head) {
            const size_t at = (row * 4 + head) * kDim;
            const bool sees = head >= 2 && row >= kBad;
            if (!sees) {
              EXPECT_EQ(std::memcmp(&got.out[at], &want.out[at], kDim * 4), 0) << dtype_name(type) << " " << row << " " << head;
            } else if (in_v) {
              EXPECT_TRUE(std::isnan(got.out[at])) << dtype_name(type) << " " << row << " " << head;
            }
          }
      }
}

// ---- errors against attention on the unrounded data, in double ----

struct Data {
  const char* name;
  bool latent;
  double deviation;  // of the scores, in nats
  double i16, i8;    // the relative error (root mean square) that was measured for these forms
};
struct Sample {
  int64_t positions, rows, dim, v_dim;
  Floats k, v, q;
};
Sample sample(const Data& data) {
  Sample s{2048, 16, data.latent ? 576 : 128, data.latent ? 512 : 128, {}, {}, {}};
  Rng rng(7, 61);
  const auto normals = [&](int64_t n, double deviation) {
    Floats out(static_cast<size_t>(n));
    for (float& x : out) x = static_cast<float>(deviation * rng.normal());
    return out;
  };
  const auto dim = static_cast<size_t>(s.dim), rows = static_cast<size_t>(s.rows), positions = static_cast<size_t>(s.positions);
  s.k = normals(s.positions * s.dim, 1), s.v = normals(s.positions * s.v_dim, 1);
  s.q = normals(s.rows * s.dim, data.deviation);
  const std::string name = data.name;
  if (name == "outlier channels")
    for (size_t j = 0; j < 4; ++j) {
      for (size_t p = 0; p < positions; ++p)
        s.k[p * dim + 31 * j] += static_cast<float>(40 * std::cos(0.01 * double(p) * double(j + 1)));
      for (size_t r = 0; r < rows; ++r) s.q[r * dim + 31 * j] *= 0.05f;
    }
  if (name == "needle")
    for (size_t r = 0; r < rows; ++r) {
      double square = 0;
      for (size_t d = 0; d < dim; ++d) square += double{s.q[r * dim + d]} * double{s.q[r * dim + d]};
      for (size_t d = 0; d < dim; ++d)
        s.k[(500 + 90 * r) * dim + d] += static_cast<float>(8 * std::sqrt(double(dim)) / square) * s.q[r * dim + d];
    }
  if (name == "channel gains")
    for (size_t d = 0; d < 512; ++d) {
      const auto gain = static_cast<float>(std::exp(rng.normal()));
      for (size_t p = 0; p < positions; ++p) s.k[p * dim + d] *= gain;
      for (size_t r = 0; r < rows; ++r) s.q[r * dim + d] /= gain;
    }
  if (data.latent)
    for (size_t p = 0; p < positions; ++p) std::copy_n(&s.k[p * dim], 512, &s.v[p * 512]);
  return s;
}
// Every row sees every position; one head.
Doubles in_double(const Sample& s) {
  const auto dim = static_cast<size_t>(s.dim), v_dim = static_cast<size_t>(s.v_dim);
  Doubles out(static_cast<size_t>(s.rows) * v_dim);
  for (size_t r = 0; r < static_cast<size_t>(s.rows); ++r) {
    Doubles w(static_cast<size_t>(s.positions));
    double top = -1e300, sum = 0;
    for (size_t j = 0; j < w.size(); ++j) {
      for (size_t d = 0; d < dim; ++d) w[j] += double{s.q[r * dim + d]} * double{s.k[j * dim + d]};
      w[j] /= std::sqrt(double(dim));
      top = std::max(top, w[j]);
    }
    for (double& x : w) sum += x = std::exp(x - top);
    for (size_t j = 0; j < w.size(); ++j)
      for (size_t d = 0; d < v_dim; ++d) out[r * v_dim + d] += w[j] / sum * double{s.v[j * v_dim + d]};
  }
  return out;
}

TEST_F(IntegerCacheTest, ErrorsAreThoseOfTheForms) {
  const Data all[] = {{"normal", false, 1, 4.2e-4, 9.2e-3},
                      {"peaky", false, 5, 7.2e-4, 2.0e-2},
                      {"outlier channels", false, 2, 1.7e-3, 4.8e-2},
                      {"needle", false, 0.3, 6.3e-4, 7.5e-3},
                      {"normal", true, 1, 2.6e-4, 5.2e-3},
                      {"peaky", true, 5, 6.6e-4, 1.9e-2},
                      {"channel gains", true, 2, 2.6e-3, 5.6e-2}};
  for (const Data& data : all) {
    const Sample s = sample(data);
    const Doubles want = in_double(s);
    const auto error_of = [&](DType type) {
      Cache cache(layout_of(type, 1, static_cast<int>(s.dim), 64, static_cast<int>(s.v_dim), data.latent), {s.positions});
      fill(best_table(), two_, cache, {s.positions}, s.k, s.v);
      const std::vector<int32_t> positions(static_cast<size_t>(s.rows), static_cast<int32_t>(s.positions - 1));
      const std::vector<uint8_t* const*> pages(positions.size(), cache.pages(0));
      Floats out(want.size());
      best_table().attention(two_, {cache.layout(), kLayer, 1, s.rows, positions.data(), pages.data(),
                                    score_scale(static_cast<int>(s.dim)), s.q.data(), out.data(), nullptr, nullptr});
      double error = 0, size = 0;
      for (size_t i = 0; i < want.size(); ++i) {
        error += (double{out[i]} - want[i]) * (double{out[i]} - want[i]);
        size += want[i] * want[i];
      }
      return std::sqrt(error / size);
    };
    const double i16 = error_of(DType::I16), i8 = error_of(DType::I8), f16 = error_of(DType::F16);
    EXPECT_LT(i16, 1.6 * data.i16) << data.name << " latent " << data.latent;
    EXPECT_LT(i8, 1.6 * data.i8) << data.name << " latent " << data.latent;
    EXPECT_GT(i8, i16) << data.name;
    EXPECT_LT(f16, 1e-3) << data.name << ": the yardstick itself";
  }
}

// ---- backward ----

// What the cache holds of rows of `width` values: rotated, rounded to scale * code, rotated back, in double.
Floats held(DType type, const Floats& x, size_t width) {
  const double most = type == DType::I8 ? 127 : 4095;
  Floats out;
  const auto rotate = [&](Doubles& row) {
    for (size_t h = 1; h < row.size(); h *= 2)
      for (size_t i = 0; i < row.size(); ++i)
        if ((i & h) == 0) {
          const double a = row[i], b = row[i + h];
          row[i] = a + b, row[i + h] = a - b;
        }
    for (double& v : row) v /= std::sqrt(static_cast<double>(row.size()));
  };
  for (size_t at = 0; at < x.size(); at += width) {
    Doubles row(x.begin() + static_cast<std::ptrdiff_t>(at), x.begin() + static_cast<std::ptrdiff_t>(at + width));
    rotate(row);
    double largest = 0;
    for (const double v : row) largest = std::max(largest, std::fabs(v));
    for (double& v : row) v = std::nearbyint(v * most / largest) * largest / most;
    rotate(row);
    out.insert(out.end(), row.begin(), row.end());
  }
  return out;
}

// Straight-through: the derivative of attention on what the cache holds, across splits. The forward's maximum and sum, which the
// kernel takes, are as exact as its queries.
TEST_F(IntegerCacheTest, BackwardIsTheDerivativeOnTheHeldValues) {
  constexpr size_t kRows = 300, kDim = 32, kGroup = 2;
  const Floats k = values(kRows * kDim, 71), v = values(kRows * kDim, 72), q = values(kRows * kGroup * kDim, 73),
               dout = values(kRows * kGroup * kDim, 74);
  const double scale = 1 / std::sqrt(static_cast<double>(kDim));
  for (const DType type : kIntegers) {
    const Floats k_held = held(type, k, kDim), v_held = held(type, v, kDim);
    Doubles dq(q.size()), dk(k.size()), dv(v.size());
    for (size_t i = 0; i < kRows; ++i)
      for (size_t h = 0; h < kGroup; ++h) {
        const size_t at = (i * kGroup + h) * kDim;
        Doubles p(i + 1), dp(i + 1);
        double sum = 0, mean = 0;
        for (size_t j = 0; j <= i; ++j) {
          for (size_t d = 0; d < kDim; ++d) {
            p[j] += double{q[at + d]} * double{k_held[j * kDim + d]} * scale;
            dp[j] += double{dout[at + d]} * double{v_held[j * kDim + d]};
          }
          sum += p[j] = std::exp(p[j]);
        }
        for (size_t j = 0; j <= i; ++j) mean += (p[j] /= sum) * dp[j];
        for (size_t j = 0; j <= i; ++j)
          for (size_t d = 0; d < kDim; ++d) {
            const double ds = p[j] * (dp[j] - mean) * scale;
            dv[j * kDim + d] += p[j] * double{dout[at + d]};
            dk[j * kDim + d] += ds * double{q[at + d]};
            dq[at + d] += ds * double{k_held[j * kDim + d]};
          }
      }
    const Taped batch({kRows});
    Cache cache(layout_of(type, 1, kDim, 64), batch.lengths);
    fill(best_table(), two_, cache, batch.lengths, k, v);
    const Forward f = attend(best_table(), two_, cache, kGroup, batch.spans, q);
    const Backward got = attend_backward(best_table(), two_, cache, kGroup, batch, q, f, dout);
    const auto relative_error = [](const Floats& g, const Doubles& want) {
      double error = 0, size = 0;
      for (size_t i = 0; i < want.size(); ++i) {
        error += (double{g[i]} - want[i]) * (double{g[i]} - want[i]);
        size += want[i] * want[i];
      }
      return std::sqrt(error / size);
    };
    const double tolerance = type == DType::I8 ? 2e-4 : 5e-4;
    EXPECT_LT(relative_error(got.dq, dq), tolerance) << dtype_name(type);
    EXPECT_LT(relative_error(got.dk, dk), tolerance) << dtype_name(type);
    EXPECT_LT(relative_error(got.dv, dv), tolerance) << dtype_name(type);
  }
}

}  // namespace
}  // namespace raison
