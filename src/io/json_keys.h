// What a JSON parser keeps silent about: a key that an object holds twice, of which the last one would count.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace raison {

// A key that occurs twice in one object of well-formed JSON, at any depth. Linear in the text.
std::optional<std::string> key_given_twice(std::string_view text);

}  // namespace raison
