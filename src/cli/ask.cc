#include "cli/ask.h"

#include <algorithm>

#include "cli/console.h"
#include "tokenizer/conversation.h"

namespace raison::cli {
namespace {

// Drops turns of a conversation until its prompt has room.
class ContextShift {
 public:
  ContextShift(const LoadedModel& model, const Thinking& thinking, const RunOptions& options, nlohmann::ordered_json* messages,
               const std::string& last)
      : m_(model), thinking_(thinking), options_(options), messages_(messages), last_(last) {}

  // The longest prompt that takes, with `reply` tokens more, at most three quarters of `room`, so that the next shift is not due at once;
  // if even the last turn alone takes more, that one. None, and nothing is dropped: there is no older turn, or what is left does not fit
  // either (`fits`, of the prompt's tokens).
  template <class Fits>
  Result<std::optional<ReplyRequest::Shorter>> shorten(int64_t before, int64_t reply, int64_t room, const Fits& fits) {
    nlohmann::ordered_json kept = *messages_;
    ModelPrompt prompt;
    int64_t turns = 0;
    while (turns == 0 || size(prompt) + reply > room * 3 / 4 || !fits(size(prompt))) {
      auto fewer = without_oldest_turn(kept);
      if (!fewer) break;
      kept = std::move(*fewer);
      ++turns;
      RAISON_ASSIGN(prompt, make_prompt(m_.text, thinking_, kept, last_, false, options_.thinking));
    }
    if (turns == 0 || !fits(size(prompt))) return std::optional<ReplyRequest::Shorter>();
    *messages_ = std::move(kept);
    std::string notice = fmt::format("raison: note: the context is full: the oldest {} left it ({} tokens less)",
                                     turns == 1 ? "turn has" : fmt::format("{} turns have", turns), before - size(prompt));
    return std::optional(ReplyRequest::Shorter{std::move(prompt), std::move(notice)});
  }

 private:
  static int64_t size(const ModelPrompt& p) { return static_cast<int64_t>(p.tokens.size()); }

  const LoadedModel& m_;
  const Thinking& thinking_;
  const RunOptions& options_;
  nlohmann::ordered_json* messages_;
  const std::string& last_;
};

}  // namespace

Result<Reply> ask(LoadedModel& m, const Thinking& thinking, Engine& engine, const RunOptions& options,
                  nlohmann::ordered_json* messages, const std::string& last, bool* outgrown) {
  RAISON_ASSIGN(const ResolvedSampling sampling, resolve_sampling(options.sampling, m.files.generation));
  const bool raw = options.raw || !m.text.chat_template;
  ReplyRequest request;
  RAISON_ASSIGN(request.prompt, make_prompt(m.text, thinking, *messages, last, raw, options.thinking));
  RAISON_ASSIGN(request.limits, think_limits(m.text, thinking, options.thinking));
  request.adapter = m.adapter;
  request.sampling = sampling.params;
  request.stop = options.sampling.stop;
  request.max_tokens = sampling.max_tokens;
  request.trim = !raw;
  request.show_thinking = options.show_thinking;
  request.keys = options.keys;
  const auto held = static_cast<int64_t>(request.prompt.tokens.size());
  const auto fits = [&](int64_t prompt) { return engine.needed(prompt, request.max_tokens) <= engine.room(); };
  if (outgrown) *outgrown = !fits(held);
  ContextShift shift(m, thinking, options, messages, last);
  if (options.context_shift && !raw) {
    if (!fits(held)) {
      RAISON_ASSIGN(auto shorter, shift.shorten(held, 0, engine.room(), fits));
      if (shorter) {
        request.prompt = std::move(shorter->prompt);
        note(shorter->notice);
      }
    }
    request.shorter = [&shift, held = static_cast<int64_t>(request.prompt.tokens.size())](int64_t reply, int64_t room) mutable {
      auto shorter = shift.shorten(held, reply, room, [&](int64_t prompt) { return prompt + reply < room; });
      if (shorter.ok() && *shorter) held = static_cast<int64_t>((*shorter)->prompt.tokens.size());
      return shorter;
    };
  }
  return options.vote.samples > 0 ? vote_reply(m.text, thinking, engine, request, options.vote)
                                  : stream_reply(m.text, thinking, engine, request);
}

}  // namespace raison::cli
