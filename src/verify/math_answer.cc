#include "verify/math_answer.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "verify/extract.h"
#include "verify/math_expr.h"
#include "verify/math_parser.h"
#include "verify/math_spans.h"
#include "verify/math_words.h"

namespace raison {
namespace {

bool answer_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool answer_digit(char c) { return c >= '0' && c <= '9'; }

std::string lower_answer(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

template <size_t N>
bool one_of(std::string_view word, const std::string_view (&list)[N]) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

// Words of a text: runs of letters that no backslash begins.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  for (size_t i = 0; i < text.size();) {
    const bool command = text[i] == '\\';
    if (command) ++i;
    size_t n = 0;
    while (i + n < text.size() && answer_letter(text[i + n])) ++n;
    if (n > 0 && !command) out.emplace_back(text.substr(i, n));
    i += std::max<size_t>(n, 1);
  }
  return out;
}

// Whether a word may stand in a formula written as plain text.
bool formula_word(const std::string& word) {
  static constexpr std::string_view kKnown[] = {"and",     "or",  "pi",         "sqrt",   "inf",   "infty", "infinity",
                                                "percent", "pct", "percentage", "square", "cubic", "per"};
  static constexpr std::string_view kProse[] = {"is", "it", "to", "of", "in", "at", "by", "on", "he", "we", "so", "an", "as",
                                                "no", "if", "be", "up", "my", "us", "go", "do", "me", "am", "hi", "ok"};
  const std::string low = lower_answer(word);
  if (one_of(low, kKnown) || is_math_function(word) || !canonical_unit(word).empty()) return !(one_of(low, kProse));
  if (word.size() <= 1) return true;
  if (word.size() == 2) return !one_of(low, kProse);
  return word.size() == 3 && (word.starts_with("or") || is_math_function(word.substr(0, 2)));
}

// Words within \text{} and the like do not make prose of a formula.
std::string without_text_groups(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    bool skipped = false;
    for (const std::string_view command : {"\\text", "\\mbox", "\\textbf", "\\mathrm", "\\textit", "\\operatorname", "\\begin",
                                           "\\end", "\\mathbf", "\\mathbb"}) {
      if (text[i] != '\\' || !text.substr(i).starts_with(command)) continue;
      const size_t brace = text.find_first_not_of(' ', i + command.size());
      const size_t close = text.find('}', i);
      if (brace == std::string_view::npos || text[brace] != '{' || close == std::string_view::npos) continue;
      i = close;
      skipped = true;
      break;
    }
    if (!skipped) out += text[i];
  }
  return out;
}

bool is_prose(std::string_view text) {
  const auto words = words_of(without_text_groups(text));
  return !std::all_of(words.begin(), words.end(), formula_word);
}

bool is_formula(std::string_view text) {
  return text.size() <= 400 && !is_prose(text) && text.find_first_not_of("?!.-=*$ ") != std::string_view::npos &&
         parse_math(text).ok();
}

std::string_view after_thought(std::string_view reply) {
  if (reply.size() > MathLimits::kReplyBytes) reply.remove_prefix(reply.size() - MathLimits::kReplyBytes);
  constexpr std::string_view kEnd = "</think>";
  const size_t end = reply.rfind(kEnd);
  if (end != std::string_view::npos) reply.remove_prefix(end + kEnd.size());
  return trim(reply);
}

// Whether what stands between two boxes or formulas makes one answer of them: "," or "and", with a name before the second ("and y =").
bool joins(std::string_view gap) {
  if (gap.size() > 60 || gap.find(". ") != std::string_view::npos || gap.find("\n\n") != std::string_view::npos) return false;
  std::vector<std::string> words = words_of(gap);
  size_t at = words.size();
  while (at > 0 && words[at - 1] != "and" && words[at - 1] != "or") --at;
  if (at == 0) return words.empty() && gap.find("=") == std::string_view::npos && gap.find("\\to") == std::string_view::npos;
  for (const std::string& w : words)
    if (w == "not" || w == "wrong" || w == "then" || w == "so") return false;
  return std::all_of(words.begin() + static_cast<std::ptrdiff_t>(at), words.end(),
                     [](const std::string& w) { return w.size() == 1; });
}

std::vector<std::string> last_group(std::string_view text, const std::vector<MathSpan>& spans, size_t last) {
  size_t first = last;
  while (first > 0 && last - first < MathLimits::kListItems &&
         joins(text.substr(spans[first - 1].end, spans[first].begin - spans[first - 1].end)))
    --first;
  std::vector<std::string> out;
  for (size_t i = first; i <= last; ++i) out.emplace_back(trim(spans[i].content));
  return out;
}

// A formula that names what is talked of: "$n$", "$f(x)$", "$ABCD$".
bool bare_name(std::string_view formula) {
  if (formula.size() > 24) return false;
  return std::none_of(formula.begin(), formula.end(), answer_digit) && formula.find('\\') == std::string_view::npos &&
         formula.find_first_of("+-*/^=<>,") == std::string_view::npos &&
         std::any_of(formula.begin(), formula.end(), answer_letter);
}

// The later of the last formula, with those joined to it, and the last number in prose.
std::vector<std::string> last_formula_or_number(std::string_view text) {
  const std::vector<MathSpan> spans = math_spans(text);
  const std::optional<MathSpan> number = last_plain_number(text, spans);
  size_t last = spans.size();
  for (size_t i = spans.size(); i > 0; --i) {
    if (trim(spans[i - 1].content).empty() || bare_name(trim(spans[i - 1].content))) continue;
    last = i - 1;
    break;
  }
  if (last == spans.size() && !number && !spans.empty() && !trim(spans.back().content).empty()) last = spans.size() - 1;
  if (number && (last == spans.size() || number->begin > spans[last].begin)) return {std::string(number->content)};
  if (last == spans.size()) return {};
  return last_group(text, spans, last);
}

