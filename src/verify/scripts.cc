#include "verify/scripts.h"

#include <algorithm>
#include <iterator>

#include "verify/plain_text.h"

namespace raison {
namespace {

struct ScriptRange {
  uint32_t first, last;
  Script script;
};

// clang-format off
constexpr ScriptRange kScriptRanges[] = {  // in order
    {'A', 'Z', Script::Latin}, {'a', 'z', Script::Latin}, {0xAA, 0xAA, Script::Latin}, {0xBA, 0xBA, Script::Latin},
    {0xC0, 0xD6, Script::Latin}, {0xD8, 0xF6, Script::Latin}, {0xF8, 0x2AF, Script::Latin}, {0x370, 0x373, Script::Greek},
    {0x376, 0x377, Script::Greek}, {0x37B, 0x37D, Script::Greek}, {0x386, 0x386, Script::Greek}, {0x388, 0x3FF, Script::Greek},
    {0x400, 0x481, Script::Cyrillic}, {0x48A, 0x52F, Script::Cyrillic}, {0x531, 0x556, Script::Armenian},
    {0x561, 0x587, Script::Armenian}, {0x591, 0x5F4, Script::Hebrew}, {0x610, 0x61A, Script::Arabic}, {0x620, 0x65F, Script::Arabic},
    {0x66E, 0x6D3, Script::Arabic}, {0x6D5, 0x6EF, Script::Arabic}, {0x6FA, 0x6FF, Script::Arabic}, {0x700, 0x74F, Script::Other},
    {0x750, 0x77F, Script::Arabic}, {0x780, 0x89F, Script::Other}, {0x8A0, 0x8FF, Script::Arabic}, {0x900, 0x963, Script::Devanagari},
    {0x971, 0x97F, Script::Devanagari}, {0x980, 0x9E3, Script::Bengali}, {0x9F0, 0x9F1, Script::Bengali}, {0xA00, 0xA65, Script::Gurmukhi},
    {0xA70, 0xA7F, Script::Gurmukhi}, {0xA80, 0xAE3, Script::Gujarati}, {0xB00, 0xB63, Script::Oriya}, {0xB80, 0xBE5, Script::Tamil},
    {0xC00, 0xC63, Script::Telugu}, {0xC80, 0xCE3, Script::Kannada}, {0xD00, 0xD63, Script::Malayalam}, {0xD80, 0xDDF, Script::Sinhala},
    {0xE01, 0xE3A, Script::Thai}, {0xE40, 0xE4E, Script::Thai}, {0xE80, 0xECD, Script::Lao}, {0xEDC, 0xEDF, Script::Lao},
    {0xF00, 0xF00, Script::Tibetan}, {0xF40, 0xFBC, Script::Tibetan}, {0x1000, 0x103F, Script::Burmese}, {0x1050, 0x108F, Script::Burmese},
    {0x10A0, 0x10FF, Script::Georgian}, {0x1100, 0x11FF, Script::Hangul}, {0x1200, 0x135F, Script::Ethiopic},
    {0x1380, 0x138F, Script::Ethiopic}, {0x13A0, 0x167F, Script::Other}, {0x1780, 0x17D3, Script::Khmer}, {0x1820, 0x1AAF, Script::Other},
    {0x1B00, 0x1C7F, Script::Other}, {0x1C80, 0x1C8F, Script::Cyrillic}, {0x1C90, 0x1CBF, Script::Georgian},
    {0x1E00, 0x1EFF, Script::Latin}, {0x1F00, 0x1FFF, Script::Greek}, {0x2C60, 0x2C7F, Script::Latin}, {0x2D00, 0x2D2F, Script::Georgian},
    {0x2D80, 0x2DDF, Script::Ethiopic}, {0x2DE0, 0x2DFF, Script::Cyrillic}, {0x3005, 0x3007, Script::Han}, {0x3041, 0x3096, Script::Kana},
    {0x309D, 0x309F, Script::Kana}, {0x30A1, 0x30FA, Script::Kana}, {0x30FC, 0x30FF, Script::Kana}, {0x3131, 0x318E, Script::Hangul},
    {0x31F0, 0x31FF, Script::Kana}, {0x3400, 0x4DBF, Script::Han}, {0x4E00, 0x9FFF, Script::Han}, {0xA640, 0xA69F, Script::Cyrillic},
    {0xA722, 0xA7FF, Script::Latin}, {0xA960, 0xA97F, Script::Hangul}, {0xAC00, 0xD7FB, Script::Hangul}, {0xF900, 0xFAFF, Script::Han},
    {0xFB00, 0xFB06, Script::Latin}, {0xFB13, 0xFB17, Script::Armenian}, {0xFB1D, 0xFB4F, Script::Hebrew}, {0xFB50, 0xFDFB, Script::Arabic},
    {0xFE70, 0xFEFC, Script::Arabic}, {0xFF21, 0xFF3A, Script::Latin}, {0xFF41, 0xFF5A, Script::Latin}, {0xFF66, 0xFF9F, Script::Kana},
    {0x20000, 0x323AF, Script::Han},
};

struct LanguageScripts {
  std::string_view codes;  // parted by spaces
  Script first, second = Script::None;
};

constexpr LanguageScripts kLanguages[] = {
    {" en de fr es it pt nl sv da no nb nn fi is pl cs sk sl hr bs hu ro et lv lt tr az uz id ms vi tl sw af sq eu ca gl ga cy mt la eo ",
     Script::Latin},
    {" ru uk be bg mk sr kk ky tg mn ", Script::Cyrillic}, {" el ", Script::Greek}, {" hy ", Script::Armenian},
    {" he yi ", Script::Hebrew}, {" ar fa ur ps ckb ug ", Script::Arabic}, {" hi mr ne sa ", Script::Devanagari},
    {" bn as ", Script::Bengali}, {" pa ", Script::Gurmukhi}, {" gu ", Script::Gujarati}, {" or ", Script::Oriya}, {" ta ", Script::Tamil},
    {" te ", Script::Telugu}, {" kn ", Script::Kannada}, {" ml ", Script::Malayalam}, {" si ", Script::Sinhala}, {" th ", Script::Thai},
    {" lo ", Script::Lao}, {" bo dz ", Script::Tibetan}, {" my ", Script::Burmese}, {" ka ", Script::Georgian},
    {" am ti ", Script::Ethiopic}, {" km ", Script::Khmer}, {" ko ", Script::Hangul}, {" zh ", Script::Han},
    {" ja ", Script::Kana, Script::Han},
};
// clang-format on

bool without_spaces(Script s) {
  return s == Script::Han || s == Script::Kana || s == Script::Thai || s == Script::Lao || s == Script::Khmer ||
         s == Script::Burmese || s == Script::Tibetan;
}

// The run of letters that is being read.
struct Run {
  int64_t letters = 0;
  Script script = Script::None;
  bool matches = true;
  bool command = false;  // it stands behind a backslash

