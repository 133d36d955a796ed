#include "io/printable.h"

#include <cstdint>

namespace raison {

std::string printable(std::string_view text, size_t most) {
  std::string out;
  for (char c : text.substr(0, most)) out += (c >= 32 && c < 127) ? c : '?';
  if (text.size() > most) out += "...";
  return out;
}

bool valid_utf8(std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    const auto c = static_cast<uint8_t>(s[i]);
    const size_t n = c < 0x80 ? 1 : (c >= 0xC2 && c < 0xE0) ? 2 : (c & 0xF0) == 0xE0 ? 3 : (c >= 0xF0 && c < 0xF5) ? 4 : 0;
    if (n == 0 || n > s.size() - i) return false;
    for (size_t j = 1; j < n; ++j)
      if ((static_cast<uint8_t>(s[i + j]) & 0xC0) != 0x80) return false;
    const auto d = n > 1 ? static_cast<uint8_t>(s[i + 1]) : uint8_t{0};
    if ((c == 0xE0 && d < 0xA0) || (c == 0xED && d >= 0xA0)) return false;  // overlong; surrogates
    if ((c == 0xF0 && d < 0x90) || (c == 0xF4 && d >= 0x90)) return false;  // overlong; over U+10FFFF
    i += n;
  }
  return true;
}

}  // namespace raison
