// Answers compared as they are written.
#include <algorithm>
#include <string>

#include "verify/extract.h"
#include "verify/math_compare.h"
#include "verify/math_expr.h"
#include "verify/math_lexer.h"

namespace raison {
namespace {

struct Written {
  std::string text;
  bool words = false;  // some of it was in \text{} or the like
};

bool plain_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

Written written(std::string_view raw) {
  static constexpr std::string_view kWords[] = {"text",   "mbox",       "textbf", "textit",       "textrm",
                                                "mathrm", "mathbf",     "mathit", "operatorname", "textnormal",
                                                "emph",   "boldsymbol", "mathsf"};
  static constexpr std::string_view kNothing[] = {"left", "right", "quad", "qquad", "displaystyle", "boxed", "fbox"};
  const std::string latex = plain_latex(raw.substr(0, MathLimits::kAnswerBytes));
  Written out;
  std::string braces;  // one for each open brace: 'w' stood behind a command of words
  bool words_begin = false;
  for (size_t i = 0; i < latex.size(); ++i) {
    const char c = latex[i];
    if (c == '\\' && i + 1 < latex.size()) {
      size_t n = 0;
      while (i + 1 + n < latex.size() && plain_letter(latex[i + 1 + n])) ++n;
      const std::string_view name = std::string_view(latex).substr(i + 1, n);
      const auto is = [&](const auto& list) { return std::find(std::begin(list), std::end(list), name) != std::end(list); };
      if (n == 0) {
        if (std::string_view(",;:! ()[]$").find(latex[i + 1]) == std::string_view::npos) out.text += latex.substr(i, 2);
        ++i;
      } else {
        if (is(kWords)) words_begin = true;
        if (name == "dfrac" || name == "tfrac") {
          out.text += "\\frac";
        } else if (!is(kWords) && !is(kNothing)) {
          out.text += "\\" + std::string(name);
          // "\pi r" stays apart from "\pir".
          if (i + 1 + n < latex.size() && latex[i + 1 + n] == ' ') out.text += ' ';
        }
        i += n;
      }
      continue;
    }
    if (c == '{') {
      braces += words_begin ? 'w' : 'b';
      if (!words_begin) out.text += c;
      out.words = out.words || words_begin;
      words_begin = false;
    } else if (c == '}' && !braces.empty()) {
      if (braces.back() == 'b') out.text += c;
      braces.pop_back();
    } else if (c != ' ' && c != '\t' && c != '\n' && c != '\r' && c != '$' && c != '~') {
      out.text += c;
    }
  }
  while (!out.text.empty() && (out.text.back() == '.' || out.text.back() == ' ')) out.text.pop_back();
  // "(B)" is B; not "(1, 2)"
  if (out.text.size() == 3 && out.text[0] == '(' && out.text[2] == ')' && plain_letter(out.text[1]))
    out.text = out.text.substr(1, 1);
  return out;
}

}  // namespace

bool same_text(std::string_view gold, std::string_view answer) {
  if (gold.size() > MathLimits::kAnswerBytes || answer.size() > MathLimits::kAnswerBytes) return false;
  const Written g = written(gold), a = written(answer);
  const auto says = [](char c) { return plain_letter(c) || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) >= 0x80; };
  if (std::none_of(g.text.begin(), g.text.end(), says)) return false;
  if (g.text == a.text) return true;
  const bool letters =
      std::all_of(g.text.begin(), g.text.end(), [](char c) { return plain_letter(c) || c == '-' || c == '\'' || c == ','; });
  if (!letters || (g.text.size() < 3 && !g.words && !a.words)) return false;
  return std::equal(g.text.begin(), g.text.end(), a.text.begin(), a.text.end(),
                    [](char x, char y) { return (plain_letter(x) && plain_letter(y) ? (x | 32) == (y | 32) : x == y); });
}

}  // namespace raison
