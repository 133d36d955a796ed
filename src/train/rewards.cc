#include "train/rewards.h"

#include <cmath>

#include "engine/reply_text.h"

namespace raison {

double soft_overlong(int64_t tokens, int64_t most, int64_t cache) {
  if (tokens <= most - cache) return 0;
  if (tokens > most) return -1;
  return static_cast<double>(most - cache - tokens) / static_cast<double>(cache);
}

void RewardScores::append(RewardScores more) {
  if (parts.empty()) parts.resize(more.parts.size());
  for (size_t f = 0; f < parts.size(); ++f) parts[f].insert(parts[f].end(), more.parts[f].begin(), more.parts[f].end());
  for (Verdict& v : more.verdicts) verdicts.push_back(std::move(v));
}

Result<std::unique_ptr<RewardSet>> RewardSet::create(const Recipe& recipe, std::shared_ptr<const SyntheticTask> task,
                                                     const TextCodec& codec, const Thinking& thinking, int64_t max_length) {
  auto out = std::unique_ptr<RewardSet>(new RewardSet);
  out->task_ = std::move(task);
  out->codec_ = codec;
  out->format_ = thinking.format;
  out->max_length_ = max_length;
  out->overlong_cache_ = recipe.policy.overlong_cache;
  for (const RewardRecipe& r : recipe.rewards) {
    Part part;
    if (r.verifier != "task") {
      auto made = make_verifier(r.verifier, r.options);
      if (!made.ok()) return error("{}: reward: {}", recipe.file, made.message());
      part.verifier = std::move(made).value();
    }
    out->parts_.push_back(std::move(part));
    out->names_.push_back(r.name);
    out->weights_.push_back(r.weight);
  }
  if (recipe.policy.overlong_cache > 0) {
    Part part;
    part.overlong = true;
    out->parts_.push_back(std::move(part));
    out->names_.emplace_back("overlong");
    out->weights_.push_back(1);
  }
  return out;
}

Status RewardSet::check(const Question& question) const {
  for (size_t f = 0; f < parts_.size(); ++f) {
    if (!parts_[f].verifier) continue;
    if (const Status ok = parts_[f].verifier->check(question); !ok.ok()) return error("{}: {}", names_[f], ok.message());
  }
  return {};
}

Reply RewardSet::reply_of(const Rollout& r) const {
  Reply out;
  const Generation& g = r.reply;
  if (codec_.tokenizer) {
    ReplyText t = reply_text(*codec_.tokenizer, format_ ? &*format_ : nullptr, g);
    out.text = std::move(t.text);
    out.thought = std::move(t.thought);
    out.answer = std::move(t.answer);
  }
  out.ended = !r.truncated();
  out.thought_ended = g.kinds.empty() || g.kinds.back() != TokenKind::Thought;
  out.tokens = static_cast<int64_t>(g.tokens.size());
  return out;
}

Result<std::vector<Verdict>> RewardSet::judge(Part& part, const std::vector<const TrainPrompt*>& prompts,
                                              const std::vector<const Rollout*>& rollouts,
                                              const std::vector<Reply>& replies) const {
  if (part.verifier) {
    std::vector<Submission> submissions;
    for (size_t i = 0; i < rollouts.size(); ++i) submissions.push_back({prompts[i]->question.get(), &replies[i]});
    return part.verifier->judge(submissions);
  }
  std::vector<Verdict> out;
  for (size_t i = 0; i < rollouts.size(); ++i) {
    Verdict v;
    if (part.overlong) {
      const auto tokens = static_cast<int64_t>(rollouts[i]->prompt.size() + rollouts[i]->reply.tokens.size());
      v.score = soft_overlong(tokens, max_length_, overlong_cache_);
      v.kind = v.score == 0 ? Verdict::Right : Verdict::Wrong;
    } else {
      v.score = task_->reward(rollouts[i]->prompt, rollouts[i]->reply.tokens);
      v.kind = v.score == 1 ? Verdict::Right : Verdict::Wrong;
      v.answer = replies[i].answer;
    }
    out.push_back(std::move(v));
  }
  return out;
}

Result<RewardScores> RewardSet::score(const std::vector<const TrainPrompt*>& prompts,
                                      const std::vector<const Rollout*>& rollouts) {
  std::vector<Reply> replies;
  for (const Rollout* r : rollouts) replies.push_back(reply_of(*r));
  RewardScores out;
  for (size_t f = 0; f < parts_.size(); ++f) {
    auto verdicts = judge(parts_[f], prompts, rollouts, replies);
    if (!verdicts.ok()) return error("reward {}: {}", names_[f], verdicts.message());
    if (verdicts->size() != rollouts.size())
      return error("reward {}: {} verdicts for {} replies", names_[f], verdicts->size(), rollouts.size());
    out.parts.emplace_back();
    for (const Verdict& v : *verdicts) {
      if (!std::isfinite(v.score)) return error("reward {}: a score of {}", names_[f], v.score);
      // A judge that could not tell says nothing: the reply must not be punished for it.
      out.parts.back().push_back(v.kind == Verdict::Failed ? std::nullopt : std::optional<double>(v.score));
    }
    if (f == 0) out.verdicts = std::move(verdicts).value();
  }
  return out;
}

}  // namespace raison
