#include "verify/math_spans.h"

#include <algorithm>
#include <iterator>

#include "verify/extract.h"

namespace raison {
namespace {

bool span_digit(char c) { return c >= '0' && c <= '9'; }
bool span_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Whether what stands between two dollar signs is prose between two sums of money: "$12 and she has $15".
bool between_sums(std::string_view content) {
  if (content.empty() || !span_digit(content[0])) return false;
  size_t run = 0;
  bool command = false;
  int braces = 0;
  for (const char c : content) {
    if (c == '{') ++braces;
    if (c == '}') --braces;
    if (!span_letter(c)) {
      run = 0;
      command = c == '\\';
    } else if (!command && braces == 0 && ++run >= 3) {
      return true;
    }
  }
  return false;
}

constexpr size_t kFormula = 2000;  // bytes of a formula; what is longer is none

// Finds formulas from left to right. Where a closing mark stands next is looked up once for all that open before it: linear time, however many open.
class SpanFinder {
 public:
  explicit SpanFinder(std::string_view text) : text_(text) {}

  std::optional<MathSpan> at(size_t at) {
    for (size_t k = 0; k < std::size(kMarks); ++k) {
      const Marks& m = kMarks[k];
      if (text_.compare(at, m.open.size(), m.open) != 0) continue;
      const size_t begin = at + m.open.size(), end = closing(k, begin);
      if (end == std::string_view::npos || end - begin > kFormula) continue;
      const std::string_view content = text_.substr(begin, end - begin);
      if (m.open == "$" && (between_sums(content) || content.find("\n\n") != std::string_view::npos)) continue;
      return MathSpan{at, end + m.close.size(), std::string(content)};
    }
    return std::nullopt;
  }

 private:
  struct Marks {
    std::string_view open, close;
  };
  static constexpr Marks kMarks[] = {{"$$", "$$"}, {"$", "$"}, {"\\(", "\\)"}, {"\\[", "\\]"}};

  size_t closing(size_t k, size_t begin) {
    size_t& next = next_[k];
    if (next != std::string_view::npos && next < begin) {
      const std::string_view close = kMarks[k].close;
      next = text_.find(close, begin);
      // "\$5" within a formula is money.
      while (next != std::string_view::npos && close == "$" && next > 0 && text_[next - 1] == '\\')
        next = text_.find(close, next + 1);
    }
    return next;
  }

  std::string_view text_;
  size_t next_[std::size(kMarks)] = {};
};

// Where each box's group begins and ends, those without an end at npos.
struct OpenBox {
  size_t begin, group, end;
};

// Length of "\boxed" or "\fbox" and spaces behind it at `at`; 0: none.
size_t box_command(std::string_view text, size_t at) {
  for (const std::string_view name : {"\\boxed", "\\fbox"}) {
    if (text.compare(at, name.size(), name) != 0) continue;
    size_t end = at + name.size();
    if (end < text.size() && span_letter(text[end])) return 0;
    while (end < text.size() && text[end] == ' ') ++end;
    return end - at;
  }
  return 0;
}

// "\boxed 5": a number, a letter.
MathSpan braceless_box(std::string_view text, size_t begin, size_t at) {
  size_t end = at;
  while (end < text.size() &&
         (span_digit(text[end]) || (text[end] == '.' && end + 1 < text.size() && span_digit(text[end + 1])) ||
          (end == at && text[end] == '-')))
    ++end;
  if (end == at && at < text.size() && span_letter(text[at])) ++end;
  return {begin, end, std::string(text.substr(at, end - at))};
}

// Length of "1 234 567" at the beginning; 0: it does not begin with such a number.
size_t spaced_thousands(std::string_view text) {
  const auto digits = [&](size_t at) {
    size_t n = 0;
    while (at + n < text.size() && n < 4 && span_digit(text[at + n])) ++n;
    return n;
  };
  size_t end = digits(0);
  if (end == 0 || end > 3 || text[0] == '0') return 0;
  const size_t first = end;
  while (end < text.size() && text[end] == ' ' && digits(end + 1) == 3) end += 4;
  return end == first ? 0 : end;
}

}  // namespace

std::vector<MathSpan> math_spans(std::string_view text) {
  std::vector<MathSpan> out;
  SpanFinder finder(text);
  for (size_t i = 0; i < text.size();) {
    const bool escaped = text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == '$' || text[i + 1] == '\\');
    if (escaped && !(text[i + 1] == '\\' && i + 2 < text.size() && text[i + 2] == '[')) {
      i += 2;
      continue;
    }
    if (text[i] == '$' || text[i] == '\\') {
      if (auto span = finder.at(i)) {
        i = span->end;
        out.push_back(std::move(*span));
        continue;
      }
    }
    ++i;
  }
  return out;
}

