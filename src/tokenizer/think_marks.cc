#include <algorithm>

#include "tokenizer/think_probe.h"

namespace raison {
namespace think {

Result<std::vector<TokenId>> encode_within(const Tokenizer& tokenizer, const std::string& text) {
  const EncodeOptions plain{false, true};
  if (tokenizer.leading_strip().empty()) return tokenizer.encode(text, plain);
  // What the tokenizer puts before a text goes before the letter in front.
  RAISON_ASSIGN(const std::vector<TokenId> letter, tokenizer.encode("a", plain));
  RAISON_ASSIGN(const std::vector<TokenId> both, tokenizer.encode("a" + text, plain));
  if (both.size() < letter.size() || !std::equal(letter.begin(), letter.end(), both.begin()))
    return tokenizer.encode(text, plain);
  return std::vector<TokenId>(both.begin() + static_cast<std::ptrdiff_t>(letter.size()), both.end());
}

namespace {

// What stands beside marks in replies: ends of sentences, brackets, quotes and markup, line breaks.
constexpr const char* kBefore[] = {"",  " ", "\n", "\n\n", "a", "1", ".", ".\n", ".\n\n", "!", "?",  ":", ";",  ",",
                                   ")", "]", "}",  ">",    "<", "*", "_", "`",   "```",   "$", "\"", "'", "\\", "/"};
constexpr const char* kAfter[] = {"", "\n", "\n\n", " ", "a", "1", "<", "*", "#", "\\", "$", "."};

// The shortest run of `ids` that covers `mark` in the text they stand for; empty if their text has no mark.
std::vector<TokenId> covering(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, const std::string& mark,
                              size_t from) {
  std::string text;
  std::vector<size_t> ends;
  for (TokenId id : ids) {
    text += tokenizer.piece(id);
    ends.push_back(text.size());
  }
  const size_t at = text.find(mark, from);
  std::vector<TokenId> run;
  if (at == std::string::npos) return run;
  for (size_t i = 0, begin = 0; i < ids.size(); begin = ends[i++]) {
    if (ends[i] > at && begin < at + mark.size()) run.push_back(ids[i]);
  }
  return run;
}

}  // namespace

std::vector<std::vector<TokenId>> mark_sequences(const Tokenizer& tokenizer, const std::string& mark) {
  if (const auto id = tokenizer.id_of(mark)) return {{*id}};
  std::vector<std::vector<TokenId>> sequences;
  for (const char* before : kBefore) {
    for (const char* after : kAfter) {
      const auto ids = tokenizer.encode(std::string(before) + mark + after, {false, true});
      if (!ids.ok()) continue;
      std::vector<TokenId> run = covering(tokenizer, *ids, mark, 0);
      if (!run.empty()) sequences.push_back(std::move(run));
    }
  }
  std::sort(sequences.begin(), sequences.end(),
            [](const auto& a, const auto& b) { return a.size() != b.size() ? a.size() > b.size() : a < b; });
  sequences.erase(std::unique(sequences.begin(), sequences.end()), sequences.end());
  return sequences;
}

}  // namespace think

MarkOverhang mark_overhang(const Tokenizer& tokenizer, std::string_view mark, const std::vector<TokenId>& sequence) {
  std::string text;
  for (TokenId id : sequence) text += tokenizer.piece(id);
  const size_t at = text.find(mark);
  MarkOverhang out;
  if (sequence.empty() || at == std::string::npos) return out;
  if (at < tokenizer.piece(sequence.front()).size()) out.before = text.substr(0, at);
  out.after = text.substr(at + mark.size());
  return out;
}

}  // namespace raison
