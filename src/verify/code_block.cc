#include "verify/code_block.h"

#include <algorithm>

#include "verify/extract.h"

namespace raison {
namespace {

struct Fence {
  char mark = 0;  // 0: the line is none
  size_t length = 0;
  std::string label;  // its first word, lower case
};

Fence fence_of(std::string_view line) {
  line = trim(line);
  Fence f;
  if (line.empty() || (line[0] != '`' && line[0] != '~')) return f;
  const size_t end = std::min(line.find_first_not_of(line[0]), line.size());
  if (end < 3) return f;
  std::string_view label = trim(line.substr(end));
  if (label.find('`') != std::string_view::npos) return f;  // code within a line
  label = label.substr(0, label.find_first_of(" \t{"));
  f.mark = line[0];
  f.length = end;
  for (const char c : label.substr(0, 32)) f.label += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return f;
}

}  // namespace

std::optional<std::string_view> last_code_block(std::string_view text, const std::vector<std::string>& labels) {
  std::optional<std::string_view> labelled, plain;
  Fence open;
  size_t begin = 0;
  const auto close = [&](size_t end) {
    const std::string_view body = text.substr(begin, end - begin);
    if (open.label.empty()) plain = body;
    if (std::find(labels.begin(), labels.end(), open.label) != labels.end()) labelled = body;
    open = Fence();
  };
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size()), next = std::min(end + 1, text.size());
    const Fence f = fence_of(text.substr(at, end - at));
    if (open.mark != 0) {
      if (f.mark == open.mark && f.length >= open.length && f.label.empty()) close(at);
    } else if (f.mark != 0) {
      open = f;
      begin = next;
    }
    at = next;
  }
  if (open.mark != 0) close(text.size());
  return labelled ? labelled : plain;
}

}  // namespace raison
