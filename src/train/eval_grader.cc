// Judges of replies in an evaluation: a verifier, or a built-in task.
#include <algorithm>
#include <map>

#include "engine/reply_text.h"
#include "train/eval_run.h"
#include "verify/countdown.h"
#include "verify/math.h"

namespace raison {
namespace {

// What of a generation the judge has no say in.
void measure_reply(const Generation& g, EvalSample* out) {
  out->finished = true;
  out->finish = g.finish;
  out->tokens = static_cast<int64_t>(g.tokens.size());
  const size_t n =
      g.tokens.size() - (g.finish == FinishReason::Stop && !g.tokens.empty() ? 1 : 0);  // the last token is no text
  out->thought_tokens = out->answer_tokens = 0;
  for (size_t i = 0; i < n; ++i) {
    out->thought_tokens += g.kinds[i] == TokenKind::Thought ? 1 : 0;
    out->answer_tokens += g.kinds[i] == TokenKind::Answer ? 1 : 0;
  }
}

class VerifierGrader final : public EvalGrader {
 public:
  VerifierGrader(std::unique_ptr<Verifier> verifier, std::unique_ptr<AnswerJudge> judge, std::shared_ptr<Tokenizer> tokenizer,
                 std::optional<ThinkFormat> format)
      : verifier_(std::move(verifier)),
        judge_(std::move(judge)),
        tokenizer_(std::move(tokenizer)),
        format_(std::move(format)) {}
  const std::string& verifier() const override { return verifier_->name(); }
  bool can_self_verify() const override { return judge_->can_self_verify(); }
  Status check(const EvalPrompt& prompt) const override { return verifier_->check(prompt.question); }

  Status grade(const std::vector<const EvalPrompt*>& prompts, const std::vector<const Rollout*>& rollouts, bool keep_text,
               const std::vector<EvalSample*>& samples) override {
    std::vector<Reply> replies;
    for (const Rollout* r : rollouts) replies.push_back(reply_of(*r));
    std::vector<Submission> submissions;
    for (size_t i = 0; i < replies.size(); ++i) submissions.push_back({&prompts[i]->question, &replies[i]});
    RAISON_ASSIGN(auto verdicts, verifier_->judge(submissions));
    if (verdicts.size() != replies.size())
      return error("verifier {}: {} verdicts for {} replies", verifier(), verdicts.size(), replies.size());
    for (size_t i = 0; i < replies.size(); ++i) {
      EvalSample& s = *samples[i];
      Reply& reply = replies[i];
      measure_reply(rollouts[i]->reply, &s);
      s.verdict = verdicts[i].kind;
      s.answer = std::move(verdicts[i].answer);
      s.reason = std::move(verdicts[i].reason);
      if (reply.ended && reply.thought_ended) s.vote = vote_of(s, reply);
      s.verified = judge_->can_self_verify() && judge_->self_verified(reply.thought);
      if (!keep_text) continue;
      s.text = std::move(reply.text);
      s.thought = std::move(reply.thought);
    }
    return {};
  }

  // What reads differently may be equal in mathematics: 1/2 and 0.5. Each answer joins the first that it is the same as.
  void unite(const std::vector<EvalSample*>& samples) const override {
    if (verifier() != "math") return;
    std::map<std::string, std::string> joined;  // a vote, and the one that stands for it
    std::vector<std::string> first;
    for (EvalSample* s : samples) {
      if (!s->vote) continue;
      const auto [at, fresh] = joined.try_emplace(*s->vote, *s->vote);
      if (fresh) {
        const auto same = [&](const std::string& other) {
          const auto equal = same_math_answer(other, *s->vote);
          return equal.ok() && *equal;
        };
        const auto found = std::find_if(first.begin(), first.end(), same);
        if (found != first.end()) {
          at->second = *found;
        } else {
          first.push_back(*s->vote);
        }
      }
      s->vote = at->second;
    }
  }

