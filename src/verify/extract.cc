#include "verify/extract.h"

#include <string>
#include <vector>

namespace raison {

std::string_view trim(std::string_view s) {
  const size_t begin = s.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return s.substr(begin, s.find_last_not_of(" \t\r\n") - begin + 1);
}

std::optional<std::string_view> last_boxed(std::string_view text) {
  constexpr std::string_view kBoxed = "\\boxed{";
  struct Brace {
    size_t begin;  // behind it
    bool boxed;
  };
  std::vector<Brace> open;
  std::optional<std::string_view> last;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{') {
      const bool boxed = i + 1 >= kBoxed.size() && text.substr(i + 1 - kBoxed.size(), kBoxed.size()) == kBoxed;
      open.push_back({i + 1, boxed});
    } else if (text[i] == '}' && !open.empty()) {
      const Brace b = open.back();
      open.pop_back();
      if (b.boxed && (!last || text.data() + b.begin > last->data())) last = text.substr(b.begin, i - b.begin);
    }
  }
  return last;
}

std::optional<std::string_view> last_tagged(std::string_view text, std::string_view tag) {
  const std::string open = "<" + std::string(tag) + ">", close = "</" + std::string(tag) + ">";
  const size_t end = text.rfind(close);
  if (end == std::string_view::npos) return std::nullopt;
  const size_t begin = text.substr(0, end).rfind(open);
  if (begin == std::string_view::npos) return std::nullopt;
  return text.substr(begin + open.size(), end - begin - open.size());
}

std::string_view final_answer(std::string_view answer) {
  if (const auto tagged = last_tagged(answer, "answer")) return trim(*tagged);
  if (const auto boxed = last_boxed(answer)) return trim(*boxed);
  return trim(answer);
}

}  // namespace raison
