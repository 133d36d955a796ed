#include "verify/plain_text.h"

#include "verify/extract.h"

namespace raison {

uint32_t next_code_point(std::string_view text, size_t* at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t begin = (*at)++;
  const unsigned char first = byte(begin);
  if (first < 0x80) return first;
  const size_t more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
  if (first < 0xC2 || first > 0xF4 || text.size() - begin <= more) return 0xFFFD;
  uint32_t point = first & (0x3Fu >> more);
  for (size_t i = 1; i <= more; ++i) {
    if ((byte(begin + i) & 0xC0) != 0x80) return 0xFFFD;
    point = point << 6 | (byte(begin + i) & 0x3Fu);
  }
  constexpr uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  if (point < kLeast[more] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return 0xFFFD;
  *at = begin + more + 1;
  return point;
}

std::string one_line(std::string_view text, size_t most) {
  text = trim(text);
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const uint32_t point = next_code_point(text, &at);
    if (out.size() + (at - begin) + 3 > most) return out + "...";
    if (point == 0xFFFD && at == begin + 1) {
      out += '?';
    } else if (point < 0x20 || (point >= 0x7F && point < 0xA0) || point == 0x2028 || point == 0x2029) {
      out += ' ';
    } else {
      out += text.substr(begin, at - begin);
    }
  }
  return out;
}

std::string_view last_line(std::string_view text) {
  text = trim(text);
  const size_t end = text.find_last_of("\r\n");
  return end == std::string_view::npos ? text : trim(text.substr(end + 1));
}

}  // namespace raison
