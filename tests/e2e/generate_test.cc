// raison generate and the steering of thoughts, through the real program on the bundled model.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>

#include <nlohmann/json.hpp>

#include "e2e/cli_fixture.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {

using Json = nlohmann::json;
const std::string kCountdown = RAISON_SOURCE_DIR "/models/countdown-base";

std::vector<Json> lines_of(const std::string& path) {
  std::vector<Json> out;
  std::istringstream in(slurp(path));
  for (std::string line; std::getline(in, line);) out.push_back(Json::parse(line));
  return out;
}
std::string three_prompts() {
  return R"({"prompt": "4 5 7 -> 8", "id": "first"})"
         "\n\n"
         R"({"messages": [{"role": "user", "content": "2 6 9 -> 30"}]})"
         "\n"
         R"({"prompt": [{"role": "user", "content": "3 7 8 -> 29"}]})"
         "\n";
}
RunResult generate_file(const TempDir& dir, const std::string& out, std::vector<std::string> more = {}) {
  std::vector<std::string> args = {"generate", kCountdown, dir / "p.jsonl", "-o", dir / out, "--temp", "1"};
  args.insert(args.end(), more.begin(), more.end());
  return raison(args);
}

TEST(Generate, WritesSamplesInOrderWithTheirPartsAndInput) {
  TempDir dir;
  spill(dir / "p.jsonl", three_prompts());
  const RunResult r = generate_file(dir, "s.jsonl", {"-n", "5"});
  ASSERT_EQ(r.code, 0) << r.err;
  const auto samples = lines_of(dir / "s.jsonl");
  ASSERT_EQ(samples.size(), 15u);
  EXPECT_FALSE(std::filesystem::exists(dir / "s.jsonl.partial"));
  for (size_t i = 0; i < samples.size(); ++i) {
    const Json& s = samples[i];
    EXPECT_EQ(s.at("index"), i / 5);
    EXPECT_EQ(s.at("sample"), i % 5);
    EXPECT_EQ(s.at("tokens").size(), s.at("completion_tokens"));
    EXPECT_EQ(s.at("logprobs").size(), s.at("tokens").size());
    EXPECT_EQ(s.at("finish_reason"), "stop");
    EXPECT_EQ(s.at("think_end"), "model");
    EXPECT_TRUE(s.at("forced").empty());
    for (const Json& p : s.at("logprobs")) EXPECT_LE(p, 0);
    const std::string text = s.at("text"), thought = s.at("thinking"), answer = s.at("answer");
    EXPECT_EQ(text, (thought.empty() ? "" : thought + " ") + "</think> " + answer);
  }
  EXPECT_EQ(samples[0].at("input").at("id"), "first");
  EXPECT_NE(samples[0].at("tokens"), samples[1].at("tokens"));
  EXPECT_NE(r.err.find("15 samples of 3 prompts"), std::string::npos) << r.err;
  // The same samples one at a time, in a small cache, on one thread.
  const RunResult again =
      generate_file(dir, "t.jsonl", {"-n", "5", "--together", "1", "--threads", "1", "--cache-memory", "2M"});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(slurp(dir / "s.jsonl"), slurp(dir / "t.jsonl"));
}

TEST(Generate, AnotherFileInItsPlaceIsNotTakenForItsOwn) {
  TempDir dir;
  spill(dir / "p.jsonl", three_prompts());
  spill(dir / "s.jsonl.partial", "garbage\n");
  const RunResult garbage = generate_file(dir, "s.jsonl");
  EXPECT_EQ(garbage.code, 1);
  EXPECT_NE(garbage.err.find("is no file of samples"), std::string::npos) << garbage.err;
  EXPECT_EQ(line_count(garbage.err), 1);
  EXPECT_EQ(slurp(dir / "s.jsonl.partial"), "garbage\n");
  EXPECT_EQ(generate_file(dir, "s.jsonl", {"--force"}).code, 0);
}

