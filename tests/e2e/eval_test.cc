// raison eval on data sets: figures, files, stops, and what is refused.
#include <nlohmann/json.hpp>

#include "e2e/cli_fixture.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {

const std::string kEvalModel = RAISON_SOURCE_DIR "/models/countdown-base";

std::string countdown_file(const TempDir& dir, int count = 6) {
  std::string text = "{\"prompt\": \"4 5 7 -> 8\", \"id\": \"first\"}\n{\"nums\": [2, 4, 8], \"target\": 24}\n";
  for (int i = 2; i < count; ++i)
    text += "{\"numbers\": [" + std::to_string(i % 9 + 1) + ", 3, 5], \"target\": " + std::to_string(i % 9 + 9) + "}\n";
  return dir.write("countdown.jsonl", text);
}

nlohmann::json without_clock(nlohmann::json j) {
  for (auto it = j.begin(); it != j.end();) {
    if (j.is_object() && it.key().find("second") != std::string::npos) {
      it = j.erase(it);
      continue;
    }
    if (it->is_structured()) *it = without_clock(std::move(*it));
    ++it;
  }
  return j;
}

nlohmann::json json_in(const std::string& path) { return nlohmann::json::parse(slurp(path), nullptr, false); }

TEST(Eval, TellsAllFiguresOfAFile) {
  const TempDir dir;
  const RunResult r = raison({"eval", kEvalModel, "countdown=" + countdown_file(dir), "--samples", "4", "--json",
                              dir / "f.json", "--samples-file", dir / "s.jsonl", "--plot", dir / "p.svg", "--seed", "7"});
  ASSERT_EQ(r.code, 0) << r.err;
  for (const char* word : {"6 questions, 4 samples each", "pass@1", "pass@4", "maj@4", "self-verified@4", "unparseable",
                           "cut off", "tokens of a thought", "tokens/s"})
    EXPECT_NE(r.out.find(word), std::string::npos) << word << "\n" << r.out;
  const auto j = json_in(dir / "f.json");
  ASSERT_TRUE(j.is_object());
  EXPECT_EQ(j["seed"], 7);
  EXPECT_EQ(j["partial"], false);
  EXPECT_EQ(j["settings"]["temperature"], 1.0) << "as the model's generation_config.json says";
  const auto& task = j["tasks"][0];
  EXPECT_EQ(task["verifier"], "countdown");
  const auto& run = task["runs"][0];
  for (const char* key : {"1", "2", "4"}) {
    EXPECT_EQ(run["pass_at"][key]["questions"], 6) << key;
    EXPECT_LE(run["majority_at"][key]["low"], run["majority_at"][key]["value"]) << key;
    EXPECT_GE(run["self_verified_at"][key]["high"], run["self_verified_at"][key]["value"]) << key;
  }
  EXPECT_LE(run["pass_at"]["1"]["value"], run["pass_at"]["4"]["value"]);
  ASSERT_EQ(run["questions"].size(), 6u);
  EXPECT_EQ(run["questions"][0]["id"], "first");
  EXPECT_EQ(run["questions"][1]["id"], 1);
  // The figures are those of the samples that are told.
  int right = 0;
  for (const auto& q : run["questions"]) {
    ASSERT_EQ(q["samples"].size(), 4u);
    for (const auto& s : q["samples"]) right += s["verdict"] == "right" ? 1 : 0;
  }
  EXPECT_NEAR(run["accuracy"]["value"], right / 24.0, 1e-12);
  const std::string samples = slurp(dir / "s.jsonl");
  EXPECT_EQ(line_count(samples), 24);
  EXPECT_NE(samples.find("</think>"), std::string::npos);
  EXPECT_NE(slurp(dir / "p.svg").find("pass@k"), std::string::npos);
}

