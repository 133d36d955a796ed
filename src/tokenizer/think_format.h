// How a model thinks: the tokens that begin and end a thought, how a thought is ended as the model's own template would, how
// thinking is switched, and what the history holds of a thought. Found by rendering the chat template on messages of our own;
// a table of known marks serves where a template shows no thought at all (R1's cuts them out).
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace raison {

// Where in a reply generation starts.
enum class ThinkStart {
  // The model's first words decide: an open mark, before which white space may stand, begins a thought; a close mark (gpt-oss
  // may write its answer's header at once) or anything else begins the answer.
  Undecided,
  Thinking,  // the prompt has opened the thought
  Answering,
};

// How thinking is switched off.
enum class ThinkSwitch {
  Prefill,   // the template has no switch: what a model that did not think would have written is appended to the prompt
  Variable,  // by a variable of the template
};

// How an assistant's finished turn goes into the messages.
enum class ThinkHistory {
  Dropped,    // the answer alone: the template cuts a thought out of content even in the last turn
  Stripped,   // the answer alone: the template would show the thoughts of every turn's content as they stand
  InContent,  // content holds the thought in its marks; the template cuts it out of earlier turns
  Field,      // the thought stands in a field of its own (history_field)
  Blocks,     // content is a list of blocks: {type: thinking, thinking}, {type: text, text}
};

// Which turns show their thought when messages of history_message() are rendered without tools.
enum class ThoughtsKept { Never, LastTurn, Always };

struct ThinkFormat {
  std::string family;  // "deepseek-r1", "qwen3", ...: for people, nothing depends on it

  std::string open_mark, close_mark;  // "<think>", "</think>"
  // As the template renders them, with the white space around: "<think>\n", "\n</think>\n\n". The text of a whole reply is
  // open_text (if the prompt does not hold it), thought, close_text, answer.
  std::string open_text, close_text;
  // Token sequences that begin and end a thought. A mark that is one token has one. A mark of several has one per way in which its
  // ends grow together with the text around (".</" + "think" + ">\n"): see mark_overhang(); there may be thousands. None is the
  // beginning of another; the longest that fits counts. Tokens of a mark are no stop tokens, whatever the model's files say
  // (gpt-oss's <|end|>).
  std::vector<std::vector<TokenId>> open, close;
  std::vector<TokenId> forced_close;  // close_text: what to force so that a thought ends; holds close.front()
  bool reopens = false;  // thought and answer are messages of their own, and a further thought may follow (gpt-oss)
  // What a model that does not think has written when its answer begins, where the prompt opens no thought.
  std::string skip_text;
  // Plain text in which the model writes its answer (Granite: <response>, </response>): to be left out of it. Mostly empty.
  std::string answer_open, answer_close;
  std::string header;  // what a template writes before an assistant's words, trimmed

  ThinkSwitch off = ThinkSwitch::Prefill;
  std::string switch_variable;              // "enable_thinking", "thinking", ...: true and false are its values
  bool default_on = true;                   // whether the model thinks if the variable is not set
  bool off_closes = false;                  // with false the prompt holds an ended thought; else it says nothing of thoughts
  bool switch_ignored_with_system = false;  // a system message takes the place of what the variable changes (Granite)
  std::string message_switch;               // a word in a message that asks for no thought ("/no_think"); empty if none
  std::string effort_variable;              // "reasoning_effort", or empty
  std::vector<std::string> efforts;         // its values, least first

  ThinkHistory history = ThinkHistory::Stripped;
  std::string history_field;  // "reasoning_content", "thinking", "reasoning"
  ThoughtsKept kept = ThoughtsKept::Never;
};

// nullopt: the model does not think. With a template, the template says; without one (null), marks that are tokens of the
// vocabulary do. A template that knows no thoughts wins over a vocabulary that has the marks, as the models of a family share
// their vocabulary (Qwen3-Coder).
Result<std::optional<ThinkFormat>> think_format(const ChatTemplate* chat_template, const Tokenizer& tokenizer);

struct ThinkOptions {
  // Not set: as the template has it when nothing is said. false wins over a message that asks for thoughts (SmolLM3's /think).
  std::optional<bool> thinking;
  std::string effort;  // one of ThinkFormat::efforts; empty: the template's own
  bool open = false;   // begin the thought in the prompt where the template leaves that to the model
};

struct ThinkPrompt {
  std::string text;
  std::string generation;  // the end of text: what the template appends for the assistant to go on, and what the options added
  ThinkStart start = ThinkStart::Answering;
};

// Renders `variables` (messages, bos_token, eos_token, tools, ...) for the assistant to go on. format null: a model that does
// not think; asking it to is an error. The state is read from what the template appends alone, so no message, whatever marks it
// quotes, changes it.
Result<ThinkPrompt> think_prompt(const ChatTemplate& chat_template, const ThinkFormat* format, nlohmann::ordered_json variables,
                                 const ThinkOptions& options = {});

// The state after a text of the template's own: that of the last mark in it, Undecided if there is none.
ThinkStart think_start_after(const ThinkFormat& format, std::string_view generation_prompt);

// The state after a prompt that someone wrote whole, without a template. All of it is meant as it stands, so a text that ends
// within a thought ("...<think>\nFirst, I") is gone on with as a thought. Marks before the last assistant's header are
// conversation and do not count.
ThinkStart think_start_after_raw(const ThinkFormat& format, std::string_view prompt);

// The assistant's message for the history. White space of the kind that the template writes around a thought is taken off both.
nlohmann::ordered_json history_message(const ThinkFormat& format, std::string_view thought, std::string_view answer);

// The text that the outer tokens of a mark's sequence hold beside the mark: of ".</" + "think" + ">\n" that is "." and "\n".
struct MarkOverhang {
  std::string before, after;
};
MarkOverhang mark_overhang(const Tokenizer& tokenizer, std::string_view mark, const std::vector<TokenId>& sequence);

}  // namespace raison