TEST(Generate, IsKilledAndGoesOn) {
  TempDir dir;
  std::string many;
  for (int i = 0; i < 150; ++i) many += R"({"prompt": "4 5 7 -> )" + std::to_string(1 + i % 90) + "\"}\n";
  spill(dir / "p.jsonl", many);
  ASSERT_EQ(generate_file(dir, "whole.jsonl", {"-n", "3"}).code, 0);
  const auto killed_after = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = {RAISON_BINARY, "generate", kCountdown, dir / "p.jsonl", "-o", dir / "s.jsonl", "--temp",
                                     "1",           "-n",       "3",        "--together",    "8"};
    args.insert(args.end(), more.begin(), more.end());
    const pid_t pid = fork();
    if (pid == 0) {
      std::vector<char*> argv;
      for (std::string& a : args) argv.push_back(a.data());
      argv.push_back(nullptr);
      (void)!freopen("/dev/null", "w", stderr);
      execv(argv[0], argv.data());
      _exit(127);
    }
    for (int i = 0; i < 2000; ++i) {  // until some samples are there
      std::error_code ec;
      if (std::filesystem::file_size(dir / "s.jsonl.partial", ec) > 9000 && !ec) break;
      usleep(5000);
    }
    kill(pid, SIGKILL);
    int status = 0;
    waitpid(pid, &status, 0);
  };
  killed_after({});
  {  // a second run while one holds the file
    const int fd = open((dir / "s.jsonl.partial").c_str(), O_RDWR);
    ASSERT_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
    const RunResult second = generate_file(dir, "s.jsonl", {"-n", "3"});
    close(fd);
    EXPECT_EQ(second.code, 1);
    EXPECT_NE(second.err.find("another run writes it"), std::string::npos) << second.err;
  }
  ASSERT_TRUE(std::filesystem::exists(dir / "s.jsonl.partial")) << "it was done before it could be killed";
  ASSERT_FALSE(std::filesystem::exists(dir / "s.jsonl"));
  // A line broken off, as a full disk leaves it.
  const std::string partial = slurp(dir / "s.jsonl.partial");
  spill(dir / "s.jsonl.partial", partial.substr(0, partial.size() - 7));
  const RunResult other = generate_file(dir, "s.jsonl", {"-n", "3", "--seed", "2"});
  EXPECT_EQ(other.code, 1);
  EXPECT_NE(other.err.find("was begun with another"), std::string::npos) << other.err;
  const RunResult on = generate_file(dir, "s.jsonl", {"-n", "3"});
  ASSERT_EQ(on.code, 0) << on.err;
  EXPECT_NE(on.err.find("kept from before"), std::string::npos) << on.err;
  EXPECT_EQ(slurp(dir / "s.jsonl"), slurp(dir / "whole.jsonl"));
}

TEST(Generate, ThoughtsWithinBounds) {
  TempDir dir;
  spill(dir / "p.jsonl", three_prompts());
  ASSERT_EQ(generate_file(dir, "b.jsonl", {"-n", "6", "--budget", "7"}).code, 0);
  int closed = 0;
  for (const Json& s : lines_of(dir / "b.jsonl")) {
    if (s.at("think_end") == "model") {  // it gave up sooner
      EXPECT_LT(s.at("thinking_tokens"), 7);
      continue;
    }
    ++closed;
    EXPECT_EQ(s.at("thinking_tokens"), 7);
    EXPECT_EQ(s.at("think_end"), "budget");
    EXPECT_EQ(s.at("forced"), Json::array({7}));
    EXPECT_EQ(s.at("tokens")[7], 5) << "</think>";
  }
  EXPECT_GT(closed, 9);
  ASSERT_EQ(generate_file(dir, "m.jsonl", {"-n", "6", "--minimum", "3", "--count", "lo,hi,yes", "--until", "yes"}).code, 0);
  for (const Json& s : lines_of(dir / "m.jsonl")) {
    int tries = 0;
    bool found = false;
    std::istringstream words(s.at("thinking").get<std::string>());
    for (std::string w; words >> w;) tries += w == "lo" || w == "hi" || w == "yes", found = found || w == "yes";
    EXPECT_TRUE(found || tries >= 3) << s.at("text");
  }
  ASSERT_EQ(generate_file(dir, "n.jsonl", {"--no-think"}).code, 0);
  for (const Json& s : lines_of(dir / "n.jsonl")) EXPECT_EQ(s.at("thinking"), "");
  ASSERT_EQ(generate_file(dir, "t.jsonl", {"--text-only", "--stop", "="}).code, 0);
  for (const Json& s : lines_of(dir / "t.jsonl")) {
    EXPECT_FALSE(s.contains("tokens"));
    EXPECT_EQ(s.at("text").get<std::string>().find('='), std::string::npos);
    EXPECT_EQ(s.at("finish_reason"), "stop");
  }
}

