// The console: standard output with its errors noticed, ANSI only on terminals, Ctrl+C as a flag.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace raison::cli {

// Opens /dev/null in place of a closed stdin, stdout or stderr, so that no file of ours is ever taken for one of them.
void secure_standard_streams();

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();
// ANSI codes may be written to stdout: a terminal, TERM not "dumb", NO_COLOR unset.
bool stdout_has_style();
bool stderr_has_style();

// Writes to stdout at once. A reader that has left (broken pipe) ends the program quietly. After the first failure nothing more is written, and output_status() tells why.
void put(std::string_view text);
Status output_status();
// One line on stderr.
void note(std::string_view line);

// Ctrl+C raises a flag instead of ending the program; a second one while the flag stands ends it at once with code 130.
// SIGTERM and SIGHUP do the same if `save_on_all`, else end the program as ever. Whatever ends it leaves the terminal in plain
// style and in the modes that it has now. To be called before anything changes them.
void catch_interrupts(bool save_on_all = false);
bool interrupted();
void clear_interrupt();

// Times that the program has been continued after a stop (Ctrl+Z, fg): the terminal's modes and what it shows may be others' then.
int times_continued();

// The keyboard during a reply of a chat: while it lives nothing is echoed, and Ctrl+E can be asked for; all other keys are kept for
// next_typed(). Does nothing unless stdin and stdout are terminals and this program has the keyboard.
class ReplyKeys {
 public:
  ReplyKeys();
  ~ReplyKeys();
  ReplyKeys(const ReplyKeys&) = delete;
  ReplyKeys& operator=(const ReplyKeys&) = delete;
  bool take_ctrl_e();  // pressed since the last call

 private:
  bool active_ = false;
  int continued_ = 0;
};
std::optional<unsigned char> next_typed();  // the next key that was kept
void forget_typed();

// Text made safe for one line of a terminal: quoted, control characters and broken UTF-8 escaped.
std::string quote_text(std::string_view text);
// What a model, a template or a file says, made safe for a terminal: it must not be able to send escape sequences. Control
// characters other than newline and tab are removed, broken UTF-8 becomes U+FFFD.
std::string terminal_safe(std::string_view text);
// "1 token", "2 tokens"
std::string counted(long long n, std::string_view noun);
// "1,234,567"
std::string grouped(long long n);
// "512 B", "1.13 MiB"
std::string human_bytes(double bytes);
// "507 thousand", "1.54 billion"
std::string human_count(double n);

}  // namespace raison::cli
