// The bundled model: as good as its README says, and still what its recipe makes.
#include <chrono>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>

#include "e2e/cli_fixture.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {
namespace fs = std::filesystem;

const std::string kBundled = RAISON_SOURCE_DIR "/models/countdown-base";

// The tolerance of the design (miniature2.md) for whoever makes the base anew.
TEST(Bundled, EvaluatesWithinTheDesignsTolerance) {
  TempDir dir;
  const RunResult r = raison({"eval", kBundled, "countdown", "--json", dir / "figures.json"});
  ASSERT_EQ(r.code, 0) << r.err;
  const auto j = nlohmann::json::parse(slurp(dir / "figures.json"));
  const auto& sampled = j.at("sampled");
  const auto& greedy = j.at("greedy");
  EXPECT_EQ(sampled.at("problems"), 1024);
  EXPECT_EQ(greedy.at("problems"), 512);
  EXPECT_GE(sampled.at("accuracy"), 0.13);
  EXPECT_LE(sampled.at("accuracy"), 0.25);
  EXPECT_GE(greedy.at("accuracy"), 0.08);
  EXPECT_LE(greedy.at("accuracy"), 0.25);
  EXPECT_GE(sampled.at("arithmetic"), 0.985);
  EXPECT_GT(sampled.at("equations"), 1000);  // the share is one of many
  // The same figures as its README tells: the same seed gives the same ones everywhere.
  for (const auto& [label, value] : {std::pair{"right", sampled.at("accuracy")}, std::pair{"greedy", greedy.at("accuracy")}}) {
    const std::string percent = std::to_string(static_cast<int>(1000 * value.get<double>() + 0.5));
    const std::string told = percent.substr(0, percent.size() - 1) + "." + percent.back() + " %";
    EXPECT_NE(slurp(kBundled + "/README.md").find(told), std::string::npos) << label << ": README.md does not tell " << told;
    EXPECT_NE(r.out.find(told), std::string::npos) << r.out;
  }
}

std::string first_lines(const std::string& text, int64_t n) {
  size_t at = 0;
  for (int64_t i = 0; i < n && at < text.size(); ++i) at = std::min(text.find('\n', at), text.size() - 1) + 1;
  return text.substr(0, at);
}

// The whole is scripts/retrain. What breaks the bits of training mostly does so in the first steps.
void expect_first_steps(const std::string& kind, const std::string& model, int64_t steps) {
  TempDir dir;
  const std::string log = dir / "run/metrics.jsonl", name = fs::path(model).filename();
  std::vector<std::string> command = {RAISON_BINARY, "train",     kind,        RAISON_SOURCE_DIR "/recipes/" + name + ".toml",
                                      "--out",       dir / "run", "--threads", "2"};
  if (kind == "grpo") command.insert(command.end(), {"--set", "model.path=" + kBundled});
  const pid_t child = start_quietly(command);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(4);
  while (line_count(slurp(log)) < steps && std::chrono::steady_clock::now() < deadline) usleep(20000);
  kill(child, SIGTERM);
  EXPECT_EQ(process_detail::exit_code(wait_status(child)), 130);
  const std::string made = timeless(log);
  const int64_t n = line_count(made);
  ASSERT_GE(n, steps);
  EXPECT_EQ(made, first_lines(timeless(model + "/metrics.jsonl"), n));
}

TEST(Bundled, TheFirstStepsOfItsRecipeAreThoseOfItsLog) { expect_first_steps("pretrain", kBundled, 60); }

