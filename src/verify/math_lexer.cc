#include "verify/math_lexer.h"

#include <algorithm>
#include <optional>

#include "verify/extract.h"
#include "verify/math_expr.h"
#include "verify/math_words.h"

namespace raison {
namespace {

bool math_digit(char c) { return c >= '0' && c <= '9'; }
bool math_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool math_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Result<std::vector<MathToken>> run() {
    while (fault_.empty()) {
      while (at_ < text_.size() && (math_space(text_[at_]) || text_[at_] == '~' || text_[at_] == '$')) {
        ++at_;
        spaced_ = true;
      }
      if (at_ >= text_.size()) break;
      next();
    }
    if (!fault_.empty()) return Error(fault_);
    put(MathToken::End, "");
    return std::move(out_);
  }

 private:
  void put(MathToken::Kind kind, std::string text) {
    MathToken t;
    t.kind = kind;
    t.text = std::move(text);
    t.spaced = spaced_;
    spaced_ = false;
    out_.push_back(std::move(t));
  }
  void mark(std::string_view text) {
    // Within brackets a comma parts the members of a tuple; outside it may part thousands.
    if (text == "(" || text == "[" || text == "\\{" || text == "<") ++brackets_;
    if ((text == ")" || text == "]" || text == "\\}" || text == ">") && brackets_ > 0) --brackets_;
    put(MathToken::Mark, std::string(text));
  }
  bool after_number() const { return !out_.empty() && out_.back().kind == MathToken::Number; }
  bool starts(std::string_view what) const { return text_.substr(at_).starts_with(what); }
  char peek(size_t ahead) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void next() {
    const char c = text_[at_];
    if (math_digit(c) || (c == '.' && math_digit(peek(1)))) return number();
    if (math_letter(c)) return letters();
    if (c == '\\') return command();
    ++at_;
    switch (c) {
      case '<': return starts("=") ? relation("l", 1) : relation("<", 0);
      case '>': return starts("=") ? relation("g", 1) : relation(">", 0);
      case '=': return relation("=", starts("=") ? 1 : 0);
      case '!':
        if (starts("=") && spaced_) return relation("n", 1);
        return mark("!");
      case '*': return mark(starts("*") ? (++at_, "^") : "*");
      case '.':  // the end of a sentence, or dots
        if (trim(text_.substr(at_)).empty()) return;
        if (starts("..")) {
          at_ += 2;
          return put(MathToken::Letter, "...");
        }
        fault_ = "a full stop within it";
        return;
      case '`':
      case '"': return;
      default: break;
    }
    if (std::string_view("+-/^_'()[]{}&,;:%|").find(c) != std::string_view::npos) return mark(text_.substr(at_ - 1, 1));
    fault_ = "a sign that is no mathematics";
  }

  void relation(std::string_view op, size_t more) {
    at_ += more;
    put(MathToken::Relation, std::string(op));
  }

  size_t digits_at(size_t at) const {
    size_t n = 0;
    while (at + n < text_.size() && math_digit(text_[at + n])) ++n;
    return n;
  }

  // Length of a separator of thousands at `at`; 0: none.
  size_t separator(size_t at, std::string_view form) const {
    if (!text_.substr(at).starts_with(form)) return 0;
    size_t end = at + form.size();
    // "11,\! 111": TeX takes no notice of spaces there.
    while (form.size() > 1 && form != "\\ " && end < text_.size() && text_[end] == ' ') ++end;
    return end - at;
  }

  // 1,234,567 in all forms: one to three digits, then groups of exactly three.
  bool thousands(std::string* digits) {
    const size_t first = digits_at(at_);
    if (first < 1 || first > 3 || text_[at_] == '0') return false;
    for (const std::string_view form : {"{,}", ",\\!", "\\!,", ",\\,", "\\,", "\\ ", ",", " ", "'"}) {
      if (form == "," && brackets_ > 0) continue;
      size_t at = at_ + first;
      std::string got(text_.substr(at_, first));
      bool whole = false;
      for (size_t width = separator(at, form); width > 0 && digits_at(at + width) == 3; width = separator(at, form)) {
        got += text_.substr(at + width, 3);
        at += width + 3;
        whole = true;
      }
      // 1,234,5 is a list, and so is 1,234, 567
      if (whole && form == "," && at < text_.size() && text_[at] == ',' && digits_at(at + 1) > 0) whole = false;
      if (!whole) continue;
      *digits = got;
      at_ = at;
      return true;
    }
    return dotted(first, digits);
  }

