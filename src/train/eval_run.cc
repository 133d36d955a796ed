#include "train/eval_run.h"

#include <algorithm>
#include <chrono>

namespace raison {
namespace {

// Draws the samples, and judges them as they come: a judged reply's tokens are let go, so that memory holds only the open ones.
class EvalSession {
 public:
  EvalSession(Engine& engine, const std::vector<EvalPrompt>& prompts, EvalGrader& grader, const EvalOptions& options)
      : engine_(engine), prompts_(prompts), grader_(grader), o_(options) {}

  Result<EvalRun> run() {
    const auto group = static_cast<size_t>(o_.samples);
    flat_.resize(prompts_.size() * group);
    rollouts_.resize(flat_.size());
    // draw_rollouts keeps what is finished: questions left out are, and the others keep their places, which key their random numbers.
    for (size_t i = 0; i < flat_.size(); ++i) {
      if (!prompts_[i / group].left_out) {
        open_.push_back(i);
        continue;
      }
      rollouts_[i].reply.finish = FinishReason::Cancelled;
    }
    total_ = static_cast<int64_t>(open_.size());
    begin_ = std::chrono::steady_clock::now();
    const int64_t before = engine_.stats().generated_tokens;
    const auto drawn = draw_rollouts(engine_, asked(), o_.seed, rollout_options(), &rollouts_,
                                     [&](int64_t finished) { return take(finished, before); });
    const Status judged = drawn.ok() ? judge_finished(1) : Status(drawn.error());
    if (!judged.ok() && judged_ == 0) return judged.error();
    EvalRun out;
    out.whole = judged.ok() && *drawn;
    if (!judged.ok()) out.fault = judged.message();
    out.seconds = seconds();
    out.tokens = engine_.stats().generated_tokens - before;
    for (size_t q = 0; q < prompts_.size(); ++q) {
      auto& row = out.samples.emplace_back();
      if (prompts_[q].left_out) continue;
      for (size_t i = 0; i < group; ++i) row.push_back(std::move(flat_[q * group + i]));
      std::vector<EvalSample*> all;
      for (EvalSample& s : row) all.push_back(&s);
      grader_.unite(all);
    }
    out.figures = eval_figures(out.samples, o_.votes, grader_.can_self_verify());
    return out;
  }

 private:
  std::vector<RolloutPrompt> asked() const {
    std::vector<RolloutPrompt> out;
    for (const EvalPrompt& p : prompts_) out.push_back(p.left_out ? RolloutPrompt{} : RolloutPrompt{p.tokens, p.start});
    return out;
  }

  RolloutOptions rollout_options() const {
    RolloutOptions r;
    r.group = o_.samples;
    r.sampling = o_.sampling;
    r.length = engine_.room();
    r.max_tokens = o_.max_tokens;
    r.stop_ids = o_.stop_ids;
    r.adapter = o_.adapter;
    r.think = o_.think;
    r.think_limits = o_.think_limits;
    return r;
  }

  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

  Result<bool> take(int64_t finished, int64_t before) {
    if (finished != finished_) RAISON_RETURN_IF_ERROR(judge_finished(kTogether));
    finished_ = finished;
    if (!o_.progress) return true;
    EvalProgress p;
    p.finished = finished - (static_cast<int64_t>(flat_.size()) - total_);
    p.total = total_;
    p.judged = judged_;
    p.right = right_;
    p.tokens = engine_.stats().generated_tokens - before;
    p.seconds = seconds();
    return o_.progress(p);
  }

  // Those that are finished and not yet judged, if there are at least so many: judges may start programs, which costs less together.
  Status judge_finished(size_t least) {
    std::vector<size_t> now, later;
    for (const size_t i : open_) (rollouts_[i].finished() ? now : later).push_back(i);
    if (now.empty() || (now.size() < least && !later.empty())) return {};
    std::vector<const EvalPrompt*> prompts;
    std::vector<const Rollout*> rollouts;
    std::vector<EvalSample*> samples;
    for (const size_t i : now) {
      prompts.push_back(&prompts_[i / static_cast<size_t>(o_.samples)]);
      rollouts.push_back(&rollouts_[i]);
      samples.push_back(&flat_[i]);
    }
    RAISON_RETURN_IF_ERROR(grader_.grade(prompts, rollouts, o_.keep_text, samples));
    for (const size_t i : now) {
      right_ += flat_[i].right() ? 1 : 0;
      const FinishReason finish = rollouts_[i].reply.finish;
      rollouts_[i] = {};
      rollouts_[i].reply.finish = finish;
    }
    judged_ += static_cast<int64_t>(now.size());
    open_ = std::move(later);
    return {};
  }

