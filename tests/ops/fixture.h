// What the tests of ops share: a pool, an arena, parameters and inputs of normals.
#pragma once
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "ops/ops.h"

namespace raison::testing {

struct OpsFixture {
  explicit OpsFixture(int threads = 2) : pool(threads) {}
  ThreadPool pool;
  Arena arena;
  ParameterStore store;
  const KernelTable& kernels = **select_kernels_from_environment();

  Parameter& matrix(const std::string& name, int64_t rows, int64_t cols, uint64_t seed) {
    Parameter p;
    p.name = name;
    p.shape = {rows, cols};
    std::vector<float> v(static_cast<size_t>(rows * cols));
    Rng rng(seed);
    for (float& x : v) x = static_cast<float>(rng.normal());
    p.matrix = *PackedWeight::pack_f32(DType::F32, rows, cols, v.data());
    p.trainable = true;
    return store.add(std::move(p));
  }
  Tensor input(int64_t rows, int64_t cols, uint64_t seed) {
    Tensor t{arena.floats(rows * cols), rows, cols, -1};
    Rng rng(seed);
    for (int64_t i = 0; i < t.size(); ++i) t.data[i] = static_cast<float>(rng.normal());
    return t;
  }
};

inline std::vector<float> copy_of(const float* data, int64_t n) { return {data, data + n}; }

}  // namespace raison::testing
