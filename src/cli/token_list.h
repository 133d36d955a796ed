// Lists of token ids as the user writes them: "1,2,3", or a file.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace raison::cli {

// Ids separated by commas, white space or brackets. `where` names the source in errors.
Result<std::vector<int32_t>> parse_token_list(const std::string& text, const std::string& where);
// LIST, or the path of a file: text as above, or safetensors with an I32 or I64 tensor "tokens".
Result<std::vector<int32_t>> read_token_list(const std::string& argument);
// Every id within [0, vocab).
Status check_tokens(const std::vector<int32_t>& tokens, int64_t vocab);

}  // namespace raison::cli
