// Sandbox: runs a program that nobody trusts, by bubblewrap (user, process, network, mount, IPC and UTS namespaces of its own), a filter of
// system calls (seccomp_filter.h), resource limits, and a watch over all its processes together. docs/verifiers.md says what that
// guarantees and what it does not.
//
// What the program sees: /usr (and /bin, /lib, ...) read-only, its own files under /job read-only, an empty /tmp in memory, where it
// starts; of /dev null, zero, full, random and urandom; neither /proc, /sys, /etc (but the linker's cache and alternatives), home folders
// nor a network. It is user 65534, without capabilities, and can't get any. There is no way to run anything without all of this.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "verify/subprocess.h"

namespace raison {

struct SandboxLimits {
  double seconds = 10;                      // of wall clock
  double cpu_seconds = 0;                   // of each process; 0: as `seconds`, rounded up
  int64_t memory_bytes = int64_t{1} << 30;  // address space of each process, and what all of them have resident together
  int64_t processes = 32;                   // and threads, at once
  int64_t output_bytes = int64_t{1} << 20;  // of each of its outputs
  int64_t disk_bytes = int64_t{64} << 20;   // all of /tmp, and one file
  int64_t files = 16384;                    // in /tmp
  int64_t open_files = 64;                  // of each process
  int64_t sockets = 128;                    // of all: each may hold 416 KiB of the kernel's memory, which counts nowhere else
};

struct SandboxJob {
  std::vector<std::string> command;                        // command[0]: a path, or a name in /usr/local/bin, /usr/bin or /bin
  std::string input;                                       // standard input, a file that can't be written
  std::vector<std::pair<std::string, std::string>> files;  // {name, bytes}: /job/NAME
  SandboxLimits limits;
};

struct SandboxOutcome {
  enum End { Exited, TimeLimit, MemoryLimit, OutputLimit, ProcessLimit, FileLimit };
  End end = Exited;
  int code = -1;         // Exited: its exit status, or 128 + the signal that killed it
  std::string out, err;  // what it wrote, at most output_bytes of each
  double seconds = 0;    // wall clock, bubblewrap's start included
  bool done() const { return end == Exited && code == 0; }
};
// "time limit", "memory limit", ...; of Exited what the code says: "exit status 1", "out of CPU time", "killed by signal 11 (...)".
std::string ending_text(const SandboxOutcome& outcome);

class Sandbox {
 public:
  // `readable`: folders beyond /usr that programs may read, at the paths where they lie.
  // Finds bubblewrap and what else it takes and runs a program in it. Error: one line that names the Debian package, or the setting, for
  // want of which nothing can be run.
  static Result<std::unique_ptr<Sandbox>> create(const std::vector<std::string>& readable = {});

  // Runs it to its end, or until a limit. When it returns no process of the job is left; if this program is killed meanwhile, the job dies
  // with it. Any number of threads may call it at once. Error: the sandbox itself could not be started.
  Result<SandboxOutcome> run(const SandboxJob& job) const;

  // For a program that talks: what starts `command` in the sandbox, with its standard input, output and error to be added to the plan.
  // Limits that are enforced from outside (seconds, output, memory of all together) are the caller's. `held`: to be kept until it started.
  Result<SpawnPlan> plan(const std::vector<std::string>& command, const SandboxLimits& limits,
                         std::vector<UniqueFd>* held) const;

 private:
  struct Files;
  explicit Sandbox(std::vector<std::string> readable) : readable_(std::move(readable)) {}
  Status find_programs();
  Status try_it() const;
  std::vector<std::string> bubblewrap_args(const SandboxLimits& limits) const;
  std::vector<std::string> limit_args(const SandboxLimits& limits) const;

  std::string bwrap_, setpriv_, prlimit_;  // setpriv_: "" unless this program is root
  std::string filter_;                     // of system calls, a BPF program
  std::vector<std::string> readable_;
};

}  // namespace raison
