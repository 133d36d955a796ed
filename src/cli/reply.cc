#include "cli/reply.h"

#include <algorithm>
#include <optional>

#include "cli/console.h"

namespace raison::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::string_view kDim = "\033[2m", kPlain = "\033[0m";

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string_view without_leading_space(std::string_view text) {
  const size_t at = text.find_first_not_of(" \t\r\n");
  return at == std::string_view::npos ? std::string_view() : text.substr(at);
}

std::string rate(double count, double seconds) {
  return seconds > 0 ? fmt::format("{:.1f} tokens/s", count / seconds) : std::string("- tokens/s");
}

}  // namespace

ReplyPrinter::ReplyPrinter(const Tokenizer& tokenizer, const Thinking& thinking, const ModelPrompt& prompt, bool trim)
    : tokenizer_(tokenizer),
      model_(thinking),
      decoder_(tokenizer, true),
      trim_(trim),
      style_(stdout_has_style()),
      terminal_(stdout_is_terminal()),
      trim_segment_(trim) {
  // The decoder sees the prompt first, so that a continuation keeps the space that a reply from nothing would lose.
  for (int32_t id : prompt.tokens) (void)decoder_.push(id);
  (void)decoder_.flush();
  if (prompt.start == ThinkPhase::Thinking) begin_thought();
}

void ReplyPrinter::begin_thought() {
  thinking_ = true;
  thought_shown_ = segment_started_ = false;
  thought_start_ = Clock::now();
}

void ReplyPrinter::end_thought(ThinkEnd how) {
  thinking_ = false;
  thought_end_ = how;
  thought_seconds_ += seconds_since(thought_start_);
  if (thought_shown_) {
    std::string end = line_start_ ? "" : "\n";
    if (style_) end += kPlain;
    const std::string line = thought_line(thought_tokens_, thought_seconds_, how);
    if (terminal_) {
      end += style_ ? fmt::format("{}{}{}\n\n", kDim, line, kPlain) : line + "\n\n";
    } else {
      end += "</think>\n";
    }
    put(end);
    line_start_ = true;
  }
  segment_started_ = false;
  trim_segment_ = true;
}

// The mark is complete. What its outer tokens hold beside it belongs to the thought or the answer.
void ReplyPrinter::leave_mark() {
  if (mark_.empty()) return;
  const bool closes = thinking_;
  const MarkOverhang beside = mark_overhang(tokenizer_, closes ? model_.format->close_mark : model_.format->open_mark, mark_);
  mark_.clear();
  emit(beside.before);
  if (closes) {
    end_thought(closing_);
  } else {
    begin_thought();
  }
  closing_ = ThinkEnd::None;
  emit(beside.after);
}

void ReplyPrinter::emit(std::string_view text) {
  if (!segment_started_ && (thinking_ || trim_segment_)) text = without_leading_space(text);
  if (text.empty()) return;
  if (thinking_ && !thought_shown_) {
    put(terminal_ ? (style_ ? kDim : std::string_view()) : std::string_view("<think>\n"));
    thought_shown_ = true;
  }
  segment_started_ = true;
  (thinking_ ? thought_ : answer_) += text;
  put(terminal_ ? terminal_safe(text) : std::string(text));
  line_start_ = text.back() == '\n';
}

std::string ReplyPrinter::push(const TokenEvent& event) {
  if (event.kind == TokenKind::Mark) {
    if (mark_.empty()) emit(decoder_.flush());
    mark_.push_back(event.token);
    if (event.think_end != ThinkEnd::None) closing_ = event.think_end;
    return "";
  }
  leave_mark();
  if (event.kind == TokenKind::Thought) {
    if (!thinking_) begin_thought();
    ++thought_tokens_;
  } else if (thinking_) {  // an end without a beginning: nothing was thought
    end_thought(ThinkEnd::Model);
  }
  return decoder_.push(event.token);
}

void ReplyPrinter::print(std::string_view text) { emit(text); }

void ReplyPrinter::finish() {
  if (mark_.empty()) emit(decoder_.flush());
  leave_mark();
  if (thinking_) end_thought(ThinkEnd::None);
  if (!line_start_) put("\n");
  line_start_ = true;
}

