#include "train/countdown_four_task.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace raison::countdown_four {  // one unit with its neighbours' tests
namespace {

using Four = CountdownFourTask;
using Kind = Four::Kind;
using Tokens = std::vector<int32_t>;

Tokens encode(const Four& task, const std::string& text) {
  Tokens out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const auto word = std::find(task.vocab().begin(), task.vocab().end(), text.substr(at, end - at));
    EXPECT_NE(word, task.vocab().end()) << text.substr(at, end - at);
    out.push_back(static_cast<int32_t>(word - task.vocab().begin()));
    at = end + 1;
  }
  return out;
}

int value(int32_t token) { return token - Four::FirstNumber; }

Four::Numbers numbers_of(const Tokens& t) { return {value(t[1]), value(t[2]), value(t[3]), value(t[4])}; }

TEST(CountdownFour, VocabularyIsThatOfThreeAndOneWord) {
  const Four task;
  ASSERT_EQ(task.vocab().size(), 118u);
  EXPECT_EQ(task.text(Tokens{Four::Bar, Four::number(99), Four::Bar2}), "| 99 ||");
}

TEST(CountdownFour, MovesSayWhatIsLeft) {
  const auto moves = Four::moves({3, 5, 3, 9});
  const auto has = [&](const Four::Move& m) { return std::find(moves.begin(), moves.end(), m) != moves.end(); };
  EXPECT_TRUE(has({{5, '-', 3, 2}, {2, 3, 9}}));
  EXPECT_TRUE(has({{9, '*', 5, 45}, {45, 3, 3}}));
  EXPECT_TRUE(has({{3, '*', 3, 9}, {9, 5, 9}}));
  EXPECT_FALSE(has({{3, '-', 3, 0}, {0, 5, 9}}));
  EXPECT_EQ(moves.size(), 11u);  // 18, less 0 and both 5 3, 9 3 counted twice
}

// Walks that leave every second step at once write it and its numbers for each leaf: those that would be too long are drawn again.
TEST(CountdownFour, NoSequenceIsLongerThanTheBound) {
  CountdownFourMix mix;
  mix.drills = 0, mix.successes = 1, mix.systematic = 0, mix.leave = 1, mix.leave_first = 0, mix.max_leaves = 200;
  const Four task(mix);
  Rng rng(5);
  int64_t longest = 0;
  for (int i = 0; i < 1500; ++i) longest = std::max(longest, static_cast<int64_t>(task.sequence(rng).tokens.size()));
  EXPECT_LE(longest, task.max_sequence());
  EXPECT_GT(longest, 300);
}

TEST(CountdownFour, AnEighthIsHeldOutAndNeverEntersTraining) {
  int held = 0, all = 0;
  for (int a = 1; a <= 10; ++a)
    for (int b = a; b <= 10; ++b)
      for (int c = b; c <= 10; ++c)
        for (int d = c; d <= 10; ++d) {
          ++all;
          held += Four::held_out({a, b, c, d});
          EXPECT_EQ(Four::held_out({d, b, a, c}), Four::held_out({a, b, c, d}));
        }
  EXPECT_EQ(all, 715);
  EXPECT_EQ(held, 85);
  const Four task;
  Rng rng(3);
  for (int i = 0; i < 2000; ++i) {
    Kind kind;
    for (const bool side : {false, true}) {
      const auto s = task.draw(rng, side, &kind);
      ASSERT_TRUE(kind == Kind::Drill || Four::held_out(numbers_of(s.tokens)) == side);
      ASSERT_EQ(Four::held_out(numbers_of(task.problem(rng, side))), side);
    }
  }
}

// Reads a thought as a search: every node's operands are left where it is opened, and what it says is left is.
void check_thought(const Four& task, const Tokens& t) {
  std::vector<std::vector<int>> left{{value(t[1]), value(t[2]), value(t[3]), value(t[4])}};
  const auto end = static_cast<size_t>(std::find(t.begin(), t.end(), Four::ThinkEnd) - t.begin());
  for (size_t i = 8; i < end;) {
    const bool node = t[i] == Four::Bar || t[i] == Four::Bar2;
    const size_t depth = !node ? 2 : t[i] == Four::Bar ? 0 : 1;
    if (node) ++i;
    ASSERT_GT(left.size(), depth) << task.text(t);
    left.resize(depth + 1);
    std::vector<int> now = left.back();
    for (const size_t at : {i, i + 2}) {
      const auto used = std::find(now.begin(), now.end(), value(t[at]));
      ASSERT_NE(used, now.end()) << task.text(t);
      now.erase(used);
    }
    now.insert(now.begin(), value(t[i + 4]));
    i += 5;
    if (!node) {
      ASSERT_EQ(now.size(), 1u);
      ++i;  // the verdict
      continue;
    }
    ASSERT_EQ(t[i++], Four::Arrow);
    for (const int n : now) ASSERT_EQ(value(t[i++]), n) << task.text(t);
    left.push_back(now);
  }
}