  // 1.234.567; with one point alone it is a decimal.
  bool dotted(size_t first, std::string* digits) {
    size_t at = at_ + first;
    std::string got(text_.substr(at_, first));
    int groups = 0;
    for (; at < text_.size() && text_[at] == '.' && digits_at(at + 1) == 3; at += 4, ++groups) got += text_.substr(at + 1, 3);
    if (groups < 2 || (at < text_.size() && text_[at] == '.' && digits_at(at + 1) > 0)) return false;
    *digits = got;
    at_ = at;
    return true;
  }

  void number() {
    std::string digits;
    bool plain = false;
    if (!thousands(&digits)) {
      const size_t n = digits_at(at_);
      digits = text_.substr(at_, n);
      at_ += n;
      plain = true;
    }
    if (peek(0) == '.' && (math_digit(peek(1)) || starts(".\\overline{") || starts(".\\dot{") || starts(".\\bar{"))) {
      plain = false;
      const size_t n = digits_at(at_ + 1);
      digits += "." + std::string(text_.substr(at_ + 1, n));
      at_ += 1 + n;
      repeating(&digits);
      if (peek(0) == '.' && math_digit(peek(1))) fault_ = "a number with two points";
    } else if (peek(0) == '.' && !starts("..") && (peek(1) == '\\' || peek(1) == '}' || peek(1) == ' ')) {
      ++at_;  // "7. "
    }
    if (digits[0] == '.') digits.insert(0, "0");
    put(MathToken::Number, digits);
    out_.back().plain = plain;
    exponent();
  }

  void repeating(std::string* digits) {
    for (const std::string_view form : {"\\overline{", "\\dot{", "\\bar{"}) {
      if (!starts(form)) continue;
      const size_t n = digits_at(at_ + form.size());
      if (n == 0 || peek(form.size() + n) != '}') continue;
      *digits += "(" + std::string(text_.substr(at_ + form.size(), n)) + ")";
      at_ += form.size() + n + 1;
      return;
    }
  }

  // 1.5e4 and 2E-3: a sign or digits stand right behind the letter.
  void exponent() {
    if (peek(0) != 'e' && peek(0) != 'E') return;
    const size_t sign = peek(1) == '+' || peek(1) == '-' ? 1 : 0;
    const size_t n = digits_at(at_ + 1 + sign);
    if (n == 0 || n > 4 || math_letter(peek(1 + sign + n))) return;
    mark("*");
    put(MathToken::Number, "10");
    mark("^");
    if (peek(1) == '-') mark("-");
    put(MathToken::Number, std::string(text_.substr(at_ + 1 + sign, n)));
    at_ += 1 + sign + n;
  }

  size_t letters_at(size_t at) const {
    size_t n = 0;
    while (at + n < text_.size() && math_letter(text_[at + n])) ++n;
    return n;
  }

  void letters() {
    const size_t n = letters_at(at_);
    const std::string_view word = text_.substr(at_, n);
    at_ += n;
    if (n >= 2 && after_number() && unit(word)) return;
    plain_word(word);
  }

  // "12 km/h", "3 square feet": of single letters none, they are symbols.
  bool unit(std::string_view word) {
    size_t end = at_;
    if (word == "square" || word == "cubic" || word == "sq") {
      while (end < text_.size() && text_[end] == ' ') ++end;
      end += letters_at(end);
    } else if (end < text_.size() && text_[end] == '/') {
      const size_t more = letters_at(end + 1);
      if (more > 0) end += 1 + more;
    }
    std::string name = canonical_unit(text_.substr(at_ - word.size(), end - (at_ - word.size())));
    if (name.empty()) {
      end = at_;
      name = canonical_unit(word);
    }
    if (name.empty()) return false;
    at_ = end;
    if (name == "%") {
      mark("%");
    } else {
      put(MathToken::Unit, name);
    }
    return true;
  }

