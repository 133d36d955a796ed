#include "cli/chat.h"

#include <histedit.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/console.h"

namespace raison::cli {
namespace {

const char* prompt_text(EditLine*) { return "> "; }

volatile sig_atomic_t window_changed = 0;
extern "C" void on_window_change(int) { window_changed = 1; }

// A window of another width, or the terminal back from whoever used it while we were stopped (Ctrl+Z, fg).
void redraw(EditLine* edit) {
  static int seen = 0;
  const bool continued = seen != times_continued();
  seen = times_continued();
  if (continued) {
    el_set(edit, EL_PREP_TERM, 0);  // the editor believes that its modes still hold
    el_set(edit, EL_PREP_TERM, 1);
  }
  if (window_changed) el_resize(edit);
  if (continued || window_changed) el_set(edit, EL_REFRESH);
  window_changed = 0;
}

// One byte of the keyboard; -1 with EINTR once Ctrl+C has been pressed. Signals are let in only while poll waits: one that came
// between the look at its flag and the read would otherwise not be seen before the next key.
ssize_t read_key(EditLine* edit, unsigned char* byte) {
  if (const auto kept = next_typed()) {
    *byte = *kept;
    return 1;
  }
  sigset_t ours, before;
  sigemptyset(&ours);
  for (int number : {SIGINT, SIGWINCH, SIGCONT}) sigaddset(&ours, number);
  pthread_sigmask(SIG_BLOCK, &ours, &before);
  pollfd keyboard = {STDIN_FILENO, POLLIN, 0};
  ssize_t n = -1;
  do {
    redraw(edit);
    errno = EINTR;
    if (interrupted()) break;
    if (ppoll(&keyboard, 1, nullptr, &before) > 0) n = read(STDIN_FILENO, byte, 1);
  } while (n < 0 && errno == EINTR);
  const int why = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = why;
  return n;
}

// One character of the keyboard for libedit, decoded from UTF-8 here so that Ctrl+C (EINTR) always ends the line: libedit's
// own reader would try again.
int read_character(EditLine* edit, wchar_t* out) {
  uint32_t code = 0;
  int more = 0;
  while (true) {
    unsigned char byte;
    const ssize_t n = read_key(edit, &byte);
    if (n <= 0) return static_cast<int>(n);
    if (byte < 0x80) {
      code = byte;
      more = 0;
    } else if (byte < 0xc0) {
      if (more == 0) continue;  // a stray continuation byte
      code = (code << 6) | (byte & 0x3f);
      --more;
    } else {
      more = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;
      code = byte & (0x3f >> more);
    }
    if (more == 0) {
      *out = static_cast<wchar_t>(code);
      return 1;
    }
  }
}

class LineEditor {
 public:
  LineEditor() {
    // Only the character type: numbers must keep their points whatever the locale.
    if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
    history_ = history_init();
    HistEvent event;
    if (history_) history(history_, &event, H_SETSIZE, 1000);
    edit_ = el_init("raison", stdin, stdout_is_terminal() ? stdout : stderr, stderr);
    if (!edit_) return;
    el_set(edit_, EL_PROMPT, prompt_text);
    el_set(edit_, EL_EDITOR, "emacs");
    el_set(edit_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    if (history_) el_set(edit_, EL_HIST, history, history_);
    el_wset(edit_, EL_GETCFN, read_character);
    // Between the lines, keys go to the next line as they are. In the kernel's line mode a Ctrl+D typed during a reply
    // would be taken out of the input and never reach the editor.
    el_set(edit_, EL_SETTY, "-x", "-icanon", nullptr);
  }
  ~LineEditor() {
    if (edit_) el_end(edit_);
    if (history_) history_end(history_);
  }
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;
  bool ok() const { return edit_ != nullptr; }

  enum class Outcome { Line, Interrupted, End };
  Outcome read_line(std::string* line) {
    int count = 0;
    const char* text = el_gets(edit_, &count);
    if (interrupted()) {
      clear_interrupt();
      el_reset(edit_);
      return Outcome::Interrupted;
    }
    if (!text || count <= 0) return Outcome::End;
    line->assign(text);
    while (!line->empty() && (line->back() == '\n' || line->back() == '\r')) line->pop_back();
    HistEvent event;
    if (history_ && line->find_first_not_of(" \t") != std::string::npos) history(history_, &event, H_ENTER, line->c_str());
    return Outcome::Line;
  }

 private:
  EditLine* edit_ = nullptr;
  History* history_ = nullptr;
};

constexpr const char* kHelp =
    "/help             this list\n"
    "/clear            forget the conversation\n"
    "/set              show the settings;  /set KEY VALUE changes one (temp, top-k, max-tokens, seed, ...)\n"
    "/think on|off     think first, or answer at once\n"
    "/budget N         tokens of a thought at most (off: no bound)\n"
    "/effort LEVEL     low, medium or high, or the model's own levels (off: unset)\n"
    "/vote N [RULE]    think N times at once; the majority answers (RULE: confidence, self-verified countdown; off)\n"
    "/thought          show the last thought whole\n"
    "/show on|off      thoughts stay on the screen, or shrink to one line when done\n"
    "/system TEXT      set the system message (empty: none) and forget the conversation\n"
    "/exit             leave (Ctrl+D too)\n"
    "Ctrl+E ends a thought: the answer follows. Ctrl+C stops a reply; twice leaves. Arrow keys edit the line and bring back "
    "earlier ones, Ctrl+R searches them.\n";

class Chat {
 public:
  Chat(LoadedModel& model, const Thinking& thinking, Engine& engine, RunOptions options)
      : m_(model), thinking_(thinking), engine_(engine), options_(std::move(options)) {
    options_.keys = true;
    clear();
  }

