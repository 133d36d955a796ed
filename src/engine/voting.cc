#include "engine/voting.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "base/math.h"

namespace raison {

void Ballot::add(int64_t sample, Vote vote) {
  std::optional<Vote>& place = votes_[static_cast<size_t>(sample)];
  if (place) return;
  place = std::move(vote);
  ++counted_;
}

std::vector<Ballot::Tally> Ballot::tallies() const {
  std::map<std::string, Tally> by_answer;
  bool any_verified = false;
  for (size_t i = 0; i < votes_.size(); ++i) {
    if (!votes_[i] || !votes_[i]->answer) continue;
    const Vote& v = *votes_[i];
    any_verified = any_verified || v.verified;
    const auto [at, fresh] = by_answer.try_emplace(*v.answer);
    Tally& t = at->second;
    if (fresh) t.answer = *v.answer, t.first = static_cast<int64_t>(i);
    ++t.votes;
    t.confidence += (v.confidence - t.confidence) / static_cast<double>(t.votes);
    t.verified += v.verified ? 1 : 0;
    switch (rule_) {
      case VoteRule::Majority:
      case VoteRule::SelfVerified: t.weight += 1; break;
      case VoteRule::Weighted: t.weight += v.confidence; break;
      case VoteRule::Best:
        if (fresh || v.score > t.weight) t.weight = v.score, t.first = static_cast<int64_t>(i);
    }
  }
  std::vector<Tally> out;
  for (auto& [answer, t] : by_answer) {
    if (rule_ == VoteRule::SelfVerified && any_verified) {
      t.weight = static_cast<double>(t.verified);
      for (size_t i = 0; t.verified > 0 && i < votes_.size(); ++i)  // the earliest that counts
        if (votes_[i] && votes_[i]->verified && votes_[i]->answer == answer) {
          t.first = static_cast<int64_t>(i);
          break;
        }
    }
    out.push_back(std::move(t));
  }
  std::sort(out.begin(), out.end(),
            [](const Tally& a, const Tally& b) { return a.weight != b.weight ? a.weight > b.weight : a.first < b.first; });
  return out;
}

std::optional<int64_t> Ballot::winner() const {
  const auto all = tallies();
  if (all.empty()) return std::nullopt;
  return all.front().first;
}

bool Ballot::decided() const {
  const int64_t left = outstanding();
  if (left == 0) return true;
  const auto all = tallies();
  if (all.empty()) return false;
  const Tally& leader = all.front();
  size_t earliest_open = 0;
  while (votes_[earliest_open]) ++earliest_open;
  if (rule_ == VoteRule::Best) return leader.weight >= 1 && leader.first < static_cast<int64_t>(earliest_open);
  if (rule_ == VoteRule::SelfVerified && leader.verified == 0) return false;  // one verified vote would outweigh all
  // The next best, or an answer not yet given, gets all that is left. Equal weights: the earlier sample wins, which an open one may be.
  // The margin of 1e-9 is for sums of confidences taken in another order.
  const double rival = (all.size() > 1 ? all[1].weight : 0) + static_cast<double>(left);
  return leader.weight > rival + (rule_ == VoteRule::Weighted ? 1e-9 : 0);
}

Status VoteOptions::validate() const {
  if (samples < 1 || samples > 65536) return error("{} samples to vote, must be between 1 and 65536", samples);
  if (!(min_confidence >= 0 && min_confidence < 1))
    return error("the least confidence is {}, must be in [0, 1)", min_confidence);
  if (confidence_window < 1) return error("the window of confidence is {} tokens, must be at least 1", confidence_window);
  return {};
}

double confidence(const Generation& g, int64_t last) {
  double sum = 0;
  int64_t n = 0;
  for (size_t i = g.tokens.size(); i-- > 0 && (last == 0 || n < last);) {
    if (g.forced[i]) continue;
    sum += static_cast<double>(g.logprobs[i]);
    ++n;
  }
  return n > 0 ? exp_f64(sum / static_cast<double>(n)) : 1;
}

namespace {

class VoteRun {
 public:
  VoteRun(Engine& engine, const VoteOptions& options, const VoteJudge& judge)
      : engine_(engine), options_(options), judge_(judge), ballot_(options.rule, options.samples) {
    result_.samples.resize(static_cast<size_t>(options.samples));
  }

  Result<VoteResult> run(const Request& request, const std::function<bool(const VoteProgress&)>& progress) {
    for (int64_t i = 0; i < options_.samples; ++i) {
      Request r = request;
      r.sample_index += static_cast<uint64_t>(i);
      auto id = engine_.submit(std::move(r));
      if (!id.ok()) {
        stop_all();
        return id.error();
      }
      running_[*id] = i;
    }
    while (!running_.empty()) {
      changed_ = false;
      RAISON_RETURN_IF_ERROR(engine_.step([this](const TokenEvent& e) { take(e); }));
      if (changed_) {
        last_ = ballot_.tallies();
        if (options_.stop_early && !last_.empty() && ballot_.decided()) spare_behind(last_.front().first);
      }
      if (progress && !progress({options_.samples, result_.ended, result_.tokens, last_})) stop_all();
      if (!fault_.empty()) {
        stop_all();
        drain();
        return error("{}", fault_);
      }
    }
    result_.tallies = ballot_.tallies();
    result_.winner = ballot_.winner();
    return std::move(result_);
  }

 private:
  void take(const TokenEvent& e) {
    const auto at = running_.find(e.request);
    if (at == running_.end()) return;
    const int64_t index = at->second;
    Generation& g = result_.samples[static_cast<size_t>(index)];
    g.add(e);
    result_.tokens += e.token >= 0 ? 1 : 0;
    if (e.finish == FinishReason::None) return watch(e.request, index, g);
    running_.erase(at);
    changed_ = true;
    if (e.finish == FinishReason::Error) fault_ = e.error;
    if (e.finish == FinishReason::Cancelled) return;
    ++result_.ended;
    ballot_.add(index, judge_(g));
  }

  // Long unsure: it is stopped and gives no vote.
  void watch(uint64_t id, int64_t index, const Generation& g) {
    if (options_.min_confidence <= 0 || static_cast<int64_t>(g.tokens.size()) < options_.confidence_window) return;
    if (confidence(g, options_.confidence_window) >= options_.min_confidence || !stopped_.insert(index).second) return;
    engine_.cancel(id);
    ++result_.unsure;
    ballot_.add(index, {});
    changed_ = true;
  }

  // The answer is settled; only an earlier sample may still be the one to give it.
  void spare_behind(int64_t first) {
    for (const auto& [id, index] : running_) {
      if (index < first || !stopped_.insert(index).second) continue;
      engine_.cancel(id);
      ++result_.spared;
    }
  }

  void stop_all() {
    for (const auto& [id, index] : running_) engine_.cancel(id);
  }

  void drain() {
    while (!running_.empty() && engine_.step([this](const TokenEvent& e) { take(e); }).ok()) {}
  }

  Engine& engine_;
  const VoteOptions& options_;
  const VoteJudge& judge_;
  Ballot ballot_;
  VoteResult result_;
  std::unordered_map<uint64_t, int64_t> running_;  // request -> sample
  std::set<int64_t> stopped_;
  std::vector<Ballot::Tally> last_;
  std::string fault_;
  bool changed_ = false;
};

}  // namespace

Result<VoteResult> run_vote(Engine& engine, const Request& request, const VoteOptions& options, const VoteJudge& judge,
                            const std::function<bool(const VoteProgress&)>& progress) {
  RAISON_RETURN_IF_ERROR(options.validate());
  return VoteRun(engine, options, judge).run(request, progress);
}

}  // namespace raison
