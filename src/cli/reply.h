// One reply: tokens from the engine become text on the console as they come, thoughts told apart by token id.
#pragma once
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/live_block.h"
#include "cli/session.h"
#include "cli/thinking.h"
#include "engine/engine.h"

namespace raison::cli {

struct ReplyRequest {
  ModelPrompt prompt;
  ThinkLimits limits;
  SamplingParams sampling;
  std::vector<std::string> stop;  // strings that end the reply; not printed
  int64_t max_tokens = 0;         // 0: what the context holds
  int32_t adapter = -1;           // LoadedModel's
  bool trim = true;               // white space before the answer is left out (false: --raw)
  bool keys = false;              // the keyboard is ours meanwhile: Ctrl+E ends the thought
  bool show_thinking = false;     // thoughts stay on the terminal; else they shrink to one line when done
  // Called when prompt and reply fill all the room there is: a prompt that leaves the reply's tokens more of it, with a word to the user
  // about what was lost; none: there is no such prompt, and the reply ends. Empty: it ends at once.
  struct Shorter {
    ModelPrompt prompt;
    std::string notice;
  };
  std::function<Result<std::optional<Shorter>>(int64_t reply_tokens, int64_t room)> shorter;
};

struct Reply {
  std::vector<int32_t> tokens;  // all that were generated, an end token included
  std::string thought, answer;
  FinishReason finish = FinishReason::None;
  int64_t prompt_tokens = 0, thought_tokens = 0;
  double thought_seconds = 0, seconds = 0;        // seconds: the whole reply, prompt included
  double prompt_seconds = 0, decode_seconds = 0;  // the engine's own clock
  bool thought_open = false;                      // the reply ended within its thought
  ThinkEnd thought_end = ThinkEnd::None;          // what ended it
  bool context_full = false;
  int64_t prompt_computed = 0;   // prompt tokens that went through the model: all, unless the reply was stopped before
  std::optional<uint64_t> seed;  // of what was drawn; none if greedy
  int64_t all_tokens = 0;        // of a vote: those of all samples
};

// Prints text as it comes. On a terminal the end of a thought is shown, dimmed, until "thought N tokens · T s" takes its place, or with
// show_thinking (and where nothing can be taken back) all of it, above that line; elsewhere it stands between the lines <think> and
// </think>.
class ReplyPrinter {
 public:
  ReplyPrinter(const Tokenizer& tokenizer, const Thinking& thinking, const ModelPrompt& prompt, bool trim, bool show_thinking,
               bool keys);
  void untimed() { timed_ = false; }  // the thought was thought before
  // The text that this token completed, empty for a mark; it is not printed yet, as a stop string may be in the making.
  std::string push(const TokenEvent& event);
  void print(std::string_view text);   // text of the state that the last push left
  void finish();                       // what is pending, the end of an open thought, a last newline
  void notice(std::string_view line);  // about the reply, on a line of its own
  bool thinking() const { return thinking_; }
  int64_t thought_tokens() const { return thought_tokens_; }
  double thought_seconds() const { return thought_seconds_; }
  ThinkEnd thought_end() const { return thought_end_; }
  const std::string& thought() const { return thought_; }
  const std::string& answer() const { return answer_; }

 private:
  void begin_thought();
  void end_thought(ThinkEnd how);
  void leave_mark();
  void emit(std::string_view text);
  void draw_window();

  const Tokenizer& tokenizer_;
  const Thinking& model_;
  StreamDecoder decoder_;
  const bool trim_, style_, terminal_, window_, keys_;
  bool timed_ = true;
  LiveBlock block_;           // the window, if window_
  size_t thought_begin_ = 0;  // in thought_: of the current one
  bool thinking_ = false;
  bool thought_shown_ = false;    // something of the current thought was printed
  bool segment_started_ = false;  // something other than white space was printed since the last mark
  bool trim_segment_ = false;
  bool line_start_ = true;
  std::vector<int32_t> mark_;          // tokens of the mark that is being written
  ThinkEnd closing_ = ThinkEnd::None;  // what the mark ends
  ThinkEnd thought_end_ = ThinkEnd::None;
  int64_t thought_tokens_ = 0;
  double thought_seconds_ = 0;
  std::chrono::steady_clock::time_point thought_start_;
  std::string thought_, answer_;
};

// Of a reply's first token on.
Request engine_request(const TextSide& text, const Thinking& thinking, const ReplyRequest& request);

// Runs one request to its end, to a stop string, or to Ctrl+C (finish is then Cancelled). What fails in its middle ends it, with a
// note: what has been said is not lost.
Result<Reply> stream_reply(const TextSide& text, const Thinking& thinking, Engine& engine, const ReplyRequest& request);

// Prints a reply that is there already, in the same way.
void print_reply(const TextSide& text, const Thinking& thinking, const ReplyRequest& request, const Generation& generation);

// "thought 12 tokens · 0.3 s", and what ended it if that was not the model. Negative seconds are left out.
std::string thought_line(int64_t tokens, double seconds, ThinkEnd end);
// "prompt 12 tokens, 345.6 tokens/s · reply 45 tokens, 78.9 tokens/s · 0.62 s · seed 7"
std::string stats_line(const Reply& reply);

}  // namespace raison::cli
