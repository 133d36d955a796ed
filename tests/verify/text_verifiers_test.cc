#include "verify/judging.h"
#include "verify/plain_text.h"
#include "verify/scripts.h"

namespace raison {
namespace {

using nlohmann::json;
using testing::reply_of;
using testing::verdict_on;
using testing::verifier_of;

TEST(PlainText, OneLineOfValidUtf8) {
  EXPECT_EQ(one_line("  a\nb\tc \n", 100), "a b c");
  EXPECT_EQ(one_line("x\x1b[2Jy\x7f", 100), "x [2Jy ");
  EXPECT_EQ(one_line("gr\xc3\xbc\xc3\x9f", 100), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(one_line("a\xff\xc3+\xed\xa0\x80", 100), "a??+???");
  EXPECT_EQ(one_line("a\xe2\x80\xa8"
                     "b\xc2\x85"
                     "c",
                     100),
            "a b c");
  EXPECT_EQ(one_line(std::string(200, 'x'), 10), "xxxxxxx...");
  EXPECT_EQ(one_line("\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc", 6), "\xc3\xbc...");
  EXPECT_EQ(last_line("a\nb\r\n\n"), "b");
  EXPECT_EQ(last_line(""), "");
}

TEST(ExactVerifier, ComparesTextNumbersAndLists) {
  const auto v = verifier_of("exact");
  EXPECT_TRUE(verdict_on(v, {{"answer", "Paris"}}, "It is <answer> Paris </answer>.").right());
  EXPECT_TRUE(verdict_on(v, {{"answer", "Paris"}}, "\\boxed{Paris}").right());
  EXPECT_TRUE(verdict_on(v, {{"answer", "New  York"}}, " New\nYork\n").right());
  EXPECT_TRUE(verdict_on(v, {{"answer", 42}}, "42").right());
  EXPECT_TRUE(verdict_on(v, {{"answer", json::parse("[\"a\", 3.5]")}}, "3.5").right());
  EXPECT_EQ(verdict_on(v, {{"answer", "Paris"}}, "paris").reason, "it is not Paris");
  EXPECT_EQ(verdict_on(v, {{"answer", "Paris"}}, "It is Paris.").kind, Verdict::Wrong);
  EXPECT_EQ(verdict_on(v, {{"answer", "Paris"}}, "<answer></answer>").kind, Verdict::Unparseable);
  EXPECT_EQ(verdict_on(v, {{"answer", "Paris"}}, "").kind, Verdict::Unparseable);
  const auto loose = verifier_of("exact", {{"case", false}});
  EXPECT_TRUE(verdict_on(loose, {{"answer", "Paris"}}, "pARIS").right());
  const auto strict = verifier_of("exact", {{"spaces", true}});
  EXPECT_FALSE(verdict_on(strict, {{"answer", "a b"}}, "a  b").right());
  EXPECT_TRUE(verdict_on(strict, {{"answer", "a b"}}, " a b ").right());
  for (const char* wrong :
       {"{}", "null", R"({"answer": null})", R"({"answer": []})", R"({"answer": " "})", R"({"answer": [["a"]]})"})
    EXPECT_FALSE(v->check({"", json::parse(wrong)}).ok()) << wrong;
}

TEST(RegexVerifier, MatchesTheAnswerOrTheText) {
  const auto v = verifier_of("regex");
  EXPECT_TRUE(verdict_on(v, {{"pattern", "^\\d+ apples?$"}}, "\\boxed{12 apples}").right());
  EXPECT_FALSE(verdict_on(v, {{"pattern", "^\\d+ apples?$"}}, "many apples").right());
  EXPECT_TRUE(verdict_on(v, {{"pattern", "(?i)\\bPARIS\\b"}}, "It is Paris.").right());
  const auto full = verifier_of("regex", {{"pattern", "a|ab"}, {"full", true}});
  EXPECT_TRUE(verdict_on(full, json::object(), "ab").right());
  EXPECT_FALSE(verdict_on(full, json::object(), "abc").right());
  const auto text = verifier_of("regex", {{"pattern", "wait"}, {"field", "text"}});
  EXPECT_TRUE(verdict_on(text.get(), json::object(), reply_of("4", "no, wait")).right());
  EXPECT_FALSE(verdict_on(text.get(), json::object(), reply_of("4", "sure")).right());
  EXPECT_TRUE(verdict_on(v, {{"pattern", "b"}},
                         "a\xff\xfe"
                         "b")
                  .right());  // no UTF-8
  EXPECT_FALSE(v->check({"", json::object()}).ok());
  EXPECT_FALSE(v->check({"", {{"pattern", 3}}}).ok());
  EXPECT_FALSE(v->check({"", {{"pattern", "("}}}).ok());
  EXPECT_EQ(make_verifier("regex", {{"pattern", "("}}).message(),
            "regex: pattern \"(\": missing closing parenthesis (at byte 1)");
  EXPECT_FALSE(make_verifier("regex", {{"pattern", "\\C"}}).ok());
  EXPECT_FALSE(make_verifier("regex", {{"pattern", std::string(100000, 'a')}}).ok());
  EXPECT_FALSE(make_verifier("regex", {{"field", "thought"}}).ok());
}

// Patterns that take ages on some replies: each is given up, and a plain search of as long a reply is not.
TEST(RegexVerifier, GivesUpOnCatastrophes) {
  const auto v = verifier_of("regex");
  const std::string as(100000, 'a');
  for (const char* pattern : {"(a+)+$", "(a|a)*b", "(a*)*b", "^(a|aa)+$b", "(.*)*x", "(?:a?){30}a{30}b", "(a+)+b\\1",
                              "((a*)*)*\\2c", "[a-z]*\\d", "(?R)?x", "(a(?1)?)b", "(?=(a+))a*b\\1"}) {
    const Verdict got = verdict_on(v, {{"pattern", pattern}}, as + "!");
    EXPECT_TRUE(got.kind == Verdict::Failed || got.kind == Verdict::Wrong) << pattern;
    EXPECT_EQ(got.reason.find('\n'), std::string::npos);
  }
  EXPECT_EQ(verdict_on(v, {{"pattern", "(a+)+$"}}, as + "!").kind, Verdict::Failed);
  EXPECT_TRUE(verdict_on(v, {{"pattern", "the (end|finish)$"}}, as + " the end").right());
  EXPECT_TRUE(verdict_on(v, {{"pattern", "(?s)^.*the end"}}, as + "\n the end").right());
}

Verdict format_of(const json& options, const std::string& text, bool ended = true) {
  const auto v = verifier_of("format", options);
  Reply reply;
  reply.text = text;
  reply.ended = reply.thought_ended = ended;
  return verdict_on(v.get(), nullptr, reply);
}

TEST(FormatVerifier, WantsOneThoughtAndAnAnswer) {
  EXPECT_EQ(format_of(nullptr, "<think>\nhm\n</think>\n\n4").score, 1);
  EXPECT_EQ(format_of(nullptr, "hm</think>4").score, 1);  // the prompt began it
  EXPECT_EQ(format_of(nullptr, "<think></think>4").score, 1);
  for (const char* wrong : {"", "4", "<think>hm", "<think>hm</think>", "<think>hm</think>  \n", "</think>",
                            "well <think>hm</think>4", "<think><think>hm</think>4", "<think>hm</think></think>4",
                            "hm</think>4<think>", "<think>hm</think>4</think>", "<Think>hm</Think>4", "</think>4<think>"}) {
    const Verdict got = format_of(nullptr, wrong);
    EXPECT_EQ(got.score, 0) << wrong;
    EXPECT_EQ(got.kind, Verdict::Wrong) << wrong;
    EXPECT_FALSE(got.reason.empty());
  }
  EXPECT_EQ(format_of({{"opened", true}}, "hm</think>4").score, 1);
  EXPECT_EQ(format_of({{"opened", true}}, "<think>hm</think>4").score, 0);
  EXPECT_EQ(format_of({{"opened", false}}, "hm</think>4").score, 0);
  EXPECT_EQ(format_of({{"opened", false}}, "<think>hm</think>4").score, 1);
  EXPECT_EQ(format_of({{"begin", "<r>"}, {"end", "</r>"}}, "<r>hm</r>4").score, 1);
  EXPECT_EQ(format_of(nullptr, "<think>hm", false).reason, "</think> stands in it 0 times");
  EXPECT_FALSE(make_verifier("format", {{"end", ""}}).ok());
}

TEST(FormatVerifier, WantsAnAnswersTagsWhenAsked) {
  const json tagged = {{"answer_tag", true}};
  EXPECT_EQ(format_of(tagged, "<think>hm</think>\n<answer> 4 </answer>\n").score, 1);
  for (const char* wrong :
       {"<think>hm</think>4", "<think>hm</think><answer></answer>", "<think>hm</think><answer>4",
        "<think>hm</think>x<answer>4</answer>", "<think>hm</think><answer>4</answer>x", "<think><answer>4</answer></think>",
        "<think>hm</think></answer><answer>", "<think>hm</think><answer>4</answer><answer>5</answer>",
        "<think>hm</think><answer></answer", "<think>hm</think><answer>"})
    EXPECT_EQ(format_of(tagged, wrong).score, 0) << wrong;
}

TEST(LengthVerifier, PunishesSoftlyThenFully) {
  const auto v = verifier_of("length", {{"max", 20480}, {"cache", 4096}});
  const auto score = [&](int64_t tokens, bool ended) {
    Reply reply;
    reply.tokens = tokens;
    reply.ended = ended;
    return verdict_on(v.get(), nullptr, reply).score;
  };
  EXPECT_EQ(score(0, true), 0);
  EXPECT_EQ(score(16384, true), 0);
  EXPECT_EQ(score(18432, true), -0.5);
  EXPECT_EQ(score(20480, true), -1);
  EXPECT_EQ(score(16385, true), -1.0 / 4096);
  EXPECT_EQ(score(20481, false), -1);
  EXPECT_EQ(score(100, false), 0);
  EXPECT_FALSE(make_verifier("length").ok());
  EXPECT_FALSE(make_verifier("length", {{"max", 10}, {"cache", 11}}).ok());
  EXPECT_TRUE(make_verifier("length", {{"max", 1}}).ok());
}

Verdict language_of(const std::string& language, const std::string& thought) {
  const auto v = verifier_of("language", {{"language", language}});
  Reply reply = reply_of("x", thought);
  reply.ended = false;
  return verdict_on(v.get(), nullptr, reply);
}

TEST(LanguageVerifier, CountsWordsByTheirScript) {
  EXPECT_EQ(language_of("en", "So we add 3 and 4.").score, 1);
  EXPECT_EQ(language_of("en", "So we \xe6\x88\x91\xe4\xbb\xac add").score, 0.75);  // 我们: one word of two letters
  EXPECT_EQ(language_of("zh", "\xe6\x88\x91\xe4\xbb\xac\xe8\xa7\x89\xe5\xbe\x97 x = 3").score, 1);  // x is a variable
  EXPECT_EQ(language_of("zh", "\xe6\x88\x91\xe4\xbb\xac $\\frac{a}{b}$").score, 1);
  EXPECT_EQ(language_of("ja", "\xe3\x81\x93\xe3\x82\x8c\xe6\xbc\xa2\xe5\xad\x97").score, 1);  // これ漢字
  EXPECT_EQ(language_of("zh", "\xe3\x81\x93\xe3\x82\x8c\xe6\xbc\xa2\xe5\xad\x97").score, 0.5);
  EXPECT_EQ(language_of("ru", "\xd0\xb4\xd0\xb0 no").score, 0.5);
  EXPECT_EQ(language_of("ru", "\xd0\xb4\xd0\xb0no").score, 0);  // of two scripts: of neither language
  EXPECT_EQ(language_of("ko", "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4 \xeb\xa7\x90").score, 1);
  EXPECT_EQ(language_of("ar", "\xd9\x86\xd8\xb9\xd9\x85").score, 1);
  EXPECT_EQ(language_of("en", "na\xc3\xafve cafe\xcc\x81").score, 1);
  EXPECT_EQ(language_of("en", "").kind, Verdict::Unparseable);
  EXPECT_EQ(language_of("en", "3 + 4 = 7").kind, Verdict::Unparseable);
  EXPECT_EQ(language_of("en", "\xff\xfe\xf0\x9f").kind, Verdict::Unparseable);
  EXPECT_EQ(language_of("ru", "yes \xd0\xb4\xd0\xb0").reason, "1 of 2 words are not in the script of ru");
  EXPECT_EQ(make_verifier("language", {{"language", "klingon"}}).message(),
            "language: language must be a code like en, zh, ru, ar, ja, ko; \"klingon\" is not known");
  EXPECT_FALSE(make_verifier("language").ok());
  EXPECT_FALSE(make_verifier("language", {{"language", "en de"}}).ok());
}

TEST(Scripts, RangesAreInOrderAndApart) {
  EXPECT_EQ(script_of('A'), Script::Latin);
  EXPECT_EQ(script_of('Z' + 1), Script::None);
  EXPECT_EQ(script_of(0x40F), Script::Cyrillic);
  EXPECT_EQ(script_of(0x4E00), Script::Han);
  EXPECT_EQ(script_of(0x2A6DF), Script::Han);
  EXPECT_EQ(script_of(0x1F600), Script::None);
  // The order is what lookups rest on: every letter of a range must be found as its script where it stands in the list.
  Script before = Script::None;
  int changes = 0;
  for (uint32_t p = 0; p < 0x33000; ++p) {
    changes += script_of(p) != before ? 1 : 0;
    before = script_of(p);
  }
  EXPECT_GT(changes, 120);
}

}  // namespace
}  // namespace raison
