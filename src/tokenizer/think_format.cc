#include "tokenizer/think_format.h"

#include <algorithm>

#include "tokenizer/think_probe.h"

namespace raison {
namespace think {
namespace {

using nlohmann::ordered_json;

// Words of our own in the messages that are rendered; letters alone, which no template trims or escapes.
constexpr const char *kQuestion = "RAISONQUESTION", *kThought = "RAISONTHOUGHT", *kAnswer = "RAISONANSWER",
                     *kEffort = "RAISONEFFORT";

struct KnownMarks {
  const char *open, *close;
};
// gpt-oss's thought is a message of its own; what ends it for good is the header of the answer.
constexpr KnownMarks kKnown[] = {{"<think>", "</think>"},
                                 {"[THINK]", "[/THINK]"},
                                 {"<|channel|>analysis<|message|>", "<|channel|>final<|message|>"},
                                 {"<|START_THINKING|>", "<|END_THINKING|>"},
                                 {"<seed:think>", "</seed:think>"},
                                 {"◁think▷", "◁/think▷"}};

ordered_json user() { return {{"role", "user"}, {"content", kQuestion}}; }

// One message is a list too (braces around one object may be read as that object).
template <class... Messages>
ordered_json list(const Messages&... messages) {
  ordered_json out = ordered_json::array();
  (out.push_back(messages), ...);
  return out;
}

std::string shared_start(std::string_view a, std::string_view b) {
  size_t n = 0;
  while (n < a.size() && n < b.size() && a[n] == b[n]) ++n;
  while (n > 0 && n < a.size() && (static_cast<unsigned char>(a[n]) & 0xC0) == 0x80) --n;  // no half character
  return std::string(a.substr(0, n));
}

// A thought as the template shows it in an assistant's turn.
struct ShownThought {
  ThinkHistory history = ThinkHistory::Field;
  std::string field;
  std::string before, between;  // the text before the thought, and that from it to the answer
};

class Finder {
 public:
  Finder(const ChatTemplate& chat_template, const Tokenizer& tokenizer)
      : template_(chat_template), tokenizer_(tokenizer), source_(chat_template.source()) {
    base_["bos_token"] = tokenizer.bos() ? tokenizer.piece(*tokenizer.bos()) : "";
    base_["eos_token"] = tokenizer.eos() ? tokenizer.piece(*tokenizer.eos()) : "";
  }

  // False: the model does not think.
  bool find(ThinkFormat* format) {
    f_ = format;
    find_switch();
    find_effort();
    question_ = render(list(user()), false, on_);
    prompt_ = render(list(user()), true, on_);
    generation_ = generation_of(on_);
    find_shown_thought();
    if (!find_marks()) return false;
    f_->off_closes = has(generation_of(off_), f_->close_mark);
    find_header();
    find_texts();
    find_skip_text();
    find_history();
    find_family();
    return true;
  }

 private:
  ordered_json variables(const ordered_json& messages, const ordered_json& more) const {
    ordered_json all = base_;
    all["messages"] = messages;
    all.update(more);
    return all;
  }
  // "" if the template refuses the messages.
  std::string render(const ordered_json& messages, bool generation_prompt, const ordered_json& more) const {
    ordered_json all = variables(messages, more);
    all["add_generation_prompt"] = generation_prompt;
    auto text = template_.render(all);
    return text.ok() ? std::move(text).value() : "";
  }
  std::string generation_of(const ordered_json& more) const {
    return generation_prompt(template_, variables(list(user()), more));
  }

  void find_switch() {
    for (const char* name : {"thinking", "enable_thinking", "reasoning"}) {
      if (!has(source_, name)) continue;
      const ordered_json on = {{name, true}}, off = {{name, false}};
      const std::string with = render(list(user()), true, on);
      if (with == render(list(user()), true, off)) continue;
      f_->off = ThinkSwitch::Variable;
      f_->switch_variable = name;
      f_->default_on = render(list(user()), true, ordered_json::object()) == with;
      const ordered_json system = {{"role", "system"}, {"content", kAnswer}};
      f_->switch_ignored_with_system = render(list(system, user()), true, on) == render(list(system, user()), true, off);
      on_ = on;
      off_ = off;
      break;
    }
    for (const char* word : {"/no_think", "/nothink"}) {
      if (f_->message_switch.empty() && has(source_, word)) f_->message_switch = word;
    }
  }