// The built-in Countdown tasks report under their own names, on problems of their own.
TEST(Eval, EveryCountdownHasItsReport) {
  const TempDir dir;
  RunResult r = raison({"eval", kEvalModel, "countdown-tries", "--samples", "6", "--greedy", "3", "--json", dir / "t.json"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out.find("countdown-tries, held out"), 0u) << r.out;
  auto j = json_in(dir / "t.json");
  EXPECT_EQ(j["task"], "countdown-tries");
  EXPECT_EQ(j["sampled"]["problems"], 6);
  EXPECT_EQ(j["greedy"]["problems"], 3);

  r = raison({"train", "pretrain", RAISON_SOURCE_DIR "/recipes/countdown-four-base.toml", "--out", dir / "four", "--set",
              "steps=1", "--set", "schedule.warmup=1", "--set", "model.config.hidden_size=32", "--set",
              "model.config.num_hidden_layers=1", "--set", "validation.sequences=4"});
  ASSERT_EQ(r.code, 0) << r.err;
  r = raison({"eval", dir / "four/model", "countdown-four", "--samples", "3", "--json", dir / "f.json"});
  ASSERT_EQ(r.code, 0) << r.err;
  j = json_in(dir / "f.json");
  EXPECT_EQ(j["task"], "countdown-four");
  EXPECT_EQ(j["greedy"]["problems"], 2);
  EXPECT_EQ(j["sampled"]["accuracy"], 0.0);
  r = raison({"eval", dir / "four/model", "countdown-four", "--minimums", "0,2", "--samples", "2", "--json", dir / "m.json"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(json_in(dir / "m.json")["task"], "countdown-four");
}

TEST(Eval, TheSameOnAnyNumberOfThreadsAndTogether) {
  const TempDir dir;
  const std::string file = "countdown=" + countdown_file(dir);
  const std::vector<std::string> args = {"eval", kEvalModel, file, "countdown", "--limit", "5", "--samples", "3", "--json"};
  nlohmann::json first;
  for (const auto& [threads, together] : {std::pair{"1", "1"}, std::pair{"2", "256"}, std::pair{"3", "2"}}) {
    auto with = args;
    with.insert(with.end(), {dir / "f.json", "--threads", threads, "--together", together});
    const RunResult r = raison(with);
    ASSERT_EQ(r.code, 0) << r.err;
    const auto j = without_clock(json_in(dir / "f.json"));
    ASSERT_EQ(j["tasks"].size(), 2u);
    EXPECT_EQ(j["tasks"][1]["verifier"], "built in");
    EXPECT_EQ(j["tasks"][1]["questions"], 5);
    if (first.is_null()) first = j;
    EXPECT_EQ(j, first) << threads;
  }
}

TEST(Eval, ByBudget) {
  const TempDir dir;
  const RunResult r = raison({"eval", kEvalModel, "mine=" + countdown_file(dir), "--verifier", "countdown",
                              "--verifier-options", "{\"division\": false}", "--budgets", "12,0", "--votes", "1,3", "--json",
                              dir / "f.json", "--plot", dir / "p.svg"});
  ASSERT_EQ(r.code, 0) << r.err;
  const auto j = json_in(dir / "f.json");
  const auto& runs = j["tasks"][0]["runs"];
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(j["tasks"][0]["task"], "mine");
  EXPECT_EQ(runs[0]["budget"], 0);
  EXPECT_EQ(runs[0]["thought_tokens"], 0.0);
  EXPECT_EQ(runs[1]["budget"], 12);
  EXPECT_GT(runs[1]["thought_tokens"], 0.0);
  EXPECT_LE(runs[1]["thought_tokens"], 12.0);
  EXPECT_TRUE(runs[1]["majority_at"].contains("3"));
  EXPECT_NE(slurp(dir / "p.svg").find("by budget"), std::string::npos);
  EXPECT_NE(r.out.find("budget"), std::string::npos) << r.out;
}

TEST(Eval, TooLongQuestionsAreLeftOutAndSaid) {
  const TempDir dir;
  std::string numbers = "1";
  for (int i = 0; i < 40; ++i) numbers += ", 1";
  const std::string file =
      dir.write("long.jsonl", "{\"nums\": [" + numbers + "], \"target\": 41}\n{\"nums\": [2, 4, 8], \"target\": 24}\n");
  const RunResult r = raison({"eval", kEvalModel, "countdown=" + file, "--ctx", "40", "--json", dir / "f.json"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("1 question left out"), std::string::npos) << r.err;
  const auto j = json_in(dir / "f.json");
  EXPECT_EQ(j["tasks"][0]["left_out"], 1);
  EXPECT_EQ(j["tasks"][0]["questions"], 1);
  EXPECT_EQ(j["tasks"][0]["runs"][0]["questions"][0]["left_out"], true);
  const RunResult none = raison({"eval", kEvalModel, "countdown=" + file, "--ctx", "4"});
  EXPECT_EQ(none.code, 1);
  EXPECT_NE(none.err.find("no question leaves room"), std::string::npos) << none.err;
}

TEST(Eval, CtrlCReportsWhatHasCome) {
  const TempDir dir;
  const std::string file = countdown_file(dir, 400);
  RunSettings s;
  s.env = {{"TERM", "xterm"}, {"NO_COLOR", ""}, {"LC_ALL", "C.UTF-8"}, {"RAISON_ISA", "ref"}};
  Terminal t(
      {RAISON_BINARY, "eval", kEvalModel, "countdown=" + file, "--samples", "64", "--together", "16", "--json", dir / "f.json"},
      s);
  ASSERT_TRUE(t.wait_for("right ")) << t.seen();  // some are judged
  t.signal(SIGINT);
  EXPECT_EQ(t.wait_for_end(), 130) << t.seen();
  EXPECT_NE(t.seen().find("stopped: the last figures are partial"), std::string::npos) << t.seen();
  const auto j = json_in(dir / "f.json");
  ASSERT_TRUE(j.is_object());
  EXPECT_EQ(j["partial"], true);
  const auto& run = j["tasks"][0]["runs"][0];
  EXPECT_GT(run["samples"], 0);
  EXPECT_LT(run["samples"], 400 * 64);
}

TEST(Eval, RefusesWhatCannotBe) {
  const TempDir dir;
  const std::string file = countdown_file(dir);
  const auto refused = [&](std::vector<std::string> args, int code, const std::string& what) {
    args.insert(args.begin(), {"eval", kEvalModel});
    const RunResult r = raison(args);
    EXPECT_EQ(r.code, code) << what << r.err;
    EXPECT_EQ(line_count(r.err), 1) << r.err;
    EXPECT_NE(r.err.find(what), std::string::npos) << r.err;
    EXPECT_EQ(r.out, "") << what;
  };
  refused({"chess"}, 2, "gsm8k, math500");
  refused({"countdown", "--samples", "0"}, 2, "--samples");
  refused({"gsm8k"}, 1, "gsm8k=FILE");
  refused({"gsm8k=" + dir / "none.jsonl"}, 1, "none.jsonl");
  refused({file}, 1, "--verifier");
  refused({"mine=" + file}, 1, "--verifier");
  refused({file, "--verifier", "nobody"}, 2, "nobody");
  refused({file, "--verifier", "countdown", "--verifier-options", "[1]"}, 1, "JSON object");
  refused({file, "--verifier", "countdown", "--verifier-options", "{\"colour\": 1}"}, 1, "colour");
  refused({"reverse"}, 1, "vocabulary");
  refused({"reverse=" + file}, 1, "built in");
  refused({"countdown-four"}, 1, "vocabulary");
  refused({"countdown-four=" + file}, 1, "built in");
  refused({"countdown", "--temp", "0.5"}, 1, "--limit");
  refused({"countdown=" + file, "--temp", "0", "--samples", "2"}, 1, "temperature 0");
  refused({"countdown=" + file, "--greedy", "2"}, 1, "--greedy");
  refused({"countdown=" + file, "--stop", "x"}, 1, "--stop");
  refused({"countdown=" + file, "--votes", "8", "--samples", "4"}, 1, "votes of 8");
  refused({"countdown=" + file, "--plot", dir / "p.svg"}, 1, "curves");
  refused({"countdown=" + file, "--json", dir / "no/f.json"}, 1, "no/f.json");
  refused({"countdown=" + file, "--max-tokens", "20", "--budgets", "4,20"}, 1, "no room");
  refused({"countdown=" + file, "--ctx", "100000"}, 1, "context");
  for (const char* bad :
       {"{", "{\"nums\": [1, 2]}", "{\"nums\": [1e999], \"target\": 1}", "\xff", "[]", "{\"nums\": [100, 1], \"target\": 101}"})
    refused({"countdown=" + dir.write("bad.jsonl", "{\"nums\": [1, 2], \"target\": 3}\n" + std::string(bad) + "\n")}, 1,
            "bad.jsonl:2: ");
  refused({"gsm8k=" + dir.write("bad.jsonl", "{\"question\": \"4 5\", \"answer\": []}\n")}, 1, "bad.jsonl:1: ");
  refused({"gsm8k=" + dir.write("empty.jsonl", "")}, 1, "holds no questions");
  refused({"gsm8k=" + dir.path()}, 1, dir.path());
  std::filesystem::create_directory(dir / "bare");
  for (const char* name : {"config.json", "model.safetensors"})
    std::filesystem::copy_file(kEvalModel + "/" + name, dir / "bare/" + name);
  const RunResult bare = raison({"eval", dir / "bare", "countdown=" + file});
  EXPECT_EQ(bare.code, 1);
  EXPECT_NE(bare.err.find("tokenizer.json"), std::string::npos) << bare.err;
}

// What was judged before a judge broke is reported and written all the same.
TEST(EvalJudge, ABrokenOneCostsNoFigures) {
  if (access("/bin/bash", X_OK) != 0) GTEST_SKIP() << "needs /bin/bash";
  TempDir dir;
  dir.write("judge.sh", "c=" + (dir / "count") + R"(; n=$(cat $c 2>/dev/null || echo 0)
while read -r line; do
[ $n -ge 20 ] && exit 1
n=$((n+1)); echo $n > $c; id=${line#*\"id\":}; id=${id%%[,\}]*}
echo "{\"id\":$id,\"score\":1}"
done
)");
  const std::string options = "{\"command\":[\"/bin/bash\",\"" + (dir / "judge.sh") + "\"]}";
  const RunResult r =
      raison({"eval", RAISON_SOURCE_DIR "/models/countdown-zero", RAISON_SOURCE_DIR "/recipes/grpo-example.jsonl", "--verifier",
              "program", "--verifier-options", options, "--samples", "8", "--max-tokens", "100", "--json", dir / "o.json"});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("judged before"), std::string::npos) << r.err;
  EXPECT_NE(r.out.find("pass@1"), std::string::npos) << r.out;
  const auto j = nlohmann::json::parse(slurp(dir / "o.json"), nullptr, false);
  ASSERT_TRUE(j.is_object());
  EXPECT_EQ(j.at("partial"), true);
}

}  // namespace
}  // namespace raison::testing
