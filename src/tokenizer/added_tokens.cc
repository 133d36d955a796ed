#include "tokenizer/added_tokens.h"

#include <utf8proc.h>

#include "tokenizer/utf8.h"

namespace raison {
namespace {

bool is_word(char32_t c) {
  if (c == '_') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return false;
  }
}

// The character that ends at `end` (> 0).
std::pair<char32_t, size_t> char_before(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && end - at < 4 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return {utf8_step(text, at).code, at};
}

bool word_touches(std::string_view text, size_t begin, size_t end) {
  return (begin > 0 && is_word(char_before(text, begin).first)) || (end < text.size() && is_word(utf8_step(text, end).code));
}

}  // namespace

void AddedTokens::add(const AddedToken& token, std::string_view content) {
  if (content.empty()) return;
  uint32_t at = 0;
  for (size_t i = 0; i < content.size(); ++i) {
    const auto byte = static_cast<uint8_t>(content[i]);
    uint32_t child = 0;
    if (at == 0) {
      child = root_[byte];
    } else {
      for (const auto& [b, n] : nodes_[at].next) child = b == byte ? n : child;
    }
    if (child == 0) {
      child = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
      if (at == 0) {
        root_[byte] = child;
      } else {
        nodes_[at].next.emplace_back(byte, child);
      }
    }
    at = child;
  }
  nodes_[at].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
}

std::pair<int32_t, size_t> AddedTokens::longest(std::string_view input, size_t at) const {
  std::pair<int32_t, size_t> best{-1, 0};
  uint32_t node = root_[static_cast<uint8_t>(input[at])];
  for (size_t i = at + 1; node != 0; ++i) {
    if (nodes_[node].token >= 0) best = {nodes_[node].token, i - at};
    if (i >= input.size()) break;
    const auto byte = static_cast<uint8_t>(input[i]);
    uint32_t child = 0;
    for (const auto& [b, n] : nodes_[node].next) {
      if (b == byte) {
        child = n;
        break;
      }
    }
    node = child;
  }
  return best;
}

void AddedTokens::scan(std::string_view input, const std::function<void(size_t, size_t)>& text,
                       const std::function<void(TokenId)>& token) const {
  size_t done = 0;
  for (size_t at = 0; !tokens_.empty() && at < input.size();) {
    if (root_[static_cast<uint8_t>(input[at])] == 0) {
      ++at;
      continue;
    }
    const auto [index, length] = longest(input, at);
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& found = tokens_[static_cast<size_t>(index)];
    size_t begin = at, end = at + length;
    at = end;
    if (found.single_word && word_touches(input, begin, end)) continue;
    while (found.lstrip && begin > done) {
      const auto [code, start] = char_before(input, begin);
      if (!is_space(code)) break;
      begin = start;
    }
    while (found.rstrip && end < input.size()) {
      const Utf8Step step = utf8_step(input, end);
      if (!is_space(step.code)) break;
      end += step.length;
    }
    if (done < begin) text(done, begin);
    token(found.id);
    done = at = end;
  }
  if (done < input.size()) text(done, input.size());
}

}  // namespace raison
