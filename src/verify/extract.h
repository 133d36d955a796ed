// Where in a reply its answer stands.
#pragma once
#include <optional>
#include <string_view>

namespace raison {

// Without white space (space, tab, line ends) at its ends.
std::string_view trim(std::string_view text);

// What stands in the last \boxed{...} whose braces close; of nested ones the one that begins last. One pass, however many are open.
std::optional<std::string_view> last_boxed(std::string_view text);

// What stands between the last <tag> and the </tag> behind it.
std::optional<std::string_view> last_tagged(std::string_view text, std::string_view tag);

// Of an answer what counts, trimmed: what <answer>...</answer> holds, else the last \boxed{}, else the whole.
std::string_view final_answer(std::string_view answer);

}  // namespace raison