TEST(CountdownFour, TracesAreTrueAndEndAsTheirKindSays) {
  const Four task;
  Rng rng(9);
  std::map<Kind, double> count;
  double tokens = 0;
  const int n = 6000;
  for (int i = 0; i < n; ++i) {
    Kind kind;
    const TrainSequence s = task.draw(rng, false, &kind);
    const Tokens& t = s.tokens;
    count[kind] += 1;
    tokens += static_cast<double>(t.size());
    ASSERT_EQ(t.size(), s.weights.size());
    ASSERT_LE(static_cast<int64_t>(t.size()), task.max_sequence());
    if (kind == Kind::Drill) continue;
    const TaskAudit audit = task.audit(t);
    EXPECT_EQ(audit.right_equations, audit.equations);
    EXPECT_EQ(audit.right_verdicts, audit.verdicts);
    check_thought(task, t);
    const Tokens prompt(t.begin(), t.begin() + 8), reply(t.begin() + 8, t.end());
    ASSERT_EQ(prompt.back(), Four::Think);
    EXPECT_EQ(task.self_verified(reply), kind == Kind::Success);
    if (kind == Kind::Success) { EXPECT_EQ(task.reward(prompt, reply), 1) << task.text(t); }
    if (kind == Kind::GiveUp) { EXPECT_EQ(task.reward(prompt, reply), 0) << task.text(t); }
    if (kind == Kind::Guess) { EXPECT_EQ(audit.equations, 0); }
    const auto close = std::find(t.begin(), t.end(), Four::ThinkEnd) - t.begin();
    EXPECT_EQ(s.weights[static_cast<size_t>(close)], kind == Kind::Success ? 1.0f : 6.0f);
    EXPECT_EQ(std::count(s.weights.begin(), s.weights.end(), 0.0f), 8);
  }
  EXPECT_NEAR(count[Kind::Drill] / n, 0.12, 0.02);
  EXPECT_NEAR(count[Kind::Success] / n, 0.44, 0.03);
  EXPECT_NEAR(tokens / n, 120, 6);
}

TEST(CountdownFour, RewardsVotesAndAudits) {
  const Four task;
  const Tokens prompt = encode(task, "<bos> 2 3 8 9 -> 22 <think>");
  const auto reply = [&](const std::string& text) { return encode(task, text); };
  const Tokens right = reply("| 3 + 2 = 5 -> 5 8 9 || 8 + 5 = 13 -> 13 9 13 + 9 = 22 yes </think> ( 8 + ( 3 + 2 ) ) + 9 <eos>");
  EXPECT_EQ(task.reward(prompt, right), 1);
  EXPECT_EQ(task.reward(prompt, Tokens(right.begin(), right.end() - 1)), 0);         // cut off
  EXPECT_EQ(task.reward(prompt, reply("</think> ( 8 + ( 3 + 2 ) ) + 8 <eos>")), 0);  // 9 is not used
  EXPECT_EQ(task.reward(prompt, reply("</think> ( 8 + ( 3 - 2 ) ) + 9 <eos>")), 0);  // 18
  EXPECT_EQ(task.reward(prompt, reply("</think> ( 8 + ( 3 + 2 ) ) || 9 <eos>")), 0);
  EXPECT_EQ(task.vote(right), task.vote(reply("</think> 9 + ( ( 2 + 3 ) + 8 ) <eos>")));
  EXPECT_NE(task.vote(right), task.vote(reply("</think> ( 8 + 9 ) + ( 3 + 2 ) <eos>")));
  EXPECT_EQ(task.vote(Tokens(right.begin(), right.end() - 1)), std::nullopt);
  EXPECT_TRUE(task.self_verified(right));
  EXPECT_FALSE(task.self_verified(reply("</think> yes <eos>")));

  Tokens all = prompt;
  const Tokens noisy = reply("| 3 + 2 = 6 -> 6 8 9 || 8 + 6 = 14 -> 14 9 14 + 9 = 23 lo 14 - 9 = 5 lo");
  all.insert(all.end(), noisy.begin(), noisy.end());
  const TaskAudit a = task.audit(all);
  EXPECT_EQ(a.equations, 4);
  EXPECT_EQ(a.right_equations, 3);
  EXPECT_EQ(a.verdicts, 2);
  EXPECT_EQ(a.right_verdicts, 1);
}

// The data are part of a run's identity: a change of them must be meant.
TEST(CountdownFour, DataDoNotDrift) {
  TaskStream stream(make_synthetic_task("countdown-four").value(), 1);
  uint64_t h = 0;
  for (int i = 0; i < 100; ++i)
    for (const TrainSequence& s : stream.next())
      for (int32_t t : s.tokens) h = hash_seed({h, static_cast<uint64_t>(t)});
  EXPECT_EQ(h, 9661770964749218662u);
}

}  // namespace
}  // namespace raison::countdown_four
