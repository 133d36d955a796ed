// Attention kernels: every table has ref's bits whatever the cache's type, page size, batch and threads; ref means softmax
// attention (double precision), and its backward the derivative of it (finite differences in double).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "kernels/attention_fixture.h"

namespace raison {
namespace {

using namespace raison::testing;

struct Case {
  DType type;
  int kv_heads, group, head_dim, page_size;
  float outlier;
  int value_dim = 0;  // 0: head_dim
  bool latent = false;
  KvLayout layout() const { return layout_of(type, kv_heads, head_dim, page_size, value_dim, latent); }
  bool large() const { return head_dim > 256 || group * head_dim > 4096; }  // ref takes its time: fewer rows
};
std::string describe(const Case& c) {
  return fmt::format("{} kv_heads={} group={} dim={} value_dim={} latent={} page={} outlier={}", dtype_name(c.type), c.kv_heads,
                     c.group, c.head_dim, c.value_dim, c.latent, c.page_size, c.outlier);
}
std::vector<Case> cases() {
  std::vector<Case> out;
  const int dims[] = {8, 12, 16, 20, 32, 64, 80, 128, 2}, groups[] = {1, 2, 3, 4, 7, 8, 1, 6}, pages[] = {16, 64, 256};
  size_t i = 0;
  for (const DType type : {DType::F32, DType::F16, DType::BF16})
    for (const int dim : dims) {
      out.push_back({type, dim >= 64 ? 1 : 2, groups[i % 8], dim, pages[i % 3], 0});
      ++i;
    }
  for (const int group : groups) out.push_back({DType::F32, 1, group, 16, 64, 0});
  out.push_back({DType::F16, 2, 2, 24, 32, 70000});
  out.push_back({DType::F16, 1, 3, 16, 16, 1e30f});
  out.push_back({DType::BF16, 1, 3, 16, 16, std::numeric_limits<float>::max()});
  out.push_back({DType::F32, 1, 5, 16, 128, 1e30f});
  out.push_back({DType::F32, 2, 14, 8, 64, 30});
  out.push_back({DType::F32, 1, 60, 4, 64, 0});  // a row alone fills more than an item
  // Values wider and narrower than keys.
  out.push_back({DType::F32, 2, 2, 24, 64, 0, 40});
  out.push_back({DType::F16, 1, 3, 16, 16, 70000, 8});
  out.push_back({DType::BF16, 2, 1, 12, 256, 0, 50});
  out.push_back({DType::F16, 1, 5, 48, 32, 0, 32});
  // Latent caches.
  out.push_back({DType::F32, 1, 16, 48, 64, 0, 32, true});
  out.push_back({DType::F16, 1, 128, 48, 16, 0, 40, true});
  out.push_back({DType::BF16, 1, 3, 48, 256, 0, 40, true});
  out.push_back({DType::F16, 1, 1, 24, 32, 70000, 20, true});
  out.push_back({DType::F32, 2, 3, 40, 128, 1e30f, 17, true});
  out.push_back({DType::BF16, 1, 60, 20, 128, 0, 12, true});
  out.push_back({DType::F32, 1, 7, 9, 16, 0, 9, true});
  out.push_back({DType::F16, 1, 2, 130, 64, 0, 129, true});
  out.push_back({DType::F32, 1, 16, 576, 64, 0, 512, true});
  out.push_back({DType::F16, 1, 5, 576, 256, 0, 512, true});
  out.push_back({DType::BF16, 1, 3, 576, 16, 0, 512, true});
  // Integers: heads' widths are powers of two; roped parts of latent caches are not.
  for (const DType type : {DType::I8, DType::I16}) {
    const int widths[] = {8, 16, 32, 64, 128, 4};
    for (const int dim : widths) {
      out.push_back({type, dim >= 64 ? 1 : 2, groups[i % 8], dim, pages[i % 3], 0});
      ++i;
    }
    out.push_back({type, 1, 6, 128, 32, 0});
    out.push_back({type, 1, 13, 16, 128, 30});
    out.push_back({type, 2, 3, 32, 16, 1e30f});
    out.push_back({type, 1, 3, 16, 64, std::numeric_limits<float>::max()});
    out.push_back({type, 1, 60, 8, 64, 0});
    out.push_back({type, 2, 2, 16, 64, 0, 64});
    out.push_back({type, 1, 3, 64, 256, 70000, 4});
    out.push_back({type, 1, 2, 512, 32, 0});
    out.push_back({type, 1, 16, 40, 64, 0, 32, true});
    out.push_back({type, 1, 128, 24, 16, 0, 16, true});
    out.push_back({type, 2, 3, 6, 128, 30, 4, true});
    out.push_back({type, 1, 7, 74, 32, 1e30f, 64, true});
    out.push_back({type, 1, 5, 576, 256, 0, 512, true});
  }
  return out;
}

class AttentionTest : public ::testing::Test {
 protected:
  ThreadPool one_{1}, two_{2}, three_{3};
  std::vector<ThreadPool*> pools() { return {&one_, &two_, &three_}; }
};

TEST_F(AttentionTest, AppendStoresRefsBytes) {
  for (const Case& c : cases()) {
    const KvLayout layout = c.layout();
    const std::vector<int64_t> lengths = {300, 40, 17};
    // Whole panels, panels begun and ended elsewhere, single rows, neighbours in any order.
    const std::vector<Span> spans = {{0, 5, 90}, {1, 0, 16}, {2, 16, 1}, {1, 16, 15}, {0, 95, 200}, {1, 39, 1}, {2, 3, 9}};
    for (const bool few : {false, true}) {
      const std::vector<Span> used = few ? std::vector<Span>{spans[2], spans[1], spans[5]} : spans;
      Cache want(layout, lengths);
      const Rows at(want, used);
      const int64_t n = at.count() * c.kv_heads;
      Floats k = values(n * c.head_dim, 1, 65520.0f), v = values(n * layout.v_dim(), 2, c.outlier != 0 ? c.outlier : 1e30f);
      k[0] = std::numeric_limits<float>::infinity(), v[0] = -k[0], v.back() = std::nanf("");
      const float* v_rows = c.latent ? nullptr : v.data();
      ref_kernels().kv_append(two_, {layout, kLayer, at.count(), at.positions.data(), at.pages.data(), k.data(), v_rows});
      for (const KernelTable* t : vector_tables())
        for (ThreadPool* pool : pools()) {
          Cache got(layout, lengths);
          const Rows rows(got, used);
          t->kv_append(*pool, {layout, kLayer, rows.count(), rows.positions.data(), rows.pages.data(), k.data(), v_rows});
          ASSERT_TRUE(got.bytes() == want.bytes()) << t->name << " " << describe(c) << " threads " << pool->threads();
        }
    }
  }
}

TEST_F(AttentionTest, ForwardHasRefsBits) {
  for (const Case& c : cases()) {
    const KvLayout layout = c.layout();
    const std::vector<int64_t> lengths = {701, 512, 60};
    Cache cache(layout, lengths);
    const int64_t kv_rows = (701 + 512 + 60) * c.kv_heads;
    fill(ref_kernels(), two_, cache, lengths, values(kv_rows * c.head_dim, 3, c.outlier),
         values(kv_rows * layout.v_dim(), 4, c.outlier));
    const int q_heads = c.kv_heads * c.group;
    std::vector<std::vector<Span>> batches = {
        {{0, 700, 1}},                                                     // decode
        {{0, 255, 1}, {1, 256, 1}, {2, 0, 1}, {1, 511, 1}, {0, 257, 1}},   // decode of several
        {{2, 0, 60}},                                                      // a prompt
        {{1, 250, 12}, {0, 254, 3}, {2, 3, 7}, {0, 690, 11}, {2, 59, 1}},  // chunks across splits
        {{1, 505, 7}, {1, 0, 2}, {1, 300, 1}, {1, 100, 1}},                // positions that do not ascend
    };
    if (c.large()) batches = {{{0, 279, 1}}, {{0, 255, 3}, {2, 21, 2}, {1, 40, 1}}};
    for (size_t b = 0; b < batches.size(); ++b) {
      const int64_t rows = Rows(cache, batches[b]).count();
      const Floats q = values(rows * q_heads * c.head_dim, 5 + b, c.outlier != 0 ? 50.0f : 0.0f);
      const Forward want = attend(ref_kernels(), two_, cache, q_heads, batches[b], q);
      for (const KernelTable* t : vector_tables())
        for (ThreadPool* pool : pools()) {
          const Forward got = attend(*t, *pool, cache, q_heads, batches[b], q);
          const std::string where = fmt::format("{} {} batch {} threads {}", t->name, describe(c), b, pool->threads());
          ASSERT_TRUE(same_bits(got.out, want.out)) << where;
          ASSERT_TRUE(same_bits(got.max, want.max)) << where << " max";
          ASSERT_TRUE(same_bits(got.sum, want.sum)) << where << " sum";
        }
    }
  }
}

// Rows that bring their keys and values are attended to as if they had been appended before, whatever the batch is made of.
TEST_F(AttentionTest, OwnRowsGoIntoTheCacheFirst) {
  for (const Case& c : cases()) {
    if (c.large()) continue;
    const KvLayout layout = c.layout();
    const std::vector<int64_t> lengths = {300, 60, 33};
    const int64_t all = (300 + 60 + 33) * c.kv_heads;
    const Floats old_k = values(all * c.head_dim, 3, c.outlier), old_v = values(all * layout.v_dim(), 4, c.outlier);
    const int q_heads = c.kv_heads * c.group;
    const std::vector<std::vector<Span>> batches = {
        {{0, 299, 1}},                           // decode
        {{0, 255, 1}, {1, 48, 1}, {2, 0, 1}},    // decode of several
        {{1, 0, 60}},                            // a prompt
        {{0, 250, 12}, {1, 59, 1}, {2, 15, 4}},  // chunks across splits and panels
    };
    for (size_t b = 0; b < batches.size(); ++b) {
      const int64_t rows = [&] {
        Cache any(layout, lengths);
        return Rows(any, batches[b]).count();
      }();
      const Floats q = values(rows * q_heads * c.head_dim, 5 + b, c.outlier != 0 ? 50.0f : 0.0f);
      const Floats k = values(rows * c.kv_heads * c.head_dim, 31, c.outlier),
                   v = values(rows * c.kv_heads * layout.v_dim(), 32, c.outlier);
      const float* v_rows = c.latent ? nullptr : v.data();
      Cache want_cache(layout, lengths);
      fill(ref_kernels(), two_, want_cache, lengths, old_k, old_v);
      const Rows at(want_cache, batches[b]);
      ref_kernels().kv_append(two_, {layout, kLayer, at.count(), at.positions.data(), at.pages.data(), k.data(), v_rows});
      const Forward want = attend(ref_kernels(), two_, want_cache, q_heads, batches[b], q);
      for (const KernelTable* t : vector_tables())
        for (ThreadPool* pool : {&one_, &three_}) {
          Cache cache(layout, lengths);
          fill(*t, two_, cache, lengths, old_k, old_v);
          const Forward got = attend(*t, *pool, cache, q_heads, batches[b], q, k.data(), v_rows);
          const std::string where = fmt::format("{} {} batch {} threads {}", t->name, describe(c), b, pool->threads());
          ASSERT_TRUE(same_bits(got.out, want.out)) << where;
          ASSERT_TRUE(cache.bytes() == want_cache.bytes()) << where;
        }
    }
  }
}

// Many sequences of a row each: a worker takes several items one after the other, across splits and lengths.
TEST_F(AttentionTest, ManyOwnRowsHaveRefsBits) {
  const std::vector<int64_t> lengths = {280, 17, 279, 64, 1, 257, 100, 33, 280, 16, 256, 48, 5, 270, 65, 128};
  int64_t all = 0;
  std::vector<Span> spans;
  for (size_t s = 0; s < lengths.size(); ++s) all += lengths[s], spans.push_back({s, lengths[s] - 1, 1});
  const auto rows = static_cast<int64_t>(lengths.size());
  const Case some[] = {{DType::F32, 2, 1, 32, 64, 0},
                       {DType::F16, 4, 2, 8, 16, 0},
                       {DType::BF16, 3, 1, 20, 256, 0},
                       {DType::F16, 1, 3, 24, 32, 0, 16, true}};
  for (const Case& c : some) {
    const KvLayout layout = c.layout();
    const int q_heads = c.kv_heads * c.group;
    const Floats old_k = values(all * c.kv_heads * c.head_dim, 3), old_v = values(all * c.kv_heads * layout.v_dim(), 4);
    const Floats q = values(rows * q_heads * c.head_dim, 5), k = values(rows * c.kv_heads * c.head_dim, 6),
                 v = values(rows * c.kv_heads * layout.v_dim(), 7);
    const float* v_rows = c.latent ? nullptr : v.data();
    Cache want_cache(layout, lengths);
    fill(ref_kernels(), two_, want_cache, lengths, old_k, old_v);
    const Forward want = attend(ref_kernels(), two_, want_cache, q_heads, spans, q, k.data(), v_rows);
    for (const KernelTable* t : vector_tables())
      for (ThreadPool* pool : pools()) {
        Cache cache(layout, lengths);
        fill(*t, two_, cache, lengths, old_k, old_v);
        const Forward got = attend(*t, *pool, cache, q_heads, spans, q, k.data(), v_rows);
        const std::string where = fmt::format("{} {} threads {}", t->name, describe(c), pool->threads());
        ASSERT_TRUE(same_bits(got.out, want.out)) << where;
        ASSERT_TRUE(same_bits(got.max, want.max)) << where << " max";
        ASSERT_TRUE(same_bits(got.sum, want.sum)) << where << " sum";
        ASSERT_TRUE(cache.bytes() == want_cache.bytes()) << where;
      }
  }
}

// Scores that are all zeros of both signs: the first decides the sign of the maximum.
TEST_F(AttentionTest, MaximaThatAreZeroHaveRefsBits) {
  const KvLayout layout = layout_of(DType::F32, 1, 4, 16);
  Cache cache(layout, {40});
  Rng rng(9);
  Floats k(160), v = values(160, 6), q(40 * 4, 1e-38f);
  for (float& x : k) x = rng.below(2) != 0 ? 1e-30f : -1e-30f;  // products underflow to zeros of both signs
  fill(ref_kernels(), one_, cache, {40}, k, v);
  const Forward want = attend(ref_kernels(), one_, cache, 1, {{0, 0, 40}}, q);
  for (const KernelTable* t : vector_tables()) {
    const Forward got = attend(*t, two_, cache, 1, {{0, 0, 40}}, q);
    EXPECT_TRUE(same_bits(got.max, want.max)) << t->name;
    EXPECT_TRUE(same_bits(got.out, want.out)) << t->name;
  }
}

// One row at a late position: the threads take splits, several times over, and the merged result is that of one after the other.
TEST_F(AttentionTest, ManySplitsHaveRefsBits) {
  const std::vector<int64_t> lengths = {7000, 300};
  const std::vector<Span> spans = {{0, 6998, 2}, {1, 299, 1}};
  const Case long_cases[] = {{DType::F32, 2, 1, 5, 64, 0}, {DType::F16, 1, 20, 6, 256, 0, 4, true}};
  for (const Case& c : long_cases) {
    Cache cache(c.layout(), lengths);
    fill(ref_kernels(), two_, cache, lengths, values(7300 * c.kv_heads * c.head_dim, 21),
         values(7300 * c.kv_heads * c.layout().v_dim(), 22));
    const int q_heads = c.kv_heads * c.group;
    const Floats q = values(int64_t{3} * q_heads * c.head_dim, 23, 20.0f);
    const Forward want = attend(ref_kernels(), two_, cache, q_heads, spans, q);
    for (const KernelTable* t : vector_tables())
      for (ThreadPool* pool : pools()) {
        const Forward got = attend(*t, *pool, cache, q_heads, spans, q);
        ASSERT_TRUE(same_bits(got.out, want.out)) << t->name << " " << describe(c) << " threads " << pool->threads();
        ASSERT_TRUE(same_bits(got.max, want.max)) << t->name << " " << describe(c) << " max";
        ASSERT_TRUE(same_bits(got.sum, want.sum)) << t->name << " " << describe(c) << " sum";
      }
  }
}

// A latent cache is a cache whose values were copied out of its keys, and holds nothing but the keys.
TEST_F(AttentionTest, ALatentCacheIsOneWithTheValuesInItsKeys) {
  constexpr int kDim = 24, kValueDim = 20, kGroup = 3;
  for (const DType type : {DType::F32, DType::F16, DType::BF16}) {
    const KvLayout latent = layout_of(type, 1, kDim, 32, kValueDim, true), apart = layout_of(type, 1, kDim, 32, kValueDim);
    EXPECT_EQ(latent.page_bytes(), kLayers * 32 * kDim * latent.element_bytes());
    EXPECT_EQ(apart.page_bytes(), kLayers * 32 * (kDim + kValueDim) * latent.element_bytes());
    const Taped batch({300});
    const Floats k = values(300 * kDim, 24), q = values(300 * kGroup * kDim, 25), dout = values(300 * kGroup * kValueDim, 26);
    Floats v;
    for (size_t j = 0; j < 300; ++j) v.insert(v.end(), &k[j * kDim], &k[j * kDim] + kValueDim);
    Cache of_latent(latent, batch.lengths), of_both(apart, batch.lengths);
    fill(ref_kernels(), two_, of_latent, batch.lengths, k, {});
    fill(ref_kernels(), two_, of_both, batch.lengths, k, v);
    const Forward got = attend(ref_kernels(), two_, of_latent, kGroup, batch.spans, q),
                  want = attend(ref_kernels(), two_, of_both, kGroup, batch.spans, q);
    EXPECT_TRUE(same_bits(got.out, want.out)) << dtype_name(type);
    const Backward got_d = attend_backward(ref_kernels(), two_, of_latent, kGroup, batch, q, got, dout),
                   want_d = attend_backward(ref_kernels(), two_, of_both, kGroup, batch, q, want, dout);
    EXPECT_TRUE(same_bits(got_d.dq, want_d.dq)) << dtype_name(type) << " dq";
    EXPECT_TRUE(same_bits(got_d.dk, want_d.dk)) << dtype_name(type) << " dk";
    EXPECT_TRUE(same_bits(got_d.dv, want_d.dv)) << dtype_name(type) << " dv";
  }
}

TEST_F(AttentionTest, BackwardHasRefsBits) {
  for (const Case& c : cases()) {
    const KvLayout layout = c.layout();
    std::vector<Taped> batches = {Taped({1, 60, 17, 0, 33, 100}), Taped({2})};
    if (c.group <= 2 && c.head_dim <= 32) batches.push_back(Taped({520, 256, 257}));  // across splits
    if (c.large()) batches = {Taped({20, 0, 3})};
    for (const Taped& batch : batches) {
      Cache cache(layout, batch.lengths);
      const int64_t kv_rows = batch.rows * c.kv_heads, q_heads = c.kv_heads * c.group;
      fill(ref_kernels(), two_, cache, batch.lengths, values(kv_rows * c.head_dim, 7, c.outlier),
           values(kv_rows * layout.v_dim(), 8, c.outlier));
      const Floats q = values(batch.rows * q_heads * c.head_dim, 9),
                   dout = values(batch.rows * q_heads * layout.v_dim(), 10, 100.0f);
      const Forward f = attend(ref_kernels(), two_, cache, static_cast<int>(q_heads), batch.spans, q);
      const Backward want = attend_backward(ref_kernels(), two_, cache, static_cast<int>(q_heads), batch, q, f, dout);
      for (const KernelTable* t : vector_tables())
        for (ThreadPool* pool : pools()) {
          const Backward got = attend_backward(*t, *pool, cache, static_cast<int>(q_heads), batch, q, f, dout);
          const std::string where = fmt::format("{} {} rows {} threads {}", t->name, describe(c), batch.rows, pool->threads());
          ASSERT_TRUE(same_bits(got.dv, want.dv)) << where << " dv";
          ASSERT_TRUE(same_bits(got.dk, want.dk)) << where << " dk";
          ASSERT_TRUE(same_bits(got.dq, want.dq)) << where << " dq";
        }
    }
  }
}

// ---- meaning ----

struct Shape {
  size_t rows, kv_heads, group, dim;
};
// Causal attention of one sequence, unrounded: q [rows][heads][dim], k and v [rows][kv_heads][dim].
Doubles attention_in_double(const Shape& s, const Doubles& q, const Doubles& k, const Doubles& v) {
  const size_t heads = s.kv_heads * s.group;
  Doubles out(s.rows * heads * s.dim);
  for (size_t i = 0; i < s.rows; ++i)
    for (size_t h = 0; h < heads; ++h) {
      Doubles w;
      double top = -1e300, sum = 0;
      for (size_t j = 0; j <= i; ++j) {
        double dot = 0;
        for (size_t d = 0; d < s.dim; ++d)
          dot += q[(i * heads + h) * s.dim + d] * k[(j * s.kv_heads + h / s.group) * s.dim + d];
        w.push_back(dot / std::sqrt(static_cast<double>(s.dim)));
        top = std::max(top, w.back());
      }
      for (double& x : w) sum += x = std::exp(x - top);
      for (size_t j = 0; j <= i; ++j)
        for (size_t d = 0; d < s.dim; ++d)
          out[(i * heads + h) * s.dim + d] += w[j] / sum * v[(j * s.kv_heads + h / s.group) * s.dim + d];
    }
  return out;
}
Doubles widened(const Floats& x, size_t n) { return Doubles(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(n)); }

// What a cache of this type holds of x.
Floats rounded(DType type, Floats x) {
  for (float& v : x) {
    if (type == DType::F16) v = f16_to_f32(f32_to_f16_saturate(v));
    if (type == DType::BF16) v = bf16_to_f32(f32_to_bf16_saturate(v));
  }
  return x;
}

void expect_near_relative(const Floats& got, const Doubles& want, double tolerance, const std::string& what) {
  double largest = 0, worst = 0;
  for (double w : want) largest = std::max(largest, std::fabs(w));
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::fabs(got[i] - want[i]);
    worst = error <= worst ? worst : error;  // NaN is the worst
  }
  EXPECT_LT(worst, tolerance * largest) << what << ", largest " << largest;
}

// On the rounded K and V half-precision caches are as exact as F32 ones: the only other error is fp32's.
TEST_F(AttentionTest, IsSoftmaxAttentionOnTheRoundedCache) {
  const Shape s{600, 2, 2, 24};
  const int64_t kv = static_cast<int64_t>(s.rows * s.kv_heads * s.dim);
  const Floats k = values(kv, 11), v = values(kv, 12), q = values(kv * 2, 13);
  const auto rows = static_cast<int64_t>(s.rows);
  for (const DType type : {DType::F32, DType::F16, DType::BF16}) {
    const Floats k_held = rounded(type, k), v_held = rounded(type, v);
    const Doubles want = attention_in_double(s, widened(q, q.size()), widened(k_held, k.size()), widened(v_held, v.size()));
    Cache cache(layout_of(type, 2, 24, 64), {rows});
    fill(ref_kernels(), two_, cache, {rows}, k, v);
    expect_near_relative(attend(ref_kernels(), two_, cache, 4, {{0, 0, rows}}, q).out, want, 2e-6, dtype_name(type));
  }
}

struct Gradients {
  Doubles dq, dk, dv;
};
// The derivative of attention_in_double by its formula: no finite differences, so that long sequences are cheap.
Gradients attention_backward_in_double(const Shape& s, const Floats& q, const Floats& k, const Floats& v, const Floats& dout) {
  const size_t heads = s.kv_heads * s.group;
  const double scale = 1 / std::sqrt(static_cast<double>(s.dim));
  Gradients g{Doubles(q.size()), Doubles(k.size()), Doubles(v.size())};
  for (size_t i = 0; i < s.rows; ++i)
    for (size_t h = 0; h < heads; ++h) {
      const size_t at = (i * heads + h) * s.dim;
      const auto kv_at = [&](size_t j) { return (j * s.kv_heads + h / s.group) * s.dim; };
      Doubles p(i + 1), dp(i + 1);
      double top = -1e300, sum = 0, mean = 0;
      for (size_t j = 0; j <= i; ++j) {
        for (size_t d = 0; d < s.dim; ++d) {
          p[j] += double{q[at + d]} * k[kv_at(j) + d] * scale;
          dp[j] += double{dout[at + d]} * v[kv_at(j) + d];
        }
        top = std::max(top, p[j]);
      }
      for (double& x : p) sum += x = std::exp(x - top);
      for (size_t j = 0; j <= i; ++j) mean += (p[j] /= sum) * dp[j];
      for (size_t j = 0; j <= i; ++j) {
        const double ds = p[j] * (dp[j] - mean) * scale;
        for (size_t d = 0; d < s.dim; ++d) {
          g.dv[kv_at(j) + d] += p[j] * dout[at + d];
          g.dk[kv_at(j) + d] += ds * q[at + d];
          g.dq[at + d] += ds * k[kv_at(j) + d];
        }
      }
    }
  return g;
}

// Beyond one split of 256, where the saved maximum and sum are those of several splits.
TEST_F(AttentionTest, BackwardIsTheDerivativeAcrossSplits) {
  for (const size_t n : {size_t{257}, size_t{700}})
    for (const DType type : {DType::F32, DType::F16, DType::BF16}) {
      const Shape s{n, 1, 3, 20};
      const auto kv = static_cast<int64_t>(n * s.dim);
      const Floats k = values(kv, 31), v = values(kv, 32), q = values(kv * 3, 33), dout = values(kv * 3, 34);
      const Taped batch({static_cast<int64_t>(n)});
      Cache cache(layout_of(type, 1, 20, 64), batch.lengths);
      fill(ref_kernels(), two_, cache, batch.lengths, k, v);
      const Forward f = attend(ref_kernels(), two_, cache, 3, batch.spans, q);
      const Backward got = attend_backward(ref_kernels(), two_, cache, 3, batch, q, f, dout);
      const Gradients want = attention_backward_in_double(s, q, rounded(type, k), rounded(type, v), dout);
      const std::string where = fmt::format("{} n={} ", dtype_name(type), n);
      // Rows past the first split alone: the first ones' gradients are larger and would hide theirs.
      const auto tail = static_cast<std::ptrdiff_t>(256 * 3 * s.dim);
      expect_near_relative(Floats(got.dq.begin() + tail, got.dq.end()), Doubles(want.dq.begin() + tail, want.dq.end()), 1e-5,
                           where + "dq of positions from 256");
      expect_near_relative(got.dq, want.dq, 1e-5, where + "dq");
      expect_near_relative(got.dk, want.dk, 1e-5, where + "dk");
      expect_near_relative(got.dv, want.dv, 1e-5, where + "dv");
    }
}

TEST_F(AttentionTest, BackwardIsTheDerivative) {
  const Shape s{13, 2, 3, 10};
  const int64_t kv = static_cast<int64_t>(s.rows * s.kv_heads * s.dim);
  const Floats k = values(kv, 14), v = values(kv, 15), q = values(kv * 3, 16), dout = values(kv * 3, 17);
  const Taped batch({static_cast<int64_t>(s.rows)});
  Cache cache(layout_of(DType::F32, 2, 10, 16), batch.lengths);
  fill(ref_kernels(), one_, cache, batch.lengths, k, v);
  const Forward f = attend(ref_kernels(), one_, cache, 6, batch.spans, q);
  const Backward got = attend_backward(ref_kernels(), one_, cache, 6, batch, q, f, dout);
  Doubles inputs[3] = {widened(q, q.size()), widened(k, k.size()), widened(v, v.size())};
  const Floats* gradients[3] = {&got.dq, &got.dk, &got.dv};
  const auto loss = [&] {
    const Doubles y = attention_in_double(s, inputs[0], inputs[1], inputs[2]);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * double{dout[i]};
    return sum;
  };
  for (int which = 0; which < 3; ++which) {
    Doubles want;
    double largest = 0;
    for (double& x : inputs[which]) {
      const double keep = x, h = 1e-5;
      x = keep + h;
      const double up = loss();
      x = keep - h;
      want.push_back((up - loss()) / (2 * h));
      x = keep;
      largest = std::max(largest, std::fabs(want.back()));
    }
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_NEAR((*gradients[which])[i], want[i], 1e-4 * largest) << "dq, dk, dv: " << which << " at " << i;
  }
}

}  // namespace
}  // namespace raison
