// Training of adapters: the loss falls and the base stays as it is, whatever its type; stopped runs go on to the same bytes; rollouts with
// an adapter have the trainer's logprobs.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "convert/peft.h"
#include "testing/adapters.h"
#include "testing/policies.h"
#include "testing/training.h"
#include "train/countdown_task.h"
#include "train/model_setup.h"
#include "train/policy_update.h"

namespace raison::testing {
namespace {

std::string lora_recipe_text(const std::string& out, int64_t steps, const std::string& lora, const std::string& model = "") {
  return "kind = \"sft\"\nseed = 3\nsteps = " + std::to_string(steps) + "\nout = \"" + out + R"("
[model]
path = ")" RAISON_SOURCE_DIR R"(/models/countdown-base"
)" + model +
         R"(
[lora]
)" + lora +
         R"(
[data]
train = ")" RAISON_SOURCE_DIR R"(/recipes/sft-example.jsonl"
[batch]
tokens = 256
[optimizer]
lr = 5e-3
)";
}

Recipe lora_recipe(const std::string& out, int64_t steps, const std::string& lora = "r = 8\n", const std::string& model = "") {
  auto r = parse_recipe(lora_recipe_text(out, steps, lora, model), "lora.toml");
  EXPECT_TRUE(r.ok()) << (r.ok() ? "" : r.message());
  return r.ok() ? *r : Recipe{};
}

std::unique_ptr<TrainSession> lora_session(const Recipe& recipe, Exec& exec, TrainSinks sinks = {}) {
  auto kernels = select_kernels_from_environment();
  EXPECT_TRUE(kernels.ok());
  auto s = TrainSession::create(recipe, exec, **kernels, std::move(sinks));
  EXPECT_TRUE(s.ok()) << (s.ok() ? "" : s.message());
  return s.ok() ? std::move(s).value() : nullptr;
}

TEST(LoraTraining, TheLossFallsAndTheBaseStaysWhateverItsType) {
  const TempDir dir;
  ThreadPool pool(2);
  for (const char* weights : {"as stored", "q8_0", "bf16"}) {
    SCOPED_TRACE(weights);
    std::vector<double> losses;
    TrainSinks sinks;
    sinks.step = [&](const StepMetrics& m) { losses.push_back(m.loss); };
    const Recipe recipe = lora_recipe(dir / weights, 30, "r = 8\n", "weights = \"" + std::string(weights) + "\"\n");
    auto s = lora_session(recipe, pool, sinks);
    ASSERT_TRUE(s);
    for (const auto& p : s->model().parameters().all()) EXPECT_FALSE(p->trainable) << p->name;
    const auto before = weights_of(s->model());
    auto end = s->run();
    ASSERT_TRUE(end.ok()) << end.message();
    ASSERT_EQ(losses.size(), 30u);
    EXPECT_LT(losses.back(), 0.6 * losses.front());
    EXPECT_TRUE(same_bits(before, weights_of(s->model()), 1)) << "the base has changed";
    EXPECT_EQ(s->model_folder(), dir / weights + std::string("/adapter"));
    // What was written is what was trained.
    auto back = read_lora(s->model_folder(), s->model(), false);
    ASSERT_TRUE(back.ok()) << back.message();
    const auto& trained = s->model().adapters().at(0)->parameters().all();
    ASSERT_EQ(trained.size(), back->adapter->parameters().all().size());
    for (size_t i = 0; i < trained.size(); ++i)
      EXPECT_EQ(trained[i]->to_row_major(), back->adapter->parameters().all()[i]->to_row_major()) << trained[i]->name;
    EXPECT_FALSE(std::filesystem::exists(dir / weights + std::string("/model")));
  }
}

TEST(LoraTraining, TheFirstLossIsTheBasesOwn) {
  const TempDir dir;
  ThreadPool pool(2);
  double first[2] = {0, 1};
  for (const bool lora : {false, true}) {
    Recipe recipe = lora_recipe(dir / (lora ? "lora" : "full"), 1);
    recipe.lora.on = lora;
    TrainSinks sinks;
    sinks.step = [&](const StepMetrics& m) { first[lora] = m.loss; };
    auto s = lora_session(recipe, pool, sinks);
    ASSERT_TRUE(s && s->step().ok());
  }
  EXPECT_EQ(first[0], first[1]) << "B is zero, so not a bit differs";
}

