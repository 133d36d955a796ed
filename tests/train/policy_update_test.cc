// Rollouts and the update made of them: the trainer's logprobs are the engine's to the bit, and a model learns from rewards alone.
#include "train/policy_update.h"

#include <gtest/gtest.h>

#include <chrono>

#include "testing/models.h"
#include "testing/policies.h"
#include "train/countdown_task.h"

namespace raison::testing {
namespace {

// Everything that a policy is trained with, from the bundled base.
struct Miniature {
  std::unique_ptr<Model> model;
  const KernelTable* kernels = nullptr;
  ThreadPool pool{2};
  CountdownTask task;
  std::unique_ptr<MicroBatchRunner> runner;
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<PolicyUpdater> updater;
  std::unique_ptr<Engine> engine;

  void load() {
    auto table = select_kernels_from_environment();
    ASSERT_TRUE(table.ok()) << table.message();
    kernels = *table;
    model = trainable_model(RAISON_SOURCE_DIR "/models/countdown-base");
    ASSERT_TRUE(model);
    const auto layout = model->kv_layout(DType::F32, 64);
    ASSERT_TRUE(layout.ok());
    runner = std::make_unique<MicroBatchRunner>(*model, pool, *kernels, *layout, false);
    AdamWOptions adamw;
    adamw.beta2 = 0.99;
    adamw.clip = 1;
    optimizer = std::make_unique<AdamW>(model->parameters(), adamw);
    updater = std::make_unique<PolicyUpdater>(pool, *kernels, *runner, *optimizer);
    EngineOptions engine_options;
    engine_options.cache_type = DType::F32;
    engine = std::make_unique<Engine>(*model, pool, *kernels, engine_options);
  }
  RolloutOptions rollout_options() const {
    RolloutOptions o;
    o.group = 8;
    o.length = 240;
    o.stop_ids = {SyntheticTask::kEos};
    return o;
  }
  std::vector<RolloutPrompt> prompts(uint64_t step, int64_t n) const {
    std::vector<RolloutPrompt> out;
    for (int64_t i = 0; i < n; ++i) {
      Rng rng(hash_seed({7, step, static_cast<uint64_t>(i)}));
      out.push_back({task.problem(rng, false), ThinkPhase::None});
    }
    return out;
  }
  // One step; the mean reward of its rollouts.
  double step(uint64_t k, int64_t n, double lr, PolicyUpdate* update) {
    std::vector<Rollout> drawn;
    const auto whole = draw_rollouts(*engine, prompts(k, n), hash_seed({11, k}), rollout_options(), &drawn);
    EXPECT_TRUE(whole.ok()) << whole.message();
    if (!whole.ok() || !*whole) return 0;
    std::vector<std::optional<double>> rewards;
    double sum = 0;
    for (const Rollout& r : drawn) {
      rewards.push_back(task.reward(r.prompt, r.reply.tokens));
      sum += *rewards.back();
    }
    const std::vector<double> weights = {1};
    const auto gains = advantages({rewards}, weights, {});
    EXPECT_TRUE(gains.ok()) << gains.message();
    PolicyUpdateOptions o;
    o.loss.mean = LossMean::Tokens;
    auto done = updater->update(batch_of(drawn, *gains), true, o, lr);
    EXPECT_TRUE(done.ok()) << done.message();
    if (done.ok()) *update = *done;
    return sum / static_cast<double>(drawn.size());
  }
};

TEST(PolicyUpdate, TheTrainersLogprobsAreTheEngines) {
  Miniature m;
  m.load();
  if (HasFatalFailure()) return;
  const uint64_t version = m.model->parameters().version;
  PolicyUpdate u;
  (void)m.step(0, 6, 1e-4, &u);
  EXPECT_EQ(u.samples + u.silent, 48);
  EXPECT_GT(u.samples, 0);
  EXPECT_EQ(u.compared, u.tokens);
  EXPECT_EQ(u.clipped_low + u.clipped_high, 0) << "all ratios are 1";
  EXPECT_EQ(u.ratio, 1);
  EXPECT_GT(u.grad_norm, 0);
  EXPECT_EQ(m.model->parameters().version, version + 1);
}

TEST(PolicyUpdate, AStaleRolloutIsNoticed) {
  Miniature m;
  m.load();
  if (HasFatalFailure()) return;
  std::vector<Rollout> rollouts;
  const auto drawn = draw_rollouts(*m.engine, m.prompts(0, 2), 3, m.rollout_options(), &rollouts);
  ASSERT_TRUE(drawn.ok() && *drawn) << drawn.message();
  Advantages gains;
  gains.values.assign(rollouts.size(), 0.0);
  gains.silent.assign(rollouts.size(), 0);
  gains.values[3] = 1;
  float& logprob = rollouts[3].reply.logprobs[0];
  logprob = std::nextafter(logprob, -100.0f);
  const uint64_t version = m.model->parameters().version;
  const auto stale = m.updater->update(batch_of(rollouts, gains), true, {}, 1e-4);
  ASSERT_FALSE(stale.ok());
  EXPECT_NE(stale.message().find("rollout 3, written token 0"), std::string::npos) << stale.message();
  EXPECT_EQ(m.model->parameters().version, version);
  const auto off_policy = m.updater->update(batch_of(rollouts, gains), false, {}, 1e-4);
  ASSERT_TRUE(off_policy.ok()) << "off policy it is a ratio like others: " << off_policy.message();
  EXPECT_EQ(off_policy->samples, static_cast<int64_t>(rollouts.size())) << "an advantage of 0 still counts in the mean";
}

TEST(PolicyUpdate, SilentGroupsCountOnlyIfAsked) {
  Miniature m;
  m.load();
  if (HasFatalFailure()) return;
  std::vector<Rollout> rollouts;
  const auto drawn = draw_rollouts(*m.engine, m.prompts(0, 2), 3, m.rollout_options(), &rollouts);
  ASSERT_TRUE(drawn.ok() && *drawn) << drawn.message();
  Advantages gains;
  gains.values.assign(rollouts.size(), 0.0);
  gains.silent.assign(rollouts.size(), 1);
  const uint64_t version = m.model->parameters().version;
  const auto silent = m.updater->update(batch_of(rollouts, gains), true, {}, 1e-4);
  ASSERT_TRUE(silent.ok());
  EXPECT_EQ(silent->silent, static_cast<int64_t>(rollouts.size()));
  EXPECT_EQ(silent->grad_norm, 0);
  EXPECT_EQ(m.model->parameters().version, version);
  // Half of them silent: counted, the means are of twice as many samples, and so the gradient is half as long.
  std::fill_n(gains.silent.begin(), 8, uint8_t{0});
  std::fill_n(gains.values.begin(), 4, 1.0);
  PolicyUpdateOptions counted;
  counted.count_silent = true;
  const auto part = m.updater->update(batch_of(rollouts, gains), true, counted, 1e-30);
  ASSERT_TRUE(part.ok()) << part.message();
  EXPECT_EQ(part->samples, 16);
  const auto alone = m.updater->update(batch_of(rollouts, gains), true, {}, 1e-30);
  ASSERT_TRUE(alone.ok()) << alone.message();
  EXPECT_EQ(alone->samples, 8);
  EXPECT_NEAR(part->grad_norm, alone->grad_norm / 2, alone->grad_norm * 1e-5);
}

TEST(Rollouts, StoppedOnesGoOnToTheSameTokens) {
  Miniature m;
  m.load();
  if (HasFatalFailure()) return;
  std::vector<Rollout> whole, parts;
  ASSERT_TRUE(draw_rollouts(*m.engine, m.prompts(0, 3), 3, m.rollout_options(), &whole).ok());
  for (int64_t stops = 1;; ++stops) {
    const auto some = draw_rollouts(*m.engine, m.prompts(0, 3), 3, m.rollout_options(), &parts,
                                    [&](int64_t n) -> Result<bool> { return n < 7 * stops; });
    ASSERT_TRUE(some.ok()) << some.message();
    EXPECT_TRUE(m.engine->idle());
    int64_t finished = 0;
    for (const Rollout& r : parts) {
      finished += r.finished() ? 1 : 0;
      EXPECT_TRUE(r.finished() || r.reply.tokens.empty()) << "half a reply is forgotten";
    }
    EXPECT_EQ(*some, finished == 24);
    if (*some) break;
    EXPECT_GE(finished, 7 * stops);
  }
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(whole[i].reply.tokens, parts[i].reply.tokens) << i;
    EXPECT_EQ(whole[i].reply.logprobs, parts[i].reply.logprobs) << i;
  }
}

TEST(Rollouts, PromptsThatDoNotFitAreNamed) {
  Miniature m;
  m.load();
  if (HasFatalFailure()) return;
  auto o = m.rollout_options();
  o.length = 3;
  std::vector<Rollout> none;
  EXPECT_NE(draw_rollouts(*m.engine, m.prompts(0, 2), 3, o, &none).message().find("prompt 1: "), std::string::npos);
  EXPECT_TRUE(m.engine->idle());
}

// Rewards alone (shared/design/miniature2.md: .33 of the first ten steps' samples are right, .71 of the next ten's).
TEST(PolicyUpdateSlow, TheBundledBaseLearnsToSearch) {
  Miniature m;
  m.load();
  if (HasFatalFailure()) return;
  double first = 0, second = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t k = 0; k < 20; ++k) {
    PolicyUpdate u;
    const double lr = 5e-4 * std::min(1.0, static_cast<double>(k + 1) / 5) * (1 - 0.9 * static_cast<double>(k) / 60);
    (k < 10 ? first : second) += m.step(k, 32, lr, &u) / 10;
    EXPECT_EQ(u.compared, u.tokens) << k;
  }
  std::printf("steps 1-10: %.3f, 11-20: %.3f; %.2f s a step\n", first, second,
              std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / 20);
  EXPECT_GT(first, 0.25);
  EXPECT_GT(second, 0.6);
}

}  // namespace
}  // namespace raison::testing
