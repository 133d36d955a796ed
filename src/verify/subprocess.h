// Starting other programs from a program of many threads, and talking to them without SIGPIPE.
#pragma once
#include <signal.h>
#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace raison {

// A file descriptor that closes itself. -1: none.
class UniqueFd {
 public:
  explicit UniqueFd(int fd = -1) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  ~UniqueFd() { reset(); }
  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

struct PipeEnds {
  UniqueFd read, write;
};
// Neither end is inherited. `ours`: the end that never blocks, 'r', 'w' or 0 for neither.
Result<PipeEnds> make_pipe(char ours);

// A file in memory that holds `bytes` from its beginning and that nobody can change any more: input for another program, to be read
// when it likes.
Result<UniqueFd> memory_file(std::string_view bytes);

struct SpawnPlan {
  std::vector<std::string> args;         // args[0] is the program's path
  std::vector<std::string> environment;  // "NAME=value"
  bool own_environment = false;          // true: this program's environment instead
  std::vector<std::pair<int, int>> fds;  // {ours, its}: its numbers are below 64; 0 to 2 are /dev/null where not given
};

// Starts a program in a process group of its own, with every signal at its default, none blocked, and no descriptor but those of the
// plan. posix_spawn: neither copies this program's memory map nor runs code of ours between fork and exec. Error: it could not be started.
Result<pid_t> spawn_process(const SpawnPlan& plan);

// The first executable file `name` of the folders, or "". A name with a slash is looked up as it is.
std::string find_executable(const std::string& name, const std::vector<std::string>& folders);
// $PATH, split.
std::vector<std::string> path_folders();

// While one lives, this thread's writes to pipes and sockets that nobody reads fail with EPIPE and raise no signal.
class QuietPipes {
 public:
  QuietPipes();
  ~QuietPipes();
  QuietPipes(const QuietPipes&) = delete;
  QuietPipes& operator=(const QuietPipes&) = delete;

 private:
  sigset_t before_;
  bool pending_ = false;
};

// "exit status 3", "signal 9 (Killed)": of a status of waitpid.
std::string ending_text(int wait_status);

}  // namespace raison
