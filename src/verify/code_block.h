// Fenced code in Markdown.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace raison {

// What stands in the last block ```LABEL of one of these labels (lower case), else in the last without a label. A block that is not closed
// goes on to the end. Fences are three or more backticks or tildes at a line's beginning (spaces before them do not count); what closes one
// is of the same kind and at least as long.
std::optional<std::string_view> last_code_block(std::string_view text, const std::vector<std::string>& labels);

}  // namespace raison
