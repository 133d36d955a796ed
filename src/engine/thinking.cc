#include "engine/thinking.h"

namespace raison {

Result<Thinking> find_thinking(const ChatTemplate* chat_template, const Tokenizer& tokenizer, int64_t vocab) {
  Thinking t;
  RAISON_ASSIGN(t.format, think_format(chat_template, tokenizer));
  if (!t.format) return t;
  const ThinkFormat& f = *t.format;
  RAISON_ASSIGN(t.rules, ThinkRules::create({f.open, f.close, f.forced_close, f.reopens}));
  if (!t.rules->within(vocab)) t = {};
  return t;
}

ThinkPhase phase_of(ThinkStart start) {
  switch (start) {
    case ThinkStart::Undecided: return ThinkPhase::Undecided;
    case ThinkStart::Thinking: return ThinkPhase::Thinking;
    case ThinkStart::Answering: return ThinkPhase::Answering;
  }
  return ThinkPhase::None;
}

void keep_marks(const Thinking& thinking, std::vector<int32_t>* stop_ids) {
  if (!thinking.format) return;
  for (const auto* marks : {&thinking.format->open, &thinking.format->close})
    for (const auto& mark : *marks) std::erase_if(*stop_ids, [&](int32_t id) { return mark.size() == 1 && mark[0] == id; });
}

}  // namespace raison
