#include "verify/verifier.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace raison {
namespace {

Verdict judge_with(Verifier& v, const Question& q, const std::string& answer, bool ended = true) {
  Reply r;
  r.text = r.answer = answer;
  r.ended = ended;
  const Submission s{&q, &r};
  auto out = v.judge(std::span(&s, 1));
  EXPECT_TRUE(out.ok()) << (out.ok() ? "" : out.message());
  return out.ok() && out->size() == 1 ? out->front() : Verdict();
}

TEST(Verifiers, UnknownNamesAndOptionsAreNamed) {
  const auto v = make_verifier("cuontdown");
  ASSERT_FALSE(v.ok());
  EXPECT_NE(v.message().find("there are countdown"), std::string::npos) << v.message();
  EXPECT_EQ(make_verifier("countdown", {{"divison", true}}).message(), "countdown: has no option divison; it has division");
  EXPECT_EQ(make_verifier("countdown", {{"division", 1}}).message(), "countdown: division must be true or false");
  EXPECT_EQ(make_verifier("countdown", nlohmann::json::array()).message(), "countdown: its options must be a table");
}

TEST(Verifiers, EachIsListedOnce) {
  auto names = verifier_names();
  EXPECT_GE(names.size(), 11u);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

TEST(Verifiers, CountdownReadsTheRecordOrThePrompt) {
  auto v = make_verifier("countdown");
  ASSERT_TRUE(v.ok());
  const Question data{"Use 3, 5 and 2 to make 13.", {{"nums", {3, 5, 2}}, {"target", 13}}};
  EXPECT_TRUE((*v)->check(data).ok());
  EXPECT_TRUE(judge_with(**v, data, "So: <answer> 3 + 5*2 = 13 </answer>").right());
  EXPECT_TRUE(judge_with(**v, data, "It is $\\boxed{5*2+3}$.").right());
  EXPECT_EQ(judge_with(**v, data, "<answer>3+5+2</answer>").kind, Verdict::Wrong);
  EXPECT_EQ(judge_with(**v, data, "<answer>13</answer>").kind, Verdict::Wrong);
  EXPECT_EQ(judge_with(**v, data, "no idea").kind, Verdict::Unparseable);
  EXPECT_EQ(judge_with(**v, data, "<answer>3+5*2=14</answer>").kind, Verdict::Unparseable);
  EXPECT_EQ(judge_with(**v, data, "3+5*2", false).kind, Verdict::Wrong);
  const Question bundled{"4 5 7 -> 8", nullptr};
  EXPECT_TRUE(judge_with(**v, bundled, "4 - ( 5 - 7 ) = 8").kind == Verdict::Wrong);
  EXPECT_TRUE((*v)->check(bundled).ok());
  EXPECT_FALSE((*v)->check({"what is it?", nullptr}).ok());
  EXPECT_FALSE((*v)->check({"", {{"nums", {3, "x"}}, {"target", 13}}}).ok());
  EXPECT_FALSE((*v)->check({"", {{"nums", {3}}}}).ok());
}

}  // namespace
}  // namespace raison
