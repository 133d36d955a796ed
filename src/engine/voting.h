// Votes: many thoughts on one question, one answer. What counts as the same answer, and what a thought says of its own, is the task's
// business (verify/judge.h); here votes are counted, and counting stops as soon as nothing can change any more.
#pragma once
#include <functional>

#include "engine/engine.h"

namespace raison {

enum class VoteRule {
  Majority,      // the answer that most samples give
  SelfVerified,  // the same among those whose own thought found the answer right; if there are none, among all
  Weighted,      // each vote weighs its sample's confidence
  Best           // the sample that a verifier gives most
};

// One sample as the ballot sees it.
struct Vote {
  std::optional<std::string> answer;  // equal texts are the same answer; none: cut off or no answer, which is no vote
  bool verified = false;              // by its own thought (SelfVerified)
  double confidence = 1;              // in [0, 1] (Weighted)
  double score = 0;                   // a verifier's, in [0, 1] (Best)
};

// Counts votes. The winner depends on the samples alone, not on the order in which they come: ties go to the earliest sample.
class Ballot {
 public:
  Ballot(VoteRule rule, int64_t samples) : rule_(rule), votes_(static_cast<size_t>(samples)) {}
  void add(int64_t sample, Vote vote);  // each sample once
  int64_t outstanding() const { return static_cast<int64_t>(votes_.size()) - counted_; }
  // No outcome of the samples outstanding can change which answer wins.
  bool decided() const;
  // The earliest sample with the winning answer; none: nobody voted.
  std::optional<int64_t> winner() const;

  struct Tally {
    std::string answer;
    int64_t votes = 0, verified = 0, first = 0;  // first: earliest sample
    double weight = 0;                           // what the rule counts
    double confidence = 0;                       // mean of its votes'
  };
  // Best first, in the order in which they would win.
  std::vector<Tally> tallies() const;

 private:
  VoteRule rule_;
  std::vector<std::optional<Vote>> votes_;  // by sample
  int64_t counted_ = 0;
};

struct VoteOptions {
  VoteRule rule = VoteRule::Majority;
  int64_t samples = 8;
  bool stop_early = true;  // samples that can't change the winner any more are cancelled
  // A sample whose confidence over its last `confidence_window` drawn tokens falls below is stopped, and does not vote (in the way of
  // DeepConf, arXiv:2508.15260). 0: off.
  double min_confidence = 0;
  int64_t confidence_window = 64;
  Status validate() const;
};

struct VoteResult {
  std::optional<int64_t> winner;    // of samples
  std::vector<Generation> samples;  // as far as they came
  std::vector<Ballot::Tally> tallies;
  int64_t ended = 0, unsure = 0, spared = 0;  // by themselves; for want of confidence; because the vote was decided
  int64_t tokens = 0;                         // generated in all
};

// The geometric mean of the probabilities of the tokens drawn (forced ones apart), at most the last `last` of them (0: all); 1 if none.
double confidence(const Generation& sample, int64_t last = 0);

// Runs `request` as samples sample_index, sample_index + 1, ... on an idle engine. `judge` is asked once about each sample that ended.
// `progress` (may be empty) sees the count after every step; it returns false to give up: what has voted decides. The winner is the same
// with and without stopping early: of the samples that could still be the earliest with the winning answer none is stopped.
using VoteJudge = std::function<Vote(const Generation&)>;
struct VoteProgress {
  int64_t samples = 0, ended = 0, tokens = 0;
  std::vector<Ballot::Tally> tallies;
};
Result<VoteResult> run_vote(Engine& engine, const Request& request, const VoteOptions& options, const VoteJudge& judge,
                            const std::function<bool(const VoteProgress&)>& progress = {});

}  // namespace raison