  Result<int> run() {
    catch_interrupts();
    signal(SIGWINCH, on_window_change);
    LineEditor editor;
    if (!editor.ok()) return error("cannot edit lines on this terminal; give the question with -p");
    put(greeting());
    bool asked_to_leave = false;
    std::string line;
    while (output_status().ok()) {
      const auto outcome = editor.read_line(&line);
      if (outcome == LineEditor::Outcome::End) {
        put("\n");
        break;
      }
      if (outcome == LineEditor::Outcome::Interrupted) {
        if (asked_to_leave) {
          put("\n");
          return 0;
        }
        asked_to_leave = true;
        put("\n(Ctrl+C again, or /exit, leaves)\n");
        continue;
      }
      asked_to_leave = false;
      const size_t begin = line.find_first_not_of(" \t");
      if (begin == std::string::npos) continue;
      const std::string text = line.substr(begin, line.find_last_not_of(" \t") - begin + 1);
      if (text[0] == '/') {
        if (!command(text)) break;
        continue;
      }
      asked_to_leave = answer(text);
    }
    return 0;
  }

 private:
  std::string greeting() const {
    const ModelInfo& info = m_.model->info();
    std::string out = fmt::format("{} · {} {} · {} · context {} · {}\n", terminal_safe(m_.files.path), info.architecture,
                                  human_count(static_cast<double>(info.parameters)), info.weight_types,
                                  grouped(engine_.context()), m_.kernels->name);
    if (plain()) {
      out += options_.raw ? "No chat template: every line is continued as it stands.\n"
                          : "The model has no chat template: every line is continued as it stands.\n";
    }
    return out + "/help shows the commands.\n\n";
  }

  bool plain() const { return options_.raw || !m_.text.chat_template; }

  void clear() {
    messages_ = nlohmann::ordered_json::array();
    if (!options_.system.empty()) messages_.push_back({{"role", "system"}, {"content", options_.system}});
  }

  // false: leave.
  bool command(const std::string& line) {
    const size_t space = line.find_first_of(" \t");
    const std::string name = line.substr(0, space);
    const size_t rest_at = space == std::string::npos ? space : line.find_first_not_of(" \t", space);
    const std::string rest = rest_at == std::string::npos ? "" : line.substr(rest_at);
    if (name == "/exit" || name == "/quit") return false;
    if (name == "/help") {
      put(kHelp);
    } else if (name == "/clear") {
      clear();
      put("The conversation is forgotten.\n");
    } else if (name == "/set") {
      set(rest);
    } else if (name == "/think" || name == "/budget" || name == "/effort") {
      steer(name, rest);
    } else if (name == "/vote") {
      vote(rest);
    } else if (name == "/thought") {
      put(thought_.empty() ? "No thought yet.\n" : terminal_safe(thought_) + "\n");
    } else if (name == "/show") {
      show(rest);
    } else if (name == "/system") {
      options_.system = rest;
      clear();
      put(rest.empty() ? "No system message; the conversation begins anew.\n"
          : plain()    ? "The system message has no use without a chat template.\n"
                       : "System message set; the conversation begins anew.\n");
    } else {
      put("No command " + terminal_safe(name) + "; /help lists them.\n");
    }
    return true;
  }

