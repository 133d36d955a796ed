// Countdown: combine the given numbers, each exactly once, by + - * (and / where allowed) so that the value is the target.
// An exact verifier for rewards: a grammar, not an evaluator of what happens to parse; rationals of checked 64-bit
// integers; limits on length and depth, so that no reply, however hostile, crashes it or takes long.
//
//   expression = term { ("+" | "-") term }      term = factor { ("*" | "/") factor }
//   factor     = number | "(" expression ")"    number = digits without sign or leading zero
//
// White space (space, tab, line ends) may stand between symbols. The signs U+2212 (minus), U+00D7 (times) and U+00F7
// (division) count as "-", "*" and "/". There is no sign, no power, and no product by writing numbers side by side.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace raison {

struct CountdownVerdict {
  enum Kind { Right, Wrong, Unparseable };
  Kind kind = Unparseable;
  std::string reason;  // one line; empty for Right
  bool right() const { return kind == Right; }
};

struct CountdownProblem {
  std::vector<int64_t> numbers;  // in the order given, each >= 0
  int64_t target = 0;
};

struct CountdownOptions {
  bool allow_division = false;
  size_t max_length = 1024;            // bytes of an expression
  int max_depth = 32;                  // parentheses within parentheses
  std::string think_end = "</think>";  // the answer begins after the first of these; "" = at the reply's start
  std::string end = "<eos>";           // the answer ends before it, a reply without it was cut off; "" = at the reply's end
};

// "4 5 7 -> 8": at least one number, all below 10^15. Markers such as <bos> and <think> around it are passed over.
Result<CountdownProblem> parse_countdown_problem(std::string_view text);

CountdownVerdict judge_countdown_expression(const CountdownProblem& problem, std::string_view expression,
                                            const CountdownOptions& options = {});

// What stands between the markers of `options` in a whole reply. Error: no think_end, or no end after it (cut off).
Result<std::string> countdown_answer(std::string_view reply, const CountdownOptions& options = {});

// Judges the answer in a whole reply; a reply that was cut off, or never left its thought, is Wrong.
CountdownVerdict judge_countdown_reply(const std::vector<int64_t>& numbers, int64_t target, std::string_view reply,
                                       const CountdownOptions& options = {});

// One text for all expressions that differ only by swapping the operands of + and *, by spaces and by needless
// parentheses: what votes are counted by. Never by value: 2*3 and 1+5 stay two answers. Error: not an expression.
Result<std::string> canonical_countdown(std::string_view expression, const CountdownOptions& options = {});

}  // namespace raison
