// Low-rank adapters on linear layers and on the parts of a matrix that belong to heads: the forward to the bit, gradients against those of
// the matrix W + scale·B·A.
#include "nn/adapter.h"

#include <cmath>
#include <cstring>

#include "nn/layers.h"
#include "ops/fixture.h"

namespace raison {
namespace {

using testing::copy_of;
using testing::OpsFixture;

constexpr float kAdapterScale = 0.75f;

std::vector<float> adapter_normals(int64_t n, uint64_t seed) {
  Rng rng(seed, 21);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) v = static_cast<float>(rng.normal());
  return out;
}

// A base matrix with one adapter on it.
struct Adapted {
  OpsFixture f;
  Adapter adapter;
  Parameter& w;
  Parameter *a, *b;
  RowAdapters rows;

  Adapted(int64_t out, int64_t in, int64_t rank, int threads = 2) : f(threads), w(f.matrix("w", out, in, 1)) {
    a = &matrix("a", rank, in, 2);
    b = &matrix("b", out, rank, 3);
    adapter.set(w, {a, b, kAdapterScale});
  }
  Parameter& matrix(const std::string& name, int64_t rows_of, int64_t cols, uint64_t seed) {
    Parameter p;
    p.name = name;
    p.shape = {rows_of, cols};
    p.matrix = *PackedWeight::pack_f32(DType::F32, rows_of, cols, adapter_normals(rows_of * cols, seed).data());
    p.trainable = true;
    return adapter.parameters().add(std::move(p));
  }
  void rows_are(std::vector<int32_t> some, int64_t of) {
    rows.rows = of;
    rows.groups = {{&adapter, std::move(some)}};
  }
  Context context(Tape* tape = nullptr) { return {f.pool, f.kernels, f.arena, tape, false, &rows}; }
  // W + scale·B·A, as a parameter that is trained.
  Parameter& merged() {
    const auto va = a->to_row_major(), vb = b->to_row_major();
    auto v = w.to_row_major();
    const int64_t in = w.shape[1], rank = a->shape[0];
    for (int64_t n = 0; n < w.shape[0]; ++n)
      for (int64_t k = 0; k < in; ++k) {
        double sum = 0;
        for (int64_t r = 0; r < rank; ++r)
          sum += double{vb[static_cast<size_t>(n * rank + r)]} * double{va[static_cast<size_t>(r * in + k)]};
        float& to = v[static_cast<size_t>(n * in + k)];
        to = static_cast<float>(double{to} + double{kAdapterScale} * sum);
      }
    Parameter& m = f.matrix("merged", w.shape[0], in, 9);
    m.from_row_major(v.data(), m.values());
    return m;
  }
};

void expect_near(const std::vector<float>& got, const std::vector<float>& want, double relative, const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double off = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    off += std::pow(double{got[i]} - double{want[i]}, 2);
    size += std::pow(double{want[i]}, 2);
  }
  EXPECT_GT(size, 0) << what;
  EXPECT_LE(std::sqrt(off), relative * std::sqrt(size)) << what;
}

TEST(AdapterOps, TheFormulaToTheBitOnItsRowsAndOnNoOthers) {
  constexpr int64_t kIn = 37, kOut = 21, kRank = 5, kTokens = 6;
  Adapted t(kOut, kIn, kRank);
  t.rows_are({1, 2, 5}, kTokens);
  const Tensor x = t.f.input(kTokens, kIn, 4);
  Context ctx = t.context(), plain = ctx;
  plain.adapters = nullptr;
  const Linear layer{&t.w, nullptr};
  const Tensor base = layer(plain, x), y = layer(ctx, x);
  const auto a = t.a->to_row_major(), b = t.b->to_row_major();
  for (int64_t r = 0; r < kTokens; ++r) {
    const bool has = r == 1 || r == 2 || r == 5;
    float low[kRank];
    for (int64_t i = 0; i < kRank; ++i) {
      low[i] = 0;
      for (int64_t k = 0; k < kIn; ++k) low[i] = std::fma(a[static_cast<size_t>(i * kIn + k)], x.row(r)[k], low[i]);
    }
    for (int64_t n = 0; n < kOut; ++n) {
      float u = 0, want = base.row(r)[n];
      for (int64_t i = 0; i < kRank; ++i) u = std::fma(b[static_cast<size_t>(n * kRank + i)], low[i], u);
      if (has) want = std::fma(kAdapterScale, u, want);
      ASSERT_EQ(std::memcmp(&want, y.row(r) + n, sizeof(float)), 0) << r << " " << n;
    }
  }
}

