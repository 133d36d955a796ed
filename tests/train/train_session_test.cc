// Training runs: the same bits however they are run, stopped, resumed and split; checkpoints; export.
#include "train/trainer.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <cstring>
#include <filesystem>

#include "engine/engine.h"
#include "io/model_files.h"
#include "kernels/tables.h"
#include "tensor/dtype.h"
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
    j.erase("memory_bytes");
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
TEST(TrainSession, SameBitsForQwen2AndForCachesThatRound) {
  TempDir dir;
  int runs = 0;
  for (const DType cache : {DType::F16, DType::BF16, DType::I8}) {
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
      EXPECT_NE(notices[0].find("set aside as damaged-step-000015"), std::string::npos) << notices[0];
      EXPECT_TRUE(fs::exists(r.checkpoint_dir + "/damaged-step-000015"));
      ASSERT_TRUE(s->run().ok());
      EXPECT_TRUE(same(want, weights_of(s->model()))) << file << how;
    }
}

// A damaged newer checkpoint must not count among the ones kept: the good ones would be pruned away.
TEST(TrainSession, PruningKeepsAGoodCheckpointWhenANewerOneIsDamaged) {
  TempDir dir;
  const auto want = run_until(tiny_recipe(dir, "whole", 20), 20);
  Recipe r = tiny_recipe(dir, "run", 20);
  r.checkpoint_every = 5;
  run_until(r, 15);  // leaves steps 10 and 15
  damage(r.checkpoint_dir + "/step-000015/model.safetensors", 300);
  r.keep_last = 1;
  run_until(r, 12);  // falls back to 10, stops and saves at 12
  ASSERT_EQ(list_checkpoints(r.checkpoint_dir), std::vector<std::string>{r.checkpoint_dir + "/step-000012"});
  ThreadPool pool(1);
  auto s = start(r, pool, {}, Resume::Require);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->steps_done(), 12);
  ASSERT_TRUE(s->run().ok());
  EXPECT_TRUE(same(want, weights_of(s->model())));
}

TEST(Checkpoint, PruningNeverRemovesTheOneJustWritten) {
  TempDir dir;
  for (const char* name : {"step-000003", "step-000005", "step-000009", "step-000011", "damaged-step-000008"})
    fs::create_directories(dir / name);
  ASSERT_TRUE(prune_checkpoints(dir.path(), 1, 5).ok());
  EXPECT_FALSE(fs::exists(dir / "step-000003"));
  for (const char* name : {"step-000005", "step-000009", "step-000011", "damaged-step-000008"})
    EXPECT_TRUE(fs::exists(dir / name)) << name;
  auto again = set_checkpoint_aside(dir / "step-000009");
  ASSERT_TRUE(again.ok()) << again.message();
  EXPECT_EQ(*again, dir / "damaged-step-000009");
  fs::create_directories(dir / "step-000009");
  again = set_checkpoint_aside(dir / "step-000009");
  ASSERT_TRUE(again.ok()) << again.message();
  EXPECT_EQ(*again, dir / "damaged-step-000009.2");
}

