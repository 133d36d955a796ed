#include "train/optimizer.h"

#include <algorithm>
#include <cmath>

namespace raison {
namespace {

// base^n by squaring: the same bits everywhere, which libm's pow does not promise.
double power(double base, int64_t n) {
  double result = 1;
  for (; n > 0; n >>= 1) {
    if (n & 1) result *= base;
    base *= base;
  }
  return result;
}

}  // namespace

AdamW::AdamW(ParameterStore& parameters, AdamWOptions options) : parameters_(parameters), options_(options) {
  states_.resize(parameters.all().size());
  for (const auto& p : parameters.all()) {
    if (!p->trainable) continue;
    State& s = states_[static_cast<size_t>(p->index)];
    s.m.assign(static_cast<size_t>(p->value_count()), 0.0f);
    s.v.assign(static_cast<size_t>(p->value_count()), 0.0f);
  }
}

double global_norm(Exec& exec, const KernelTable& kernels, const ParameterStore& parameters, GradientStore& gradients) {
  double sum = 0;
  for (const auto& p : parameters.all())
    if (p->trainable && gradients.has_total(*p)) sum += kernels.sum_squares(exec, gradients.total(*p), p->value_count());
  return std::sqrt(sum);
}

float clip_coefficient(double norm, double max_norm) { return static_cast<float>(std::min(1.0, max_norm / (norm + 1e-6))); }

Result<double> AdamW::step(Exec& exec, const KernelTable& kernels, GradientStore& gradients, double lr) {
  const double norm = global_norm(exec, kernels, parameters_, gradients);
  if (!std::isfinite(norm))
    return error("the gradient is not finite (norm {}); lower the learning rate or lengthen the warm-up", norm);
  const float coefficient = options_.clip > 0 ? clip_coefficient(norm, options_.clip) : 1.0f;
  for (const auto& p : parameters_.all()) {
    if (!p->trainable || !gradients.has_total(*p)) continue;
    float* g = gradients.total(*p);
    if (options_.clip > 0) kernels.scale(exec, g, coefficient, p->value_count());
    State& s = states_[static_cast<size_t>(p->index)];
    ++s.t;
    const bool decays = p->is_matrix() || !options_.decay_matrices_only;
    AdamWArgs a;
    a.p = p->values();
    a.m = s.m.data();
    a.v = s.v.data();
    a.g = g;
    a.n = p->value_count();
    a.decay = decays ? static_cast<float>(1.0 - lr * options_.weight_decay) : 1.0f;
    a.one_minus_b1 = static_cast<float>(1.0 - options_.beta1);
    a.b2 = static_cast<float>(options_.beta2);
    a.one_minus_b2 = static_cast<float>(1.0 - options_.beta2);
    a.step_size = static_cast<float>(lr / (1.0 - power(options_.beta1, s.t)));
    a.inv_sqrt_c2 = static_cast<float>(std::sqrt(1.0 - power(options_.beta2, s.t)));
    a.eps = static_cast<float>(options_.eps);
    kernels.adamw(exec, a);
  }
  ++parameters_.version;
  gradients.clear();
  return norm;
}

}  // namespace raison
