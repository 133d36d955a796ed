// UTF-8 and the byte-level alphabet: the two encodings tokenizers juggle.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace raison {

// One step of decoding. Invalid input: `valid` is false and `length` is that of the maximal subpart (WHATWG), >= 1.
struct Utf8Step {
  char32_t code = 0xFFFD;
  size_t length = 1;
  bool valid = false;
  bool truncated = false;  // the text ends inside a sequence that was well-formed so far
};
Utf8Step utf8_step(std::string_view text, size_t at);  // at < text.size()

void append_utf8(std::string& out, char32_t code);  // code must be a Unicode scalar value
bool is_valid_utf8(std::string_view text);
size_t utf8_length(std::string_view text);  // code points (an invalid subpart counts as one)
bool is_space(char32_t c);                  // Unicode's White_Space

// What a one-line message may show of a text that comes out of a file: its first `most` bytes, whole characters, those that are
// invisible or broken as escapes.
std::string shown(std::string_view text, size_t most = 60);

// GPT-2's byte alphabet: every byte has a printable character. Byte -> code point, and back (-1: no such byte).
char32_t byte_level_char(uint8_t byte);
int byte_level_byte(char32_t code);
std::string bytes_to_byte_level(std::string_view bytes);
// False if some character is not of the alphabet.
bool byte_level_to_bytes(std::string_view text, std::string* bytes);

// Replaces every occurrence; `from` must not be empty.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

// The byte of a "<0xNN>" token, or -1.
int byte_token_value(std::string_view token);
std::string byte_token(uint8_t byte);

inline constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // U+2581, SentencePiece's visible space

}  // namespace raison
