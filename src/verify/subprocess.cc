#include "verify/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace raison {
namespace {

// The plan's descriptors are first moved here, above every number that a plan may name: none is then overwritten before it is used.
constexpr int kAbovePlans = 64;

struct SpawnSettings {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnSettings() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  void set_signals() {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
};

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& t : texts) out.push_back(const_cast<char*>(t.c_str()));
  out.push_back(nullptr);
  return out;
}

bool is_executable_file(const std::string& path) {
  struct stat s = {};
  return stat(path.c_str(), &s) == 0 && S_ISREG(s.st_mode) && access(path.c_str(), X_OK) == 0;
}

}  // namespace

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

Result<PipeEnds> make_pipe(char ours) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return error("no pipe could be made: {}", strerror(errno));
  PipeEnds ends;
  ends.read.reset(fds[0]);
  ends.write.reset(fds[1]);
  if (ours == 'r') fcntl(fds[0], F_SETFL, O_NONBLOCK);
  if (ours == 'w') fcntl(fds[1], F_SETFL, O_NONBLOCK);
  return ends;
}

Result<UniqueFd> memory_file(std::string_view bytes) {
  UniqueFd fd(memfd_create("raison", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.open()) return error("no file in memory could be made: {}", strerror(errno));
  while (!bytes.empty()) {
    const ssize_t n = write(fd.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return error("a file in memory could not be written: {}", strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  if (lseek(fd.get(), 0, SEEK_SET) != 0 ||
      fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
    return error("a file in memory could not be sealed: {}", strerror(errno));
  return fd;
}

Result<pid_t> spawn_process(const SpawnPlan& plan) {
  SpawnSettings settings;
  settings.set_signals();
  std::vector<UniqueFd> moved;
  int most = 2;
  for (int standard = 0; standard < 3; ++standard) {
    const bool given = std::any_of(plan.fds.begin(), plan.fds.end(), [&](const auto& p) { return p.second == standard; });
    if (!given) posix_spawn_file_actions_addopen(&settings.actions, standard, "/dev/null", O_RDWR, 0);
  }
  for (const auto& [ours, its] : plan.fds) {
    moved.emplace_back(fcntl(ours, F_DUPFD_CLOEXEC, kAbovePlans));
    if (!moved.back().open()) return error("{}: no descriptor is left: {}", plan.args[0], strerror(errno));
    posix_spawn_file_actions_adddup2(&settings.actions, moved.back().get(), its);
    most = std::max(most, its);
  }
  posix_spawn_file_actions_addclosefrom_np(&settings.actions, most + 1);
  const std::vector<char*> argv = pointers(plan.args), own = pointers(plan.environment);
  pid_t child = -1;
  const int fault = posix_spawn(&child, plan.args[0].c_str(), &settings.actions, &settings.attributes, argv.data(),
                                plan.own_environment ? environ : own.data());
  if (fault != 0) return error("{}: cannot be started: {}", plan.args[0], strerror(fault));
  return child;
}

std::string find_executable(const std::string& name, const std::vector<std::string>& folders) {
  if (name.find('/') != std::string::npos) return is_executable_file(name) ? name : "";
  for (const std::string& folder : folders)
    if (const std::string path = folder + "/" + name; !folder.empty() && is_executable_file(path)) return path;
  return "";
}

std::vector<std::string> path_folders() {
  std::vector<std::string> out;
  const char* set = std::getenv("PATH");
  std::string_view rest = set != nullptr ? set : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    const size_t colon = std::min(rest.find(':'), rest.size());
    out.emplace_back(rest.substr(0, colon));
    rest.remove_prefix(std::min(colon + 1, rest.size()));
  }
  return out;
}

QuietPipes::QuietPipes() {
  sigset_t pipe_signal, waiting;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  sigpending(&waiting);
  pending_ = sigismember(&waiting, SIGPIPE) == 1;
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before_);
}

QuietPipes::~QuietPipes() {
  sigset_t pipe_signal;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  const timespec at_once = {0, 0};
  // A signal that waited before is not ours to take.
  while (!pending_ && sigtimedwait(&pipe_signal, nullptr, &at_once) < 0 && errno == EINTR) {}
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

std::string ending_text(int wait_status) {
  if (WIFEXITED(wait_status)) return fmt::format("exit status {}", WEXITSTATUS(wait_status));
  if (WIFSIGNALED(wait_status)) return fmt::format("signal {} ({})", WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
  return "an unknown end";
}

}  // namespace raison