// The sentence or line that `text` begins with.
std::string_view first_sentence(std::string_view text, const std::vector<MathSpan>& spans) {
  size_t span = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    while (span < spans.size() && spans[span].end <= i) ++span;
    if (span < spans.size() && i >= spans[span].begin) {
      i = spans[span].end - 1;
      continue;
    }
    if (text[i] == '\n') return text.substr(0, i);
    if (text[i] == '.' && (i + 1 == text.size() || text[i + 1] == ' ' || text[i + 1] == '\n' || text[i + 1] == '*'))
      return text.substr(0, i);
  }
  return text;
}

// What stands behind "the answer is".
std::vector<std::string> stated_answer(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n*:_");
  if (begin == std::string_view::npos) return {};
  text.remove_prefix(begin);
  text = text.substr(0, MathLimits::kAnswerBytes);
  const std::vector<MathSpan> all = math_spans(text);
  if (!all.empty() && all[0].begin == 0) {
    size_t last = 0;
    while (last + 1 < all.size() && joins(text.substr(all[last].end, all[last + 1].begin - all[last].end))) ++last;
    std::vector<std::string> out = last_group(text, all, last);
    if (out.size() == 1 && out[0].empty()) return {};
    return out;
  }
  std::string_view sentence = trim(first_sentence(text, all));
  while (!sentence.empty() && (sentence.back() == '*' || sentence.back() == '.')) sentence.remove_suffix(1);
  if (is_formula(sentence)) return {std::string(sentence)};
  if (const auto number = plain_number_at(sentence, 0)) return {std::string(number->content)};
  auto out = last_formula_or_number(sentence);
  if (out.empty() && sentence.size() <= 64 && std::any_of(sentence.begin(), sentence.end(), answer_letter))
    out = {std::string(sentence)};
  return out;
}

// Behind the last of the marks; npos: none of them is there.
size_t behind_last(const std::string& low, std::initializer_list<std::string_view> marks) {
  size_t best = std::string::npos;
  for (const std::string_view mark : marks)
    if (const size_t at = low.rfind(mark); at != std::string::npos && (best == std::string::npos || at + mark.size() > best))
      best = at + mark.size();
  return best;
}

std::vector<std::string> boxes_or_statement(std::string_view text, const std::string& low) {
  const std::vector<MathSpan> boxes = boxed_spans(text);
  if (boxes.empty()) return {};
  const size_t statement = behind_last(low, {"final answer is"});
  if (statement != std::string::npos && statement > boxes.back().end) {
    auto stated = stated_answer(text.substr(statement));
    if (!stated.empty()) return stated;
  }
  return last_group(text, boxes, boxes.size() - 1);
}

std::vector<std::string> gold_parts(std::string_view gold) {
  std::string_view text = trim(gold);
  if (const size_t at = text.rfind("####"); at != std::string_view::npos) return {std::string(trim(text.substr(at + 4)))};
  const auto boxes = boxed_spans(text);
  if (!boxes.empty()) return last_group(text, boxes, boxes.size() - 1);
  if (text.empty()) return {};
  const std::vector<MathSpan> spans = math_spans(text);
  if (spans.size() == 1 && spans[0].begin == 0 && spans[0].end == text.size()) return {std::string(trim(spans[0].content))};
  if (is_prose(text) && text.size() > 40) {
    auto found = find_math_answer(text);
    if (!found.empty()) return found;
  }
  return {std::string(text)};
}

}  // namespace

std::vector<std::string> find_math_answer(std::string_view reply) {
  std::string_view text = after_thought(reply);
  const std::string low = lower_answer(text);
  auto boxes = boxes_or_statement(text, low);
  if (!boxes.empty()) {
    const bool nothing = std::all_of(boxes.begin(), boxes.end(), [](const std::string& b) { return b.empty(); });
    return nothing ? std::vector<std::string>() : boxes;
  }
  if (const auto tagged = last_tagged(text, "answer"); tagged && !trim(*tagged).empty()) {
    const std::string_view inner = trim(*tagged);
    if (is_formula(inner)) return {std::string(inner)};
    auto found = last_formula_or_number(inner);
    if (found.empty() && inner.size() <= MathLimits::kAnswerBytes) found = {std::string(inner)};
    return found;
  }
  if (is_formula(text)) return {std::string(text)};
  const size_t mark =
      behind_last(low, {"answer is", "answer:", "answer:**", "answer**:", "answers are", "answer =", "####", "answer is:"});
  if (mark != std::string::npos) {
    auto stated = stated_answer(text.substr(mark));
    if (!stated.empty()) return stated;
  }
  auto found = last_formula_or_number(text);
  if (found.empty() && text.size() <= 64 && !text.empty() && words_of(text).size() == 1 &&
      std::all_of(text.begin(), text.end(), answer_letter))
    found = {std::string(text)};
  return found;
}

std::vector<std::string> find_math_gold(std::string_view gold) {
  auto parts = gold_parts(gold);
  std::erase_if(parts, [](const std::string& part) { return part.empty(); });
  return parts;
}

bool is_words(std::string_view text) {
  bool unknown = false;
  for (const std::string& w : words_of(text)) {
    const bool vowel = lower_answer(w).find_first_of("aeiouy") != std::string::npos;
    unknown =
        unknown || (w.size() >= 4 && vowel && !formula_word(w)) ||
        (w.size() == 3 && one_of(lower_answer(w), {"yes", "odd", "not", "and", "the", "two", "six", "ten"}) && w != "and");
  }
  return unknown && std::none_of(text.begin(), text.end(), answer_digit) &&
         text.find_first_of("=<>^+*/\\") == std::string_view::npos;
}

}  // namespace raison
