// Votes: who wins, ties, when nothing can change any more; and run through the engine with and without stopping early.
#include "engine/voting.h"

#include "testing/models.h"

namespace raison::testing {
namespace {

Vote vote(const char* answer, bool verified = false, double confidence = 1, double score = 0) {
  Vote v;
  if (*answer) v.answer = answer;
  v.verified = verified;
  v.confidence = confidence;
  v.score = score;
  return v;
}

int64_t winner_of(VoteRule rule, const std::vector<Vote>& votes) {
  Ballot b(rule, static_cast<int64_t>(votes.size()));
  for (size_t i = votes.size(); i-- > 0;) b.add(static_cast<int64_t>(i), votes[i]);  // the order of coming does not count
  return b.winner().value_or(-1);
}

TEST(Ballot, TheWinnerByEachRule) {
  const std::vector<Vote> votes = {vote("a", false, 0.2, 0.5), vote("b", true, 0.9, 0.1),  vote(""),
                                   vote("b", false, 0.3, 0.7), vote("a", false, 0.3, 0.2), vote("a", false, 0.2, 0.0),
                                   vote("c", true, 0.1, 0.7)};
  EXPECT_EQ(winner_of(VoteRule::Majority, votes), 0);
  EXPECT_EQ(winner_of(VoteRule::SelfVerified, votes), 1) << "b and c have one verified vote each; the earlier wins";
  EXPECT_EQ(winner_of(VoteRule::Weighted, votes), 1) << "b: 1.2, a: 0.7";
  EXPECT_EQ(winner_of(VoteRule::Best, votes), 3) << "0.7 first";
  EXPECT_EQ(winner_of(VoteRule::Majority, {vote(""), vote("")}), -1) << "nobody voted";
  EXPECT_EQ(winner_of(VoteRule::Majority, {vote("x"), vote("y"), vote("y"), vote("x")}), 0) << "a tie goes to the earliest";
  // Nobody verified: all vote. A verified answer's earliest verified sample stands for it.
  EXPECT_EQ(winner_of(VoteRule::SelfVerified, {vote("x"), vote("y"), vote("y")}), 1);
  EXPECT_EQ(winner_of(VoteRule::SelfVerified, {vote("x"), vote("y"), vote("x", true)}), 2);
}

// decided() must be a promise: whatever the samples outstanding say, the answer stands. And it must not be a lame one: with all equal votes
// a majority is decided after more than half.
TEST(Ballot, DecidedMeansThatNothingCanChange) {
  Rng rng(11, 1);
  const char* answers[] = {"a", "b", "c", ""};
  int early = 0;
  for (int round = 0; round < 4000; ++round) {
    const auto rule = static_cast<VoteRule>(rng.below(4));
    const auto n = static_cast<int64_t>(1 + rng.below(7));
    const auto draw = [&] {
      return vote(answers[rng.below(10) < 6 ? 0 : rng.below(4)], rng.below(2) == 0, static_cast<double>(rng.below(5)) / 4,
                  static_cast<double>(rng.below(3)) / 2);
    };
    std::vector<int64_t> order;
    for (int64_t i = 0; i < n; ++i) order.insert(order.begin() + static_cast<std::ptrdiff_t>(rng.below(order.size() + 1)), i);
    Ballot b(rule, n);
    for (int64_t k = 0; k < n; ++k) {
      b.add(order[static_cast<size_t>(k)], draw());
      if (!b.decided()) continue;
      early += k + 1 < n ? 1 : 0;
      ASSERT_TRUE(b.winner().has_value() || k + 1 == n);
      if (!b.winner()) break;
      const std::string answer = b.tallies().front().answer;
      for (int tries = 0; tries < 30; ++tries) {
        Ballot full = b;
        for (int64_t rest = k + 1; rest < n; ++rest)
          full.add(order[static_cast<size_t>(rest)], tries % 3 ? draw() : vote("b", true, 1, 1));
        ASSERT_EQ(full.tallies().front().answer, answer) << "rule " << static_cast<int>(rule) << " n " << n;
      }
      break;
    }
  }
  EXPECT_GT(early, 300);
  Ballot b(VoteRule::Majority, 9);
  for (int64_t i = 0; i < 4; ++i) b.add(i, vote("a"));
  EXPECT_FALSE(b.decided());
  b.add(4, vote("a"));
  EXPECT_TRUE(b.decided());
}

TEST(Confidence, IsTheGeometricMeanOfWhatWasDrawn) {
  Generation g;
  g.tokens = {1, 2, 3, 4};
  g.logprobs = {std::log(0.5f), 0, std::log(0.25f), std::log(0.125f)};
  g.forced = {0, 1, 0, 0};
  EXPECT_NEAR(confidence(g), 0.25, 1e-6);
  EXPECT_NEAR(confidence(g, 2), std::sqrt(0.25 * 0.125), 1e-6);
  EXPECT_EQ(confidence({}), 1);
}

class VotingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = tiny_model(tiny_config(), 7);
    ASSERT_TRUE(model_);
    auto kernels = select_kernels_from_environment();
    ASSERT_TRUE(kernels.ok()) << kernels.message();
    engine_ = std::make_unique<Engine>(*model_, pool_, **kernels, EngineOptions{});
    request_.prompt = random_tokens(50, 61, 1);
    request_.stop_ids = {1, 2, 3, 4, 5, 6};
    request_.max_tokens = 60;
    request_.sampling.seed = 5;
  }
  // The answer is the last token's class.
  static Vote judge(const Generation& g) {
    Vote v;
    if (g.finish == FinishReason::Stop) v.answer = g.tokens.back() <= 4 ? "x" : "y";
    v.confidence = confidence(g);
    return v;
  }
  Result<VoteResult> run(VoteOptions o, const std::function<bool(const VoteProgress&)>& progress = {}) {
    return run_vote(*engine_, request_, o, judge, progress);
  }
  std::unique_ptr<Model> model_;
  ThreadPool pool_{2};
  std::unique_ptr<Engine> engine_;
  Request request_;
};

