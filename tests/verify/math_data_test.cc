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
    const auto same = same_math_answer(c["gold"].get<std::string>(), c["pred"].get<std::string>());
    if (!c.contains("expected")) continue;
    const bool accepted = same.ok() && *same;
    ++judged;
    if (accepted == (c["expected"].get<int>() == 1)) {
      ++agreed;
      continue;
    }
    const std::string pred = c["pred"].get<std::string>(), gold = c["gold"].get<std::string>();
    std::printf("%s: %s %s | ...%s%s\n", c["test"].get<std::string>().c_str(), accepted ? "accepts" : "rejects",
                gold.substr(gold.size() - std::min<size_t>(gold.size(), 200)).c_str(),
                pred.substr(pred.size() - std::min<size_t>(pred.size(), 300)).c_str(),
                same.ok() ? "" : (" (" + same.message() + ")").c_str());
  }
  std::printf("cases: %d of %d\n", agreed, judged);
  ASSERT_GT(judged, 150);
  EXPECT_GE(agreed * 100, judged * 95);
}

}  // namespace
}  // namespace raison
