#include "verify/seccomp_filter.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <set>
#include <string>

#include "verify/subprocess.h"

namespace raison {
namespace {

// clang-format off
constexpr const char* kRefused[] = {
    // other processes
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "pidfd_getfd", "kcmp",
    // mounts, roots and namespaces
    "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick",
    "mount_setattr", "statmount", "listmount", "unshare", "setns",
    // keys, the kernel's code, and what watches it
    "add_key", "request_key", "keyctl", "bpf", "perf_event_open", "init_module", "finit_module", "delete_module", "create_module",
    "query_module", "get_kernel_syms", "kexec_load", "kexec_file_load", "userfaultfd", "seccomp", "syslog", "lookup_dcookie",
    "fanotify_init", "fanotify_mark", "open_by_handle_at", "name_to_handle_at", "io_uring_setup", "io_uring_enter",
    "io_uring_register", "personality", "uselib", "modify_ldt", "vm86", "vm86old", "iopl", "ioperm", "remap_file_pages",
    // the machine
    "reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "settimeofday", "stime", "clock_settime", "clock_settime64",
    "clock_adjtime", "clock_adjtime64", "adjtimex", "sethostname", "setdomainname", "vhangup", "nfsservctl", "sysfs", "ustat", "_sysctl",
    "move_pages", "migrate_pages", "mbind", "set_mempolicy", "set_mempolicy_home_node",
    // memory that neither a process's address space nor the size of /tmp counts
    "memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "shmdt", "msgget", "msgsnd", "msgrcv", "msgctl", "semget", "semop",
    "semtimedop", "semctl", "ipc", "mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr",
};
// clang-format on
constexpr uint64_t kNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
                                 CLONE_NEWNET | 0x80 /* CLONE_NEWTIME */;
constexpr int kMostCalls = 1024;  // numbers of calls lie below

struct FilterFree {
  void operator()(void* filter) const { seccomp_release(filter); }
};

// 0 or a negative errno; the first fault stays.
class Rules {
 public:
  explicit Rules(scmp_filter_ctx filter) : filter_(filter) {}
  void add(uint32_t action, int call) { keep(seccomp_rule_add_exact_array(filter_, action, call, 0, nullptr)); }
  void add_if(uint32_t action, int call, scmp_arg_cmp condition) {
    keep(seccomp_rule_add_exact_array(filter_, action, call, 1, &condition));
  }
  void keep(int result) {
    if (fault_ == 0) fault_ = result;
  }
  int fault() const { return fault_; }

 private:
  scmp_filter_ctx filter_;
  int fault_ = 0;
};

void add_calls_with_conditions(Rules* rules) {
  rules->add_if(SCMP_ACT_ALLOW, SCMP_SYS(clone), SCMP_A0_64(SCMP_CMP_MASKED_EQ, kNamespaces, 0));
  for (const int call : {SCMP_SYS(socket), SCMP_SYS(socketpair)}) {
    rules->add_if(SCMP_ACT_ALLOW, call, SCMP_A0_64(SCMP_CMP_EQ, AF_UNIX, 0));
    rules->add_if(SCMP_ACT_ERRNO(EAFNOSUPPORT), call, SCMP_A0_64(SCMP_CMP_NE, AF_UNIX, 0));
  }
}

int fill_filter(scmp_filter_ctx filter) {
  Rules rules(filter);
  rules.keep(seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS));
  rules.keep(seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2));  // a tree of comparisons: there are some 300 rules
  const std::set<std::string> refused(std::begin(kRefused), std::end(kRefused));
  const std::set<std::string> conditional = {"clone", "clone3", "socket", "socketpair"};
  for (int call = 0; call < kMostCalls; ++call) {
    char* known = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);
    if (known == nullptr) continue;
    const std::string name = known;
    free(known);
    if (conditional.count(name) == 0) rules.add(refused.count(name) > 0 ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW, call);
  }
  add_calls_with_conditions(&rules);
  return rules.fault();
}

}  // namespace

Result<std::string> seccomp_filter() {
  const std::unique_ptr<void, FilterFree> filter(seccomp_init(SCMP_ACT_ERRNO(ENOSYS)));
  if (!filter) return error("libseccomp gives no filter");
  if (const int fault = fill_filter(filter.get()); fault != 0)
    return error("libseccomp refuses the sandbox's rules: {}", strerror(-fault));
  UniqueFd fd(memfd_create("raison-seccomp", MFD_CLOEXEC));
  if (!fd.open()) return error("no file in memory could be made: {}", strerror(errno));
  if (const int fault = seccomp_export_bpf(filter.get(), fd.get()); fault != 0)
    return error("libseccomp can't write its filter: {}", strerror(-fault));
  std::string program;
  char part[4096];
  for (ssize_t n = 0; (n = pread(fd.get(), part, sizeof part, static_cast<off_t>(program.size()))) > 0;)
    program.append(part, static_cast<size_t>(n));
  return program;
}

}  // namespace raison
