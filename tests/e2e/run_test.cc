// `raison run` as scripts use it: pipes, files, options.
#include <nlohmann/json.hpp>

#include "e2e/cli_fixture.h"

namespace raison::testing {
namespace {

class Run : public Cli {};

TEST_F(Run, PublishedGreedyTextOfStories) {
  const auto expected = nlohmann::json::parse(slurp(shared_dir() + "/refdata/weights/stories260K/expected_greedy_200.json"));
  const RunResult r = raison({"run", stories(), "--raw", "-p", "", "--temp", "0", "--max-tokens", "200"});
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out, expected["expected_stdout"].get<std::string>() + "\n");
  EXPECT_NE(r.err.find("prompt 1 token,"), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("reply 200 tokens"), std::string::npos) << r.err;
  EXPECT_EQ(line_count(r.err), 1) << r.err;
}

TEST_F(Run, EveryInstructionSetAndThreadCountSaysTheSame) {
  std::string first;
  for (const char* isa : {"ref", "avx2", "avx512"})
    for (const char* threads : {"1", "2"}) {
      RunSettings s;
      s.env = {{"RAISON_ISA", isa}};
      const RunResult r = raison(
          {"run", stories(), "--raw", "-p", "Once upon a time", "--seed", "5", "--max-tokens", "40", "--threads", threads}, s);
      if (r.code != 0) {
        EXPECT_NE(r.err.find("raison: error: "), std::string::npos) << r.err;
        EXPECT_STRNE(isa, "ref") << r.err;  // the others this CPU may lack
        continue;
      }
      if (first.empty()) first = r.out;
      EXPECT_EQ(r.out, first) << isa << " " << threads;
    }
  EXPECT_GT(first.size(), 20u);
}

TEST_F(Run, ForcedInstructionSetIsTheOneUsed) {
  RunSettings s;
  s.env = {{"RAISON_ISA", "ref"}};
  EXPECT_NE(raison({"--version"}, s).out.find("kernels ref\n"), std::string::npos);
  s.env = {{"RAISON_ISA", "mmx"}};
  const RunResult bad = raison({"run", stories(), "-p", "x"}, s);
  EXPECT_EQ(bad.code, 1);
  EXPECT_EQ(line_count(bad.err), 1) << bad.err;
  EXPECT_NE(bad.err.find("mmx"), std::string::npos) << bad.err;
}

// The types are told apart by their logits; f16 is what `run` takes by itself here.
TEST_F(Run, EveryCacheType) {
  const std::vector<std::string> run = {"run", stories(),      "--raw", "-p",     "Lily", "--temp",
                                        "1",   "--max-tokens", "30",    "--seed", "6"};
  const std::string by_default = raison(run).out;
  std::vector<std::string> tables;
  for (const char* type : {"f32", "f16", "bf16", "i16", "i8"}) {
    auto args = run;
    args.insert(args.end(), {"--cache-type", type});
    const RunResult reply = raison(args),
                    logits = raison({"logits", stories(), "--tokens", "1,403,407,261", "--cache-type", type});
    EXPECT_EQ(reply.code, 0) << reply.err;
    EXPECT_GT(reply.out.size(), 20u) << type;
    EXPECT_TRUE(std::string(type) != "f16" || reply.out == by_default);
    EXPECT_EQ(logits.code, 0) << logits.err;
    tables.push_back(logits.out);
  }
  EXPECT_NE(tables[3], tables[4]);
  EXPECT_NE(tables[0], tables[4]);
}

TEST_F(Run, SeedDecidesTheReply) {
  const std::vector<std::string> base = {"run", stories(), "--raw", "-p", "Lily", "--temp", "1", "--max-tokens", "30"};
  auto with = [&](const std::string& seed) {
    auto args = base;
    args.insert(args.end(), {"--seed", seed});
    return raison(args);
  };
  EXPECT_EQ(with("3").out, with("3").out);
  EXPECT_NE(with("3").out, with("4").out);
  EXPECT_NE(with("3").err.find("seed 3"), std::string::npos);
}

TEST_F(Run, QuestionFromStdinAndFile) {
  const std::vector<std::string> tail = {"--raw", "--temp", "0", "--max-tokens", "12"};
  auto args = [&](std::vector<std::string> head) {
    head.insert(head.end(), tail.begin(), tail.end());
    return head;
  };
  const std::string by_option = raison(args({"run", stories(), "-p", "Once upon a time"})).out;
  RunSettings s;
  s.input = "Once upon a time\n";
  const RunResult by_stdin = raison(args({"run", stories()}), s);
  EXPECT_EQ(by_stdin.code, 0) << by_stdin.err;
  EXPECT_EQ(by_stdin.out, by_option);
  spill(path("question.txt"), "Once upon a time\n");
  EXPECT_EQ(raison(args({"run", stories(), "-f", path("question.txt")})).out, by_option);
  EXPECT_EQ(raison(args({"run", stories(), "-f", "-"}), s).out, by_option);
  EXPECT_EQ(by_option.front(), ',') << by_option;  // ", there was a little girl": a continuation, not a new text
}

TEST_F(Run, ModelWithoutTemplateIsContinuedAndSaysSoOnce) {
  const RunResult r = raison({"run", stories(), "-p", "Once upon a time", "--temp", "0", "--max-tokens", "5"});
  EXPECT_EQ(r.code, 0);
  EXPECT_NE(r.err.find("no chat template"), std::string::npos) << r.err;
  EXPECT_EQ(line_count(r.err), 2) << r.err;  // the note and the stats
}

TEST_F(Run, StopStringsCutTheReply) {
  const RunResult whole = raison({"run", stories(), "--raw", "-p", "", "--temp", "0", "--max-tokens", "60"});
  const RunResult cut =
      raison({"run", stories(), "--raw", "-p", "", "--temp", "0", "--max-tokens", "60", "--stop", "Lily", "--stop", "zzz"});
  EXPECT_EQ(cut.code, 0);
  EXPECT_EQ(cut.out, whole.out.substr(0, whole.out.find("Lily")) + "\n");
}

TEST_F(Run, ThoughtsStandBetweenMarkersInAPipe) {
  // The golden models are random, but their template opens a thought: everything until the limit is thought.
  const RunResult r = raison({"run", golden_model("qwen2"), "-p", "Hello", "--temp", "0", "--max-tokens", "8"});
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out.rfind("<think>\n", 0), 0u) << r.out;
  EXPECT_NE(r.out.find("</think>\n"), std::string::npos) << r.out;
  EXPECT_NE(r.err.find("thought 8 tokens"), std::string::npos) << r.err;
  EXPECT_EQ(r.out.find('\033'), std::string::npos);
  EXPECT_EQ(r.err.find('\033'), std::string::npos);
}