TEST(Checkpoint, ADeeplyNestedStateIsDamaged) {
  TempDir dir;
  Recipe r = tiny_recipe(dir, "run", 6);
  run_until(r, 6);
  dir.write("run/checkpoints/step-000006/state.json", "{\"a\":" + std::string(200000, '[') + std::string(200000, ']') + "}");
  const auto state = read_checkpoint_state(r.checkpoint_dir + "/step-000006");
  ASSERT_FALSE(state.ok());
  EXPECT_NE(state.message().find("nested more than 256 deep"), std::string::npos) << state.message();
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

std::vector<std::string> notices_of(const Recipe& recipe, Exec& exec, Resume resume = Resume::Auto) {
  std::vector<std::string> notices;
  TrainSinks sinks;
  sinks.notice = [&](const std::string& line) { notices.push_back(line); };
  EXPECT_TRUE(start(recipe, exec, sinks, resume));
  return notices;
}

TEST(TrainSession, ChangedStepsAreToldWhereTheScheduleDependsOnThem) {
  TempDir dir;
  ThreadPool pool(1);
  for (const char* name : {"constant", "inverse_sqrt", "cosine", "linear"}) {
    Recipe r = tiny_recipe(dir, name, 10);
    r.schedule.name = name;
    run_until(r, 6);
    EXPECT_EQ(notices_of(r, pool).size(), 1u) << name;  // resumed from ...
    r.steps = 16;
    const auto notices = notices_of(r, pool);
    const bool depends = name == std::string("cosine") || name == std::string("linear");
    ASSERT_EQ(notices.size(), depends ? 2u : 1u) << name;
    if (depends) {
      EXPECT_EQ(notices[1].rfind("steps was 10 and is 16: the schedule " + std::string(name), 0), 0u) << notices[1];
    }
  }
}

// The weights are the checkpoint's own, but what is computed with them, and the text they were taught, must be as before.
TEST(TrainSession, RefusesAnotherBaseModelBehindTheSamePath) {
  TempDir dir;
  ThreadPool pool(1);
  run_until(tiny_recipe(dir, "base", 6), 6);
  Recipe r = tiny_recipe(dir, "run", 8);
  r.model.path = dir / "base/model";
  r.model.config = nullptr;
  run_until(r, 5);
  EXPECT_EQ(notices_of(r, pool).size(), 1u);
  const std::string config = testing::file_bytes(r.model.path + "/config.json");
  auto changed = nlohmann::ordered_json::parse(config);
  changed["rms_norm_eps"] = 0.125;
  dir.write("base/model/config.json", changed.dump());
  const std::string why = refusal(r, pool);
  EXPECT_NE(why.find("step-000005: this run was begun with a model of rms_norm_eps = "), std::string::npos) << why;
  EXPECT_NE(why.find("base/model has 0.125"), std::string::npos) << why;
  EXPECT_EQ(why.find('\n'), std::string::npos);
  dir.write("base/model/config.json", config);
  dir.write("base/model/chat_template.jinja", "{{ bos_token }}");
  EXPECT_NE(refusal(r, pool).find("chat_template.jinja of " + r.model.path + " is not the one"), std::string::npos)
      << refusal(r, pool);
  fs::remove(r.model.path + "/chat_template.jinja");
  fs::rename(r.model.path, dir / "moved");
  r.model.path = dir / "moved";  // the same model elsewhere is the same model
  EXPECT_EQ(notices_of(r, pool).size(), 1u);
}

TEST(TrainSession, OneRunAtATimeInAFolder) {
  TempDir dir;
  ThreadPool pool(1);
  const Recipe r = tiny_recipe(dir, "run", 20);
  auto s = start(r, pool);
  ASSERT_TRUE(s);
  ASSERT_TRUE(s->step().ok());
  const std::string half = r.checkpoint_dir + "/.writing-step-000001";  // as if the first were writing now
  fs::create_directories(half);
  EXPECT_NE(refusal(r, pool).find("another run is at work in this folder"), std::string::npos) << refusal(r, pool);
  Recipe other = tiny_recipe(dir, "other", 20);
  other.checkpoint_dir = dir / "shared-checkpoints";
  Recipe third = tiny_recipe(dir, "third", 20);
  third.checkpoint_dir = other.checkpoint_dir;
  auto t = start(other, pool);
  EXPECT_NE(refusal(third, pool).find("another run is at work"), std::string::npos);
  third.checkpoint_dir = third.out;  // odd, but not in its own way
  EXPECT_TRUE(start(third, pool));
  EXPECT_TRUE(fs::exists(half));
  EXPECT_GT(fs::file_size(r.out + "/metrics.jsonl"), 0u);
  ASSERT_TRUE(s->step().ok());
  s.reset();
  EXPECT_TRUE(start(r, pool));
  EXPECT_FALSE(fs::exists(half));
}

TEST(TrainSession, ALogWithoutACheckpointIsNotCut) {
  TempDir dir;
  ThreadPool pool(1);
  const Recipe r = tiny_recipe(dir, "run", 10);
  fs::create_directories(r.out);
  dir.write("run/metrics.jsonl", "precious\n");
  EXPECT_NE(refusal(r, pool, Resume::Never).find("metrics.jsonl: is the log of an earlier run"), std::string::npos);
  EXPECT_EQ(testing::file_bytes(r.out + "/metrics.jsonl"), "precious\n");
  for (int n = 1; n <= 2; ++n) {  // as a run that is killed before its first checkpoint and started again, and again
    const auto notices = notices_of(r, pool);
    ASSERT_EQ(notices.size(), 1u);
    EXPECT_NE(notices[0].find("renamed to metrics.before-" + std::to_string(n) + ".jsonl"), std::string::npos) << notices[0];
    EXPECT_EQ(fs::file_size(r.out + "/metrics.jsonl"), 0u);
    dir.write("run/metrics.jsonl", "again\n");
  }
  EXPECT_EQ(testing::file_bytes(r.out + "/metrics.before-1.jsonl"), "precious\n");
  EXPECT_EQ(testing::file_bytes(r.out + "/metrics.before-2.jsonl"), "again\n");
}

TEST(TrainSession, FoldersThatCannotBeWrittenAreToldBeforeTheFirstStep) {
  TempDir dir;
  ThreadPool pool(1);
  const Recipe r = tiny_recipe(dir, "run", 10);
  Recipe bad = r;
  bad.out = dir / "a\xff";
  EXPECT_NE(refusal(bad, pool).find("not valid UTF-8"), std::string::npos);
  bad = r;
  bad.checkpoint_dir = dir / "train.jsonl/checkpoints";
  EXPECT_NE(refusal(bad, pool).find("train.jsonl/checkpoints: cannot create the folder"), std::string::npos)
      << refusal(bad, pool);
  bad = r;
  bad.out = dir / "train.jsonl";
  EXPECT_NE(refusal(bad, pool).find("cannot"), std::string::npos);
  fs::create_directories(dir / "run/model");
  dir.write("run/model/diary.txt", "mine");
  EXPECT_NE(refusal(r, pool).find("run/model: exists and is no model folder"), std::string::npos) << refusal(r, pool);
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
  bad.model.config["vocab_size"] = 12;  // tokens go to 12
  EXPECT_NE(refusal(bad, pool).find("train.jsonl:1: `tokens` holds 12, outside of the model's vocabulary of 12"),
            std::string::npos)
      << refusal(bad, pool);
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"})
    for (const char* value : {"13", "-1", "[2, 13]", "1.5", "\"a\"", "18446744073709551615"}) {
      bad = r;
      bad.model.config[key] = nlohmann::json::parse(value);
      EXPECT_NE(refusal(bad, pool).find(std::string("model.config.") + key + ": is "), std::string::npos)
          << refusal(bad, pool) << key << value;
    }
  r.model.config["eos_token_id"] = {2, 12};
  EXPECT_TRUE(start(r, pool));
}

// A check of its own, below the one of the data: no weight moves.
TEST(MicroBatches, TokensOutsideOfTheVocabularyAreRefused) {
  auto model = testing::tiny_model(testing::tiny_config("llama"), 5);
  ASSERT_TRUE(model);
  ThreadPool pool(1);
  MicroBatchRunner runner(*model, pool, ref_kernels(), *model->kv_layout(DType::F32, 64), false);
  TrainSequence s;
  s.tokens = {1, 2, 61};
  s.weights = {0, 1, 1};
  const auto loss = runner.run({s}, nullptr, 1);
  ASSERT_FALSE(loss.ok());
  EXPECT_NE(loss.message().find("vocabulary of 61"), std::string::npos) << loss.message();
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
  s.reset();
  ASSERT_TRUE(start(r, pool, {}, Resume::Require));
}

rlimit file_size_limit(rlim_t bytes) {
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit now = {bytes, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &now);
  return before;
}

// A disk that takes no more: one line, the checkpoint before it whole, and nothing half written that would fill it further.
TEST(TrainSession, AFullDiskLeavesTheEarlierCheckpointWhole) {
  TempDir dir;
  ThreadPool pool(1);
  Recipe r = tiny_recipe(dir, "run", 20);
  const auto want = run_until(tiny_recipe(dir, "whole", 20), 20);
  auto s = start(r, pool);
  ASSERT_TRUE(s);
  ASSERT_TRUE(s->step().ok());
  ASSERT_TRUE(s->checkpoint().ok());
  ASSERT_TRUE(s->step().ok());
  const auto bytes = fs::file_size(r.checkpoint_dir + "/step-000001/model.safetensors");
  const auto before_handler = signal(SIGXFSZ, SIG_IGN);
  for (const size_t limit : {size_t{1000}, bytes / 2, bytes + 100}) {  // the weights fail; the moments fail
    const rlimit before = file_size_limit(limit);
    const Status saved = s->checkpoint();
    setrlimit(RLIMIT_FSIZE, &before);
    ASSERT_FALSE(saved.ok()) << limit;
    EXPECT_NE(saved.message().find("step-000002"), std::string::npos) << saved.message();
    EXPECT_NE(saved.message().find("File too large"), std::string::npos) << saved.message();
    EXPECT_EQ(saved.message().find('\n'), std::string::npos);
    EXPECT_EQ(std::distance(fs::directory_iterator(r.checkpoint_dir), fs::directory_iterator()), 1);
    EXPECT_TRUE(read_checkpoint_state(r.checkpoint_dir + "/step-000001").ok());
  }
  signal(SIGXFSZ, before_handler);
  s.reset();
  EXPECT_TRUE(same(want, run_until(r, 20)));
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
  MicroBatchRunner runner(*model, pool, ref_kernels(), *model->kv_layout(DType::F32, 64), false);
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

// A task's model has tokenizer, template and sampling defaults; they travel with it, to the byte, through a second training too.
TEST(Export, CarriesItsTextFilesAndRoundsToBf16) {
  TempDir dir;
  ThreadPool pool(1);
  Recipe r = tiny_recipe(dir, "first", 6);
  r.model.config["vocab_size"] = 117;
  r.model.config["max_position_embeddings"] = 256;
  r.model.config["eos_token_id"] = 2;
  r.data = DataRecipe();
  r.data.task = "countdown";
  r.batch.tokens = 256;
  r.validation_every = 0;
  r.export_type = DType::BF16;
  auto s = start(r, pool);
  ASSERT_TRUE(s && s->run().ok());
  const std::string folder = s->model_folder();
  auto files = ModelFiles::open(folder);
  ASSERT_TRUE(files.ok()) << files.message();
  auto model = load_model(*files);
  ASSERT_TRUE(model.ok()) << model.message();
  EXPECT_EQ((*model)->info().weight_types.rfind("BF16", 0), 0u) << (*model)->info().weight_types;
  std::vector<float> rounded = weights_of(s->model());
  for (float& w : rounded) w = bf16_to_f32(f32_to_bf16(w));
  EXPECT_FALSE(same(rounded, weights_of(s->model())));
  LoadOptions as_f32;
  as_f32.trainable = true;
  auto widened = load_model(*files, as_f32);
  ASSERT_TRUE(widened.ok()) << widened.message();
  EXPECT_TRUE(same(rounded, weights_of(**widened)));
  EXPECT_EQ(nlohmann::json::parse(testing::file_bytes(folder + "/config.json")).at("torch_dtype"), "bfloat16");

  const std::pair<const char*, std::string> texts[] = {{"tokenizer.json", testing::file_bytes(folder + "/tokenizer.json")},
                                                       {"tokenizer_config.json", ""},
                                                       {"chat_template.jinja", ""},
                                                       {"generation_config.json", ""}};
  auto tokenizer = Tokenizer::from_hf_json(texts[0].second, testing::file_bytes(folder + "/tokenizer_config.json"), folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
  EXPECT_EQ((*tokenizer)->eos(), 2);
  EXPECT_TRUE((*tokenizer)->id_of("<think>").has_value());
  EXPECT_NE(testing::file_bytes(folder + "/chat_template.jinja").find("add_generation_prompt"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(testing::file_bytes(folder + "/generation_config.json")).at("eos_token_id"), 2);

  Recipe next = r;
  next.out = dir / "second";
  next.checkpoint_dir = dir / "second/checkpoints";
  next.kind = TrainKind::Sft;
  next.model.path = folder;
  next.model.config = nullptr;
  next.export_type = DType::F32;
  auto t = start(next, pool);
  ASSERT_TRUE(t && t->run().ok());
  for (const auto& text : texts)
    EXPECT_EQ(testing::file_bytes(folder + "/" + text.first), testing::file_bytes(t->model_folder() + "/" + text.first))
        << text.first;
  EXPECT_EQ(nlohmann::json::parse(testing::file_bytes(t->model_folder() + "/config.json")).at("torch_dtype"), "float32");
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
