#include "cli/reply.h"

#include <algorithm>
#include <optional>

#include "cli/console.h"

namespace raison::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::string_view kDim = "\033[2m", kPlain = "\033[0m";
constexpr int kWindowRows = 6;  // of a thought that is being thought

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string_view without_leading_space(std::string_view text) {
  const size_t at = text.find_first_not_of(" \t\r\n");
  return at == std::string_view::npos ? std::string_view() : text.substr(at);
}

std::string rate(double count, double seconds) {
  return seconds > 0 ? fmt::format("{:.1f} tokens/s", count / seconds) : std::string("- tokens/s");
}

}  // namespace

ReplyPrinter::ReplyPrinter(const Tokenizer& tokenizer, const Thinking& thinking, const ModelPrompt& prompt, bool trim,
                           bool show_thinking, bool keys)
    : tokenizer_(tokenizer),
      model_(thinking),
      decoder_(tokenizer, true),
      trim_(trim),
      style_(stdout_has_style()),
      terminal_(stdout_is_terminal()),
      window_(style_ && !show_thinking),
      keys_(keys),
      trim_segment_(trim) {
  // The decoder sees the prompt first, so that a continuation keeps the space that a reply from nothing would lose.
  for (int32_t id : prompt.tokens) (void)decoder_.push(id);
  (void)decoder_.flush();
  if (prompt.start == ThinkPhase::Thinking) begin_thought();
}

void ReplyPrinter::begin_thought() {
  thinking_ = true;
  thought_shown_ = segment_started_ = false;
  thought_begin_ = thought_.size();
  thought_start_ = Clock::now();
}

