// The thinking state machine: kinds, exact counts, budgets, minimums, marks of several tokens, loops.
#include "engine/think.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace raison::testing {
namespace {

constexpr int32_t kOpen = 100, kClose = 101, kNewline = 10;

std::shared_ptr<const ThinkRules> make(ThinkMarks marks) {
  auto r = ThinkRules::create(std::move(marks));
  EXPECT_TRUE(r.ok()) << (r.ok() ? "" : r.message());
  return r.ok() ? *r : nullptr;
}
ThinkMarks plain_marks() { return {{{kOpen}}, {{kClose}}, {kNewline, kClose, kNewline}, false}; }
std::shared_ptr<const ThinkRules> rules() { return make(plain_marks()); }

// Pushes tokens, and what is forced after each; returns one letter a token: t, m, a.
struct Driver {
  ThinkState state;
  std::vector<int32_t> tokens;
  std::string kinds;
  void take(const std::vector<int32_t>& ids) {
    for (const int32_t id : ids) {
      std::vector<TokenKind> out;
      state.push(id, &out);
      tokens.push_back(id);
      letters(out);
    }
  }
  void letters(const std::vector<TokenKind>& out) {
    for (const TokenKind k : out) kinds += k == TokenKind::Thought ? 't' : k == TokenKind::Mark ? 'm' : 'a';
  }
  void push(int32_t id) {
    take({id});
    take(state.take_forced());
  }
  void finish() {
    std::vector<TokenKind> out;
    state.finish(&out);
    letters(out);
  }
};

TEST(Think, APromptThatOpensTheThought) {
  Driver d{{rules(), {}, ThinkPhase::Thinking}, {}, {}};
  for (const int32_t t : {1, 2, 3, kClose, 4, kOpen, 5, kClose}) d.push(t);
  EXPECT_EQ(d.kinds, "tttmaaaa") << "a later mark is the answer's text";
  EXPECT_EQ(d.state.thought_tokens(), 3);
  EXPECT_EQ(d.state.ended_by(), ThinkEnd::Model);
}

TEST(Think, AModelThatOpensItsThoughtItself) {
  Driver d{{rules(), {}, ThinkPhase::Undecided}, {}, {}};
  for (const int32_t t : {kNewline, kOpen, 1, kOpen, 2, kClose, 3}) d.push(t);
  EXPECT_EQ(d.kinds, "amtttma");
  EXPECT_EQ(d.state.thought_tokens(), 3) << "an opening mark within the thought is thought";
}

TEST(Think, AModelThatDoesNotThinkThoughItMight) {
  Driver closed{{rules(), {}, ThinkPhase::Undecided}, {}, {}};
  for (const int32_t t : {kNewline, kClose, 1, kOpen, 2}) closed.push(t);
  EXPECT_EQ(closed.kinds, "amaaa") << "an end without a beginning begins the answer";
  Driver late{{rules(), {}, ThinkPhase::Undecided}, {}, {}};
  for (int i = 0; i < 16; ++i) late.push(1);
  EXPECT_EQ(late.state.phase(), ThinkPhase::Answering);
  late.push(kOpen);
  EXPECT_EQ(late.kinds, std::string(17, 'a')) << "too late for a thought: it is what the answer speaks of";
}

// Thousands of tokenisations of one mark cost no more than their length.
TEST(Think, ManyWaysToWriteAMark) {
  ThinkMarks marks;
  for (int32_t a = 0; a < 100; ++a)
    for (int32_t b = 0; b < 100; ++b) marks.close.push_back({1000 + a, 5, 2000 + b});
  marks.forced_close = {9, 1000, 5, 2000};
  const auto many = make(marks);
  Driver d{{many, {.minimum = 3}, ThinkPhase::Thinking}, {}, {}};
  for (const int32_t t : {1, 1050, 5}) d.push(t);
  EXPECT_EQ(d.state.counted(), 3) << "what may be a mark counts until it is one";
  EXPECT_EQ(d.kinds, "t");
  d.push(2077);
  EXPECT_EQ(d.kinds, "tmmm");
  Driver short_one{{many, {.minimum = 4}, ThinkPhase::Thinking}, {}, {}};
  for (const int32_t t : {1, 1050, 5}) short_one.push(t);
  EXPECT_EQ(short_one.state.forbidden().size(), 100u);
}

TEST(Think, WithoutRulesAllIsAnswer) {
  Driver d{{nullptr, {}, ThinkPhase::Thinking}, {}, {}};
  for (const int32_t t : {1, kClose, 2}) d.push(t);
  EXPECT_EQ(d.kinds, "aaa");
  EXPECT_EQ(d.state.phase(), ThinkPhase::None);
}

TEST(Think, BudgetsAreExact) {
  for (int64_t budget = 0; budget < 6; ++budget) {
    Driver d{{rules(), {.budget = budget}, ThinkPhase::Thinking}, {}, {}};
    d.take(d.state.take_forced());  // a budget of 0 closes before anything is drawn
    while (d.state.phase() == ThinkPhase::Thinking) d.push(1);
    d.push(2);
    EXPECT_EQ(d.kinds, std::string(static_cast<size_t>(budget), 't') + "mmma");
    EXPECT_EQ(d.state.thought_tokens(), budget);
    EXPECT_EQ(d.state.ended_by(), ThinkEnd::Budget);
    std::vector<int32_t> want(static_cast<size_t>(budget), 1);
    want.insert(want.end(), {kNewline, kClose, kNewline, 2});
    EXPECT_EQ(d.tokens, want);
  }
  // Opened by the model: the mark is not counted.
  Driver d{{rules(), {.budget = 2}, ThinkPhase::Undecided}, {}, {}};
  for (const int32_t t : {kOpen, 1, 2, 3}) d.push(t);
  EXPECT_EQ(d.kinds, "mttmmma");
}

TEST(Think, AModelThatEndsInTimeIsLeftAlone) {
  Driver d{{rules(), {.budget = 3}, ThinkPhase::Thinking}, {}, {}};
  for (const int32_t t : {1, 2, kClose, 3}) d.push(t);
  EXPECT_EQ(d.kinds, "ttma");
  EXPECT_EQ(d.state.ended_by(), ThinkEnd::Model);
}

TEST(Think, TheMinimumRulesOutItsEnd) {
  ThinkState s(rules(), {.minimum = 2}, ThinkPhase::Thinking);
  std::vector<TokenKind> kinds;
  EXPECT_EQ(s.forbidden(), std::vector<int32_t>{kClose});
  EXPECT_TRUE(s.stop_forbidden());
  s.push(1, &kinds);
  EXPECT_EQ(s.forbidden(), std::vector<int32_t>{kClose});
  s.push(2, &kinds);
  EXPECT_TRUE(s.forbidden().empty());
  EXPECT_FALSE(s.stop_forbidden());
  // Before and after a thought nothing is ruled out.
  ThinkState undecided(rules(), {.minimum = 2}, ThinkPhase::Undecided);
  EXPECT_TRUE(undecided.forbidden().empty());
  EXPECT_FALSE(undecided.stop_forbidden());
  // The caller's word counts more than the minimum.
  ThinkState told(rules(), {.minimum = 9}, ThinkPhase::Thinking);
  told.end_now();
  EXPECT_EQ(told.take_forced(), plain_marks().forced_close);
}

TEST(Think, LimitsMayCountMarksAndAnIdMaySatisfyTheMinimum) {
  constexpr int32_t kLo = 1, kHi = 2, kYes = 3;
  const ThinkLimits limits = {.minimum = 3, .marks = {kLo, kHi, kYes}, .satisfied_by = kYes};
  ThinkState s(rules(), limits, ThinkPhase::Thinking);
  std::vector<TokenKind> kinds;
  for (const int32_t t : {9, kLo, 9, 9, kHi, 9}) s.push(t, &kinds);
  EXPECT_EQ(s.counted(), 2);
  EXPECT_FALSE(s.forbidden().empty());
  ThinkState satisfied = s;
  satisfied.push(kYes, &kinds);
  EXPECT_TRUE(satisfied.forbidden().empty());
  s.push(kLo, &kinds);
  EXPECT_TRUE(s.forbidden().empty());

  ThinkLimits budget = {.budget = 2, .marks = {kLo, kHi}};
  Driver d{{rules(), budget, ThinkPhase::Thinking}, {}, {}};
  for (const int32_t t : {9, kLo, 9, 9, kHi}) d.push(t);
  EXPECT_EQ(d.kinds, "tttttmmm") << "closed right after the second";
}

TEST(Think, MarksOfSeveralTokens) {
  const auto r = make({{{1, 2, 3}}, {{4, 5, 6}, {4, 7}}, {kNewline, 4, 5, 6, kNewline}, false});
  {
    Driver d{{r, {}, ThinkPhase::Undecided}, {}, {}};
    for (const int32_t t : {1, 2, 9}) d.push(t);
    EXPECT_EQ(d.kinds, "aaa") << "a beginning that came to nothing";
    for (const int32_t t : {1, 1, 2, 3}) d.push(t);
    EXPECT_EQ(d.kinds, "aaaammm");
    for (const int32_t t : {4, 5, 4, 5, 6, 4}) d.push(t);
    EXPECT_EQ(d.kinds,
              "aaaammm"
              "ttmmm"
              "a");
    EXPECT_EQ(d.state.thought_tokens(), 2);
  }
  {  // kinds wait until the mark is settled
    Driver d{{r, {}, ThinkPhase::Thinking}, {}, {}};
    d.push(8);
    d.push(4);
    EXPECT_EQ(d.kinds, "t");
    d.push(7);
    EXPECT_EQ(d.kinds, "tmm");
  }
  {  // over before it was
    Driver d{{r, {}, ThinkPhase::Thinking}, {}, {}};
    d.push(4);
    d.finish();
    EXPECT_EQ(d.kinds, "t");
  }
  {  // a mark that the model has begun when the budget ends is completed, not written twice
    Driver d{{r, {.budget = 3}, ThinkPhase::Thinking}, {}, {}};
    for (const int32_t t : {8, 8, 4}) d.push(t);
    EXPECT_EQ(d.tokens, (std::vector<int32_t>{8, 8, 4, 7, kNewline})) << "the shorter way";
    EXPECT_EQ(d.kinds, "ttmmm");
    EXPECT_EQ(d.state.phase(), ThinkPhase::Answering);
  }
  {  // the minimum rules out what would complete a mark
    Driver d{{r, {.minimum = 10}, ThinkPhase::Thinking}, {}, {}};
    d.push(4);
    EXPECT_EQ(d.state.forbidden(), std::vector<int32_t>{7});
    d.push(5);
    EXPECT_EQ(d.state.forbidden(), std::vector<int32_t>{6});
    d.push(5);
    EXPECT_TRUE(d.state.forbidden().empty());
  }
}

TEST(Think, ChannelsMayThinkAgain) {
  ThinkMarks marks = plain_marks();
  marks.reopens = true;
  const auto r = make(marks);
  Driver d{{r, {.budget = 2}, ThinkPhase::Undecided}, {}, {}};
  for (const int32_t t : {kOpen, 1, kClose, 2, kOpen, 3, 4}) d.push(t);
  EXPECT_EQ(d.kinds, "mtmamtmmma") << "the budget is of all thoughts together";
}

TEST(Think, CirclesEndTheThought) {
  for (const int64_t period : {1, 2, 7, 40, 300}) {
    Driver d{{rules(), {.loop_guard = true}, ThinkPhase::Thinking}, {}, {}};
    Rng rng(5, static_cast<uint64_t>(period));
    for (int i = 0; i < 400; ++i) d.push(static_cast<int32_t>(rng.below(90)));
    ASSERT_EQ(d.state.phase(), ThinkPhase::Thinking) << "no circle yet";
    std::vector<int32_t> circle;
    for (int64_t i = 0; i < period; ++i) circle.push_back(static_cast<int32_t>(i % 90));
    int64_t n = 0;
    while (d.state.phase() == ThinkPhase::Thinking && n < 10000) d.push(circle[static_cast<size_t>(n++ % period)]);
    EXPECT_EQ(d.state.ended_by(), ThinkEnd::Loop);
    EXPECT_LE(n, std::max<int64_t>(LoopGuard::kTokens, LoopGuard::kRepeats * period) + period) << period;
    EXPECT_GE(n, LoopGuard::kTokens - period) << period;
  }
  // A table repeats its shape, not its tokens; without the guard circles go on.
  Driver d{{rules(), {.loop_guard = true}, ThinkPhase::Thinking}, {}, {}};
  for (int32_t i = 0; i < 2000; ++i) d.push(i % 4 == 3 ? i / 4 % 90 : i % 4);
  EXPECT_EQ(d.state.phase(), ThinkPhase::Thinking);
  Driver free{{rules(), {}, ThinkPhase::Thinking}, {}, {}};
  for (int32_t i = 0; i < 2000; ++i) free.push(1);
  EXPECT_EQ(free.state.phase(), ThinkPhase::Thinking);
}

TEST(Think, SenselessBoundsAndRulesAreRefused) {
  EXPECT_FALSE((ThinkLimits{.budget = -2}.validate().ok()));
  EXPECT_FALSE((ThinkLimits{.minimum = -1}.validate().ok()));
  const Status crossed = ThinkLimits{.budget = 3, .minimum = 4}.validate();
  ASSERT_FALSE(crossed.ok());
  EXPECT_NE(crossed.message().find("4, is more than the budget of 3"), std::string::npos) << crossed.message();
  ThinkMarks marks = plain_marks();
  marks.forced_close = {kNewline};
  EXPECT_FALSE(ThinkRules::create(marks).ok());
  marks = plain_marks();
  marks.open.push_back({});
  EXPECT_FALSE(ThinkRules::create(marks).ok());
  marks = plain_marks();
  marks.close.clear();
  EXPECT_FALSE(ThinkRules::create(marks).ok());
  EXPECT_TRUE(rules()->within(102));
  EXPECT_FALSE(rules()->within(101));
}

}  // namespace
}  // namespace raison::testing