TEST_F(Run, ContextBoundsTheReply) {
  const RunResult r = raison({"run", stories(), "--raw", "-p", "", "--temp", "0", "--ctx", "16"});
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("reply 15 tokens"), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("context is full"), std::string::npos) << r.err;
  const RunResult big = raison({"run", stories(), "--raw", "-p", "", "--ctx", "100000"});
  EXPECT_EQ(big.code, 1);
  EXPECT_NE(big.err.find("2048"), std::string::npos) << big.err;
}

TEST_F(Run, ClosedOrFullOutputIsAnError) {
  RunSettings closed;
  closed.close_stdout = true;
  for (const std::vector<std::string>& args :
       {std::vector<std::string>{"run", stories(), "--raw", "-p", "", "--max-tokens", "5"}, {"--version"}, {"--help"}}) {
    const RunResult r = raison(args, closed);
    EXPECT_EQ(r.code, 1) << args[0];
    EXPECT_EQ(line_count(r.err), 1) << r.err;
    EXPECT_NE(r.err.find("standard output"), std::string::npos) << r.err;
  }
  RunSettings full;
  full.stdout_to = "/dev/full";
  const RunResult r = raison({"run", stories(), "--raw", "-p", "", "--max-tokens", "5"}, full);
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("No space left"), std::string::npos) << r.err;
}

TEST_F(Run, BrokenPipeEndsQuietly) {
  for (const char* trap : {"", "trap '' PIPE; "}) {  // the second: as a parent that ignores SIGPIPE starts us
    const std::string command =
        std::string(trap) + RAISON_BINARY + " run " + stories() + " --raw -p '' --temp 0 --max-tokens 300 | head -c 10";
    const RunResult r = run_program({"/bin/sh", "-c", command});
    EXPECT_EQ(r.out, "Once upon ");
    EXPECT_EQ(r.err, "");
  }
}

TEST_F(Run, HelpEverywhere) {
  const RunResult top = raison({"--help"});
  EXPECT_EQ(top.code, 0);
  EXPECT_EQ(raison({}).out, top.out);
  for (const char* command :
       {"run", "demo", "train", "eval", "inspect", "bench", "tokenize", "render", "logits", "perplexity"}) {
    EXPECT_NE(top.out.find(command), std::string::npos) << command;
    const RunResult r = raison({command, "--help"});
    EXPECT_EQ(r.code, 0) << command;
    EXPECT_EQ(r.err, "") << command;
    EXPECT_NE(r.out.find("Example"), std::string::npos) << command;
  }
  const RunResult version = raison({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_EQ(version.out.rfind("raison 0.", 0), 0u) << version.out;
}

}  // namespace
}  // namespace raison::testing
