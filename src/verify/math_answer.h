// Where in a reply its mathematical answer stands.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace raison {

// The answer's parts, each a text for parse_math: several where it stands in several boxes or formulas ("\boxed{1} and \boxed{2}"). Empty: none.
// Looked for, the first that is there, behind the last </think>: a "final answer is" behind the last box; the last \boxed{} (or \fbox) with those
// joined to it by "and"; the last <answer>...</answer>; the whole reply, if it is nothing but mathematics; what stands behind the last "answer is",
// "answer:" or "####"; the last formula between dollar signs, \(\) or \[\], or a number behind it.
// Of a reply beyond MathLimits::kReplyBytes the end is read.
std::vector<std::string> find_math_answer(std::string_view reply);

// The same for a gold answer: what stands behind "####" (GSM8K), its boxes, else all of it unless it is prose.
std::vector<std::string> find_math_gold(std::string_view gold);

// Whether a text is words that no formula is made of: "ellipse", "\text{(B)}", "not even".
bool is_words(std::string_view text);

}  // namespace raison