// dA = scale·Bᵀ dW and dB = scale·dW Aᵀ, dW that of the merged matrix. `how` multiplies with a parameter and maybe its adapter.
template <class How>
void check_gradients(Adapted& t, int64_t tokens, int64_t width, How how) {
  std::vector<int32_t> all(static_cast<size_t>(tokens));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(i);
  t.rows_are(all, tokens);
  Tensor x = t.f.input(tokens, width, 4);
  Parameter& merged = t.merged();
  std::vector<float> y[2], dx[2], dw, da, db;
  for (const bool adapted : {false, true}) {
    t.w.trainable = false;
    GradientStore gradients(adapted ? t.adapter.parameters() : t.f.store);
    Tape tape(gradients);
    Context ctx = t.context(&tape);
    tape.track(x);
    const Tensor out = how(ctx, adapted ? t.w : merged, x);
    y[adapted] = copy_of(out.data, out.size());
    auto seed = adapter_normals(out.size(), 5);
    tape.add_grad(ctx, out, seed.data(), false);
    tape.backward(ctx);
    gradients.finish_micro_batch();
    dx[adapted] = copy_of(tape.grad(x.slot), x.size());
    if (!adapted) dw = merged.to_row_major(gradients.total(merged));
    if (adapted) {
      da = t.a->to_row_major(gradients.total(*t.a));
      db = t.b->to_row_major(gradients.total(*t.b));
    }
  }
  expect_near(y[1], y[0], 1e-5, "y");
  expect_near(dx[1], dx[0], 1e-5, "dx");
  const int64_t n = t.w.shape[0], k = t.w.shape[1], rank = t.a->shape[0];
  const auto a = t.a->to_row_major(), b = t.b->to_row_major();
  std::vector<float> want_a(a.size()), want_b(b.size());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t r = 0; r < rank; ++r)
      for (int64_t j = 0; j < k; ++j) {
        const float d = kAdapterScale * dw[static_cast<size_t>(i * k + j)];
        want_a[static_cast<size_t>(r * k + j)] += d * b[static_cast<size_t>(i * rank + r)];
        want_b[static_cast<size_t>(i * rank + r)] += d * a[static_cast<size_t>(r * k + j)];
      }
  expect_near(da, want_a, 1e-5, "dA");
  expect_near(db, want_b, 1e-5, "dB");
}

TEST(AdapterOps, GradientsOfALinear) {
  Adapted t(50, 33, 7);
  check_gradients(t, 9, 33, [](Context& ctx, const Parameter& w, const Tensor& x) {
    const Tensor y = linear(ctx, w, nullptr, x);
    add_low_rank(ctx, w, x, y);
    return y;
  });
}

// Parts that panels of 16 rows cover exactly, and others.
TEST(AdapterOps, GradientsOfHeads) {
  for (const HeadRows& part : {HeadRows{4, 40, 16, 24}, HeadRows{3, 20, 0, 11}, HeadRows{2, 32, 16, 16}}) {
    const int64_t rows = part.heads * part.stride;
    Adapted t(rows, 14, 4), transposed(rows, 14, 4);
    check_gradients(t, 5, part.heads * 14, [&](Context& ctx, const Parameter& w, const Tensor& x) {
      const Tensor y = head_linear(ctx, w, part, x);
      add_head_low_rank(ctx, w, part, x, y);
      return y;
    });
    check_gradients(transposed, 5, part.heads * part.rows, [&](Context& ctx, const Parameter& w, const Tensor& x) {
      const Tensor y = head_linear_transposed(ctx, w, part, x);
      add_head_low_rank_transposed(ctx, w, part, x, y);
      return y;
    });
  }
}

