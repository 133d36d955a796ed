#include "verify/line_program.h"

#include <errno.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "verify/plain_text.h"

namespace raison {
namespace {

using LineClock = std::chrono::steady_clock;
constexpr size_t kKeptWords = 4096;  // of its standard error
constexpr auto kPatience = std::chrono::milliseconds(1000);

}  // namespace

Result<std::unique_ptr<LineProgram>> LineProgram::start(SpawnPlan plan, size_t most_line) {
  RAISON_ASSIGN(PipeEnds in, make_pipe('w'));
  RAISON_ASSIGN(PipeEnds out, make_pipe('r'));
  RAISON_ASSIGN(PipeEnds err, make_pipe('r'));
  plan.fds.emplace_back(in.read.get(), 0);
  plan.fds.emplace_back(out.write.get(), 1);
  plan.fds.emplace_back(err.write.get(), 2);
  std::unique_ptr<LineProgram> program(new LineProgram);
  RAISON_ASSIGN(program->pid_, spawn_process(plan));
  program->in_ = std::move(in.write);
  program->out_ = std::move(out.read);
  program->err_ = std::move(err.read);
  program->most_line_ = most_line;
  return program;
}

LineProgram::~LineProgram() {
  in_.reset();
  out_.reset();  // what it still has to say is not waited for
  err_.reset();
  if (!wait_until_ended(kPatience)) {
    kill(-pid_, SIGTERM);
    wait_until_ended(kPatience);
  }
  reap();
}

void LineProgram::send(std::string_view line) {
  unsent_ += line;
  unsent_ += '\n';
}

bool LineProgram::take_line(std::string* line) {
  const size_t end = unread_.find('\n', scanned_);
  if (end == std::string::npos) {
    scanned_ = unread_.size();
    return false;
  }
  *line = unread_.substr(0, end);
  unread_.erase(0, end + 1);
  scanned_ = 0;
  return true;
}

void LineProgram::write_some() {
  const QuietPipes quiet;
  const ssize_t n = write(in_.get(), unsent_.data(), unsent_.size());
  if (n > 0) unsent_.erase(0, static_cast<size_t>(n));
  if (n < 0 && errno != EAGAIN && errno != EINTR) in_.reset();
}

void LineProgram::read_some(UniqueFd* fd, std::string* to, size_t keep) {
  char part[65536];
  const ssize_t n = read(fd->get(), part, sizeof part);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return fd->reset();
  to->append(part, static_cast<size_t>(n));
  if (to->size() > keep) to->erase(0, to->size() - keep);
}

LineProgram::Event LineProgram::next_line(std::string* line, double seconds) {
  const auto until = LineClock::now() + std::chrono::duration_cast<LineClock::duration>(std::chrono::duration<double>(seconds));
  while (true) {
    if (take_line(line)) return line->size() > most_line_ ? TooLong : Line;
    if (unread_.size() > most_line_) return TooLong;
    if (!out_.open()) return Ended;
    if (!in_.open()) return ClosedInput;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - LineClock::now()).count();
    if (left <= 0) return TimedOut;
    pollfd fds[] = {{out_.get(), POLLIN, 0}, {err_.get(), POLLIN, 0}, {unsent_.empty() ? -1 : in_.get(), POLLOUT, 0}};
    poll(fds, 3, static_cast<int>(std::min<int64_t>(left, 1000)));
    if (fds[2].revents != 0) write_some();
    if (fds[0].revents != 0) read_some(&out_, &unread_, std::string::npos);
    if (fds[1].revents != 0) read_some(&err_, &said_, kKeptWords);
  }
}

// It has ended, but is left as it is: its process group's number stays its own until reap().
bool LineProgram::wait_until_ended(std::chrono::milliseconds patience) {
  const auto until = LineClock::now() + patience;
  while (pid_ > 0) {
    siginfo_t info = {};
    if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid_) return true;
    if (LineClock::now() >= until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

bool LineProgram::alive() { return pid_ > 0 && in_.open() && out_.open() && !wait_until_ended(std::chrono::milliseconds(0)); }

void LineProgram::reap() {
  if (pid_ <= 0) return;
  kill(-pid_, SIGKILL);
  while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {}
  pid_ = -1;
}

std::string LineProgram::end_it() {
  const bool alone = wait_until_ended(std::chrono::milliseconds(out_.open() ? 0 : 200));
  reap();
  while (err_.open() && said_.size() <= kKeptWords) {
    const size_t before = said_.size();
    read_some(&err_, &said_, kKeptWords);
    if (said_.size() == before) break;  // no more comes: its writer is gone
  }
  std::string out = alone ? ending_text(status_) : "killed";
  if (const std::string words = one_line(last_line(said_), 160); !words.empty()) out += "; it said: " + words;
  return out;
}

}  // namespace raison
