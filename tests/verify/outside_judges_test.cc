// The verifiers "program" and "http", with judges that behave and judges that do not.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "testing/temp_dir.h"
#include "verify/exchange.h"
#include "verify/judging.h"
#include "verify/loopback_judge.h"

namespace raison {
namespace {

using nlohmann::json;
using testing::LoopbackJudge;
using testing::reply_of;
using testing::TempDir;
using testing::verdict_on;
using testing::verifier_of;

#define SKIP_PROGRAM_WITHOUT_PYTHON() \
  if (access("/usr/bin/python3", X_OK) != 0) GTEST_SKIP() << "NO PYTHON: /usr/bin/python3 is missing; install python3"

// A program around `body`, which sees the request as r, says things with say(...), and is in a loop over requests.
std::string judge_script(const TempDir& dir, const std::string& body, const std::string& before = "") {
  std::string script = "import json, os, sys, time, signal\ndef say(x): print(json.dumps(x), flush=True)\n" + before +
                       "\nfor line in sys.stdin:\n    r = json.loads(line)\n";
  std::string indented;
  for (const char c : "    " + body) indented += c == '\n' ? std::string("\n    ") : std::string(1, c);
  return dir.write("judge.py", script + indented + "\n");
}

json program_options(const std::string& script, double timeout = 20) {
  return {{"command", {"/usr/bin/python3", script}}, {"timeout", timeout}};
}

std::vector<Verdict> judge_all(Verifier* v, const std::vector<std::string>& answers, std::string* fault = nullptr) {
  const Question question{"q", {{"answer", "a"}}};
  std::vector<Reply> replies;
  for (const auto& a : answers) replies.push_back(reply_of(a));
  std::vector<Submission> submissions;
  for (const Reply& r : replies) submissions.push_back({&question, &r});
  auto out = v->judge(submissions);
  if (fault != nullptr) *fault = out.ok() ? "" : out.message();
  if (fault == nullptr) { EXPECT_TRUE(out.ok()) << (out.ok() ? "" : out.message()); }
  return out.ok() ? std::move(*out) : std::vector<Verdict>();
}

TEST(Exchange, ReadsVerdictsAndSaysWhatIsAmiss) {
  const auto read = [](const char* text) {
    const auto parsed = parse_exchange(text);
    return parsed.ok() ? exchange_verdict(*parsed) : Result<Verdict>(parsed.error());
  };
  EXPECT_TRUE(read(R"({"score": 1})")->right());
  EXPECT_EQ(read(R"({"score": 0})")->kind, Verdict::Wrong);
  EXPECT_EQ(read(R"({"score": -0.5, "kind": "right"})")->score, -0.5);
  EXPECT_EQ(read(R"({"score": 0, "kind": "unparseable", "answer": "x\ny", "reason": null})")->answer, "x y");
  EXPECT_EQ(read(R"({"score": 1, "reason": "good"})")->reason, "");
  const std::pair<const char*, const char*> wrong[] = {
      {"", "wrote what is no JSON: \"\""},
      {"hello", "wrote what is no JSON: \"hello\""},
      {"{\"score\": NaN}", "wrote what is no JSON: \"{\"score\": NaN}\""},
      {"{\"score\": 1e999}", "wrote what is no JSON: \"{\"score\": 1e999}\""},
      {"{\"score\": 1} {}", "wrote what is no JSON: \"{\"score\": 1} {}\""},
      {"[1]", "its answer is no JSON object"},
      {"{}", "its answer has no score that is a number"},
      {"{\"score\": \"1\"}", "its answer has no score that is a number"},
      {"{\"score\": true}", "its answer has no score that is a number"},
      {"{\"score\": 1, \"kind\": \"failed\"}", "its kind is \"failed\", not right, wrong or unparseable"},
      {"{\"score\": 1, \"kind\": 3}", "its kind is no text"},
      {"{\"score\": 1, \"reason\": {}}", "its reason is no text"},
  };
  for (const auto& [text, fault] : wrong) {
    ASSERT_FALSE(read(text).ok()) << text;
    EXPECT_EQ(read(text).message(), fault);
  }
  EXPECT_EQ(parse_exchange(std::string(100000, '[')).message(), "wrote JSON that is nested too deep");
  EXPECT_EQ(exchange_id(json::parse(R"({"id": "1"})")), -1);
  EXPECT_EQ(exchange_id(json::parse(R"({"id": 18446744073709551615})")), -1);
}

TEST(ProgramVerifier, AsksAndReads) {
  SKIP_PROGRAM_WITHOUT_PYTHON();
  const TempDir dir;
  const std::string script =
      judge_script(dir,
                   "assert sorted(r) == ['answer', 'ended', 'id', 'prompt', 'record', 'reply', 'thought', 'thought_ended', "
                   "'tokens'], sorted(r)\n"
                   "good = r['answer'] == r['record']['answer']\n"
                   "say({'id': r['id'], 'score': 1.5 if good else -1, 'answer': r['answer'], 'reason': 'not so'})");
  for (const int batch : {1, 3}) {
    json options = program_options(script);
    options["batch"] = batch;
    const auto v = verifier_of("program", options);
    const auto out = judge_all(v.get(), {"a", "b", "a", "gr\xc3\xbc\xc3\x9f\xff\n\"", "a"});
    ASSERT_EQ(out.size(), 5u);
    EXPECT_EQ(out[0].score, 1.5);
    EXPECT_TRUE(out[2].right() && out[4].right());
    EXPECT_EQ(out[1].kind, Verdict::Wrong);
    EXPECT_EQ(out[1].reason, "not so");
    EXPECT_EQ(out[3].answer, "gr\xc3\xbc\xc3\x9f\xef\xbf\xbd \"");
    EXPECT_TRUE(judge_all(v.get(), {}).empty());
  }
}

TEST(ProgramVerifier, AnswersOfABatchMayComeInAnyOrder) {
  SKIP_PROGRAM_WITHOUT_PYTHON();
  const TempDir dir;
  json options = program_options(judge_script(dir,
                                              "held.append(r)\nif len(held) == 4:\n    for x in reversed(held): say({'id': "
                                              "x['id'], 'score': int(x['answer'])})\n    held.clear()",
                                              "held = []"));
  options["batch"] = 4;
  const auto v = verifier_of("program", options);
  const auto out = judge_all(v.get(), {"0", "1", "2", "3", "4", "5", "6", "7"});
  ASSERT_EQ(out.size(), 8u);
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i].score, static_cast<double>(i));
}

