// Multi-head latent attention as it is computed, absorbed and over a cache of latents, against its definition in double: keys and
// values of every head decompressed, softmax over them. And a layer with experts against its definition.
#include <cmath>
#include <functional>

#include "nn/layers.h"
#include "ops/fixture.h"

namespace raison {
namespace {

using testing::OpsFixture;
using Doubles = std::vector<double>;

constexpr size_t kHidden = 40, kHeads = 3, kNope = 11, kRope = 6, kValue = 9, kRank = 14, kQueryRank = 13;
constexpr double kScale = 0.31;  // another than 1/sqrt(17): YaRN's correction is in it
const std::vector<int32_t> kOffsets = {0, 12, 19};

struct Weights {
  Doubles q, q_a, q_a_norm, q_b, kv_a, kv_a_norm, kv_b, o;
};

// y [rows of w] = w x.
Doubles times(const Doubles& w, const double* x, size_t cols) {
  Doubles y(w.size() / cols);
  for (size_t n = 0; n < y.size(); ++n)
    for (size_t k = 0; k < cols; ++k) y[n] += w[n * cols + k] * x[k];
  return y;
}

Doubles normed(const Doubles& x, const Doubles& w) {
  double s = 0;
  for (size_t i = 0; i < w.size(); ++i) s += x[i] * x[i];
  Doubles y(w.size());
  for (size_t i = 0; i < w.size(); ++i) y[i] = x[i] / std::sqrt(s / static_cast<double>(w.size()) + 1e-6) * w[i];
  return y;
}

void rotate(double* x, size_t rot, const float* cos, const float* sin, bool interleaved) {
  const Doubles in(x, x + rot);
  for (size_t i = 0; i < rot / 2; ++i) {
    const size_t a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + rot / 2;
    x[a] = in[a] * double{cos[i]} - in[b] * double{sin[i]};
    x[b] = in[b] * double{cos[i]} + in[a] * double{sin[i]};
  }
}

// Section 2.1 of arXiv:2405.04434, equations 9 to 19, token by token.
Doubles by_definition(const Weights& w, const Doubles& x, const RopeRows& angles) {
  const size_t tokens = x.size() / kHidden, stride = kNope + kValue;
  std::vector<Doubles> q, k, v;  // of each token [heads][nope + rope], the same, [heads][value]
  for (size_t t = 0; t < tokens; ++t) {
    const double* in = x.data() + t * kHidden;
    const float *cos = angles.cos->data() + t * kRope / 2, *sin = angles.sin->data() + t * kRope / 2;
    q.push_back(w.q.empty() ? times(w.q_b, normed(times(w.q_a, in, kHidden), w.q_a_norm).data(), kQueryRank)
                            : times(w.q, in, kHidden));
    Doubles down = times(w.kv_a, in, kHidden);
    rotate(down.data() + kRank, kRope, cos, sin, angles.interleaved);
    const Doubles up = times(w.kv_b, normed(down, w.kv_a_norm).data(), kRank);
    k.emplace_back();
    v.emplace_back();
    for (size_t h = 0; h < kHeads; ++h) {
      rotate(q[t].data() + h * (kNope + kRope) + kNope, kRope, cos, sin, angles.interleaved);
      k[t].insert(k[t].end(), up.begin() + static_cast<long>(h * stride), up.begin() + static_cast<long>(h * stride + kNope));
      k[t].insert(k[t].end(), down.begin() + kRank, down.end());  // one roped key for all heads
      v[t].insert(v[t].end(), up.begin() + static_cast<long>(h * stride + kNope),
                  up.begin() + static_cast<long>((h + 1) * stride));
    }
  }
  Doubles y;
  for (size_t s = 0; s + 1 < kOffsets.size(); ++s)
    for (auto t = static_cast<size_t>(kOffsets[s]); t < static_cast<size_t>(kOffsets[s + 1]); ++t) {
      Doubles mixed(kHeads * kValue);
      for (size_t h = 0; h < kHeads; ++h) {
        double sum = 0;
        for (auto j = static_cast<size_t>(kOffsets[s]); j <= t; ++j) {
          double dot = 0;
          for (size_t i = h * (kNope + kRope); i < (h + 1) * (kNope + kRope); ++i) dot += q[t][i] * k[j][i];
          const double e = std::exp(dot * kScale);
          sum += e;
          for (size_t i = 0; i < kValue; ++i) mixed[h * kValue + i] += e * v[j][h * kValue + i];
        }
        for (size_t i = 0; i < kValue; ++i) mixed[h * kValue + i] /= sum;
      }
      const Doubles out = times(w.o, mixed.data(), kHeads * kValue);
      y.insert(y.end(), out.begin(), out.end());
    }
  return y;
}

// The layer in a store, and the same weights in double.
struct Latent {
  OpsFixture f;
  MultiHeadLatentAttention layer;
  Weights w;
  std::vector<std::pair<Parameter*, Doubles*>> trained;
  RopeRows angles;
  ForwardBatch batch;
  std::vector<uint8_t> memory;
  std::vector<uint8_t*> pages;
  std::vector<uint8_t* const*> row_pages;

