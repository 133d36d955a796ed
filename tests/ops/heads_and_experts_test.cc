// What latent attention and experts are made of: heads cut and joined, products with a head's part of a matrix, rows gathered and
// combined. Forward and backward, against chains of FMAs to the bit and against sums in double.
#include <cmath>
#include <cstring>

#include "ops/fixture.h"

namespace raison {
namespace {

using testing::copy_of;
using testing::OpsFixture;

std::vector<float> head_seed(int64_t n, uint64_t seed) {
  Rng rng(seed, 9);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) v = static_cast<float>(rng.normal());
  return out;
}

::testing::AssertionResult head_bits(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) return ::testing::AssertionFailure() << "sizes " << got.size() << " and " << want.size();
  for (size_t i = 0; i < got.size(); ++i)
    if (std::memcmp(&got[i], &want[i], sizeof(float)) != 0)
      return ::testing::AssertionFailure() << "first difference at " << i << ": " << got[i] << ", expected " << want[i];
  return ::testing::AssertionSuccess();
}

std::vector<const KernelTable*> ref_and_best(const OpsFixture& f) { return {&ref_kernels(), &f.kernels}; }

TEST(Heads, SplitAndJoinAreEachOthersInverseBothWays) {
  constexpr int64_t kRows = 5, kLeft = 3, kRight = 4;
  for (const int heads : {1, 3}) {
    OpsFixture f;
    Tensor x = f.input(kRows, heads * (kLeft + kRight), 1);
    GradientStore gradients(f.store);
    Tape tape(gradients);
    Context ctx{f.pool, f.kernels, f.arena, &tape};
    tape.track(x);
    const auto [a, b] = split_heads(ctx, x, heads, kLeft);
    for (int64_t r = 0; r < kRows; ++r)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t i = 0; i < kLeft + kRight; ++i) {
          const float part = i < kLeft ? a.row(r)[h * kLeft + i] : b.row(r)[h * kRight + i - kLeft];
          ASSERT_EQ(part, x.row(r)[h * (kLeft + kRight) + i]);
        }
    const Tensor y = join_heads(ctx, a, b, heads);
    EXPECT_TRUE(head_bits(copy_of(y.data, y.size()), copy_of(x.data, x.size())));
    auto dy = head_seed(y.size(), 2);
    tape.add_grad(ctx, y, dy.data(), false);
    tape.backward(ctx);
    EXPECT_TRUE(head_bits(copy_of(tape.grad(x.slot), x.size()), dy));
  }
}

// One half's gradient alone leaves zeros in the other's columns.
TEST(Heads, AHalfThatNobodyUsesHasNoGradient) {
  for (const bool left : {true, false}) {
    OpsFixture f;
    Tensor x = f.input(2, 2 * 5, 3);
    GradientStore gradients(f.store);
    Tape tape(gradients);
    Context ctx{f.pool, f.kernels, f.arena, &tape};
    tape.track(x);
    const auto [a, b] = split_heads(ctx, x, 2, 2);
    const Tensor& used = left ? a : b;
    auto dy = head_seed(used.size(), 4);
    tape.add_grad(ctx, used, dy.data(), false);
    tape.backward(ctx);
    const float* dx = tape.grad(x.slot);
    for (int64_t i = 0; i < x.size(); ++i) {
      const int64_t row = i / 10, head = i % 10 / 5, at = i % 5;
      const int64_t width = left ? 2 : 3, in = left ? at : at - 2;
      const bool mine = in >= 0 && in < width;
      EXPECT_EQ(dx[i], mine ? dy[static_cast<size_t>((row * 2 + head) * width + in)] : 0.0f) << i;
    }
  }
}

