// The program stopped or killed in the middle of training, and started again: the same final bytes.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "base/rng.h"
#include "e2e/cli_fixture.h"
#include "testing/process.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {
namespace fs = std::filesystem;

constexpr const char* kRecipe = R"(kind = "pretrain"
seed = 5
steps = 60
out = "runs/unused"
[model.config]
model_type = "llama"
vocab_size = 117
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 2
max_position_embeddings = 256
tie_word_embeddings = true
bos_token_id = 1
eos_token_id = 2
[data]
task = "countdown"
[batch]
tokens = 512
accumulation = 2
[optimizer]
lr = 2e-3
[schedule]
name = "cosine"
warmup = 5
[checkpoint]
every = 4
keep_last = 2
[validation]
every = 10
sequences = 24
)";

// Every fourth step ends in a checkpoint, so most kills fall between two of them, and in the middle of rollouts.
const std::string kPolicyRecipe =
    "kind = \"grpo\"\nseed = 5\nsteps = 12\nout = \"runs/unused\"\n[model]\npath = \"" RAISON_SOURCE_DIR
    R"(/models/countdown-base"
[data]
task = "countdown"
[rollout]
prompts = 8
group = 4
max_length = 200
[policy]
beta = 0.02
reference_every = 5
epochs = 2
[optimizer]
lr = 5e-4
[batch]
tokens = 1024
[checkpoint]
every = 4
keep_last = 2
[validation]
every = 5
sequences = 16
)";

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class KillResume : public ::testing::Test {
 protected:
  KillResume(std::string kind = "pretrain", std::string recipe = kRecipe, std::string last = "step-000060")
      : kind_(std::move(kind)), last_(std::move(last)) {
    recipe_ = dir_.write("recipe.toml", recipe);
  }

  std::vector<std::string> command(const std::string& out, bool resume, int threads = 1) const {
    std::vector<std::string> args = {RAISON_BINARY, "train",    kind_,       recipe_,
                                     "--out",       dir_ / out, "--threads", std::to_string(threads)};
    if (resume) args.push_back("--resume");
    return args;
  }

  // Starts the program, sends it a signal as soon as a step is done, waits. Returns the exit code.
  int signal_after_the_first_step(const std::string& out, int number, int ignored = 0) const {
    const pid_t child = start_quietly(command(out, true), ignored);
    if (child < 0) return -1;
    for (int i = 0; i < 60000 && timeless(dir_ / (out + "/metrics.jsonl")).empty(); ++i) usleep(1000);
    EXPECT_NE(timeless(dir_ / (out + "/metrics.jsonl")), "") << "no step in a minute";
    kill(child, number);
    return process_detail::exit_code(wait_status(child));
  }

  // Every file of the model and of the last checkpoint but its state, which knows lengths of timed logs.
  void expect_same_result(const std::string& a, const std::string& b) const {
    for (const char* name : {"model/model.safetensors", "model/config.json", "model/tokenizer.json",
                             "model/generation_config.json", "model/chat_template.jinja", "checkpoints/LAST/model.safetensors",
                             "checkpoints/LAST/optimizer.safetensors", "checkpoints/LAST/reference.safetensors"}) {
      std::string file = name;
      if (const size_t at = file.find("LAST"); at != std::string::npos) file.replace(at, 4, last_);
      if (kind_ != "grpo" && file.find("reference") != std::string::npos) continue;
      ASSERT_TRUE(fs::exists(dir_ / (a + "/" + file))) << file;
      ASSERT_EQ(bytes_of(dir_ / (a + "/" + file)), bytes_of(dir_ / (b + "/" + file))) << b << "/" << file;
    }
    const std::string log = timeless(dir_ / (a + "/metrics.jsonl"));
    ASSERT_EQ(log, timeless(dir_ / (b + "/metrics.jsonl")));
    ASSERT_NE(log.find(kind_ == "grpo" ? "validation_reward" : "validation_loss"), std::string::npos);
  }

  void kill_at_random_moments(int wanted);

  TempDir dir_;
  std::string recipe_, kind_, last_;
};

