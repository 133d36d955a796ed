// One reply: tokens from the engine become text on the console as they come, thoughts told apart by token id.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <vector>

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
  bool trim = true;               // white space before the answer is left out (false: --raw)
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
};

// Prints text as it comes. On a terminal thoughts are dimmed and closed by "thought N tokens · T s"; elsewhere they stand
// between the lines <think> and </think>.
class ReplyPrinter {
 public:
  ReplyPrinter(const Tokenizer& tokenizer, const Thinking& thinking, const ModelPrompt& prompt, bool trim);
  // The text that this token completed, empty for a mark; it is not printed yet, as a stop string may be in the making.
  std::string push(const TokenEvent& event);
  void print(std::string_view text);  // text of the state that the last push left
  void finish();                      // what is pending, the end of an open thought, a last newline
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

  const Tokenizer& tokenizer_;
  const Thinking& model_;
  StreamDecoder decoder_;
  const bool trim_, style_, terminal_;
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

// Runs one request to its end, to a stop string, or to Ctrl+C (finish is then Cancelled).
Result<Reply> stream_reply(const TextSide& text, const Thinking& thinking, Engine& engine, const ReplyRequest& request);

// "thought 12 tokens · 0.3 s", and what ended it if that was not the model.
std::string thought_line(int64_t tokens, double seconds, ThinkEnd end);
// "prompt 12 tokens, 345.6 tokens/s · reply 45 tokens, 78.9 tokens/s · 0.62 s · seed 7"
std::string stats_line(const Reply& reply);

}  // namespace raison::cli
