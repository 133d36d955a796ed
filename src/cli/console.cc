#include "cli/console.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

#include "tokenizer/utf8.h"

namespace raison::cli {
namespace {

std::optional<Error> output_error;
volatile sig_atomic_t interrupt_count = 0;
bool terminal_known = false, styled = false;
termios terminal_before;  // the keyboard's modes when we came

// Only async-signal-safe calls: the terminal in plain style and in the modes in which we found it. A background job must leave
// it alone: it belongs to another program then, and would stop us (SIGTTOU).
void leave_terminal() {
  const int saved = errno;
  const char reset[] = "\033[0m\n";
  const ssize_t written = styled ? write(STDOUT_FILENO, reset, sizeof reset - 1) : 0;
  (void)written;  // nothing can be done about a terminal that has gone
  if (terminal_known && tcgetpgrp(STDIN_FILENO) == getpgrp()) tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
  errno = saved;
}

// A signal that whoever started us has ignored (nohup) stays ignored.
void handle(int number, void (*handler)(int)) {
  struct sigaction action = {}, before = {};
  if (sigaction(number, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) return;
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: a read of the keyboard ends with EINTR
  sigaction(number, &action, nullptr);
}

extern "C" void on_interrupt(int number) {
  interrupt_count = interrupt_count + 1;
  // Only a person's second Ctrl+C is impatience; a terminal that closes may well send SIGHUP twice.
  if (interrupt_count < 2 || number != SIGINT) return;
  leave_terminal();
  _exit(130);
}

// The signals that end a program by default still do, but not before the terminal is as it was.
extern "C" void on_fatal_signal(int number) {
  leave_terminal();
  signal(number, SIG_DFL);
  raise(number);
}

volatile sig_atomic_t continues = 0;
extern "C" void on_continue(int) { continues = continues + 1; }

}  // namespace

void secure_standard_streams() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    // stdin and stdout get the mode that makes their use fail, so that a closed stdout is still reported.
    const int mode = fd == STDOUT_FILENO ? O_RDONLY : fd == STDIN_FILENO ? O_RDONLY : O_WRONLY;
    if (open("/dev/null", mode) < 0) _exit(1);
  }
}

bool stdin_is_terminal() { return isatty(STDIN_FILENO) == 1; }
bool stdout_is_terminal() { return isatty(STDOUT_FILENO) == 1; }
bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }

namespace {
bool may_have_style() {
  const char* term = getenv("TERM");
  const char* no_color = getenv("NO_COLOR");
  return term != nullptr && strcmp(term, "dumb") != 0 && (!no_color || *no_color == '\0');
}
}  // namespace

bool stdout_has_style() {
  static const bool style = stdout_is_terminal() && may_have_style();
  return style;
}

bool stderr_has_style() {
  static const bool style = stderr_is_terminal() && may_have_style();
  return style;
}

void put(std::string_view text) {
  while (!text.empty() && !output_error) {
    const ssize_t n = write(STDOUT_FILENO, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EPIPE) {
      // The reader has left: end as programs do, quietly, even where the caller has SIGPIPE ignored.
      leave_terminal();
      signal(SIGPIPE, SIG_DFL);
      raise(SIGPIPE);
    } else if (errno != EINTR) {
      output_error = error("cannot write to standard output: {}", strerror(errno));
    }
  }
}

Status output_status() { return output_error ? Status(*output_error) : Status(); }

void note(std::string_view line) {
  std::string text(line);
  text += '\n';
  const char* p = text.data();
  size_t left = text.size();
  while (left > 0) {
    const ssize_t n = write(STDERR_FILENO, p, left);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // nobody is listening
    p += n;
    left -= static_cast<size_t>(n);
  }
}

void catch_interrupts(bool save_on_all) {
  terminal_known = tcgetattr(STDIN_FILENO, &terminal_before) == 0;
  styled = stdout_has_style();  // not to be found out in a handler
  handle(SIGINT, on_interrupt);
  for (int number : {SIGTERM, SIGHUP}) handle(number, save_on_all ? on_interrupt : on_fatal_signal);
  handle(SIGQUIT, on_fatal_signal);
  handle(SIGCONT, on_continue);
}

namespace {

std::string typed;  // during replies
termios before_keys;

void set_reply_modes() {
  termios modes = before_keys;
  modes.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON);
  modes.c_cc[VMIN] = 1;
  modes.c_cc[VTIME] = 0;
  tcsetattr(STDIN_FILENO, TCSANOW, &modes);
}

// In the background the terminal is another program's, and a change of its modes would stop us.
bool has_keyboard() { return stdin_is_terminal() && tcgetpgrp(STDIN_FILENO) == getpgrp(); }

}  // namespace

int times_continued() { return continues; }

ReplyKeys::ReplyKeys() : continued_(times_continued()) {
  if (!stdout_is_terminal() || !has_keyboard() || tcgetattr(STDIN_FILENO, &before_keys) != 0) return;
  active_ = true;
  set_reply_modes();
}

ReplyKeys::~ReplyKeys() {
  if (active_ && has_keyboard()) tcsetattr(STDIN_FILENO, TCSANOW, &before_keys);
}

bool ReplyKeys::take_ctrl_e() {
  if (!active_ || !has_keyboard()) return false;
  if (continued_ != times_continued()) {
    continued_ = times_continued();
    set_reply_modes();
  }
  bool pressed = false;
  pollfd keyboard = {STDIN_FILENO, POLLIN, 0};
  while (poll(&keyboard, 1, 0) > 0 && (keyboard.revents & POLLIN) != 0) {
    char bytes[256];
    const ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    if (n <= 0) break;
    for (const char c : std::string_view(bytes, static_cast<size_t>(n))) {
      if (c == ('E' & 0x1f)) {
        pressed = true;
      } else {
        typed += c;
      }
    }
  }
  return pressed;
}

std::optional<unsigned char> next_typed() {
  if (typed.empty()) return std::nullopt;
  const auto byte = static_cast<unsigned char>(typed.front());
  typed.erase(0, 1);
  return byte;
}

void forget_typed() { typed.clear(); }

bool interrupted() { return interrupt_count > 0; }
void clear_interrupt() { interrupt_count = 0; }

std::string quote_text(std::string_view text) {
  return nlohmann::json(std::string(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string terminal_safe(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    // U+0080..U+009F are control characters too (0x9b is CSI in some terminals).
    const bool control =
        (step.code < 0x20 && step.code != '\n' && step.code != '\t') || (step.code >= 0x7f && step.code < 0xa0);
    if (!control) append_utf8(out, step.valid ? step.code : U'\uFFFD');
    i += step.length;
  }
  return out;
}

std::string counted(long long n, std::string_view noun) { return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s"); }

std::string grouped(long long n) {
  const std::string digits = fmt::format("{}", n);
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    const size_t left = digits.size() - i;
    if (i > 0 && left % 3 == 0 && digits[i - 1] != '-') out += ',';
    out += digits[i];
  }
  return out;
}

std::string human_bytes(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 5) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.4g} {}", bytes, units[unit]);
}

std::string human_count(double n) {
  if (n >= 1e12) return fmt::format("{:.3g} trillion", n / 1e12);
  if (n >= 1e9) return fmt::format("{:.3g} billion", n / 1e9);
  if (n >= 1e6) return fmt::format("{:.3g} million", n / 1e6);
  if (n >= 1e3) return fmt::format("{:.3g} thousand", n / 1e3);
  return fmt::format("{:.0f}", n);
}

}  // namespace raison::cli