TEST(Heads, WrongShapesAreProgrammingErrors) {
  OpsFixture f;
  Context ctx{f.pool, f.kernels, f.arena};
  const Tensor x = f.input(2, 12, 1), y = f.input(3, 12, 1);
  EXPECT_THROW(split_heads(ctx, x, 5, 1), std::logic_error);
  EXPECT_THROW(split_heads(ctx, x, 3, 4), std::logic_error);
  EXPECT_THROW(split_heads(ctx, x, 3, 0), std::logic_error);
  EXPECT_THROW(join_heads(ctx, x, y, 3), std::logic_error);
  EXPECT_THROW(join_heads(ctx, x, x, 5), std::logic_error);
  Parameter& w = f.matrix("w", 12, 4, 1);
  EXPECT_THROW(head_linear(ctx, w, {3, 4, 2, 3}, x), std::logic_error) << "rows past the end";
  EXPECT_THROW(head_linear(ctx, w, {3, 4, 0, 4}, f.input(2, 8, 1)), std::logic_error) << "width";
  EXPECT_THROW(head_linear_transposed(ctx, w, {3, 4, 0, 3}, x), std::logic_error) << "width";
  const int32_t rows[] = {0, 3};
  EXPECT_THROW(gather_rows(ctx, y, rows), std::logic_error);
}

// Parts whose rows begin and end within panels of 16, that share panels, that are exactly one, that end with the matrix.
struct Part {
  HeadRows rows;
  int64_t matrix_rows;
};
std::vector<Part> parts() {
  return {{{4, 40, 0, 16}, 160}, {{4, 40, 16, 24}, 160}, {{3, 32, 16, 16}, 96}, {{5, 7, 3, 4}, 35},
          {{2, 21, 1, 17}, 43},  {{1, 16, 0, 16}, 16},   {{3, 50, 9, 41}, 150}};
}

// y[t][h][r] or, transposed, y[t][h][k], each the chain that docs/numerics.md gives a matrix product.
std::vector<float> by_chains(const std::vector<float>& w, int64_t cols, const HeadRows& p, const float* x, int64_t tokens,
                             bool transposed) {
  std::vector<float> y;
  const int64_t in = transposed ? p.rows : cols, out = transposed ? cols : p.rows;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t h = 0; h < p.heads; ++h)
      for (int64_t o = 0; o < out; ++o) {
        float acc = 0;
        for (int64_t i = 0; i < in; ++i) {
          const int64_t row = h * p.stride + p.first + (transposed ? i : o);
          const float value = w[static_cast<size_t>(row * cols + (transposed ? o : i))];
          acc = std::fma(value, x[(t * p.heads + h) * in + i], acc);
        }
        y.push_back(acc);
      }
  return y;
}

// dW[row][k] += over ascending tokens of a[t][h][r] * b[t][h][k].
void add_gradient_chains(std::vector<float>* dw, int64_t cols, const HeadRows& p, const float* a, const float* b,
                         int64_t tokens) {
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t h = 0; h < p.heads; ++h)
      for (int64_t r = 0; r < p.rows; ++r)
        for (int64_t k = 0; k < cols; ++k) {
          float& acc = (*dw)[static_cast<size_t>((h * p.stride + p.first + r) * cols + k)];
          acc = std::fma(a[(t * p.heads + h) * p.rows + r], b[(t * p.heads + h) * cols + k], acc);
        }
}

TEST(HeadLinear, IsTheChainOfAMatrixProductInEveryFloatType) {
  constexpr int64_t kTokens = 6, kCols = 19;
  for (const Part& part : parts())
    for (const DType type : {DType::F32, DType::F16, DType::BF16}) {
      OpsFixture f(3);
      Parameter& w = f.matrix("w", part.matrix_rows, kCols, 5);
      w.matrix = *PackedWeight::pack_f32(type, part.matrix_rows, kCols, w.to_row_major().data());
      const auto values = w.to_row_major();
      const Tensor x = f.input(kTokens, part.rows.heads * kCols, 6), z = f.input(kTokens, part.rows.heads * part.rows.rows, 7);
      for (const KernelTable* table : ref_and_best(f)) {
        Context ctx{f.pool, *table, f.arena};
        const Tensor y = head_linear(ctx, w, part.rows, x), u = head_linear_transposed(ctx, w, part.rows, z);
        EXPECT_TRUE(head_bits(copy_of(y.data, y.size()), by_chains(values, kCols, part.rows, x.data, kTokens, false)))
            << dtype_name(type) << " " << part.matrix_rows << " " << table->name;
        EXPECT_TRUE(head_bits(copy_of(u.data, u.size()), by_chains(values, kCols, part.rows, z.data, kTokens, true)))
            << dtype_name(type) << " " << part.matrix_rows << " " << table->name << " transposed";
      }
    }
}

