// Tape: what forward leaves behind for backward, in order. Context: what every op is given.
#pragma once
#include <functional>
#include <vector>

#include "autodiff/parameter.h"
#include "base/arena.h"
#include "kernels/kernel_table.h"
#include "tensor/tensor.h"

namespace raison {

class Tape;
struct RowAdapters;  // nn/adapter.h

struct Context {
  Exec& exec;
  const KernelTable& kernels;
  Arena& arena;
  Tape* tape = nullptr;    // null when serving: ops then record nothing
  bool recompute = false;  // a layer's activations are recomputed in backward instead of kept (same bits, less memory)
  const RowAdapters* adapters = nullptr;  // which rows of this pass have an adapter; null: none

  Tensor tensor(int64_t rows, int64_t cols) const { return {arena.floats(rows * cols), rows, cols, -1}; }
};

class Tape {
 public:
  using Backward = std::function<void(Context&)>;
  explicit Tape(GradientStore& gradients) : gradients_(gradients) {}

  GradientStore& gradients() { return gradients_; }
  // Gives t a gradient slot and returns it.
  int32_t track(Tensor& t);
  void record(Backward backward) { records_.push_back(std::move(backward)); }

  // The gradient that reached a slot so far, or null.
  float* grad(int32_t slot) const { return slot < 0 ? nullptr : grads_[static_cast<size_t>(slot)].data; }
  // Adds `g` (same size as the tensor). The first contribution is kept as it is if `handed_over` (nobody else will read
  // or write that buffer), else copied.
  void add_grad(Context& ctx, const Tensor& t, float* g, bool handed_over);
  // Runs the records backwards. Gradients of parameters go to gradients()' micro-batch. Seed with add_grad first.
  void backward(Context& ctx);
  void clear();

 private:
  struct Grad {
    float* data = nullptr;
  };
  GradientStore& gradients_;
  std::vector<Grad> grads_;
  std::vector<Backward> records_;
};

}  // namespace raison
