// Runs programs as a user would: with arguments, standard input, environment, captured output; or on a pseudo-terminal.
#pragma once
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace raison::testing {

struct RunResult {
  int code = -1;  // exit status; 128 + signal if killed by one
  std::string out, err;
  int64_t peak_kib = 0;  // the largest memory it had resident
  double seconds = 0;    // from start to end
};

struct RunSettings {
  std::string input;                                     // standard input
  std::vector<std::pair<std::string, std::string>> env;  // set over the caller's
  bool close_stdout = false;
  std::string stdout_to;  // a path to write to instead of capturing
  int timeout_seconds = 300;
};

namespace process_detail {

[[noreturn]] inline void exec_program(const std::vector<std::string>& args, const RunSettings& settings) {
  signal(SIGPIPE, SIG_DFL);  // the tests ignore it, and that would be inherited
  for (const auto& [key, value] : settings.env) setenv(key.c_str(), value.c_str(), 1);
  std::vector<char*> argv;
  for (const std::string& a : args) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

inline int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace process_detail

// args[0] is the program's path. A program that outlives its time is killed (code 128 + 9).
inline RunResult run_program(const std::vector<std::string>& args, const RunSettings& settings = {}) {
  using namespace process_detail;
  RunResult result;
  const auto start = std::chrono::steady_clock::now();
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return result;
  const pid_t child = fork();
  if (child == 0) {
    dup2(in[0], 0);
    if (settings.close_stdout) {
      close(1);
    } else if (!settings.stdout_to.empty()) {
      dup2(open(settings.stdout_to.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), 1);
    } else {
      dup2(out[1], 1);
    }
    dup2(err[1], 2);
    exec_program(args, settings);
  }
  close(in[0]);
  close(out[1]);
  close(err[1]);
  signal(SIGPIPE, SIG_IGN);
  size_t written = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(settings.timeout_seconds);
  pollfd fds[3] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}, {in[1], POLLOUT, 0}};
  bool killed = false;
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    if (written >= settings.input.size() && fds[2].fd >= 0) {
      close(fds[2].fd);
      fds[2].fd = -1;
    }
    poll(fds, 3, 1000);
    if (!killed && std::chrono::steady_clock::now() > deadline) {
      kill(child, SIGKILL);
      killed = true;
    }
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      char buffer[65536];
      const ssize_t n = read(fds[i].fd, buffer, sizeof buffer);
      if (n > 0) {
        (i == 0 ? result.out : result.err).append(buffer, static_cast<size_t>(n));
      } else {
        close(fds[i].fd);
        fds[i].fd = -1;
      }
    }
    if (fds[2].fd >= 0 && fds[2].revents != 0) {
      const ssize_t n = write(fds[2].fd, settings.input.data() + written, settings.input.size() - written);
      written = n > 0 ? written + static_cast<size_t>(n) : settings.input.size();
    }
  }
  if (fds[2].fd >= 0) close(fds[2].fd);
  int status = 0;
  rusage usage = {};
  wait4(child, &status, 0, &usage);
  result.code = exit_code(status);
  result.peak_kib = usage.ru_maxrss;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

// Calls `body` in a copy of this process; its result is the exit code.
template <class Body>
RunResult run_forked(const Body& body) {
  RunResult result;
  const auto start = std::chrono::steady_clock::now();
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  rusage usage = {};
  wait4(child, &status, 0, &usage);
  result.code = process_detail::exit_code(status);
  result.peak_kib = usage.ru_maxrss;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

// Starts a program without input or output. `ignored`: a signal that the program finds ignored, as under nohup.
inline pid_t start_quietly(const std::vector<std::string>& args, int ignored = 0) {
  const pid_t child = fork();
  if (child == 0) {
    const int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
    for (int number : {SIGINT, SIGTERM, SIGHUP}) signal(number, number == ignored ? SIG_IGN : SIG_DFL);
    process_detail::exec_program(args, {});
  }
  if (child < 0) abort();  // kill(-1) would reach every process there is
  return child;
}

inline int wait_status(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

// A program on a terminal of its own: type(), wait for what it prints, read its end.
class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& args, const RunSettings& settings = {}) {
    winsize size = {24, 200, 0, 0};
    child_ = forkpty(&fd_, nullptr, nullptr, &size);
    if (child_ == 0) process_detail::exec_program(args, settings);
    keeper_ = open(ptsname(fd_), O_RDWR | O_NOCTTY | O_CLOEXEC);
  }
  ~Terminal() {
    if (child_ > 0 && !ended_) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    if (fd_ >= 0) close(fd_);
    if (keeper_ >= 0) close(keeper_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& keys) {
    if (write(fd_, keys.data(), keys.size()) < 0) return;  // the program has gone; wait_for() will tell
  }
  // True once `text` has been printed after what earlier waits consumed.
  bool wait_for(const std::string& text, int seconds = 60) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (true) {
      if (const size_t at = seen_.find(text, consumed_); at != std::string::npos) {
        consumed_ = at + text.size();
        return true;
      }
      if (!pump(100) && (ended() || std::chrono::steady_clock::now() > deadline)) return false;
    }
  }
  // The exit code, or -1 if it does not end in time.
  int wait_for_end(int seconds = 60) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (pump(50) || (!ended() && std::chrono::steady_clock::now() < deadline)) {}
    return code_;
  }
  const std::string& seen() const { return seen_; }
  void resize(unsigned short rows, unsigned short columns) {
    const winsize size = {rows, columns, 0, 0};
    ioctl(fd_, TIOCSWINSZ, &size);
  }
  void signal(int number) { kill(child_, number); }
  // The terminal's line mode, echo and signals, as its next user finds them.
  std::string modes() const {
    termios t = {};
    if (keeper_ < 0 || tcgetattr(keeper_, &t) != 0) return "no terminal";
    return std::to_string(t.c_lflag) + " " + std::to_string(t.c_iflag) + " " + std::to_string(t.c_oflag);
  }

 private:
  // False if nothing was printed in that time.
  bool pump(int milliseconds) {
    pollfd p = {fd_, POLLIN, 0};
    if (poll(&p, 1, milliseconds) <= 0) return false;
    char buffer[4096];
    const ssize_t n = read(fd_, buffer, sizeof buffer);
    if (n <= 0) return false;
    seen_.append(buffer, static_cast<size_t>(n));
    return true;
  }
  bool ended() {
    int status = 0;
    if (!ended_ && waitpid(child_, &status, WNOHANG) == child_) {
      ended_ = true;
      code_ = process_detail::exit_code(status);
    }
    return ended_;
  }
  int fd_ = -1;
  int keeper_ = -1;  // the terminal's own side, open so that its modes outlive the program
  pid_t child_ = -1;
  bool ended_ = false;
  int code_ = -1;
  std::string seen_;
  size_t consumed_ = 0;
};

}  // namespace raison::testing
