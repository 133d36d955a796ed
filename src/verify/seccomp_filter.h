// Which system calls code in the sandbox may make.
//
// Refused with EPERM: whatever reaches other processes (ptrace, process_vm_*, pidfd_getfd, kcmp), mounts, namespaces, keys, kernel
// modules, kexec, BPF, performance counters, userfaultfd, io_uring, file handles, personality, clocks, swapping, quotas, fanotify, System V
// and POSIX message queues, semaphores and shared memory, and memfd_create (memory that no limit counts). The list is kRefused in
// seccomp_filter.cc. clone with a flag that makes a namespace, and clone3 whose flags a filter can't see: ENOSYS (the C library falls back
// to clone). socket and socketpair of any family but AF_UNIX: EAFNOSUPPORT.
// Calls that libseccomp has no name for, because they are newer than it: ENOSYS. Calls of another architecture (32-bit, x32) kill.
// ioctl is free: no terminal is in reach (bwrap --new-session, and no /dev/tty).
#pragma once
#include <string>

#include "base/result.h"

namespace raison {

// The filter as a BPF program, as bwrap --seccomp reads it.
Result<std::string> seccomp_filter();

}  // namespace raison