  void find_effort() {
    const char* name = "reasoning_effort";
    if (!has(source_, name)) return;
    const auto with = [&](const char* level) {
      ordered_json more = on_;
      more[name] = level;
      return render(list(user()), true, more);
    };
    const std::string unknown = with(kEffort);
    if (has(unknown, kEffort)) {
      f_->efforts = {"low", "medium", "high"};  // the template writes any word down; these are what models are taught
    } else {
      for (const char* level : {"minimal", "low", "medium", "high", "max"}) {
        if (with(level) != unknown) f_->efforts.push_back(level);
      }
    }
    if (!f_->efforts.empty()) f_->effort_variable = name;
  }

  // Tries every way of giving a thought; some templates (Kimi) show it in turns that call a tool alone.
  void find_shown_thought() {
    for (const bool with_tool : {false, true}) {
      for (const char* field : {"reasoning_content", "thinking", "reasoning", ""}) {
        ordered_json message = {{"role", "assistant"}, {"content", kAnswer}};
        if (*field != '\0') {
          message[field] = kThought;
        } else {
          message["content"] = list(ordered_json{{"type", "thinking"}, {"thinking", kThought}},
                                    ordered_json{{"type", "text"}, {"text", kAnswer}});
        }
        if (with_tool) {
          const ordered_json function = {{"name", "f"}, {"arguments", ordered_json::object()}};
          message["tool_calls"] = list(ordered_json{{"id", "call_0"}, {"type", "function"}, {"function", function}});
        }
        const std::string text = render(list(user(), message), false, on_);
        const size_t answer = text.rfind(kAnswer), thought = text.rfind(kThought, answer);
        if (answer == std::string::npos || thought == std::string::npos) continue;
        const size_t end = thought + std::string_view(kThought).size();
        if (*field == '\0' && has(std::string_view(text).substr(end, answer - end), "'")) continue;  // the list, printed
        shown_ = ShownThought{*field != '\0' ? ThinkHistory::Field : ThinkHistory::Blocks, field, text.substr(0, thought),
                              text.substr(end, answer - end)};
        return;
      }
    }
  }

  void set_marks(std::string_view open, std::string_view close) {
    f_->open_mark = open;
    f_->close_mark = close;
  }

  bool find_marks() {
    if (shown_) {
      const std::string own = shown_->before.substr(shared_start(shown_->before, prompt_).size());
      const std::string after = shown_->before.substr(shared_start(shown_->before, question_).size());
      for (const auto& known : kKnown) {
        if (has(after, known.open) && has(shown_->between, known.close)) return set_marks(known.open, known.close), true;
      }
      // Marks that are not known: what the template writes before the thought and after it.
      const std::string open = trimmed(own);
      const std::string close = trimmed(shown_->between);
      if (!open.empty() && !close.empty()) return set_marks(open, close), true;
    }
    const std::string on = prompt_, off = render(list(user()), true, off_), generation_off = generation_of(off_);
    for (const auto& known : kKnown) {
      if (has(generation_, known.open) || has(generation_, known.close) || has(generation_off, known.close))
        return set_marks(known.open, known.close), true;
    }
    for (const auto& known : kKnown) {  // the template's own system message tells the model to use them
      if (has(on, known.open) && has(on, known.close) && (off_.empty() || !has(off, known.open))) {
        told_ = true;
        if (has(on, "<response></response>")) f_->answer_open = "<response>", f_->answer_close = "</response>";
        return set_marks(known.open, known.close), true;
      }
    }
    for (const auto& known : kKnown) {  // at least it cuts thoughts out of the history
      if (has(source_, known.close)) return set_marks(known.open, known.close), true;
    }
    return false;
  }

  bool opened_by_prompt() const { return think_start_after(*f_, generation_) == ThinkStart::Thinking; }