// A stop string that the last token allowed completes is one; of several the first to end counts, as `raison run` has it.
TEST(Generate, StopStringsToTheLastToken) {
  TempDir dir;
  spill(dir / "p.jsonl", three_prompts());
  const auto answer = [&](const char* out, std::vector<std::string> more) {
    more.insert(more.begin(), {"generate", kCountdown, dir / "p.jsonl", "-o", dir / out, "--no-think", "--temp", "0",
                               "--max-tokens", "4", "--text-only"});
    const RunResult r = raison(more);
    EXPECT_EQ(r.code, 0) << r.err;
  };
  answer("a.jsonl", {});
  const std::string text = lines_of(dir / "a.jsonl")[0].at("text");
  const std::string last = text.substr(text.find_last_of(' ') + 1);
  ASSERT_EQ(text.find(last), text.size() - last.size()) << text;
  answer("b.jsonl", {"--stop", last});
  const Json cut = lines_of(dir / "b.jsonl")[0];
  EXPECT_EQ(cut.at("finish_reason"), "stop");
  EXPECT_EQ(cut.at("text").get<std::string>() + last, text);
}

TEST(Generate, RefusesInOneLine) {
  TempDir dir;
  const auto refused = [&](const std::string& prompts, const std::string& why, std::vector<std::string> more = {}) {
    spill(dir / "p.jsonl", prompts);
    const RunResult r = generate_file(dir, "s.jsonl", std::move(more));
    EXPECT_EQ(r.code, 1) << prompts;
    EXPECT_NE(r.err.find(why), std::string::npos) << r.err;
    EXPECT_EQ(line_count(r.err), 1) << r.err;
    EXPECT_FALSE(std::filesystem::exists(dir / "s.jsonl"));
  };
  refused("", "holds no prompts");
  refused("{\"prompt\": \"4 5 7 -> 8\"}\n[1]\n", "p.jsonl:2: no JSON object");
  refused("{\"question\": 1}\n", "neither \"prompt\" nor \"messages\"");
  refused("{\"prompt\": 7}\n", "neither a text nor a list");
  refused("{\"messages\": [{\"content\": \"x\"}]}\n", "with a \"role\"");
  refused("{\"prompt\": \"four\"}\n", "p.jsonl:1: ");
  refused("{\"prompt\": " + std::string(2000, '[') + "}\n", "nested more than");
  refused("{\"prompt\": \"4 5 7 -> 8\"}\n", "holds 4", {"--ctx", "4"});
  refused("{\"prompt\": \"4 5 7 -> 8\"}\n", "no single token", {"--count", "foo", "--budget", "2"});
  spill(dir / "p.jsonl", three_prompts());
  spill(dir / "s.jsonl", "mine");
  const RunResult there = generate_file(dir, "s.jsonl");
  EXPECT_EQ(there.code, 1);
  EXPECT_NE(there.err.find("is there already"), std::string::npos);
  EXPECT_EQ(slurp(dir / "s.jsonl"), "mine");
}