void ReplyPrinter::end_thought(ThinkEnd how) {
  thinking_ = false;
  thought_end_ = how;
  thought_seconds_ += seconds_since(thought_start_);
  if (thought_shown_) {
    if (window_) block_.clear();
    std::string end = line_start_ ? "" : "\n";
    if (style_) end += kPlain;
    const std::string line = thought_line(thought_tokens_, timed_ ? thought_seconds_ : -1, how);
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
  (thinking_ ? thought_ : answer_) += text;
  segment_started_ = true;
  if (thinking_ && window_) {
    if (!thought_shown_ && !line_start_) put("\n");
    thought_shown_ = line_start_ = true;
    if (block_.due()) draw_window();
    return;
  }
  if (thinking_ && !thought_shown_) {
    put(terminal_ ? (style_ ? kDim : std::string_view()) : std::string_view("<think>\n"));
    thought_shown_ = true;
  }
  put(terminal_ ? terminal_safe(text) : std::string(text));
  line_start_ = text.back() == '\n';
}

void ReplyPrinter::draw_window() {
  const TerminalSize size = terminal_size();
  std::vector<std::string> rows =
      last_rows(std::string_view(thought_).substr(thought_begin_), size.columns - 1, std::clamp(size.rows - 2, 1, kWindowRows));
  rows.push_back(fmt::format("thinking · {} · {:.1f} s{}", counted(thought_tokens_, "token"),
                             thought_seconds_ + seconds_since(thought_start_), keys_ ? " · Ctrl+E ends it" : ""));
  block_.show(rows, true);
}

void ReplyPrinter::notice(std::string_view line) {
  if (window_ && thinking_) block_.clear();
  if (!line_start_) put("\n");
  line_start_ = true;
  note(line);
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

Request engine_request(const TextSide& text, const Thinking& thinking, const ReplyRequest& request) {
  Request job;
  job.prompt = request.prompt.tokens;
  job.think = thinking.rules;
  job.think_start = request.prompt.start;
  job.think_limits = request.limits;
  job.sampling = request.sampling;
  job.max_tokens = request.max_tokens;
  job.stop_ids = text.stop_ids;
  job.adapter = request.adapter;
  return job;
}

namespace {

// One reply on its way: a request, or several where the prompt has to be shortened in its middle.
class ReplyStream {
 public:
  ReplyStream(const TextSide& text, const Thinking& thinking, Engine& engine, const ReplyRequest& request, StopChecker stop)
      : text_(text),
        thinking_(thinking),
        engine_(engine),
        request_(request),
        prompt_(request.prompt),
        printer_(*text.tokenizer, thinking, request.prompt, request.trim, request.show_thinking, request.keys),
        stop_(std::move(stop)) {
    reply_.prompt_tokens = static_cast<int64_t>(request.prompt.tokens.size());
  }

  Result<Reply> run() {
    const auto start = Clock::now();
    const EngineStats before = engine_.stats();
    if (request_.keys) keys_.emplace();
    const Status ok = walk();
    keys_.reset();
    if (!ok.ok()) printer_.finish();  // whatever happened, the terminal is left in order
    RAISON_RETURN_IF_ERROR(ok);
    if (!done_) printer_.print(stop_.finish());
    reply_.thought_open = printer_.thinking();
    printer_.finish();
    if (failed_) return *failed_;
    fill(before, seconds_since(start));
    return std::move(reply_);
  }

 private:
  // Request by request, to the end.
  Status walk() {
    RAISON_RETURN_IF_ERROR(submit());
    while (true) {
      RAISON_RETURN_IF_ERROR(drive());
      if (!full()) return {};
      const auto more = go_on();
      if (!more.ok()) printer_.notice("raison: note: the reply ends here: " + terminal_safe(more.message()));
      if (!more.ok() || !*more) return {};
    }
  }
  // Behind a shorter prompt. False: there is none.
  Result<bool> go_on() {
    RAISON_ASSIGN(const bool shorter, shorten());
    if (shorter) RAISON_RETURN_IF_ERROR(submit());
    return shorter;
  }
  int64_t made() const { return static_cast<int64_t>(reply_.tokens.size()); }
  // What ended it is want of room, not a bound of the user's.
  bool full() const {
    return reply_.finish == FinishReason::Length && (request_.max_tokens == 0 || made() < request_.max_tokens);
  }

  Status submit() {
    Request job = engine_request(text_, thinking_, request_);
    if (shifts_ > 0) {
      job.prompt = prompt_.tokens;
      job.prompt.insert(job.prompt.end(), reply_.tokens.begin(), reply_.tokens.end());
      job.continued = made();
      job.sample_index = static_cast<uint64_t>(shifts_) << 32;  // other random numbers than at the same positions before
      job.think_start = prompt_.start;
      if (job.max_tokens > 0) job.max_tokens -= made();
    }
    RAISON_ASSIGN(id_, engine_.submit(std::move(job)));
    reply_.finish = FinishReason::None;
    return {};
  }

  Status drive() {
    const auto on_event = [this](const TokenEvent& e) { take(e); };
    while (!engine_.idle()) {
      if (done_ || interrupted() || !output_status().ok()) {
        const FinishReason finish = done_ ? FinishReason::Stop : FinishReason::Cancelled;
        engine_.cancel(id_);
        RAISON_RETURN_IF_ERROR(engine_.run(on_event));
        reply_.finish = finish;
        return {};
      }
      end_asked_ = (keys_ && keys_->take_ctrl_e()) || end_asked_;
      if (end_asked_ && printer_.thinking() &&
          ended_in_ != id_) {  // asked for before the thought began, it ends it when it does
        engine_.end_thinking(id_);
        ended_in_ = id_;
      }
      if (ended_in_ != 0 && !printer_.thinking()) end_asked_ = false, ended_in_ = 0;
      RAISON_RETURN_IF_ERROR(engine_.step(on_event));
    }
    return {};
  }

  void take(const TokenEvent& event) {
    if (event.request != id_) return;
    if (event.finish == FinishReason::Error) failed_ = Error(event.error);
    if (event.finish != FinishReason::None) reply_.finish = event.finish;
    if (event.token < 0 || done_) return;
    reply_.tokens.push_back(event.token);
    if (event.finish == FinishReason::Stop) return;                     // an end token is no text
    if (event.kind == TokenKind::Mark) printer_.print(stop_.finish());  // belongs before the mark
    printer_.print(stop_.push(printer_.push(event)));
    if (stop_.stopped()) {
      done_ = true;
      reply_.finish = FinishReason::Stop;
    }
  }

  // Makes room for the rest of the reply. False: there is none to be made.
  Result<bool> shorten() {
    if (!request_.shorter) return false;
    const auto held = static_cast<int64_t>(prompt_.tokens.size());
    RAISON_ASSIGN(auto shorter, request_.shorter(made(), held + made()));
    if (!shorter) return false;
    ++shifts_;
    prompt_ = std::move(shorter->prompt);
    printer_.notice(shorter->notice);
    return true;
  }

  void fill(const EngineStats& before, double seconds) {
    reply_.thought = printer_.thought();
    reply_.answer = printer_.answer();
    reply_.thought_end = printer_.thought_end();
    reply_.thought_tokens = printer_.thought_tokens();
    reply_.thought_seconds = printer_.thought_seconds();
    reply_.seconds = seconds;
    const EngineStats after = engine_.stats();
    reply_.prompt_seconds = after.prefill_seconds - before.prefill_seconds;
    reply_.decode_seconds = after.decode_seconds - before.decode_seconds;
    reply_.prompt_computed = after.prompt_tokens - before.prompt_tokens;
    if (request_.sampling.temperature != 0) reply_.seed = request_.sampling.seed;
    reply_.context_full = full();
  }

  const TextSide& text_;
  const Thinking& thinking_;
  Engine& engine_;
  const ReplyRequest& request_;
  ModelPrompt prompt_;
  ReplyPrinter printer_;
  StopChecker stop_;
  Reply reply_;
  uint64_t id_ = 0;
  int64_t shifts_ = 0;
  bool done_ = false;  // a stop string
  bool end_asked_ = false;
  uint64_t ended_in_ = 0;  // the request that was told so; 0: none
  std::optional<ReplyKeys> keys_;
  std::optional<Error> failed_;
};

}  // namespace

Result<Reply> stream_reply(const TextSide& text, const Thinking& thinking, Engine& engine, const ReplyRequest& request) {
  RAISON_ASSIGN(StopChecker stop, StopChecker::create(request.stop));
  return ReplyStream(text, thinking, engine, request, std::move(stop)).run();
}

void print_reply(const TextSide& text, const Thinking& thinking, const ReplyRequest& request, const Generation& g) {
  ReplyPrinter printer(*text.tokenizer, thinking, request.prompt, request.trim, request.show_thinking, false);
  printer.untimed();
  for (size_t i = 0; i < g.tokens.size(); ++i) {
    if (i + 1 == g.tokens.size() && g.finish == FinishReason::Stop) break;
    TokenEvent e;
    e.token = g.tokens[i];
    e.kind = g.kinds[i];
    e.forced = g.forced[i] != 0;
    if (e.kind == TokenKind::Mark) e.think_end = g.think_end;
    printer.print(printer.push(e));
  }
  printer.finish();
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
  return fmt::format("thought {}{}{}", counted(tokens, "token"), seconds < 0 ? "" : fmt::format(" · {:.1f} s", seconds), how);
}

std::string stats_line(const Reply& reply) {
  const auto made = static_cast<int64_t>(reply.tokens.size());
  if (reply.all_tokens > 0)
    return fmt::format("prompt {} · all replies {}, {} · {:.2f} s · seed {}", counted(reply.prompt_tokens, "token"),
                       counted(reply.all_tokens, "token"), rate(static_cast<double>(reply.all_tokens), reply.seconds),
                       reply.seconds, reply.seed.value_or(0));
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
