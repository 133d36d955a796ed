#include <algorithm>
#include <set>

#include "tokenizer/think_probe.h"
#include "tokenizer/utf8.h"

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

std::vector<TokenId> covering(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, const std::string& mark) {
  std::string text;
  std::vector<size_t> ends;
  for (TokenId id : ids) {
    text += tokenizer.piece(id);
    ends.push_back(text.size());
  }
  const size_t at = text.find(mark);
  std::vector<TokenId> run;
  if (at == std::string::npos) return run;
  for (size_t i = 0, begin = 0; i < ids.size(); begin = ends[i++]) {
    if (ends[i] > at && begin < at + mark.size()) run.push_back(ids[i]);
  }
  return run;
}

namespace {

using Sequence = std::vector<TokenId>;
using Texts = std::set<std::string>;

// What stands beside marks in replies: ends of sentences, brackets, quotes and markup, line breaks.
const Texts kCommonBefore = {"",  " ", "\n", "\n\n", "a", "1", ".", ".\n", ".\n\n", "!", "?",  ":", ";",  ",",
                             ")", "]", "}",  ">",    "<", "*", "_", "`",   "```",   "$", "\"", "'", "\\", "/"};
const Texts kCommonAfter = {"", " ", "\n", "\n\n", "a", "1", "<", "\n<", "*", "#", "\\", "$", "."};

// What tokens of the vocabulary hold before a beginning of the mark, or after an end of it. An answer does not begin with the
// longer runs of punctuation that vocabularies know from programs (">();\n").
void grown_tokens(const Tokenizer& tokenizer, const std::string& mark, Texts* before, Texts* after) {
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string piece = tokenizer.piece(id);
    for (size_t n = 1; n < mark.size() && n < piece.size(); ++n) {
      const size_t rest = piece.size() - n;
      if (piece.compare(rest, n, mark, 0, n) == 0) before->insert(piece.substr(0, rest));
      if (piece.compare(0, n, mark, mark.size() - n, n) != 0) continue;
      if (rest <= 2 || begins_white(piece.substr(n))) after->insert(piece.substr(n));
    }
  }
}

void add_sequences(const Tokenizer& tokenizer, const std::string& mark, const Texts& befores, const Texts& afters,
                   std::set<Sequence>* found) {
  for (const std::string& before : befores) {
    for (const std::string& after : afters) {
      const std::string text = before + mark + after;
      if (!is_valid_utf8(text)) continue;  // a token of half a character
      const auto ids = tokenizer.encode(text, {false, true});
      if (!ids.ok()) continue;
      Sequence run = covering(tokenizer, *ids, mark);
      if (!run.empty()) found->insert(std::move(run));
    }
  }
}

// Where the sequence's tokens end, in bytes of the mark.
std::vector<size_t> ends_within(const Tokenizer& tokenizer, const std::string& mark, const Sequence& sequence) {
  std::vector<size_t> ends;
  size_t end = 0;
  const size_t before = mark_overhang(tokenizer, mark, sequence).before.size();
  for (TokenId id : sequence) ends.push_back((end += tokenizer.piece(id).size()) - before);
  return ends;
}

// The beginning of one and the end of the other, which meet where both have an end of a token; empty if nowhere.
Sequence joined(const Tokenizer& tokenizer, const std::string& mark, const Sequence& a, const Sequence& b) {
  const std::vector<size_t> a_ends = ends_within(tokenizer, mark, a), b_ends = ends_within(tokenizer, mark, b);
  for (size_t i = 0; i + 1 < a.size(); ++i) {
    const auto meet = std::find(b_ends.begin(), b_ends.end() - 1, a_ends[i]);
    if (meet == b_ends.end() - 1) continue;
    Sequence out(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(i + 1));
    out.insert(out.end(), b.begin() + (meet - b_ends.begin()) + 1, b.end());
    return out;
  }
  return {};
}

}  // namespace

std::vector<Sequence> mark_sequences(const Tokenizer& tokenizer, const std::string& mark) {
  if (const auto id = tokenizer.id_of(mark)) return {{*id}};
  std::set<Sequence> found;
  add_sequences(tokenizer, mark, kCommonBefore, kCommonAfter, &found);
  if (found.size() > 1) {  // plain text, whose ends grow together with others
    Texts before = kCommonBefore, after = kCommonAfter;
    grown_tokens(tokenizer, mark, &before, &after);
    std::set<Sequence> begun, ended;
    add_sequences(tokenizer, mark, before, {""}, &begun);
    add_sequences(tokenizer, mark, {""}, after, &ended);
    for (const Sequence& a : begun) {
      for (const Sequence& b : ended) {
        if (Sequence both = joined(tokenizer, mark, a, b); !both.empty()) found.insert(std::move(both));
      }
    }
  }
  std::vector<Sequence> sequences(found.begin(), found.end());
  std::stable_sort(sequences.begin(), sequences.end(),
                   [](const Sequence& a, const Sequence& b) { return a.size() > b.size(); });
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
