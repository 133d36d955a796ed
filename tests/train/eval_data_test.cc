// Readers of data sets: the usual forms, the real files where they are there, and what is refused.
#include "train/eval_data.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "testing/shared_data.h"
#include "testing/temp_dir.h"
#include "train/csv.h"

namespace raison::testing {
namespace {

EvalFile eval_file(const std::string& task, const std::string& path) {
  EvalFile f;
  f.task = task;
  f.path = path;
  const EvalPreset* preset = find_eval_preset(task);
  f.verifier = preset ? preset->verifier : "math";
  return f;
}

std::vector<EvalQuestion> questions_of(const EvalFile& file) {
  auto read = read_eval_file(file);
  EXPECT_TRUE(read.ok()) << (read.ok() ? "" : read.message());
  return read.ok() ? std::move(read).value() : std::vector<EvalQuestion>();
}

std::string asked(const EvalQuestion& q) { return q.messages.back()["content"].get<std::string>(); }

TEST(EvalData, MathematicsAsPublished) {
  const TempDir dir;
  const std::string boxed = std::string("\n") + kBoxedSuffix;
  const auto gsm = questions_of(
      eval_file("gsm8k", dir.write("g.jsonl", R"({"question": "How many?", "answer": "3 * 4 = <<3*4=12>>12\n#### 1,200"})"
                                              "\n\n"
                                              R"({"question": "And now?", "answer": "7"})")));
  ASSERT_EQ(gsm.size(), 2u);
  EXPECT_EQ(gsm[0].question.prompt, "How many?");
  EXPECT_EQ(asked(gsm[0]), "How many?" + boxed);
  EXPECT_EQ(gsm[0].question.record["answer"], "1200");
  EXPECT_EQ(gsm[1].question.record["answer"], "7");
  EXPECT_EQ(gsm[1].id, 1);
  EXPECT_EQ(gsm[1].where, dir / "g.jsonl:3") << "empty lines count as lines";
  const auto svamp = questions_of(eval_file(
      "svamp", dir.write("s.jsonl", R"({"Answer": 145.0, "Question": "How big?", "Body": "There are 2.", "ID": "chal-7"})")));
  ASSERT_EQ(svamp.size(), 1u);
  EXPECT_EQ(svamp[0].question.prompt, "There are 2. How big?");
  EXPECT_EQ(svamp[0].question.record["answer"], "145");
  EXPECT_EQ(svamp[0].id, "chal-7");
  const auto aime = questions_of(eval_file("aime24", dir.write("a.jsonl", R"({"Problem": "P", "Answer": 204, "ID": "I-1"})")));
  ASSERT_EQ(aime.size(), 1u);
  EXPECT_EQ(aime[0].question.record["answer"], 204);
  const auto math = questions_of(
      eval_file("math500", dir.write("m.jsonl", R"({"problem": "P", "answer": "\\frac{1}{2}", "unique_id": "u"})")));
  ASSERT_EQ(math.size(), 1u);
  EXPECT_EQ(math[0].question.record["answer"], "\\frac{1}{2}");
}

TEST(EvalData, CountdownInAllItsForms) {
  const TempDir dir;
  EvalFile file = eval_file("countdown", dir.write("c.jsonl", R"({"nums": [19, 36, 55], "target": 65}
{"numbers": "3 5 9", "target": "17"}
{"input": "30,100,93", "output": "23"}
{"prompt": "4 5 7 -> 8"}
{"prompt": "Words of its own.", "nums": [1.0, 2], "target": 3}
)"));
  const auto worded = questions_of(file);
  ASSERT_EQ(worded.size(), 5u);
  EXPECT_NE(asked(worded[0]).find("19, 36, 55"), std::string::npos) << asked(worded[0]);
  EXPECT_NE(asked(worded[0]).find("65"), std::string::npos);
  EXPECT_NE(asked(worded[0]).find("\\boxed{}"), std::string::npos);
  EXPECT_EQ(worded[1].question.record["nums"], nlohmann::json({3, 5, 9}));
  EXPECT_EQ(worded[1].question.record["target"], 17);
  EXPECT_EQ(worded[2].question.record["target"], 23);
  EXPECT_EQ(worded[3].question.record["nums"], nlohmann::json({4, 5, 7}));
  EXPECT_EQ(asked(worded[4]), "Words of its own.");
  file.bare_countdown = true;
  const auto bare = questions_of(file);
  ASSERT_EQ(bare.size(), 5u);
  EXPECT_EQ(asked(bare[2]), "30 100 93 -> 23");
  EXPECT_EQ(asked(bare[4]), "1 2 -> 3");
  auto verifier = make_verifier("countdown");
  ASSERT_TRUE(verifier.ok());
  for (const auto* list : {&worded, &bare})
    for (const EvalQuestion& q : *list) EXPECT_TRUE((*verifier)->check(q.question).ok()) << q.where;
}

TEST(EvalData, TablesAndGame24) {
  const TempDir dir;
  const auto games = questions_of(eval_file(
      "game24", dir.write("24.csv", "\xEF\xBB\xBFRank,Puzzles,AMT (s)\r\n1,1 1 4 6,4.4\r\n2,\"1 2 2 7\",\"4,5\"\r\n")));
  ASSERT_EQ(games.size(), 2u);
  EXPECT_EQ(games[0].question.record["nums"], nlohmann::json({1, 1, 4, 6}));
  EXPECT_EQ(games[0].question.record["target"], 24);
  EXPECT_EQ(games[0].id, "1") << "a byte order mark is no part of a name";
  EXPECT_EQ(games[1].question.record["AMT (s)"], "4,5");
  const auto own =
      questions_of(eval_file("mine", dir.write("m.csv", "question,answer\n\"two\nlines, \"\"quoted\"\"\",4\n,\n")));
  ASSERT_EQ(own.size(), 2u);
  EXPECT_EQ(own[0].question.prompt, "two\nlines, \"quoted\"");
  EXPECT_EQ(own[1].where, dir / "m.csv:4");
}

TEST(EvalData, SystemSuffixLimitAndMessages) {
  const TempDir dir;
  EvalFile file =
      eval_file("mine", dir.write("m.jsonl", R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant",
"content": "b"}, {"role": "user", "content": "c"}], "answer": 1}
)"));
  EXPECT_FALSE(read_eval_file(file).ok()) << "a record is one line";
  dir.write("m.jsonl", R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, )"
                       R"({"role": "user", "content": "c"}], "answer": 1})"
                       "\n{\"prompt\": \"d\", \"answer\": 2}\n");
  file.system = "S";
  file.suffix = "think";
  const auto both = questions_of(file);
  ASSERT_EQ(both.size(), 2u);
  ASSERT_EQ(both[0].messages.size(), 4u);
  EXPECT_EQ(both[0].messages[0]["content"], "S");
  EXPECT_EQ(asked(both[0]), "c\nthink");
  EXPECT_EQ(both[0].question.prompt, "c");
  file.suffix = "";
  EXPECT_EQ(asked(questions_of(file).back()), "d");
  file.suffix.reset();
  EXPECT_NE(asked(questions_of(file).back()).find("boxed"), std::string::npos) << "own files of mathematics too";
  file.limit = 1;
  EXPECT_EQ(questions_of(file).size(), 1u);
}

