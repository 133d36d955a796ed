#include "verify/countdown.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "base/rng.h"

namespace raison {
namespace {

constexpr auto Right = CountdownVerdict::Right;
constexpr auto Wrong = CountdownVerdict::Wrong;
constexpr auto Unparseable = CountdownVerdict::Unparseable;

CountdownVerdict judge(const std::string& expression, std::vector<int64_t> numbers = {4, 5, 7}, int64_t target = 8,
                       bool division = false) {
  CountdownOptions o;
  o.allow_division = division;
  return judge_countdown_expression({std::move(numbers), target}, expression, o);
}

TEST(Countdown, AcceptsEveryWritingOfARightExpression) {
  for (const char* e : {"( 7 + 5 ) - 4", "(7+5)-4", "7+5-4", "7 - 4 + 5", "5+(7-4)", " ((7)+(5))\t-\n(4) ",
                        "7+5\xE2\x88\x92"
                        "4"})
    EXPECT_EQ(judge(e).kind, Right) << e << ": " << judge(e).reason;
  EXPECT_EQ(judge("2\xC3\x97(3+4)", {2, 3, 4}, 14).kind, Right);
}

TEST(Countdown, WrongNumbersOrValues) {
  EXPECT_EQ(judge("7 + 5").kind, Wrong);              // a number left out
  EXPECT_EQ(judge("7 + 5 - 4 + 4 - 4").kind, Wrong);  // one used twice
  EXPECT_EQ(judge("8").kind, Wrong);                  // the target itself
  EXPECT_EQ(judge("7 + 5 + 4").kind, Wrong);          // 16
  EXPECT_EQ(judge("75 - 4").kind, Wrong);             // glued digits are another number
  EXPECT_EQ(judge("7 + 5 + 4").reason, "gives 16, not 8");
  EXPECT_EQ(judge("7 + 5").reason, "uses 5 7, given are 4 5 7");
}

TEST(Countdown, TheGrammarRefusesWhatIsNoExpression) {
  for (const char* e : {"",          " ",        "7 5 4",   "7 + 5 - -4",     "-4 + 7 + 5", "+7+5-4",  "7 ** 5", "7^5-4",
                        "7(5)4",     "(7)(5)-4", "(7+5-4",  "7+5-4)",         "()",         "7+5-4=8", "07+5-4", "7.0+5-4",
                        "7+5-4 yes", "7//5",     "7 + 5 -", "</think> 7+5-4", "x"})
    EXPECT_EQ(judge(e).kind, Unparseable) << e;
  EXPECT_EQ(judge(std::string("7+5-4\0", 6)).kind, Unparseable);
}

TEST(Countdown, DivisionIsExactAndOnlyWhereAllowed) {
  EXPECT_EQ(judge("8/(3-8/3)", {3, 3, 8, 8}, 24).kind, Unparseable);
  EXPECT_EQ(judge("8/(3-8/3)", {3, 3, 8, 8}, 24, true).kind, Right);
  EXPECT_EQ(judge("7/2", {2, 7}, 3, true).kind, Wrong);  // no rounding
  EXPECT_EQ(judge("7/2", {2, 7}, 3, true).reason, "gives 7/2, not 3");
  EXPECT_EQ(judge("1/(2-2)", {1, 2, 2}, 1, true).kind, Wrong);
  EXPECT_EQ(judge("1\xC3\xB7"
                  "3*3",
                  {1, 3, 3}, 1, true)
                .kind,
            Right);
}

TEST(Countdown, OverflowIsWrongNotWrapped) {
  const std::string big = "999999999999999999";
  EXPECT_EQ(judge(big + "*" + big, {999999999999999999, 999999999999999999}, 1).kind, Wrong);
  EXPECT_EQ(judge(big + "*10", {999999999999999999, 10}, 1).reason, "a value does not fit 64 bits");
  EXPECT_EQ(judge(std::string(400, '9'), {9}, 9).kind, Wrong);
  // 2^64 written as a product must not pass for 0.
  EXPECT_EQ(judge("4294967296*4294967296", {4294967296, 4294967296}, 0).kind, Wrong);
}

TEST(Countdown, HostileInputIsBounded) {
  EXPECT_EQ(judge(std::string(100000, '(')).kind, Unparseable);
  EXPECT_EQ(judge(std::string(1000, '(')).kind, Unparseable);
  EXPECT_EQ(judge(std::string(30, '(') + "7+5-4" + std::string(30, ')')).kind, Right);
  EXPECT_EQ(judge(std::string(33, '(') + "7+5-4" + std::string(33, ')')).kind, Unparseable);
  Rng rng(1);
  const std::string alphabet = "0123456789+-*/() \xE2\x88\x92\xC3\x97\xB7<>xyz";
  for (int i = 0; i < 20000; ++i) {
    std::string s;
    for (uint64_t n = rng.below(40); n > 0; --n) s += alphabet[rng.below(alphabet.size())];
    const auto v = judge(s, {1, 2}, 3, true);
    EXPECT_EQ(v.reason.empty(), v.kind == Right) << s;
    EXPECT_EQ(v.reason.find('\n'), std::string::npos);
  }
}

TEST(Countdown, RepliesNeedAnEndOfThoughtAndAnEnd) {
  const auto reply = [](const std::string& text) { return judge_countdown_reply({4, 5, 7}, 8, text).kind; };
  EXPECT_EQ(reply("| 7 + 5 = 12 12 - 4 = 8 yes </think> ( 7 + 5 ) - 4 <eos>"), Right);
  EXPECT_EQ(reply("| 7 + 5 = 12 12 - 4 = 8 yes </think> ( 7 + 5 ) - 4"), Wrong);         // cut off
  EXPECT_EQ(reply("( 7 + 5 ) - 4 <eos>"), Wrong);                                        // never left its thought
  EXPECT_EQ(reply("</think> ( 7 + 5 ) - 4 </think> ( 7 + 5 ) - 4 <eos>"), Unparseable);  // the first counts
  EXPECT_EQ(reply("</think> 7 + 5 + 4 <eos> </think> ( 7 + 5 ) - 4 <eos>"), Wrong);
  EXPECT_EQ(reply("<eos> </think> ( 7 + 5 ) - 4 <eos>"), Wrong);  // what follows the end is not the reply
  CountdownOptions open;
  open.end = "";
  EXPECT_EQ(judge_countdown_reply({4, 5, 7}, 8, "</think>7+5-4", open).kind, Right);
}

TEST(Countdown, ReadsProblems) {
  for (const char* text : {"4 5 7 -> 8", "  4 5  7 ->\t8\n", "<bos> 4 5 7 -> 8 <think>"}) {
    const auto p = parse_countdown_problem(text);
    ASSERT_TRUE(p.ok()) << p.message();
    EXPECT_EQ(p->numbers, (std::vector<int64_t>{4, 5, 7}));
    EXPECT_EQ(p->target, 8);
  }
  for (const char* text :
       {"", "4 5 7", "4 5 7 ->", "-> 8", "4 -> 5 -> 6", "4 5 -> 8 9", "4 x -> 8", "4 -5 -> 8", "9999999999999999 -> 1"})
    EXPECT_FALSE(parse_countdown_problem(text).ok()) << text;
}

TEST(Countdown, CanonicalFormIsTheExpressionNotTheValue) {
  const auto canon = [](const std::string& e) { return canonical_countdown(e).value(); };
  EXPECT_EQ(canon("(7+5)-4"), canon("5 + 7 - 4"));
  EXPECT_EQ(canon("4*(2+3)"), canon("( 3 + 2 ) * 4"));
  EXPECT_NE(canon("7-4"), canon("4-7"));
  EXPECT_NE(canon("(7+5)-4"), canon("(7-4)+5"));  // same value, another expression
  EXPECT_NE(canon("2*3"), canon("1+5"));
  EXPECT_NE(canon("1+(2+3)"), canon("(1+2)+3"));  // only operands are swapped
  EXPECT_FALSE(canonical_countdown("7 5").ok());
}

// Against an independent evaluator: every binary tree over three numbers, values in double, all exactly representable.
TEST(Countdown, AgreesWithEnumerationOfAllTrees) {
  const std::vector<int64_t> n{3, 8, 10};
  const std::map<char, double (*)(double, double)> ops{{'+', [](double a, double b) { return a + b; }},
                                                       {'-', [](double a, double b) { return a - b; }},
                                                       {'*', [](double a, double b) { return a * b; }}};
  std::vector<size_t> order{0, 1, 2};
  int checked = 0;
  do {
    const double a = static_cast<double>(n[order[0]]), b = static_cast<double>(n[order[1]]),
                 c = static_cast<double>(n[order[2]]);
    for (const auto& [p, f] : ops)
      for (const auto& [q, g] : ops) {
        const std::string left = fmt::format("({}{}{}){}{}", a, p, b, q, c), right = fmt::format("{}{}({}{}{})", a, p, b, q, c);
        for (int64_t t = -100; t <= 300; ++t) {
          ASSERT_EQ(judge(left, n, t).right(), g(f(a, b), c) == static_cast<double>(t)) << left << " " << t;
          ASSERT_EQ(judge(right, n, t).right(), f(a, g(b, c)) == static_cast<double>(t)) << right << " " << t;
        }
        ++checked;
      }
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(checked, 54);
}

}  // namespace
}  // namespace raison
