// The verifier "choice": questions of which one of several options is right.
#include <algorithm>
#include <optional>

#include "verify/extract.h"
#include "verify/factories.h"
#include "verify/math_compare.h"
#include "verify/math_spans.h"
#include "verify/option_reader.h"

namespace raison {
namespace {

constexpr size_t kMostOptions = 26;

struct ChoiceProblem {
  int gold = -1;                     // 0 is A
  std::vector<std::string> options;  // empty: the record does not list them
  int count() const { return options.empty() ? static_cast<int>(kMostOptions) : static_cast<int>(options.size()); }
};

bool choice_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool word_byte(char c) {
  return choice_letter(c) || (c >= '0' && c <= '9') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

std::string folded_text(std::string_view text) {
  std::string out;
  for (const char c : trim(text)) {
    const bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (space && (out.empty() || out.back() == ' ')) continue;
    out += space ? ' ' : static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  }
  while (!out.empty() && (out.back() == '.' || out.back() == ' ')) out.pop_back();
  return out;
}

// The one option with this text; -1: none, or several.
int option_with_text(const ChoiceProblem& p, std::string_view text) {
  int found = -1;
  const std::string folded = folded_text(text);
  if (folded.empty()) return -1;
  for (size_t i = 0; i < p.options.size(); ++i) {
    if (folded_text(p.options[i]) != folded && !same_text(p.options[i], text)) continue;
    if (found >= 0) return -1;
    found = static_cast<int>(i);
  }
  return found;
}

// A letter that stands alone, also "(b)", "B.", "\text{(B)}", "**B**": what surrounds it says nothing.
int lone_letter(std::string_view text, int count) {
  for (bool again = true; again;) {
    again = false;
    text = trim(text);
    for (const std::string_view command :
         {"\\textbf", "\\text", "\\mathrm", "\\mathbf", "\\boxed", "\\fbox", "option", "Option", "choice", "Choice"}) {
      if (!text.starts_with(command) || (text.size() > command.size() && choice_letter(text[command.size()]))) continue;
      text.remove_prefix(command.size());
      again = true;
    }
    constexpr std::string_view kAround = "(){}[]$*_`.:\"'";
    while (!text.empty() && kAround.find(text.front()) != std::string_view::npos) text.remove_prefix(1), again = true;
    while (!text.empty() && kAround.find(text.back()) != std::string_view::npos) text.remove_suffix(1), again = true;
  }
  if (text.size() != 1 || !choice_letter(text[0])) return -1;
  const int at = (text[0] | 32) - 'a';
  return at < count ? at : -1;
}

// A text that begins with a letter and a sign behind it: "B) the red one", "(B) ...", "B. ...", "B: ...", and "B" before the end of a line.
int leading_letter(std::string_view text, int count) {
  constexpr std::string_view kBefore = " \t*_$`{([";
  for (bool again = true; again;) {
    again = false;
    while (!text.empty() && kBefore.find(text.front()) != std::string_view::npos) text.remove_prefix(1), again = true;
    for (const std::string_view word :
         {"\\textbf{", "\\text{", "\\mathrm{", "\\mathbf{", "option ", "Option ", "choice ", "Choice "})
      if (text.starts_with(word)) text.remove_prefix(word.size()), again = true;
  }
  if (text.empty() || text[0] < 'A' || text[0] > 'Z' || text[0] - 'A' >= count) return -1;
  if (text.size() > 1 && word_byte(text[1])) return -1;
  const std::string_view behind = text.substr(1);
  // "A triangle" and "I think" are words; "A and B" are two answers.
  if (behind.starts_with(" and ") || behind.starts_with(" or ") || behind.starts_with(", ") || behind.starts_with("/") ||
      behind.starts_with("'"))
    return -1;
  if ((text[0] == 'A' || text[0] == 'I') && behind.size() > 1 && behind[0] == ' ' && choice_letter(behind[1]) &&
      !behind.starts_with(" because") && !behind.starts_with(" since"))
    return -1;
  return text[0] - 'A';
}

// The last "(B)" of a text.
int last_bracketed(std::string_view text, int count) {
  for (size_t i = text.size(); i >= 3; --i)
    if (text[i - 1] == ')' && text[i - 3] == '(' && text[i - 2] >= 'A' && text[i - 2] <= 'Z' && text[i - 2] - 'A' < count)
      return text[i - 2] - 'A';
  return -1;
}

int chosen_in(const ChoiceProblem& p, std::string_view text) {
  if (const int at = option_with_text(p, text); at >= 0) return at;
  if (const int at = lone_letter(text, p.count()); at >= 0) return at;
  return leading_letter(text, p.count());
}

// Behind the last "answer is" or "answer:"; none if neither is there.
std::optional<std::string_view> stated(std::string_view text) {
  const std::string low = [&] {
    std::string out(text);
    for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return out;
  }();
  size_t best = std::string::npos;
  for (const std::string_view mark : {"answer is", "answer:", "answer is:", "answer:**", "answer**:"})
    if (const size_t at = low.rfind(mark); at != std::string::npos && (best == std::string::npos || at + mark.size() > best))
      best = at + mark.size();
  if (best == std::string::npos) return std::nullopt;
  std::string_view rest = text.substr(best);
  while (!rest.empty() && std::string_view(" \t\r\n*:").find(rest.front()) != std::string_view::npos) rest.remove_prefix(1);
  return rest.substr(0, rest.find('\n'));
}

struct Chosen {
  std::string text;
  int at = -1;
};

Chosen choose(const ChoiceProblem& p, std::string_view answer) {
  answer = trim(answer);
  if (answer.size() > (size_t{1} << 20)) answer.remove_prefix(answer.size() - (size_t{1} << 20));
  const auto boxes = boxed_spans(answer);
  if (!boxes.empty()) return {boxes.back().content, chosen_in(p, boxes.back().content)};
  if (const auto tagged = last_tagged(answer, "answer")) return {std::string(trim(*tagged)), chosen_in(p, trim(*tagged))};
  if (const auto said = stated(answer)) {
    int at = chosen_in(p, *said);
    // The option's text up to the sentence's end.
    if (at < 0) at = option_with_text(p, said->substr(0, said->find(". ")));
    if (at < 0) at = last_bracketed(*said, p.count());
    return {std::string(*said), at};
  }
  if (const int at = chosen_in(p, answer); at >= 0) return {std::string(answer), at};
  const size_t line = answer.find_last_of('\n');
  const std::string_view last = line == std::string_view::npos ? answer : trim(answer.substr(line + 1));
  if (const int at = chosen_in(p, last); at >= 0) return {std::string(last), at};
  const int at = last_bracketed(answer, p.count());
  return {at < 0 ? "" : std::string(1, static_cast<char>('A' + at)), at};
}

// "choices" or "options": a list of texts, a table from letters to texts, or {"label": [...], "text": [...]}.
Result<std::vector<std::string>> options_of(const nlohmann::json& record) {
  std::vector<std::string> out;
  for (const char* key : {"choices", "options"}) {
    auto it = record.find(key);
    if (it == record.end()) continue;
    const nlohmann::json& list = it->is_object() && it->contains("text") ? (*it)["text"] : *it;
    if (!list.is_array() && !list.is_object()) return error("choice: {} must be a list of texts", key);
    for (const auto& item : list) {
      if (!item.is_string() && !item.is_number()) return error("choice: {} must be a list of texts", key);
      out.push_back(item.is_string() ? item.get<std::string>() : item.dump());
    }
    if (out.size() < 2 || out.size() > kMostOptions) return error("choice: {} must have 2 to {} members", key, kMostOptions);
    // "A) red": the letter is no part of the text.
    for (size_t i = 0; i < out.size(); ++i)
      if (out[i].size() > 2 && out[i][0] == static_cast<char>('A' + i) && (out[i][1] == ')' || out[i][1] == '.'))
        out[i] = std::string(trim(out[i].substr(2)));
    return out;
  }
  return out;
}

Result<ChoiceProblem> choice_problem(const nlohmann::json& record) {
  if (!record.is_object() || !record.contains("answer")) return error("choice: the record has no answer");
  ChoiceProblem p;
  RAISON_ASSIGN(p.options, options_of(record));
  const auto& gold = record["answer"];
  if (gold.is_number_integer()) {
    const auto at = gold.get<int64_t>();
    if (p.options.empty() || at < 0 || at >= p.count()) return error("choice: the answer {} is no index into choices", at);
    p.gold = static_cast<int>(at);
    return p;
  }
  if (!gold.is_string()) return error("choice: the answer must be a letter, an index or an option's text");
  const auto& text = gold.get_ref<const std::string&>();
  p.gold = option_with_text(p, text);
  if (p.gold < 0) p.gold = lone_letter(text, p.count());
  if (p.gold < 0) return error("choice: the answer \"{}\" is no letter and no option's text", text.substr(0, 40));
  return p;
}

class ChoiceVerifier final : public SingleVerifier {
 public:
  const std::string& name() const override { return name_; }
  Status check(const Question& q) const override {
    const auto p = choice_problem(q.record);
    return p.ok() ? Status() : Status(p.error());
  }

 protected:
  Verdict judge_one(const Question& q, const Reply& reply) const override {
    Verdict out;
    const auto p = choice_problem(q.record);
    if (!p.ok()) {
      out.kind = Verdict::Failed;
      out.reason = p.message();
      return out;
    }
    Chosen c = choose(*p, reply.answer);
    out.answer = c.text.substr(0, 256);
    out.kind = c.at < 0 ? Verdict::Unparseable : c.at == p->gold ? Verdict::Right : Verdict::Wrong;
    out.score = out.right() ? 1 : 0;
    if (out.kind == Verdict::Unparseable) out.reason = "no option was named";
    if (out.kind == Verdict::Wrong) out.reason = fmt::format("({}) was chosen", static_cast<char>('A' + c.at));
    return out;
  }

 private:
  std::string name_ = "choice";
};

}  // namespace

Result<std::unique_ptr<Verifier>> make_choice_verifier(const nlohmann::json& options) {
  OptionReader reader("choice", options);
  RAISON_RETURN_IF_ERROR(reader.finish());
  return std::unique_ptr<Verifier>(std::make_unique<ChoiceVerifier>());
}

}  // namespace raison
