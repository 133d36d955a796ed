#include "cli/console.h"

#include <fcntl.h>
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

bool stdout_has_style() {
  static const bool style = [] {
    const char* term = getenv("TERM");
    const char* no_color = getenv("NO_COLOR");
    return stdout_is_terminal() && term != nullptr && strcmp(term, "dumb") != 0 && (!no_color || *no_color == '\0');
  }();
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
}

namespace {
volatile sig_atomic_t ctrl_e_pressed = 0;
extern "C" void on_ctrl_e(int) { ctrl_e_pressed = 1; }
termios before_keys;
struct sigaction before_ctrl_e;
}  // namespace

ReplyKeys::ReplyKeys(bool ctrl_e) {
  if (!stdin_is_terminal() || !stdout_is_terminal() || tcgetpgrp(STDIN_FILENO) != getpgrp()) return;
  if (tcgetattr(STDIN_FILENO, &before_keys) != 0) return;
  termios modes = before_keys;
  modes.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  if (ctrl_e) {
    modes.c_lflag |= ISIG | NOFLSH;  // the signal must not throw away what was typed, nor what is still to be shown
    modes.c_cc[VQUIT] = 'E' & 0x1f;
    struct sigaction action = {};
    action.sa_handler = on_ctrl_e;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    ctrl_e_pressed = 0;
    sigaction(SIGQUIT, &action, &before_ctrl_e);
  } else {
    sigaction(SIGQUIT, nullptr, &before_ctrl_e);
  }
  active_ = tcsetattr(STDIN_FILENO, TCSANOW, &modes) == 0;
  if (!active_) sigaction(SIGQUIT, &before_ctrl_e, nullptr);
}

ReplyKeys::~ReplyKeys() {
  if (!active_) return;
  // In the background the terminal belongs to another program, and a change of its modes would stop us.
  if (tcgetpgrp(STDIN_FILENO) == getpgrp()) tcsetattr(STDIN_FILENO, TCSANOW, &before_keys);
  sigaction(SIGQUIT, &before_ctrl_e, nullptr);
}

bool ReplyKeys::take_ctrl_e() {
  const bool pressed = ctrl_e_pressed != 0;
  ctrl_e_pressed = 0;
  return pressed;
}

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
