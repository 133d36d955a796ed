// Judgements of answers in mathematics, on cases of our own.
#include "verify/math.h"

#include <gtest/gtest.h>

#include <thread>

#include "verify/math_answer.h"
#include "verify/math_balls.h"
#include "verify/math_compare.h"
#include "verify/math_parser.h"

namespace raison {
namespace {

struct MathPair {
  const char *gold, *answer;
};

MathJudgement::Kind boxed_kind(const char* gold, const std::string& answer) {
  return judge_math_answer(gold, "\\boxed{" + answer + "}").kind;
}

void expect_same(std::initializer_list<MathPair> pairs) {
  for (const MathPair& p : pairs) EXPECT_EQ(boxed_kind(p.gold, p.answer), MathJudgement::Same) << p.gold << " | " << p.answer;
}

// Different, and neither unparseable nor the same when the two change places.
void expect_different(std::initializer_list<MathPair> pairs) {
  for (const MathPair& p : pairs) {
    EXPECT_EQ(boxed_kind(p.gold, p.answer), MathJudgement::Different) << p.gold << " | " << p.answer;
    EXPECT_NE(boxed_kind(p.answer, p.gold), MathJudgement::Same) << p.answer << " | " << p.gold;
  }
}

TEST(Math, NumbersAreExact) {
  expect_same({{"42", "42"},
               {"42", "042"},
               {"-3", " - 3"},
               {"1234567", "1,234,567"},
               {"1234567", "1{,}234{,}567"},
               {"1234567", "1,\\!234,\\!567"},
               {"1234567", "1\\,234\\,567"},
               {"1234567", "1 234 567"},
               {"1234567", "1.234.567"},
               {"0.5", ".5"},
               {"\\frac12", "0.5"},
               {"\\frac{3}{4}", "\\dfrac34"},
               {"\\frac{3}{4}", "{3 \\over 4}"},
               {"\\frac{3}{4}", "-3/-4"},
               {"3\\frac{1}{7}", "22/7"},
               {"3\\frac{1}{7}", "3 1/7"},
               {"\\frac{1}{3}", "0.\\overline{3}"},
               {"\\frac{1}{6}", "0.1\\overline{6}"},
               {"1", "0.\\overline{9}"},
               {"6.02 \\times 10^{23}", "602000000000000000000000"},
               {"0.00015", "1.5e-4"},
               {"2^{100}", "1267650600228229401496703205376"},
               {"120", "5!"},
               {"\\binom{100}{50}", "\\frac{100!}{50!\\,50!}"},
               {"7", "\\lfloor 7.9 \\rfloor"}});
  expect_different({{"\\frac13", "0.333"},
                    {"\\frac13", "0.333333"},
                    {"\\frac23", "0.67"},
                    {"1", "0.999999999999999999"},
                    {"0", "10^{-400}"},
                    {"2^{100}", "1267650600228229401496703205377"},
                    {"1234", "1,23,4"},
                    {"3\\frac17", "\\frac37"},
                    {"1000000.1", "1000000.1000001"},
                    {"0.0000004", "0"}});
}

TEST(Math, LongDecimalsMayBeRounded) {
  expect_same({{"\\sqrt2", "1.41421356237309"},
               {"\\sqrt2", "1.41421356237310"},
               {"\\sqrt2", "1.4142135623731"},
               {"\\frac{1}{12}", "0.0833333333333333"}});
  expect_different({{"\\sqrt2", "1.41421356237312"},
                    {"\\sqrt2", "1.41421356"},
                    {"\\pi", "3.14159"},
                    {"0.7071067811865", "0.7071067811866"}});
  EXPECT_EQ(judge_math_answer("\\frac{8}{3}", "\\boxed{2.67}", {.decimals = 2}).kind, MathJudgement::Same);
  EXPECT_EQ(judge_math_answer("\\frac{8}{3}", "\\boxed{2.66}", {.decimals = 2}).kind, MathJudgement::Different);
  EXPECT_EQ(judge_math_answer("\\frac{8}{3}", "\\boxed{2.7}", {.decimals = 2}).kind, MathJudgement::Different);
  EXPECT_EQ(judge_math_answer("2.667", "\\boxed{2.67}", {.decimals = 2}).kind, MathJudgement::Same);
  EXPECT_EQ(judge_math_answer("(0, \\pi]", "\\boxed{(0, 3.14]}", {.decimals = 2}).kind, MathJudgement::Same);
}

TEST(Math, ConstantsOfSurdsPiLogsAndAngles) {
  expect_same({{"\\sqrt{2}+\\sqrt{3}", "\\sqrt{5+2\\sqrt{6}}"},
               {"1", "\\sqrt[3]{2+\\sqrt{5}}+\\sqrt[3]{2-\\sqrt{5}}"},
               {"-2", "\\sqrt[3]{-8}"},
               {"-2", "(-8)^{1/3}"},
               {"2\\sqrt3", "\\sqrt{12}"},
               {"2\\sqrt3",
                "2\xE2\x88\x9A"
                "3"},
               {"\\frac{1}{\\sqrt2}", "\\frac{\\sqrt2}{2}"},
               {"\\frac{\\sqrt6+\\sqrt2}{4}", "\\sin 75^\\circ"},
               {"\\frac{\\sqrt3}{2}", "\\cos\\frac{\\pi}{6}"},
               {"\\frac{\\pi}{4}", "\\arctan 1"},
               {"\\frac{\\pi}{4}", "\\tan^{-1}(1)"},
               {"\\log_2 3", "\\frac{\\ln 3}{\\ln 2}"},
               {"\\ln 6", "\\ln 2 + \\ln 3"},
               {"3", "\\log_2 8"},
               {"e^{i\\pi}", "-1"},
               {"\\frac12+\\frac{\\sqrt3}{2}i", "e^{i\\pi/3}"},
               {"-4", "(1+i)^4"},
               {"2i", "\\sqrt{-4}"},
               {"-i", "\\frac{1}{i}"},
               {"16\\pi", "\\pi \\cdot 4^2"}});
  expect_different({{"\\sqrt{5+2\\sqrt6}", "\\sqrt3-\\sqrt2"},
                    {"2\\sqrt3", "2+\\sqrt3"},
                    {"\\pi", "\\frac{355}{113}"},
                    {"3+4i", "3-4i"},
                    {"0", "e^{-5000}"},
                    {"0", "\\sqrt2 \\cdot 10^{-2000}"},
                    {"\\sqrt{1000001}-1000", "0.0005"},
                    // Ramanujan's near integer is an integer to twelve places only.
                    {"262537412640768744", "e^{\\pi\\sqrt{163}}"}});
}

TEST(Math, TheBoundDecidesAlgebraicNumbers) {
  const auto value = [](const char* text) {
    auto e = parse_math(text);
    EXPECT_TRUE(e.ok()) << text;
    return e.ok() ? *e : math_number("0");
  };
  MathBudget budget;
  EXPECT_EQ(same_constant(value("\\sqrt{2}\\sqrt{3}"), value("\\sqrt{6}"), &budget), Sameness::Same);
  // Two numbers 10^-40 apart, and two that are not.
  EXPECT_EQ(same_constant(value("\\sqrt{2}+10^{-40}"), value("\\sqrt{2}"), &budget), Sameness::Different);
  EXPECT_EQ(same_constant(value("\\sqrt{2}+10^{-900}"), value("\\sqrt{2}"), &budget), Sameness::Different);
  EXPECT_EQ(same_constant(value("\\sqrt[5]{2}\\sqrt[7]{3}"), value("\\sqrt[35]{2^7 3^5}"), &budget), Sameness::Same);
  EXPECT_EQ(same_constant(value("\\frac{1}{\\sqrt2-\\sqrt2}"), value("1"), &budget), Sameness::Unknown);
  EXPECT_EQ(same_constant(value("\\frac{1}{1-1}"), value("1"), &budget), Sameness::Undefined);
}

TEST(Math, FunctionsOfSymbols) {
  expect_same({{"x^2-1", "(x-1)(x+1)"},
               {"(x+y)^3", "x^3+3x^2y+3xy^2+y^3"},
               {"\\frac{x^2-4}{x-2}", "x+2"},
               {"\\frac{1}{x}+\\frac{1}{y}", "\\frac{x+y}{xy}"},
               {"x^{-2}", "\\frac{1}{x^2}"},
               {"x^2", "x**2"},
               {"\\sin^2 x+\\cos^2 x", "1"},
               {"\\sin 2x", "2\\sin x\\cos x"},
               {"\\tan^2 y+1", "\\sec^2 y"},
               {"\\ln(x^2)", "2\\ln x"},
               {"\\sqrt{x^2}", "|x|"},
               {"\\sqrt{ab}", "\\sqrt a\\sqrt b"},
               {"2^{n+1}", "2\\cdot 2^n"},
               {"n!", "n(n-1)!"},
               {"\\frac{n(n+1)}{2}", "\\binom{n+1}{2}"},
               {"x_1+x_2", "x_{2}+x_{1}"},
               {"\\frac43\\pi r^3", "\\frac{4\\pi r^3}{3}"},
               {"f(x+1)", "f(1+x)"}});
  expect_different({{"x^2-1", "(x-1)^2"},
                    {"\\frac{a}{b+c}", "\\frac ab+\\frac ac"},
                    {"|x|", "x"},
                    {"\\sqrt{x^2}", "x"},
                    {"\\sin 2x", "2\\sin x"},
                    {"a^2b", "ab^2"},
                    {"f(x)", "f(y)"},
                    {"f(x+y)", "f(x)+f(y)"},
                    {"2k", "2w"},
                    {"6-3m", "3"},
                    {"7t", "7"}});
}

TEST(Math, EquationsAndInequalities) {
  expect_same({{"5", "x=5"},
               {"x=5", "5"},
               {"x=5", "5=x"},
               {"7", "x = 3+4 = 7"},
               {"10", "m+n = 10"},
               {"\\frac{2}{3}", "P(A) = \\frac{2}{3}"},
               {"y=2x+1", "2x-y+1=0"},
               {"y=2x+1", "2x+1"},
               {"x+2y=3", "2x+4y=6"},
               {"x^2/4+y^2/3=1", "3x^2+4y^2=12"},
               {"\\frac{70}{9}", "\\frac{70}{9} \\approx 7.78"},
               {"x\\ge 2", "2 \\le x"},
               {"x\\ge 2", "[2,\\infty)"},
               {"[2,5)", "2 \\le x < 5"},
               {"(-1,1)", "|x|<1"},
               {"x<1", "-x>-1"},
               {"a < b", "b - a > 0"},
               {"(-\\infty,-1)\\cup(1,\\infty)", "x<-1 \\text{ or } x>1"},
               {"(1,3)", "x > 1 \\text{ and } x < 3"},
               {"x \\ne 0", "(-\\infty,0)\\cup(0,\\infty)"},
               {"\\{x \\mid x>3\\}", "(3,\\infty)"}});
  expect_different({{"x=5", "y=5"},
                    {"x=5", "x=-5"},
                    {"7", "8=7"},
                    {"7", "7 \\approx 8"},
                    {"6", "2x=6"},
                    {"0", "a^2+b=0"},
                    {"y=2x+1", "y=2x-1"},
                    {"x\\ge 2", "x>2"},
                    {"x<1", "x>-1"},
                    {"5", "4<5"}});
  // A chain must be true all along to count as an answer; a gold's is trusted.
  EXPECT_EQ(boxed_kind("7", "x = 5 = 7"), MathJudgement::Different);
}

TEST(Math, ListsSetsTuplesAndMatrices) {
  expect_same({{"1,2", "2, 1"},
               {"1,2", "1 \\text{ and } 2"},
               {"\\{1,2,3\\}", "\\{3,2,1,1\\}"},
               {"\\{1,2,3\\}", "1,2,3"},
               {"\\pm 3", "3, -3"},
               {"2\\pm\\sqrt5", "\\{2-\\sqrt5, 2+\\sqrt5\\}"},
               {"x=1,y=2", "y=2,x=1"},
               {"(1,2)", "x=1,y=2"},
               {"(1,2)", "\\langle 1,2\\rangle"},
               {"(1,2),(3,4)", "(3,4),(1,2)"},
               {"(1;2)", "(1,2)"},
               {"(1,234)", "(1, 234)"},
               {"\\emptyset", "\\{\\}"},
               {"1:2:3", "2:4:6"},
               {"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\left[\\begin{array}{cc}1&2\\\\3&4\\end{array}\\right]"},
               {"\\begin{pmatrix}6&8\\\\10&12\\end{pmatrix}",
                "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}+\\begin{pmatrix}5&6\\\\7&8\\end{pmatrix}"},
               {"\\begin{pmatrix}7&10\\\\15&22\\end{pmatrix}",
                "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"},
               {"\\begin{pmatrix}2\\\\4\\end{pmatrix}", "2\\begin{pmatrix}1\\\\2\\end{pmatrix}"},
               {"(1,2)\\cup(2,3)", "(1,3)\\setminus\\{2\\}"},
               {"[1,3]", "[1,2]\\cup[2,3]"},
               {"\\mathbb{R}", "(-\\infty,\\infty)"}});
  expect_different({{"1,2", "1"},
                    {"1,2", "1,2,3"},
                    {"\\pm 3", "3"},
                    {"(1,2)", "(2,1)"},
                    {"(1,2)", "\\{1,2\\}"},
                    {"(1,2)", "[1,2]"},
                    {"[1,4]", "\\{1,4\\}"},
                    {"[0,1]", "[0,1)"},
                    {"(1,2)\\cup(2,3)", "(1,3)"},
                    {"(1,2)\\cup(3,4)", "(1,2)\\cap(3,4)"},
                    {"(1,2)", "x=2,y=1"},
                    {"\\emptyset", "0"},
                    {"\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1&2\\end{pmatrix}"},
                    {"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}"}});
}

TEST(Math, UnitsPercentBasesAndWords) {
  expect_same({{"5\\text{ cm}", "5"},
               {"5", "5\\,\\mathrm{m/s}"},
               {"5\\text{ cm}", "5 \\text{ centimetres}"},
               {"12\\text{ cm}^2", "12 square centimeters"},
               {"\\$4.50", "4.5"},
               {"\\$4.50", "4.50 dollars"},
               {"30^\\circ", "30"},
               {"30^\\circ", "30 \\text{ degrees}"},
               {"90^\\circ", "50^\\circ+40^\\circ"},
               {"25\\%", "25 percent"},
               {"33\\frac13\\%", "\\frac13"},
               {"22\\frac12^\\circ", "22.5"},
               {"12", "\\textbf{(C)}\\ 12"},
               {"\\text{(C)}", "\\textbf{(C)}\\ 12"},
               {"81", "\\textbf{(081)}"},
               {"25\\%", "\\frac14"},
               {"52_8", "52_{8}"},
               {"52_8", "52_{\\text{8}}"},
               {"\\text{Tuesday}", "Tuesday"},
               {"\\text{Tuesday}", "\\textbf{TUESDAY}"},
               {"\\text{(B)}", "B"},
               {"\\text{(B)}", "\\textbf{(B)}"},
               {"\\text{no solution}", "\\text{No solution}"}});
  expect_different({{"5\\text{ cm}", "5\\text{ m}"},
                    {"12\\text{ cm}^2", "12\\text{ cm}^3"},
                    {"25\\%", "26\\%"},
                    {"52_8", "52_9"},
                    {"52_8", "42"},
                    {"\\text{Tuesday}", "\\text{Thursday}"},
                    {"\\text{(B)}", "\\text{(D)}"},
                    {"\\text{(B)}", "\\text{(D)}\\ 12"},
                    {"13", "\\text{(D)}\\ 12"},
                    {"\\text{(A)}", "\\text{(A)(B)(C)(D)}"},
                    {"\\text{even}", "\\text{not even}"},
                    {"\\text{listen}", "\\text{silent}"}});
}

TEST(Math, OneAnswerCannotBeTwo) {
  for (const char* reply :
       {"\\boxed{7 \\text{ or } 8}", "\\boxed{7 \\text{ or maybe } 8}", "\\boxed{7 \\text{ (or 8)}}",
        "\\boxed{7 \\text{ not 8}}", "\\boxed{7 = 8}", "\\boxed{x = 8 = 7}", "\\boxed{7 \\approx 8}", "\\boxed{8 \\approx 7}",
        "\\boxed{200 \\approx 7}", "\\boxed{7}, \\boxed{8}", "\\boxed{8}\\boxed{7}", "The answer is 7 or 8.",
        "The answer is $7$ and $8$.", "7, 8", "\\boxed{6 < 7}", "\\boxed{7 \\pm 1}", "\\boxed{7; 8}", "\\boxed{7:8}"})
    EXPECT_NE(judge_math_answer("7", reply).kind, MathJudgement::Same) << reply;
}

TEST(Math, FindsTheAnswerInAReply) {
  const auto found = [](const char* reply) { return extract_math_answer(reply).value_or("-"); };
  EXPECT_EQ(found("First \\boxed{2}. Later, after much more thought about all of it, \\boxed{3}."), "3");
  EXPECT_EQ(found("\\boxed{1} and \\boxed{2}"), "1, 2");
  EXPECT_EQ(found("\\boxed{11} or rather \\boxed{12}"), "12");
  EXPECT_EQ(found("so \\fbox{12}"), "12");
  EXPECT_EQ(found("so \\boxed 5"), "5");
  EXPECT_EQ(found("so \\boxed {12}"), "12");
  EXPECT_EQ(found("so $\\boxed{\\frac{1}{2}}$"), "\\frac{1}{2}");
  EXPECT_EQ(found("\\boxed{\\{1,2\\}}"), "\\{1,2\\}");
  EXPECT_EQ(found("<think>\\boxed{1}</think> It is \\boxed{2}"), "2");
  EXPECT_EQ(found("The answer is $7$ or $8$."), "7, 8");
  EXPECT_EQ(found("The final answer is $15$, since $3 \\cdot 5 = 15$."), "15");
  EXPECT_EQ(found("answer: 15 (not 16)"), "15");
  EXPECT_EQ(found("**Answer:** $x+1$"), "x+1");
  EXPECT_EQ(found("Final Answer: The largest $n$ is 34."), "34");
  EXPECT_EQ(found("steps...\n#### 1,234"), "1,234");
  EXPECT_EQ(found("<answer> 5 </answer> as I said"), "5");
  EXPECT_EQ(found("$x^2 = 16$ so $x = 4$"), "x = 4");
  EXPECT_EQ(found("With $d = \\frac{90}{n}$ there are 12 sequences."), "12");
  EXPECT_EQ(found("She makes $18 every day."), "18");
  EXPECT_EQ(found("He pays 9 * 2 = $<<9*2=18>>18 per day."), "18");
  EXPECT_EQ(found("After 3 hours at 5 km/h he has gone 15 km."), "15");
  EXPECT_EQ(found("The slope equals 7/2."), "7/2");
  EXPECT_EQ(found("one million is 1 000 000"), "1000000");
  EXPECT_EQ(found("I do not know."), "-");
  EXPECT_EQ(found("The answer is $?$"), "?");
  EXPECT_EQ(found("\\boxed{}"), "-");
  EXPECT_EQ(found(""), "-");
}

TEST(Math, UnreadableIsNotWrong) {
  for (const char* reply : {"", "I do not know.", "\\boxed{}", "$$", "The answer is $?$", "\\boxed{1 2}", "\\boxed{\\frac{1}}",
                            "\\boxed{(1,2}", "\\boxed{+}"})
    EXPECT_EQ(judge_math_answer("9", reply).kind, MathJudgement::Unparseable) << reply;
  EXPECT_EQ(judge_math_answer("0", "$\\frac{0}{0}$").kind, MathJudgement::Different);
  EXPECT_FALSE(same_math_answer("9", "I have no idea").ok());
  EXPECT_TRUE(*same_math_answer("9", "3^2"));
}

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(Math, HostileInputIsBounded) {
  const std::string replies[] = {
      "\\boxed{10^{10^{10}}+1}",
      "\\boxed{9^{9^{9^{9^{9^9}}}}}",
      "\\boxed{2^{-10^{18}}}",
      "\\boxed{(((10^{10^{12}})^{10^{12}})^{10^{12}})^{10^{12}}}",
      "\\boxed{\\sin(10^{10^{10}})}",
      "\\boxed{e^{e^{e^{e^{10}}}}}",
      "\\boxed{\\ln\\ln\\ln 10^{10^{10^{10}}}}",
      "\\boxed{(10^{10})!}",
      "\\boxed{5" + repeated("!", 1000) + "}",
      "\\boxed{\\binom{10^9}{10^8}}",
      "\\boxed{\\sqrt[10^9]{2}}",
      "\\boxed{2^{1/999999999}}",
      "\\boxed{(a+b+c+d+e+f+g+h)^{1000}}",
      "\\boxed{" + repeated("(x+y)(x-z)(y+z)", 100) + "}",
      "\\boxed{(((x+1)^{100}+1)^{100}+1)^{100}}",
      "\\boxed{" + repeated("\\frac{1}{x+", 60) + "1" + repeated("}", 60) + "}",
      "\\boxed{" + repeated("{", 1500) + "13" + repeated("}", 1500) + "}",
      "\\boxed{" + repeated("(", 1500) + "13" + repeated(")", 1500) + "}",
      "\\boxed{" + repeated("\\sqrt{", 300) + "2" + repeated("}", 300) + "}",
      "\\boxed{" + repeated("-", 4000) + "1}",
      "\\boxed{" + repeated("1+", 2000) + "1}",
      "\\boxed{" + repeated("1/", 2000) + "1}",
      "\\boxed{" + repeated("2^", 2000) + "1}",
      "\\boxed{" + repeated("|", 2000) + "}",
      "\\boxed{" + repeated("\\pm 1", 400) + "}",
      "\\boxed{" + repeated("\\sqrt2,", 63) + "1}",
      "\\boxed{" + repeated("1,", 2000) + "1}",
      "\\boxed{\\begin{pmatrix}" + repeated("1&", 1500) + "1\\end{pmatrix}}",
      "\\boxed{" + repeated("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", 90) + "}",
      "\\boxed{" + repeated("9", 4000) + "}",
      "\\boxed{0." + repeated("9", 4000) + "}",
      "\\boxed{1,\\!" + repeated("000,\\!", 600) + "000}",
      repeated("\\boxed{", 140000),
      repeated("$", 1000000),
      repeated("\\(", 500000),
      repeated("$1$ and ", 100000),
      repeated("answer is ", 100000),
      repeated("{", 1000000),
      repeated("1,", 500000),
      std::string(3000000, '7'),
      std::string("\0\xFF\xFE\x80 \\boxed{\xC3\x28}", 16),
  };
  for (const std::string& reply : replies) {
    const MathJudgement a = judge_math_answer("17", reply), b = judge_math_answer("17", reply);
    EXPECT_NE(a.kind, MathJudgement::Same) << reply.substr(0, 80);
    EXPECT_EQ(a.kind, b.kind) << reply.substr(0, 80);
    EXPECT_LE(a.answer.size(), 4096u);
    // As its own gold: whatever is said of it, it is said.
    const auto own = extract_math_answer(reply);
    if (own) (void)judge_math_answer(*own + "+1", reply);
  }
  EXPECT_EQ(judge_math_answer("10^{10^{10}}", "\\boxed{10^{10^{10}}}").kind, MathJudgement::Same);
  EXPECT_EQ(judge_math_answer("10^{10^{10}}", "\\boxed{10^{10^{10}}+1}").kind, MathJudgement::Different);
}

TEST(Math, ThreadsDoNotDisturbEachOther) {
  std::vector<std::thread> threads;
  std::vector<int> right(4, 0);
  for (size_t t = 0; t < right.size(); ++t)
    threads.emplace_back([&right, t] {
      for (int i = 0; i < 50; ++i) {
        const std::string n = std::to_string(i + 2);
        if (judge_math_answer("\\sqrt{" + n + "}+\\pi", "$\\pi+" + n + "^{1/2}$").kind == MathJudgement::Same) ++right[t];
        if (judge_math_answer("(x+1)(x-" + n + ")", "$x^2+x-" + n + "x-" + n + "$").kind == MathJudgement::Same) ++right[t];
      }
    });
  for (std::thread& t : threads) t.join();
  for (const int n : right) EXPECT_EQ(n, 100);
}

}  // namespace
}  // namespace raison
