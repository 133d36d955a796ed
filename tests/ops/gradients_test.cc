// Gradients of single ops on the tape: what each record hands on, to the bit where a kernel defines it, and against plain
// formulas or finite differences in double where a wrong argument would still be self-consistent.
#include <cmath>
#include <cstring>

#include "ops/fixture.h"

namespace raison {
namespace {

using testing::copy_of;
using testing::OpsFixture;

// y's seed for the backward: normals of its shape.
std::vector<float> seed_for(const Tensor& y, uint64_t seed) {
  Rng rng(seed, 8);
  std::vector<float> out(static_cast<size_t>(y.size()));
  for (float& v : out) v = static_cast<float>(rng.normal());
  return out;
}

::testing::AssertionResult equal_bits(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) return ::testing::AssertionFailure() << "sizes " << got.size() << " and " << want.size();
  for (size_t i = 0; i < got.size(); ++i)
    if (std::memcmp(&got[i], &want[i], sizeof(float)) != 0)
      return ::testing::AssertionFailure() << "first difference at " << i << ": " << got[i] << ", expected " << want[i];
  return ::testing::AssertionSuccess();
}

// A vocabulary that leaves ten rows to a chunk: the gradients of the whole are those of its rows, one after the other.
TEST(OpsGradients, LogSoftmaxGatherDoesNotDependOnItsChunks) {
  constexpr int64_t kRows = 35, kVocab = 200000, kDim = 4;
  std::vector<float> dhidden[3], dw[3];
  for (int how : {0, 1, 2}) {  // row by row on ref; whole on one thread and on three
    OpsFixture f(how == 2 ? 3 : 1);
    Parameter& head = f.matrix("head", kVocab, kDim, 3);
    const Tensor x = f.input(kRows, kDim, 4);
    std::vector<float> g = seed_for({nullptr, kRows, 1, -1}, 5);
    std::vector<int32_t> targets;
    for (int64_t r = 0; r < kRows; ++r) targets.push_back(r % 9 == 4 ? -1 : static_cast<int32_t>(r * 5000));
    GradientStore gradients(f.store);
    const int64_t piece = how == 0 ? 1 : kRows;
    for (int64_t r = 0; r < kRows; r += piece) {
      Tape tape(gradients);
      Context ctx{f.pool, how == 0 ? ref_kernels() : f.kernels, f.arena, &tape};
      Tensor part{x.row(r), piece, kDim, -1};
      tape.track(part);
      const auto some = std::span(targets).subspan(static_cast<size_t>(r), static_cast<size_t>(piece));
      const Tensor y = log_softmax_gather(ctx, head, part, some, 0.7f);
      tape.add_grad(ctx, y, g.data() + r, false);
      tape.backward(ctx);
      const auto d = copy_of(tape.grad(part.slot), part.size());
      dhidden[how].insert(dhidden[how].end(), d.begin(), d.end());
    }
    gradients.finish_micro_batch();
    dw[how] = copy_of(gradients.total(head), head.value_count());
    if (how == 0) continue;
    EXPECT_TRUE(equal_bits(dhidden[how], dhidden[0])) << "dhidden";
    EXPECT_TRUE(equal_bits(dw[how], dw[0])) << "dW";
  }
}

// sum_r g_r · log softmax(x_r·Wᵀ / T)[target_r] in double.
double gathered(const std::vector<double>& x, const std::vector<double>& w, const std::vector<int32_t>& targets,
                const std::vector<float>& g, size_t dim, double temperature) {
  const size_t vocab = w.size() / dim;
  double total = 0;
  for (size_t r = 0; r < targets.size(); ++r) {
    if (targets[r] < 0) continue;
    double sum = 0, at = 0;
    for (size_t n = 0; n < vocab; ++n) {
      double z = 0;
      for (size_t k = 0; k < dim; ++k) z += x[r * dim + k] * w[n * dim + k];
      sum += std::exp(z / temperature);
      if (static_cast<int32_t>(n) == targets[r]) at = z / temperature;
    }
    total += double{g[r]} * (at - std::log(sum));
  }
  return total;
}

TEST(OpsGradients, LogSoftmaxGatherIsTheDerivativeAtItsTemperature) {
  constexpr int64_t kRows = 7, kVocab = 19, kDim = 5;
  OpsFixture f;
  Parameter& head = f.matrix("head", kVocab, kDim, 3);
  Tensor x = f.input(kRows, kDim, 4);
  const std::vector<int32_t> targets = {3, -1, 18, 0, 3, -1, 7};
  GradientStore gradients(f.store);
  Tape tape(gradients);
  Context ctx{f.pool, f.kernels, f.arena, &tape};
  tape.track(x);
  const Tensor y = log_softmax_gather(ctx, head, x, targets, 0.7f);
  std::vector<float> g = seed_for(y, 6);
  tape.add_grad(ctx, y, g.data(), false);
  tape.backward(ctx);
  gradients.finish_micro_batch();
  const auto w = head.to_row_major();
  std::vector<double> xd(x.data, x.data + x.size()), wd(w.begin(), w.end());
  const auto derivative = [&](double& v) {
    const double keep = v, h = 1e-5;
    v = keep + h;
    const double up = gathered(xd, wd, targets, g, kDim, 0.7);
    v = keep - h;
    const double down = gathered(xd, wd, targets, g, kDim, 0.7);
    v = keep;
    return (up - down) / (2 * h);
  };
  for (size_t i = 0; i < xd.size(); ++i) EXPECT_NEAR(tape.grad(x.slot)[i], derivative(xd[i]), 2e-5) << "dhidden " << i;
  const auto dw = head.to_row_major(gradients.total(head));
  for (size_t i = 0; i < wd.size(); ++i) EXPECT_NEAR(dw[i], derivative(wd[i]), 2e-5) << "dW " << i;
}

TEST(OpsGradients, RopeTurnsGradientsBackInItsOwnPairs) {
  constexpr int64_t kRows = 4;
  constexpr int kHeads = 3, kDim = 10, kRot = 6;
  for (bool interleaved : {false, true}) {
    OpsFixture f;
    Tensor x = f.input(kRows, kHeads * kDim, 7);
    std::vector<float> cos, sin;
    for (int i = 0; i < kRows * kRot / 2; ++i) {
      cos.push_back(static_cast<float>(std::cos(0.4 * i + 0.3)));
      sin.push_back(static_cast<float>(std::sin(0.4 * i + 0.3)));
    }
    const RopeRows angles{std::make_shared<const std::vector<float>>(cos), std::make_shared<const std::vector<float>>(sin),
                          kRot, interleaved};
    GradientStore gradients(f.store);
    Tape tape(gradients);
    Context ctx{f.pool, f.kernels, f.arena, &tape};
    tape.track(x);
    const Tensor y = rope(ctx, x, angles, kHeads, kDim);
    std::vector<float> dy = seed_for(y, 8);
    tape.add_grad(ctx, y, dy.data(), false);
    tape.backward(ctx);
    for (int64_t r = 0; r < kRows; ++r)
      for (int h = 0; h < kHeads; ++h) {
        const int64_t base = (r * kHeads + h) * kDim;
        for (int i = 0; i < kRot / 2; ++i) {
          const int64_t a = base + (interleaved ? 2 * i : i), b = base + (interleaved ? 2 * i + 1 : i + kRot / 2);
          const auto at = static_cast<size_t>(r * (kRot / 2) + i);
          const double c = cos[at], s = sin[at], d0 = dy[static_cast<size_t>(a)], d1 = dy[static_cast<size_t>(b)];
          EXPECT_NEAR(tape.grad(x.slot)[a], d0 * c + d1 * s, 1e-6);
          EXPECT_NEAR(tape.grad(x.slot)[b], d1 * c - d0 * s, 1e-6);
        }
        for (int64_t i = base + kRot; i < base + kDim; ++i) EXPECT_EQ(tape.grad(x.slot)[i], dy[static_cast<size_t>(i)]);
      }
  }
}

// Causal attention over key rows [latent; rope], whose latents are the values, in double: the sum of y * g over sequences.
struct LatentShape {
  size_t heads, latent, rope;
  double scale;
};
double latent_attention(const LatentShape& s, const std::vector<double>& q, const std::vector<double>& k,
                        const std::vector<int32_t>& offsets, const std::vector<float>& g, std::vector<double>* y) {
  const size_t dim = s.latent + s.rope;
  double total = 0;
  for (size_t sequence = 0; sequence + 1 < offsets.size(); ++sequence)
    for (auto i = static_cast<size_t>(offsets[sequence]); i < static_cast<size_t>(offsets[sequence + 1]); ++i)
      for (size_t h = 0; h < s.heads; ++h) {
        std::vector<double> sums(s.latent);
        double sum = 0;
        for (auto j = static_cast<size_t>(offsets[sequence]); j <= i; ++j) {
          double dot = 0;
          for (size_t d = 0; d < dim; ++d) dot += q[(i * s.heads + h) * dim + d] * k[j * dim + d];
          const double e = std::exp(dot * s.scale);
          sum += e;
          for (size_t d = 0; d < s.latent; ++d) sums[d] += e * k[j * dim + d];
        }
        for (size_t d = 0; d < s.latent; ++d) {
          total += sums[d] / sum * double{g[(i * s.heads + h) * s.latent + d]};
          if (y) y->push_back(sums[d] / sum);
        }
      }
  return total;
}

// The scale is the shape's and no width's, and a key's gradient is that of both its uses.
TEST(OpsGradients, LatentAttentionIsTheDerivativeOfSoftmaxAttention) {
  const LatentShape s{5, 18, 7, 0.29};
  const auto shape = AttentionShape::multi_head_latent(1, 5, 18, 7, s.scale);
  ForwardBatch batch;
  batch.tokens.resize(20);
  batch.seq_offsets = {0, 13, 20};
  for (int32_t r = 0; r < 20; ++r) batch.positions.push_back(r < 13 ? r : r - 13);
  batch.kv = {DType::F32, 2, 1, 25, 16, 18, true};
  std::vector<std::vector<uint8_t>> pages(2, std::vector<uint8_t>(static_cast<size_t>(batch.kv.page_bytes()), 0xFF));
  uint8_t* pointers[] = {pages[0].data(), pages[1].data()};
  batch.seq_pages = {pointers, pointers + 1};
  const auto row_pages = batch.row_pages();

  OpsFixture f;
  Tensor q = f.input(20, 5 * 25, 24), k = f.input(20, 25, 25);
  GradientStore gradients(f.store);
  Tape tape(gradients);
  Context ctx{f.pool, f.kernels, f.arena, &tape};
  tape.track(q);
  tape.track(k);
  const Tensor y = attention(ctx, shape, batch, row_pages, q, k, {});
  ASSERT_EQ(y.cols, 5 * 18);
  std::vector<float> g = seed_for(y, 26);
  tape.add_grad(ctx, y, g.data(), false);
  tape.backward(ctx);

  std::vector<double> qd(q.data, q.data + q.size()), kd(k.data, k.data + k.size()), want;
  latent_attention(s, qd, kd, batch.seq_offsets, g, &want);
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(y.data[i], want[i], 1e-5) << "output " << i;
  const auto derivative = [&](double& v) {
    const double keep = v, h = 1e-5;
    v = keep + h;
    const double up = latent_attention(s, qd, kd, batch.seq_offsets, g, nullptr);
    v = keep - h;
    const double down = latent_attention(s, qd, kd, batch.seq_offsets, g, nullptr);
    v = keep;
    return (up - down) / (2 * h);
  };
  for (size_t i = 0; i < qd.size(); i += 7) ASSERT_NEAR(tape.grad(q.slot)[i], derivative(qd[i]), 2e-5) << "dq " << i;
  for (size_t i = 0; i < kd.size(); ++i) ASSERT_NEAR(tape.grad(k.slot)[i], derivative(kd[i]), 1e-4) << "dk " << i;
}

// Integer caches round straight through: gradients near those of an exact cache, of grouped and of latent attention.
TEST(OpsGradients, AttentionOverIntegerCachesIsNearTheExactOne) {
  const auto gradients_of = [](DType type, bool latent) {
    const auto shape =
        latent ? AttentionShape::multi_head_latent(0, 4, 32, 8, 0.2) : AttentionShape::grouped_query(0, 4, 2, 32);
    const int kv_heads = latent ? 1 : 2, dim = latent ? 40 : 32;
    ForwardBatch batch;
    batch.tokens.resize(30);
    batch.seq_offsets = {0, 23, 30};
    for (int32_t r = 0; r < 30; ++r) batch.positions.push_back(r < 23 ? r : r - 23);
    batch.kv = {type, 1, kv_heads, dim, 16, latent ? 32 : 0, latent};
    std::vector<std::vector<uint8_t>> pages(3, std::vector<uint8_t>(static_cast<size_t>(batch.kv.page_bytes()), 0xFF));
    uint8_t* pointers[] = {pages[0].data(), pages[1].data(), pages[2].data()};
    batch.seq_pages = {pointers, pointers + 2};
    const auto row_pages = batch.row_pages();
    OpsFixture f;
    Tensor q = f.input(30, 4 * dim, 31), k = f.input(30, kv_heads * dim, 32), v = latent ? Tensor{} : f.input(30, 64, 33);
    GradientStore store(f.store);
    Tape tape(store);
    Context ctx{f.pool, f.kernels, f.arena, &tape};
    tape.track(q);
    tape.track(k);
    if (!latent) tape.track(v);
    const Tensor y = attention(ctx, shape, batch, row_pages, q, k, v);
    std::vector<float> g = seed_for(y, 34);
    tape.add_grad(ctx, y, g.data(), false);
    tape.backward(ctx);
    std::vector<std::vector<float>> out = {{tape.grad(q.slot), tape.grad(q.slot) + q.size()},
                                           {tape.grad(k.slot), tape.grad(k.slot) + k.size()}};
    if (!latent) out.emplace_back(tape.grad(v.slot), tape.grad(v.slot) + v.size());
    return out;
  };
  for (const bool latent : {false, true}) {
    const auto exact = gradients_of(DType::F32, latent);
    for (const DType type : {DType::I16, DType::I8}) {
      const auto got = gradients_of(type, latent);
      for (size_t which = 0; which < exact.size(); ++which) {
        double error = 0, size = 0;
        for (size_t i = 0; i < exact[which].size(); ++i) {
          const double want = exact[which][i], off = double{got[which][i]} - want;
          error += off * off;
          size += want * want;
        }
        EXPECT_LT(std::sqrt(error / size), type == DType::I16 ? 3e-3 : 5e-2) << dtype_name(type) << " dq, dk, dv: " << which;
        EXPECT_GT(error, 0) << dtype_name(type) << " " << which;
      }
    }
  }
}

TEST(OpsGradients, EmbeddingAddsUpRepeatedIdsInOrder) {
  constexpr int64_t kVocab = 37, kDim = 50;
  const std::vector<int32_t> ids = {5, 0, 36, 5, 5, 17, 0, 16, 5, 36, 15}, more = {5, 2, 36};
  for (int threads : {1, 3}) {
    OpsFixture f(threads);
    Parameter& table = f.matrix("table", kVocab, kDim, 9);
    GradientStore gradients(f.store);
    std::vector<float> want(static_cast<size_t>(kVocab * kDim));
    for (const auto* some : {&ids, &more}) {  // two tapes of one micro-batch: the second goes on from the first
      Tape tape(gradients);
      Context ctx{f.pool, f.kernels, f.arena, &tape};
      const Tensor y = embedding(ctx, table, *some);
      const auto values = table.to_row_major();
      std::vector<float> dy = seed_for(y, 10 + some->size());
      for (size_t r = 0; r < some->size(); ++r)
        for (int64_t k = 0; k < kDim; ++k) {
          const auto at = static_cast<size_t>((*some)[r] * kDim + k);
          ASSERT_EQ(y.row(static_cast<int64_t>(r))[k], values[at]);
          want[at] += dy[r * kDim + static_cast<size_t>(k)];
        }
      tape.add_grad(ctx, y, dy.data(), false);
      tape.backward(ctx);
    }
    gradients.finish_micro_batch();
    EXPECT_TRUE(equal_bits(table.to_row_major(gradients.total(table)), want)) << threads << " threads";
  }
}

TEST(OpsGradients, SelectRowsPutsGradientsBackWhereTheyCameFrom) {
  OpsFixture f;
  Tensor x = f.input(6, 3, 11);
  GradientStore gradients(f.store);
  Tape tape(gradients);
  Context ctx{f.pool, f.kernels, f.arena, &tape};
  tape.track(x);
  const int32_t rows[] = {1, 2, 5};
  const Tensor y = select_rows(ctx, x, rows);
  // The arena's memory is not zero: rows nobody selected must be made so.
  const auto mark = f.arena.mark();
  std::memset(f.arena.floats(1000), 0x7f, 4000);
  f.arena.rewind(mark);
  std::vector<float> dy = seed_for(y, 12), want(18, 0.0f);
  for (size_t i = 0; i < 3; ++i)
    for (size_t k = 0; k < 3; ++k) want[static_cast<size_t>(rows[i]) * 3 + k] = dy[i * 3 + k];
  tape.add_grad(ctx, y, dy.data(), false);
  tape.backward(ctx);
  EXPECT_TRUE(equal_bits(copy_of(tape.grad(x.slot), x.size()), want));
}

// Both inputs of an addition get the sum's gradient; what one of them is given by other uses must not reach the other.
TEST(OpsGradients, TheInputsOfAnAdditionKeepTheirGradientsApart) {
  OpsFixture f;
  Tensor a = f.input(3, 7, 13), b = f.input(3, 7, 14);
  GradientStore gradients(f.store);
  Tape tape(gradients);
  Context ctx{f.pool, f.kernels, f.arena, &tape};
  tape.track(a);
  tape.track(b);
  const Tensor before = softmax(ctx, a);
  const Tensor sum = add(ctx, a, b);
  const Tensor after = softmax(ctx, b);
  std::vector<float> d_before = seed_for(before, 15), d_sum = seed_for(sum, 16), d_after = seed_for(after, 17);
  tape.add_grad(ctx, before, d_before.data(), false);
  tape.add_grad(ctx, sum, d_sum.data(), false);
  tape.add_grad(ctx, after, d_after.data(), false);
  tape.backward(ctx);
  std::vector<float> via_before(21), via_after(21), want_a(21), want_b(21);
  ref_kernels().softmax_backward(f.pool, before.data, d_before.data(), 3, 7, via_before.data());
  ref_kernels().softmax_backward(f.pool, after.data, d_after.data(), 3, 7, via_after.data());
  for (size_t i = 0; i < 21; ++i) {  // the last use first
    want_a[i] = d_sum[i] + via_before[i];
    want_b[i] = via_after[i] + d_sum[i];
  }
  EXPECT_TRUE(equal_bits(copy_of(tape.grad(a.slot), 21), want_a)) << "a, used again before";
  EXPECT_TRUE(equal_bits(copy_of(tape.grad(b.slot), 21), want_b)) << "b, used again after";
}

// The same with both inputs free until then and used again earlier: the buffer one takes must not be the other's.
TEST(OpsGradients, AnAdditionHandsItsBufferToOneInputOnly) {
  for (bool second : {false, true}) {
    OpsFixture f;
    Tensor a = f.input(3, 7, 18), b = f.input(3, 7, 19);
    GradientStore gradients(f.store);
    Tape tape(gradients);
    Context ctx{f.pool, f.kernels, f.arena, &tape};
    tape.track(a);
    tape.track(b);
    const Tensor other = softmax(ctx, second ? b : a);
    const Tensor sum = add(ctx, a, b);
    std::vector<float> d_other = seed_for(other, 20), d_sum = seed_for(sum, 21);
    tape.add_grad(ctx, other, d_other.data(), false);
    tape.add_grad(ctx, sum, d_sum.data(), false);
    tape.backward(ctx);
    EXPECT_TRUE(equal_bits(copy_of(tape.grad(second ? a.slot : b.slot), 21), d_sum)) << (second ? "a" : "b");
  }
  OpsFixture f;  // one tensor as both inputs
  Tensor x = f.input(2, 5, 22);
  GradientStore gradients(f.store);
  Tape tape(gradients);
  Context ctx{f.pool, f.kernels, f.arena, &tape};
  tape.track(x);
  const Tensor twice = add(ctx, x, x);
  std::vector<float> dy = seed_for(twice, 23), want = dy;
  for (float& v : want) v = v + v;
  tape.add_grad(ctx, twice, dy.data(), false);
  tape.backward(ctx);
  EXPECT_TRUE(equal_bits(copy_of(tape.grad(x.slot), 10), want));
}

}  // namespace
}  // namespace raison
