// LineProgram: a program that runs beside this one and is spoken to by lines over pipes.
#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "verify/subprocess.h"

namespace raison {

class LineProgram {
 public:
  enum Event {
    Line,         // it wrote one
    Ended,        // it ended, or closed its output
    ClosedInput,  // it no longer reads
    TimedOut,
    TooLong  // a line is longer than it may be
  };
  // `plan` without standard streams; `most_line`: bytes of a line of its output.
  static Result<std::unique_ptr<LineProgram>> start(SpawnPlan plan, size_t most_line);
  // It gets the end of its input, and a second to end; then SIGTERM and another; then it is killed, and with it all of its process group.
  ~LineProgram();
  LineProgram(const LineProgram&) = delete;
  LineProgram& operator=(const LineProgram&) = delete;

  // Sent while lines are waited for, so neither side blocks the other.
  void send(std::string_view line);
  // The next line that it writes, without its end. What it writes to standard error is read meanwhile; the end of that is kept.
  Event next_line(std::string* line, double seconds);
  // True if it is there to be spoken to.
  bool alive();
  // Kills it, after a moment in which it may end by itself, and says how it ended: "exit status 1; it said: ...".
  std::string end_it();

 private:
  LineProgram() = default;
  bool take_line(std::string* line);
  void write_some();
  void read_some(UniqueFd* fd, std::string* to, size_t keep);
  bool wait_until_ended(std::chrono::milliseconds patience);
  void reap();

  pid_t pid_ = -1;
  int status_ = 0;
  bool killed_by_us_ = false;
  UniqueFd in_, out_, err_;
  std::string unsent_, unread_, said_;  // said_: the end of its standard error
  size_t scanned_ = 0;                  // of unread_: bytes without a line's end
  size_t most_line_ = 0;
};

}  // namespace raison