TEST(EvalData, RefusalsNameFileAndLine) {
  const TempDir dir;
  const auto refused = [&](const std::string& task, const std::string& text, const std::string& what,
                           const char* ending = ".jsonl") {
    const std::string path = dir.write(std::string("bad") + ending, text);
    const auto read = read_eval_file(eval_file(task, path));
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_EQ(read.message().rfind(path, 0), 0u) << read.message();
    EXPECT_NE(read.message().find(what), std::string::npos) << read.message();
    EXPECT_EQ(read.message().find('\n'), std::string::npos) << read.message();
  };
  refused("gsm8k", "{\"question\": \"q\", \"answer\": \"1\"}\n{\"answer\": \"1\"}\n", ":2: ");
  refused("gsm8k", "{\"question\": \"q\"}\n", ":1: has no \"answer\"");
  refused("gsm8k", "{\"question\": 3, \"answer\": \"1\"}\n", ":1: ");
  refused("gsm8k", "{\"question\": \"q\", \"answer\": [1]}\n", ":1: \"answer\" must be");
  refused("svamp", "{\"Body\": \"q\", \"Answer\": 1}\n", "\"Question\"");
  refused("svamp", "{\"Body\": 1, \"Question\": \"q\", \"Answer\": 1}\n", "\"Body\" must be a text");
  refused("mine", "{\"messages\": [\"x\"]}\n", "role");
  refused("mine", "{\"messages\": []}\n", "messages");
  refused("mine", "[1]\n", "object");
  refused("mine", "{\"prompt\": \"\xff\"}\n", "UTF-8");
  refused("mine", "{\"prompt\":" + std::string(100000, '['), "deep");
  refused("mine", "\n \n", "holds no questions");
  refused("mine", "", "holds no questions");
  for (const char* bad : {"{}", "{\"nums\": [], \"target\": 1}", "{\"nums\": [1, -2], \"target\": 1}",
                          "{\"nums\": [1], \"target\": 1.5}", "{\"nums\": [1]}", "{\"nums\": [1e300], \"target\": 1}",
                          "{\"nums\": \"1 x\", \"target\": 1}", "{\"nums\": [18446744073709551615], \"target\": 1}",
                          "{\"input\": [1], \"output\": 1}", "{\"prompt\": \"1 2 3\"}", "{\"nums\": [\"1 2\"], \"target\": 1}"})
    refused("countdown", std::string(bad) + "\n", ":1: ");
  refused("game24", "Rank,Puzzles\n1\n", ":2: has 1 fields", ".csv");
  refused("game24", "Rank,Puzzles\n1,\"1 2\n", ":2: quotes", ".csv");
  refused("game24", "Rank,Puzzles\n1,\"1\"2\n", ":2: text behind", ".csv");
  refused("game24", "Rank,Puzzles\n1,x y\n", ":2: \"Puzzles\"", ".csv");
  refused("game24", "Rank,Puzzles\n", "holds no questions", ".csv");
  EXPECT_FALSE(read_eval_file(eval_file("gsm8k", dir / "none.jsonl")).ok());
}

