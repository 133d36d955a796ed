#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/math.h"
#include "ops/check.h"
#include "ops/ops.h"

namespace raison {
namespace {

// The k largest of `values`, ties to the lowest index; NaN counts as less than anything. Ascending indices.
void largest(const float* values, int n, int k, int32_t* out) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) order[static_cast<size_t>(i)] = i;
  const auto before = [&](int32_t a, int32_t b) {
    const float x = values[a], y = values[b];
    if (std::isnan(x) || std::isnan(y)) return std::isnan(x) == std::isnan(y) ? a < b : std::isnan(y);
    return x != y ? x > y : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + k, order.end(), before);
  std::copy_n(order.begin(), k, out);
  std::sort(out, out + k);
}

// Scores of the groups that are left out become -inf.
void keep_top_groups(const RouterConfig& c, float* choice) {
  const int size = c.experts / c.groups;
  std::vector<float> scores(static_cast<size_t>(c.groups));
  for (int g = 0; g < c.groups; ++g) {
    float best = -std::numeric_limits<float>::infinity(), second = best;
    for (int i = g * size; i < (g + 1) * size; ++i) {
      if (choice[i] > best) {
        second = best;
        best = choice[i];
      } else if (choice[i] > second) {
        second = choice[i];
      }
    }
    scores[static_cast<size_t>(g)] = c.group_top2 ? best + second : best;
  }
  std::vector<int32_t> kept(static_cast<size_t>(c.top_groups));
  largest(scores.data(), c.groups, c.top_groups, kept.data());
  for (int g = 0, k = 0; g < c.groups; ++g) {
    if (k < c.top_groups && kept[static_cast<size_t>(k)] == g) {
      ++k;
      continue;
    }
    std::fill(choice + g * size, choice + (g + 1) * size, -std::numeric_limits<float>::infinity());
  }
}

// scores [experts] -> the chosen experts and their weights.
void choose(const RouterConfig& c, const float* scores, std::span<const float> bias, float* choice, int32_t* experts,
            float* weights) {
  for (int e = 0; e < c.experts; ++e) choice[e] = bias.empty() ? scores[e] : scores[e] + bias[static_cast<size_t>(e)];
  if (c.groups > 1) keep_top_groups(c, choice);
  largest(choice, c.experts, c.top_k, experts);
  float sum = 0;
  for (int i = 0; i < c.top_k; ++i) sum += scores[experts[i]];
  for (int i = 0; i < c.top_k; ++i) {
    const float s = scores[experts[i]];
    weights[i] = (c.normalise ? s / (sum + 1e-20f) : s) * c.scale;
  }
}

// dweights of one token to dscores of its chosen experts.
void weights_backward(const RouterConfig& c, const float* scores, const int32_t* experts, const float* dw, float* ds) {
  float sum = 0, dot = 0;
  for (int i = 0; i < c.top_k; ++i) {
    sum += scores[experts[i]];
    dot += dw[i] * scores[experts[i]];
  }
  sum += 1e-20f;
  for (int i = 0; i < c.top_k; ++i) ds[i] = (c.normalise ? dw[i] / sum - dot / (sum * sum) : dw[i]) * c.scale;
}

// One token's dlogits: through the sigmoid, or through the softmax over all experts.
void scores_backward(const RouterConfig& c, const float* scores, const int32_t* experts, const float* ds, float* dlogits) {
  std::fill_n(dlogits, c.experts, 0.0f);
  if (c.sigmoid) {
    for (int i = 0; i < c.top_k; ++i) {
      const float s = scores[experts[i]];
      dlogits[experts[i]] = ds[i] * (s * (1.0f - s));
    }
    return;
  }
  float dot = 0;
  for (int i = 0; i < c.top_k; ++i) dot += ds[i] * scores[experts[i]];
  for (int e = 0; e < c.experts; ++e) dlogits[e] = -(scores[e] * dot);
  for (int i = 0; i < c.top_k; ++i) dlogits[experts[i]] = scores[experts[i]] * (ds[i] - dot);
}
}  // namespace

Routing route(Context& ctx, const Tensor& logits, std::span<const float> bias, const RouterConfig& config) {
  check_shape(logits.cols == config.experts && config.top_k >= 1 && config.top_k <= config.experts, "route: shapes");
  check_shape(bias.empty() || static_cast<int>(bias.size()) == config.experts, "route: bias of another width");
  check_shape(config.groups >= 1 && config.experts % config.groups == 0 && config.top_groups <= config.groups, "route: groups");
  Tensor scores = ctx.tensor(logits.rows, logits.cols);
  if (config.sigmoid) {
    for (int64_t i = 0; i < logits.size(); ++i) scores.data[i] = 1.0f / (1.0f + exp_f32(-logits.data[i]));
  } else {
    ctx.kernels.softmax(ctx.exec, logits.data, logits.rows, logits.cols, scores.data);
  }
  Routing r;
  r.experts.resize(static_cast<size_t>(logits.rows * config.top_k));
  r.weights = ctx.tensor(logits.rows, config.top_k);
  std::vector<float> choice(static_cast<size_t>(config.experts));
  for (int64_t t = 0; t < logits.rows; ++t)
    choose(config, scores.row(t), bias, choice.data(), r.experts.data() + t * config.top_k, r.weights.row(t));
  if (!ctx.tape) return r;
  ctx.tape->track(r.weights);
  ctx.tape->record([logits, scores, config, weights = r.weights, experts = r.experts](Context& c) {
    const float* dw = c.tape->grad(weights.slot);
    if (!dw || logits.slot < 0) return;
    float* dlogits = c.arena.floats(logits.size());
    std::vector<float> ds(static_cast<size_t>(config.top_k));
    for (int64_t t = 0; t < logits.rows; ++t) {
      const int32_t* chosen = experts.data() + t * config.top_k;
      weights_backward(config, scores.row(t), chosen, dw + t * config.top_k, ds.data());
      scores_backward(config, scores.row(t), chosen, ds.data(), dlogits + t * config.experts);
    }
    c.tape->add_grad(c, logits, dlogits, true);
  });
  return r;
}

}  // namespace raison
