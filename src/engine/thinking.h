// How a model thinks, ready for requests: its format, and the rules of its marks.
#pragma once
#include <memory>
#include <optional>

#include "engine/think.h"
#include "tokenizer/think_format.h"

namespace raison {

struct Thinking {
  std::optional<ThinkFormat> format;  // none: the model does not think
  std::shared_ptr<const ThinkRules> rules;
};

// `chat_template` may be null. A head of `vocab` rows that can't write the marks does not think.
Result<Thinking> find_thinking(const ChatTemplate* chat_template, const Tokenizer& tokenizer, int64_t vocab);

ThinkPhase phase_of(ThinkStart start);

// Takes marks of one token out of `stop_ids`: a thought's end is not the reply's.
void keep_marks(const Thinking& thinking, std::vector<int32_t>* stop_ids);

}  // namespace raison