// The files as they are published, each with all its questions, every one of which its verifier can judge.
TEST(EvalData, RealFiles) {
  const std::string folder = shared_dir() + "/refdata/reasoning/";
  const std::tuple<const char*, const char*, size_t> files[] = {
      {"gsm8k", "gsm8k/test.jsonl", 1319}, {"math500", "math500/test.jsonl", 500},
      {"aime24", "aime24/test.jsonl", 30}, {"svamp", "svamp/test.jsonl", 1000},
      {"game24", "game24/24.csv", 1362},   {"countdown", "countdown/countdown_cd3_test.jsonl", 256}};
  for (const auto& [task, name, count] : files) {
    const EvalFile file = eval_file(task, folder + name);
    if (!std::filesystem::exists(file.path)) GTEST_SKIP() << missing(file.path);
    const auto questions = questions_of(file);
    EXPECT_EQ(questions.size(), count) << task;
    auto verifier = make_verifier(file.verifier);
    ASSERT_TRUE(verifier.ok()) << verifier.message();
    for (const EvalQuestion& q : questions) {
      const Status ok = (*verifier)->check(q.question);
      ASSERT_TRUE(ok.ok()) << q.where << ": " << ok.message();
      ASSERT_FALSE(q.question.prompt.empty()) << q.where;
    }
  }
}

}  // namespace
}  // namespace raison::testing