  void find_header() {
    const size_t mark = generation_.rfind(f_->open_mark);
    f_->header = trimmed(std::string_view(generation_).substr(0, std::min(mark, generation_.size())));
    // A prompt that is closed whatever the switch says.
    if (const size_t closed = f_->header.rfind(f_->close_mark); closed != std::string::npos)
      f_->header = trimmed(f_->header.substr(0, closed));
  }

  void find_texts() {
    ThinkFormat& f = *f_;
    if (shown_ && has(shown_->before, f.open_mark)) {
      // What the model writes itself begins where the prompt ends: "\n<think>" in GLM.
      const std::string rest = shown_->before.substr(shared_start(shown_->before, prompt_).size());
      f.open_text = has(rest, f.open_mark) ? rest : shown_->before.substr(shown_->before.rfind(f.open_mark));
      f.close_text = shown_->between;
      return;
    }
    if (opened_by_prompt()) f.open_text = generation_.substr(generation_.rfind(f.open_mark));
    if (from_closed_prompt(generation_of(off_))) return;
    guess_texts();
  }

  // A prompt that keeps the model from thinking holds an empty thought: "<think>\n\n</think>\n\n". False if it says nothing about
  // the white space of a real one.
  bool from_closed_prompt(const std::string& closed) {
    ThinkFormat& f = *f_;
    const size_t open = closed.rfind(f.open_mark), close = closed.rfind(f.close_mark);
    if (open == std::string::npos || close == std::string::npos || close < open) return false;
    const size_t begin = open + f.open_mark.size();
    const std::string inner = closed.substr(begin, close - begin);
    if (inner.size() % 2 != 0 || !trimmed(inner).empty()) return false;
    if (f.open_text.empty()) f.open_text = f.open_mark + inner.substr(0, inner.size() / 2);
    const size_t own = f.open_text.size() - f.open_mark.size();
    if (own > inner.size()) return false;
    f.close_text = inner.substr(own) + closed.substr(close);
    return true;
  }

  // No rendering shows where white space goes: as R1 writes it, if it has not been told otherwise.
  void guess_texts() {
    ThinkFormat& f = *f_;
    if (const std::string_view joiner = tokenizer_.decode_joiner(); !joiner.empty()) {
      f.open_text = f.open_mark + std::string(joiner);
      f.close_text = std::string(joiner) + f.close_mark + std::string(joiner);
      return;
    }
    const bool lines = f.open_text.empty() ? !told_ : ends_white(f.open_text);
    if (f.open_text.empty()) f.open_text = f.open_mark + (lines ? "\n" : "");
    f.close_text = lines ? "\n" + f.close_mark + "\n\n" : f.close_mark + f.answer_open;
  }

  void find_skip_text() {
    const std::string text = render(list(user(), ordered_json{{"role", "assistant"}, {"content", kAnswer}}), false, on_);
    const size_t answer = text.rfind(kAnswer);
    f_->skip_text = trimmed_front(f_->open_text) + f_->close_text;
    if (answer == std::string::npos || opened_by_prompt()) return;
    const std::string own = text.substr(0, answer).substr(shared_start(text.substr(0, answer), prompt_).size());
    if (has(own, f_->close_mark)) f_->skip_text = own;
  }

  void find_history() {
    ThinkFormat& f = *f_;
    const auto last = [&](const ordered_json& turn) { return render(list(user(), turn), false, on_); };
    const auto earlier = [&](const ordered_json& turn) { return render(list(user(), turn, user()), true, on_); };
    if (shown_) {
      f.history = shown_->history;
      f.history_field = shown_->field;
    } else {
      f.history = ThinkHistory::InContent;
      const ordered_json marked = history_message(f, kThought, kAnswer);
      f.history = has(earlier(marked), kThought) ? ThinkHistory::Stripped
                  : has(last(marked), kThought)  ? ThinkHistory::InContent
                                                 : ThinkHistory::Dropped;
    }
    const ordered_json turn = history_message(f, kThought, kAnswer);
    f.kept = has(earlier(turn), kThought) ? ThoughtsKept::Always
             : has(last(turn), kThought)  ? ThoughtsKept::LastTurn
                                          : ThoughtsKept::Never;
  }

