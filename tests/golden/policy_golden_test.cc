// A rollout's way to its gradient, whole: a model of TRL's goldens, its sequences, a policy loss, every parameter's gradient
// (goldens/grpo: grpo_gradients, sft_gradients).
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"
#include "testing/models.h"
#include "testing/shared_data.h"
#include "train/policy_loss.h"
#include "train/train_step.h"

namespace raison::testing {
namespace {

using Spec = nlohmann::json;

class PolicyGradients : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = shared_dir() + "/goldens/grpo";
    if (!std::filesystem::exists(folder_ + "/grpo.json")) GTEST_SKIP() << missing(folder_ + "/grpo.json");
    auto kernels = select_kernels_from_environment();
    ASSERT_TRUE(kernels.ok()) << kernels.message();
    kernels_ = *kernels;
    model_ = trainable_model(folder_ + "/model");
    ASSERT_TRUE(model_);
    auto layout = model_->kv_layout(DType::F32, 64);
    ASSERT_TRUE(layout.ok());
    runner_ = std::make_unique<MicroBatchRunner>(*model_, pool_, *kernels_, *layout, false);
  }
  std::shared_ptr<SafetensorsFile> open(const std::string& name) const {
    auto file = SafetensorsFile::open(folder_ + "/" + name);
    EXPECT_TRUE(file.ok()) << file.message();
    return file.ok() ? *file : nullptr;
  }
  // Every golden gradient PREFIX.PARAMETER against `got`. Returns how many were compared.
  int compare(const SafetensorsFile& goldens, const std::string& prefix, GradientStore& got) const {
    int compared = 0;
    for (const TensorInfo& t : goldens.tensors()) {
      if (t.name.rfind(prefix, 0) != 0) continue;
      const Parameter* p = model_->parameters().find(t.name.substr(prefix.size()));
      EXPECT_TRUE(p) << t.name;
      if (!p) continue;
      const auto mine = p->to_row_major(got.total(*p));
      const auto* want = reinterpret_cast<const float*>(t.data);
      double apart = 0, norm = 0;
      for (size_t i = 0; i < mine.size(); ++i) {
        apart += std::pow(static_cast<double>(mine[i]) - static_cast<double>(want[i]), 2);
        norm += std::pow(static_cast<double>(want[i]), 2);
      }
      EXPECT_LE(std::sqrt(apart), 1e-3 * std::sqrt(norm)) << t.name;
      ++compared;
    }
    return compared;
  }

  std::string folder_;
  ThreadPool pool_{2};
  const KernelTable* kernels_ = nullptr;
  std::unique_ptr<Model> model_;
  std::unique_ptr<MicroBatchRunner> runner_;
};

// A prompt and what follows it, of which each token has a weight.
TrainSequence completion_of(const Spec& s, const char* completion) {
  TrainSequence t;
  t.tokens = s.at("prompt_ids").get<std::vector<int32_t>>();
  t.weights.assign(t.tokens.size(), 0.0f);
  const auto ids = s.at(completion).get<std::vector<int32_t>>();
  t.tokens.insert(t.tokens.end(), ids.begin(), ids.end());
  t.weights.resize(t.tokens.size(), 1.0f);
  return t;
}

// Row i of [B, T], n long.
std::span<const float> golden_row(const SafetensorsFile& file, const std::string& name, size_t i, size_t n) {
  const TensorInfo* t = file.find(name);
  EXPECT_TRUE(t) << name;
  if (!t) return {};
  const size_t width = t->shape.size() > 1 ? static_cast<size_t>(t->shape[1]) : 1;
  return {reinterpret_cast<const float*>(t->data) + i * width, n};
}

TEST_F(PolicyGradients, OfTheWholeModel) {
  const Spec spec = Spec::parse(std::ifstream(folder_ + "/grpo.json"));
  const auto numbers = open("grpo.safetensors"), goldens = open("grpo_gradients.safetensors");
  ASSERT_TRUE(numbers && goldens);
  MicroBatch batch;
  std::vector<size_t> lengths;
  for (const Spec& s : spec.at("sequences")) {
    lengths.push_back(s.at("completion_ids").size());
    batch.push_back(completion_of(s, "completion_ids"));
  }
  for (const char* name : {"grpo_kl", "dapo", "gspo"}) {
    SCOPED_TRACE(name);
    auto options = policy_loss_named(name == std::string("grpo_kl") ? "grpo" : name);
    ASSERT_TRUE(options.ok());
    options->skip_truncated = false;  // DAPO's own way is golden dapo_mask_truncated (train tests)
    if (name == std::string("gspo")) options->clip_low = 0.05, options->clip_high = 0.08;
    GradientStore gradients(model_->parameters());
    double loss = 0;
    const Status ok =
        runner_->differentiate(batch, 1.0f, &gradients, [&](std::span<const float> logprobs) -> Result<std::vector<float>> {
          std::vector<PolicySample> samples;
          for (size_t i = 0, at = 0; i < lengths.size(); at += lengths[i++]) {
            PolicySample s;
            s.logprob = logprobs.subspan(at, lengths[i]);
            const auto want = golden_row(*numbers, "logps_t1", i, lengths[i]);
            for (size_t t = 0; t < want.size(); ++t) EXPECT_NEAR(s.logprob[t], want[t], 2e-5);
            s.old = golden_row(*numbers, "old_logps_t1", i, lengths[i]);
            s.ref = golden_row(*numbers, "ref_logps_t1", i, lengths[i]);
            s.advantage = golden_row(*numbers, std::string(name) + ".advantages", i, 1)[0];
            samples.push_back(s);
          }
          RAISON_ASSIGN(const PolicyLoss l, policy_loss(samples, policy_totals(samples, *options), *options));
          loss = l.loss;
          std::vector<float> seeds;
          for (const auto& g : l.gradient) seeds.insert(seeds.end(), g.begin(), g.end());
          return seeds;
        });
    ASSERT_TRUE(ok.ok()) << ok.message();
    for (const Spec& v : spec.at("variants"))
      if (v.at("name") == name) { EXPECT_NEAR(loss, v.at("loss").get<double>(), 1e-5); }
    EXPECT_EQ(compare(*goldens, std::string(name) + ".", gradients), 27);
  }
}