// The recipe that explains every key also does what it says: it learns its six searches by heart.
TEST(Bundled, TheExampleOfFineTuningLearnsItsRecords) {
  TempDir dir;
  const std::string records = RAISON_SOURCE_DIR "/recipes/sft-example.jsonl";
  const RunResult r = raison({"train", "sft", RAISON_SOURCE_DIR "/recipes/sft-example.toml", "--out", dir / "run", "--set",
                              "model.path=" + kBundled, "--set", "data.train=" + records});
  ASSERT_EQ(r.code, 0) << r.err;
  std::istringstream lines(slurp(records));
  int learnt = 0;
  for (std::string line; std::getline(lines, line); ++learnt) {
    const auto messages = nlohmann::json::parse(line).at("messages");
    const RunResult reply =
        raison({"run", dir / "run/model", "-p", messages[0].at("content").get<std::string>(), "--temp", "0"});
    ASSERT_EQ(reply.code, 0) << reply.err;
    std::istringstream want(messages[1].at("content").get<std::string>()), got(reply.out);
    const std::vector<std::string> a(std::istream_iterator<std::string>(want), {});
    const std::vector<std::string> b(std::istream_iterator<std::string>(got), {});
    EXPECT_EQ(a, b) << reply.out;
  }
  EXPECT_EQ(learnt, 6);
}

// Some minutes; the first steps, above, are the quick look.
TEST(Bundled, SlowItsRecipeStillGivesItsBytes) {
  RunSettings settings;
  settings.env = {{"RAISON", RAISON_BINARY}};
  settings.timeout_seconds = 3000;
  const RunResult r = run_program({RAISON_SOURCE_DIR "/scripts/retrain", "countdown-base"}, settings);
  EXPECT_EQ(r.code, 0) << r.out << r.err;
}

const std::string kTaught = RAISON_SOURCE_DIR "/models/countdown-zero";

// The tolerance of the design for what rewards alone make of the base.
TEST(BundledTaught, SlowEvaluatesWithinTheDesignsTolerance) {
  TempDir dir;
  const RunResult r = raison({"eval", kTaught, "countdown", "--json", dir / "figures.json"});
  ASSERT_EQ(r.code, 0) << r.err;
  const auto j = nlohmann::json::parse(slurp(dir / "figures.json"));
  const auto& sampled = j.at("sampled");
  const auto& greedy = j.at("greedy");
  EXPECT_GE(sampled.at("accuracy"), 0.85);
  EXPECT_GE(greedy.at("accuracy"), 0.92);
  EXPECT_LE(sampled.at("truncated"), 0.09);
  EXPECT_GE(sampled.at("length"), 2.5 * 25);
  EXPECT_GE(sampled.at("arithmetic"), 0.985);
  for (const auto& value : {sampled.at("accuracy"), greedy.at("accuracy")}) {
    const std::string percent = std::to_string(static_cast<int>(1000 * value.get<double>() + 0.5));
    const std::string told = percent.substr(0, percent.size() - 1) + "." + percent.back() + " %";
    EXPECT_NE(slurp(kTaught + "/README.md").find(told), std::string::npos) << "README.md does not tell " << told;
  }
}

// Its log: the curves of the design, and every logprob of trainer and rollout the same to the bit.
TEST(BundledTaught, ItsCurvesAreTheDesigns) {
  std::istringstream lines(slurp(kTaught + "/metrics.jsonl"));
  std::vector<double> right;
  for (std::string line; std::getline(lines, line);) {
    const auto j = nlohmann::json::parse(line);
    right.push_back(j.at("right"));
    EXPECT_EQ(j.at("delta_logprob"), 0);
    EXPECT_EQ(j.at("compared_logprobs"), j.at("update_tokens"));
    EXPECT_GT(j.at("compared_logprobs"), 0);
  }
  ASSERT_EQ(right.size(), 60u);
  const auto mean = [&](size_t begin) { return std::accumulate(right.begin() + begin, right.begin() + begin + 10, 0.0) / 10; };
  EXPECT_GE(mean(10), 0.60);
  EXPECT_GE(mean(20), 0.80);
}

TEST(BundledTaught, TheFirstStepsOfItsRecipeAreThoseOfItsLog) { expect_first_steps("grpo", kTaught, 3); }

TEST(BundledTaught, SlowItsRecipeStillGivesItsBytes) {
  RunSettings settings;
  settings.env = {{"RAISON", RAISON_BINARY}};
  settings.timeout_seconds = 3000;
  const RunResult r = run_program({RAISON_SOURCE_DIR "/scripts/retrain", "countdown-zero"}, settings);
  EXPECT_EQ(r.code, 0) << r.out << r.err;
}

}  // namespace
}  // namespace raison::testing