// Each does something wrong on the answer "bad" and is right otherwise; what is said of it, and the replies around it are judged.
TEST(ProgramVerifier, HostileProgramsFailOneReplyWithOneLine) {
  SKIP_PROGRAM_WITHOUT_PYTHON();
  struct Case {
    const char *deed, *said;
  };
  const Case cases[] = {
      {"sys.exit(3)", "program: ended without an answer (exit status 3)"},
      {"sys.stderr.write('first\\nno gold here\\n'); sys.exit(1)",
       "program: ended without an answer (exit status 1; it said: no gold here)"},
      {"os.kill(os.getpid(), 9)", "program: ended without an answer (signal 9 (Killed))"},
      {"os.abort()", "program: ended without an answer (signal 6 (Aborted))"},
      {"time.sleep(1000)", "program: no answer within 1.5 s (killed)"},
      {"for s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\n    time.sleep(1000)",
       "program: no answer within 1.5 s (killed)"},
      {"os.close(1); time.sleep(1000)", "program: ended without an answer (killed)"},
      {"print('garbage', flush=True)", "program: wrote what is no JSON: \"garbage\" (killed)"},
      {"print('\\x1b[2J\\0', flush=True)", "program: wrote what is no JSON: \" [2J \" (killed)"},
      {"print('{\"id\": %d, \"score\": NaN}' % r['id'], flush=True)", nullptr},
      {"print('{\"id\": %d, \"score\": Infinity}' % r['id'], flush=True)", nullptr},
      {"say({'id': r['id'] + 7, 'score': 1})", nullptr},
      {"say({'id': -1, 'score': 1})", nullptr},
      {"say({'score': 1})", nullptr},
      {"say([1, 2])", nullptr},
      {"say({'id': r['id'], 'score': 'high'})", "program: its answer has no score that is a number"},
      {"say({'id': r['id'], 'score': 1, 'kind': 'failed'})",
       "program: its kind is \"failed\", not right, wrong or unparseable"},
      {"print('[' * 100000, flush=True)", "program: wrote JSON that is nested too deep (killed)"},
      {"while True: os.write(1, b'x' * 65536)", "program: wrote a line of more than 1048576 bytes (killed)"},
      {"while True: os.write(1, b'\\n' * 65536)", "program: wrote what is no JSON: \"\" (killed)"},
      {"while True: os.write(2, b'noise\\n' * 10000)", "program: no answer within 1.5 s (killed; it said: "},
      {"os.write(1, b'{\"id\":'); time.sleep(1000)", "program: no answer within 1.5 s (killed)"},
      {"os.write(1, b'\\xff\\xfe\\n')", "program: wrote what is no JSON: \"??\" (killed)"},
      {"os.execv('/bin/sleep', ['sleep', '1000'])", "program: no answer within 1.5 s (killed)"},
      {"os.fork() or time.sleep(1000)\n    os._exit(5)", nullptr},
      {"os.kill(os.getpid(), signal.SIGSTOP)", "program: no answer within 1.5 s (killed)"},
  };
  for (const Case& c : cases) {
    const TempDir dir;
    const std::string script =
        judge_script(dir, "if r['answer'] == 'bad':\n    " + std::string(c.deed) + "\nelse: say({'id': r['id'], 'score': 1})");
    const auto v = verifier_of("program", program_options(script, 1.5));
    judge_all(v.get(), {"x"});
    const auto out = judge_all(v.get(), {"good", "bad", "good"});
    ASSERT_EQ(out.size(), 3u) << c.deed;
    EXPECT_TRUE(out[0].right()) << c.deed << ": " << out[0].reason;
    EXPECT_EQ(out[1].kind, Verdict::Failed) << c.deed;
    EXPECT_EQ(out[1].score, 0) << c.deed;
    EXPECT_TRUE(out[2].right()) << c.deed << ": " << out[2].reason;
    EXPECT_EQ(out[1].reason.find_first_of("\n\x1b"), std::string::npos) << c.deed;
    if (c.said != nullptr) { EXPECT_EQ(out[1].reason.rfind(c.said, 0), 0u) << c.deed << ": " << out[1].reason; }
  }
}

