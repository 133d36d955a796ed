#include <algorithm>

#include "tokenizer/think_probe.h"

namespace raison {
namespace think {

using nlohmann::ordered_json;

std::string generation_prompt(const ChatTemplate& chat_template, const ordered_json& variables) {
  ordered_json asked = variables;
  asked["add_generation_prompt"] = true;
  const auto with = chat_template.render(asked);
  asked["add_generation_prompt"] = false;
  const auto without = chat_template.render(asked);
  if (with.ok() && without.ok() && with->size() > without->size() && with->compare(0, without->size(), *without) == 0)
    return with->substr(without->size());

  // All contents become one word that no message chose, and what follows its last occurrence is the template's.
  const std::string word = "RAISONMESSAGE";
  const auto messages = asked.find("messages");
  if (messages == asked.end() || !messages->is_array() || messages->empty()) return "";
  for (ordered_json& message : *messages) {
    if (message.is_object()) message["content"] = word;
  }
  const ordered_json& last = messages->back();
  if (!last.is_object() || last.value("role", ordered_json()) == "assistant") return "";
  asked["add_generation_prompt"] = true;
  const auto blank = chat_template.render(asked);
  const size_t at = blank.ok() ? blank->rfind(word) : std::string::npos;
  return at == std::string::npos ? "" : blank->substr(at + word.size());
}

}  // namespace think

using nlohmann::ordered_json;
using think::has;

ThinkStart think_start_after(const ThinkFormat& format, std::string_view generation_prompt) {
  const size_t open = generation_prompt.rfind(format.open_mark), close = generation_prompt.rfind(format.close_mark);
  constexpr size_t kNone = std::string_view::npos;
  if (open == kNone && close == kNone) return ThinkStart::Undecided;
  if (open == kNone || close == kNone) return close == kNone ? ThinkStart::Thinking : ThinkStart::Answering;
  return open > close ? ThinkStart::Thinking : ThinkStart::Answering;
}

ThinkStart think_start_after_raw(const ThinkFormat& format, std::string_view prompt) {
  const size_t header = format.header.empty() ? std::string_view::npos : prompt.rfind(format.header);
  if (header != std::string_view::npos) prompt.remove_prefix(header + format.header.size());
  return think_start_after(format, prompt);
}

namespace {

Status set_think_variables(const ThinkFormat* format, const ThinkOptions& options, ordered_json* variables) {
  if (!format) {
    if (options.thinking.value_or(false) || options.open)
      return error("the model does not think: its chat template has no thoughts");
    if (!options.effort.empty()) return error("effort {}: the model does not think", options.effort);
    return {};
  }
  if (options.thinking && format->off == ThinkSwitch::Variable) (*variables)[format->switch_variable] = *options.thinking;
  if (options.effort.empty()) return {};
  if (format->efforts.empty()) return error("effort {}: the model's chat template knows no efforts", options.effort);
  if (std::find(format->efforts.begin(), format->efforts.end(), options.effort) == format->efforts.end())
    return error("effort {}: the model's chat template knows {}", options.effort, fmt::join(format->efforts, ", "));
  (*variables)[format->effort_variable] = options.effort;
  return {};
}

}  // namespace

Result<ThinkPrompt> think_prompt(const ChatTemplate& chat_template, const ThinkFormat* format, ordered_json variables,
                                 const ThinkOptions& options) {
  RAISON_RETURN_IF_ERROR(set_think_variables(format, options, &variables));
  variables["add_generation_prompt"] = true;
  ThinkPrompt prompt;
  RAISON_ASSIGN(prompt.text, chat_template.render(variables));
  prompt.generation = think::generation_prompt(chat_template, variables);
  if (!format) return prompt;
  prompt.start = think_start_after(*format, prompt.generation);
  std::string more;
  if (!options.thinking.value_or(true)) {
    if (prompt.start == ThinkStart::Thinking) {
      more = format->close_text;
    } else if (prompt.start == ThinkStart::Undecided && (format->off == ThinkSwitch::Prefill || format->off_closes)) {
      more = format->skip_text;
    }
    prompt.start = ThinkStart::Answering;
  } else if (options.open && prompt.start == ThinkStart::Undecided) {
    more = format->open_text;
    prompt.start = ThinkStart::Thinking;
  }
  prompt.text += more;
  prompt.generation += more;
  return prompt;
}

ordered_json history_message(const ThinkFormat& format, std::string_view thought, std::string_view answer) {
  const std::string t = think::trimmed_front(think::trimmed_back(thought, think::white_begin(format.close_text)),
                                             think::white_end(format.open_text));
  const std::string a = think::trimmed_front(answer, think::white_end(format.close_text));
  ordered_json message = {{"role", "assistant"}, {"content", a}};
  // Templates look for the close mark in any content: an answer that quotes it goes behind a mark of its own.
  const bool quoted = has(a, format.close_mark);
  const auto marked = [&](const std::string& thought_text) {
    return think::trimmed_front(format.open_text) + thought_text + format.close_text + a;
  };
  switch (format.history) {
    case ThinkHistory::Stripped: break;
    case ThinkHistory::Dropped:  // without the thought: after a tool's result R1's template shows content as it stands
      if (quoted) message["content"] = marked("");
      break;
    case ThinkHistory::InContent:
      if (!t.empty() || quoted) message["content"] = marked(t);
      break;
    case ThinkHistory::Field:
      // An empty reasoning_content keeps templates from looking for marks in the answer; other fields show themselves even empty.
      if (!t.empty() || format.history_field == "reasoning_content") message[format.history_field] = t;
      break;
    case ThinkHistory::Blocks:
      if (!t.empty())
        message["content"] = ordered_json::array({{{"type", "thinking"}, {"thinking", t}}, {{"type", "text"}, {"text", a}}});
      break;
  }
  return message;
}

}  // namespace raison