TEST_F(VotingTest, StoppingEarlyNamesTheSameWinnerForLess) {
  int64_t spared = 0;
  for (const VoteRule rule : {VoteRule::Majority, VoteRule::Weighted})
    for (uint64_t seed = 0; seed < 12; ++seed) {
      request_.sampling.seed = seed;
      VoteOptions o;
      o.rule = rule;
      o.samples = 15;
      o.stop_early = false;
      auto whole = run(o);
      ASSERT_TRUE(whole.ok()) << whole.message();
      EXPECT_EQ(whole->ended, 15);
      EXPECT_EQ(whole->spared, 0);
      o.stop_early = true;
      auto early = run(o);
      ASSERT_TRUE(early.ok()) << early.message();
      EXPECT_EQ(early->winner, whole->winner) << seed;
      ASSERT_TRUE(early->winner.has_value());
      EXPECT_EQ(early->samples[static_cast<size_t>(*early->winner)].tokens,
                whole->samples[static_cast<size_t>(*whole->winner)].tokens);
      EXPECT_LE(early->tokens, whole->tokens);
      EXPECT_EQ(early->ended + early->spared, 15);
      spared += early->spared;
      EXPECT_EQ(engine_->stats().pages_in_use, 0);
    }
  EXPECT_GT(spared, 20);
}

TEST_F(VotingTest, SamplesAreThoseOfTheirIndices) {
  VoteOptions o;
  o.samples = 3;
  o.stop_early = false;
  request_.sample_index = 4;
  auto voted = run(o);
  ASSERT_TRUE(voted.ok());
  Request r = request_;
  r.sample_index = 6;
  auto alone = generate(*engine_, r);
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ(voted->samples[2].tokens, alone->tokens);
}

TEST_F(VotingTest, TheUnsureAreStoppedAndDoNotVote) {
  VoteOptions o;
  o.samples = 10;
  o.stop_early = false;
  o.min_confidence = 0.9;  // a random model is never that sure
  o.confidence_window = 8;
  request_.stop_ids = {1};
  auto voted = run(o);
  ASSERT_TRUE(voted.ok());
  EXPECT_EQ(voted->unsure + voted->ended, 10);
  EXPECT_GT(voted->unsure, 5);
  for (const Generation& g : voted->samples)
    if (g.finish == FinishReason::Cancelled) { EXPECT_LE(g.tokens.size(), 9u); }
}

TEST_F(VotingTest, NobodyVotesAndNobodyWins) {
  request_.max_tokens = 2;  // all are cut off
  request_.stop_ids.clear();
  auto r = run({.samples = 5});
  ASSERT_TRUE(r.ok()) << r.message();
  EXPECT_FALSE(r->winner);
  EXPECT_TRUE(r->tallies.empty());
  EXPECT_EQ(r->ended, 5);
  EXPECT_TRUE(engine_->idle());
}

TEST_F(VotingTest, ProgressSeesTheVotesAndMayGiveUp) {
  VoteOptions o;
  o.samples = 8;
  o.stop_early = false;
  int64_t seen = 0;
  auto voted = run(o, [&](const VoteProgress& p) {
    int64_t votes = 0;
    for (const auto& t : p.tallies) votes += t.votes;
    EXPECT_LE(votes, p.ended);
    seen = std::max(seen, votes);
    return p.ended < 3;
  });
  ASSERT_TRUE(voted.ok());
  EXPECT_GE(seen, 1);
  EXPECT_LT(voted->ended, 8);
  EXPECT_TRUE(engine_->idle());
  EXPECT_EQ(engine_->stats().pages_in_use, 0);
}

TEST_F(VotingTest, SenselessOptionsAreRefused) {
  VoteOptions o;
  o.samples = 0;
  EXPECT_FALSE(run(o).ok());
  o.samples = 2;
  o.min_confidence = 1;
  EXPECT_FALSE(run(o).ok());
  o.min_confidence = 0;
  o.confidence_window = 0;
  EXPECT_FALSE(run(o).ok());
  request_.prompt = {};
  EXPECT_FALSE(run({}).ok());
  EXPECT_TRUE(engine_->idle());
}

}  // namespace
}  // namespace raison::testing