  static constexpr size_t kTogether = 16;
  Engine& engine_;
  const std::vector<EvalPrompt>& prompts_;
  EvalGrader& grader_;
  const EvalOptions& o_;
  std::vector<Rollout> rollouts_;
  std::vector<EvalSample> flat_;  // [question * samples + sample]
  std::vector<size_t> open_;      // of flat_: not yet judged
  std::chrono::steady_clock::time_point begin_;
  int64_t total_ = 0, finished_ = -1, judged_ = 0, right_ = 0;
};

std::vector<ScoredSample> scored(const std::vector<EvalSample>& row) {
  std::vector<ScoredSample> out;
  for (const EvalSample& s : row)
    if (s.finished) out.push_back({s.right(), s.vote, s.verified});
  return out;
}

}  // namespace

EvalFigures eval_figures(const std::vector<std::vector<EvalSample>>& samples, const std::vector<int64_t>& votes,
                         bool self_verified) {
  EvalFigures f;
  std::vector<std::vector<ScoredSample>> questions;
  for (const auto& row : samples) {
    for (const EvalSample& s : row) {
      if (!s.finished) continue;
      ++f.samples;
      f.unparseable += s.verdict == Verdict::Unparseable ? 1 : 0;
      f.failed += s.verdict == Verdict::Failed ? 1 : 0;
      f.cut_off += s.cut_off() ? 1 : 0;
      f.self_found += s.verified ? 1 : 0;
      f.tokens += static_cast<double>(s.tokens);
      f.thought_tokens += static_cast<double>(s.thought_tokens);
      f.answer_tokens += static_cast<double>(s.answer_tokens);
    }
    if (auto q = scored(row); !q.empty()) questions.push_back(std::move(q));
  }
  f.questions = static_cast<int64_t>(questions.size());
  for (double* sum : {&f.unparseable, &f.failed, &f.cut_off, &f.self_found, &f.tokens, &f.thought_tokens, &f.answer_tokens})
    *sum /= static_cast<double>(std::max<int64_t>(f.samples, 1));
  // The mean over questions that have k samples, and the answers (blocks of `block` samples) behind it.
  const auto over = [&](int64_t k, int64_t block, auto value) {
    std::vector<double> values;
    int64_t answers = 0;
    for (const auto& q : questions) {
      const auto n = static_cast<int64_t>(q.size());
      if (n < k) continue;
      values.push_back(value(q, n));
      answers += n / block;
    }
    return clustered_estimate(values, answers);
  };
  const auto pass = [](const std::vector<ScoredSample>& q, int64_t n, int64_t k) {
    return pass_at_k(n, std::count_if(q.begin(), q.end(), [](const ScoredSample& s) { return s.right; }), k);
  };
  f.accuracy = over(1, 1, [&](const auto& q, int64_t n) { return pass(q, n, 1); });
  for (const int64_t k : votes) {
    const Estimate passed = over(k, 1, [&](const auto& q, int64_t n) { return pass(q, n, k); });
    if (passed.questions == 0) continue;
    f.pass.push_back({k, passed});
    f.majority.push_back({k, over(k, k, [&](const auto& q, int64_t) { return majority_at_k(q, k, false); })});
    if (self_verified)
      f.self_verified.push_back({k, over(k, k, [&](const auto& q, int64_t) { return majority_at_k(q, k, true); })});
  }
  return f;
}

int64_t leave_out_long(std::vector<EvalPrompt>* prompts, int64_t room) {
  int64_t count = 0;
  for (EvalPrompt& p : *prompts) {
    p.left_out = static_cast<int64_t>(p.tokens.size()) >= room;
    count += p.left_out ? 1 : 0;
  }
  return count;
}

Result<EvalRun> run_eval(Engine& engine, const std::vector<EvalPrompt>& prompts, EvalGrader& grader,
                         const EvalOptions& options) {
  const int64_t budget = options.think ? options.think_limits.budget : -1;
  if (options.max_tokens > 0 && options.think_limits.marks.empty() && budget >= options.max_tokens)
    return error("a thought of {} tokens leaves no room for an answer within {}; give more tokens, or a smaller budget", budget,
                 options.max_tokens);
  if (std::all_of(prompts.begin(), prompts.end(), [](const EvalPrompt& p) { return p.left_out; }))
    return error("no question leaves room for an answer within {} tokens", engine.room());
  return EvalSession(engine, prompts, grader, options).run();
}

}  // namespace raison
