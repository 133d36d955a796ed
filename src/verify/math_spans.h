// Formulas, boxes and numbers within prose.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace raison {

struct MathSpan {
  size_t begin = 0, end = 0;  // with its marks
  std::string content;
};

// Between $$, $, \( \) and \[ \], in their order. A dollar sign before a sum of money opens none.
std::vector<MathSpan> math_spans(std::string_view text);

// \boxed{...} and \fbox{...} (also \boxed 5 and \boxed {5}), those within others left out; the last may lack its closing brace. In linear time.
std::vector<MathSpan> boxed_spans(std::string_view text);

// The number that stands at `at`, with its sign, separators, fraction bar and percent sign: "-1,234.5", "7/2", "25%". A decimal comma becomes a point.
std::optional<MathSpan> plain_number_at(std::string_view text, size_t at);

// The last number outside the formulas `spans`.
std::optional<MathSpan> last_plain_number(std::string_view text, const std::vector<MathSpan>& spans);

}  // namespace raison
