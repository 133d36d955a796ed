#include "verify/judge.h"

#include <algorithm>
#include <cctype>

#include "verify/countdown.h"
#include "verify/extract.h"

namespace raison {
namespace {

bool has_word(std::string_view text, std::string_view word) {
  const auto letter = [&](size_t i) { return i < text.size() && std::isalnum(static_cast<unsigned char>(text[i])) != 0; };
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1))
    if (!(at > 0 && letter(at - 1)) && !letter(at + word.size())) return true;
  return false;
}

class CountdownJudge final : public AnswerJudge {
 public:
  const std::string& name() const override { return name_; }
  std::optional<std::string> canonical(std::string_view answer) const override {
    auto text = canonical_countdown(trim(answer));
    if (!text.ok()) return std::nullopt;
    return std::move(text).value();
  }
  bool can_self_verify() const override { return true; }
  bool self_verified(std::string_view thought) const override { return has_word(thought, "yes"); }

 private:
  std::string name_ = "countdown";
};

class TextJudge final : public AnswerJudge {
 public:
  const std::string& name() const override { return name_; }
  std::optional<std::string> canonical(std::string_view answer) const override {
    const std::string_view text = trim(answer);
    if (text.empty()) return std::nullopt;
    return std::string(text);
  }

 private:
  std::string name_ = "text";
};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

class FinalJudge final : public AnswerJudge {
 public:
  const std::string& name() const override { return name_; }
  std::optional<std::string> canonical(std::string_view answer) const override {
    std::string_view text = trim(answer);
    if (const auto boxed = last_boxed(text)) {
      text = *boxed;
    } else {
      text = after_marker(text);
      const size_t line = text.find_last_of('\n');
      if (line != std::string_view::npos) text = text.substr(line + 1);
    }
    std::string out;
    for (const char c : lower(text))
      if (std::isspace(static_cast<unsigned char>(c)) == 0 && c != '$' && c != '`') out += c;
    // Asterisks around it are markup; within, they multiply.
    while (!out.empty() && (out.back() == '.' || out.back() == '*')) out.pop_back();
    out.erase(0, out.find_first_not_of('*'));
    if (out.empty()) return std::nullopt;
    return out;
  }

 private:
  static std::string_view after_marker(std::string_view text) {
    const std::string low = lower(text);  // ASCII letters alone: places stay what they are
    size_t best = 0;
    for (const std::string_view marker : {"answer:", "answer is"})
      if (const size_t at = low.rfind(marker); at != std::string::npos) best = std::max(best, at + marker.size());
    const std::string_view rest = trim(text.substr(best));
    return rest.empty() ? text : rest;
  }
  std::string name_ = "final";
};

}  // namespace

std::vector<std::string> judge_names() { return {"final", "countdown", "text"}; }

Result<std::unique_ptr<AnswerJudge>> make_judge(const std::string& name) {
  if (name == "countdown") return std::unique_ptr<AnswerJudge>(std::make_unique<CountdownJudge>());
  if (name == "text") return std::unique_ptr<AnswerJudge>(std::make_unique<TextJudge>());
  if (name == "final") return std::unique_ptr<AnswerJudge>(std::make_unique<FinalJudge>());
  return error("no judge is called \"{}\"; there are final, countdown and text", name.substr(0, 64));
}

}  // namespace raison
