// AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) with clipping by the global gradient norm. Every scalar is computed in
// double and rounded to fp32 once; the rest is KernelTable::adamw.
#pragma once
#include "autodiff/parameter.h"
#include "kernels/kernel_table.h"

namespace raison {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decay_matrices_only = false;  // else every parameter decays, norms and biases too
  double clip = 0;                   // largest global norm; 0 = no clipping
};

class AdamW {
 public:
  // Moments of one parameter, laid out like Parameter::values(), and the number of updates it has seen.
  struct State {
    std::vector<float> m, v;
    int64_t t = 0;
  };
  AdamW(ParameterStore& parameters, AdamWOptions options);

  // Global norm of `gradients`, clipping, one update of every parameter that has a gradient, version + 1. Returns the norm
  // before clipping. Error: the norm is not finite; nothing has changed then. The gradients are scaled in place and cleared.
  Result<double> step(Exec& exec, const KernelTable& kernels, GradientStore& gradients, double lr);

  // By Parameter::index; parameters that are not trained have empty states.
  std::vector<State>& states() { return states_; }
  const std::vector<State>& states() const { return states_; }
  const AdamWOptions& options() const { return options_; }
  ParameterStore& parameters() { return parameters_; }

 private:
  ParameterStore& parameters_;
  AdamWOptions options_;
  std::vector<State> states_;
};

// sqrt of the sum of squares of all gradients, parameters in order of index.
double global_norm(Exec& exec, const KernelTable& kernels, const ParameterStore& parameters, GradientStore& gradients);
// min(1, max_norm / (norm + 1e-6)), as fp32.
float clip_coefficient(double norm, double max_norm);

}  // namespace raison
