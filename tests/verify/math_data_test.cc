// Verdicts beside those of others: the shared goldens, another verifier's test cases, and the golds of datasets against themselves.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "testing/shared_data.h"
#include "verify/math.h"
#include "verify/verifier.h"

namespace raison {
namespace {

using nlohmann::json;

std::string math_data_file(const std::string& name) { return testing::shared_dir() + "/" + name; }

bool read_math_lines(const std::string& path, std::vector<json>* out) {
  std::ifstream in(path);
  if (!in) return false;
  for (std::string line; std::getline(in, line);)
    if (!line.empty()) out->push_back(json::parse(line));
  return true;
}

std::string group_of(const std::string& kind) { return kind.substr(0, kind.find('/')); }

TEST(MathData, FollowsTheTruthOfTheGoldens) {
  const std::string path = math_data_file("goldens/verify/pairs.jsonl");
  std::vector<json> pairs;
  if (!read_math_lines(path, &pairs)) GTEST_SKIP() << testing::missing(path);
  ASSERT_GT(pairs.size(), 900u);
  int judged = 0, agreed = 0, accepted_wrong = 0, as_expected = 0;
  std::map<std::string, std::pair<int, int>> groups;
  const auto begin = std::chrono::steady_clock::now();
  for (const json& p : pairs) {
    const auto same = same_math_answer(p["gold"].get<std::string>(), p["prediction"].get<std::string>());
    const bool accepted = same.ok() && *same;
    if (accepted == p["expected"].get<bool>()) ++as_expected;
    if (!p.contains("truth")) continue;
    const bool truth = p["truth"].get<bool>();
    auto& [right, all] = groups[group_of(p["kind"].get<std::string>())];
    ++all;
    ++judged;
    if (accepted == truth) {
      ++agreed;
      ++right;
      continue;
    }
    if (accepted) ++accepted_wrong;
    std::printf("%s: %s %s | %s%s\n", p["kind"].get<std::string>().c_str(), accepted ? "accepts" : "rejects",
                p["gold"].get<std::string>().c_str(), p["prediction"].get<std::string>().c_str(),
                same.ok() ? "" : (" (" + same.message() + ")").c_str());
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf("truth: %d of %d; accepted though wrong: %d; as math_verify: %d of %zu; %.0f judgements a second\n", agreed,
              judged, accepted_wrong, as_expected, pairs.size(), static_cast<double>(pairs.size()) / seconds);
  EXPECT_GE(agreed * 100, judged * 97);
  EXPECT_EQ(accepted_wrong, 0);
}

TEST(MathData, FollowsTheCasesOfAnotherVerifier) {
  const std::string path = math_data_file("refdata/reasoning/math_verify/math_verify_cases.json");
  std::ifstream in(path);
  if (!in) GTEST_SKIP() << testing::missing(path);
  const json cases = json::parse(in);
  int judged = 0, agreed = 0;
  for (const json& c : cases) {
    // Its precision of 6 decimals is its default; ours is exact. A case that asks for less is asked for the same of us.
    MathOptions options;
    if (const auto precision = c.value("precision", 6); precision < 6) options.decimals = precision;
    const MathJudgement same = judge_math_answer(c["gold"].get<std::string>(), c["pred"].get<std::string>(), options);
    if (!c.contains("expected")) continue;
    const bool accepted = same.kind == MathJudgement::Same;
    ++judged;
    if (accepted == (c["expected"].get<int>() == 1)) {
      ++agreed;
      continue;
    }
    const std::string pred = c["pred"].get<std::string>(), gold = c["gold"].get<std::string>();
    std::printf("%s: %s %s | ...%s%s\n", c["test"].get<std::string>().c_str(), accepted ? "accepts" : "rejects",
                gold.substr(gold.size() - std::min<size_t>(gold.size(), 200)).c_str(),
                pred.substr(pred.size() - std::min<size_t>(pred.size(), 300)).c_str(), (" (" + same.reason + ")").c_str());
  }
  std::printf("cases: %d of %d\n", agreed, judged);
  ASSERT_GT(judged, 150);
  EXPECT_GE(agreed * 100, judged * 95);
}

// A dataset's golds: each is right for itself, boxed or stated, and wrong for the next one unless the two are equal as texts or numbers.
struct GoldCounts {
  int golds = 0, not_itself = 0, as_neighbour = 0;
};

MathJudgement::Kind kind_of(const std::string& gold, const std::string& reply) { return judge_math_answer(gold, reply).kind; }

GoldCounts count_golds(const std::vector<std::string>& golds, const std::string& name) {
  GoldCounts out;
  for (size_t i = 0; i < golds.size(); ++i) {
    const std::string& gold = golds[i];
    ++out.golds;
    const std::string alone = gold.find("####") == std::string::npos ? gold : gold.substr(gold.rfind("####") + 5);
    for (const std::string& reply :
         {gold, "Thus we get $\\boxed{" + alone + "}$.", "Adding up, the final answer is $" + alone + "$."}) {
      if (kind_of(gold, reply) == MathJudgement::Same) continue;
      ++out.not_itself;
      std::printf("%s: not itself: %s | %s\n", name.c_str(), alone.c_str(),
                  reply.substr(reply.size() - std::min<size_t>(reply.size(), 120)).c_str());
    }
    const std::string& next = golds[(i + 1) % golds.size()];
    const std::string next_alone = next.find("####") == std::string::npos ? next : next.substr(next.rfind("####") + 5);
    if (kind_of(gold, "\\boxed{" + next_alone + "}") != MathJudgement::Same || next_alone == alone) continue;
    ++out.as_neighbour;
    std::printf("%s: equal: %s | %s\n", name.c_str(), alone.c_str(), next_alone.c_str());
  }
  std::printf("%s: %d golds, %d not right for themselves, %d equal to the next\n", name.c_str(), out.golds, out.not_itself,
              out.as_neighbour);
  return out;
}

std::string gold_text(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

struct GoldFile {
  const char *path, *key;
  int equal_neighbours;  // counted by hand: written otherwise, of one value
};

class MathGolds : public ::testing::TestWithParam<GoldFile> {};

TEST_P(MathGolds, AreRightForThemselvesAlone) {
  const GoldFile file = GetParam();
  const std::string path = math_data_file(std::string("refdata/reasoning/") + file.path);
  std::vector<json> records;
  if (path.ends_with(".json")) {
    std::ifstream in(path);
    if (in) records = json::parse(in).get<std::vector<json>>();
  } else {
    read_math_lines(path, &records);
  }
  if (records.empty()) GTEST_SKIP() << testing::missing(path);
  std::vector<std::string> golds;
  for (const json& r : records) golds.push_back(gold_text(r.at(file.key)));
  const GoldCounts counts = count_golds(golds, file.path);
  EXPECT_EQ(counts.not_itself, 0);
  EXPECT_EQ(counts.as_neighbour, file.equal_neighbours);
}

INSTANTIATE_TEST_SUITE_P(
    Datasets, MathGolds,
    ::testing::Values(GoldFile{"gsm8k/test.jsonl", "answer", 0}, GoldFile{"gsm8k/train.jsonl", "answer", 0},
                      GoldFile{"math500/test.jsonl", "answer", 1}, GoldFile{"aime24/test.jsonl", "answer", 0},
                      GoldFile{"aime_history/train_aime.json", "answer", 0},
                      GoldFile{"aime_history/test_aime.json", "answer", 0}, GoldFile{"amc23/test.jsonl", "answer", 0},
                      GoldFile{"svamp/test.jsonl", "Answer", 0}));

TEST(MathData, FindsTheAnswerOfEverySolution) {
  const std::string path = math_data_file("refdata/reasoning/math500/test.jsonl");
  std::vector<json> records;
  if (!read_math_lines(path, &records)) GTEST_SKIP() << testing::missing(path);
  for (size_t i = 0; i < records.size(); ++i) {
    const std::string answer = records[i]["answer"].get<std::string>(), solution = records[i]["solution"].get<std::string>();
    EXPECT_EQ(kind_of(answer, solution), MathJudgement::Same)
        << answer << " | " << extract_math_answer(solution).value_or("none");
    EXPECT_EQ(kind_of(solution, answer), MathJudgement::Same) << answer;
    const std::string other = records[(i + 1) % records.size()]["answer"].get<std::string>();
    if (answer == "5" && other == "x=5") continue;
    if (answer != other) { EXPECT_NE(kind_of(solution, other), MathJudgement::Same) << answer << " | " << other; }
  }
}

TEST(MathData, AgreesWithGradedSamples) {
  const std::string path = math_data_file("refdata/reasoning/graded_samples/areal_math_answers_sample_cases.jsonl");
  std::vector<json> samples;
  if (!read_math_lines(path, &samples)) GTEST_SKIP() << testing::missing(path);
  int judged = 0, agreed = 0;
  for (const json& s : samples) {
    const std::string gold = s["solutions"][0].get<std::string>();
    for (size_t i = 0; i < s["generateds"].size(); ++i) {
      const std::string reply = s["generateds"][i].get<std::string>();
      const MathJudgement j = judge_math_answer(gold, reply);
      const bool right = s["rewards"][i].get<double>() > 0;
      ++judged;
      if ((j.kind == MathJudgement::Same) == right) {
        ++agreed;
        continue;
      }
      std::printf("graded %s, judged %s: %s | %s | ...%s\n", right ? "right" : "wrong", right ? "wrong" : "right", gold.c_str(),
                  j.answer.c_str(), reply.substr(reply.size() - std::min<size_t>(reply.size(), 160)).c_str());
    }
  }
  std::printf("graded samples: %d of %d\n", agreed, judged);
  ASSERT_GT(judged, 100);
  EXPECT_GE(agreed * 100, judged * 95);
}

}  // namespace
}  // namespace raison
