#include "engine/reply_text.h"

namespace raison {
namespace {

std::string_view trim_space(std::string_view s) {
  const size_t begin = s.find_first_not_of(" \t\r\n");
  return begin == std::string_view::npos ? std::string_view() : s.substr(begin, s.find_last_not_of(" \t\r\n") - begin + 1);
}

}  // namespace

ReplyText reply_text(const Tokenizer& tokenizer, const ThinkFormat* format, const Generation& reply) {
  ReplyText out;
  size_t n = reply.tokens.size();
  if (n > 0 && reply.finish == FinishReason::Stop) --n;  // the token that ended it is no text
  const std::vector<int32_t> all(reply.tokens.begin(), reply.tokens.begin() + static_cast<std::ptrdiff_t>(n));
  out.text = tokenizer.decode(all);
  bool thinking = false, thought = false;
  for (size_t i = 0; i < n;) {
    size_t end = i + 1;
    while (end < n && reply.kinds[end] == reply.kinds[i]) ++end;
    const std::vector<int32_t> run(all.begin() + static_cast<std::ptrdiff_t>(i),
                                   all.begin() + static_cast<std::ptrdiff_t>(end));
    switch (reply.kinds[i]) {
      case TokenKind::Thought:
        out.thought_tokens += static_cast<int64_t>(run.size());
        thinking = thought = true;
        out.thought += tokenizer.decode(run);
        break;
      case TokenKind::Answer:
        thinking = false;
        out.answer += tokenizer.decode(run);
        break;
      case TokenKind::Mark:
        thought = true;
        if (!format) break;
        const MarkOverhang beside = mark_overhang(tokenizer, thinking ? format->close_mark : format->open_mark, run);
        (thinking ? out.thought : out.answer) += beside.before;
        (thinking ? out.answer : out.thought) += beside.after;
        thinking = !thinking;
    }
    i = end;
  }
  if (thought) {
    out.thought = trim_space(out.thought);
    out.answer = trim_space(out.answer);
  }
  return out;
}

}  // namespace raison
