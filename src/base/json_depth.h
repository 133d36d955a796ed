// How deep JSON is nested, told before it is parsed: it is printed, walked and destroyed by recursion, and a file must not decide
// how deep.
#pragma once
#include <cstddef>
#include <string_view>

namespace raison {

inline constexpr int kMaxJsonDepth = 256;
inline constexpr size_t kShallow = static_cast<size_t>(-1);

// The byte at which brackets stand more than `max` deep within each other, or kShallow. Text that is no JSON is left to the
// parser.
size_t json_too_deep_at(std::string_view text, int max = kMaxJsonDepth);

}  // namespace raison