TEST(ProgramVerifier, ACrashInABatchTakesNoOtherReplyWithIt) {
  SKIP_PROGRAM_WITHOUT_PYTHON();
  const TempDir dir;
  json options = program_options(judge_script(dir, "if r['answer'] == 'bad': sys.exit(1)\nsay({'id': r['id'], 'score': 1})"));
  options["batch"] = 8;
  const auto v = verifier_of("program", options);
  const auto out = judge_all(v.get(), {"a", "b", "bad", "c", "d", "bad", "e"});
  ASSERT_EQ(out.size(), 7u);
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i].kind, i == 2 || i == 5 ? Verdict::Failed : Verdict::Right) << i;
}

TEST(ProgramVerifier, TwoCrashesInARowEndTheRun) {
  SKIP_PROGRAM_WITHOUT_PYTHON();
  const TempDir dir;
  const auto v = verifier_of("program", program_options(judge_script(dir, "sys.exit('no such module')")));
  std::string fault;
  judge_all(v.get(), {"a", "b", "c"}, &fault);
  EXPECT_EQ(
      fault,
      "program: /usr/bin/python3 crashed twice in a row: it ended without an answer (exit status 1; it said: no such module)");
}

TEST(ProgramVerifier, OneThatEndsBetweenQuestionsIsStartedAgain) {
  SKIP_PROGRAM_WITHOUT_PYTHON();
  const TempDir dir;
  const std::string script = judge_script(dir, "say({'id': r['id'], 'score': os.getpid()})\nsys.exit(0)");
  const auto v = verifier_of("program", program_options(script));
  const auto first = judge_all(v.get(), {"a"});
  usleep(300000);
  const auto second = judge_all(v.get(), {"a"});
  ASSERT_EQ(second.size(), 1u);
  EXPECT_TRUE(second[0].right()) << second[0].reason;
  EXPECT_NE(first[0].score, second[0].score);
}

