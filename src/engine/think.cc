#include "engine/think.h"

#include <algorithm>

namespace raison {
namespace {

// Of the marks: the longest proper beginning that the tokens end with, 0 if none; `which` is set to that mark.
int64_t begun(const std::vector<std::vector<int32_t>>& marks, std::span<const int32_t> tokens,
              const std::vector<int32_t>** which = nullptr) {
  size_t best = 0;
  for (const auto& mark : marks)
    for (size_t n = std::min(mark.size() - 1, tokens.size()); n > best; --n)
      if (std::equal(mark.begin(), mark.begin() + static_cast<std::ptrdiff_t>(n),
                     tokens.end() - static_cast<std::ptrdiff_t>(n))) {
        best = n;
        if (which) *which = &mark;
      }
  return static_cast<int64_t>(best);
}

// The longest mark that the tokens end with, 0 if none.
int64_t completed(const std::vector<std::vector<int32_t>>& marks, std::span<const int32_t> tokens) {
  size_t best = 0;
  for (const auto& mark : marks)
    if (mark.size() > best && mark.size() <= tokens.size() &&
        std::equal(mark.begin(), mark.end(), tokens.end() - static_cast<std::ptrdiff_t>(mark.size())))
      best = mark.size();
  return static_cast<int64_t>(best);
}

bool contains(const std::vector<int32_t>& ids, int32_t id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

}  // namespace

Status ThinkRules::validate() const {
  for (const auto* marks : {&open, &close})
    for (const auto& mark : *marks)
      if (mark.empty()) return error("a thinking mark is empty");
  if (close.empty()) return error("no mark ends a thought");
  if (std::search(forced_close.begin(), forced_close.end(), close.front().begin(), close.front().end()) == forced_close.end())
    return error("what is to end a thought does not hold the mark that ends it");
  return {};
}

Status ThinkLimits::validate() const {
  if (budget < -1) return error("the thinking budget is {}, must be 0 or more", budget);
  if (minimum < 0) return error("the least thinking is {}, must be 0 or more", minimum);
  if (budget >= 0 && minimum > budget) return error("the least thinking, {}, is more than the budget of {}", minimum, budget);
  return {};
}

bool LoopGuard::push(int32_t token) {
  const auto n = static_cast<int64_t>(tokens_.size());
  bool loops = false;
  for (int64_t p = 1; p <= std::min(n, kLongestPeriod); ++p) {
    int32_t& run = run_[static_cast<size_t>(p)];
    run = tokens_[static_cast<size_t>(n - p)] == token ? run + 1 : 0;
    loops = loops || run + p >= std::max(kRepeats * p, kTokens);
  }
  tokens_.push_back(token);
  return loops;
}

ThinkState::ThinkState(std::shared_ptr<const ThinkRules> rules, ThinkLimits limits, ThinkPhase start)
    : rules_(std::move(rules)), limits_(std::move(limits)), phase_(rules_ ? start : ThinkPhase::None) {
  if (phase_ == ThinkPhase::Thinking) enter(ThinkPhase::Thinking);
}

void ThinkState::enter(ThinkPhase phase) {
  phase_ = phase;
  tail_.clear();
  held_ = 0;
  loop_.reset();
  if (phase == ThinkPhase::Thinking && limits_.budget == 0) close_for(ThinkEnd::Budget);
}

const std::vector<std::vector<int32_t>>* ThinkState::awaited() const {
  switch (phase_) {
    case ThinkPhase::Undecided: return &rules_->open;
    case ThinkPhase::Thinking: return &rules_->close;
    case ThinkPhase::Answering: return rules_->reopens ? &rules_->open : nullptr;
    case ThinkPhase::None: return nullptr;
  }
  return nullptr;
}

bool ThinkState::below_minimum() const {
  return phase_ == ThinkPhase::Thinking && closing_ == ThinkEnd::None && forced_left_ == 0 && !satisfied_ &&
         counted() < limits_.minimum;
}

std::vector<int32_t> ThinkState::forbidden() const {
  std::vector<int32_t> out;
  if (!below_minimum()) return out;
  for (const auto& mark : rules_->close) {
    const size_t before = mark.size() - 1;
    if (before <= tail_.size() && std::equal(mark.begin(), mark.begin() + static_cast<std::ptrdiff_t>(before),
                                             tail_.end() - static_cast<std::ptrdiff_t>(before)))
      out.push_back(mark.back());
  }
  return out;
}

void ThinkState::settle(int64_t n, TokenKind kind, std::vector<TokenKind>* kinds) {
  kinds->insert(kinds->end(), static_cast<size_t>(n), kind);
  if (kind == TokenKind::Thought) thought_tokens_ += n;
}

void ThinkState::push(int32_t token, std::vector<TokenKind>* kinds) {
  if (forced_left_ > 0) {  // what it completes of a mark begun by the model is a mark's too
    settle(held_ + 1, TokenKind::Mark, kinds);
    held_ = 0;
    if (--forced_left_ == 0) {
      ended_by_ = closing_;
      closing_ = ThinkEnd::None;
      enter(ThinkPhase::Answering);
    }
    return;
  }
  const TokenKind plain = phase_ == ThinkPhase::Thinking ? TokenKind::Thought : TokenKind::Answer;
  const auto* marks = awaited();
  if (marks == nullptr) return settle(1, plain, kinds);
  tail_.push_back(token);
  ++held_;
  if (const int64_t mark = completed(*marks, tail_); mark > 0) {
    settle(held_ - std::min(held_, mark), plain, kinds);
    settle(std::min(held_, mark), TokenKind::Mark, kinds);
    const bool opens = phase_ != ThinkPhase::Thinking;
    if (!opens) ended_by_ = ThinkEnd::Model;
    enter(opens ? ThinkPhase::Thinking : ThinkPhase::Answering);
    return;
  }
  const int64_t may_be = begun(*marks, tail_);
  settle(held_ - std::min(held_, may_be), plain, kinds);
  held_ = std::min(held_, may_be);
  size_t longest = 0;
  for (const auto& mark : *marks) longest = std::max(longest, mark.size());
  if (tail_.size() > longest) tail_.erase(tail_.begin(), tail_.end() - static_cast<std::ptrdiff_t>(longest));
  if (phase_ == ThinkPhase::Thinking) check_limits(token);
}

void ThinkState::check_limits(int32_t token) {
  if (contains(limits_.marks, token)) ++marks_;
  if (token == limits_.satisfied_by) satisfied_ = true;
  if (limits_.budget >= 0 && counted() >= limits_.budget) return close_for(ThinkEnd::Budget);
  if (limits_.loop_guard && loop_.push(token)) close_for(ThinkEnd::Loop);
}

void ThinkState::finish(std::vector<TokenKind>* kinds) {
  settle(held_, phase_ == ThinkPhase::Thinking ? TokenKind::Thought : TokenKind::Answer, kinds);
  held_ = 0;
}

void ThinkState::close_for(ThinkEnd why) {
  if (phase_ == ThinkPhase::Thinking && closing_ == ThinkEnd::None) closing_ = why;
}

std::vector<int32_t> ThinkState::take_forced() {
  if (closing_ == ThinkEnd::None || forced_left_ > 0) return {};
  std::vector<int32_t> out = rules_->forced_close;
  // A mark that the model has begun is completed, not written twice.
  const std::vector<int32_t>* mark = nullptr;
  if (const int64_t have = held_ > 0 ? begun(rules_->close, tail_, &mark) : 0; have > 0) {
    const auto at = std::search(out.begin(), out.end(), rules_->close.front().begin(), rules_->close.front().end());
    std::vector<int32_t> rest(mark->begin() + have, mark->end());
    if (at != out.end()) rest.insert(rest.end(), at + static_cast<std::ptrdiff_t>(rules_->close.front().size()), out.end());
    out = std::move(rest);
  }
  forced_left_ = static_cast<int64_t>(out.size());
  return out;
}

}  // namespace raison