  Latent(bool low_rank_query, bool interleaved) {
    if (low_rank_query) {
      layer.q_a.weight = weight("q_a", kQueryRank, kHidden, &w.q_a);
      layer.q_a_norm.weight = vector("q_a_norm", kQueryRank, &w.q_a_norm);
      layer.q_b.weight = weight("q_b", kHeads * (kNope + kRope), kQueryRank, &w.q_b);
    } else {
      layer.q.weight = weight("q", kHeads * (kNope + kRope), kHidden, &w.q);
    }
    layer.kv_a.weight = weight("kv_a", kRank + kRope, kHidden, &w.kv_a);
    layer.kv_a_norm.weight = vector("kv_a_norm", kRank, &w.kv_a_norm);
    layer.kv_b = weight("kv_b", kHeads * (kNope + kValue), kRank, &w.kv_b);
    layer.o.weight = weight("o", kHidden, kHeads * kValue, &w.o);
    layer.heads = kHeads, layer.nope = kNope, layer.rope = kRope, layer.value = kValue, layer.rank = kRank;
    layer.softmax_scale = kScale;
    batch.tokens.resize(static_cast<size_t>(kOffsets.back()));
    batch.seq_offsets = kOffsets;
    for (size_t s = 0; s + 1 < kOffsets.size(); ++s)
      for (int32_t p = 0; p < kOffsets[s + 1] - kOffsets[s]; ++p) batch.positions.push_back(p);
    batch.kv = {DType::F32, 1, 1, kRank + kRope, 16, kRank, true};
    memory.resize(2 * static_cast<size_t>(batch.kv.page_bytes()), 0xFF);
    pages = {memory.data(), memory.data() + batch.kv.page_bytes()};
    batch.seq_pages = {&pages[0], &pages[1]};
    row_pages = batch.row_pages();
    RopeConfig rope;
    rope.rot = kRope;
    rope.theta = 100;
    rope.magnitude = 1.2;  // both sides of the product have it
    rope.interleaved = interleaved;
    angles = RopeTable(rope).rows(batch.positions, 0);
  }
  Parameter* weight(const std::string& name, int64_t rows, int64_t cols, Doubles* copy) {
    Parameter& p = f.matrix(name, rows, cols, 60 + f.store.all().size());
    auto values = p.to_row_major();
    for (float& v : values) v /= std::sqrt(static_cast<float>(cols));
    p.from_row_major(values.data(), p.values());
    copy->assign(values.begin(), values.end());
    trained.emplace_back(&p, copy);
    return &p;
  }
  Parameter* vector(const std::string& name, int64_t n, Doubles* copy) {
    Parameter p;
    p.name = name;
    p.shape = {n};
    p.trainable = true;
    for (int64_t i = 0; i < n; ++i) p.vector.push_back(1 + 0.1f * static_cast<float>(i % 5 - 2));
    copy->assign(p.vector.begin(), p.vector.end());
    Parameter& stored = f.store.add(std::move(p));
    trained.emplace_back(&stored, copy);
    return &stored;
  }
};

TEST(LatentAttention, AbsorbedIsWhatTheDefinitionSays) {
  for (const bool low_rank_query : {false, true})
    for (const bool interleaved : {false, true}) {
      Latent l(low_rank_query, interleaved);
      const Tensor x = l.f.input(kOffsets.back(), kHidden, 70);
      const Doubles want = by_definition(l.w, Doubles(x.data, x.data + x.size()), l.angles);
      for (const KernelTable* table : {&ref_kernels(), &l.f.kernels}) {
        Context ctx{l.f.pool, *table, l.f.arena};
        const Tensor y = l.layer(ctx, 0, l.batch, l.row_pages, l.angles, x);
        ASSERT_EQ(static_cast<size_t>(y.size()), want.size());
        for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(y.data[i], want[i], 1e-5) << table->name << " " << i;
      }
    }
}

TEST(LatentAttention, GradientsAreTheDefinitionsDerivative) {
  for (const bool low_rank_query : {false, true}) {
    Latent l(low_rank_query, true);
    Tensor x = l.f.input(kOffsets.back(), kHidden, 71);
    GradientStore gradients(l.f.store);
    Tape tape(gradients);
    Context ctx{l.f.pool, l.f.kernels, l.f.arena, &tape};
    tape.track(x);
    const Tensor y = l.layer(ctx, 0, l.batch, l.row_pages, l.angles, x);
    Tensor g = l.f.input(y.rows, y.cols, 72);
    tape.add_grad(ctx, y, g.data, false);
    tape.backward(ctx);
    gradients.finish_micro_batch();
    Doubles xd(x.data, x.data + x.size());
    const auto derivative = [&](double& v) {
      const double keep = v;
      double value[2] = {0, 0};
      for (const int side : {0, 1}) {
        v = keep + (side ? 1e-5 : -1e-5);
        const Doubles out = by_definition(l.w, xd, l.angles);
        for (size_t i = 0; i < out.size(); ++i) value[side] += out[i] * double{g.data[i]};
      }
      v = keep;
      return (value[1] - value[0]) / 2e-5;
    };
    for (size_t i = 0; i < xd.size(); i += 53) EXPECT_NEAR(tape.grad(x.slot)[i], derivative(xd[i]), 1e-4) << "dx " << i;
    for (const auto& [p, copy] : l.trained) {
      const auto dw = p->to_row_major(gradients.total(*p));
      for (size_t i = 0; i < copy->size(); i += copy->size() / 9)
        EXPECT_NEAR(dw[i], derivative((*copy)[i]), 1e-4 * (1 + std::fabs(double{dw[i]}))) << p->name << " " << i;
    }
  }
}

// Every expert's output for every token, then those that a plain loop over the scores picks.
TEST(MixtureOfExpertsLayer, IsTheWeightedSumOfTheChosenExperts) {
  constexpr size_t kDim = 12, kWidth = 10, kExperts = 6, kTokens = 15;
  OpsFixture f;
  MixtureOfExperts moe;
  moe.config = {kExperts, 2, true, 3, 2, true, true, 2.5f};
  uint64_t seed = 80;
  const auto matrix = [&](int64_t rows, int64_t cols) {
    ++seed;
    return &f.matrix("m" + std::to_string(seed), rows, cols, seed);
  };
  const auto swiglu = [&] {
    SwiGlu s;
    s.gate.weight = matrix(kWidth, kDim);
    s.up.weight = matrix(kWidth, kDim);
    s.down.weight = matrix(kDim, kWidth);
    return s;
  };
  moe.router.weight = matrix(kExperts, kDim);
  Parameter bias;
  bias.name = "bias";
  bias.shape = {kExperts};
  bias.vector = {0.3f, -0.4f, 0, 0.2f, -0.1f, 0};
  moe.correction = &f.store.add(std::move(bias));
  for (size_t e = 0; e < kExperts; ++e) moe.experts.push_back(swiglu());
  moe.shared = swiglu();

  const Tensor x = f.input(kTokens, kDim, 79);
  const auto doubles = [](const Parameter* p) {
    const auto v = p->to_row_major();
    return Doubles(v.begin(), v.end());
  };
  const auto through = [&](const SwiGlu& s, const Doubles& in) {
    Doubles g = times(doubles(s.gate.weight), in.data(), kDim);
    const Doubles u = times(doubles(s.up.weight), in.data(), kDim);
    for (size_t i = 0; i < g.size(); ++i) g[i] = g[i] / (1 + std::exp(-g[i])) * u[i];
    return times(doubles(s.down.weight), g.data(), kWidth);
  };
  for (const bool with_shared : {true, false}) {
    MixtureOfExperts layer = moe;
    if (!with_shared) layer.shared = {};
    Context ctx{f.pool, f.kernels, f.arena};
    const Tensor y = layer(ctx, x);
    for (size_t t = 0; t < kTokens; ++t) {
      const float* row = x.row(static_cast<int64_t>(t));
      const Doubles in(row, row + kDim);
      Doubles scores = times(doubles(moe.router.weight), in.data(), kDim), choice = scores;
      for (size_t e = 0; e < kExperts; ++e) {
        scores[e] = 1 / (1 + std::exp(-scores[e]));
        choice[e] = scores[e] + double{moe.correction->vector[e]};
      }
      size_t worst = 0;  // of three groups of two, the one that is left out
      for (size_t g = 1; g < 3; ++g)
        if (choice[2 * g] + choice[2 * g + 1] < choice[2 * worst] + choice[2 * worst + 1]) worst = g;
      size_t first = kExperts, second = kExperts;
      for (size_t e = 0; e < kExperts; ++e) {
        if (e / 2 == worst) continue;
        if (first == kExperts || choice[e] > choice[first]) {
          second = first;
          first = e;
        } else if (second == kExperts || choice[e] > choice[second]) {
          second = e;
        }
      }
      Doubles want = with_shared ? through(moe.shared, in) : Doubles(kDim);
      for (const size_t e : {first, second}) {
        const Doubles out = through(moe.experts[e], in);
        for (size_t i = 0; i < kDim; ++i) want[i] += 2.5 * scores[e] / (scores[first] + scores[second]) * out[i];
      }
      for (size_t i = 0; i < kDim; ++i)
        ASSERT_NEAR(y.row(static_cast<int64_t>(t))[i], want[i], 2e-4 * (1 + std::fabs(want[i]))) << "token " << t << " " << i;
    }
  }
}

}  // namespace
}  // namespace raison
