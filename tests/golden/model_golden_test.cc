// Every HF folder under RAISON_GOLDENS against the reference implementation's outputs (its README says how they were made).
// No name, size or tolerance of a folder is written here; an architecture not known yet is named and passed over.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>

#include "engine/engine.h"
#include "io/tensor_read.h"
#include "models/registry.h"
#include "testing/models.h"
#include "train/optimizer.h"

namespace raison::testing {
namespace {
namespace fs = std::filesystem;

fs::path goldens_root() {
  if (const char* dir = std::getenv("RAISON_GOLDENS")) return dir;
  if (const char* dir = std::getenv("RAISON_SHARED")) return fs::path(dir) / "goldens";
  return fs::path(RAISON_SOURCE_DIR) / ".." / "shared" / "goldens";
}

struct Golden {
  std::string path;
  nlohmann::json json;
  std::shared_ptr<SafetensorsFile> tensors;
  ModelFiles files;

  std::vector<int32_t> ids(const std::string& name) const {
    auto r = read_i32(*tensors->find(name));
    EXPECT_TRUE(r.ok());
    return r.ok() ? *r : std::vector<int32_t>{};
  }
  std::unique_ptr<Model> load(bool trainable) const {
    LoadOptions options;
    options.trainable = trainable;
    auto m = load_model(files, options);
    EXPECT_TRUE(m.ok()) << (m.ok() ? "" : m.message());
    return m.ok() ? std::move(m).value() : nullptr;
  }
};

std::vector<Golden> known_goldens() {
  std::vector<Golden> out;
  if (!fs::is_directory(goldens_root())) return out;
  std::vector<fs::path> folders;
  for (const auto& e : fs::directory_iterator(goldens_root()))
    if (fs::exists(e.path() / "config.json") && fs::exists(e.path() / "golden.json")) folders.push_back(e.path());
  std::sort(folders.begin(), folders.end());
  for (const auto& f : folders) {
    Golden g;
    g.path = f.string();
    auto files = ModelFiles::open(g.path);
    EXPECT_TRUE(files.ok()) << (files.ok() ? "" : files.message());
    if (!files.ok()) continue;
    g.files = std::move(files).value();
    if (auto a = find_architecture(g.files); !a.ok()) {
      std::cout << "passing over " << g.path << ": " << a.message() << "\n";
      continue;
    }
    g.json = nlohmann::json::parse(std::ifstream(f / "golden.json"));
    auto tensors = SafetensorsFile::open((f / "golden.safetensors").string());
    EXPECT_TRUE(tensors.ok()) << (tensors.ok() ? "" : tensors.message());
    if (!tensors.ok()) continue;
    g.tensors = *tensors;
    out.push_back(std::move(g));
  }
  return out;
}

class ModelGolden : public ::testing::Test {
 protected:
  void SetUp() override {
    goldens_ = known_goldens();
    if (goldens_.empty())
      GTEST_SKIP() << "NO GOLDENS of a known architecture under " << goldens_root() << ": set RAISON_GOLDENS or RAISON_SHARED";
    auto kernels = select_kernels_from_environment();
    ASSERT_TRUE(kernels.ok()) << kernels.message();
    kernels_ = *kernels;
  }
  std::vector<Golden> goldens_;
  const KernelTable* kernels_ = nullptr;
  ThreadPool pool_{2};
};

double norm(const std::vector<float>& v) {
  double s = 0;
  for (float x : v) s += static_cast<double>(x) * static_cast<double>(x);
  return std::sqrt(s);
}

TEST_F(ModelGolden, LogitsOfEveryPrompt) {
  for (const Golden& g : goldens_) {
    SCOPED_TRACE(g.path);
    auto model = g.load(false);
    ASSERT_TRUE(model);
    for (size_t n = 0; g.tensors->find(fmt::format("prompt.{}.tokens", n)); ++n) {
      auto want = read_f32(*g.tensors->find(fmt::format("prompt.{}.logits", n)));
      ASSERT_TRUE(want.ok());
      auto got = compute_logits(*model, pool_, *kernels_, DType::F32, g.ids(fmt::format("prompt.{}.tokens", n)));
      ASSERT_TRUE(got.ok()) << got.message();
      ASSERT_EQ(got->size(), want->size());
      double worst = 0;
      for (size_t i = 0; i < got->size(); ++i) {
        ASSERT_TRUE(std::isfinite((*got)[i])) << "prompt " << n << " logit " << i;
        worst = std::max(worst, std::fabs(static_cast<double>((*got)[i]) - static_cast<double>((*want)[i])));
      }
      // What the reference itself is off by bounds what it can demand.
      const double reference = g.json.value("fp32_against_fp64_max_logit_difference", 0.0);
      EXPECT_LE(worst, std::max(2e-4, 3 * reference)) << "prompt " << n;
    }
    EXPECT_TRUE(g.tensors->find("prompt.0.tokens")) << "a golden without prompts";
  }
}

TEST_F(ModelGolden, GreedyContinuations) {
  for (const Golden& g : goldens_) {
    SCOPED_TRACE(g.path);
    auto model = g.load(false);
    ASSERT_TRUE(model);
    EngineOptions options;
    options.cache_type = DType::F32;
    Engine engine(*model, pool_, *kernels_, options);
    for (const auto& entry : g.json.at("greedy")) {
      const auto n = entry.at("prompt").get<int>();
      const auto want = g.ids(fmt::format("greedy.{}.tokens", n));
      Request request;
      request.prompt = g.ids(fmt::format("prompt.{}.tokens", n));
      request.sampling.temperature = 0;
      request.max_tokens = static_cast<int64_t>(want.size());
      auto got = generate(engine, request);
      ASSERT_TRUE(got.ok()) << got.message();
      EXPECT_EQ(got->tokens, want) << "prompt " << n;
    }
  }
}

struct Sft {
  std::vector<std::vector<int32_t>> sequences;
  std::vector<int64_t> first_target;
};

Sft sft_of(const Golden& g) {
  Sft s;
  for (size_t n = 0; g.tensors->find(fmt::format("sft.{}.tokens", n)); ++n)
    s.sequences.push_back(g.ids(fmt::format("sft.{}.tokens", n)));
  s.first_target = g.json.at("sft").at("prompt_tokens").get<std::vector<int64_t>>();
  return s;
}

TEST_F(ModelGolden, LossAndEveryGradient) {
  for (const Golden& g : goldens_) {
    SCOPED_TRACE(g.path);
    auto model = g.load(true);
    ASSERT_TRUE(model);
    const Sft sft = sft_of(g);
    KvCache cache(*model->kv_layout(DType::F32, 64));
    const TrainBatch batch = make_train_batch(cache, sft.sequences, sft.first_target);
    for (bool recompute : {false, true}) {
      GradientStore gradients(model->parameters());
      const double loss = loss_and_gradients(*model, pool_, *kernels_, batch, &gradients, recompute);
      const double want = g.json.at("sft").at("loss").get<double>();
      EXPECT_LE(std::fabs(loss - want), 1e-5 * std::fabs(want));
      auto file = SafetensorsFile::open(g.path + "/sft_gradients.safetensors");
      ASSERT_TRUE(file.ok()) << file.message();
      double largest = 0;
      for (const TensorInfo& t : (*file)->tensors()) largest = std::max(largest, norm(*read_f32(t)));
      ptrdiff_t compared = 0;
      for (const TensorInfo& t : (*file)->tensors()) {
        const Parameter* p = model->parameters().find(t.name);
        ASSERT_TRUE(p) << t.name << " has a golden gradient but is no parameter";
        if (!p->trainable) continue;
        auto reference = read_f32(t);
        ASSERT_TRUE(reference.ok());
        // An expert that no token met has none, which is zero.
        const auto got = gradients.has_total(*p) ? p->to_row_major(gradients.total(*p)) : std::vector<float>(reference->size());
        ASSERT_EQ(got.size(), reference->size());
        std::vector<float> difference(got.size());
        for (size_t i = 0; i < got.size(); ++i) difference[i] = got[i] - (*reference)[i];
        EXPECT_LE(norm(difference), std::max(1e-3 * norm(*reference), 1e-6 * largest)) << t.name;
        ++compared;
      }
      const auto& all = model->parameters().all();
      EXPECT_EQ(compared, std::count_if(all.begin(), all.end(), [](const auto& p) { return p->trainable; }));
    }
  }
}

TEST_F(ModelGolden, FiveAdamWSteps) {
  for (const Golden& g : goldens_) {
    SCOPED_TRACE(g.path);
    auto model = g.load(true);
    ASSERT_TRUE(model);
    const auto& spec = g.json.at("adamw");
    AdamWOptions options;
    options.beta1 = spec.at("betas")[0].get<double>();
    options.beta2 = spec.at("betas")[1].get<double>();
    options.eps = spec.at("eps").get<double>();
    options.weight_decay = spec.at("weight_decay").get<double>();
    options.clip = spec.at("clip").get<double>();
    AdamW optimizer(model->parameters(), options);
    const Sft sft = sft_of(g);
    const auto losses = spec.at("losses").get<std::vector<double>>();
    const auto norms = spec.at("grad_norms_before_clip").get<std::vector<double>>();
    KvCache cache(*model->kv_layout(DType::F32, 64));
    const TrainBatch batch = make_train_batch(cache, sft.sequences, sft.first_target);
    for (size_t k = 0; k < losses.size(); ++k) {
      GradientStore gradients(model->parameters());
      EXPECT_NEAR(loss_and_gradients(*model, pool_, *kernels_, batch, &gradients), losses[k], 1e-3) << "step " << k;
      if (k + 1 == losses.size()) break;
      auto stepped = optimizer.step(pool_, *kernels_, gradients, spec.at("lr").get<double>());
      ASSERT_TRUE(stepped.ok()) << stepped.message();
      EXPECT_NEAR(*stepped, norms[k], 1e-3 * norms[k]) << "gradient norm before clipping, step " << k;
    }
  }
}

}  // namespace
}  // namespace raison::testing
