// In which script words are written, and which languages write so.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace raison {

enum class Script : uint8_t {
  None,  // no letter: digits, punctuation, symbols, spaces
  Latin,
  Greek,
  Cyrillic,
  Armenian,
  Hebrew,
  Arabic,
  Devanagari,
  Bengali,
  Gurmukhi,
  Gujarati,
  Oriya,
  Tamil,
  Telugu,
  Kannada,
  Malayalam,
  Sinhala,
  Thai,
  Lao,
  Tibetan,
  Burmese,
  Georgian,
  Ethiopic,
  Khmer,
  Hangul,
  Kana,
  Han,
  Other  // a letter of another script
};

// By Unicode's blocks: of the letters in use, not of every historical one.
Script script_of(uint32_t code_point);

// Those of a language by its ISO 639-1 code, e.g. "ja": Kana and Han; empty: an unknown code.
std::vector<Script> scripts_of_language(std::string_view code);

struct WordCount {
  int64_t words = 0, matching = 0;
};
// How many words a text has, and how many are written in these scripts alone. A word is a run of letters; where words are not parted by
// spaces (Han, Kana, Thai, Lao, Khmer, Burmese, Tibetan) two letters count as one. Single Latin or Greek letters (variables) and names
// behind a backslash (LaTeX's commands) are no words.
WordCount count_words(std::string_view text, const std::vector<Script>& scripts);

}  // namespace raison