class PolicyKillResume : public KillResume {
 protected:
  PolicyKillResume() : KillResume("grpo", kPolicyRecipe, "step-000012") {}
};

class StopResume : public KillResume, public ::testing::WithParamInterface<int> {};

TEST_P(StopResume, SavesACheckpointAndResumesToTheSameBytes) {
  const RunResult whole = run_program(command("whole", false));
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_EQ(signal_after_the_first_step("stopped", GetParam()), 130);
  int checkpoints = 0;
  for (const auto& entry : fs::directory_iterator(dir_ / "stopped/checkpoints")) {
    EXPECT_TRUE(fs::exists(entry.path() / "state.json")) << entry.path();
    EXPECT_NE(entry.path().filename(), last_);  // it stopped before the end
    ++checkpoints;
  }
  EXPECT_GT(checkpoints, 0);
  EXPECT_NE(run_program(command("stopped", false)).code, 0);  // without --resume it does not touch an earlier run
  const RunResult rest = run_program(command("stopped", true));
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_NE(rest.err.find("resumed from"), std::string::npos) << rest.err;
  expect_same_result("whole", "stopped");
}

INSTANTIATE_TEST_SUITE_P(By, StopResume, ::testing::Values(SIGINT, SIGTERM, SIGHUP), [](const auto& param_info) {
  return std::string(param_info.param == SIGINT ? "Sigint" : param_info.param == SIGTERM ? "Sigterm" : "Sighup");
});

TEST_F(KillResume, UnderNohupAHangupIsNoReasonToStop) {
  EXPECT_EQ(signal_after_the_first_step("run", SIGHUP, SIGHUP), 0);
  EXPECT_TRUE(fs::exists(dir_ / "run/model/model.safetensors"));
}

void KillResume::kill_at_random_moments(int wanted) {
  const auto begin = std::chrono::steady_clock::now();
  const RunResult whole = run_program(command("whole", false));
  ASSERT_EQ(whole.code, 0) << whole.err;
  const double duration = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  Rng rng(20, 1);
  int kills = 0, runs = 0;
  while (kills < wanted) {
    const std::string out = "run" + std::to_string(runs++);
    bool finished = false;
    for (int in_this_run = 0; !finished && in_this_run < 6 && kills < wanted; ++in_this_run) {
      const pid_t child = start_quietly(command(out, true, 1 + kills % 2));
      if (child < 0) return;
      usleep(static_cast<useconds_t>(duration * (0.05 + 0.95 * rng.uniform()) * 1e6));
      kill(child, SIGKILL);
      const int status = wait_status(child);
      finished = WIFEXITED(status);
      kills += finished ? 0 : 1;
      ASSERT_TRUE(!finished || WEXITSTATUS(status) == 0) << WEXITSTATUS(status);
    }
    if (!finished) {
      const RunResult rest = run_program(command(out, true, 1 + runs % 2));
      ASSERT_EQ(rest.code, 0) << rest.err;
    }
    ASSERT_NO_FATAL_FAILURE(expect_same_result("whole", out));
    for (const auto& entry : fs::directory_iterator(dir_ / (out + "/checkpoints")))
      EXPECT_EQ(entry.path().filename().string().rfind("step-", 0), 0u) << "left behind: " << entry.path();
    ASSERT_LT(runs, 100);
  }
  std::cout << kills << " kills in " << runs << " runs, " << duration << " s each when left alone\n";
}

TEST_F(KillResume, SlowTwentyKillsAtRandomMoments) { kill_at_random_moments(20); }
TEST_F(PolicyKillResume, SlowFifteenKillsAtRandomMoments) { kill_at_random_moments(15); }

TEST_F(PolicyKillResume, SlowStoppedInTheMiddleOfAStepItGoesOnToTheSameBytes) {
  const RunResult whole = run_program(command("whole", false));
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_NE(whole.err.find("memory: weights"), std::string::npos) << whole.err;
  EXPECT_EQ(signal_after_the_first_step("stopped", SIGINT), 130);
  const RunResult rest = run_program(command("stopped", true));
  ASSERT_EQ(rest.code, 0) << rest.err;
  expect_same_result("whole", "stopped");
}

}  // namespace
}  // namespace raison::testing
