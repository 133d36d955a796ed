// Text that came from outside, made fit to be shown, logged and written as JSON.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace raison {

// The code point at *at of UTF-8, which is moved behind it. A byte that begins none is U+FFFD and one byte long.
uint32_t next_code_point(std::string_view text, size_t* at);

// One line of valid UTF-8 of at most `most` bytes: control characters are spaces, what is no UTF-8 is '?', and "..." stands for the rest.
std::string one_line(std::string_view text, size_t most);

// The last line that is not blank.
std::string_view last_line(std::string_view text);

}  // namespace raison