  void end(WordCount* count) {
    const bool symbol = letters == 1 && (script == Script::Latin || script == Script::Greek);
    const int64_t words = letters == 0 || command || symbol ? 0 : without_spaces(script) ? (letters + 1) / 2 : 1;
    count->words += words;
    count->matching += matches ? words : 0;
    *this = Run();
  }
};

}  // namespace

Script script_of(uint32_t point) {
  const auto* range = std::upper_bound(std::begin(kScriptRanges), std::end(kScriptRanges), point,
                                       [](uint32_t p, const ScriptRange& r) { return p < r.first; });
  if (range == std::begin(kScriptRanges)) return Script::None;
  --range;
  return point <= range->last ? range->script : Script::None;
}

std::vector<Script> scripts_of_language(std::string_view code) {
  const std::string wanted = " " + std::string(code) + " ";
  if (code.empty() || code.find(' ') != std::string_view::npos) return {};
  for (const LanguageScripts& l : kLanguages) {
    if (l.codes.find(wanted) == std::string_view::npos) continue;
    return l.second == Script::None ? std::vector<Script>{l.first} : std::vector<Script>{l.first, l.second};
  }
  return {};
}

WordCount count_words(std::string_view text, const std::vector<Script>& scripts) {
  const auto wanted = [&](Script s) { return std::find(scripts.begin(), scripts.end(), s) != scripts.end(); };
  WordCount count;
  Run run;
  for (size_t at = 0; at < text.size();) {
    const uint32_t point = next_code_point(text, &at);
    if (point >= 0x300 && point < 0x370) continue;  // accents belong to the letter before
    const Script script = script_of(point);
    // Letters of two scripts make one word of neither, unless one of them parts no words by spaces.
    const bool parted = script != run.script && (without_spaces(script) || without_spaces(run.script));
    if (script == Script::None || parted) run.end(&count);
    if (script != Script::None) {
      run.matches = run.matches && wanted(script);
      run.script = script;
      ++run.letters;
    }
    if (point == '\\') run.command = true;
  }
  run.end(&count);
  return count;
}

}  // namespace raison
