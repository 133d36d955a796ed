#include "train/countdown_task.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace raison {
namespace {

using Kind = CountdownTask::Kind;
using Tokens = std::vector<int32_t>;

Tokens encode(const SyntheticTask& task, const std::string& text) {
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

// Sequences of one mix, with their kinds.
struct Drawn {
  TrainSequence sequence;
  Kind kind;
};
std::vector<Drawn> draw(const CountdownTask& task, int n, uint64_t seed = 1) {
  Rng rng(seed);
  std::vector<Drawn> out(static_cast<size_t>(n));
  for (Drawn& d : out) d.sequence = task.draw(rng, false, &d.kind);
  return out;
}

TEST(CountdownTask, VocabularyHasItsOrder) {
  const CountdownTask task;
  ASSERT_EQ(task.vocab().size(), 117u);
  EXPECT_EQ(task.text(Tokens{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 116}),
            "<pad> <bos> <eos> -> <think> </think> + - * = ( ) | yes no lo hi 0 99");
  EXPECT_EQ(task.text(Tokens{-1, 117}), "<?> <?>");
  EXPECT_EQ(CountdownTask::number(42), encode(task, "42")[0]);
}

TEST(CountdownTask, StepsAndNodes) {
  EXPECT_EQ(CountdownTask::steps(3, 8).size(), 3u);
  EXPECT_EQ(CountdownTask::steps(8, 3)[1], (CountdownStep{8, '-', 3, 5}));
  EXPECT_EQ(CountdownTask::steps(5, 5).size(), 2u);       // 0 is no value
  EXPECT_EQ(CountdownTask::steps(99, 10).size(), 1u);     // nor are 109 and 990
  EXPECT_EQ(CountdownTask::nodes({2, 2, 2}).size(), 2u);  // 2+2 and 2*2 are two nodes, the pairs are one
  EXPECT_EQ(CountdownTask::nodes({1, 2, 4}).size(), 9u);
}

TEST(CountdownTask, TwentySixTriplesAreHeldOut) {
  int count = 0;
  for (int a = 1; a <= 10; ++a)
    for (int b = a; b <= 10; ++b)
      for (int c = b; c <= 10; ++c) {
        const bool held = CountdownTask::held_out({a, b, c});
        count += held;
        for (const CountdownTask::Numbers& n : {CountdownTask::Numbers{c, a, b}, {b, c, a}, {c, b, a}})
          EXPECT_EQ(CountdownTask::held_out(n), held);
      }
  EXPECT_EQ(count, 26);
  EXPECT_TRUE(CountdownTask::held_out({7, 4, 5}));
  EXPECT_FALSE(CountdownTask::held_out({4, 5, 8}));
}

TEST(CountdownTask, HeldOutProblemsNeverEnterTraining) {
  const CountdownTask task;
  Rng rng(3);
  const auto numbers = [](const Tokens& t) {
    return CountdownTask::Numbers{t[1] - CountdownTask::FirstNumber, t[2] - CountdownTask::FirstNumber,
                                  t[3] - CountdownTask::FirstNumber};
  };
  std::set<CountdownTask::Numbers> seen, seen_held;
  for (int i = 0; i < 30000; ++i) {
    Kind kind;
    const auto s = task.draw(rng, false, &kind);
    if (kind == Kind::Drill) continue;
    ASSERT_FALSE(CountdownTask::held_out(numbers(s.tokens)));
    seen.insert(numbers(s.tokens));
    const Tokens train = task.problem(rng, false), test = task.problem(rng, true);
    ASSERT_FALSE(CountdownTask::held_out(numbers(train)));
    ASSERT_TRUE(CountdownTask::held_out(numbers(test)));
    seen_held.insert(numbers(test));
  }
  EXPECT_EQ(seen.size() + seen_held.size(), 1000u);  // every ordered triple is on one side
}

TEST(CountdownTask, ProblemsHaveTheStatedStatistics) {
  const CountdownTask task;
  Rng rng(4);
  double expressions = 0, right = 0, chance = 0;
  const int n = 20000;
  for (int i = 0; i < n; ++i) {
    const auto p = task.draw_problem(rng, false);
    double all = 0, hits = 0;
    for (const auto& node : CountdownTask::nodes(p.numbers))
      for (const auto& leaf : CountdownTask::steps(node.first.result, node.rest)) {
        all += 1;
        hits += leaf.result == p.target;
      }
    ASSERT_GE(hits, 1);
    ASSERT_LE(all, 27);
    expressions += all;
    right += hits;
    chance += hits / all;
  }
  EXPECT_NEAR(expressions / n, 21.0, 0.5);
  EXPECT_NEAR(right / n, 2.1, 0.1);
  EXPECT_NEAR(chance / n, 0.108, 0.008);
}

TEST(CountdownTask, DataHaveTheStatedStatistics) {
  const CountdownTask task;
  std::map<Kind, double> count, tokens;
  double total = 0;
  size_t longest = 0;
  const auto all = draw(task, 60000);
  for (const Drawn& d : all) {
    const auto n = static_cast<double>(d.sequence.tokens.size());
    ASSERT_EQ(d.sequence.weights.size(), d.sequence.tokens.size());
    count[d.kind] += 1;
    tokens[d.kind] += n;
    total += n;
    longest = std::max(longest, d.sequence.tokens.size());
  }
  const auto n = static_cast<double>(all.size());
  EXPECT_NEAR(total / n, 58, 1);
  EXPECT_LE(longest, 232u);
  EXPECT_GT(longest, 220u);
  EXPECT_NEAR(count[Kind::Drill] / n, 0.12, 0.005);
  EXPECT_NEAR(count[Kind::Success] / n, 0.44, 0.01);
  EXPECT_NEAR(tokens[Kind::Drill] / total, 0.20, 0.01);
  EXPECT_NEAR(tokens[Kind::Success] / total, 0.60, 0.02);
  EXPECT_NEAR(tokens[Kind::Success] / count[Kind::Success], 77, 1.5);
}

TEST(CountdownTask, SystematicSearchHasTheStatedLengths) {
  CountdownMix mix;
  mix.drills = 0;
  mix.successes = mix.systematic = 1;
  std::vector<size_t> lengths;
  double sum = 0;
  for (const Drawn& d : draw(CountdownTask(mix), 20000)) {
    lengths.push_back(d.sequence.tokens.size());
    sum += static_cast<double>(lengths.back());
  }
  std::sort(lengths.begin(), lengths.end());
  const auto n = static_cast<double>(lengths.size());
  const auto over = std::count_if(lengths.begin(), lengths.end(), [](size_t l) { return l > 128; });
  EXPECT_NEAR(sum / n, 75.6, 1.5);
  EXPECT_NEAR(static_cast<double>(lengths[lengths.size() * 9 / 10]), 147, 6);
  EXPECT_NEAR(static_cast<double>(lengths[lengths.size() * 95 / 100]), 195, 6);
  EXPECT_NEAR(static_cast<double>(over) / n, 0.160, 0.010);
}

TEST(CountdownTask, TracesAreTrueAndEndAsTheirKindSays) {
  const CountdownTask task;
  std::map<int64_t, double> kept;
  double guesses = 0;
  for (const Drawn& d : draw(task, 60000, 9)) {
    const Tokens& t = d.sequence.tokens;
    ASSERT_EQ(t.front(), CountdownTask::Bos);
    ASSERT_EQ(t.back(), CountdownTask::Eos);
    if (d.kind == Kind::Drill) continue;
    const TaskAudit audit = task.audit(t);
    EXPECT_EQ(audit.right_equations, audit.equations);
    EXPECT_EQ(audit.right_verdicts, audit.verdicts);
    const auto think = std::find(t.begin(), t.end(), CountdownTask::Think) + 1;
    const Tokens prompt(t.begin(), think), reply(think, t.end());
    const double reward = task.reward(prompt, reply);
    EXPECT_EQ(task.self_verified(reply), d.kind == Kind::Success);
    if (d.kind == Kind::Success) { EXPECT_EQ(reward, 1) << task.text(t); }
    if (d.kind == Kind::GiveUp) {
      EXPECT_EQ(reward, 0) << task.text(t);
      kept[audit.verdicts] += 1;
    }
    if (d.kind == Kind::Guess) {
      EXPECT_EQ(audit.equations, 0);
      guesses += 1;
    }
  }
  EXPECT_NEAR(kept[2] / kept[1], 0.297, 0.02);  // 0.35, less the explorations that have a single wrong leaf
  EXPECT_NEAR(kept[3] / kept[2], 0.318, 0.04);
  EXPECT_EQ(kept[0], 0);
  EXPECT_NEAR(guesses / 60000, 0.097, 0.005);
}

// Weights word by word of one give-up, one success and one guess, found in the stream.
TEST(CountdownTask, LossWeightsFollowTheRecipe) {
  const CountdownTask task;
  std::map<Kind, int> seen;
  for (const Drawn& d : draw(task, 3000, 5)) {
    const Tokens& t = d.sequence.tokens;
    const auto& w = d.sequence.weights;
    const bool yes = std::find(t.begin(), t.end(), CountdownTask::Yes) != t.end();
    ++seen[d.kind];
    for (size_t i = 0; i < t.size(); ++i) {
      const std::string word = task.vocab()[static_cast<size_t>(t[i])];
      float want = 1;
      if (d.kind == Kind::Drill) {
        want = i > 0 && t[i - 1] == CountdownTask::Equals ? 3.0f : 0.0f;
      } else if (i < 7) {
        want = 0;  // the prompt
      } else if (word == "yes" || word == "lo" || word == "hi" || t[i - 1] == CountdownTask::Equals) {
        want = 3;
      } else if (word == "</think>" && !yes) {
        want = 6;
      }
      ASSERT_EQ(w[i], want) << "word " << i << " (" << word << ") of " << task.text(t);
    }
  }
  EXPECT_EQ(seen.size(), 4u);
}

TEST(CountdownTask, RewardsVotesAndAudits) {
  const CountdownTask task;
  const Tokens prompt = encode(task, "<bos> 4 5 7 -> 8 <think>");
  const auto reply = [&](const std::string& text) { return encode(task, text); };
  const Tokens right = reply("| 7 + 5 = 12 12 - 4 = 8 yes </think> ( 7 + 5 ) - 4 <eos>");
  EXPECT_EQ(task.reward(prompt, right), 1);
  EXPECT_EQ(task.reward(prompt, Tokens(right.begin(), right.end() - 1)), 0);
  EXPECT_EQ(task.reward(prompt, reply("</think> ( 7 + 5 ) - 5 <eos>")), 0);
  EXPECT_EQ(task.reward(prompt, reply("</think> 8 <eos>")), 0);
  EXPECT_EQ(task.reward(prompt, Tokens{}), 0);
  EXPECT_EQ(task.reward(prompt, Tokens{-5, 1000, CountdownTask::ThinkEnd, CountdownTask::Eos}), 0);

  EXPECT_EQ(task.vote(right), task.vote(reply("</think> ( 5 + 7 ) - 4 <eos>")));
  EXPECT_NE(task.vote(right), task.vote(reply("</think> ( 7 - 4 ) + 5 <eos>")));
  EXPECT_EQ(task.vote(reply("</think> ( 5 + 7 ) - 4")), std::nullopt);
  EXPECT_TRUE(task.self_verified(right));
  EXPECT_FALSE(task.self_verified(reply("</think> yes <eos>")));

  Tokens all = prompt;
  const Tokens noisy = reply("| 7 + 5 = 13 13 - 4 = 9 lo 7 * 1 = 7 yes 4 - 4 = 0 lo </think> 8 <eos>");
  all.insert(all.end(), noisy.begin(), noisy.end());
  const TaskAudit a = task.audit(all);
  EXPECT_EQ(a.equations, 4);
  EXPECT_EQ(a.right_equations, 2);  // 13 - 4 = 9 and 7 * 1 = 7; 0 is no value
  EXPECT_EQ(a.verdicts, 3);
  EXPECT_EQ(a.right_verdicts, 1);  // 9 is hi, 7 is lo; 0 is lo
}

// Every thought of countdown-tries is k independent tries, and answers with the last, whatever its verdict.
TEST(CountdownTries, TriesAreDrawnAnewAndTheLastIsAnswered) {
  const CountdownTask task(countdown_tries_mix());
  ASSERT_EQ(task.name(), "countdown-tries");
  std::map<int64_t, double> tries;
  double all = 0, right = 0, yes_before_the_end = 0, longest = 0;
  for (const Drawn& d : draw(task, 30000, 9)) {
    const Tokens& t = d.sequence.tokens;
    longest = std::max(longest, static_cast<double>(t.size()));
    if (d.kind == Kind::Drill) continue;
    ASSERT_EQ(d.kind, Kind::Tries);
    const TaskAudit audit = task.audit(t);
    EXPECT_EQ(audit.right_equations, audit.equations);
    EXPECT_EQ(audit.right_verdicts, audit.verdicts);
    EXPECT_EQ(audit.equations, 2 * audit.verdicts);  // each try opens its own node
    EXPECT_EQ(std::count(t.begin(), t.end(), CountdownTask::Bar), audit.verdicts);
    const auto close = std::find(t.begin(), t.end(), CountdownTask::ThinkEnd);
    const Tokens prompt(t.begin(), t.begin() + 7), reply(t.begin() + 7, t.end());
    EXPECT_EQ(task.reward(prompt, reply), close[-1] == CountdownTask::Yes) << task.text(t);
    EXPECT_EQ(d.sequence.weights[static_cast<size_t>(close - t.begin())], 1);
    tries[audit.verdicts] += 1;
    all += 1;
    right += close[-1] == CountdownTask::Yes;
    yes_before_the_end += std::find(t.begin(), close - 1, CountdownTask::Yes) != close - 1;
  }
  EXPECT_NEAR(tries[1] / all, 0.35, 0.01);
  EXPECT_NEAR(tries[3] / tries[2], 0.65, 0.03);
  EXPECT_NEAR(right / all, 0.108, 0.01);
  EXPECT_NEAR(yes_before_the_end / all, 0.163, 0.01);  // a yes ends nothing
  EXPECT_LE(longest, 240);
}

TEST(CountdownTries, SharesProblemsAndWordsWithCountdown) {
  const CountdownTask tries(countdown_tries_mix()), task;
  EXPECT_EQ(tries.vocab(), task.vocab());
  for (const bool held_out : {false, true}) {
    Rng a(5), b(5);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(tries.problem(a, held_out), task.problem(b, held_out));
  }
  Rng rng(6);
  for (int i = 0; i < 2000; ++i) {
    Kind kind;
    const auto s = tries.draw(rng, false, &kind);
    if (kind == Kind::Drill) continue;
    ASSERT_FALSE(CountdownTask::held_out({s.tokens[1] - CountdownTask::FirstNumber, s.tokens[2] - CountdownTask::FirstNumber,
                                          s.tokens[3] - CountdownTask::FirstNumber}));
  }
}

TEST(TaskStream, BatchesKeepTheBudgetAndLoseNothing) {
  const auto task = make_synthetic_task("countdown").value();
  const CountdownStream stream(task, 7);
  const auto batches = stream.round(3);
  size_t sequences = 0;
  bool sorted = true;
  size_t before = 0;
  for (const MicroBatch& b : batches) {
    ASSERT_FALSE(b.empty());
    EXPECT_LE(b.size() * b.back().tokens.size(), 1024u);
    EXPECT_TRUE(
        std::is_sorted(b.begin(), b.end(), [](const auto& x, const auto& y) { return x.tokens.size() < y.tokens.size(); }));
    sequences += b.size();
    sorted = sorted && b.back().tokens.size() >= before;
    before = b.back().tokens.size();
  }
  EXPECT_EQ(sequences, 600u);
  EXPECT_FALSE(sorted);  // the batches are shuffled
  EXPECT_NEAR(static_cast<double>(batches.size()), 37, 4);
}

TEST(TaskStream, ACursorRestoresTheStreamExactly) {
  const auto task = make_synthetic_task("countdown").value();
  const auto same = [](const MicroBatch& a, const MicroBatch& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const auto& x, const auto& y) { return x.tokens == y.tokens && x.weights == y.weights; });
  };
  CountdownStream stream(task, 11);
  std::vector<TaskStream::Cursor> cursors;
  std::vector<MicroBatch> batches;
  for (int i = 0; i < 120; ++i) {
    cursors.push_back(stream.cursor());
    batches.push_back(stream.next());
  }
  EXPECT_GE(stream.cursor().round, 2u);
  for (size_t i : {0u, 1u, 36u, 37u, 38u, 39u, 40u, 80u, 119u}) {
    CountdownStream other(task, 11);
    ASSERT_TRUE(other.seek(cursors[i]).ok());
    EXPECT_EQ(other.cursor(), cursors[i]);
    for (size_t k = i; k < std::min<size_t>(i + 3, batches.size()); ++k)
      EXPECT_TRUE(same(other.next(), batches[k])) << i << " " << k;
  }
  CountdownStream other(task, 12);
  EXPECT_FALSE(same(other.next(), batches[0]));
  EXPECT_FALSE(other.seek({0, 1000}).ok());
}

