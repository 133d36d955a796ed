// What think_format.cc and think_prompt.cc share: a template's generation prompt, and marks as token sequences.
#pragma once
#include "tokenizer/think_format.h"

namespace raison::think {

// What the template appends to `variables`' messages when asked for a generation prompt. A template that does not heed
// add_generation_prompt: what it writes after the last message, unless that is the assistant's.
std::string generation_prompt(const ChatTemplate& chat_template, const nlohmann::ordered_json& variables);

// The ids of a text that stands within another (no dummy space before it).
Result<std::vector<TokenId>> encode_within(const Tokenizer& tokenizer, const std::string& text);

// How the tokenizer writes `mark`, the shortest sequences that cover it, longest first; empty if it cannot.
std::vector<std::vector<TokenId>> mark_sequences(const Tokenizer& tokenizer, const std::string& mark);

// The shortest run of `ids` that covers `mark` in the text they stand for; empty if their text has no mark.
std::vector<TokenId> covering(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, const std::string& mark);

inline bool has(std::string_view text, std::string_view part) {
  return !part.empty() && text.find(part) != std::string_view::npos;
}
constexpr std::string_view kWhiteSpace = " \t\r\n";
inline std::string trimmed_front(std::string_view text, std::string_view what = kWhiteSpace) {
  return std::string(text.substr(std::min(text.size(), text.find_first_not_of(what))));
}
inline std::string trimmed_back(std::string_view text, std::string_view what = kWhiteSpace) {
  return std::string(text.substr(0, text.find_last_not_of(what) + 1));
}
inline std::string trimmed(std::string_view text) { return trimmed_front(trimmed_back(text)); }
// The white space that a text ends or begins with.
inline std::string_view white_end(std::string_view text) { return text.substr(trimmed_back(text).size()); }
inline std::string_view white_begin(std::string_view text) { return text.substr(0, text.size() - trimmed_front(text).size()); }
inline bool ends_white(std::string_view text) { return !text.empty() && has(kWhiteSpace, text.substr(text.size() - 1)); }
inline bool begins_white(std::string_view text) { return !text.empty() && has(kWhiteSpace, text.substr(0, 1)); }

}  // namespace raison::think
