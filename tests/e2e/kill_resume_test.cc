// The program killed in the middle of training, at random moments, and started again: the same final bytes.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "base/rng.h"
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
)";

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class KillResume : public ::testing::Test {
 protected:
  void SetUp() override { recipe_ = dir_.write("recipe.toml", kRecipe); }

  std::vector<std::string> command(const std::string& out, bool resume) const {
    std::vector<std::string> args = {RAISON_BINARY, "train", "pretrain", recipe_, "--out", dir_ / out, "--threads", "1"};
    if (resume) args.push_back("--resume");
    return args;
  }

  // Starts the program, sends `signal_number` after `delay` seconds, waits. Returns the wait status.
  int run_and_signal(const std::string& out, double delay, int signal_number) const {
    const auto args = command(out, true);
    const pid_t child = fork();
    if (child == 0) {
      const int null = open("/dev/null", O_RDWR);
      for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
      process_detail::exec_program(args, {});
    }
    EXPECT_GT(child, 0);  // kill(-1) would reach every process there is
    if (child < 0) return 0;
    usleep(static_cast<useconds_t>(delay * 1e6));
    kill(child, signal_number);
    int status = 0;
    waitpid(child, &status, 0);
    return status;
  }

  // Every file of the model and of the last checkpoint but its state, which knows lengths of timed logs.
  void expect_same_result(const std::string& a, const std::string& b) const {
    for (const char* file : {"model/model.safetensors", "model/config.json", "model/tokenizer.json",
                             "model/generation_config.json", "model/chat_template.jinja",
                             "checkpoints/step-000060/model.safetensors", "checkpoints/step-000060/optimizer.safetensors"}) {
      ASSERT_TRUE(fs::exists(dir_ / (a + "/" + file))) << file;
      ASSERT_EQ(bytes_of(dir_ / (a + "/" + file)), bytes_of(dir_ / (b + "/" + file))) << b << "/" << file;
    }
  }

  TempDir dir_;
  std::string recipe_;
};

TEST_F(KillResume, SigtermSavesACheckpointAndResumesToTheSameBytes) {
  const RunResult whole = run_program(command("whole", false));
  ASSERT_EQ(whole.code, 0) << whole.err;
  ASSERT_FALSE(fs::exists(dir_ / "stopped"));
  const int status = run_and_signal("stopped", 0.4, SIGTERM);
  EXPECT_TRUE(WIFEXITED(status) || WTERMSIG(status) == SIGTERM) << status;  // a signal before the first step just ends it
  const RunResult rest = run_program(command("stopped", true));
  ASSERT_EQ(rest.code, 0) << rest.err;
  expect_same_result("whole", "stopped");
  EXPECT_NE(run_program(command("stopped", false)).code, 0);  // without --resume it does not touch an earlier run
}

TEST_F(KillResume, SlowTwentyKillsAtRandomMoments) {
  const auto begin = std::chrono::steady_clock::now();
  const RunResult whole = run_program(command("whole", false));
  ASSERT_EQ(whole.code, 0) << whole.err;
  const double duration = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  Rng rng(20, 1);
  int kills = 0, runs = 0;
  while (kills < 20) {
    const std::string out = "run" + std::to_string(runs++);
    bool finished = false;
    for (int in_this_run = 0; !finished && in_this_run < 6 && kills < 20; ++in_this_run) {
      const int status = run_and_signal(out, duration * (0.05 + 0.95 * rng.uniform()), SIGKILL);
      finished = WIFEXITED(status);
      kills += finished ? 0 : 1;
      ASSERT_TRUE(!finished || WEXITSTATUS(status) == 0) << WEXITSTATUS(status);
    }
    if (!finished) {
      const RunResult rest = run_program(command(out, true));
      ASSERT_EQ(rest.code, 0) << rest.err;
    }
    ASSERT_NO_FATAL_FAILURE(expect_same_result("whole", out));
    for (const auto& entry : fs::directory_iterator(dir_ / (out + "/checkpoints")))
      EXPECT_EQ(entry.path().filename().string().rfind("step-", 0), 0u) << "left behind: " << entry.path();
    ASSERT_LT(runs, 100);
  }
  std::cout << kills << " kills in " << runs << " runs, " << duration << " s each when left alone\n";
}

}  // namespace
}  // namespace raison::testing