std::vector<MathSpan> boxed_spans(std::string_view text) {
  std::vector<MathSpan> out;
  std::vector<OpenBox> boxes;
  std::vector<size_t> open;  // indices of boxes, or npos for other braces
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      if (const size_t n = box_command(text, i); n > 0) {
        if (i + n < text.size() && text[i + n] == '{') {
          open.push_back(boxes.size());
          boxes.push_back({i, i + n + 1, std::string_view::npos});
          i += n;
        } else {
          const MathSpan b = braceless_box(text, i, i + n);
          if (!b.content.empty()) boxes.push_back({i, i + n, b.end});
          i = std::max(i + n, b.end) - 1;
        }
      } else if (i + 1 < text.size() && (text[i + 1] == '{' || text[i + 1] == '}')) {
        ++i;  // \{ and \} are signs of sets
      }
    } else if (text[i] == '{') {
      open.push_back(std::string_view::npos);
    } else if (text[i] == '}' && !open.empty()) {
      if (open.back() != std::string_view::npos) boxes[open.back()].end = i;
      open.pop_back();
    }
  }
  size_t covered = 0;
  for (const OpenBox& b : boxes) {
    if (b.end == std::string_view::npos || b.begin < covered) continue;
    const bool braced = b.end < text.size() && text[b.end] == '}' && text[b.group - 1] == '{';
    covered = b.end + (braced ? 1 : 0);
    out.push_back({b.begin, covered, std::string(trim(text.substr(b.group, b.end - b.group)))});
  }
  if (!boxes.empty() && boxes.back().end == std::string_view::npos && boxes.back().begin >= covered) {
    std::string_view rest = text.substr(boxes.back().group, 200);
    rest = rest.substr(0, rest.find('\n'));
    while (!rest.empty() && (rest.back() == '$' || rest.back() == '.' || rest.back() == ' ')) rest.remove_suffix(1);
    out.push_back({boxes.back().begin, boxes.back().group + rest.size(), std::string(trim(rest))});
  }
  return out;
}

std::optional<MathSpan> plain_number_at(std::string_view text, size_t at) {
  size_t i = at;
  const auto peek = [&](size_t ahead) { return i + ahead < text.size() ? text[i + ahead] : '\0'; };
  std::string got;
  if (text.substr(i).starts_with("\xE2\x88\x92")) {
    got = "-";
    i += 3;
  } else if (peek(0) == '-' || peek(0) == '+') {
    if (peek(0) == '-') got = "-";
    ++i;
  }
  if (peek(0) == '\\' && peek(1) == '$') ++i;
  if (peek(0) == '$') ++i;
  if (!span_digit(peek(0)) && !(peek(0) == '.' && span_digit(peek(1)))) return std::nullopt;
  if (const size_t n = spaced_thousands(text.substr(i)); n > 0) {
    for (const char c : text.substr(i, n))
      if (c != ' ') got += c;
    return MathSpan{at, i + n, got};
  }
  size_t commas = 0, behind = 0;  // digits behind the last comma
  bool point = false;
  for (;; ++i) {
    const char c = peek(0);
    if (span_digit(c)) {
      if (commas > 0 && !point) ++behind;
    } else if (c == ',' && span_digit(peek(1)) && !point && (commas == 0 || behind == 3)) {
      ++commas;
      behind = 0;
    } else if (c == '.' && span_digit(peek(1)) && !point) {
      point = true;
    } else {
      break;
    }
    got += c;
  }
  if (commas == 1 && behind != 3 && !point) got[got.find(',')] = '.';
  if (peek(0) == '/' && span_digit(peek(1))) {
    got += '/';
    for (++i; span_digit(peek(0)); ++i) got += peek(0);
  } else if (peek(0) == '%' || (peek(0) == '\\' && peek(1) == '%')) {
    i += peek(0) == '%' ? 1 : 2;
    got += '%';
  }
  return MathSpan{at, i, got};
}

std::optional<MathSpan> last_plain_number(std::string_view text, const std::vector<MathSpan>& spans) {
  std::optional<MathSpan> last;
  size_t span = 0;
  for (size_t i = 0; i < text.size();) {
    while (span < spans.size() && spans[span].end <= i) ++span;
    if (span < spans.size() && i >= spans[span].begin) {
      i = spans[span].end;
      continue;
    }
    const char before = i == 0 ? ' ' : text[i - 1];
    const bool within = span_letter(before) || span_digit(before) || before == '_' || before == '^' || before == '\\';
    // A hyphen within words is no sign.
    const bool sign = text[i] == '-' &&
                      !(before == ' ' || before == '(' || before == '$' || before == '\n' || before == '=' || before == '*');
    if (!within && !sign && (text[i] != '$' && text[i] != '\\')) {
      if (auto number = plain_number_at(text, i)) {
        i = number->end;
        last = std::move(*number);
        continue;
      }
    }
    ++i;
  }
  return last;
}

}  // namespace raison
