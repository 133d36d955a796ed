// The router against a plain one written apart from it: which experts are chosen, with what weights, and the derivative.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "ops/fixture.h"

namespace raison {
namespace {

using testing::OpsFixture;

constexpr double kMinusInf = -std::numeric_limits<double>::infinity();

std::vector<double> plain_scores(const float* logits, int n, bool sigmoid) {
  std::vector<double> s(static_cast<size_t>(n));
  double most = kMinusInf, sum = 0;
  for (int i = 0; i < n; ++i) most = std::max(most, double{logits[i]});
  for (int i = 0; i < n; ++i) {
    s[static_cast<size_t>(i)] = sigmoid ? 1 / (1 + std::exp(-double{logits[i]})) : std::exp(double{logits[i]} - most);
    sum += s[static_cast<size_t>(i)];
  }
  for (double& v : s) v /= sigmoid ? 1 : sum;
  return s;
}

// Takes the best again and again; the first of equals is met first.
std::vector<int32_t> plain_best(std::vector<double> v, int k) {
  std::vector<int32_t> out;
  std::vector<bool> taken(v.size());
  for (int i = 0; i < k; ++i) {
    int best = -1;
    for (size_t e = 0; e < v.size(); ++e)
      if (!taken[e] && (best < 0 || v[e] > v[static_cast<size_t>(best)])) best = static_cast<int>(e);
    taken[static_cast<size_t>(best)] = true;
    out.push_back(best);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<int32_t> plain_choice(const std::vector<double>& scores, const std::vector<float>& bias, const RouterConfig& c) {
  std::vector<double> biased = scores;
  for (size_t e = 0; e < bias.size(); ++e) biased[e] += double{bias[e]};
  const auto size = static_cast<size_t>(c.experts / c.groups);
  std::vector<double> groups;
  for (size_t g = 0; g < static_cast<size_t>(c.groups); ++g) {
    std::vector<double> members(biased.begin() + static_cast<std::ptrdiff_t>(g * size),
                                biased.begin() + static_cast<std::ptrdiff_t>((g + 1) * size));
    std::sort(members.rbegin(), members.rend());
    groups.push_back(c.group_top2 && c.groups > 1 ? members[0] + members[1] : members[0]);
  }
  const auto kept = plain_best(groups, c.top_groups);
  for (size_t e = 0; e < biased.size(); ++e)
    if (!std::count(kept.begin(), kept.end(), static_cast<int32_t>(e / size))) biased[e] = kMinusInf;
  return plain_best(biased, c.top_k);
}

std::vector<double> plain_weights(const std::vector<double>& scores, const std::vector<int32_t>& chosen,
                                  const RouterConfig& c) {
  double sum = 1e-20;
  for (const int32_t e : chosen) sum += scores[static_cast<size_t>(e)];
  std::vector<double> out;
  for (const int32_t e : chosen) out.push_back(scores[static_cast<size_t>(e)] / (c.normalise ? sum : 1) * double{c.scale});
  return out;
}

Routing routed(OpsFixture& f, std::vector<float> logits, const std::vector<float>& bias, const RouterConfig& c) {
  Context ctx{f.pool, f.kernels, f.arena};
  Tensor x{f.arena.floats(static_cast<int64_t>(logits.size())), static_cast<int64_t>(logits.size()) / c.experts, c.experts, -1};
  std::copy(logits.begin(), logits.end(), x.data);
  return route(ctx, x, bias, c);
}

RouterConfig router(int experts, int top_k, bool sigmoid, int groups = 1, int top_groups = 1, bool group_top2 = false,
                    bool normalise = false, float scale = 1) {
  return {experts, top_k, sigmoid, groups, top_groups, group_top2, normalise, scale};
}

std::vector<RouterConfig> kinds_of_routers() {
  return {router(8, 2, false, 1, 1, false, true),         // Qwen3-MoE
          router(6, 3, false),                            // DeepSeek-V2-Lite
          router(12, 3, false, 4, 2, false, false, 16),   // V2
          router(16, 4, true, 4, 2, true, true, 2.5f),    // V3
          router(24, 8, true, 1, 1, true, true, 2.827f),  // Kimi-K2
          router(6, 6, true, 3, 3, true),                 // all of them
          router(5, 1, false, 5, 2),
          router(9, 1, true, 1, 1, true, true)};
}

// Coarse logits, so that many tie; and fine ones.
TEST(Route, ChoosesAndWeighsAsAPlainRouterDoes) {
  constexpr int64_t kTokens = 400;
  for (const RouterConfig& c : kinds_of_routers())
    for (const bool coarse : {true, false})
      for (const bool biased : {true, false}) {
        OpsFixture f;
        Rng rng(static_cast<uint64_t>(c.experts * 8 + c.top_k), coarse ? 1 : 2);
        std::vector<float> logits, bias;
        for (int64_t i = 0; i < kTokens * c.experts; ++i)
          logits.push_back(coarse ? static_cast<float>(rng.between(-6, 6)) * 0.5f : static_cast<float>(2 * rng.normal()));
        for (int e = 0; biased && e < c.experts; ++e) bias.push_back(static_cast<float>(rng.between(-2, 2)) * 0.21f);
        const Routing r = routed(f, logits, bias, c);
        ASSERT_EQ(static_cast<int64_t>(r.experts.size()), kTokens * c.top_k);
        for (int64_t t = 0; t < kTokens; ++t) {
          const auto scores = plain_scores(logits.data() + t * c.experts, c.experts, c.sigmoid);
          const auto want = plain_choice(scores, bias, c);
          const auto first = r.experts.begin() + t * c.top_k;
          ASSERT_EQ(std::vector<int32_t>(first, first + c.top_k), want)
              << c.experts << " experts, token " << t << (coarse ? " coarse" : " fine") << (biased ? " biased" : "");
          const auto weights = plain_weights(scores, want, c);
          for (int i = 0; i < c.top_k; ++i)
            ASSERT_NEAR(r.weights.row(t)[i], weights[static_cast<size_t>(i)], 2e-6 * double{c.scale}) << "token " << t;
        }
      }
}

TEST(Route, TiesGoToTheLowestIndexAndExpertsAscend) {
  OpsFixture f;
  EXPECT_EQ(routed(f, {1, 1, 1, 1, 1, 1}, {}, router(6, 3, true)).experts, (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(routed(f, {0, 2, 1, 2, 1, 2}, {}, router(6, 4, false)).experts, (std::vector<int32_t>{1, 2, 3, 5}));
  EXPECT_EQ(routed(f, {0, 0, 1, 2, 2, 1, 0, 0}, {}, router(8, 2, true, 4, 1, true)).experts, (std::vector<int32_t>{2, 3}))
      << "groups 1 and 2 tie";
}

// Scores and biases of a group that is kept may all be negative, and those of one left out may be larger than some of them.
TEST(Route, GroupsLeftOutAreNeverChosen) {
  OpsFixture f;
  const std::vector<float> low(6, -5.0f);
  EXPECT_EQ(routed(f, {0, 0, 3, 3, 1, 1}, low, router(6, 2, true, 3, 1, true)).experts, (std::vector<int32_t>{2, 3}));
  // The second group's best pair beats the first's, whose single best expert is the best of all.
  const std::vector<float> split = {4, -8, -8, 1, 1, -8, 0, 0, 0};
  EXPECT_EQ(routed(f, split, {}, router(9, 2, true, 3, 1, true)).experts, (std::vector<int32_t>{3, 4}));
  EXPECT_EQ(routed(f, split, {}, router(9, 2, true, 3, 1, false)).experts, (std::vector<int32_t>{0, 1}))
      << "by its best alone the first group is kept, with experts worse than those left out";
  EXPECT_EQ(routed(f, split, {}, router(9, 2, true)).experts, (std::vector<int32_t>{0, 3})) << "without groups";
}

TEST(Route, TheBiasChoosesButDoesNotWeigh) {
  OpsFixture f;
  const std::vector<float> logits = {2, 1, 0, -1};
  const Routing r = routed(f, logits, {-1, 0, 0, 1}, router(4, 2, true));
  EXPECT_EQ(r.experts, (std::vector<int32_t>{1, 3}));
  EXPECT_NEAR(r.weights.data[0], 1 / (1 + std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(r.weights.data[1], 1 / (1 + std::exp(1.0)), 1e-6);
}

TEST(Route, WhateverTheLogitsExpertsAreDistinctAndExist) {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  const std::vector<std::vector<float>> rows = {std::vector<float>(8, nan),
                                                {nan, 1, 2, nan, 3, nan, nan, 0},
                                                std::vector<float>(8, -inf),
                                                std::vector<float>(8, inf),
                                                {inf, -inf, nan, 0, 1, inf, -inf, nan}};
  for (const std::vector<float>& logits : rows)
    for (const bool sigmoid : {false, true})
      for (const int groups : {1, 2, 4})
        for (const bool normalise : {false, true}) {
          OpsFixture f;
          const int kept = groups == 1 ? 1 : 2;
          const Routing r = routed(f, logits, {}, router(8, 3, sigmoid, groups, kept, true, normalise));
          ASSERT_EQ(r.experts.size(), 3u);
          for (size_t i = 0; i < 3; ++i) {
            EXPECT_TRUE(r.experts[i] >= 0 && r.experts[i] < 8);
            if (i > 0) { EXPECT_LT(r.experts[i - 1], r.experts[i]); }
          }
        }
  OpsFixture f;
  EXPECT_EQ(routed(f, {nan, 1, 2, nan, 3, nan, nan, 0}, {}, router(8, 3, true)).experts, (std::vector<int32_t>{1, 2, 4}))
      << "NaN is less than anything";
}

TEST(Route, WrongShapesAreProgrammingErrors) {
  OpsFixture f;
  EXPECT_THROW(routed(f, {1, 2, 3, 4}, {}, router(4, 5, true)), std::logic_error);
  EXPECT_THROW(routed(f, {1, 2, 3, 4}, {}, router(4, 0, true)), std::logic_error);
  EXPECT_THROW(routed(f, {1, 2, 3, 4}, {1, 2}, router(4, 2, true)), std::logic_error);
  EXPECT_THROW(routed(f, {1, 2, 3, 4}, {}, router(4, 2, true, 3)), std::logic_error);
  EXPECT_THROW(routed(f, {1, 2, 3, 4}, {}, router(4, 2, true, 2, 3)), std::logic_error);
}

// The weights as functions of all logits, the choice held: central differences in double.
TEST(Route, GradientsAreTheDerivative) {
  constexpr int64_t kTokens = 9;
  for (const RouterConfig& c : kinds_of_routers()) {
    OpsFixture f;
    Tensor logits = f.input(kTokens, c.experts, 31);
    std::vector<float> bias;
    for (int e = 0; e < c.experts; ++e) bias.push_back(0.1f * static_cast<float>(e % 3));
    GradientStore gradients(f.store);
    Tape tape(gradients);
    Context ctx{f.pool, f.kernels, f.arena, &tape};
    tape.track(logits);
    const Routing r = route(ctx, logits, bias, c);
    Tensor g = f.input(kTokens, c.top_k, 32);
    tape.add_grad(ctx, r.weights, g.data, false);
    tape.backward(ctx);
    const float* got = tape.grad(logits.slot);
    ASSERT_TRUE(got);
    for (int64_t t = 0; t < kTokens; ++t) {
      const auto first = r.experts.begin() + t * c.top_k;
      const std::vector<int32_t> chosen(first, first + c.top_k);
      const auto value = [&](int e, double shift) {
        std::vector<double> z(logits.row(t), logits.row(t) + c.experts), s = z;
        z[static_cast<size_t>(e)] += shift;
        double sum = 0, total = 0;
        for (const double v : z) sum += std::exp(v);
        for (size_t i = 0; i < z.size(); ++i) s[i] = c.sigmoid ? 1 / (1 + std::exp(-z[i])) : std::exp(z[i]) / sum;
        const auto w = plain_weights(s, chosen, c);
        for (size_t i = 0; i < w.size(); ++i) total += w[i] * double{g.row(t)[i]};
        return total;
      };
      for (int e = 0; e < c.experts; ++e)
        ASSERT_NEAR(got[t * c.experts + e], (value(e, 1e-5) - value(e, -1e-5)) / 2e-5, 3e-6 * (1 + double{c.scale}))
            << c.experts << " experts, token " << t << " expert " << e;
    }
  }
}

// Without a use of the weights, or of the logits' gradient, backward has nothing to do.
TEST(Route, NothingFlowsWhereNothingIsAsked) {
  OpsFixture f;
  Tensor logits = f.input(2, 4, 33);
  GradientStore gradients(f.store);
  Tape tape(gradients);
  Context ctx{f.pool, f.kernels, f.arena, &tape};
  tape.track(logits);
  route(ctx, logits, {}, router(4, 2, true));
  tape.backward(ctx);
  EXPECT_EQ(tape.grad(logits.slot), nullptr);
}

}  // namespace
}  // namespace raison
