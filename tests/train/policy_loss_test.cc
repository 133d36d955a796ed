// Policy losses, advantages and DPO against TRL's numbers (goldens/grpo), and what the papers say where TRL does otherwise.
#include "train/policy_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "io/safetensors.h"
#include "testing/shared_data.h"
#include "train/advantages.h"

namespace raison {
namespace {

using Spec = nlohmann::json;

struct PolicyGoldens : ::testing::Test {
  void SetUp() override {
    folder = testing::shared_dir() + "/goldens/grpo";
    if (!std::filesystem::exists(folder + "/grpo.json")) GTEST_SKIP() << testing::missing(folder + "/grpo.json");
    spec = Spec::parse(std::ifstream(folder + "/grpo.json"));
    auto opened = SafetensorsFile::open(folder + "/grpo.safetensors");
    ASSERT_TRUE(opened.ok()) << opened.message();
    file = *opened;
  }
  // Row i of [B, T] or [B].
  std::span<const float> row(const std::string& name, size_t i, size_t n) const {
    const TensorInfo* t = file->find(name);
    EXPECT_TRUE(t) << name;
    if (!t) return {};
    const size_t width = t->shape.size() > 1 ? static_cast<size_t>(t->shape[1]) : 1;
    return {reinterpret_cast<const float*>(t->data) + i * width, n};
  }
  std::string folder;
  Spec spec;
  std::shared_ptr<SafetensorsFile> file;
};

// TRL's names to ours; none: a variant that is not ours.
std::optional<PolicyLossOptions> options_of(const Spec& h, double most_tokens) {
  PolicyLossOptions o;
  const std::string type = h.at("loss_type");
  if (h.at("entropy_coef") != 0.0 || h.at("top_entropy_quantile") != 1.0 || !h.at("off_policy_mask_threshold").is_null())
    return std::nullopt;
  if (type == "grpo") {
    o.mean = LossMean::Samples;
  } else if (type == "bnpo" || type == "dapo" || type == "cispo") {
    o.mean = LossMean::Tokens;
  } else if (type == "dr_grpo") {
    o.mean = LossMean::Constant;
    o.length = most_tokens;
  } else {
    return std::nullopt;
  }
  o.ratio = h.at("importance_sampling_level") == "sequence" ? RatioLevel::Sequence : RatioLevel::Token;
  o.clip_low = h.at("epsilon");
  o.clip_high = h.at("epsilon_high").is_null() ? o.clip_low : h.at("epsilon_high").get<double>();
  if (type == "cispo") o.weight_most = o.clip_high;
  if (!h.at("delta").is_null()) o.delta = h.at("delta").get<double>();
  o.beta = h.at("beta");
  o.kl_by_ratio = h.at("use_bias_correction_kl");
  o.skip_truncated = h.at("mask_truncated_completions");
  return o;
}

double norm_of(std::span<const float> x) {
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(sum);
}

TEST_F(PolicyGoldens, LossesAndGradients) {
  const Spec& sequences = spec.at("sequences");
  int compared = 0;
  for (const Spec& v : spec.at("variants")) {
    const std::string name = v.at("name");
    SCOPED_TRACE(name);
    const auto options = options_of(v.at("hyperparameters"), spec.at("max_completion_length"));
    if (!options) continue;
    const std::string t = v.at("hyperparameters").at("temperature") == 1.0 ? "t1" : "t07";
    std::vector<std::vector<uint8_t>> masks;
    for (const Spec& s : sequences) masks.push_back(s.at("tool_mask").get<std::vector<uint8_t>>());
    std::vector<PolicySample> samples;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const size_t n = sequences[i].at("completion_ids").size();
      PolicySample s;
      s.logprob = row("logps_" + t, i, n);
      if (!v.at("old_logps").is_null()) s.old = row(v.at("old_logps"), i, n);
      if (!v.at("ref_logps").is_null()) s.ref = row(v.at("ref_logps"), i, n);
      if (v.at("tool_mask").get<bool>()) s.mask = masks[i];
      s.advantage = row(name + ".advantages", i, 1)[0];
      s.truncated = sequences[i].at("truncated");
      samples.push_back(s);
    }
    const PolicyTotals totals = policy_totals(samples, *options);
    EXPECT_EQ(totals.tokens, v.at("num_items_in_batch").get<int64_t>());
    const auto loss = policy_loss(samples, totals, *options);
    ASSERT_TRUE(loss.ok()) << loss.message();
    EXPECT_NEAR(loss->loss, v.at("loss").get<double>(), 1e-5 * std::max(1.0, std::fabs(v.at("loss").get<double>())));
    double apart = 0, norm = 0;
    for (size_t i = 0; i < samples.size(); ++i) {
      const auto want = row(name + ".dlogps", i, samples[i].logprob.size());
      for (size_t k = 0; k < want.size(); ++k)
        apart += std::pow(static_cast<double>(loss->gradient[i][k]) - static_cast<double>(want[k]), 2);
      norm += std::pow(norm_of(want), 2);
    }
    EXPECT_LE(std::sqrt(apart), 1e-3 * std::sqrt(norm));
    const Spec& metrics = v.at("metrics");
    if (options->beta != 0 && !options->kl_by_ratio && metrics.contains("kl") && metrics.at("kl").is_number()) {
      EXPECT_NEAR(loss->kl / static_cast<double>(loss->counted), metrics.at("kl").get<double>(), 1e-4);
    }
    // Two halves, each with the whole step's totals, sum up to it.
    const std::vector<PolicySample> first(samples.begin(), samples.begin() + 5), rest(samples.begin() + 5, samples.end());
    const auto a = policy_loss(first, totals, *options), b = policy_loss(rest, totals, *options);
    ASSERT_TRUE(a.ok() && b.ok());
    EXPECT_NEAR(a->loss + b->loss, loss->loss, 1e-12);
    EXPECT_EQ(a->gradient[3], loss->gradient[3]);
    EXPECT_EQ(b->gradient[3], loss->gradient[8]);
    ++compared;
  }
  EXPECT_GE(compared, 24) << "variants of TRL's that are ours too";
}

TEST_F(PolicyGoldens, AdvantagesOfEveryCase) {
  int compared = 0;
  for (const Spec& c : spec.at("advantages")) {
    SCOPED_TRACE(c.at("name").get<std::string>() + " " + c.at("scale_rewards").get<std::string>());
    std::vector<std::vector<std::optional<double>>> rewards;
    for (const Spec& f : c.at("rewards_per_function")) {
      std::vector<std::optional<double>> list;
      for (const Spec& r : f) list.push_back(r.is_null() ? std::nullopt : std::optional<double>(r.get<double>()));
      rewards.push_back(std::move(list));
    }
    AdvantageOptions o;
    o.group = c.at("group_size");
    const std::string scale = c.at("scale_rewards");
    o.scale = scale == "group" ? AdvantageScale::Group : scale == "batch" ? AdvantageScale::Batch : AdvantageScale::None;
    o.normalise_each = c.at("aggregation") == "normalize_then_sum";
    const auto weights = c.at("reward_weights").get<std::vector<double>>();
    const auto got = advantages(rewards, weights, o);
    ASSERT_TRUE(got.ok()) << got.message();
    for (size_t i = 0; i < got->values.size(); ++i) EXPECT_NEAR(got->values[i], c.at("advantages")[i].get<double>(), 2e-5) << i;
    ++compared;
  }
  EXPECT_GE(compared, 20);
}

TEST_F(PolicyGoldens, PreferencePairs) {
  const Spec dpo = Spec::parse(std::ifstream(folder + "/dpo.json"));
  int compared = 0;
  for (const Spec& c : dpo.at("cases")) {
    if (c.at("name") != "sigmoid") continue;
    double sum = 0;
    for (size_t i = 0; i < c.at("pairs").size(); ++i) {
      const Spec &p = c.at("pairs")[i], &ref = dpo.at("pairs")[i];
      const PreferenceLoss got = dpo_loss(p.at("chosen_logp"), p.at("rejected_logp"), ref.at("ref_chosen_logps"),
                                          ref.at("ref_rejected_logps"), c.at("beta"));
      EXPECT_NEAR(got.loss, p.at("loss").get<double>(), 1e-5);
      EXPECT_NEAR(got.chosen_reward, p.at("chosen_reward").get<double>(), 1e-5);
      EXPECT_NEAR(got.rejected_reward, p.at("rejected_reward").get<double>(), 1e-5);
      sum += got.loss;
    }
    EXPECT_NEAR(sum / static_cast<double>(c.at("pairs").size()), c.at("loss").get<double>(), 1e-5);
    ++compared;
  }
  EXPECT_EQ(compared, 1);
}

// The gradient against differences of the loss, for each name, where no ratio lies on a bound.
TEST(PolicyLoss, GradientsAreTheLossesOwn) {
  Rng rng(4);
  std::vector<std::vector<float>> now, old, ref;
  for (const size_t n : {size_t{5}, size_t{1}, size_t{9}}) {
    for (auto* list : {&now, &old, &ref}) {
      auto& row = list->emplace_back();
      for (size_t i = 0; i < n; ++i) row.push_back(static_cast<float>(-1 + 0.4 * rng.normal()));
    }
  }
  std::vector<PolicyLossOptions> all;
  for (const std::string& name : policy_loss_names()) {
    auto named = policy_loss_named(name);
    ASSERT_TRUE(named.ok());
    if (name == "gspo") named->clip_low = named->clip_high = 0.2;
    all.push_back(*named);
    named->beta = 0.1;
    named->kl_by_ratio = true;
    all.push_back(*named);
  }
  for (size_t k = 0; k < all.size(); ++k) {
    SCOPED_TRACE(k);
    const PolicyLossOptions& o = all[k];
    const auto loss_of = [&](const std::vector<std::vector<float>>& logprobs) {
      std::vector<PolicySample> samples;
      const double gains[] = {0.7, -1.3, -0.4};
      for (size_t i = 0; i < logprobs.size(); ++i) samples.push_back({logprobs[i], old[i], ref[i], {}, gains[i], false});
      const auto loss = policy_loss(samples, policy_totals(samples, o), o);
      EXPECT_TRUE(loss.ok());
      return *loss;
    };
    if (o.weight_most) continue;  // its weight is held constant: no derivative of this function
    const PolicyLoss at = loss_of(now);
    for (size_t i = 0; i < now.size(); ++i)
      for (size_t t = 0; t < now[i].size(); ++t) {
        auto more = now, less = now;
        more[i][t] += 1e-3f, less[i][t] -= 1e-3f;
        const double step = static_cast<double>(more[i][t]) - static_cast<double>(less[i][t]);
        EXPECT_NEAR((loss_of(more).loss - loss_of(less).loss) / step, at.gradient[i][t], 2e-5) << i << " " << t;
      }
  }
}

TEST(PolicyLoss, OnPolicyTheGradientIsTheAdvantage) {
  const std::vector<float> logprob = {-0.5f, -2.0f};
  PolicySample s;
  s.logprob = logprob;
  s.advantage = 2;
  for (const char* name : {"grpo", "dapo", "gspo", "cispo"}) {
    auto o = policy_loss_named(name);
    ASSERT_TRUE(o.ok());
    o->beta = 0;
    const auto without_old = policy_loss({s}, {1, 2}, *o);
    s.old = logprob;
    const auto with_old = policy_loss({s}, {1, 2}, *o);
    s.old = {};
    ASSERT_TRUE(without_old.ok() && with_old.ok());
    EXPECT_EQ(without_old->gradient, with_old->gradient) << name;
    for (const float g : with_old->gradient[0]) EXPECT_FLOAT_EQ(g, -1) << name << ": -A over two tokens";
  }
}

TEST(PolicyLoss, RefusesWhatDoesNotFit) {
  EXPECT_NE(policy_loss_named("ppo").message().find("there are grpo, dr_grpo, dapo, gspo, cispo"), std::string::npos);
  const std::vector<float> two = {0, 0}, one = {0};
  PolicySample s;
  s.logprob = two;
  s.old = one;
  EXPECT_FALSE(policy_loss({s}, {1, 2}, {}).ok());
  s.old = two;
  PolicyLossOptions o;
  o.beta = 0.1;
  EXPECT_FALSE(policy_loss({s}, {1, 2}, o).ok()) << "no reference";
  for (const auto& change : std::vector<void (*)(PolicyLossOptions&)>{
           [](PolicyLossOptions& x) { x.clip_low = -1; }, [](PolicyLossOptions& x) { x.clip_high = std::nan(""); },
           [](PolicyLossOptions& x) { x.delta = 1; }, [](PolicyLossOptions& x) { x.weight_most = 0; },
           [](PolicyLossOptions& x) { x.beta = -1; }, [](PolicyLossOptions& x) { x.length = 0; }}) {
    PolicyLossOptions bad;
    change(bad);
    EXPECT_FALSE(bad.validate().ok());
  }
  const std::vector<double> weights = {1};
  EXPECT_FALSE(advantages({{1, 2, 3}}, weights, {.group = 2}).ok());
  EXPECT_FALSE(advantages({{1, 2}, {1}}, std::vector<double>{1, 1}, {.group = 2}).ok());
  EXPECT_FALSE(advantages({{1, std::nan("")}}, weights, {.group = 2}).ok());
  const auto same = advantages({{3, 3, 1, 2}}, weights, {.group = 2, .epsilon = 0});
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->silent, (std::vector<uint8_t>{1, 1, 0, 0}));
  EXPECT_EQ(same->values[0], 0);
  EXPECT_NEAR(same->values[3], std::sqrt(0.5), 1e-12);
}

TEST(PreferenceLoss, IsStableFarOut) {
  EXPECT_NEAR(dpo_loss(0, -10000, 0, 0, 1).loss, 0, 1e-12);
  EXPECT_NEAR(dpo_loss(-10000, 0, 0, 0, 1).loss, 10000, 1e-9);
  EXPECT_NEAR(dpo_loss(-10000, 0, 0, 0, 1).gradient, -1, 1e-12);
  const double h = 1e-6;
  EXPECT_NEAR((dpo_loss(-3 + h, -2, -3.5, -2.5, 0.3).loss - dpo_loss(-3 - h, -2, -3.5, -2.5, 0.3).loss) / (2 * h),
              dpo_loss(-3, -2, -3.5, -2.5, 0.3).gradient, 1e-8);
}

}  // namespace
}  // namespace raison