TEST(ProgramVerifier, IsStoppedWhenTheVerifierGoes) {
  SKIP_PROGRAM_WITHOUT_PYTHON();
  const TempDir dir;
  const std::string script = judge_script(dir, "say({'id': r['id'], 'score': os.getpid()})\nwhile True: time.sleep(1)",
                                          "for s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)");
  auto v = verifier_of("program", program_options(script));
  const auto out = judge_all(v.get(), {"a"});
  ASSERT_EQ(out.size(), 1u);
  const auto pid = static_cast<pid_t>(out[0].score);
  EXPECT_EQ(kill(pid, 0), 0);
  v.reset();
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(ProgramVerifier, RepliesLargerThanAPipeGoThrough) {
  SKIP_PROGRAM_WITHOUT_PYTHON();
  const TempDir dir;
  json options = program_options(judge_script(dir, "say({'id': r['id'], 'score': len(r['answer']), 'reason': 'x' * 200000})"));
  options["batch"] = 4;
  const auto v = verifier_of("program", options);
  const auto out = judge_all(v.get(), std::vector<std::string>(8, std::string(500000, 'y')));
  ASSERT_EQ(out.size(), 8u);
  for (const Verdict& o : out) EXPECT_EQ(o.score, 500000);
}

TEST(ProgramVerifier, InTheSandboxItSeesNothingElse) {
  SKIP_PROGRAM_WITHOUT_PYTHON();
  const TempDir dir;
  const std::string code =
      "import json, os, sys\nfor line in sys.stdin:\n    r = json.loads(line)\n    print(json.dumps({'id': r['id'], "
      "'score': int(os.path.exists('" +
      dir.write("secret", "x") + "')), 'reason': ' '.join(sorted(os.listdir('/')))}), flush=True)\n";
  const auto v = verifier_of("program", {{"command", {"/usr/bin/python3", "-c", code}}, {"sandbox", true}, {"timeout", 20}});
  const auto out = judge_all(v.get(), {"a", "b"});
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[1].kind, Verdict::Wrong) << out[1].reason;
  EXPECT_EQ(out[1].reason.find("home"), std::string::npos) << out[1].reason;
}

TEST(ProgramVerifier, WrongOptionsAreNamed) {
  EXPECT_EQ(make_verifier("program").message(), "program: command must be given, e.g. [\"python3\", \"judge.py\"]");
  EXPECT_EQ(make_verifier("program", {{"command", "/no/such/judge"}}).message(),
            "program: /no/such/judge is no program, here or in PATH");
  EXPECT_EQ(make_verifier("program", {{"command", {"sh"}}, {"batch", 0}}).message(),
            "program: batch must be a whole number from 1 to 1024");
}

json http_options(const LoopbackJudge& judge) {
  return {{"url", judge.url()}, {"timeout", 5}, {"retries", 2}, {"backoff", 0.01}};
}

TEST(HttpVerifier, AsksAndReads) {
  LoopbackJudge judge([](const std::string& body) {
    const json r = json::parse(body);
    return LoopbackJudge::answer(json{{"id", r["id"]}, {"score", r["answer"] == "a" ? 1 : 0}, {"reason", "no"}}.dump());
  });
  json options = http_options(judge);
  options["headers"] = {"Authorization: Bearer KEY", "X-Other: 1"};
  const auto v = verifier_of("http", options);
  const auto out = judge_all(v.get(), {"a", "b", "a"});
  ASSERT_EQ(out.size(), 3u);
  EXPECT_TRUE(out[0].right() && out[2].right());
  EXPECT_EQ(out[1].reason, "no");
  EXPECT_NE(judge.last_head().find("POST /judge HTTP/1.1"), std::string::npos);
  EXPECT_NE(judge.last_head().find("Authorization: Bearer KEY"), std::string::npos);
  EXPECT_NE(judge.last_head().find("Content-Type: application/json"), std::string::npos);
}

