// Text that comes out of files: what a one-line message may show of it, and whether it is UTF-8.
#pragma once
#include <string>
#include <string_view>

namespace raison {

// The first `most` bytes, everything but printable ASCII replaced by '?': a name in a file cannot break a message's line.
std::string printable(std::string_view text, size_t most = 96);
// Well-formed UTF-8: no overlong forms, no surrogates, nothing over U+10FFFF.
bool valid_utf8(std::string_view text);

}  // namespace raison