// Two uses of one matrix in two batches, as latent attention has: dW goes on in the order of the tape and of the packed tokens,
// whatever the threads.
TEST(HeadLinear, GradientsAreChainsOverPackedTokens) {
  constexpr int64_t kTokens = 7, kCols = 18;
  for (const Part& part : parts())
    for (const int threads : {1, 3}) {
      OpsFixture f(threads);
      Parameter& w = f.matrix("w", part.matrix_rows, kCols, 8);
      const auto values = w.to_row_major();
      const HeadRows& p = part.rows;
      Tensor x = f.input(kTokens, p.heads * kCols, 9), z = f.input(kTokens, p.heads * p.rows, 10);
      auto d_linear = head_seed(kTokens * p.heads * p.rows, 11), d_transposed = head_seed(kTokens * p.heads * kCols, 12);
      for (const KernelTable* table : ref_and_best(f)) {
        GradientStore gradients(f.store);
        Tape tape(gradients);
        Context ctx{f.pool, *table, f.arena, &tape};
        Tensor xs = x, zs = z;
        tape.track(xs);
        tape.track(zs);
        const Tensor y = head_linear(ctx, w, p, xs), u = head_linear_transposed(ctx, w, p, zs);
        tape.add_grad(ctx, y, d_linear.data(), false);
        tape.add_grad(ctx, u, d_transposed.data(), false);
        tape.backward(ctx);
        gradients.finish_micro_batch();
        EXPECT_TRUE(
            head_bits(copy_of(tape.grad(xs.slot), xs.size()), by_chains(values, kCols, p, d_linear.data(), kTokens, true)));
        EXPECT_TRUE(head_bits(copy_of(tape.grad(zs.slot), zs.size()),
                              by_chains(values, kCols, p, d_transposed.data(), kTokens, false)));
        std::vector<float> want(values.size());
        add_gradient_chains(&want, kCols, p, z.data, d_transposed.data(), kTokens);  // recorded last, so met first
        add_gradient_chains(&want, kCols, p, d_linear.data(), x.data, kTokens);
        EXPECT_TRUE(head_bits(w.to_row_major(gradients.total(w)), want))
            << part.matrix_rows << " " << table->name << " threads " << threads;
      }
    }
}

TEST(HeadLinear, AFrozenMatrixPassesGradientsOn) {
  OpsFixture f;
  Parameter& w = f.matrix("w", 35, 6, 13);
  w.trainable = false;
  Tensor x = f.input(3, 5 * 6, 14);
  GradientStore gradients(f.store);
  Tape tape(gradients);
  Context ctx{f.pool, f.kernels, f.arena, &tape};
  tape.track(x);
  const Tensor y = head_linear(ctx, w, {5, 7, 3, 4}, x);
  auto dy = head_seed(y.size(), 15);
  tape.add_grad(ctx, y, dy.data(), false);
  tape.backward(ctx);
  gradients.finish_micro_batch();
  EXPECT_FALSE(gradients.has_total(w));
  EXPECT_TRUE(tape.grad(x.slot));
}

// Two experts' rows of one x: a row's gradient is the sum of its copies', and a row nobody took has zero.
TEST(Experts, GatheredRowsHandTheirGradientsBack) {
  OpsFixture f;
  Tensor x = f.input(6, 5, 16);
  const std::vector<int32_t> first = {0, 2, 3}, second = {2, 5}, none;
  GradientStore gradients(f.store);
  Tape tape(gradients);
  Context ctx{f.pool, f.kernels, f.arena, &tape};
  tape.track(x);
  const Tensor a = gather_rows(ctx, x, first), b = gather_rows(ctx, x, second), c = gather_rows(ctx, x, none);
  EXPECT_EQ(c.rows, 0);
  for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(copy_of(a.row(static_cast<int64_t>(i)), 5), copy_of(x.row(first[i]), 5));
  auto da = head_seed(a.size(), 17), db = head_seed(b.size(), 18);
  tape.add_grad(ctx, a, da.data(), false);
  tape.add_grad(ctx, b, db.data(), false);
  tape.backward(ctx);
  std::vector<float> want(30);
  for (size_t i = 0; i < second.size(); ++i)  // the last use first
    for (size_t k = 0; k < 5; ++k) want[static_cast<size_t>(second[i]) * 5 + k] += db[i * 5 + k];
  for (size_t i = 0; i < first.size(); ++i)
    for (size_t k = 0; k < 5; ++k) want[static_cast<size_t>(first[i]) * 5 + k] += da[i * 5 + k];
  EXPECT_TRUE(head_bits(copy_of(tape.grad(x.slot), 30), want));
}

