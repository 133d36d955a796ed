// Adapters for tests: random low-rank updates of every matrix of a model's layers.
#pragma once
#include "testing/models.h"

namespace raison::testing {

inline bool is_adaptable(const Parameter& p) {
  return p.is_matrix() && p.name.starts_with("model.layers.") && !p.name.ends_with("mlp.gate.weight");
}

inline Parameter& add_matrix(ParameterStore& store, const std::string& name, int64_t rows, int64_t cols, double std,
                             uint64_t seed) {
  Parameter p;
  p.name = name;
  p.shape = {rows, cols};
  p.trainable = true;
  std::vector<float> values(static_cast<size_t>(rows * cols));
  Rng rng(seed, store.all().size());
  for (float& v : values) v = static_cast<float>(std * rng.normal());
  p.matrix = *PackedWeight::pack_f32(DType::F32, rows, cols, values.data());
  return store.add(std::move(p));
}

// `every`: of the matrices one in so many has an update.
inline std::shared_ptr<Adapter> random_adapter(const Model& model, int64_t rank, float scale, uint64_t seed, size_t every = 1) {
  auto adapter = std::make_shared<Adapter>();
  size_t n = 0;
  for (const auto& p : model.parameters().all()) {
    if (!is_adaptable(*p) || n++ % every != 0) continue;
    const double std = 1.0 / std::sqrt(static_cast<double>(p->shape[1]));
    Parameter& a = add_matrix(adapter->parameters(), p->name + ".A", rank, p->shape[1], std, seed);
    Parameter& b = add_matrix(adapter->parameters(), p->name + ".B", p->shape[0], rank, 0.5, seed);
    adapter->set(*p, {&a, &b, scale});
  }
  return adapter;
}

inline void freeze(Model& model) {
  for (const auto& p : model.parameters().all()) p->trainable = false;
}

}  // namespace raison::testing