TEST(LoraTraining, StoppedAndResumedOnOtherThreadsIsTheSameFile) {
  const TempDir dir;
  const auto run = [&](const std::string& out, std::vector<int64_t> stops, int threads) {
    for (const int64_t stop : stops) {
      ThreadPool pool(threads++);
      auto s = lora_session(lora_recipe(dir / out, 12, "r = 4\nrslora = true\ntarget_modules = [\"q_proj\", \"down_proj\"]\n"),
                            pool);
      ASSERT_TRUE(s);
      auto end = s->run([&] { return s->steps_done() >= stop; });
      ASSERT_TRUE(end.ok()) << end.message();
    }
  };
  run("whole", {100}, 1);
  run("stopped", {3, 7, 100}, 1);
  for (const char* file : {"adapter/adapter_model.safetensors", "adapter/adapter_config.json",
                           "checkpoints/step-000012/model.safetensors", "checkpoints/step-000012/optimizer.safetensors"})
    EXPECT_EQ(file_bytes(dir / ("whole/" + std::string(file))), file_bytes(dir / ("stopped/" + std::string(file)))) << file;
  // The checkpoint holds the adapter, and not the base.
  auto checkpoint = SafetensorsFile::open(dir / "whole/checkpoints/step-000012/model.safetensors");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.message();
  EXPECT_EQ((*checkpoint)->tensors().size(), 12u) << "A and B of two modules of three layers";
}

TEST(LoraTraining, GoesOnFromAnAdapter) {
  const TempDir dir;
  ThreadPool pool(2);
  auto first = lora_session(lora_recipe(dir / "first", 10), pool);
  ASSERT_TRUE(first && first->run().ok());
  std::vector<double> losses;
  TrainSinks sinks;
  sinks.step = [&](const StepMetrics& m) { losses.push_back(m.loss); };
  auto second = lora_session(lora_recipe(dir / "second", 2, "adapter = \"" + first->model_folder() + "\"\n"), pool, sinks);
  ASSERT_TRUE(second && second->run().ok());
  auto fresh = lora_session(lora_recipe(dir / "fresh", 1), pool, sinks);
  ASSERT_TRUE(fresh && fresh->run().ok());
  EXPECT_LT(losses[0], losses[2]);
}

std::string lora_refusal(const Recipe& recipe) {
  ThreadPool pool(1);
  auto s = TrainSession::create(recipe, pool, ref_kernels());
  EXPECT_FALSE(s.ok());
  if (s.ok()) return "";
  EXPECT_EQ(s.message().find('\n'), std::string::npos) << s.message();
  return s.message();
}

TEST(LoraTraining, Refusals) {
  const TempDir dir;
  EXPECT_NE(lora_refusal(lora_recipe(dir / "a", 2, "adapter = \"nowhere\"\n")).find("adapter_config.json"), std::string::npos);
  EXPECT_NE(lora_refusal(lora_recipe(dir / "a", 2, "target_modules = [\"lm_head\"]\n")).find("lm_head"), std::string::npos);
  EXPECT_NE(lora_refusal(lora_recipe(dir / "a", 2, "target_modules = \"query\"\n")).find("name nothing"), std::string::npos);
  dir.write("plain/adapter/x", "");
  std::filesystem::create_directories(dir / "mine/adapter");
  dir.write("mine/adapter/notes.txt", "x");
  EXPECT_NE(lora_refusal(lora_recipe(dir / "mine", 2)).find("holds no adapter"), std::string::npos);
  for (const auto& [lora, model, says] :
       std::vector<std::tuple<std::string, std::string, std::string>>{{"r = 0\n", "", "lora.r"},
                                                                      {"alpha = -1\n", "", "lora.alpha"},
                                                                      {"rank = 4\n", "", "lora.rank: unknown key"},
                                                                      {"layers = [1.5]\n", "", "lora.layers"},
                                                                      {"layers = [-1]\n", "", "lora.layers"},
                                                                      {"adapter = \"a\"\nr = 4\n", "", "go on from"},
                                                                      {"", "weights = \"iq2_xxs\"\n", "model.weights"},
                                                                      {"", "weights = \"tiny\"\n", "model.weights"}}) {
    const auto r = parse_recipe(lora_recipe_text("x", 1, lora, model), "lora.toml");
    ASSERT_FALSE(r.ok()) << says;
    EXPECT_NE(r.message().find(says), std::string::npos) << r.message();
  }
  std::string text = lora_recipe_text("x", 1, "", "weights = \"q8_0\"\n");
  text.replace(text.find("[lora]"), 6, "");
  EXPECT_NE(parse_recipe(text, "lora.toml").message().find("frozen base"), std::string::npos);
  auto fresh = parse_recipe(tiny_recipe_text(dir.path(), dir / "t", 10) + "[lora]\nr = 2\n", "tiny.toml");
  EXPECT_NE(fresh.message().find("needs model.path"), std::string::npos) << fresh.message();
}