  void plain_word(std::string_view word) {
    if (word == "and" || word == "or") return put(MathToken::Separator, std::string(word));
    for (const std::string_view first : {"or", "and"})  // "1orW(x)"
      if (word.size() == first.size() + 1 && word.starts_with(first) && word.back() >= 'A' && word.back() <= 'Z') {
        put(MathToken::Separator, std::string(first));
        return put(MathToken::Letter, std::string(1, word.back()));
      }
    if (word == "sqrt") return put(MathToken::Command, "sqrt");
    if (word == "pi") return put(MathToken::Constant, "pi");
    if (word == "inf" || word == "infinity" || word == "Infinity" || word == "infty") return put(MathToken::Constant, "oo");
    if (word == "percent" || word == "pct" || word == "percentage") return mark("%");
    if (is_math_function(word)) return put(MathToken::Function, std::string(word));
    if (word.size() > 2 && is_math_function(word.substr(0, word.size() - 1))) {  // "sinx", "lnx"
      put(MathToken::Function, std::string(word.substr(0, word.size() - 1)));
      return put(MathToken::Letter, std::string(1, word.back()));
    }
    for (const char c : word) put(MathToken::Letter, std::string(1, c));
  }

  void command() {
    ++at_;
    if (at_ >= text_.size()) return;
    const char c = text_[at_];
    if (!math_letter(c)) {
      ++at_;
      return symbol_command(c);
    }
    const size_t n = letters_at(at_);
    std::string_view name = text_.substr(at_, n);
    at_ += n;
    if (named(name)) return;
    // "\quadx": the longest beginning that is a command, the rest are letters.
    for (size_t cut = name.size() - 1; cut >= 2; --cut) {
      if (!is_math_command(name.substr(0, cut)) || (cut == 2 && name.substr(0, 2) != "pi")) continue;
      at_ -= name.size() - cut;
      named(name.substr(0, cut));
      return;
    }
    put(MathToken::Letter, std::string(name));
  }

  void symbol_command(char c) {
    switch (c) {
      case '\\':
        if (peek(0) == '[') bracket_length();
        return put(MathToken::RowBreak, "");
      case '{': return mark("\\{");
      case '}': return mark("\\}");
      case '|': return mark("|");
      case '%': return mark("%");
      case '$': return put(MathToken::Currency, "$");
      case '(':
      case ')':
      case '[':
      case ']':  // marks of maths within maths
      default: spaced_ = true; return;
    }
  }
  void bracket_length() {
    const size_t end = text_.find(']', at_);
    if (end != std::string_view::npos && end - at_ < 8 && math_digit(peek(1))) at_ = end + 1;
  }

  // Acts on a command; false if there is none of this name.
  bool named(std::string_view name) {
    const MathWord* w = find_math_command(name);
    if (w == nullptr) return false;
    switch (w->kind) {
      case MathWord::Skip: spaced_ = true; break;
      case MathWord::SkipGroup: group(); break;
      case MathWord::Delimiter: delimiter(name); break;
      case MathWord::Letter: put(MathToken::Letter, std::string(w->text)); break;
      case MathWord::Constant: put(MathToken::Constant, std::string(w->text)); break;
      case MathWord::Function: put(MathToken::Function, std::string(w->text)); break;
      case MathWord::Command: put(MathToken::Command, std::string(w->text)); break;
      case MathWord::Mark: mark(w->text); break;
      case MathWord::Relation: put(MathToken::Relation, std::string(w->text)); break;
      case MathWord::Words: words(name); break;
      case MathWord::Blackboard: blackboard(); break;
      case MathWord::Not: negation(); break;
    }
    return true;
  }

  // \left, \right and the like: a bar behind them is known to open or to close, "." is none.
  void delimiter(std::string_view name) {
    while (at_ < text_.size() && math_space(text_[at_])) ++at_;
    if (peek(0) == '.') {
      ++at_;
    } else if (peek(0) == '|' && (name == "left" || name == "bigl" || name == "Bigl")) {
      ++at_;
      mark("{|");
    } else if (peek(0) == '|' && (name == "right" || name == "bigr" || name == "Bigr")) {
      ++at_;
      mark("|}");
    }
  }

  // The group behind a command, without its braces; what was before it stays unread if there is none.
  std::string group() {
    size_t at = at_;
    while (at < text_.size() && math_space(text_[at])) ++at;
    if (at >= text_.size() || text_[at] != '{') return "";
    int open = 0;
    for (size_t i = at; i < text_.size(); ++i) {
      if (text_[i] == '{') ++open;
      if (text_[i] == '}' && --open == 0) {
        at_ = i + 1;
        return std::string(text_.substr(at + 1, i - at - 1));
      }
    }
    fault_ = "a brace that is not closed";
    return "";
  }