// Rows of two adapters and of none: what each adapter's rows give its gradients, and x, is what they give alone.
TEST(AdapterOps, GradientsOfAMixedPassAreThoseOfEachAlone) {
  constexpr int64_t kIn = 19, kOut = 23, kTokens = 8;
  const std::vector<std::vector<int32_t>> of = {{0, 1, 6}, {2, 5, 7}};  // rows 3 and 4: the base
  OpsFixture f;
  Parameter& w = f.matrix("w", kOut, kIn, 1);
  w.trainable = false;
  ParameterStore store;  // both adapters' parameters: of one store, so that one pass can have both gradients
  Adapter adapters[2];
  for (const size_t i : {size_t{0}, size_t{1}}) {
    LowRank l;
    for (const bool first : {true, false}) {
      Parameter p;
      p.name = std::to_string(i) + (first ? "a" : "b");
      p.shape = first ? std::vector<int64_t>{3, kIn} : std::vector<int64_t>{kOut, 3};
      p.trainable = true;
      p.matrix = *PackedWeight::pack_f32(DType::F32, p.shape[0], p.shape[1],
                                         adapter_normals(p.shape[0] * p.shape[1], 30 + 2 * i + (first ? 0 : 1)).data());
      (first ? l.a : l.b) = &store.add(std::move(p));
    }
    l.scale = 0.5f + static_cast<float>(i);
    adapters[i].set(w, l);
  }
  Tensor x = f.input(kTokens, kIn, 4);
  auto seed = adapter_normals(kTokens * kOut, 5);
  const auto run = [&](const RowAdapters& rows, std::vector<float>* dx) {
    GradientStore gradients(store);
    Tape tape(gradients);
    Context ctx{f.pool, f.kernels, f.arena, &tape, false, &rows};
    tape.track(x);
    const Tensor y = Linear{&w, nullptr}(ctx, x);
    tape.add_grad(ctx, y, seed.data(), false);
    tape.backward(ctx);
    gradients.finish_micro_batch();
    *dx = copy_of(tape.grad(x.slot), x.size());
    std::vector<std::vector<float>> out;
    for (const auto& p : store.all())
      out.push_back(gradients.has_total(*p) ? copy_of(gradients.total(*p), p->value_count()) : std::vector<float>());
    return out;
  };
  RowAdapters both;
  both.rows = kTokens;
  both.groups = {{&adapters[0], of[0]}, {&adapters[1], of[1]}};
  std::vector<float> dx, dx_alone;
  const auto mixed = run(both, &dx);
  for (const size_t i : {size_t{0}, size_t{1}}) {
    RowAdapters one = both;
    one.groups = {both.groups[i]};
    const auto alone = run(one, &dx_alone);
    for (const size_t p : {2 * i, 2 * i + 1}) {
      ASSERT_FALSE(mixed[p].empty());
      EXPECT_EQ(mixed[p], alone[p]) << p;
    }
    EXPECT_TRUE(alone[2 * (1 - i)].empty());
    for (const int32_t r : of[i])
      for (int64_t k = 0; k < kIn; ++k)
        EXPECT_EQ(dx[static_cast<size_t>(r * kIn + k)], dx_alone[static_cast<size_t>(r * kIn + k)]);
  }
}

TEST(AdapterOps, RowsOfASelection) {
  Adapter first, second;
  RowAdapters rows;
  rows.rows = 10;
  rows.groups = {{&first, {0, 1, 2}}, {&second, {5, 6, 9}}};
  const int32_t some[] = {1, 3, 6, 9};
  const RowAdapters of = rows.of(some);
  EXPECT_EQ(of.rows, 4);
  ASSERT_EQ(of.groups.size(), 2u);
  EXPECT_EQ(of.groups[0].rows, (std::vector<int32_t>{0}));
  EXPECT_EQ(of.groups[1].rows, (std::vector<int32_t>{2, 3}));
  EXPECT_EQ(of.groups[1].adapter, &second);
  const int32_t none[] = {3, 4};
  EXPECT_TRUE(rows.of(none).groups.empty());
}