// The base is not in the checkpoint: another one behind the same path must not pass.
TEST(LoraTraining, AnotherBaseIsNoticed) {
  const TempDir dir;
  std::filesystem::copy(RAISON_SOURCE_DIR "/models/countdown-base", dir / "base");
  Recipe recipe = lora_recipe(dir / "run", 4);
  recipe.model.path = dir / "base";
  ThreadPool pool(1);
  {
    auto s = lora_session(recipe, pool);
    ASSERT_TRUE(s);
    ASSERT_TRUE(s->run([&] { return s->steps_done() >= 2; }).ok());
  }
  auto files = ModelFiles::open(dir / "base");
  ASSERT_TRUE(files.ok());
  auto model = load_model(*files, {.trainable = true, .repack = {}, .weights_memory = {}});
  ASSERT_TRUE(model.ok());
  Parameter& p = *(*model)->parameters().find("model.layers.1.self_attn.v_proj.weight");
  p.values()[3] += 0.5f;
  auto text = read_model_text(*files);
  ASSERT_TRUE(text.ok() && export_model(**model, *text, DType::F32, dir / "base").ok());
  EXPECT_NE(lora_refusal(recipe).find("weights of"), std::string::npos);
}

// The engine draws with an adapter what the trainer computes with it, to the bit, and learns from it; the base's own rollouts are as ever.
TEST(LoraPolicy, RolloutsHaveTheTrainersLogprobs) {
  ThreadPool pool(2);
  const KernelTable& kernels = **select_kernels_from_environment();
  Recipe recipe = lora_recipe("unused", 1, "r = 8\n", "weights = \"q8_0\"\n");
  auto setup = set_up_model(recipe);
  ASSERT_TRUE(setup.ok()) << setup.message();
  ASSERT_EQ(setup->adapter, 0);
  // B is not zero, lest the base's logprobs would do.
  for (const auto& p : setup->trained().all()) {
    std::vector<float> v(static_cast<size_t>(p->element_count()));
    Rng rng(5, static_cast<uint64_t>(p->index));
    for (float& x : v) x = static_cast<float>(0.04 * rng.normal());
    p->from_row_major(v.data(), p->values());
  }
  Model& model = *setup->model;
  MicroBatchRunner runner(model, pool, kernels, *model.kv_layout(DType::F32, 64), false, setup->adapter);
  MicroBatchRunner base_runner(model, pool, kernels, *model.kv_layout(DType::F32, 64), false);
  AdamWOptions adamw;
  adamw.clip = 1;
  AdamW optimizer(setup->trained(), adamw);
  PolicyUpdater updater(pool, kernels, runner, optimizer), mistaken(pool, kernels, base_runner, optimizer);
  EngineOptions engine_options;
  engine_options.cache_type = DType::F32;
  Engine engine(model, pool, kernels, engine_options);
  const CountdownTask task;
  std::vector<RolloutPrompt> prompts;
  for (uint64_t i = 0; i < 4; ++i) {
    Rng rng(hash_seed({7, i}));
    prompts.push_back({task.problem(rng, false), ThinkPhase::None});
  }
  RolloutOptions o;
  o.group = 4;
  o.length = 200;
  o.stop_ids = {SyntheticTask::kEos};
  std::vector<Rollout> base, again;
  ASSERT_TRUE(draw_rollouts(engine, prompts, 1, o, &base).ok());
  o.adapter = setup->adapter;
  for (uint64_t step = 0; step < 2; ++step) {
    const uint64_t version = model.version();
    std::vector<Rollout> drawn;
    ASSERT_TRUE(draw_rollouts(engine, prompts, 1, o, &drawn).ok());
    Advantages gains;
    for (size_t i = 0; i < drawn.size(); ++i) gains.values.push_back(i % 2 ? 1 : -1), gains.silent.push_back(0);
    EXPECT_FALSE(mistaken.update(batch_of(drawn, gains), true, {}, 1e-3).ok()) << "the base's logprobs are others";
    const auto done = updater.update(batch_of(drawn, gains), true, {}, 1e-3);
    ASSERT_TRUE(done.ok()) << done.message();
    EXPECT_GT(done->tokens, 100);
    EXPECT_EQ(done->compared, done->tokens);
    EXPECT_GT(done->grad_norm, 0);
    EXPECT_EQ(model.version(), version + 1) << "the engine must notice";
  }
  o.adapter = -1;
  ASSERT_TRUE(draw_rollouts(engine, prompts, 1, o, &again).ok());
  for (size_t i = 0; i < base.size(); ++i) {
    EXPECT_EQ(base[i].reply.tokens, again[i].reply.tokens);
    EXPECT_EQ(base[i].reply.logprobs, again[i].reply.logprobs);
  }
}

}  // namespace
}  // namespace raison::testing
