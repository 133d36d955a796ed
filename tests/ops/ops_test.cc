// Ops on the tape: what the kernels' own tests can't see: wiring, accumulation, chunks, recomputation.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "ops/fixture.h"

namespace raison {
namespace {

using Fixture = testing::OpsFixture;

TEST(Ops, WrongShapesAreProgrammingErrors) {
  Fixture f;
  Parameter& w = f.matrix("w", 5, 8, 1);
  Context ctx{f.pool, f.kernels, f.arena};
  EXPECT_THROW(linear(ctx, w, nullptr, f.input(2, 7, 2)), std::logic_error);
  EXPECT_THROW(add(ctx, f.input(2, 3, 1), f.input(3, 2, 1)), std::logic_error);
  const int32_t ids[] = {0, 5};
  EXPECT_THROW(embedding(ctx, w, ids), std::logic_error);
  EXPECT_THROW(log_softmax_gather(ctx, w, f.input(1, 8, 1), std::vector<int32_t>{5}, 1.0f), std::logic_error);
}

TEST(Ops, AttentionTakesNoOtherShapes) {
  Fixture f;
  Context ctx{f.pool, f.kernels, f.arena};
  ForwardBatch batch;
  batch.tokens = batch.positions = {0};
  batch.seq_offsets = {0, 1};
  batch.kv = {DType::F32, 1, 1, 12, 16, 8, true};
  std::vector<uint8_t> page(static_cast<size_t>(batch.kv.page_bytes()));
  uint8_t* pointers[] = {page.data()};
  batch.seq_pages = {pointers};
  const auto row_pages = batch.row_pages();
  const auto shape = AttentionShape::multi_head_latent(0, 3, 8, 4, 0.5);
  const Tensor q = f.input(1, 36, 1), k = f.input(1, 12, 2), v = f.input(1, 8, 3);
  EXPECT_EQ(attention(ctx, shape, batch, row_pages, q, k, {}).cols, 24);
  EXPECT_THROW(attention(ctx, shape, batch, row_pages, q, k, v), std::logic_error) << "values a latent shape does not have";
  EXPECT_THROW(attention(ctx, shape, batch, row_pages, v, k, {}), std::logic_error) << "width of q";
  EXPECT_THROW(attention(ctx, shape, batch, row_pages, q, v, {}), std::logic_error) << "width of k";
  auto other = shape;
  other.softmax_scale = 0;
  EXPECT_THROW(attention(ctx, other, batch, row_pages, q, k, {}), std::logic_error) << "no scale";
  other = shape;
  other.latent = false;
  EXPECT_THROW(attention(ctx, other, batch, row_pages, q, k, {}), std::logic_error) << "no values";
  EXPECT_THROW(attention(ctx, other, batch, row_pages, q, k, v), std::logic_error) << "a latent cache";
  batch.kv.value_dim = 9;
  EXPECT_THROW(attention(ctx, shape, batch, row_pages, q, k, {}), std::logic_error) << "another width of values";
}

// A vocabulary large enough that the head product is cut into chunks: values and gradients equal those of the pieces.
TEST(Ops, LogSoftmaxGatherDoesNotDependOnItsChunks) {
  Fixture f;
  constexpr int64_t kRows = 70, kVocab = 200000, kDim = 4;  // 10 rows a chunk
  Parameter& head = f.matrix("head", kVocab, kDim, 3);
  const Tensor x = f.input(kRows, kDim, 4);
  std::vector<int32_t> targets;
  for (int64_t r = 0; r < kRows; ++r) targets.push_back(r % 9 == 0 ? -1 : static_cast<int32_t>(r * 2500));
  Context plain{f.pool, f.kernels, f.arena};
  const Tensor all = log_softmax_gather(plain, head, x, targets, 0.7f);
  for (int64_t r = 0; r < kRows; ++r) {
    Tensor row{x.row(r), 1, kDim, -1};
    const Tensor one = log_softmax_gather(plain, head, row, std::span(targets).subspan(static_cast<size_t>(r), 1), 0.7f);
    EXPECT_EQ(std::memcmp(one.data, all.data + r, sizeof(float)), 0) << "row " << r;
    const Tensor z = head_logits(plain, head, row);
    if (targets[static_cast<size_t>(r)] >= 0)
      EXPECT_EQ(log_softmax_at(plain, z.data, kVocab, targets[static_cast<size_t>(r)], 0.7f), all.data[r]);
    else
      EXPECT_EQ(all.data[r], 0.0f);
  }
}

// d(sum of squares / 2) through two uses of one tensor and one parameter: gradients add up.
TEST(Ops, GradientsOfSharedTensorsAndParametersAddUp) {
  Fixture f;
  Parameter& w = f.matrix("w", 6, 6, 5);
  GradientStore gradients(f.store);
  Tape tape(gradients);
  Context ctx{f.pool, f.kernels, f.arena, &tape};
  Tensor x = f.input(3, 6, 6);
  tape.track(x);
  const Tensor y = add(ctx, linear(ctx, w, nullptr, x), linear(ctx, w, nullptr, x));  // 2 W x
  std::vector<float> seed(y.data, y.data + y.size());
  tape.add_grad(ctx, y, seed.data(), false);
  tape.backward(ctx);
  gradients.finish_micro_batch();
  const auto wv = w.to_row_major();
  const auto dw = w.to_row_major(gradients.total(w));
  for (int64_t n = 0; n < 6; ++n)
    for (int64_t k = 0; k < 6; ++k) {
      double want = 0;
      for (int64_t r = 0; r < 3; ++r) want += 2.0 * static_cast<double>(y.row(r)[n]) * static_cast<double>(x.row(r)[k]);
      EXPECT_NEAR(dw[static_cast<size_t>(n * 6 + k)], want, 1e-4 * (1 + std::fabs(want)));
    }
  for (int64_t r = 0; r < 3; ++r)
    for (int64_t k = 0; k < 6; ++k) {
      double want = 0;
      for (int64_t n = 0; n < 6; ++n)
        want += 2.0 * static_cast<double>(y.row(r)[n]) * static_cast<double>(wv[static_cast<size_t>(n * 6 + k)]);
      EXPECT_NEAR(tape.grad(x.slot)[r * 6 + k], want, 1e-4 * (1 + std::fabs(want)));
    }
}

TEST(Ops, MicroBatchesAreSummedAloneThenAdded) {
  Fixture f;
  Parameter& w = f.matrix("w", 4, 4, 7);
  GradientStore gradients(f.store);
  std::vector<float> total(static_cast<size_t>(w.value_count()));
  for (uint64_t batch = 0; batch < 3; ++batch) {
    GradientStore alone(f.store);
    for (GradientStore* g : {&gradients, &alone}) {
      Tape tape(*g);
      Context ctx{f.pool, f.kernels, f.arena, &tape};
      const Tensor y = linear(ctx, w, nullptr, f.input(5, 4, 20 + batch));
      std::vector<float> seed(static_cast<size_t>(y.size()), 0.1f);
      tape.add_grad(ctx, y, seed.data(), false);
      tape.backward(ctx);
      g->finish_micro_batch();
    }
    for (size_t i = 0; i < total.size(); ++i) total[i] = batch == 0 ? alone.total(w)[i] : total[i] + alone.total(w)[i];
  }
  EXPECT_EQ(std::memcmp(total.data(), gradients.total(w), total.size() * sizeof(float)), 0);
}

TEST(Ops, RecomputationGivesTheSameBits) {
  Fixture f;
  Parameter& w = f.matrix("w", 8, 8, 8);
  std::vector<float> kept[2];
  for (bool recompute : {false, true}) {
    GradientStore gradients(f.store);
    Tape tape(gradients);
    Context ctx{f.pool, f.kernels, f.arena, &tape, recompute};
    Tensor x = f.input(4, 8, 9);
    tape.track(x);
    const Tensor y = checkpoint(ctx, x, [&w](Context& c, const Tensor& in) {
      return add(c, in, softmax(c, linear(c, w, nullptr, silu_mul(c, in, in))));
    });
    const int32_t rows[] = {0, 3};
    const Tensor z = select_rows(ctx, y, rows);
    std::vector<float> seed(z.data, z.data + z.size());
    tape.add_grad(ctx, z, seed.data(), false);
    tape.backward(ctx);
    gradients.finish_micro_batch();
    auto& out = kept[recompute ? 1 : 0];
    out.assign(z.data, z.data + z.size());
    out.insert(out.end(), gradients.total(w), gradients.total(w) + w.value_count());
    out.insert(out.end(), tape.grad(x.slot), tape.grad(x.slot) + x.size());
  }
  ASSERT_EQ(kept[0].size(), kept[1].size());
  EXPECT_EQ(std::memcmp(kept[0].data(), kept[1].data(), kept[0].size() * sizeof(float)), 0);
}

TEST(Ops, CheckpointsKeepTheirShape) {
  Fixture f;
  Parameter& narrow = f.matrix("narrow", 3, 6, 1);
  GradientStore gradients(f.store);
  Tape tape(gradients);
  Context ctx{f.pool, f.kernels, f.arena, &tape, true};
  Tensor x = f.input(4, 6, 2);
  tape.track(x);
  EXPECT_THROW(checkpoint(ctx, x, [&](Context& c, const Tensor& in) { return linear(c, narrow, nullptr, in); }),
               std::logic_error);
  const int32_t rows[] = {0, 2};
  EXPECT_THROW(checkpoint(ctx, x, [&](Context& c, const Tensor& in) { return select_rows(c, in, rows); }), std::logic_error);
  // Another shape only when it is recomputed.
  const Tensor y = checkpoint(ctx, x, [&](Context& c, const Tensor& in) { return c.tape ? select_rows(c, in, rows) : in; });
  std::vector<float> dy(static_cast<size_t>(y.size()), 1.0f);
  tape.add_grad(ctx, y, dy.data(), false);
  EXPECT_THROW(tape.backward(ctx), std::logic_error);
}

// A function that ignores its input hands no gradient on; its parameters get theirs all the same.
TEST(Ops, ACheckpointMayIgnoreItsInput) {
  Fixture f;
  Parameter& table = f.matrix("table", 5, 6, 3);
  std::vector<float> got[2];
  for (bool recompute : {false, true}) {
    GradientStore gradients(f.store);
    Tape tape(gradients);
    Context ctx{f.pool, f.kernels, f.arena, &tape, recompute};
    Tensor x = f.input(2, 6, 4);
    tape.track(x);
    const std::vector<int32_t> ids = {4, 1};
    const Tensor y = checkpoint(ctx, x, [&](Context& c, const Tensor&) { return embedding(c, table, ids); });
    std::vector<float> dy(12, 0.5f);
    tape.add_grad(ctx, y, dy.data(), false);
    tape.backward(ctx);
    EXPECT_EQ(tape.grad(x.slot), nullptr);
    gradients.finish_micro_batch();
    got[recompute ? 1 : 0] = testing::copy_of(gradients.total(table), table.value_count());
  }
  EXPECT_EQ(got[0], got[1]);
}

}  // namespace
}  // namespace raison
