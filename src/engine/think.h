// Thinking as a state machine over token ids: which tokens are a thought, which an answer; how long a thought may and must be.
// Text plays no part: a "<think>" that a user wrote is other tokens than the mark, and what stands in a prompt is never searched; the
// caller says in which phase the prompt ends.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"

namespace raison {

enum class ThinkPhase : uint8_t {
  None,       // the model does not think
  Undecided,  // the model's first tokens decide: a mark that opens a thought, one that closes it (no thought), or kUndecided others
  Thinking,
  Answering
};
enum class TokenKind : uint8_t { Answer, Thought, Mark };  // Mark: of those that open or close a thought, forced ones too
enum class ThinkEnd : uint8_t { None, Model, Budget, Loop, Caller };  // what ended the thought

// Token sequences, sought at the end of a stream of tokens: as many as a text has tokenisations (thousands), at the cost of their length.
class MarkTrie {
 public:
  explicit MarkTrie(const std::vector<std::vector<int32_t>>& marks = {});
  int64_t longest() const { return longest_; }
  // Of the longest mark that the tokens end with: its length, 0 if none.
  int64_t completed(std::span<const int32_t> tokens) const;
  // Of the longest proper beginning of a mark that the tokens end with: its length, 0 if none.
  int64_t begun(std::span<const int32_t> tokens) const;
  // Ids that would complete a mark.
  std::vector<int32_t> completing(std::span<const int32_t> tokens) const;
  // The shortest way to complete a mark after its beginning `start`.
  std::vector<int32_t> rest_of(std::span<const int32_t> start) const;

 private:
  struct Node {
    std::map<int32_t, size_t> next;
    bool mark = false;
  };
  const Node* walk(std::span<const int32_t> tokens) const;
  std::vector<Node> nodes_;
  int64_t longest_ = 0;
};

// How a model's thoughts are marked. A mark is one token, or several in a row.
struct ThinkMarks {
  std::vector<std::vector<int32_t>> open = {}, close = {};
  std::vector<int32_t> forced_close = {};  // what is put in when a thought must end; holds close.front()
  bool reopens = false;                    // a second thought may follow the first answer (gpt-oss's channels)
};
class ThinkRules {
 public:
  // Error: no mark that closes, an empty mark, a forced end without close.front().
  static Result<std::shared_ptr<const ThinkRules>> create(ThinkMarks marks);
  const ThinkMarks& marks() const { return marks_; }
  const MarkTrie& open() const { return open_; }
  const MarkTrie& close() const { return close_; }
  bool within(int64_t vocab) const;  // all ids are

 private:
  explicit ThinkRules(ThinkMarks marks) : marks_(std::move(marks)), open_(marks_.open), close_(marks_.close) {}
  ThinkMarks marks_;
  MarkTrie open_, close_;
};

// A request's bounds. With `marks` they count occurrences of any of these ids in the thought, not tokens.
struct ThinkLimits {
  int64_t budget = -1;              // the thought is closed as soon as it holds that many; -1: no bound
  int64_t minimum = 0;              // marks that close and ids that stop are ruled out while it holds fewer
  std::vector<int32_t> marks = {};  // e.g. the verdicts of a search
  int32_t satisfied_by = -1;        // this id in the thought ends the minimum early; -1: none
  bool loop_guard = false;          // a thought that goes round in circles is closed
  Status validate() const;
};

// Tells when the latest tokens repeat themselves: some period at least kRepeats times over, and at least kTokens tokens.
class LoopGuard {
 public:
  static constexpr int64_t kLongestPeriod = 512, kRepeats = 6, kTokens = 192;
  bool push(int32_t token);  // true: going in circles
  void reset() { *this = {}; }

 private:
  std::vector<int32_t> tokens_;
  std::vector<int32_t> run_ = std::vector<int32_t>(kLongestPeriod + 1, 0);  // [p] latest tokens equal to the one p before
};

// One sequence's thinking.
class ThinkState {
 public:
  ThinkState() = default;
  // rules null: every token is an answer.
  ThinkState(std::shared_ptr<const ThinkRules> rules, ThinkLimits limits, ThinkPhase start);

  ThinkPhase phase() const { return phase_; }
  ThinkEnd ended_by() const { return ended_by_; }
  int64_t thought_tokens() const { return thought_tokens_; }                                    // marks and forced tokens apart
  int64_t counted() const { return limits_.marks.empty() ? thought_tokens_ + held_ : marks_; }  // what the limits count

  // Ids that must not come next, besides the stop ids if stop_forbidden().
  std::vector<int32_t> forbidden() const;
  bool stop_forbidden() const { return below_minimum(); }

  // Takes the next token. The kinds of the tokens decided by it, in order, are appended to `kinds`: usually one; none while the latest
  // tokens may be the beginning of a mark; several when that is settled.
  void push(int32_t token, std::vector<TokenKind>* kinds);
  // The sequence is over: the kinds of what was still held back.
  void finish(std::vector<TokenKind>* kinds);
  // Tokens that must come next, in order; push them too. Empty: none.
  std::vector<int32_t> take_forced();
  void end_now() { close_for(ThinkEnd::Caller); }

 private:
  static constexpr int64_t kUndecided = 16;  // tokens, white space before the mark included

  bool below_minimum() const;
  void close_for(ThinkEnd why);
  void enter(ThinkPhase phase);
  void settle(int64_t n, TokenKind kind, std::vector<TokenKind>* kinds);
  void check_limits(int32_t token);
  void cut_tail();

  std::shared_ptr<const ThinkRules> rules_;
  ThinkLimits limits_;
  ThinkPhase phase_ = ThinkPhase::None;
  ThinkEnd ended_by_ = ThinkEnd::None, closing_ = ThinkEnd::None;
  int64_t thought_tokens_ = 0, marks_ = 0;
  bool satisfied_ = false;
  std::vector<int32_t> tail_;  // the latest tokens, as many as the longest mark
  int64_t held_ = 0;           // of these: tokens whose kind is not settled, the beginning of a mark perhaps
  int64_t forced_left_ = 0;    // forced tokens still to be pushed
  int64_t undecided_ = 0;      // tokens so far
  LoopGuard loop_;
};

}  // namespace raison
