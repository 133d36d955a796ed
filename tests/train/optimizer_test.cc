// AdamW and clipping against the reference implementation's numbers (goldens/optim).
#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/thread_pool.h"
#include "io/safetensors.h"
#include "testing/shared_data.h"

namespace raison {
namespace {

// Matrices of any rank become two-dimensional: the optimiser is elementwise.
std::vector<int64_t> flat_shape(const std::vector<int64_t>& shape) {
  if (shape.size() < 2) return shape;
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return {rows, shape.back()};
}

struct OptimGoldens : ::testing::Test {
  void SetUp() override {
    folder = testing::shared_dir() + "/goldens/optim";
    if (!std::filesystem::exists(folder + "/optim.json")) GTEST_SKIP() << testing::missing(folder + "/optim.json");
    spec = nlohmann::json::parse(std::ifstream(folder + "/optim.json"));
    auto k = select_kernels_from_environment();
    ASSERT_TRUE(k.ok()) << k.message();
    kernels = *k;
  }
  const float* floats(const SafetensorsFile& file, const std::string& name) {
    const TensorInfo* t = file.find(name);
    EXPECT_TRUE(t) << name;
    return t ? reinterpret_cast<const float*>(t->data) : nullptr;
  }
  // a, b and c, shaped as the tensors `prefix`.{a,b,c}.`suffix` of the file.
  void add_parameters(ParameterStore* store, const SafetensorsFile& file, const std::string& prefix,
                      const std::string& suffix) {
    for (const char* name : {"a", "b", "c"}) {
      const TensorInfo* t = file.find(prefix + "." + name + "." + suffix);
      ASSERT_TRUE(t);
      Parameter p;
      p.name = name;
      p.shape = flat_shape(t->shape);
      p.trainable = true;
      if (p.is_matrix()) {
        auto m = PackedWeight::zeros(DType::F32, p.shape[0], p.shape[1]);
        ASSERT_TRUE(m.ok());
        p.matrix = *m;
      } else {
        p.vector.resize(static_cast<size_t>(p.shape[0]));
      }
      store->add(std::move(p));
    }
  }
  void set_gradient(GradientStore* gradients, const Parameter& p, const float* source) {
    bool fresh;
    float* g = gradients->micro(p, &fresh);
    p.from_row_major(source, g);
  }
  std::string folder;
  nlohmann::json spec;
  const KernelTable* kernels = nullptr;
  ThreadPool pool{2};
};

bool is_missing(const nlohmann::json& setting, const std::string& name, size_t step) {
  if (!setting.contains("missing") || setting["missing"]["tensor"] != name) return false;
  const auto steps = setting["missing"]["steps"].get<std::vector<size_t>>();
  return std::find(steps.begin(), steps.end(), step) != steps.end();
}

void expect_close(const std::vector<float>& got, const float* want, const std::string& what) {
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_LE(std::fabs(got[i] - want[i]), 1e-6f + 1e-5f * std::fabs(want[i])) << what << " [" << i << "]";
}

TEST_F(OptimGoldens, AdamWEverySettingEveryStep) {
  auto file = SafetensorsFile::open(folder + "/adamw.safetensors");
  ASSERT_TRUE(file.ok()) << file.message();
  const auto steps = spec["adamw"]["steps"].get<size_t>();
  size_t settings = 0;
  for (const auto& s : spec["adamw"]["settings"]) {
    const std::string name = s["name"];
    SCOPED_TRACE(name);
    ParameterStore store;
    add_parameters(&store, **file, name, "init");
    AdamWOptions o;
    o.beta1 = s["betas"][0];
    o.beta2 = s["betas"][1];
    o.eps = s["eps"];
    o.weight_decay = s["weight_decay"];
    o.decay_matrices_only = s["decayed_tensors"] == nlohmann::json({"a", "c"});
    o.clip = s.value("max_norm", 0.0);
    AdamW adam(store, o);
    for (const auto& p : store.all()) p->from_row_major(floats(**file, name + "." + p->name + ".init"), p->values());
    for (size_t k = 0; k < steps; ++k) {
      GradientStore gradients(store);
      for (const auto& p : store.all()) {
        if (is_missing(s, p->name, k)) continue;
        set_gradient(&gradients, *p,
                     floats(**file, name + "." + p->name + ".grads") + k * static_cast<size_t>(p->element_count()));
      }
      gradients.finish_micro_batch();
      auto norm = adam.step(pool, *kernels, gradients, s["lr_per_step"][k].get<double>());
      ASSERT_TRUE(norm.ok()) << norm.message();
      for (const auto& p : store.all()) {
        const size_t at = k * static_cast<size_t>(p->element_count());
        const std::string what = p->name + " step " + std::to_string(k);
        const AdamW::State& state = adam.states()[static_cast<size_t>(p->index)];
        expect_close(p->to_row_major(), floats(**file, name + "." + p->name + ".params") + at, what + " params");
        expect_close(p->to_row_major(state.m.data()), floats(**file, name + "." + p->name + ".exp_avg") + at, what + " m");
        expect_close(p->to_row_major(state.v.data()), floats(**file, name + "." + p->name + ".exp_avg_sq") + at, what + " v");
      }
    }
    EXPECT_EQ(store.version, steps);
    ++settings;
  }
  EXPECT_GE(settings, 10u);
}

TEST_F(OptimGoldens, ClipEveryCase) {
  auto file = SafetensorsFile::open(folder + "/clip.safetensors");
  ASSERT_TRUE(file.ok()) << file.message();
  size_t cases = 0, refused = 0;
  for (const auto& c : spec["clip"]["cases"]) {
    const std::string name = c["name"];
    if (c["norm_type"] != 2.0) continue;  // raison clips by the Euclidean norm only
    SCOPED_TRACE(name);
    ParameterStore store;
    add_parameters(&store, **file, name, "before");
    GradientStore gradients(store);
    for (const auto& p : store.all()) set_gradient(&gradients, *p, floats(**file, name + "." + p->name + ".before"));
    gradients.finish_micro_batch();
    const double want = static_cast<double>(*floats(**file, name + ".total_norm"));
    const double norm = global_norm(pool, *kernels, store, gradients);
    ++cases;
    if (!std::isfinite(want)) {
      EXPECT_FALSE(std::isfinite(norm));
      AdamW adam(store, {});
      EXPECT_FALSE(adam.step(pool, *kernels, gradients, 1e-3).ok());
      EXPECT_EQ(store.version, 0u);
      ++refused;
      continue;
    }
    EXPECT_NEAR(norm, want, 1e-6 + 1e-5 * want);
    const float coefficient = clip_coefficient(norm, c["max_norm"].get<double>());
    for (const auto& p : store.all()) {
      kernels->scale(pool, gradients.total(*p), coefficient, p->value_count());
      expect_close(p->to_row_major(gradients.total(*p)), floats(**file, name + "." + p->name + ".after"), p->name);
    }
  }
  EXPECT_GE(cases, 10u);
  EXPECT_GE(refused, 1u);
}

}  // namespace
}  // namespace raison