TEST(HttpVerifier, ListsInBatches) {
  LoopbackJudge judge([](const std::string& body) {
    json out = json::array();
    for (const auto& r : json::parse(body))
      if (r["answer"] != "lost") out.push_back(json{{"id", r["id"]}, {"score", std::stoi(r["answer"].get<std::string>())}});
    std::reverse(out.begin(), out.end());
    if (out.size() < json::parse(body).size()) out.push_back(json{{"id", 12345}, {"score", 1}});
    return LoopbackJudge::answer(out.dump());
  });
  json options = http_options(judge);
  options["batch"] = 3;
  const auto v = verifier_of("http", options);
  const auto out = judge_all(v.get(), {"0", "1", "2", "3", "lost"});
  ASSERT_EQ(out.size(), 5u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(out[i].score, static_cast<double>(i)) << out[i].reason;
  EXPECT_EQ(out[4].reason, "http: no answer has its id");
  EXPECT_EQ(judge.requests(), 2);
}

TEST(HttpVerifier, TriesAgainWhatMayPass) {
  std::atomic<int> faults{2};
  LoopbackJudge judge([&](const std::string&) {
    const int left = faults--;
    if (left == 2) return std::string();
    return left == 1 || left > 2 ? LoopbackJudge::answer("busy", "503 Service Unavailable")
                                 : LoopbackJudge::answer("{\"score\": 1}");
  });
  const auto v = verifier_of("http", http_options(judge));
  EXPECT_TRUE(verdict_on(v, nullptr, "a").right());
  faults = 100;
  EXPECT_EQ(verdict_on(v, nullptr, "a").reason, "http: status 503: busy");
}

TEST(HttpVerifier, HostileServersFailOneReplyWithOneLine) {
  const std::pair<std::string, std::string> cases[] = {
      {LoopbackJudge::answer("hello"), "http: wrote what is no JSON: \"hello\""},
      {LoopbackJudge::answer(""), "http: wrote what is no JSON: \"\""},
      {LoopbackJudge::answer("{\"score\": NaN}"), "http: wrote what is no JSON: \"{\"score\": NaN}\""},
      {LoopbackJudge::answer("{\"id\": 77, \"score\": 1}"), "http: answered an id that was not asked"},
      {LoopbackJudge::answer("[]"), "http: its answer is no JSON object"},
      {LoopbackJudge::answer("{\"score\": null}"), "http: its answer has no score that is a number"},
      {LoopbackJudge::answer(std::string(100000, '[')), "http: wrote JSON that is nested too deep"},
      {LoopbackJudge::answer(std::string(2 << 20, ' ')), "http: an answer of more than 1048576 bytes"},
      {LoopbackJudge::answer("too\nlong", "413 Payload Too Large"), "http: status 413: too long"},
      {LoopbackJudge::answer("", "500 Oops"), "http: status 500"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n" + std::string(2 << 20, 'x'),
       "http: an answer of more than 1048576 bytes"},
  };
  for (const auto& [raw, said] : cases) {
    std::atomic<bool> bad{true};
    LoopbackJudge judge([&, r = raw](const std::string&) { return bad ? r : LoopbackJudge::answer("{\"score\": 1}"); });
    const auto v = verifier_of("http", http_options(judge));
    const Verdict got = verdict_on(v, nullptr, "a");
    EXPECT_EQ(got.kind, Verdict::Failed) << said;
    EXPECT_EQ(got.reason, said);
    bad = false;
    EXPECT_TRUE(verdict_on(v, nullptr, "a").right()) << said;
  }
}

TEST(HttpVerifier, SilentServersAreGivenUp) {
  LoopbackJudge judge([](const std::string&) {
    usleep(600000);
    return std::string();
  });
  const auto v = verifier_of("http", {{"url", judge.url()}, {"timeout", 0.3}, {"retries", 0}});
  EXPECT_EQ(verdict_on(v, nullptr, "a").reason.substr(0, 25), "http: Operation timed out");
  LoopbackJudge nonsense([](const std::string&) { return std::string("SSH-2.0-OpenSSH_9.2\r\n\r\n"); });
  const auto w = verifier_of("http", {{"url", nonsense.url()}, {"timeout", 0.5}, {"retries", 0}});
  EXPECT_EQ(verdict_on(w, nullptr, "a").kind, Verdict::Failed);
}

TEST(HttpVerifier, WhatWillBeSoForEveryReplyEndsTheRun) {
  for (const char* status : {"401 Unauthorized", "404 Not Found", "301 Moved"}) {
    LoopbackJudge judge([&](const std::string&) { return LoopbackJudge::answer("", status); });
    const auto v = verifier_of("http", http_options(judge));
    std::string fault;
    judge_all(v.get(), {"a"}, &fault);
    EXPECT_EQ(fault.rfind("http: " + judge.url() + ": status " + std::string(status, 3), 0), 0u) << fault;
  }
  std::string url;
  {
    url = LoopbackJudge([](const std::string&) { return std::string(); }).url();
  }
  const auto v = verifier_of("http", {{"url", url}, {"retries", 1}, {"backoff", 0.01}});
  std::string fault;
  judge_all(v.get(), {"a"}, &fault);
  EXPECT_NE(fault.find("http: " + url + ": Failed to connect"), std::string::npos) << fault;
}

TEST(HttpVerifier, WrongOptionsAreNamed) {
  for (const char* url : {"", "file:///etc/passwd", "judge", "ftp://x/", "http://", "http://a b/"})
    EXPECT_NE(make_verifier("http", {{"url", url}}).message().find("url must be an address"), std::string::npos) << url;
  for (const char* header : {"no colon", ": x", "A: b\r\nC: d"})
    EXPECT_EQ(make_verifier("http", {{"url", "http://x/"}, {"headers", {header}}}).message(),
              "http: a header must be a line like \"Authorization: Bearer KEY\"");
}

}  // namespace
}  // namespace raison