  void find_family() {
    constexpr std::pair<const char*, const char*> kNames[] = {{"[gMASK]<sop>", "glm"},
                                                              {"]~b]", "minimax-m2"},
                                                              {"<|im_assistant|>", "kimi-k2"},
                                                              {"<|channel|>", "gpt-oss"},
                                                              {"<|start_of_role|>", "granite"},
                                                              {"[THINK]", "mistral"},
                                                              {"<|START_THINKING|>", "command-a"},
                                                              {"SmolLM", "smollm3"},
                                                              {"keep_past_thinking", "lfm2"}};
    ThinkFormat& f = *f_;
    for (const auto& [needle, name] : kNames) {
      if (f.family.empty() && has(source_, needle)) f.family = name;
    }
    if (!f.family.empty()) return;
    if (has(source_, "<｜Assistant｜>")) {
      f.family = f.switch_variable != "thinking" ? "deepseek-r1"
                 : !f.efforts.empty()            ? "deepseek-v4"
                 : has(source_, "DSML")          ? "deepseek-v3.2"
                                                 : "deepseek-v3.1";
    } else if (has(source_, "<|im_start|>") && f.history == ThinkHistory::Field) {
      const bool switched = !f.switch_variable.empty();
      f.family = switched && opened_by_prompt() ? "qwen3.5" : "qwen3";
      if (switched && f.family == "qwen3") f.message_switch = "/no_think";  // the model's doing; its template does not look
    } else if (has(source_, "<|im_start|>") && opened_by_prompt()) {
      f.family = "qwq";
    } else {
      f.family = "generic";
    }
  }

  const ChatTemplate& template_;
  const Tokenizer& tokenizer_;
  const std::string& source_;
  ThinkFormat* f_ = nullptr;
  ordered_json base_ = ordered_json::object(), on_ = ordered_json::object(), off_ = ordered_json::object();
  std::string question_, prompt_, generation_;  // with thinking on: without and with the generation prompt, and that alone
  std::optional<ShownThought> shown_;
  bool told_ = false;  // a system message of the template's own tells the model to use the marks
};

// Marks by the vocabulary alone, of a model without a template.
bool find_in_vocabulary(const Tokenizer& tokenizer, ThinkFormat* f) {
  for (const auto& known : kKnown) {
    if (!tokenizer.id_of(known.open) || !tokenizer.id_of(known.close)) continue;
    const std::string white = tokenizer.decode_joiner().empty() ? "\n" : std::string(tokenizer.decode_joiner());
    f->family = "generic";
    f->open_mark = known.open;
    f->close_mark = known.close;
    f->open_text = known.open + white;
    f->close_text = white + known.close + (tokenizer.decode_joiner().empty() ? "\n\n" : white);
    f->skip_text = f->open_text + f->close_text;
    f->history = ThinkHistory::InContent;
    return true;
  }
  return false;
}

}  // namespace
}  // namespace think

Result<std::optional<ThinkFormat>> think_format(const ChatTemplate* chat_template, const Tokenizer& tokenizer) {
  ThinkFormat f;
  const bool thinks =
      chat_template ? think::Finder(*chat_template, tokenizer).find(&f) : think::find_in_vocabulary(tokenizer, &f);
  if (!thinks) return std::optional<ThinkFormat>();
  f.open = think::mark_sequences(tokenizer, f.open_mark);
  f.close = think::mark_sequences(tokenizer, f.close_mark);
  if (f.open.empty() || f.close.empty()) return std::optional<ThinkFormat>();  // the model cannot write its marks
  RAISON_ASSIGN(f.forced_close, think::encode_within(tokenizer, f.close_text));
  // gpt-oss: all that stands between thought and answer ends the thought, so that none of it is taken for either.
  const std::string whole = think::trimmed(f.close_text);
  std::vector<TokenId> own = think::covering(tokenizer, f.forced_close, f.close_mark);
  if (const size_t at = whole.find(f.close_mark); at != std::string::npos && at > 0) {
    f.reopens = true;
    RAISON_ASSIGN(own, think::encode_within(tokenizer, whole));
  }
  // What is forced is known by the first of the marks.
  if (!own.empty()) {
    std::erase(f.close, own);
    f.close.insert(f.close.begin(), std::move(own));
  }
  return std::optional<ThinkFormat>(std::move(f));
}

}  // namespace raison