// Three experts over seven tokens, one token without any; the weights are bilinear with the outputs, so sums in double decide.
TEST(Experts, CombineIsAWeightedSumAndItsDerivative) {
  constexpr int64_t kTokens = 7, kDim = 21, kTop = 2;
  struct Expert {
    std::vector<int32_t> rows;
    std::vector<int64_t> places;
  };
  const std::vector<Expert> experts = {
      {{0, 2, 4, 5}, {0, 4, 8, 10}}, {{0, 1, 6}, {1, 2, 12}}, {{1, 2, 4, 5, 6}, {3, 5, 9, 11, 13}}};
  OpsFixture f;
  GradientStore gradients(f.store);
  Tape tape(gradients);
  Context ctx{f.pool, f.kernels, f.arena, &tape};
  Tensor weights = f.input(kTokens, kTop, 19);
  tape.track(weights);
  std::vector<ExpertOutput> outputs;
  for (size_t e = 0; e < experts.size(); ++e) {
    Tensor y = f.input(static_cast<int64_t>(experts[e].rows.size()), kDim, 20 + e);
    tape.track(y);
    outputs.push_back({y, experts[e].rows, experts[e].places});
  }
  const Tensor y = combine_experts(ctx, outputs, weights, kTokens, kDim);
  std::vector<float> want(kTokens * kDim);
  for (size_t e = 0; e < experts.size(); ++e)
    for (size_t i = 0; i < experts[e].rows.size(); ++i)
      for (int64_t k = 0; k < kDim; ++k) {
        float& acc = want[static_cast<size_t>(experts[e].rows[i] * kDim + k)];
        acc = std::fma(weights.data[experts[e].places[i]], outputs[e].y.row(static_cast<int64_t>(i))[k], acc);
      }
  EXPECT_TRUE(head_bits(copy_of(y.data, y.size()), want)) << "token 3 has no expert: zero";
  auto dy = head_seed(y.size(), 24);
  tape.add_grad(ctx, y, dy.data(), false);
  tape.backward(ctx);
  std::vector<double> dweights(kTokens * kTop);
  for (size_t e = 0; e < experts.size(); ++e) {
    const float* dx = tape.grad(outputs[e].y.slot);
    ASSERT_TRUE(dx);
    for (size_t i = 0; i < experts[e].rows.size(); ++i) {
      const auto place = static_cast<size_t>(experts[e].places[i]);
      for (int64_t k = 0; k < kDim; ++k) {
        const double g = dy[static_cast<size_t>(experts[e].rows[i] * kDim + k)];
        EXPECT_NEAR(dx[static_cast<int64_t>(i) * kDim + k], g * double{weights.data[place]}, 1e-6);
        dweights[place] += g * double{outputs[e].y.row(static_cast<int64_t>(i))[k]};
      }
    }
  }
  const float* dw = tape.grad(weights.slot);
  ASSERT_TRUE(dw);
  for (size_t i = 0; i < dweights.size(); ++i) EXPECT_NEAR(dw[i], dweights[i], 1e-5) << i;
}

TEST(Experts, CombineOfNothingIsZero) {
  OpsFixture f;
  Context ctx{f.pool, f.kernels, f.arena};
  const Tensor y = combine_experts(ctx, {}, f.input(2, 1, 1), 2, 3);
  EXPECT_EQ(copy_of(y.data, 6), std::vector<float>(6));
  EXPECT_THROW(combine_experts(ctx, {{f.input(2, 4, 1), {0, 1}, {0, 1}}}, f.input(2, 1, 1), 2, 3), std::logic_error);
}

}  // namespace
}  // namespace raison