  // /think, /budget, /effort.
  void steer(const std::string& name, const std::string& value) {
    if (!thinking_.format) {
      put("This model does not think, so there is no thought to steer.\n");
      return;
    }
    ThinkingOptions changed = options_.thinking;
    const auto number = parse_whole(value);
    if (name == "/think" && (value == "on" || value == "off")) {
      changed.think = value == "on";
    } else if (name == "/budget" && (value == "off" || (number && *number <= (uint64_t{1} << 40)))) {
      changed.budget = value == "off" ? std::nullopt : std::optional<int64_t>(static_cast<int64_t>(*number));
    } else if (name == "/effort" && !value.empty()) {
      changed.effort = value == "off" ? "" : value;
    } else {
      put(name == "/think"    ? "/think needs on or off.\n"
          : name == "/budget" ? "/budget needs a number of tokens, or off.\n"
                              : "/effort needs a level, or off.\n");
      return;
    }
    // Tried at once, so that a level that the template does not know is found now.
    const Status possible = check_thinking(m_.text, thinking_, changed);
    const auto limits = think_limits(m_.text, thinking_, changed);
    if (!possible.ok() || !limits.ok()) {
      put(terminal_safe(limits.ok() ? possible.message() : limits.message()) + "\n");
      return;
    }
    options_.thinking = changed;
    put(changed.think == std::optional<bool>(false) ? "It will answer at once.\n"
        : limits->budget >= 0 ? fmt::format("It will think, for {} at most.\n", counted(limits->budget, "token"))
                              : "It will think, for as long as it takes.\n");
  }

  void vote(const std::string& words) {
    VoteSettings changed = options_.vote;
    if (const Status ok = changed.set(words); !ok.ok()) {
      put(terminal_safe(ok.message()) + "\n");
      return;
    }
    options_.vote = changed;
    put(changed.described() + "\n");
  }

  void show(const std::string& value) {
    if (value == "on" || value == "off") options_.show_thinking = value == "on";
    put(value != "on" && value != "off" ? "/show needs on or off.\n"
        : options_.show_thinking        ? "Thoughts will stay on the screen.\n"
                                        : "Thoughts will shrink to one line; /thought shows the last one.\n");
  }

  void set(const std::string& rest) {
    if (!rest.empty()) {
      const size_t space = rest.find_first_of(" \t=");
      const size_t value_at = space == std::string::npos ? space : rest.find_first_not_of(" \t=", space);
      if (space == std::string::npos) {
        put("/set needs a key and a value; the keys are: " + SamplingOptions::names() + "\n");
        return;
      }
      const std::string value = value_at == std::string::npos ? "" : rest.substr(value_at);
      if (const Status ok = options_.sampling.set(rest.substr(0, space), value); !ok.ok()) {
        put(terminal_safe(ok.message()) + "\n");
        return;
      }
    }
    const auto sampling = resolve_sampling(options_.sampling, m_.files.generation);
    put((sampling.ok() ? sampling_words(*sampling) : sampling.message()) + "\n");
  }

  // Answers and remembers. Returns true if Ctrl+C stopped the reply, so that the next one leaves.
  bool answer(const std::string& text) {
    messages_.push_back({{"role", "user"}, {"content", lossy_utf8(text)}});
    bool outgrown = false;
    const auto reply = ask(m_, thinking_, engine_, options_, &messages_, text, &outgrown);
    if (!reply.ok()) {
      messages_.erase(messages_.size() - 1);  // what could not be answered is not part of the conversation
      put(terminal_safe(reply.message()) + "\n");
      if (outgrown && !messages_.empty())
        put(options_.context_shift ? "/clear begins anew.\n"
                                   : "/clear begins anew (--context-shift would drop old turns instead).\n");
      put("\n");
      clear_interrupt();  // of a vote that was ended before anybody had voted
      return false;
    }
    messages_.push_back(thinking_.format ? history_message(*thinking_.format, reply->thought, reply->answer)
                                         : nlohmann::ordered_json{{"role", "assistant"}, {"content", reply->answer}});
    thought_ = reply->thought;
    note(stats_line(*reply));
    put("\n");
    const bool stopped = reply->finish == FinishReason::Cancelled;
    if (stopped) forget_typed();  // as the terminal does with what it still holds
    clear_interrupt();
    return stopped;
  }

  LoadedModel& m_;
  const Thinking& thinking_;
  Engine& engine_;
  RunOptions options_;
  nlohmann::ordered_json messages_;
  std::string thought_;  // of the last reply
};

}  // namespace

Result<int> run_chat(LoadedModel& model, const Thinking& thinking, Engine& engine, RunOptions options) {
  return Chat(model, thinking, engine, std::move(options)).run();
}

}  // namespace raison::cli
