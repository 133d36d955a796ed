#include "engine/think.h"

#include <algorithm>

namespace raison {
namespace {

bool contains(const std::vector<int32_t>& ids, int32_t id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

}  // namespace

MarkTrie::MarkTrie(const std::vector<std::vector<int32_t>>& marks) : nodes_(1) {
  for (const auto& mark : marks) {
    size_t at = 0;
    for (const int32_t id : mark) {
      const auto [edge, fresh] = nodes_[at].next.try_emplace(id, nodes_.size());
      at = edge->second;
      if (fresh) nodes_.emplace_back();
    }
    nodes_[at].mark = at != 0;
    longest_ = std::max(longest_, static_cast<int64_t>(mark.size()));
  }
}

const MarkTrie::Node* MarkTrie::walk(std::span<const int32_t> tokens) const {
  const Node* node = &nodes_.front();
  for (const int32_t id : tokens) {
    const auto edge = node->next.find(id);
    if (edge == node->next.end()) return nullptr;
    node = &nodes_[edge->second];
  }
  return node;
}

int64_t MarkTrie::completed(std::span<const int32_t> tokens) const {
  for (int64_t n = std::min(longest_, static_cast<int64_t>(tokens.size())); n > 0; --n)
    if (const Node* node = walk(tokens.last(static_cast<size_t>(n))); node && node->mark) return n;
  return 0;
}

int64_t MarkTrie::begun(std::span<const int32_t> tokens) const {
  for (int64_t n = std::min(longest_ - 1, static_cast<int64_t>(tokens.size())); n > 0; --n)
    if (const Node* node = walk(tokens.last(static_cast<size_t>(n))); node && !node->next.empty()) return n;
  return 0;
}

std::vector<int32_t> MarkTrie::completing(std::span<const int32_t> tokens) const {
  std::vector<int32_t> out;
  for (int64_t n = std::min(longest_ - 1, static_cast<int64_t>(tokens.size())); n >= 0; --n)
    if (const Node* node = walk(tokens.last(static_cast<size_t>(n))))
      for (const auto& [id, next] : node->next)
        if (nodes_[next].mark) out.push_back(id);
  return out;
}

std::vector<int32_t> MarkTrie::rest_of(std::span<const int32_t> start) const {
  const Node* first = walk(start);
  if (!first) return {};
  std::vector<std::pair<const Node*, std::vector<int32_t>>> front = {{first, {}}};
  while (!front.empty()) {  // breadth first; a finite tree
    std::vector<std::pair<const Node*, std::vector<int32_t>>> next;
    for (const auto& [node, path] : front)
      for (const auto& [id, child] : node->next) {
        auto longer = path;
        longer.push_back(id);
        if (nodes_[child].mark) return longer;
        next.emplace_back(&nodes_[child], std::move(longer));
      }
    front = std::move(next);
  }
  return {};
}

Result<std::shared_ptr<const ThinkRules>> ThinkRules::create(ThinkMarks m) {
  for (const auto* marks : {&m.open, &m.close})
    for (const auto& mark : *marks)
      if (mark.empty()) return error("a thinking mark is empty");
  if (m.close.empty()) return error("no mark ends a thought");
  const auto& close = m.close.front();
  if (std::search(m.forced_close.begin(), m.forced_close.end(), close.begin(), close.end()) == m.forced_close.end())
    return error("what is to end a thought does not hold the mark that ends it");
  return std::shared_ptr<const ThinkRules>(new ThinkRules(std::move(m)));
}

bool ThinkRules::within(int64_t vocab) const {
  const auto inside = [&](const std::vector<int32_t>& ids) {
    return std::all_of(ids.begin(), ids.end(), [&](int32_t id) { return id >= 0 && id < vocab; });
  };
  return std::all_of(marks_.open.begin(), marks_.open.end(), inside) &&
         std::all_of(marks_.close.begin(), marks_.close.end(), inside) && inside(marks_.forced_close);
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

bool ThinkState::below_minimum() const {
  return phase_ == ThinkPhase::Thinking && closing_ == ThinkEnd::None && forced_left_ == 0 && !satisfied_ &&
         counted() < limits_.minimum;
}

std::vector<int32_t> ThinkState::forbidden() const {
  return below_minimum() ? rules_->close().completing(tail_) : std::vector<int32_t>();
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
  const bool thinking = phase_ == ThinkPhase::Thinking, undecided = phase_ == ThinkPhase::Undecided;
  const TokenKind plain = thinking ? TokenKind::Thought : TokenKind::Answer;
  const bool may_open = undecided || (phase_ == ThinkPhase::Answering && rules_->marks().reopens);
  const bool may_close = undecided || thinking;
  if (!may_open && !may_close) return settle(1, plain, kinds);
  tail_.push_back(token);
  ++held_;
  const int64_t opened = may_open ? rules_->open().completed(tail_) : 0;
  const int64_t closed = may_close ? rules_->close().completed(tail_) : 0;
  if (const int64_t mark = std::min(held_, std::max(opened, closed)); mark > 0) {
    settle(held_ - mark, plain, kinds);
    settle(mark, TokenKind::Mark, kinds);
    if (thinking) ended_by_ = ThinkEnd::Model;
    return enter(opened >= closed ? ThinkPhase::Thinking : ThinkPhase::Answering);
  }
  const int64_t begun = std::max(may_open ? rules_->open().begun(tail_) : 0, may_close ? rules_->close().begun(tail_) : 0);
  const int64_t may_be = std::min(held_, begun);
  settle(held_ - may_be, plain, kinds);
  held_ = may_be;
  cut_tail();
  if (thinking) check_limits(token);
  if (undecided && ++undecided_ >= kUndecided && held_ == 0) enter(ThinkPhase::Answering);
}

void ThinkState::cut_tail() {
  const auto longest = static_cast<size_t>(std::max(rules_->open().longest(), rules_->close().longest()));
  if (tail_.size() > longest) tail_.erase(tail_.begin(), tail_.end() - static_cast<std::ptrdiff_t>(longest));
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
  std::vector<int32_t> out = rules_->marks().forced_close;
  // A mark that the model has begun is completed, not written twice.
  if (const int64_t have = std::min(held_, rules_->close().begun(tail_)); have > 0) {
    const auto& mark = rules_->marks().close.front();
    const auto at = std::search(out.begin(), out.end(), mark.begin(), mark.end()) + static_cast<std::ptrdiff_t>(mark.size());
    std::vector<int32_t> rest = rules_->close().rest_of(std::span<const int32_t>(tail_).last(static_cast<size_t>(have)));
    rest.insert(rest.end(), at, out.end());
    out = std::move(rest);
  }
  forced_left_ = static_cast<int64_t>(out.size());
  return out;
}

}  // namespace raison