TEST(AdapterOps, WrongShapesAndStoresAreProgrammingErrors) {
  Adapted t(12, 8, 2);
  EXPECT_THROW(t.adapter.set(t.w, {t.b, t.a, 1}), std::logic_error);
  t.rows_are({0}, 3);
  Context ctx = t.context();
  EXPECT_THROW((Linear{&t.w, nullptr}(ctx, t.f.input(2, 8, 1))), std::logic_error) << "rows of another pass";
  const int32_t twice[] = {1, 1};
  EXPECT_THROW(add_rows(ctx, t.f.input(2, 8, 1), twice, 1, t.f.input(2, 8, 1)), std::logic_error);
  // The base trained together with an adapter would write into the adapter's gradients.
  GradientStore gradients(t.adapter.parameters());
  bool fresh;
  EXPECT_THROW(gradients.micro(t.w, &fresh), std::logic_error);
}

// A frozen base of any type hands on what its dequantised values say, and A and B learn through it.
TEST(AdapterOps, QuantisedBases) {
  constexpr int64_t kIn = 256, kOut = 40, kTokens = 6, kRank = 3;
  for (const DType type : {DType::BF16, DType::Q8_0, DType::Q4_K}) {
    Adapted t(kOut, kIn, kRank);
    t.w.trainable = false;
    t.w.matrix = *PackedWeight::pack_f32(type, kOut, kIn, t.w.to_row_major().data());
    const auto w = t.w.to_row_major();  // dequantised
    t.rows_are({0, 1, 2, 3, 4, 5}, kTokens);
    Tensor x = t.f.input(kTokens, kIn, 4);
    auto seed = adapter_normals(kTokens * kOut, 5);
    GradientStore gradients(t.adapter.parameters());
    Tape tape(gradients);
    Context ctx = t.context(&tape);
    tape.track(x);
    const Tensor y = Linear{&t.w, nullptr}(ctx, x);
    tape.add_grad(ctx, y, seed.data(), false);
    tape.backward(ctx);
    gradients.finish_micro_batch();
    // sum of seed·y is linear in A, in B and in x: a difference over a whole step is the derivative.
    const auto a = t.a->to_row_major(), b = t.b->to_row_major();
    const auto objective = [&](const std::vector<float>& va, const std::vector<float>& vb, const std::vector<float>& vx) {
      double sum = 0;
      for (int64_t r = 0; r < kTokens; ++r) {
        double low[kRank] = {};
        for (int64_t i = 0; i < kRank; ++i)
          for (int64_t k = 0; k < kIn; ++k)
            low[i] += double{va[static_cast<size_t>(i * kIn + k)]} * double{vx[static_cast<size_t>(r * kIn + k)]};
        for (int64_t n = 0; n < kOut; ++n) {
          double z = 0;
          for (int64_t k = 0; k < kIn; ++k)
            z += double{w[static_cast<size_t>(n * kIn + k)]} * double{vx[static_cast<size_t>(r * kIn + k)]};
          for (int64_t i = 0; i < kRank; ++i)
            z += double{kAdapterScale} * double{vb[static_cast<size_t>(n * kRank + i)]} * low[i];
          sum += double{seed[static_cast<size_t>(r * kOut + n)]} * z;
        }
      }
      return sum;
    };
    const auto vx = copy_of(x.data, x.size());
    const double at = objective(a, b, vx);
    const auto da = t.a->to_row_major(gradients.total(*t.a)), db = t.b->to_row_major(gradients.total(*t.b));
    for (size_t i = 0; i < 40; ++i) {
      auto moved = a;
      const size_t j = i * 19 % moved.size();
      moved[j] += 1;
      EXPECT_NEAR(da[j], objective(moved, b, vx) - at, 2e-4 * (1 + std::fabs(da[j]))) << dtype_name(type);
      auto moved_b = b;
      const size_t m = i * 7 % moved_b.size();
      moved_b[m] += 1;
      EXPECT_NEAR(db[m], objective(a, moved_b, vx) - at, 2e-4 * (1 + std::fabs(db[m]))) << dtype_name(type);
      auto moved_x = vx;
      const size_t q = i * 37 % moved_x.size();
      moved_x[q] += 1;
      const float dx = tape.grad(x.slot)[q];
      EXPECT_NEAR(dx, objective(a, b, moved_x) - at, 2e-4 * (1 + std::fabs(dx))) << dtype_name(type);
    }
  }
}

}  // namespace
}  // namespace raison
