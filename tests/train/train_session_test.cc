// Training runs: the same bits however they are run, stopped, resumed and split; checkpoints; export.
#include "train/trainer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "engine/engine.h"
#include "io/model_files.h"
#include "kernels/tables.h"
#include "testing/models.h"
#include "testing/training.h"
#include "train/checkpoint.h"
#include "train/train_step.h"

namespace raison {
namespace {
namespace fs = std::filesystem;
using testing::TempDir;
using testing::tiny_recipe;
using testing::weights_of;

std::unique_ptr<TrainSession> start(const Recipe& recipe, Exec& exec, TrainSinks sinks = {}, Resume resume = Resume::Auto,
                                    const KernelTable* kernels = nullptr) {
  auto k = select_kernels_from_environment();
  EXPECT_TRUE(k.ok());
  auto s = TrainSession::create(recipe, exec, kernels ? *kernels : **k, std::move(sinks), resume);
  EXPECT_TRUE(s.ok()) << (s.ok() ? "" : s.message());
  return s.ok() ? std::move(s).value() : nullptr;
}

std::string refusal(const Recipe& recipe, Exec& exec, Resume resume = Resume::Auto) {
  auto s = TrainSession::create(recipe, exec, ref_kernels(), {}, resume);
  EXPECT_FALSE(s.ok());
  return s.ok() ? "" : s.message();
}

// Runs to the end, or until `stop_at` steps are done; returns the weights.
std::vector<float> run_until(const Recipe& recipe, int64_t stop_at, int threads = 1, const KernelTable* kernels = nullptr) {
  ThreadPool pool(threads);
  auto s = start(recipe, pool, {}, Resume::Auto, kernels);
  if (!s) return {};
  auto end = s->run([&] { return s->steps_done() >= stop_at; });
  EXPECT_TRUE(end.ok()) << (end.ok() ? "" : end.message());
  return weights_of(s->model());
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && !a.empty() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// metrics.jsonl without what a clock wrote.
std::string timeless(const std::string& path) {
  std::string out;
  std::istringstream in(testing::file_bytes(path));
  for (std::string line; std::getline(in, line);) {
    auto j = nlohmann::json::parse(line);
    j.erase("seconds");
    j.erase("tokens_per_second");
    out += j.dump() + "\n";
  }
  return out;
}

TEST(TrainSession, LearnsAndReports) {
  TempDir dir;
  ThreadPool pool(2);
  std::vector<StepMetrics> seen;
  TrainSinks sinks;
  sinks.step = [&](const StepMetrics& m) { seen.push_back(m); };
  auto s = start(tiny_recipe(dir, "run", 60), pool, sinks);
  ASSERT_TRUE(s);
  auto end = s->run();
  ASSERT_TRUE(end.ok()) << end.message();
  EXPECT_EQ(*end, RunEnd::Finished);
  ASSERT_EQ(seen.size(), 60u);
  EXPECT_NEAR(seen.front().loss, std::log(13.0), 0.3);
  EXPECT_LT(seen.back().loss, 0.8 * seen.front().loss);
  EXPECT_EQ(seen[0].lr, 0.0);  // the cosine of the reference implementation warms up from 0
  EXPECT_TRUE(seen[9].has_validation);
  EXPECT_FALSE(seen[10].has_validation);
  EXPECT_GT(seen.back().total_tokens, 60u * 60u);
  EXPECT_LE(seen.back().tokens, 140);
  EXPECT_NE(progress_line(seen[9]).find("step 10/60"), std::string::npos);
  EXPECT_EQ(s->model().parameters().version, 61u);  // drawn once, updated 60 times
  EXPECT_FALSE(s->step().ok());
}

TEST(TrainSession, SameBitsOverIsaThreadsAndRecomputation) {
  TempDir dir;
  Recipe r = tiny_recipe(dir, "base", 20);
  const auto want = run_until(r, 20, 1, &ref_kernels());
  std::vector<const KernelTable*> tables = {&ref_kernels()};
  if (avx2_kernels()) tables.push_back(avx2_kernels());
  if (avx512_kernels()) tables.push_back(avx512_kernels());
  int runs = 0;
  for (const KernelTable* t : tables)
    for (int threads : {1, 2, 3})
      for (bool recompute : {false, true}) {
        r = tiny_recipe(dir, "other" + std::to_string(runs++), 20);
        r.recompute = recompute;
        ASSERT_TRUE(same(want, run_until(r, 20, threads, t)))
            << t->name << " threads " << threads << " recompute " << recompute;
      }
  EXPECT_EQ(runs % 6, 0);
  if (const KernelTable* t = testing::simde_stand_in()) {
    r = tiny_recipe(dir, "simde", 20);
    ASSERT_TRUE(same(want, run_until(r, 20, 2, t))) << t->name << " on SIMDe";
  }
}

// Biases, an output matrix of its own, and caches that round: other kernels, other parameters, the same promise.
TEST(TrainSession, SameBitsForQwen2AndForHalfPrecisionCaches) {
  TempDir dir;
  int runs = 0;
  for (const DType cache : {DType::F16, DType::BF16}) {
    const auto recipe = [&](bool recompute) {
      Recipe r = tiny_recipe(dir, "run" + std::to_string(runs++), 20);
      r.model.config["model_type"] = "qwen2";
      r.model.config["tie_word_embeddings"] = false;
      r.cache_type = cache;
      r.recompute = recompute;
      return r;
    };
    const auto want = run_until(recipe(false), 20, 1, &ref_kernels());
    std::vector<const KernelTable*> tables = {&ref_kernels(), avx2_kernels(), avx512_kernels(), testing::simde_stand_in()};
    for (const KernelTable* t : tables)
      for (bool recompute : {false, true}) {
        if (!t || (t == &ref_kernels() && !recompute)) continue;
        ASSERT_TRUE(same(want, run_until(recipe(recompute), 20, recompute ? 3 : 2, t)))
            << t->name << " " << dtype_name(cache) << " recompute " << recompute;
      }
  }
}

TEST(TrainSession, SameStepsWithHalfPrecisionCachesAreReproducible) {
  TempDir dir;
  std::vector<std::vector<float>> all;
  for (const char* name : {"f32", "f16", "f16-again"}) {
    Recipe r = tiny_recipe(dir, name, 12);
    if (name[1] == '1') r.cache_type = DType::F16;
    all.push_back(run_until(r, 12, name[3] ? 2 : 1));
  }
  EXPECT_FALSE(same(all[0], all[1]));  // the cache's type belongs to the model
  EXPECT_TRUE(same(all[1], all[2]));
}

TEST(TrainSession, StoppedAndResumedEqualsUninterrupted) {
  TempDir dir;
  const auto want = run_until(tiny_recipe(dir, "whole", 30), 30);
  for (int64_t at : {0, 1, 7, 13, 29}) {
    const Recipe r = tiny_recipe(dir, "stopped" + std::to_string(at), 30);
    run_until(r, at);
    ASSERT_TRUE(same(want, run_until(r, 30))) << "stopped at " << at;
    EXPECT_EQ(timeless(r.out + "/metrics.jsonl"), timeless(dir / "whole/metrics.jsonl"));
    for (const char* file : {"model.safetensors", "config.json"})
      EXPECT_EQ(testing::file_bytes(r.out + "/model/" + file), testing::file_bytes(dir / "whole/model/" + file)) << file;
    for (const char* file : {"model.safetensors", "optimizer.safetensors"})
      EXPECT_EQ(testing::file_bytes(r.checkpoint_dir + "/step-000030/" + file),
                testing::file_bytes(dir / "whole/checkpoints/step-000030/" + file));
  }
}

TEST(TrainSession, StoppedManyTimesEqualsUninterrupted) {
  TempDir dir;
  const auto want = run_until(tiny_recipe(dir, "whole", 24), 24);
  const Recipe r = tiny_recipe(dir, "pieces", 24);
  std::vector<float> last;
  for (int64_t at = 3; at <= 24; at += 3) last = run_until(r, at, 1 + static_cast<int>(at % 2));
  EXPECT_TRUE(same(want, last));
}

// Killed between two checkpoints: the steps after the last one, and their lines in the log, are made again.
TEST(TrainSession, WorkAfterTheLastCheckpointIsRedone) {
  TempDir dir;
  const auto want = run_until(tiny_recipe(dir, "whole", 20), 20);
  Recipe r = tiny_recipe(dir, "killed", 20);
  r.checkpoint_every = 5;
  {
    ThreadPool pool(1);
    auto s = start(r, pool);
    ASSERT_TRUE(s);
    for (int i = 0; i < 13; ++i) {
      ASSERT_TRUE(s->step().ok());
      if (s->steps_done() % 5 == 0) { ASSERT_TRUE(s->checkpoint().ok()); }
    }
  }
  fs::create_directories(r.checkpoint_dir + "/.writing-step-000013");  // half a checkpoint
  std::ofstream(r.checkpoint_dir + "/.writing-step-000013/model.safetensors") << "half";
  EXPECT_TRUE(same(want, run_until(r, 20)));
  EXPECT_FALSE(fs::exists(r.checkpoint_dir + "/.writing-step-000013"));
  EXPECT_EQ(timeless(r.out + "/metrics.jsonl"), timeless(dir / "whole/metrics.jsonl"));
}

TEST(TrainSession, KeepsTheLastCheckpoints) {
  TempDir dir;
  Recipe r = tiny_recipe(dir, "run", 20);
  r.checkpoint_every = 4;
  r.keep_last = 3;
  run_until(r, 20);
  const auto left = list_checkpoints(r.checkpoint_dir);
  ASSERT_EQ(left.size(), 3u);
  EXPECT_EQ(fs::path(left[0]).filename(), "step-000012");
  EXPECT_EQ(fs::path(left[2]).filename(), "step-000020");
}

void damage(const std::string& path, size_t at) {
  std::string bytes = testing::file_bytes(path);
  ASSERT_LT(at, bytes.size());
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST(TrainSession, DamagedCheckpointsAreNamedAndPassedOver) {
  TempDir dir;
  const auto want = run_until(tiny_recipe(dir, "whole", 20), 20);
  int n = 0;
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "state.json"})
    for (int how = 0; how < 3; ++how) {
      Recipe r = tiny_recipe(dir, "damaged" + std::to_string(n++), 20);
      r.checkpoint_every = 5;
      run_until(r, 15);
      const std::string path = r.checkpoint_dir + "/step-000015/" + file;
      if (how == 0) damage(path, fs::file_size(path) - 40);
      if (how == 1) fs::resize_file(path, fs::file_size(path) / 2);
      if (how == 2) fs::remove(path);
      std::vector<std::string> notices;
      TrainSinks sinks;
      sinks.notice = [&](const std::string& line) { notices.push_back(line); };
      ThreadPool pool(1);
      auto s = start(r, pool, sinks);
      ASSERT_TRUE(s) << file << how;
      EXPECT_EQ(s->steps_done(), 10) << file << how;
      ASSERT_EQ(notices.size(), 2u);
      EXPECT_NE(notices[0].find("step-000015"), std::string::npos) << notices[0];
      EXPECT_NE(notices[0].find("falling back"), std::string::npos) << notices[0];
      EXPECT_EQ(notices[0].find('\n'), std::string::npos);
      ASSERT_TRUE(s->run().ok());
      EXPECT_TRUE(same(want, weights_of(s->model()))) << file << how;
    }
}

TEST(TrainSession, RefusesWhatWouldNotContinueTheRun) {
  TempDir dir;
  ThreadPool pool(1);
  Recipe r = tiny_recipe(dir, "run", 20);
  EXPECT_NE(refusal(r, pool, Resume::Require).find("no checkpoint"), std::string::npos);
  run_until(r, 10);
  EXPECT_NE(refusal(r, pool, Resume::Never).find("earlier run"), std::string::npos);
  Recipe other = r;
  other.optimizer.lr = 1e-3;
  EXPECT_NE(refusal(other, pool).find("optimizer.lr"), std::string::npos);
  other = r;
  other.steps = 5;
  EXPECT_NE(refusal(other, pool).find("beyond"), std::string::npos);
  dir.write("train.jsonl", testing::token_lines(40, 77));
  EXPECT_NE(refusal(r, pool).find("data has changed"), std::string::npos);
  fs::remove(r.checkpoint_dir + "/step-000010/state.json");
  EXPECT_NE(refusal(r, pool).find("no checkpoint is readable"), std::string::npos);
}

TEST(TrainSession, MoreStepsMayBeAdded) {
  TempDir dir;
  Recipe r = tiny_recipe(dir, "run", 10);
  r.schedule.name = "constant";
  run_until(r, 10);
  r.steps = 16;
  Recipe whole = tiny_recipe(dir, "whole", 16);
  whole.schedule.name = "constant";
  EXPECT_TRUE(same(run_until(whole, 16), run_until(r, 16)));
}

TEST(TrainSession, BadModelsAndDataAreOneLine) {
  TempDir dir;
  ThreadPool pool(1);
  Recipe r = tiny_recipe(dir, "run", 5);
  Recipe bad = r;
  bad.model.config["hiden_act"] = "silu";
  EXPECT_NE(refusal(bad, pool).find("hiden_act"), std::string::npos);
  bad = r;
  bad.model.config.erase("hidden_size");
  EXPECT_NE(refusal(bad, pool).find("hidden_size"), std::string::npos);
  bad = r;
  bad.data.max_length = 65;
  EXPECT_NE(refusal(bad, pool).find("data.max_length"), std::string::npos);
  bad = r;
  bad.model.config["vocab_size"] = 9;  // tokens go to 12
  auto s = start(bad, pool);
  ASSERT_TRUE(s);
  const auto before = weights_of(s->model());
  auto step = s->step();
  ASSERT_FALSE(step.ok());
  EXPECT_NE(step.message().find("vocabulary of 9"), std::string::npos) << step.message();
  EXPECT_TRUE(same(before, weights_of(s->model())));
}

TEST(TrainSession, AnExplodingRunStopsAndKeepsItsCheckpoint) {
  TempDir dir;
  ThreadPool pool(1);
  Recipe r = tiny_recipe(dir, "run", 20);
  r.checkpoint_every = 1;
  auto s = start(r, pool);
  ASSERT_TRUE(s);
  ASSERT_TRUE(s->step().ok());
  ASSERT_TRUE(s->checkpoint().ok());
  s->model().parameters().find("model.norm.weight")->vector[3] = std::numeric_limits<float>::quiet_NaN();
  auto end = s->run();
  ASSERT_FALSE(end.ok());
  EXPECT_NE(end.message().find("step 2"), std::string::npos) << end.message();
  EXPECT_EQ(list_checkpoints(r.checkpoint_dir).size(), 1u);
  ASSERT_TRUE(start(r, pool, {}, Resume::Require));
}

// Accumulating the micro-batches of one step weighs every token alike: the same loss, and gradients that differ by rounding only.
TEST(MicroBatches, AccumulationEqualsOneBatch) {
  auto model = testing::tiny_model(testing::tiny_config("llama"), 5);
  ASSERT_TRUE(model);
  ThreadPool pool(2);
  MicroBatch whole;
  for (int64_t n : {9, 4, 17, 6}) {
    TrainSequence s;
    s.tokens = testing::random_tokens(n, 61, static_cast<uint64_t>(n));
    s.weights.assign(s.tokens.size(), n == 4 ? 3.0f : 1.0f);
    s.weights[2] = 0;
    whole.push_back(s);
  }
  const double weight = total_weight(whole);
  EXPECT_EQ(weight, 8 + 3 * 3 + 16 + 5 - 1 - 3 - 1 - 1);
  MicroBatchRunner runner(*model, pool, ref_kernels(), DType::F32, false);
  GradientStore one(model->parameters()), many(model->parameters());
  auto loss = runner.run(whole, &one, weight);
  ASSERT_TRUE(loss.ok()) << loss.message();
  double sum = 0;
  for (const TrainSequence& s : whole) {
    auto part = runner.run({s}, &many, weight);
    ASSERT_TRUE(part.ok()) << part.message();
    sum += *part;
  }
  EXPECT_NEAR(sum, *loss, 1e-9 * sum);
  for (const auto& p : model->parameters().all()) {
    double difference = 0, size = 0;
    for (int64_t i = 0; i < p->value_count(); ++i) {
      const double a = one.total(*p)[i], b = many.total(*p)[i];
      difference += (a - b) * (a - b);
      size += a * a;
    }
    EXPECT_LE(std::sqrt(difference), 1e-5 * std::sqrt(size)) << p->name;
  }
}

TEST(Export, IsAModelFolderWithTheSameLogits) {
  TempDir dir;
  ThreadPool pool(2);
  Recipe r = tiny_recipe(dir, "run", 8);
  auto s = start(r, pool);
  ASSERT_TRUE(s);
  ASSERT_TRUE(s->run().ok());
  const auto tokens = testing::random_tokens(40, 13, 1);
  auto want = compute_logits(s->model(), pool, ref_kernels(), DType::F32, tokens);
  ASSERT_TRUE(want.ok()) << want.message();
  for (int round = 0; round < 2; ++round) {  // the second export replaces the first
    ASSERT_TRUE(s->export_to(dir / "model/").ok());
    auto files = ModelFiles::open(dir / "model");
    ASSERT_TRUE(files.ok()) << files.message();
    auto model = load_model(*files);
    ASSERT_TRUE(model.ok()) << model.message();
    auto got = compute_logits(**model, pool, ref_kernels(), DType::F32, tokens);
    ASSERT_TRUE(got.ok());
    EXPECT_TRUE(same(*want, *got));
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(dir / "model"), fs::directory_iterator()),
            2);  // config and weights: no tokenizer
  fs::create_directories(dir / "precious");
  dir.write("precious/diary.txt", "mine");
  EXPECT_FALSE(s->export_to(dir / "precious").ok());
  EXPECT_TRUE(fs::exists(dir / "precious/diary.txt"));
}

TEST(Export, TrainingGoesOnFromAnExportedModel) {
  TempDir dir;
  ThreadPool pool(1);
  Recipe r = tiny_recipe(dir, "run", 8);
  auto s = start(r, pool);
  ASSERT_TRUE(s && s->run().ok());
  Recipe next = tiny_recipe(dir, "next", 8);
  next.kind = TrainKind::Sft;
  next.model.path = dir / "run/model";
  next.model.config = nullptr;
  auto t = start(next, pool);
  ASSERT_TRUE(t);
  EXPECT_TRUE(same(weights_of(s->model()), weights_of(t->model())));
  ASSERT_TRUE(t->run().ok());
  EXPECT_FALSE(same(weights_of(s->model()), weights_of(t->model())));
}

}  // namespace
}  // namespace raison