double total_norm(const Model& model, GradientStore& g) {
  double sum = 0;
  for (const auto& p : model.parameters().all())
    if (p->trainable && g.has_total(*p))
      for (const float v : p->to_row_major(g.total(*p))) sum += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(sum);
}

TEST_F(PolicyGradients, OfSupervisedTokens) {
  const Spec spec = Spec::parse(std::ifstream(folder_ + "/sft.json"));
  const auto goldens = open("sft_gradients.safetensors");
  ASSERT_TRUE(goldens);
  int compared = 0;
  for (const Spec& c : spec.at("cases")) {
    if (c.at("loss_type") != "nll") continue;
    SCOPED_TRACE(c.at("name").get<std::string>());
    MicroBatch batch;
    for (const Spec& s : spec.at("sequences")) {
      TrainSequence t;
      t.tokens = s.at("input_ids").get<std::vector<int32_t>>();
      t.weights = s.at("completion_mask").get<std::vector<float>>();
      if (!c.at("completion_only_loss").get<bool>()) t.weights.assign(t.tokens.size(), 1.0f);
      t.weights[0] = 0;  // no token before it says it
      batch.push_back(std::move(t));
    }
    const double tokens = total_weight(batch);
    GradientStore gradients(model_->parameters());
    const auto sum = runner_->run(batch, &gradients, tokens);
    ASSERT_TRUE(sum.ok()) << sum.message();
    EXPECT_NEAR(*sum / tokens, c.at("loss").get<double>(), 1e-5 * c.at("loss").get<double>());
    EXPECT_NEAR(total_norm(*model_, gradients), c.at("grad_norm").get<double>(), 1e-3 * c.at("grad_norm").get<double>());
    if (c.at("name") == "completion_only") { EXPECT_GT(compare(*goldens, "", gradients), 0); }
    ++compared;
  }
  EXPECT_EQ(compared, 2);
}

TEST_F(PolicyGradients, OfPreferencePairs) {
  const Spec spec = Spec::parse(std::ifstream(folder_ + "/dpo.json"));
  MicroBatch batch;  // chosen and rejected by turns
  std::vector<size_t> lengths;
  for (const Spec& p : spec.at("pairs"))
    for (const char* which : {"chosen_ids", "rejected_ids"}) {
      lengths.push_back(p.at(which).size());
      batch.push_back(completion_of(p, which));
    }
  const Spec& c = spec.at("cases")[0];
  ASSERT_EQ(c.at("name"), "sigmoid");
  GradientStore gradients(model_->parameters());
  double loss = 0;
  const Status ok =
      runner_->differentiate(batch, 1.0f, &gradients, [&](std::span<const float> logprobs) -> Result<std::vector<float>> {
        std::vector<double> sums;
        for (size_t i = 0, at = 0; i < lengths.size(); at += lengths[i++]) {
          sums.push_back(0);
          for (const float v : logprobs.subspan(at, lengths[i])) sums.back() += static_cast<double>(v);
        }
        std::vector<float> seeds;
        const auto pairs = static_cast<double>(lengths.size() / 2);
        for (size_t i = 0; i < lengths.size(); i += 2) {
          const Spec& p = spec.at("pairs")[i / 2];
          const PreferenceLoss l =
              dpo_loss(sums[i], sums[i + 1], p.at("ref_chosen_logps"), p.at("ref_rejected_logps"), c.at("beta"));
          loss += l.loss / pairs;
          seeds.insert(seeds.end(), lengths[i], static_cast<float>(l.gradient / pairs));
          seeds.insert(seeds.end(), lengths[i + 1], static_cast<float>(-l.gradient / pairs));
        }
        return seeds;
      });
  ASSERT_TRUE(ok.ok()) << ok.message();
  EXPECT_NEAR(loss, c.at("loss").get<double>(), 1e-5);
  for (const auto& [name, want] : c.at("grad_norms").items()) {
    const Parameter* p = model_->parameters().find(name);
    ASSERT_TRUE(p) << name;
    double sum = 0;
    for (const float v : p->to_row_major(gradients.total(*p))) sum += static_cast<double>(v) * static_cast<double>(v);
    EXPECT_NEAR(std::sqrt(sum), want.get<double>(), 1e-3 * want.get<double>()) << name;
  }
}

}  // namespace
}  // namespace raison::testing