// The data are part of a run's identity: a change of them must be meant.
TEST(TaskStream, DataDoNotDrift) {
  const auto task = make_synthetic_task("countdown").value();
  CountdownStream stream(task, 1);
  uint64_t h = 0;
  for (int i = 0; i < 100; ++i)
    for (const TrainSequence& s : stream.next())
      for (int32_t t : s.tokens) h = hash_seed({h, static_cast<uint64_t>(t)});
  EXPECT_EQ(h, 8663178129359525337u);
}

TEST(ReverseTask, MakesAndJudgesItsData) {
  const auto task = make_synthetic_task("reverse").value();
  Rng rng(2);
  for (int i = 0; i < 2000; ++i) {
    const TrainSequence s = task->sequence(rng);
    ASSERT_LE(static_cast<int64_t>(s.tokens.size()), task->max_sequence());
    const auto split = static_cast<std::ptrdiff_t>(std::count(s.weights.begin(), s.weights.end(), 0.0f));
    const Tokens prompt(s.tokens.begin(), s.tokens.begin() + split);
    Tokens reply(s.tokens.begin() + split, s.tokens.end());
    ASSERT_EQ(task->reward(prompt, reply), 1) << task->text(s.tokens);
    reply[0] = reply[0] == 4 ? 5 : 4;
    ASSERT_EQ(task->reward(prompt, reply), 0);
    reply.pop_back();
    ASSERT_EQ(task->vote(reply), std::nullopt);
  }
  EXPECT_FALSE(make_synthetic_task("chess").ok());
  for (const auto& name : synthetic_task_names()) EXPECT_EQ(make_synthetic_task(name).value()->name(), name);
}

}  // namespace
}  // namespace raison
