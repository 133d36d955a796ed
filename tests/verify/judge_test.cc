// Judges: which answers are the same vote.
#include "verify/judge.h"

#include <gtest/gtest.h>

namespace raison::testing {
namespace {

std::string form(const AnswerJudge& judge, const char* answer) { return judge.canonical(answer).value_or("(none)"); }

TEST(Judge, Countdown) {
  auto judge = make_judge("countdown");
  ASSERT_TRUE(judge.ok());
  const AnswerJudge& j = **judge;
  EXPECT_EQ(form(j, " ( 7 + 5 ) - 4 "), form(j, "5+7-4"));
  EXPECT_NE(form(j, "2*3"), form(j, "1+5"));
  EXPECT_EQ(form(j, "twelve"), "(none)");
  ASSERT_TRUE(j.can_self_verify());
  EXPECT_TRUE(j.self_verified("12 - 4 = 8 yes"));
  EXPECT_FALSE(j.self_verified("12 - 4 = 8 lo"));
  EXPECT_FALSE(j.self_verified("eyes yesterday"));
}

TEST(Judge, Final) {
  auto judge = make_judge("final");
  ASSERT_TRUE(judge.ok());
  const AnswerJudge& j = **judge;
  for (const char* same : {"So it is \\boxed{ 42 }.", "\\boxed{7} no: \\boxed{42}", "Thus\n\n**Answer:** 42.",
                           "The final answer is $42$", "42", "First 7.\n42\n"})
    EXPECT_EQ(form(j, same), "42") << same;
  EXPECT_EQ(form(j, "\\boxed{\\frac{1}{2}}"), "\\frac{1}{2}") << "braces within braces";
  EXPECT_EQ(form(j, "\\boxed{3} and \\boxed{4"), "3") << "the last that closes";
  EXPECT_EQ(form(j, "**4 * 2**."), "4*2") << "an asterisk within multiplies";
  EXPECT_EQ(form(j, "**"), "(none)");
  EXPECT_EQ(form(j, "  \n "), "(none)");
  EXPECT_EQ(form(j, "Answer: "), "answer:") << "nothing behind it: the line itself";
  EXPECT_FALSE(j.can_self_verify());
  // Hostile: quadratic time would be felt.
  std::string many;
  for (int i = 0; i < 20000; ++i) many += "\\boxed{";
  (void)j.canonical(many);
}

TEST(Judge, TextAndUnknownNames) {
  auto judge = make_judge("text");
  ASSERT_TRUE(judge.ok());
  EXPECT_EQ(form(**judge, " Yes, it is.\n"), "Yes, it is.");
  EXPECT_EQ(form(**judge, ""), "(none)");
  const auto unknown = make_judge("oracle");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.message().find("final, countdown and text"), std::string::npos);
  for (const std::string& name : judge_names()) {
    const auto known = make_judge(name);
    ASSERT_TRUE(known.ok());
    EXPECT_EQ((*known)->name(), name);
  }
}

}  // namespace
}  // namespace raison::testing