 private:
  Reply reply_of(const Rollout& r) const {
    const Generation& g = r.reply;
    ReplyText t = reply_text(*tokenizer_, format_ ? &*format_ : nullptr, g);
    Reply out;
    out.text = std::move(t.text);
    out.thought = std::move(t.thought);
    out.answer = std::move(t.answer);
    out.ended = !r.truncated();
    out.thought_ended = g.kinds.empty() || g.kinds.back() != TokenKind::Thought;
    out.tokens = static_cast<int64_t>(g.tokens.size());
    return out;
  }

  // What the verifier found is the answer that votes; its judge only makes equal ones read alike.
  std::optional<std::string> vote_of(const EvalSample& s, const Reply& reply) const {
    if (s.verdict == Verdict::Unparseable) return std::nullopt;
    const std::string& answer = s.answer.empty() ? reply.answer : s.answer;
    if (verifier() == "math" && !s.answer.empty()) return s.answer;  // unite() finds those that are equal
    if (judge_->name() != "countdown") return judge_->canonical(answer);
    CountdownOptions options;
    options.allow_division = true;  // the judge's own form knows none
    auto text = canonical_countdown(answer, options);
    return text.ok() ? std::optional<std::string>(std::move(text).value()) : std::nullopt;
  }

  std::unique_ptr<Verifier> verifier_;
  std::unique_ptr<AnswerJudge> judge_;
  std::shared_ptr<Tokenizer> tokenizer_;
  std::optional<ThinkFormat> format_;
};

class TaskGrader final : public EvalGrader {
 public:
  explicit TaskGrader(std::shared_ptr<const SyntheticTask> task) : task_(std::move(task)), name_("built in") {}
  const std::string& verifier() const override { return name_; }
  bool can_self_verify() const override { return task_->can_self_verify(); }
  Status check(const EvalPrompt&) const override { return {}; }
  Status grade(const std::vector<const EvalPrompt*>&, const std::vector<const Rollout*>& rollouts, bool keep_text,
               const std::vector<EvalSample*>& samples) override {
    for (size_t i = 0; i < rollouts.size(); ++i) {
      EvalSample& s = *samples[i];
      const std::vector<int32_t>& reply = rollouts[i]->reply.tokens;
      measure_reply(rollouts[i]->reply, &s);
      s.verdict = task_->reward(rollouts[i]->prompt, reply) == 1 ? Verdict::Right : Verdict::Wrong;
      s.vote = task_->vote(reply);
      s.answer = s.vote.value_or("");
      if (s.cut_off()) s.reason = "cut off";
      s.verified = task_->can_self_verify() && task_->self_verified(reply);
      if (keep_text) s.text = task_->text(reply);
    }
    return {};
  }

 private:
  std::shared_ptr<const SyntheticTask> task_;
  std::string name_;
};

}  // namespace

Result<std::unique_ptr<EvalGrader>> make_verifier_grader(const std::string& verifier, const nlohmann::json& options,
                                                         std::shared_ptr<Tokenizer> tokenizer,
                                                         std::optional<ThinkFormat> format) {
  RAISON_ASSIGN(auto made, make_verifier(verifier, options));
  RAISON_ASSIGN(auto judge, make_judge(verifier == "countdown" ? "countdown" : "final"));
  return std::unique_ptr<EvalGrader>(
      std::make_unique<VerifierGrader>(std::move(made), std::move(judge), std::move(tokenizer), std::move(format)));
}

std::unique_ptr<EvalGrader> make_task_grader(std::shared_ptr<const SyntheticTask> task) {
  return std::make_unique<TaskGrader>(std::move(task));
}

std::vector<EvalPrompt> task_eval_prompts(const SyntheticTask& task, int64_t count) {
  constexpr uint64_t kProblems = 99;
  Rng rng(kProblems, 0x6576616C);  // "eval"
  std::vector<EvalPrompt> out(static_cast<size_t>(count));
  for (size_t i = 0; i < out.size(); ++i) {
    EvalPrompt& p = out[i];
    p.tokens = task.problem(rng, true);
    p.start = task.counted_thought() ? ThinkPhase::Thinking : ThinkPhase::None;
    p.question.prompt = task.text(p.tokens);
    p.id = i;
  }
  return out;
}

}  // namespace raison
