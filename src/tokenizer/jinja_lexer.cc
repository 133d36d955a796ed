#include "tokenizer/jinja_lexer.h"

#include <charconv>

#include "tokenizer/utf8.h"

namespace raison::jinja {
namespace {

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<signed char>(c) < 0;
}

// "\r\n" and "\r" become "\n"; one newline at the end goes.
std::string normalise_newlines(const std::string& source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(const std::string& source) : text_(normalise_newlines(source)) {}
  std::vector<Token> run();

 private:
  [[noreturn]] void stop(const char* what) { fail("line {}: {}", line_, what); }
  bool at(std::string_view s) const { return text_.compare(pos_, s.size(), s) == 0; }
  void move(size_t n) {
    for (size_t i = 0; i < n; ++i) line_ += text_[pos_ + i] == '\n';
    pos_ += n;
  }
  void skip_blanks() {
    while (pos_ < text_.size() && is_blank(text_[pos_])) move(1);
  }
  void push(TokenType type, std::string text = "") { tokens_.push_back({type, line_, std::move(text), 0, 0}); }
  void data(size_t begin, size_t end, char sign, bool strip_line);
  void end_of_block();
  void comment();
  bool raw_block();
  void tag(bool variable);
  void string_literal(char quote);
  void number();
  char sign_here() const { return pos_ < text_.size() && (text_[pos_] == '-' || text_[pos_] == '+') ? text_[pos_] : ' '; }

  std::string text_;
  size_t pos_ = 0;
  int line_ = 1;
  bool line_start_ = true;  // the last tag swallowed a newline (or nothing came yet)
  std::vector<Token> tokens_;
};

// The text before a tag. `sign` is the tag's: '-' strips all white space, '+' none; otherwise a tag that stands first on
// its line loses the blanks before it.
void Lexer::data(size_t begin, size_t end, char sign, bool strip_line) {
  std::string_view text = std::string_view(text_).substr(begin, end - begin);
  if (sign == '-') {
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  } else if (sign != '+' && strip_line) {
    const size_t newline = text.rfind('\n');
    const size_t from = newline == std::string_view::npos ? 0 : newline + 1;
    if (from > 0 || line_start_) {
      bool blank = true;
      for (char c : text.substr(from)) blank = blank && is_blank(c);
      if (blank) text = text.substr(0, from);
    }
  }
  if (!text.empty()) push(TokenType::Data, std::string(text));
}

// After "%}" or "#}" (already passed, `pos_` behind it): one newline goes.
void Lexer::end_of_block() {
  line_start_ = pos_ < text_.size() && text_[pos_] == '\n';
  if (line_start_) move(1);
}

void Lexer::comment() {
  const size_t end = text_.find("#}", pos_);
  if (end == std::string::npos) stop("comment without its end \"#}\"");
  const char sign = end > pos_ ? text_[end - 1] : ' ';
  move(end + 2 - pos_);
  line_start_ = false;
  if (sign == '-') {
    const size_t before = pos_;
    skip_blanks();
    line_start_ = pos_ > before && text_[pos_ - 1] == '\n';
  } else if (sign != '+') {
    end_of_block();
  }
}

// "{% raw %}": everything up to "{% endraw %}" is text. `pos_` is behind "{%" and its sign.
bool Lexer::raw_block() {
  const size_t start = pos_;
  const auto word = [&](std::string_view name, char* sign) {
    while (pos_ < text_.size() && is_blank(text_[pos_])) ++pos_;
    if (!at(name)) return false;
    pos_ += name.size();
    while (pos_ < text_.size() && is_blank(text_[pos_])) ++pos_;
    *sign = sign_here();
    if (*sign != ' ') ++pos_;
    if (!at("%}")) return false;
    pos_ += 2;
    return true;
  };
  char sign = ' ';
  if (!word("raw", &sign)) {
    pos_ = start;
    return false;
  }
  if (sign == '-') skip_blanks();
  const size_t begin = pos_;
  line_start_ = false;
  for (size_t tag = pos_; (tag = text_.find("{%", tag)) != std::string::npos; ++tag) {
    pos_ = tag + 2;
    const char open = sign_here();
    if (open != ' ') ++pos_;
    if (!word("endraw", &sign)) continue;
    const size_t after = pos_;
    pos_ = begin;
    data(begin, tag, open, true);
    move(after - begin);
    if (sign == '-') {
      skip_blanks();
    } else if (sign != '+') {
      end_of_block();
    }
    return true;
  }
  pos_ = start;
  stop("raw block without endraw");
}

void Lexer::string_literal(char quote) {
  Token token{TokenType::String, line_, "", 0, 0};
  move(1);
  const auto hex = [&](size_t digits) {
    uint32_t code = 0;
    if (pos_ + digits > text_.size()) stop("escape cut off");
    const auto [end, ec] = std::from_chars(text_.data() + pos_, text_.data() + pos_ + digits, code, 16);
    if (ec != std::errc() || end != text_.data() + pos_ + digits || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
      stop("bad escape in a string");
    move(digits);
    append_utf8(token.text, code);
  };
  while (true) {
    if (pos_ >= text_.size()) stop("string without its closing quote");
    const char c = text_[pos_];
    move(1);
    if (c == quote) break;
    if (c != '\\' || pos_ >= text_.size()) {
      token.text += c;
      continue;
    }
    const char e = text_[pos_];
    move(1);
    static constexpr std::string_view from = "ntrabfv\\'\"", to = "\n\t\r\a\b\f\v\\'\"";
    if (const size_t k = from.find(e); k != std::string_view::npos) {
      token.text += to[k];
    } else if (e == 'x') {
      hex(2);
    } else if (e == 'u') {
      hex(4);
    } else if (e == 'U') {
      hex(8);
    } else if (e >= '0' && e <= '7') {
      uint32_t code = static_cast<uint32_t>(e - '0');
      for (int more = 0; more < 2 && pos_ < text_.size() && text_[pos_] >= '0' && text_[pos_] <= '7'; ++more, move(1))
        code = code * 8 + static_cast<uint32_t>(text_[pos_] - '0');
      append_utf8(token.text, code);
    } else if (e != '\n') {  // a backslash at the end of a line joins lines; unknown escapes stay as they are
      token.text.append({'\\', e});
    }
  }
  tokens_.push_back(std::move(token));
}

void Lexer::number() {
  Token token{TokenType::Integer, line_, "", 0, 0};
  int base = 10;
  std::string digits;
  const auto take = [&](auto accept) {
    while (pos_ < text_.size() &&
           (accept(text_[pos_]) || (text_[pos_] == '_' && pos_ + 1 < text_.size() && accept(text_[pos_ + 1])))) {
      if (text_[pos_] != '_') digits += text_[pos_];
      ++pos_;
    }
  };
  if (text_[pos_] == '0' && pos_ + 1 < text_.size() &&
      std::string_view("xXoObB").find(text_[pos_ + 1]) != std::string_view::npos) {
    const char kind = static_cast<char>(text_[pos_ + 1] | 0x20);
    base = kind == 'x' ? 16 : kind == 'o' ? 8 : 2;
    pos_ += 2;
    take([](char c) { return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'); });
  } else {
    take(is_digit);
    const bool after_dot = !tokens_.empty() && tokens_.back().type == TokenType::Operator && tokens_.back().text == ".";
    if (!after_dot && pos_ + 1 < text_.size() && text_[pos_] == '.' && is_digit(text_[pos_ + 1])) {
      token.type = TokenType::Float;
      digits += text_[pos_++];
      take(is_digit);
    }
    const size_t e = pos_;
    if (!after_dot && e < text_.size() && (text_[e] | 0x20) == 'e') {
      const size_t sign = e + 1 < text_.size() && (text_[e + 1] == '+' || text_[e + 1] == '-') ? 1 : 0;
      if (e + 1 + sign < text_.size() && is_digit(text_[e + 1 + sign])) {
        token.type = TokenType::Float;
        digits += 'e';
        if (sign != 0) digits += text_[e + 1];
        pos_ = e + 1 + sign;
        take(is_digit);
      }
    }
  }
  if (token.type == TokenType::Float) {
    token.real = std::strtod(digits.c_str(), nullptr);
  } else {
    const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), token.integer, base);
    if (ec != std::errc() || end != digits.data() + digits.size()) stop("integer literal out of range");
  }
  tokens_.push_back(std::move(token));
}

void Lexer::tag(bool variable) {
  push(variable ? TokenType::VariableBegin : TokenType::BlockBegin);
  const std::string_view close = variable ? "}}" : "%}";
  std::string brackets;  // open ones: "}}" within them closes dicts
  while (true) {
    skip_blanks();
    if (pos_ >= text_.size()) stop("tag without its end");
    const char c = text_[pos_];
    if (brackets.empty()) {
      const char sign = sign_here();
      const size_t skip = sign == '-' || (sign == '+' && !variable) ? 1 : 0;
      if (text_.compare(pos_ + skip, 2, close) == 0) {
        push(variable ? TokenType::VariableEnd : TokenType::BlockEnd);
        move(skip + 2);
        line_start_ = false;
        if (skip == 1 && sign == '-') {
          const size_t before = pos_;
          skip_blanks();
          line_start_ = pos_ > before && text_[pos_ - 1] == '\n';
        } else if (skip == 0 && !variable) {
          end_of_block();
        }
        return;
      }
    }
    if (c == '\'' || c == '"') {
      string_literal(c);
    } else if (is_digit(c)) {
      number();
    } else if (is_name_start(c)) {
      const size_t begin = pos_;
      while (pos_ < text_.size() && (is_name_start(text_[pos_]) || is_digit(text_[pos_]))) ++pos_;
      push(TokenType::Name, text_.substr(begin, pos_ - begin));
    } else {
      static const std::string_view operators[] = {"**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                                   "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
      std::string_view found;
      for (std::string_view op : operators) {
        if (found.empty() && at(op)) found = op;
      }
      if (found.empty()) stop("unexpected character in a tag");
      if (found == "(" || found == "[" || found == "{") {
        brackets += found == "(" ? ')' : found == "[" ? ']' : '}';
      } else if (found == ")" || found == "]" || found == "}") {
        if (brackets.empty() || brackets.back() != found[0]) stop("unbalanced bracket");
        brackets.pop_back();
      }
      push(TokenType::Operator, std::string(found));
      move(found.size());
    }
  }
}

std::vector<Token> Lexer::run() {
  while (pos_ < text_.size()) {
    const size_t begin = pos_;
    size_t open = begin;
    while ((open = text_.find('{', open)) != std::string::npos) {
      const char next = open + 1 < text_.size() ? text_[open + 1] : ' ';
      if (next == '{' || next == '%' || next == '#') break;
      ++open;
    }
    if (open == std::string::npos) {
      push(TokenType::Data, text_.substr(begin));
      break;
    }
    const char kind = text_[open + 1], sign = open + 2 < text_.size() ? text_[open + 2] : ' ';
    data(begin, open, kind == '{' && sign == '+' ? ' ' : sign, kind != '{');
    move(open + 2 - begin);
    if (sign == '-' || (sign == '+' && kind != '{')) move(1);
    if (kind == '#') {
      comment();
    } else if (kind == '{') {
      tag(true);
    } else if (!raw_block()) {
      tag(false);
    }
  }
  push(TokenType::End);
  return std::move(tokens_);
}

}  // namespace

std::vector<Token> tokenize(const std::string& source) { return Lexer(source).run(); }

}  // namespace raison::jinja
