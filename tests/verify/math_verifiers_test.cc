// The verifiers "math" and "choice": what they read of records and replies.
#include <gtest/gtest.h>

#include "verify/verifier.h"

namespace raison {
namespace {

using nlohmann::json;

Verdict verdict_of(const std::string& name, const json& record, const std::string& answer, const json& options = nullptr) {
  auto v = make_verifier(name, options);
  EXPECT_TRUE(v.ok()) << (v.ok() ? "" : v.message());
  if (!v.ok()) return {};
  const Question q{"?", record};
  Reply r;
  r.text = r.answer = answer;
  const Submission s{&q, &r};
  const auto out = (*v)->judge(std::span(&s, 1));
  EXPECT_TRUE(out.ok() && out->size() == 1);
  return out.ok() && out->size() == 1 ? out->front() : Verdict();
}

std::string refusal(const std::string& name, const json& record) {
  auto v = make_verifier(name);
  EXPECT_TRUE(v.ok());
  const Status s = v.ok() ? (*v)->check({"?", record}) : Status();
  return s.ok() ? "" : s.message();
}

TEST(MathVerifier, ReadsGoldsOfAllKinds) {
  for (const json& record :
       {json{{"answer", "42"}}, json{{"answer", 42}}, json{{"answer", 42.0}}, json{{"answer", "6 * 7 = 42\n#### 42"}},
        json{{"answer", {"42"}}}, json{{"solution", "So it is $\\boxed{42}$."}}, json{{"answer", "$42$"}}}) {
    EXPECT_EQ(refusal("math", record), "") << record;
    const Verdict right = verdict_of("math", record, "It is \\boxed{42}.");
    EXPECT_TRUE(right.right()) << record;
    EXPECT_EQ(right.score, 1);
    EXPECT_EQ(right.answer, "42");
    EXPECT_EQ(right.reason, "");
    EXPECT_EQ(verdict_of("math", record, "It is \\boxed{43}.").kind, Verdict::Wrong) << record;
    EXPECT_EQ(verdict_of("math", record, "I give up.").kind, Verdict::Unparseable) << record;
  }
  EXPECT_TRUE(verdict_of("math", {{"answer", 1234567}}, "1,234,567").right());
  EXPECT_TRUE(verdict_of("math", {{"answer", 1e22}}, "10^{22}").right());
  EXPECT_TRUE(verdict_of("math", {{"answer", 0.1}}, "\\frac{1}{10}").right());
}

TEST(MathVerifier, RefusesRecordsWithoutAGold) {
  for (const json& record :
       {json(nullptr), json{{"question", "?"}}, json{{"answer", ""}}, json{{"answer", nullptr}}, json{{"answer", {"1", "2"}}},
        json{{"solution", "no box"}}, json{{"answer", "####"}}, json{{"answer", "\\boxed{}"}}}) {
    EXPECT_NE(refusal("math", record), "") << record;
    EXPECT_NE(verdict_of("math", record, "42").kind, Verdict::Right) << record;
  }
}

TEST(MathVerifier, TakesDecimals) {
  const json record{{"answer", "\\frac{2}{3}"}};
  EXPECT_EQ(verdict_of("math", record, "\\boxed{0.667}").kind, Verdict::Wrong);
  EXPECT_TRUE(verdict_of("math", record, "\\boxed{0.667}", {{"decimals", 3}}).right());
  EXPECT_FALSE(make_verifier("math", {{"decimals", -1}}).ok());
  EXPECT_FALSE(make_verifier("math", {{"digits", 1}}).ok());
}

TEST(ChoiceVerifier, ReadsTheLetterAsItIsWritten) {
  const json record{{"answer", "B"}, {"choices", {"red", "blue", "an owl", "7"}}};
  for (const char* reply : {"B",
                            "(B)",
                            "B.",
                            "b",
                            "**B**",
                            "\\boxed{B}",
                            "\\boxed{\\text{(B)}}",
                            "$\\boxed{\\textbf{(B)}\\ blue}$",
                            "The answer is (B).",
                            "The answer is B",
                            "Answer: B",
                            "**Answer:** B) blue",
                            "the answer is blue.",
                            "<answer>B</answer>",
                            "blue",
                            "\\boxed{blue}",
                            "Option B",
                            "I looked at (A) and (C).\nAnswer: option B",
                            "First A.\n\nB",
                            "It can't be (A), so it is (B).",
                            "\\boxed{A}? No: \\boxed{B}",
                            "The answer is B because blue is blue"})
    EXPECT_TRUE(verdict_of("choice", record, reply).right()) << reply;
  for (const char* reply : {"A", "(C)", "\\boxed{D}", "The answer is (A), not (B)", "The answer is an owl.", "7"})
    EXPECT_EQ(verdict_of("choice", record, reply).kind, Verdict::Wrong) << reply;
  for (const char* reply : {"", "I do not know", "\\boxed{AB}", "\\boxed{A, B}", "The answer is A and B", "A or B",
                            "The answer is E", "A bird", "The answer is a guess"})
    EXPECT_EQ(verdict_of("choice", record, reply).kind, Verdict::Unparseable) << reply;
}

TEST(ChoiceVerifier, ReadsGoldsOfAllKinds) {
  const json list{"red", "blue", "green"};
  for (const json& record :
       {json{{"answer", 1}, {"choices", list}}, json{{"answer", "blue"}, {"options", list}},
        json{{"answer", "(B)"}, {"choices", list}}, json{{"answer", "B"}, {"options", {{"A", "red"}, {"B", "blue"}}}},
        json{{"answer", "B"}, {"choices", {{"label", {"A", "B"}}, {"text", {"red", "blue"}}}}},
        json{{"answer", "B"}, {"options", {"A) red", "B) blue"}}}}) {
    EXPECT_EQ(refusal("choice", record), "") << record;
    EXPECT_TRUE(verdict_of("choice", record, "\\boxed{B}").right()) << record;
    EXPECT_TRUE(verdict_of("choice", record, "It is clear: the answer is blue").right()) << record;
    EXPECT_EQ(verdict_of("choice", record, "\\boxed{A}").kind, Verdict::Wrong) << record;
  }
  EXPECT_TRUE(verdict_of("choice", {{"answer", "D"}}, "(D)").right());
  EXPECT_EQ(verdict_of("choice", {{"answer", "D"}}, "(E)").kind, Verdict::Wrong);
  for (const json& record :
       {json(nullptr), json{{"choices", list}}, json{{"answer", 3}, {"choices", list}}, json{{"answer", 1}},
        json{{"answer", "yellow"}, {"choices", list}}, json{{"answer", "E"}, {"choices", list}},
        json{{"answer", "A"}, {"choices", {"one"}}}, json{{"answer", "A"}, {"choices", "one"}}})
    EXPECT_NE(refusal("choice", record), "") << record;
}

}  // namespace
}  // namespace raison