// The issue's claim, on the bundled base without any training: its own "yes" lifts it far, plain majority does nothing, and forced waiting
// makes most problems right (shared/design/miniature2.md: .19, .44, .79 by 1, 4, 16 self-verified votes; .84 when held open for 8 tries).
TEST(SlowScaling, VotesAndForcedWaitingOnTheBundledBase) {
  TempDir dir;
  const RunResult r = raison({"eval", kCountdown, "countdown", "--votes", "1,4,16", "--minimums", "0,8", "--budgets", "2",
                              "--json", dir / "f.json", "--plot", dir / "f.svg"});
  ASSERT_EQ(r.code, 0) << r.err;
  const auto j = Json::parse(slurp(dir / "f.json"));
  const auto at = [&](const char* group, const char* name, size_t i) {
    return j.at(group).at(name)[i].at("accuracy").get<double>();
  };
  EXPECT_NEAR(at("votes", "self_verified", 0), 0.19, 0.1);
  EXPECT_NEAR(at("votes", "self_verified", 1), 0.44, 0.13);
  EXPECT_NEAR(at("votes", "self_verified", 2), 0.79, 0.12);
  EXPECT_NEAR(at("votes", "majority", 2), 0.19, 0.10);
  EXPECT_NEAR(at("minimums", "minimum", 1), 0.84, 0.1);
  EXPECT_EQ(at("minimums", "minimum", 0), j.at("accuracy").get<double>()) << "no minimum is no change";
  EXPECT_LT(at("budgets", "budget", 0), 0.3);
  EXPECT_NE(r.out.find("self-verified"), std::string::npos);
  const std::string svg = slurp(dir / "f.svg");
  EXPECT_EQ(svg.rfind("<svg ", 0), 0u);
  EXPECT_NE(svg.find("</svg>"), std::string::npos);
  EXPECT_NE(svg.find("thinking in parallel"), std::string::npos);
  const RunResult refused = raison({"eval", kCountdown, "countdown", "--plot", dir / "g.svg"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.err.find("--plot draws curves"), std::string::npos) << refused.err;
}

// Rejection sampling: samples are judged, the right ones become records that `train sft` learns from.
TEST(Generate, KeepsWhatAVerifierFindsRight) {
  TempDir dir;
  const std::string questions = RAISON_SOURCE_DIR "/recipes/grpo-example.jsonl", out = dir / "samples.jsonl",
                    sft = dir / "sft.jsonl";
  std::vector<std::string> command = {"generate",  RAISON_SOURCE_DIR "/models/countdown-zero",
                                      questions,   "-n",
                                      "3",         "-o",
                                      out,         "--temp",
                                      "1",         "--max-tokens",
                                      "220",       "--verifier",
                                      "countdown", "--sft",
                                      sft,         "--sft-each",
                                      "2"};
  const auto refused = [&](std::vector<std::string> args, const std::string& why) {
    const RunResult r = raison(std::move(args));
    EXPECT_NE(r.code, 0);
    EXPECT_NE(r.err.find(why), std::string::npos) << r.err;
    EXPECT_EQ(line_count(r.err), 1) << r.err;
  };
  auto changed = [&](const std::string& from, const std::string& to) {
    auto c = command;
    std::replace(c.begin(), c.end(), from, to);
    return c;
  };
  refused(changed(sft, questions), "is the file of prompts");
  refused(changed(sft, out), "is the file of all samples");
  refused(changed(sft, "/nonexistent/x.jsonl"), "/nonexistent/x.jsonl");
  refused(changed("countdown", "maths"), "no verifier is called \"maths\"");
  refused({"generate", RAISON_SOURCE_DIR "/models/countdown-zero", questions, "-o", out, "--sft", sft}, "needs --verifier");
  EXPECT_FALSE(std::filesystem::exists(out)) << "said before the work";
  const RunResult r = raison(command);
  ASSERT_EQ(r.code, 0) << r.err;
  std::istringstream samples(slurp(out)), kept(slurp(sft));
  int right = 0, all = 0, records = 0;
  for (std::string line; std::getline(samples, line); ++all) {
    const auto j = nlohmann::json::parse(line);
    right += j.at("verdict") == "right" ? 1 : 0;
    EXPECT_EQ(j.at("score"), j.at("verdict") == "right" ? 1 : 0);
  }
  for (std::string line; std::getline(kept, line); ++records) {
    const auto j = nlohmann::json::parse(line);
    EXPECT_EQ(j.at("prompt").at(0).at("role"), "user");
    EXPECT_NE(j.at("completion").get<std::string>().find("</think>"), std::string::npos);
  }
  EXPECT_EQ(all, 24);
  EXPECT_GT(right, 10);
  EXPECT_GT(records, 6);
  EXPECT_LE(records, std::min(right, 16));
  refused(command, "is there already");
  const RunResult taught =
      raison({"train", "sft", RAISON_SOURCE_DIR "/recipes/r1-rejection.toml", "--out", dir / "run", "--set",
              "data.train=" + sft, "--set", "steps=5", "--set", "model.path=" RAISON_SOURCE_DIR "/models/countdown-base"});
  EXPECT_EQ(taught.code, 0) << taught.err;
}

}  // namespace
}  // namespace raison::testing
