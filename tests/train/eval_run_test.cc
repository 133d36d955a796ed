// Evaluations: a question's samples depend on nothing but (seed, question, sample); what is stopped keeps what has come.
#include "train/eval_run.h"

#include <gtest/gtest.h>

#include "base/thread_pool.h"
#include "io/model_files.h"
#include "train/eval_report.h"

namespace raison::testing {
namespace {

class EvalRuns : public ::testing::Test {
 protected:
  void SetUp() override {
    auto files = ModelFiles::open(RAISON_SOURCE_DIR "/models/countdown-base");
    ASSERT_TRUE(files.ok()) << files.message();
    auto loaded = load_model(*files);
    ASSERT_TRUE(loaded.ok()) << loaded.message();
    model_ = std::move(loaded).value();
    auto kernels = select_kernels_from_environment();
    ASSERT_TRUE(kernels.ok());
    kernels_ = *kernels;
    task_ = *make_synthetic_task("countdown");
    options_.samples = 3;
    options_.max_tokens = 120;
    options_.stop_ids = {SyntheticTask::kEos};
    options_.think = task_->counted_thought()->rules;
    options_.votes = {1, 2, 3};
  }

  Result<EvalRun> run(const std::vector<EvalPrompt>& prompts, const EvalOptions& o, int threads = 2, int together = 256) {
    ThreadPool pool(threads);
    EngineOptions engine_options;
    engine_options.max_sequences = together;
    Engine engine(*model_, pool, *kernels_, engine_options);
    const auto grader = make_task_grader(task_);
    return run_eval(engine, prompts, *grader, o);
  }
  static std::vector<std::string> votes_of(const EvalRun& run, size_t question) {
    std::vector<std::string> out;
    for (const EvalSample& s : run.samples[question])
      out.push_back(!s.finished ? "open" : s.vote.value_or("none") + " " + std::to_string(s.tokens));
    return out;
  }

  std::unique_ptr<Model> model_;
  const KernelTable* kernels_ = nullptr;
  std::shared_ptr<const SyntheticTask> task_;
  EvalOptions options_;
};

TEST_F(EvalRuns, SamplesDependOnSeedQuestionAndSampleAlone) {
  const auto prompts = task_eval_prompts(*task_, 12);
  const auto whole = run(prompts, options_);
  ASSERT_TRUE(whole.ok()) << whole.message();
  EXPECT_TRUE(whole->whole);
  EXPECT_EQ(whole->figures.samples, 36);
  EXPECT_EQ(whole->figures.self_verified.size(), 3u);
  const auto alone = run(prompts, options_, 1, 1);
  auto some = prompts;
  some[1].left_out = true;
  some.resize(5);
  const auto fewer = run(some, options_, 3, 4);
  EvalOptions two = options_;
  two.samples = 2;
  const auto fewer_samples = run(prompts, two);
  ASSERT_TRUE(alone.ok() && fewer.ok() && fewer_samples.ok());
  for (size_t q = 0; q < 12; ++q) {
    EXPECT_EQ(votes_of(*whole, q), votes_of(*alone, q)) << q;
    if (q < 5 && q != 1) { EXPECT_EQ(votes_of(*whole, q), votes_of(*fewer, q)) << q; }
    auto first = votes_of(*whole, q);
    first.resize(2);
    EXPECT_EQ(first, votes_of(*fewer_samples, q)) << q;
  }
  EXPECT_TRUE(fewer->samples[1].empty());
  EXPECT_EQ(fewer->figures.questions, 4);
  EvalOptions other = options_;
  other.seed = 2;
  const auto reseeded = run(prompts, other);
  ASSERT_TRUE(reseeded.ok());
  bool differs = false;
  for (size_t q = 0; q < 12; ++q) differs = differs || votes_of(*whole, q) != votes_of(*reseeded, q);
  EXPECT_TRUE(differs);
}

TEST_F(EvalRuns, StoppedKeepsWhatHasCome) {
  const auto prompts = task_eval_prompts(*task_, 12);
  const auto whole = run(prompts, options_);
  EvalOptions o = options_;
  int64_t most = 0;
  o.progress = [&](const EvalProgress& p) {
    EXPECT_EQ(p.total, 36);
    most = p.finished;
    return p.finished < 10;
  };
  const auto part = run(prompts, o, 2, 4);
  ASSERT_TRUE(whole.ok() && part.ok());
  EXPECT_FALSE(part->whole);
  EXPECT_EQ(part->figures.samples, most);
  EXPECT_GE(most, 10);
  EXPECT_LT(most, 36);
  for (size_t q = 0; q < 12; ++q)
    for (size_t i = 0; i < 3; ++i)
      if (part->samples[q][i].finished) { EXPECT_EQ(votes_of(*part, q)[i], votes_of(*whole, q)[i]) << q << " " << i; }
}

TEST_F(EvalRuns, BudgetsCloseThoughts) {
  const auto prompts = task_eval_prompts(*task_, 8);
  EvalOptions o = options_;
  o.think_limits.budget = 6;
  const auto closed = run(prompts, o);
  ASSERT_TRUE(closed.ok()) << closed.message();
  for (const auto& row : closed->samples)
    for (const EvalSample& s : row) EXPECT_LE(s.thought_tokens, 6);
  EXPECT_GT(closed->figures.answer_tokens, 0);
  o.think_limits.budget = 120;
  const auto no_room = run(prompts, o);
  ASSERT_FALSE(no_room.ok());
  EXPECT_NE(no_room.message().find("120"), std::string::npos) << no_room.message();
  auto none = prompts;
  EXPECT_EQ(leave_out_long(&none, 4), 8);
  EXPECT_FALSE(run(none, options_).ok());
}

TEST_F(EvalRuns, ReportsHoldEverySample) {
  EvalTaskReport report;
  report.task = "countdown <b>";
  report.samples = 3;
  report.verifier = "built in";
  report.prompts = task_eval_prompts(*task_, 4);
  EvalOptions o = options_;
  o.keep_text = true;
  for (const int64_t budget : {8, 16}) {
    o.think_limits.budget = budget;
    auto drawn = run(report.prompts, o);
    ASSERT_TRUE(drawn.ok()) << drawn.message();
    report.runs.push_back({budget, std::move(drawn).value()});
  }
  const auto j = eval_report_json(report);
  ASSERT_EQ(j["runs"].size(), 2u);
  EXPECT_EQ(j["runs"][1]["budget"], 16);
  EXPECT_EQ(j["runs"][0]["questions"].size(), 4u);
  EXPECT_EQ(j["runs"][0]["questions"][2]["samples"].size(), 3u);
  EXPECT_EQ(j["partial"], false);
  const std::string lines = eval_samples_jsonl(report);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2 * 4 * 3);
  EXPECT_NE(lines.find("\"text\":\"|"), std::string::npos) << lines.substr(0, 300);
  const std::string svg = eval_reports_svg({report});
  EXPECT_NE(svg.find("by samples"), std::string::npos);
  EXPECT_NE(svg.find("by budget"), std::string::npos);
  EXPECT_EQ(svg.find("<b>"), std::string::npos);
  report.runs.clear();
  EXPECT_EQ(eval_reports_svg({report}), "");
}

}  // namespace
}  // namespace raison::testing
