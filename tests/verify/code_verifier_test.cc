#include <unistd.h>

#include <sstream>

#include "testing/process.h"
#include "testing/shared_data.h"
#include "verify/code_block.h"
#include "verify/code_program.h"
#include "verify/judging.h"

namespace raison {
namespace {

using testing::verdict_on;
using testing::verifier_of;

#define SKIP_CODE_WITHOUT_PYTHON() \
  if (access("/usr/bin/python3", X_OK) != 0) GTEST_SKIP() << "NO PYTHON: /usr/bin/python3 is missing; install python3"

std::string python_block(const std::string& code) { return "Here it is.\n```python\n" + code + "\n```\nDone."; }

TEST(CodeBlock, TheLastOfItsLanguageElseTheLastWithoutOne) {
  const std::vector<std::string> python = {"python", "py"};
  EXPECT_EQ(last_code_block("```python\na\n```\ntext\n```py\nb\n```\n```\noutput\n```", python), "b\n");
  EXPECT_EQ(last_code_block("```\na\n```\n```cpp\nb\n```", python), "a\n");
  EXPECT_EQ(last_code_block("```Python\na\n", python), "a\n");
  EXPECT_EQ(last_code_block("  ~~~python title=x\na\n```\nb\n~~~", python), "a\n```\nb\n");
  EXPECT_EQ(last_code_block("````python\n```\na\n```\n````", python), "```\na\n```\n");
  EXPECT_EQ(last_code_block("```python```", python), std::nullopt);
  EXPECT_EQ(last_code_block("```cpp\na\n```", python), std::nullopt);
  EXPECT_EQ(last_code_block("no code", python), std::nullopt);
  EXPECT_EQ(last_code_block("```python", python), "");
  EXPECT_EQ(last_code_block("", python), std::nullopt);
}

TEST(CodeProgram, ReadsTheRecordsFormsAndRefusesOthers) {
  const auto read = [](const char* record) { return read_code_tests(nlohmann::json::parse(record)); };
  EXPECT_EQ(read(R"({"tests": ["assert 1", "assert 2"]})")->tests.size(), 2u);
  EXPECT_EQ(read(R"({"tests": "assert 1"})")->tests.size(), 1u);
  EXPECT_EQ(read(R"({"inputs": ["1\n"], "outputs": ["2\n"]})")->pairs[0].second, "2\n");
  EXPECT_EQ(read(R"({"inputs": [["1", "2"]], "outputs": [["3"]]})")->pairs[0].first, "1\n2\n");
  for (const char* wrong :
       {"null", "[]", "{}", R"({"tests": 3})", R"({"tests": []})", R"({"tests": [1]})", R"({"inputs": ["1"]})",
        R"({"inputs": ["1"], "outputs": []})", R"({"inputs": [1], "outputs": [2]})", R"({"inputs": {}, "outputs": {}})",
        R"({"test": "x"})", R"({"test": "x", "entry_point": "f(); g"})", R"({"test": 1, "entry_point": "f"})"})
    EXPECT_FALSE(read(wrong).ok()) << wrong;
}

TEST(CodeProgram, PutsAPromptBeforeWhatGoesOnAndItsHeadBeforeAWholeFunction) {
  CodeTests t;
  t.entry_point = "f";
  t.prompt = "import os\ndef f(x):\n";
  EXPECT_EQ(whole_solution(t, "    return 1"), "import os\ndef f(x):\n    return 1");
  EXPECT_EQ(whole_solution(t, "def f(x): return 1"), "import os\ndef f(x): return 1");
  EXPECT_EQ(whole_solution(t, "    def f(x): return 1"), t.prompt + "    def f(x): return 1");
  EXPECT_EQ(whole_solution(t, "def ff(x): return 1"), t.prompt + "def ff(x): return 1");
}

TEST(CodeProgram, ComparesOutputs) {
  EXPECT_TRUE(same_output("1 \n2\r\n\n", "1\n2", "lines"));
  EXPECT_FALSE(same_output("1 2", "1\n2", "lines"));
  EXPECT_FALSE(same_output(" 1", "1", "lines"));
  EXPECT_TRUE(same_output(" 1\n2 ", "1 2", "tokens"));
  EXPECT_FALSE(same_output("12", "1 2", "tokens"));
  EXPECT_FALSE(same_output("1\n", "1", "exact"));
  EXPECT_TRUE(same_output("", "\n", "lines"));
}

TEST(CodeVerifier, JudgesByAsserts) {
  SKIP_CODE_WITHOUT_PYTHON();
  const auto v = verifier_of("code");
  const nlohmann::json record = {
      {"tests", {"assert add(1, 2) == 3", "assert add(-1, 1) == 0", "assert add(2, 2) == 4, 'sum'"}}};
  EXPECT_TRUE(verdict_on(v, record, python_block("def add(a, b):\n    return a + b")).right());
  EXPECT_EQ(verdict_on(v, record, python_block("def add(a, b):\n    return abs(a) + b")).reason,
            "test 2 failed: AssertionError");
  EXPECT_EQ(verdict_on(v, record, python_block("def add(a, b):\n    return 3 if a == 1 else 0")).reason,
            "test 3 failed: AssertionError: sum");
  EXPECT_EQ(verdict_on(v, record, python_block("pass")).reason, "test 1 failed: NameError: name 'add' is not defined");
  EXPECT_EQ(verdict_on(v, record, python_block("def add(a, b:")).reason.substr(0, 29), "solution failed: SyntaxError:");
  EXPECT_EQ(verdict_on(v, record, python_block("1 / 0")).reason, "solution failed: ZeroDivisionError: division by zero");
  EXPECT_EQ(verdict_on(v, record, "I can't").kind, Verdict::Unparseable);
  EXPECT_EQ(verdict_on(v, record, "```python\n```").kind, Verdict::Unparseable);
  EXPECT_EQ(verdict_on(v, {{"tests", 3}}, python_block("x = 1")).kind, Verdict::Failed);
  Reply cut = testing::reply_of(python_block("def add(a, b):\n    return a + b"));
  cut.ended = false;
  EXPECT_EQ(verdict_on(v.get(), record, cut).kind, Verdict::Wrong);
}

// None of these is right, and each is one line about why.
TEST(CodeVerifier, HostileSolutionsAreWrong) {
  SKIP_CODE_WITHOUT_PYTHON();
  const auto v = verifier_of("code", {{"timeout", 2}, {"memory_mb", 200}, {"output_kb", 64}});
  const nlohmann::json record = {{"tests", "assert f() == 1"}};
  const std::pair<const char*, const char*> cases[] = {
      {"import sys\nsys.exit(0)", "solution failed: SystemExit: 0"},
      {"import os\nos._exit(0)", "the program ended before its tests did"},
      {"def f():\n    import os\n    os._exit(0)", "the program ended before its tests did"},
      {"def f():\n    raise SystemExit(0)", "test 1 failed: SystemExit: 0"},
      {"def f():\n    raise KeyboardInterrupt", "test 1 failed: KeyboardInterrupt"},
      {"print('raison-0 ok')\nimport os\nos._exit(0)", "the program ended before its tests did"},
      {"while True: pass", "time limit"},
      {"import time\ntime.sleep(100)", "time limit"},
      {"def f():\n    while True: pass", "time limit"},
      {"x = bytearray(1 << 30)", "solution failed: MemoryError"},
      {"x = 'x'\nwhile True: print(x * 1000)", "output limit"},
      {"import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", "process limit"},
      {"import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9 (Killed)"},
      {"import ctypes\nctypes.string_at(0)", "killed by signal 11 (Segmentation fault)"},
      {"import sys\nsys.setrecursionlimit(10**9)\ndef g(n): return g(n + 1)\nclass E(Exception):\n    def __str__(self): "
       "return g(0)\n"
       "def f(): raise E()",
       nullptr},
      {"class E(Exception):\n    def __str__(self): raise SystemExit(0)\ndef f(): raise E()", "test 1 failed: E"},
      {"import sys\nsys.stdout.close()\nsys.stdout = None\ndef f(): return 2", "test 1 failed: AssertionError"},
      {"import builtins\nbuiltins.exec = lambda *a: None\nbuiltins.print = None\ndef f(): return 2",
       "test 1 failed: AssertionError"},
      {"import atexit, os\natexit.register(lambda: os._exit(0))\ndef f(): return 2", "test 1 failed: AssertionError"},
      {"import os\nif os.fork(): os._exit(0)\ndef f(): return 2", nullptr},
      {"import socket\nsocket.create_connection(('127.0.0.1', 80))", nullptr},
      {"open('/etc/passwd')\ndef f(): return 1", nullptr},
      {"def f():\n    return input('a number')", "test 1 failed: EOFError: EOF when reading a line"},
      {"def f():\n    raise ValueError('line\\nraison-1 ok\\n\\x1b[2J')", nullptr},
      {"# \xff\xfe\nx = '\xc3'\ndef f(): return 2", "test 1 failed: AssertionError"},
      {"x = 1\0def f(): return 1", nullptr},
      {"import os\nos.lseek(0, 0, 0)\ntoken = os.read(0, 10000)\nassert token\ndef f(): return 1",
       "solution failed: AssertionError"},
  };
  for (const auto& [code, reason] : cases) {
    const Verdict got = verdict_on(v, record, python_block(code));
    EXPECT_EQ(got.kind, Verdict::Wrong) << code << ": " << got.reason;
    EXPECT_EQ(got.score, 0) << code;
    EXPECT_EQ(got.reason.find_first_of("\n\x1b"), std::string::npos) << code;
    EXPECT_FALSE(got.reason.empty()) << code;
    if (reason != nullptr) { EXPECT_EQ(got.reason, reason) << code; }
  }
}

TEST(CodeVerifier, JudgesByInputAndOutput) {
  SKIP_CODE_WITHOUT_PYTHON();
  const auto v = verifier_of("code", {{"timeout", 2}});
  const nlohmann::json record = {{"inputs", {"1 2\n", "5 6\n"}}, {"outputs", {"3\n", "11\n"}}};
  EXPECT_TRUE(verdict_on(v, record, python_block("print(sum(map(int, input().split())))")).right());
  EXPECT_EQ(verdict_on(v, record, python_block("print(3)")).reason, "test 2 failed: it wrote \"3\", expected was \"11\"");
  EXPECT_EQ(verdict_on(v, record, python_block("1 / 0")).reason,
            "test 1 failed: exit status 1: ZeroDivisionError: division by zero");
  EXPECT_EQ(verdict_on(v, record, python_block("while True: pass")).reason, "test 1 failed: time limit");
}

TEST(CodeVerifier, OtherLanguagesByCommand) {
  const nlohmann::json record = {{"inputs", {"abc\n"}}, {"outputs", {"ABC\n"}}};
  const auto sh = verifier_of("code", {{"language", "sh"}, {"command", {"/bin/sh", "{file}"}}});
  EXPECT_TRUE(verdict_on(sh, record, "```sh\ntr a-z A-Z\n```").right());
  EXPECT_EQ(verdict_on(sh, record, "```sh\ncat\n```").kind, Verdict::Wrong);
  EXPECT_FALSE(sh->check({"", {{"tests", "assert 1"}}}).ok());
  if (access("/usr/bin/g++", X_OK) != 0) GTEST_SKIP() << "NO COMPILER: /usr/bin/g++ is missing";
  const auto cpp = verifier_of("code", {{"language", "cpp"}, {"timeout", 60}});
  const std::string source =
      "```cpp\n#include <iostream>\nint main() { std::string s; std::cin >> s; for (char& c : s) c = toupper(c); std::cout << "
      "s; }\n```";
  EXPECT_EQ(verdict_on(cpp, record, source).reason, "");
  EXPECT_EQ(verdict_on(cpp, record, "```cpp\nint main() { return x; }\n```").kind, Verdict::Wrong);
}

TEST(CodeVerifier, WrongOptionsAreNamed) {
  EXPECT_EQ(make_verifier("code", {{"compare", "roughly"}}).message(), "code: compare must be lines, tokens or exact");
  EXPECT_EQ(make_verifier("code", {{"language", "perl"}}).message(),
            "code: language perl needs a command, e.g. [\"/usr/bin/perl\", \"{file}\"]");
  EXPECT_EQ(make_verifier("code", {{"readable", {"relative"}}}).message(),
            "sandbox: relative: readable folders must exist and be absolute, and not all of /");
  EXPECT_EQ(make_verifier("code", {{"timeout", 0}}).message(), "code: timeout must be a number from 0.1 to 3600");
}

TEST(CodeVerifier, SeveralAtOnceKeepTheirOrder) {
  SKIP_CODE_WITHOUT_PYTHON();
  const auto v = verifier_of("code", {{"parallel", 4}});
  std::vector<Question> questions;
  std::vector<Reply> replies;
  for (int i = 0; i < 12; ++i) {
    questions.push_back({"", {{"tests", "assert f() == " + std::to_string(i % 3)}}});
    replies.push_back(testing::reply_of(python_block("def f(): return " + std::to_string(i % 2))));
  }
  std::vector<Submission> submissions;
  for (size_t i = 0; i < questions.size(); ++i) submissions.push_back({&questions[i], &replies[i]});
  const auto out = v->judge(submissions);
  ASSERT_TRUE(out.ok()) << out.message();
  for (size_t i = 0; i < out->size(); ++i) EXPECT_EQ((*out)[i].right(), i % 3 == i % 2) << i;
  EXPECT_TRUE(v->judge({})->empty());
}

// The benchmark's files, a JSON object a line.
std::vector<nlohmann::json> humaneval_lines(const std::string& file) {
  const std::string path = testing::shared_dir() + "/refdata/reasoning/humaneval/" + file;
  if (access(path.c_str(), R_OK) != 0) return {};
  const auto text = testing::run_program({"/usr/bin/python3", "-c",
                                          "import sys, gzip\nopener = gzip.open if sys.argv[1].endswith('gz') else "
                                          "open\nsys.stdout.write(opener(sys.argv[1], 'rt').read())",
                                          path});
  std::istringstream lines(text.out);
  std::vector<nlohmann::json> out;
  for (std::string line; std::getline(lines, line);)
    if (!line.empty()) out.push_back(nlohmann::json::parse(line));
  return out;
}

// The canonical solution as a model writes it, and three replies that don't solve it.
TEST(CodeVerifierSlow, HumanEvalsSolutionsPassAndEmptyOnesFail) {
  SKIP_CODE_WITHOUT_PYTHON();
  const auto problems = humaneval_lines("HumanEval.jsonl.gz");
  if (problems.empty()) GTEST_SKIP() << testing::missing("refdata/reasoning/humaneval/HumanEval.jsonl.gz");
  ASSERT_EQ(problems.size(), 164u);
  const auto v = verifier_of("code");
  std::vector<Question> questions;
  std::vector<Reply> replies;
  for (const auto& p : problems) {
    const std::string prompt = p["prompt"], solution = p["canonical_solution"];
    for (const std::string& code : {prompt + solution, solution, prompt + "    pass\n", std::string("    return None\n")}) {
      questions.push_back({prompt, p});
      replies.push_back(testing::reply_of(python_block(code)));
    }
  }
  std::vector<Submission> submissions;
  for (size_t i = 0; i < questions.size(); ++i) {
    EXPECT_TRUE(v->check(questions[i]).ok());
    submissions.push_back({&questions[i], &replies[i]});
  }
  const auto out = v->judge(submissions);
  ASSERT_TRUE(out.ok()) << out.message();
  for (size_t i = 0; i < out->size(); ++i)
    EXPECT_EQ((*out)[i].right(), i % 4 < 2) << problems[i / 4]["task_id"] << " reply " << i % 4 << ": " << (*out)[i].reason;
}

TEST(CodeVerifier, HumanEvalsExampleIsJudgedAsItsAuthorsMeant) {
  SKIP_CODE_WITHOUT_PYTHON();
  const auto problem = humaneval_lines("example_problem.jsonl");
  const auto samples = humaneval_lines("example_samples.jsonl");
  if (problem.empty()) GTEST_SKIP() << testing::missing("refdata/reasoning/humaneval/example_problem.jsonl");
  ASSERT_EQ(samples.size(), 6u);
  const auto v = verifier_of("code", {{"timeout", 3}});
  // rm -rf; a sleep of 10 s; input(); right with 4 spaces, with 2, with a tab.
  const bool right[] = {false, false, false, true, true, true};
  for (size_t i = 0; i < samples.size(); ++i) {
    const Verdict got = verdict_on(v, problem[0], python_block(samples[i]["completion"]));
    EXPECT_EQ(got.right(), right[i]) << samples[i] << ": " << got.reason;
  }
}

}  // namespace
}  // namespace raison
