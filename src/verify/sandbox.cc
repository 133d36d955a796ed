#include "verify/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "verify/process_watch.h"
#include "verify/seccomp_filter.h"

namespace raison {
namespace {

using SandboxClock = std::chrono::steady_clock;

constexpr const char* kNobody = "65534";
constexpr int kStatusFd = 3, kSeccompFd = 4, kFirstFileFd = 5;
constexpr size_t kMostFiles = 32;
constexpr int64_t kOwnTasks = 1;  // bubblewrap's own process 1
constexpr auto kGrace = std::chrono::seconds(10);

// So little may be set in the sandbox that no variable of this program's gets in, into bubblewrap's own memory either.
const std::vector<std::string>& sandbox_environment() {
  static const std::vector<std::string> environment = {
      "PATH=/usr/local/bin:/usr/bin:/bin",
      "HOME=/tmp",
      "TMPDIR=/tmp",
      "LANG=C.UTF-8",
      "PYTHONDONTWRITEBYTECODE=1",
      "PYTHONHASHSEED=0",
      "OMP_NUM_THREADS=1",
      "OPENBLAS_NUM_THREADS=1",
      "MALLOC_ARENA_MAX=2",
  };
  return environment;
}

std::vector<std::string> system_folders() { return {"/usr/local/bin", "/usr/bin", "/bin"}; }

void append(std::vector<std::string>* args, std::initializer_list<std::string> more) { args->insert(args->end(), more); }

std::string first_line(const std::string& text) {
  std::string line = text.substr(0, std::min(text.find('\n'), size_t{300}));
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  return line;
}

// The first line of a setting of the kernel; "" if it has none of that name.
std::string kernel_setting(const char* path) {
  const UniqueFd fd(open(path, O_RDONLY | O_CLOEXEC));
  char text[64] = {};
  if (!fd.open() || read(fd.get(), text, sizeof text - 1) <= 0) return "";
  return first_line(text);
}

// Why bwrap may have been refused its namespaces, as far as the kernel's settings tell.
std::string sandbox_hint(const std::string& fault) {
  if (fault.find("SECCOMP") != std::string::npos) return "";
  if (fault.find("setpriv:") != std::string::npos)
    return "; root must be able to become user 65534 (capabilities SETUID, SETGID, SETPCAP)";
  if (kernel_setting("/proc/sys/kernel/unprivileged_userns_clone") == "0")
    return "; user namespaces are off: sysctl kernel.unprivileged_userns_clone=1";
  if (kernel_setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1")
    return "; AppArmor refuses user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile for bwrap";
  if (kernel_setting("/proc/sys/user/max_user_namespaces") == "0")
    return "; user namespaces are off: sysctl user.max_user_namespaces=10000";
  return "; it needs user namespaces (in a container: one that allows them)";
}

// One run: reads what comes, watches, and ends it.
class SandboxRun {
 public:
  SandboxRun(pid_t monitor, const SandboxLimits& limits) : monitor_(monitor), limits_(limits) {}
  ~SandboxRun() { finish(); }
  SandboxRun(const SandboxRun&) = delete;
  SandboxRun& operator=(const SandboxRun&) = delete;

  void give_pipes(UniqueFd status, UniqueFd out, UniqueFd err) {
    status_ = std::move(status);
    out_ = std::move(out);
    err_ = std::move(err);
  }
  Result<SandboxOutcome> watch();

 private:
  void step();
  void read_from(UniqueFd* fd, std::string* to, size_t most, SandboxOutcome::End beyond);
  void read_status();
  void check_usage();
  void stop(SandboxOutcome::End why);
  void finish();

  pid_t monitor_;  // bwrap, our child
  SandboxLimits limits_;
  UniqueFd status_, out_, err_,
      init_;  // init_: a pidfd of process 1 of the sandbox: readable when every process in it has gone
  pid_t init_pid_ = 0;
  std::string status_text_;
  SandboxOutcome outcome_;
  SandboxClock::time_point start_ = SandboxClock::now(), next_check_ = start_;
  bool stopped_ = false, reaped_ = false;
};

void SandboxRun::stop(SandboxOutcome::End why) {
  if (stopped_) return;
  stopped_ = true;
  outcome_.end = why;
  if (reaped_) return;
  // Process 1 takes all of its namespace with it. If it is not known yet it is still of bwrap's group.
  if (init_.open()) syscall(SYS_pidfd_send_signal, init_.get(), SIGKILL, nullptr, 0);
  kill(-monitor_, SIGKILL);
}

void SandboxRun::read_from(UniqueFd* fd, std::string* to, size_t most, SandboxOutcome::End beyond) {
  char part[65536];
  const ssize_t n = read(fd->get(), part, sizeof part);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n <= 0) return fd->reset();
  to->append(part, std::min(static_cast<size_t>(n), most - to->size()));
  if (to->size() < most) return;
  fd->reset();  // nothing more is read, whatever it still writes
  stop(beyond);
}

void SandboxRun::read_status() {
  read_from(&status_, &status_text_, 65536, SandboxOutcome::OutputLimit);
  if (init_pid_ != 0) return;
  const auto json = nlohmann::json::parse(status_text_.substr(0, status_text_.find('\n')), nullptr, false);
  if (!json.is_object() || !json.contains("child-pid") || !json["child-pid"].is_number_integer()) return;
  init_pid_ = json["child-pid"].get<pid_t>();
  init_.reset(static_cast<int>(syscall(SYS_pidfd_open, init_pid_, 0)));
}

void SandboxRun::check_usage() {
  const auto now = SandboxClock::now();
  if (now - start_ > std::chrono::duration<double>(limits_.seconds)) return stop(SandboxOutcome::TimeLimit);
  if (init_pid_ == 0 || now < next_check_) return;
  next_check_ = now + std::chrono::milliseconds(10);
  if (sockets_of(init_pid_) > limits_.sockets) return stop(SandboxOutcome::FileLimit);
  if (files_below(init_pid_, "/tmp", limits_.disk_bytes) > limits_.files) return stop(SandboxOutcome::FileLimit);
  const TreeUsage usage = tree_usage(init_pid_, limits_.processes + kOwnTasks);
  if (usage.tasks > limits_.processes + kOwnTasks) return stop(SandboxOutcome::ProcessLimit);
  if (usage.memory_bytes > limits_.memory_bytes) return stop(SandboxOutcome::MemoryLimit);
}

void SandboxRun::step() {
  pollfd fds[] = {{status_.get(), POLLIN, 0}, {out_.get(), POLLIN, 0}, {err_.get(), POLLIN, 0}};
  poll(fds, 3, 10);
  const auto most = static_cast<size_t>(limits_.output_bytes) + 1;
  if (status_.open() && fds[0].revents != 0) read_status();
  if (out_.open() && fds[1].revents != 0) read_from(&out_, &outcome_.out, most, SandboxOutcome::OutputLimit);
  if (err_.open() && fds[2].revents != 0) read_from(&err_, &outcome_.err, most, SandboxOutcome::OutputLimit);
  if (!reaped_) check_usage();  // what has ended by itself did so in time, and its ids may be others' by now
}

// Waits until bwrap and all that ran in its namespace are gone; bounded, for a process may hang in the kernel.
void SandboxRun::finish() {
  if (reaped_) return;
  reaped_ = true;
  if (init_.open()) {
    syscall(SYS_pidfd_send_signal, init_.get(), SIGKILL, nullptr, 0);
    pollfd gone = {init_.get(), POLLIN, 0};
    poll(&gone, 1, static_cast<int>(std::chrono::milliseconds(kGrace).count()));
  }
  kill(-monitor_, SIGKILL);
  while (waitpid(monitor_, nullptr, 0) < 0 && errno == EINTR) {}
}

// bwrap closes its status when the sandbox has ended; outputs are then read to their end, or for want of one not long: a process that kept
// them open has been killed with its namespace.
Result<SandboxOutcome> SandboxRun::watch() {
  while (status_.open() && !stopped_) step();
  finish();
  const auto until = SandboxClock::now() + std::chrono::seconds(1);
  while (!stopped_ && (out_.open() || err_.open()) && SandboxClock::now() < until) step();
  outcome_.out.resize(std::min(outcome_.out.size(), static_cast<size_t>(limits_.output_bytes)));
  outcome_.err.resize(std::min(outcome_.err.size(), static_cast<size_t>(limits_.output_bytes)));
  outcome_.seconds = std::chrono::duration<double>(SandboxClock::now() - start_).count();
  if (stopped_) return outcome_;
  const size_t at = status_text_.find("\"exit-code\"");
  const size_t colon = at == std::string::npos ? at : status_text_.find(':', at);
  if (colon == std::string::npos) return error("bwrap could not make the sandbox: {}", first_line(outcome_.err));
  outcome_.code = atoi(status_text_.c_str() + colon + 1);
  return outcome_;
}

}  // namespace

// The descriptors of a job while bwrap starts.
struct Sandbox::Files {
  std::vector<UniqueFd> held;
  std::vector<std::pair<int, int>> fds;
  void add(UniqueFd fd, int its) {
    fds.emplace_back(fd.get(), its);
    held.push_back(std::move(fd));
  }
};

std::string ending_text(const SandboxOutcome& o) {
  switch (o.end) {
    case SandboxOutcome::TimeLimit: return "time limit";
    case SandboxOutcome::MemoryLimit: return "memory limit";
    case SandboxOutcome::OutputLimit: return "output limit";
    case SandboxOutcome::ProcessLimit: return "process limit";
    case SandboxOutcome::FileLimit: return "file limit";
    case SandboxOutcome::Exited: break;
  }
  if (o.code == 128 + SIGXCPU) return "time limit";
  if (o.code == 128 + SIGXFSZ) return "file size limit";
  if (o.code > 128 && o.code < 128 + 65) return fmt::format("killed by signal {} ({})", o.code - 128, strsignal(o.code - 128));
  return fmt::format("exit status {}", o.code);
}

Result<std::unique_ptr<Sandbox>> Sandbox::create(const std::vector<std::string>& readable) {
  std::unique_ptr<Sandbox> sandbox(new Sandbox(readable));
  for (const std::string& folder : readable)
    if (folder.empty() || folder[0] != '/' || folder == "/" || access(folder.c_str(), R_OK) != 0)
      return error("sandbox: {}: readable folders must exist and be absolute, and not all of /", folder.substr(0, 200));
  RAISON_RETURN_IF_ERROR(sandbox->find_programs());
  RAISON_ASSIGN(sandbox->filter_, seccomp_filter());
  RAISON_RETURN_IF_ERROR(sandbox->try_it());
  return sandbox;
}

Status Sandbox::find_programs() {
  struct Wanted {
    const char *name, *package;
    std::string* path;
    bool needed;
  };
  const bool root = geteuid() == 0 || getuid() == 0;
  const Wanted wanted[] = {{"bwrap", "bubblewrap", &bwrap_, true},
                           {"prlimit", "util-linux", &prlimit_, true},
                           {"setpriv", "util-linux", &setpriv_, root}};
  for (const Wanted& w : wanted) {
    if (!w.needed) continue;
    *w.path = find_executable(w.name, system_folders());
    if (w.path->empty()) return error("sandbox: {} is missing: install the Debian package {}", w.name, w.package);
  }
  if (!tree_usage_works())
    return error(
        "sandbox: /proc names no children of processes: it needs a kernel with CONFIG_PROC_CHILDREN, and /proc mounted");
  return {};
}

Status Sandbox::try_it() const {
  SandboxJob job;
  job.command = {"/usr/bin/env", "true"};
  const auto outcome = run(job);
  if (!outcome.ok()) return error("sandbox: {}{}", outcome.message(), sandbox_hint(outcome.message()));
  if (!outcome->done())
    return error("sandbox: a program that does nothing ends with {}: {}", ending_text(*outcome), first_line(outcome->err));
  return {};
}

std::vector<std::string> Sandbox::limit_args(const SandboxLimits& l) const {
  const double cpu = std::ceil(l.cpu_seconds > 0 ? l.cpu_seconds : l.seconds);
  std::vector<std::string> args = {prlimit_};
  const auto limit = [&](const char* name, int64_t value) { args.push_back(fmt::format("--{}={}", name, value)); };
  limit("as", l.memory_bytes);
  args.push_back(fmt::format("--cpu={}:{}", static_cast<int64_t>(cpu), static_cast<int64_t>(cpu) + 1));
  limit("fsize", l.disk_bytes);
  limit("nofile", l.open_files);
  // Counted in the sandbox's own user namespace (Linux 5.14); one more than allowed, so that the watch sees who goes beyond.
  limit("nproc", l.processes + kOwnTasks + 1);
  args.push_back(fmt::format("--stack={}:{}", std::min<int64_t>(8 << 20, l.memory_bytes), l.memory_bytes));
  for (const char* none : {"core", "memlock", "msgqueue", "nice", "rtprio"}) limit(none, 0);
  args.emplace_back("--");
  return args;
}

std::vector<std::string> Sandbox::bubblewrap_args(const SandboxLimits& limits) const {
  std::vector<std::string> args;
  if (!setpriv_.empty())
    append(&args, {setpriv_, "--reuid", kNobody, "--regid", kNobody, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
                   "--no-new-privs", "--pdeathsig", "KILL", "--"});
  append(&args, {bwrap_,
                 "--unshare-user",
                 "--unshare-pid",
                 "--unshare-net",
                 "--unshare-ipc",
                 "--unshare-uts",
                 "--unshare-cgroup-try",
                 "--die-with-parent",
                 "--new-session",
                 "--cap-drop",
                 "ALL",
                 "--uid",
                 kNobody,
                 "--gid",
                 kNobody,
                 "--hostname",
                 "sandbox",
                 "--ro-bind",
                 "/usr",
                 "/usr"});
  for (const char* name : {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}) {
    const std::string path = std::string("/") + name;
    struct stat s = {};
    if (lstat(path.c_str(), &s) != 0) continue;
    if (S_ISLNK(s.st_mode)) append(&args, {"--symlink", std::string("usr/") + name, path});
    if (S_ISDIR(s.st_mode)) append(&args, {"--ro-bind", path, path});
  }
  for (const char* path : {"/etc/ld.so.cache", "/etc/alternatives"}) append(&args, {"--ro-bind-try", path, path});
  for (const std::string& folder : readable_) append(&args, {"--ro-bind", folder, folder});
  append(&args, {"--dir", "/dev", "--dir", "/job"});
  for (const char* device : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"})
    append(&args, {"--dev-bind", device, device});
  append(&args, {"--size", std::to_string(limits.disk_bytes), "--tmpfs", "/tmp", "--chdir", "/tmp", "--seccomp",
                 std::to_string(kSeccompFd)});
  return args;
}

Result<SpawnPlan> Sandbox::plan(const std::vector<std::string>& command, const SandboxLimits& limits,
                                std::vector<UniqueFd>* held) const {
  SpawnPlan plan;
  plan.environment = sandbox_environment();
  plan.args = bubblewrap_args(limits);
  RAISON_ASSIGN(UniqueFd filter, memory_file(filter_));
  plan.fds.emplace_back(filter.get(), kSeccompFd);
  held->push_back(std::move(filter));
  append(&plan.args, {"--remount-ro", "/", "--"});
  for (std::string& a : limit_args(limits)) plan.args.push_back(std::move(a));
  plan.args.insert(plan.args.end(), command.begin(), command.end());
  return plan;
}

Result<SandboxOutcome> Sandbox::run(const SandboxJob& job) const {
  if (job.command.empty()) return error("sandbox: no command");
  if (job.files.size() > kMostFiles) return error("sandbox: at most {} files", kMostFiles);
  Files files;
  RAISON_ASSIGN(SpawnPlan plan, this->plan(job.command, job.limits, &files.held));
  const auto options_end = std::find(plan.args.begin(), plan.args.end(), "--remount-ro");
  std::vector<std::string> more = {"--json-status-fd", std::to_string(kStatusFd)};
  for (const auto& [name, bytes] : job.files) {
    const int its = kFirstFileFd + static_cast<int>(files.fds.size());
    RAISON_ASSIGN(UniqueFd fd, memory_file(bytes));
    files.add(std::move(fd), its);
    append(&more, {"--ro-bind-data", std::to_string(its), "/job/" + name});
  }
  plan.args.insert(options_end, more.begin(), more.end());
  RAISON_ASSIGN(UniqueFd input, memory_file(job.input));
  files.add(std::move(input), 0);
  RAISON_ASSIGN(PipeEnds status, make_pipe('r'));
  RAISON_ASSIGN(PipeEnds out, make_pipe('r'));
  RAISON_ASSIGN(PipeEnds err, make_pipe('r'));
  files.add(std::move(status.write), kStatusFd);
  files.add(std::move(out.write), 1);
  files.add(std::move(err.write), 2);
  plan.fds.insert(plan.fds.end(), files.fds.begin(), files.fds.end());
  RAISON_ASSIGN(const pid_t child, spawn_process(plan));
  files.held.clear();  // or the pipes would never end
  SandboxRun run(child, job.limits);
  run.give_pipes(std::move(status.read), std::move(out.read), std::move(err.read));
  return run.watch();
}

}  // namespace raison