Result<Reply> stream_reply(const TextSide& text, const Thinking& thinking, Engine& engine, const ReplyRequest& request) {
  Request job;
  job.prompt = request.prompt.tokens;
  job.think = thinking.rules;
  job.think_start = request.prompt.start;
  job.think_limits = request.limits;
  job.sampling = request.sampling;
  job.max_tokens = request.max_tokens;
  job.stop_ids = text.stop_ids;
  const auto start = Clock::now();
  const EngineStats before = engine.stats();
  RAISON_ASSIGN(const uint64_t id, engine.submit(std::move(job)));

  Reply reply;
  reply.prompt_tokens = static_cast<int64_t>(request.prompt.tokens.size());
  ReplyPrinter printer(*text.tokenizer, thinking, request.prompt, request.trim);
  RAISON_ASSIGN(StopChecker stop, StopChecker::create(request.stop));
  std::optional<Error> failed;
  bool done = false;
  const auto on_event = [&](const TokenEvent& event) {
    if (event.request != id) return;
    if (event.finish == FinishReason::Error) failed = Error(event.error);
    if (event.finish != FinishReason::None) reply.finish = event.finish;
    if (event.token < 0 || done) return;
    reply.tokens.push_back(event.token);
    if (event.finish == FinishReason::Stop) return;                   // an end token is no text
    if (event.kind == TokenKind::Mark) printer.print(stop.finish());  // belongs before the mark
    printer.print(stop.push(printer.push(event)));
    if (stop.stopped()) {
      done = true;
      reply.finish = FinishReason::Stop;
    }
  };
  while (!engine.idle()) {
    if (done || interrupted() || !output_status().ok()) {
      const FinishReason finish = done ? FinishReason::Stop : FinishReason::Cancelled;
      engine.cancel(id);
      RAISON_RETURN_IF_ERROR(engine.run(on_event));
      reply.finish = finish;
      break;
    }
    if (Status ok = engine.step(on_event); !ok.ok()) {
      printer.finish();
      return ok.error();
    }
  }
  if (!done) printer.print(stop.finish());
  reply.thought_open = printer.thinking();
  printer.finish();
  if (failed) return *failed;
  reply.thought = printer.thought();
  reply.answer = printer.answer();
  reply.thought_end = printer.thought_end();
  reply.thought_tokens = printer.thought_tokens();
  reply.thought_seconds = printer.thought_seconds();
  reply.seconds = seconds_since(start);
  const EngineStats after = engine.stats();
  reply.prompt_seconds = after.prefill_seconds - before.prefill_seconds;
  reply.decode_seconds = after.decode_seconds - before.decode_seconds;
  reply.prompt_computed = after.prompt_tokens - before.prompt_tokens;
  if (request.sampling.temperature != 0) reply.seed = request.sampling.seed;
  reply.context_full = reply.finish == FinishReason::Length &&
                       reply.prompt_tokens + static_cast<int64_t>(reply.tokens.size()) >= engine.context();
  return reply;
}

std::string thought_line(int64_t tokens, double seconds, ThinkEnd end) {
  const char* how = "";
  switch (end) {
    case ThinkEnd::None: how = " (did not end)"; break;
    case ThinkEnd::Model: break;
    case ThinkEnd::Budget: how = " (closed: the budget is used up)"; break;
    case ThinkEnd::Loop: how = " (closed: it went round in circles)"; break;
    case ThinkEnd::Caller: how = " (closed on demand)"; break;
  }
  return fmt::format("thought {} · {:.1f} s{}", counted(tokens, "token"), seconds, how);
}

std::string stats_line(const Reply& reply) {
  const auto made = static_cast<int64_t>(reply.tokens.size());
  // The first token comes with the prompt's pass; the others are decoded one by one.
  std::string line =
      fmt::format("prompt {}, {} · reply {}, {} · {:.2f} s", counted(reply.prompt_tokens, "token"),
                  rate(static_cast<double>(reply.prompt_computed), reply.prompt_seconds), counted(made, "token"),
                  made > 1 ? rate(static_cast<double>(made - 1), reply.decode_seconds) : "- tokens/s", reply.seconds);
  if (reply.finish == FinishReason::Cancelled) line += " · interrupted";
  if (reply.context_full) {
    line += " · the context is full";
  } else if (reply.finish == FinishReason::Length) {
    line += " · cut off by max-tokens";
  }
  if (reply.seed) line += fmt::format(" · seed {}", *reply.seed);
  return line;
}

}  // namespace raison::cli
