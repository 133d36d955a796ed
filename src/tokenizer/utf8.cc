#include "tokenizer/utf8.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>

namespace raison {
namespace {

struct ByteAlphabet {
  std::array<char32_t, 256> to_char{};
  std::array<int16_t, 0x180> to_byte{};
  ByteAlphabet() {
    to_byte.fill(-1);
    char32_t next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE);
      to_char[b] = printable ? static_cast<char32_t>(b) : next++;
      to_byte[to_char[b]] = static_cast<int16_t>(b);
    }
  }
};

const ByteAlphabet& alphabet() {
  static const ByteAlphabet instance;
  return instance;
}

// Number of continuation bytes after `lead` and the allowed range of the first of them; 0 for an invalid lead.
struct Lead {
  int more;
  uint8_t low, high;
};
Lead lead_info(uint8_t lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return {1, 0x80, 0xBF};
  if (lead == 0xE0) return {2, 0xA0, 0xBF};
  if (lead == 0xED) return {2, 0x80, 0x9F};
  if (lead >= 0xE1 && lead <= 0xEF) return {2, 0x80, 0xBF};
  if (lead == 0xF0) return {3, 0x90, 0xBF};
  if (lead >= 0xF1 && lead <= 0xF3) return {3, 0x80, 0xBF};
  if (lead == 0xF4) return {3, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Step utf8_step(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(at);
  if (lead < 0x80) return {lead, 1, true, false};
  const Lead info = lead_info(lead);
  if (info.more == 0) return {};
  char32_t code = lead & (0x3F >> info.more);
  for (int k = 1; k <= info.more; ++k) {
    const size_t i = at + static_cast<size_t>(k);
    if (i >= text.size()) return {0xFFFD, static_cast<size_t>(k), false, true};
    const uint8_t low = k == 1 ? info.low : 0x80, high = k == 1 ? info.high : 0xBF;
    if (byte(i) < low || byte(i) > high) return {0xFFFD, static_cast<size_t>(k), false, false};
    code = (code << 6) | (byte(i) & 0x3F);
  }
  return {code, static_cast<size_t>(info.more) + 1, true, false};
}

void append_utf8(std::string& out, char32_t code) {
  const auto put = [&](char32_t b) { out.push_back(static_cast<char>(b)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

bool is_valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    if (!step.valid) return false;
    i += step.length;
  }
  return true;
}

size_t utf8_length(std::string_view text) {
  size_t n = 0;
  for (size_t i = 0; i < text.size(); ++n) i += utf8_step(text, i).length;
  return n;
}

bool is_space(char32_t c) {
  if ((c >= 9 && c <= 13) || c == 0x85) return true;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

std::string shown(std::string_view text, size_t most) {
  std::string out;
  size_t i = 0;
  while (i < std::min(text.size(), most)) {
    const Utf8Step step = utf8_step(text, i);
    const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(step.code));
    if (!step.valid) {
      for (size_t k = 0; k < step.length; ++k) out += fmt::format("\\x{:02x}", static_cast<uint8_t>(text[i + k]));
    } else if (category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_ZL ||
               category == UTF8PROC_CATEGORY_ZP || category == UTF8PROC_CATEGORY_CN) {
      out += step.code == '\n' ? "\\n" : fmt::format("\\u{{{:x}}}", static_cast<uint32_t>(step.code));
    } else {
      out += text.substr(i, step.length);
    }
    i += step.length;
  }
  return i < text.size() ? out + "..." : out;
}

char32_t byte_level_char(uint8_t byte) { return alphabet().to_char[byte]; }

int byte_level_byte(char32_t code) { return code < alphabet().to_byte.size() ? alphabet().to_byte[code] : -1; }

std::string bytes_to_byte_level(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (char c : bytes) append_utf8(out, byte_level_char(static_cast<uint8_t>(c)));
  return out;
}

bool byte_level_to_bytes(std::string_view text, std::string* bytes) {
  bytes->clear();
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    const int byte = step.valid ? byte_level_byte(step.code) : -1;
    if (byte < 0) return false;
    bytes->push_back(static_cast<char>(byte));
    i += step.length;
  }
  return true;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  size_t done = 0;
  for (size_t hit; (hit = text.find(from, done)) != std::string_view::npos; done = hit + from.size()) {
    out.append(text.substr(done, hit - done)).append(to);
  }
  return out.append(text.substr(done));
}

int byte_token_value(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return -1;
  int value = 0;
  for (char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

std::string byte_token(uint8_t byte) { return fmt::format("<0x{:02X}>", byte); }

}  // namespace raison
