// pass@k, votes and intervals, against values computed by hand.
#include "train/eval_stats.h"

#include <gtest/gtest.h>

#include "train/eval_run.h"

namespace raison::testing {
namespace {

TEST(PassAtK, ByHand) {
  EXPECT_DOUBLE_EQ(pass_at_k(4, 1, 2), 0.5);                // 1 - C(3,2)/C(4,2) = 1 - 3/6
  EXPECT_NEAR(pass_at_k(10, 3, 5), 1 - 21.0 / 252, 1e-15);  // C(7,5) = 21, C(10,5) = 252
  EXPECT_DOUBLE_EQ(pass_at_k(8, 0, 8), 0);
  EXPECT_DOUBLE_EQ(pass_at_k(8, 1, 8), 1);
  EXPECT_DOUBLE_EQ(pass_at_k(5, 3, 3), 1) << "only two are wrong";
  EXPECT_NEAR(pass_at_k(7, 3, 1), 3.0 / 7, 1e-15);
  EXPECT_NEAR(pass_at_k(65536, 1, 32768), 0.5, 1e-12) << "no binomial overflows";
}

TEST(PassAtK, IsTheShareOfAllSubsets) {
  for (int n = 1; n <= 8; ++n)
    for (int c = 0; c <= n; ++c)
      for (int k = 1; k <= n; ++k) {
        int all = 0, passed = 0;
        for (int set = 0; set < 1 << n; ++set) {
          if (__builtin_popcount(static_cast<unsigned>(set)) != k) continue;
          ++all;
          passed += (set & ((1 << c) - 1)) != 0 ? 1 : 0;  // the first c are right
        }
        EXPECT_NEAR(pass_at_k(n, c, k), static_cast<double>(passed) / all, 1e-12) << n << " " << c << " " << k;
      }
}

TEST(ClusteredEstimate, OneSampleEachIsWilson) {
  std::vector<double> values(100, 0.0);
  for (size_t i = 0; i < 30; ++i) values[i * 3] = 1;
  const Estimate e = clustered_estimate(values, 100);
  double low = 0, high = 0;
  wilson_interval(0.3, 100, &low, &high);
  EXPECT_NEAR(e.value, 0.3, 1e-15);
  EXPECT_NEAR(e.low, low, 1e-12);
  EXPECT_NEAR(e.high, high, 1e-12);
  EXPECT_EQ(e.questions, 100);
}

TEST(ClusteredEstimate, TheQuestionIsTheUnit) {
  // Squares 0.5, se^2 = 0.5/16, p(1-p) = 0.25: as 8 independent answers. Wilson at 0.5 of 8: 0.2152, 0.7848.
  const Estimate e = clustered_estimate({0, 0.5, 1, 0.5}, 16);
  EXPECT_DOUBLE_EQ(e.value, 0.5);
  EXPECT_NEAR(e.low, 0.215213, 1e-5);
  EXPECT_NEAR(e.high, 0.784787, 1e-5);
  // Samples that always agree with each other are worth one.
  const Estimate agreed = clustered_estimate({0, 1, 1, 0}, 64), single = clustered_estimate({0, 1, 1, 0}, 4);
  EXPECT_DOUBLE_EQ(agreed.low, single.low);
  // Questions that all agree: as many as there are samples, no more.
  double low = 0, high = 0;
  wilson_interval(0.5, 16, &low, &high);
  EXPECT_DOUBLE_EQ(clustered_estimate({0.5, 0.5, 0.5, 0.5}, 16).low, low);
  // None right is no certainty.
  wilson_interval(0, 4, &low, &high);
  EXPECT_DOUBLE_EQ(clustered_estimate({0, 0, 0, 0}, 64).high, high);
  EXPECT_GT(high, 0.4);
  const Estimate none = clustered_estimate({}, 0);
  EXPECT_EQ(none.low, 0);
  EXPECT_EQ(none.high, 1);
}

ScoredSample said(const char* answer, bool right, bool verified = false) { return {right, std::string(answer), verified}; }
const ScoredSample kCut = {false, std::nullopt, false};

TEST(MajorityAtK, TiesGoToTheEarliestAndCutOffSamplesDoNotVote) {
  EXPECT_EQ(majority_at_k({said("a", true), said("b", false)}, 2, false), 1);
  EXPECT_EQ(majority_at_k({said("b", false), said("a", true)}, 2, false), 0);
  EXPECT_EQ(majority_at_k({said("b", false), said("a", true), said("a", true)}, 3, false), 1);
  EXPECT_EQ(majority_at_k({kCut, kCut, said("a", true)}, 3, false), 1);
  EXPECT_EQ(majority_at_k({kCut, kCut}, 2, false), 0);
}

TEST(MajorityAtK, IsTheMeanOverWholeBlocks) {
  const std::vector<ScoredSample> s = {said("a", true), said("b", false), said("b", false), said("a", true), said("a", true)};
  EXPECT_DOUBLE_EQ(majority_at_k(s, 1, false), 0.6);
  EXPECT_DOUBLE_EQ(majority_at_k(s, 2, false), 0.5) << "a over b, b over a; the fifth stands alone";
  EXPECT_DOUBLE_EQ(majority_at_k(s, 4, false), 1.0) << "two each: a came first";
}

TEST(MajorityAtK, ThoughtsThatFoundTheirAnswerRightOutvoteOthers) {
  const std::vector<ScoredSample> s = {said("b", false), said("b", false), said("a", true, true)};
  EXPECT_EQ(majority_at_k(s, 3, false), 0);
  EXPECT_EQ(majority_at_k(s, 3, true), 1);
  EXPECT_EQ(majority_at_k({said("b", false), said("b", false), said("a", true)}, 3, true), 0) << "none found it: all vote";
}

TEST(EvalStats, PowersUpTo) {
  EXPECT_EQ(powers_up_to(1), (std::vector<int64_t>{1}));
  EXPECT_EQ(powers_up_to(8), (std::vector<int64_t>{1, 2, 4, 8}));
  EXPECT_EQ(powers_up_to(12), (std::vector<int64_t>{1, 2, 4, 8, 12}));
}

EvalSample sample_of(Verdict::Kind verdict, const char* vote, int64_t thought, FinishReason finish = FinishReason::Stop) {
  EvalSample s;
  s.finished = true;
  s.verdict = verdict;
  if (*vote != '\0') s.vote = vote;
  s.finish = finish;
  s.thought_tokens = thought;
  s.answer_tokens = 2;
  s.tokens = thought + 3;
  return s;
}

TEST(EvalFigures, CountWhatWasFinished) {
  const EvalSample right = sample_of(Verdict::Right, "a", 4), wrong = sample_of(Verdict::Wrong, "b", 8);
  const EvalSample cut = sample_of(Verdict::Wrong, "", 12, FinishReason::Length), odd = sample_of(Verdict::Unparseable, "", 4);
  const EvalSample failed = sample_of(Verdict::Failed, "c", 4), open;
  const EvalFigures f = eval_figures({{right, wrong, cut}, {odd, failed, open}, {}, {open, open, open}}, {1, 2, 3, 4}, false);
  EXPECT_EQ(f.questions, 2);
  EXPECT_EQ(f.samples, 5);
  EXPECT_NEAR(f.accuracy.value, 1.0 / 6, 1e-12) << "a third and nothing";
  ASSERT_EQ(f.pass.size(), 3u) << "no question has 4 samples";
  EXPECT_NEAR(f.pass[1].estimate.value, (2.0 / 3) / 2, 1e-12);
  EXPECT_EQ(f.pass[1].estimate.questions, 2);
  EXPECT_EQ(f.pass[2].estimate.questions, 1) << "only one question has 3 finished samples";
  EXPECT_DOUBLE_EQ(f.pass[2].estimate.value, 1);
  EXPECT_DOUBLE_EQ(f.majority[1].estimate.value, 0.5);
  EXPECT_TRUE(f.self_verified.empty());
  EXPECT_DOUBLE_EQ(f.unparseable, 0.2);
  EXPECT_DOUBLE_EQ(f.failed, 0.2);
  EXPECT_DOUBLE_EQ(f.cut_off, 0.2);
  EXPECT_DOUBLE_EQ(f.thought_tokens, 32.0 / 5);
  EXPECT_DOUBLE_EQ(f.answer_tokens, 2);
  EXPECT_EQ(eval_figures({}, {1, 2}, true).accuracy.questions, 0);
}

TEST(EvalGrader, UnitesAnswersThatAreEqualInMathematics) {
  auto grader = make_verifier_grader("math", nullptr, nullptr, std::nullopt);
  ASSERT_TRUE(grader.ok()) << grader.message();
  std::vector<EvalSample> samples;
  for (const char* vote : {"2", "\\frac{1}{2}", "", "1/2", "0.5", "2"}) samples.push_back(sample_of(Verdict::Wrong, vote, 1));
  std::vector<EvalSample*> all;
  for (EvalSample& s : samples) all.push_back(&s);
  (*grader)->unite(all);
  for (const size_t i : {3, 4}) EXPECT_EQ(samples[i].vote, samples[1].vote) << i;
  EXPECT_EQ(samples[5].vote, samples[0].vote);
  EXPECT_NE(samples[0].vote, samples[1].vote);
  EXPECT_FALSE(samples[2].vote.has_value());
  EXPECT_FALSE(make_verifier_grader("math", {{"colour", "red"}}, nullptr, std::nullopt).ok());
}

}  // namespace
}  // namespace raison::testing