  void blackboard() {
    const std::string name(trim(group()));
    if (name.size() == 1 && std::string_view("RZQNC").find(name[0]) != std::string_view::npos) {
      put(MathToken::Constant, name);
    } else {
      put(MathToken::Letter, "bb " + name);
    }
  }

  void negation() {
    while (at_ < text_.size() && math_space(text_[at_])) ++at_;
    if (starts("=")) return relation("n", 1);
    fault_ = "a \\not that stands before no sign of equality";
  }

  // \text{...}, and \mathrm{...} that may be words, a unit, a function or one letter.
  void words(std::string_view command) {
    std::string content;
    for (const char c : group())
      if (c != '{' && c != '}' && c != '$') content += math_space(c) || c == '~' ? ' ' : c;
    if (!fault_.empty()) return;
    std::string_view inner = trim(content);
    // "(081)": a number as an option is written.
    if (inner.size() > 2 && inner.front() == '(' && inner.back() == ')' && is_number(inner.substr(1, inner.size() - 2)))
      inner = inner.substr(1, inner.size() - 2);
    if (inner.empty()) {
      spaced_ = true;
      return;
    }
    const bool maths = command == "mathrm" || command == "operatorname" || command == "mathsf" || command == "rm";
    if (maths && is_math_function(inner)) return put(MathToken::Function, std::string(inner));
    if (is_separator(inner)) return put(MathToken::Separator, "and");
    if (maths && inner.size() == 1 && math_letter(inner[0]) && !(after_number() && !canonical_unit(inner).empty()))
      return put(MathToken::Letter, std::string(inner));
    if (is_number(inner)) {
      Lexer digits(inner);
      auto tokens = digits.run();
      if (!tokens.ok()) return;
      for (MathToken& t : *tokens)
        if (t.kind != MathToken::End) out_.push_back(std::move(t));
      return;
    }
    if (canonical_unit(inner) == "%") return mark("%");
    put(MathToken::Text, std::string(inner));
  }
  static bool is_separator(std::string_view words) {
    for (const std::string_view w : {"and", "or", ",", ", and", "and,", ", or", "or,", ", and ", "; "})
      if (words == w) return true;
    return false;
  }
  static bool is_number(std::string_view words) {
    return std::all_of(words.begin(), words.end(), [](char c) { return math_digit(c) || c == '.' || c == ',' || c == '-'; }) &&
           std::any_of(words.begin(), words.end(), math_digit);
  }

  std::string_view text_;
  size_t at_ = 0;
  int brackets_ = 0;
  bool spaced_ = false;
  std::vector<MathToken> out_;
  std::string fault_;
};

// Whether every run of backslashes before a letter is of even length, and there is one: an answer that was escaped twice.
bool doubly_escaped(std::string_view text) {
  bool any = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') continue;
    size_t n = 0;
    while (i < text.size() && text[i] == '\\') ++n, ++i;
    if (i >= text.size() || !math_letter(text[i])) continue;
    if (n % 2 == 1) return false;
    // "\\ 3 \\ 4" are rows; "\\frac" is a command.
    if (i + 1 < text.size() && math_letter(text[i + 1])) any = true;
  }
  return any;
}

}  // namespace

std::string plain_latex(std::string_view text) {
  std::string out;
  const bool halve = doubly_escaped(text);
  for (size_t i = 0; i < text.size();) {
    if (halve && text[i] == '\\' && i + 1 < text.size() && text[i + 1] == '\\') {
      out += '\\';
      i += 2;
      continue;
    }
    const auto byte = static_cast<unsigned char>(text[i]);
    const MathSign* sign = byte < 0x80 ? nullptr : find_math_sign(text.substr(i));
    if (sign != nullptr) {
      out += sign->latex;
      i += sign->utf8.size();
    } else {
      out += text[i++];
    }
  }
  return out;
}

Result<std::vector<MathToken>> math_tokens(std::string_view text) {
  if (text.size() > MathLimits::kAnswerBytes)
    return error("it has {} bytes, more than {}", text.size(), MathLimits::kAnswerBytes);
  const std::string latex = plain_latex(text);
  return Lexer(latex).run();
}

}  // namespace raison
