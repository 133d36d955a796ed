// A reply's tokens as text: all of it, and its thought and answer apart.
#pragma once
#include <string>

#include "engine/engine.h"
#include "tokenizer/think_format.h"
#include "tokenizer/tokenizer.h"

namespace raison {

struct ReplyText {
  std::string text;     // as the model wrote it, marks included, without the token that ended it
  std::string thought;  // without the marks; of several thoughts one after the other
  std::string answer;
  int64_t thought_tokens = 0;
};

// `format` null: the model does not think. White space around thought and answer is taken off where the format's marks bring it along.
ReplyText reply_text(const Tokenizer& tokenizer, const ThinkFormat* format, const Generation& reply);

}  // namespace raison
