// What untrusted code may try, and what becomes of it: as root, and as a user (a root that runs the tests does both).
#include "verify/sandbox.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "testing/process.h"
#include "testing/temp_dir.h"

namespace raison {
namespace {

using testing::TempDir;

// A failure in the copy of this process is printed there and counted here.
void as_root_and_user(const std::function<void()>& body) {
  body();
  if (geteuid() != 0) {
    fprintf(stderr, "NOT ROOT: only what a user's sandbox does was tested\n");
    return;
  }
  const auto user = testing::run_forked([&] {
    if (setgroups(0, nullptr) != 0 || setresgid(65533, 65533, 65533) != 0 || setresuid(65533, 65533, 65533) != 0) return 2;
    prctl(PR_SET_DUMPABLE, 1);
    body();
    fflush(nullptr);
    return ::testing::Test::HasFailure() ? 1 : 0;
  });
  EXPECT_EQ(user.code, 0) << "as a user";
}

#define SKIP_WITHOUT_PYTHON() \
  if (access("/usr/bin/python3", X_OK) != 0) GTEST_SKIP() << "NO PYTHON: /usr/bin/python3 is missing; install python3"

SandboxOutcome run_in_sandbox(const SandboxJob& job) {
  const auto sandbox = Sandbox::create();
  EXPECT_TRUE(sandbox.ok()) << (sandbox.ok() ? "" : sandbox.message());
  if (!sandbox.ok()) return {};
  const auto outcome = (*sandbox)->run(job);
  EXPECT_TRUE(outcome.ok()) << (outcome.ok() ? "" : outcome.message());
  return outcome.ok() ? *outcome : SandboxOutcome();
}

SandboxOutcome run_python(const std::string& code, const SandboxLimits& limits = {}, const std::string& input = "") {
  SandboxJob job;
  job.command = {"/usr/bin/python3", "/job/main.py"};
  job.files = {{"main.py", code}};
  job.input = input;
  job.limits = limits;
  return run_in_sandbox(job);
}

// "call(N, ...)" gives the name of errno of a raw system call, or "ok".
const char* const kRawCalls = R"PY(
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    ctypes.set_errno(0)
    r = libc.syscall(*[ctypes.c_long(a) for a in args])
    return "ok" if r >= 0 else errno.errorcode[ctypes.get_errno()]
)PY";

// Processes of this machine whose command line holds `marker`.
int processes_with(const std::string& marker) {
  int count = 0;
  DIR* proc = opendir("/proc");
  while (const dirent* entry = readdir(proc)) {
    std::ifstream file(std::string("/proc/") + entry->d_name + "/cmdline");
    std::stringstream text;
    text << file.rdbuf();
    count += text.str().find(marker) != std::string::npos ? 1 : 0;
  }
  closedir(proc);
  return count;
}

bool gone_soon(const std::string& marker) {
  for (int i = 0; i < 200 && processes_with(marker) > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  return processes_with(marker) == 0;
}

TEST(Sandbox, RunsAProgramWithInputFilesAndExitStatus) {
  SKIP_WITHOUT_PYTHON();
  as_root_and_user([] {
    const auto o = run_python(
        "import sys, os\nprint(sys.stdin.read().upper(), os.getcwd(), os.getuid())\n"
        "sys.stderr.write('to err')\nopen('x', 'w').write('y' * 1000)\nsys.exit(3)",
        {}, "some input");
    EXPECT_EQ(o.end, SandboxOutcome::Exited);
    EXPECT_EQ(o.code, 3);
    EXPECT_EQ(o.out, "SOME INPUT /tmp 65534\n");
    EXPECT_EQ(o.err, "to err");
    EXPECT_EQ(ending_text(o), "exit status 3");
    EXPECT_EQ(ending_text(run_python("import os; os.abort()")), "killed by signal 6 (Aborted)");
  });
}

TEST(Sandbox, AProgramThatIsMissingIsToldFromASandboxThatIs) {
  as_root_and_user([] {
    SandboxJob job;
    job.command = {"/no/such/program"};
    const auto o = run_in_sandbox(job);
    EXPECT_EQ(o.end, SandboxOutcome::Exited);
    EXPECT_NE(o.code, 0);
    const auto readable = Sandbox::create({"/no/such/folder"});
    ASSERT_FALSE(readable.ok());
    EXPECT_NE(readable.message().find("/no/such/folder"), std::string::npos);
    EXPECT_FALSE(Sandbox::create({"/"}).ok());
  });
}

TEST(Sandbox, HasNoNetwork) {
  SKIP_WITHOUT_PYTHON();
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener, 4), 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  const int port = ntohs(address.sin_port);
  as_root_and_user([&] {
    const auto o = run_python(R"PY(
import socket
def attempt(f):
    try:
        f()
        print("REACHED")
    except OSError as e:
        print("no")
attempt(lambda: socket.create_connection(("127.0.0.1", )PY" +
                              std::to_string(port) + R"PY(), timeout=2))
attempt(lambda: socket.create_connection(("1.1.1.1", 53), timeout=2))
attempt(lambda: socket.getaddrinfo("example.com", 80))
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)))
attempt(lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
a, b = socket.socketpair()
print("a pair is fine")
)PY");
    EXPECT_EQ(o.out, "no\nno\nno\nno\nno\nno\nno\na pair is fine\n") << o.err;
  });
  EXPECT_EQ(accept(listener, nullptr, nullptr), -1) << "something connected";
  close(listener);
}

TEST(Sandbox, SeesAndChangesNoFileOutside) {
  SKIP_WITHOUT_PYTHON();
  const TempDir dir;
  chmod(dir.path().c_str(), 0777);
  const std::string secret = dir.write("secret", "the secret");
  chmod(secret.c_str(), 0666);
  const char* set = std::getenv("HOME");
  const std::string home = set != nullptr && *set == '/' ? set : "/root";
  const bool elsewhere =
      home != "/" && home.rfind("/tmp", 0) != 0 && home.rfind("/usr", 0) != 0;  // than what the sandbox has too
  as_root_and_user([&] {
    const auto o =
        run_python("secret, folder, home = '" + secret + "', '" + dir.path() + "', '" + (elsewhere ? home : "/root") + R"PY('
import os
for path in [secret, "/etc/shadow", "/etc/passwd", "/etc/hostname", home, "/root", "/home", "/var", "/sys", "/proc", "/run", "/srv",
             "/dev/mem", "/dev/shm", "/dev/tty", "/dev/vda", "/dev/sda", "/boot", "/opt", "/mnt"]:
    if os.path.lexists(path): print("SEEN", path)
for link, to in [("/tmp/a", secret), ("/tmp/b", "/etc/shadow"), ("/tmp/c", "../" * 20 + secret[1:]), ("/tmp/d", "/proc/self/root")]:
    os.symlink(to, link)
    try:
        print("READ", open(link).read())
    except OSError: pass
for path in ["/x", "/usr/x", "/job/x", "/job/main.py", "/dev/x", "/etc/x", "/bin/x", "/usr/bin/python3", folder + "/x", secret]:
    for flags in [os.O_WRONLY, os.O_WRONLY | os.O_CREAT]:
        try:
            os.open(path, flags)
            print("WRITTEN", path)
        except OSError: pass
try:
    os.link("/usr/bin/env", "/tmp/env"); print("LINKED")
except OSError: pass
os.chdir("/tmp")
try:
    os.chroot("/tmp"); print("CHROOT")
except OSError: pass
print("done", sorted(os.listdir("/dev")))
)PY");
    EXPECT_EQ(o.out, "done ['full', 'null', 'random', 'urandom', 'zero']\n") << o.err;
  });
  EXPECT_EQ(access((dir.path() + "/x").c_str(), F_OK), -1);
}

TEST(Sandbox, HasNoProcessesToLookAtAndNoneToSignal) {
  SKIP_WITHOUT_PYTHON();
  as_root_and_user([] {
    const auto o = run_python("host = " + std::to_string(getpid()) + R"PY(
import os, signal
for path in ["/proc", "/proc/1/environ", "/proc/self/root", "/proc/self/exe"]:
    if os.path.lexists(path): print("SEEN", path)
for pid in [host, os.getppid() + 1000]:
    try:
        os.kill(pid, 0); print("SIGNALLED", pid)
    except OSError as e: print(e.strerror)
print(os.getpid() < 100, flush=True)
os.kill(-1, signal.SIGKILL)
)PY");
    EXPECT_EQ(o.end, SandboxOutcome::Exited);
    EXPECT_EQ(o.out, "No such process\nNo such process\nTrue\n") << o.err;
  });
}

TEST(Sandbox, InheritsNeitherDescriptorsNorEnvironment) {
  SKIP_WITHOUT_PYTHON();
  const TempDir dir;
  const int leaked = open(dir.write("f", "x").c_str(), O_RDONLY);  // without O_CLOEXEC
  setenv("RAISON_TEST_SECRET", "sesame", 1);
  as_root_and_user([] {
    const auto o = run_python(R"PY(
import fcntl, os
for fd in range(1024):
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD); print(fd, end=" ")
    except OSError: pass
print("RAISON_TEST_SECRET" in os.environ, "USER" in os.environ)
try:
    os.write(0, b"x"); print("WROTE TO STDIN")
except OSError: pass
try:
    os.ftruncate(0, 1 << 30); print("GREW STDIN")
except OSError: pass
)PY");
    EXPECT_EQ(o.out, "0 1 2 False False\n") << o.err;
  });
  unsetenv("RAISON_TEST_SECRET");
  close(leaked);
}

TEST(Sandbox, RefusesDangerousSystemCalls) {
  SKIP_WITHOUT_PYTHON();
#if !defined(__x86_64__)
  GTEST_SKIP() << "the numbers are x86-64's";
#endif
  as_root_and_user([] {
    const auto o = run_python(std::string(kRawCalls) + R"PY(
calls = dict(ptrace=(101, 0, 0, 0, 0), process_vm_readv=(310, 1, 0, 0, 0, 0, 0), process_vm_writev=(311, 1, 0, 0, 0, 0, 0),
    add_key=(248, 0, 0, 0, 0, 0), keyctl=(250, 0, 0), bpf=(321, 0, 0, 0), perf=(298, 0, 0, -1, -1, 0), mount=(165, 0, 0, 0, 0, 0),
    umount=(166, 0, 0), pivot_root=(155, 0, 0), chroot=(161, 0), unshare_user=(272, 0x10000000), unshare_net=(272, 0x40000000),
    setns=(308, 0, 0), kexec=(246, 0, 0, 0, 0), init_module=(175, 0, 0, 0), finit_module=(313, 0, 0, 0), userfaultfd=(323, 0),
    io_uring=(425, 1, 0), personality=(135, 0xffffffff), open_by_handle=(304, 0, 0, 0), memfd=(319, 0, 0), shmget=(29, 0, 4096, 0o1600),
    msgget=(68, 0, 0o1600), mq_open=(240, 0, 0, 0, 0), open_tree=(428, 0, 0, 0), fsopen=(430, 0, 0), pidfd_getfd=(438, 0, 0, 0),
    syslog=(103, 3, 0, 0), reboot=(169, 0, 0, 0, 0), settimeofday=(164, 0, 0), iopl=(172, 3), fanotify=(300, 0, 0), seccomp=(317, 0, 0, 0))
for name, args in calls.items():
    if call(*args) != "EPERM": print(name, call(*args))
print("clone3", call(435, 0, 0))
print("clone NEWUSER", call(56, 0x10000000 | 17, 0, 0, 0, 0), "NEWNS", call(56, 0x20000 | 17, 0, 0, 0, 0))
print("unknown", call(1000), "newer", call(550))
print("socket", call(41, 2, 1, 0), "x with high bits", call(41, (1 << 32) + 2, 1, 0))
print("setuid", call(105, 0), "setgid", call(106, 0))
print("no_new_privs", libc.prctl(39, 0, 0, 0, 0))
print("parent's memory", call(257, -100, 0, 0, 0))
)PY");
    EXPECT_EQ(
        o.out,
        "clone3 ENOSYS\nclone NEWUSER ENOSYS NEWNS ENOSYS\nunknown ENOSYS newer ENOSYS\nsocket EAFNOSUPPORT x with high bits "
        "EAFNOSUPPORT\nsetuid EINVAL setgid EINVAL\nno_new_privs 1\nparent's memory EFAULT\n")
        << o.err;
    const auto x32 = run_python(std::string(kRawCalls) + "print(call(0x40000000 + 39))");
    EXPECT_EQ(ending_text(x32), "killed by signal 31 (Bad system call)") << x32.out;
  });
}

TEST(Sandbox, SetuidProgramsGainNothing) {
  SKIP_WITHOUT_PYTHON();
  as_root_and_user([] {
    const auto o = run_python(R"PY(
import os, subprocess, stat
found = [p for d in ["/usr/bin", "/usr/sbin", "/usr/lib"] for p in [os.path.join(d, n) for n in os.listdir(d)]
         if os.path.isfile(p) and os.stat(p).st_mode & stat.S_ISUID]
print("some" if found else "none")
if os.path.exists("/usr/bin/su"):
    r = subprocess.run(["/usr/bin/su", "-c", "id"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    print(r.returncode != 0 and "uid=0" not in r.stdout)
else: print(True)
import ctypes
libc = ctypes.CDLL(None)
head, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
print(libc.capget(head, data), list(data), os.getresuid())
)PY");
    EXPECT_NE(o.out.find("True\n0 [0, 0, 0, 0, 0, 0] (65534, 65534, 65534)\n"), std::string::npos) << o.out << o.err;
  });
}

TEST(Sandbox, EndsForkBombs) {
  SKIP_WITHOUT_PYTHON();
  as_root_and_user([] {
    SandboxLimits limits;
    limits.seconds = 10;
    const auto bomb = run_python(R"PY(
import os
while True:
    try:
        os.fork()
    except OSError: pass
)PY",
                                 limits);
    EXPECT_EQ(ending_text(bomb), "process limit");
    const auto threads = run_python(R"PY(
import threading, time
for i in range(100):
    threading.Thread(target=time.sleep, args=(60,)).start()
)PY",
                                    limits);
    EXPECT_EQ(ending_text(threads), "process limit") << threads.err;
    const auto some = run_python(
        "import subprocess\nps = [subprocess.Popen(['sleep', '0.2']) for i in range(20)]\n"
        "print(sum(p.wait() for p in ps))",
        limits);
    EXPECT_EQ(some.out, "0\n") << some.err;
  });
}

TEST(Sandbox, EndsMemoryBombs) {
  SKIP_WITHOUT_PYTHON();
  as_root_and_user([] {
    SandboxLimits limits;
    limits.memory_bytes = 200 << 20;
    const auto one = run_python("x = bytearray(300 << 20)\nprint('HAVE')", limits);
    EXPECT_TRUE(one.out.empty());
    EXPECT_NE(one.err.find("MemoryError"), std::string::npos) << one.err;
    const auto many = run_python(R"PY(
import os, time
for i in range(20):
    if os.fork() == 0:
        x = bytearray(b"x") * (60 << 20)
        time.sleep(60)
time.sleep(60)
)PY",
                                 limits);
    EXPECT_EQ(ending_text(many), "memory limit");
    const auto shared = run_python(R"PY(
import mmap, os, time
for i in range(20):
    if os.fork() == 0:
        m = mmap.mmap(-1, 60 << 20)
        m.write(b"x" * (60 << 20))
        time.sleep(60)
time.sleep(60)
)PY",
                                   limits);
    EXPECT_EQ(ending_text(shared), "memory limit");
  });
}

TEST(Sandbox, EndsWhatDoesNotEnd) {
  SKIP_WITHOUT_PYTHON();
  as_root_and_user([] {
    SandboxLimits limits;
    limits.seconds = 1;
    EXPECT_EQ(ending_text(run_python("while True: pass", limits)), "time limit");
    EXPECT_EQ(ending_text(run_python("import time; time.sleep(1000)", limits)), "time limit");
    EXPECT_EQ(ending_text(run_python("import signal\nfor s in range(1, 65):\n  try: signal.signal(s, signal.SIG_IGN)\n  except "
                                     "(OSError, ValueError): pass\nwhile True: pass",
                                     limits)),
              "time limit");
    limits.seconds = 60;
    limits.cpu_seconds = 1;
    EXPECT_EQ(ending_text(run_python("while True: pass", limits)), "time limit");
  });
}

TEST(Sandbox, KeepsABoundedPartOfTheOutput) {
  SKIP_WITHOUT_PYTHON();
  as_root_and_user([] {
    SandboxLimits limits;
    limits.output_bytes = 100000;
    const auto out = run_python("import os\nwhile True: os.write(1, b'x' * 65536)", limits);
    EXPECT_EQ(ending_text(out), "output limit");
    EXPECT_EQ(out.out.size(), 100000u);
    const auto err = run_python("import os\nwhile True: os.write(2, b'x' * 65536)", limits);
    EXPECT_EQ(ending_text(err), "output limit");
    const auto just = run_python("import os\nos.write(1, b'x' * 100000)", limits);
    EXPECT_TRUE(just.done());
    EXPECT_EQ(just.out.size(), 100000u);
  });
}

TEST(Sandbox, CantFillTheDisk) {
  SKIP_WITHOUT_PYTHON();
  as_root_and_user([] {
    SandboxLimits limits;
    limits.disk_bytes = 8 << 20;
    limits.files = 2000;
    const auto many = run_python(R"PY(
import errno
try:
    for i in range(100):
        with open("/tmp/f%d" % i, "wb") as f: f.write(b"x" * (1 << 20))
except OSError as e: print(errno.errorcode[e.errno], i < 10)
)PY",
                                 limits);
    EXPECT_EQ(many.out, "ENOSPC True\n") << many.err;
    const auto one = run_python("f = open('/tmp/f', 'wb')\nf.truncate(1 << 40)", limits);
    EXPECT_FALSE(one.done());
    EXPECT_NE(one.err.find("File too large"), std::string::npos) << one.err;
    const auto files =
        run_python("import os\ni = 0\nwhile True:\n  os.close(os.open('/tmp/%d' % i, os.O_CREAT))\n  i += 1", limits);
    EXPECT_EQ(ending_text(files), "file limit");
  });
}

// Their buffers are the kernel's memory: neither address space nor what is resident counts them.
TEST(Sandbox, EndsHoardsOfSockets) {
  SKIP_WITHOUT_PYTHON();
  as_root_and_user([] {
    const auto o = run_python(R"PY(
import os, socket, time
for i in range(20):
    if os.fork() == 0: break
keep = []
try:
    while True: keep.append(socket.socketpair())
except OSError: pass
time.sleep(60)
)PY");
    EXPECT_EQ(ending_text(o), "file limit");
    const auto few = run_python("import asyncio\nasync def f(): return 7\nprint(asyncio.run(f()))");
    EXPECT_EQ(few.out, "7\n") << few.err;
  });
}

TEST(Sandbox, NothingSurvives) {
  SKIP_WITHOUT_PYTHON();
  as_root_and_user([] {
    const std::string marker = "86391." + std::to_string(getpid());
    const auto o = run_python("marker = '" + marker + R"PY('
import os, subprocess
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv("/usr/bin/sleep", ["sleep", marker])
    os._exit(0)
print("main ends")
)PY");
    EXPECT_TRUE(o.done()) << ending_text(o);
    EXPECT_EQ(o.out, "main ends\n");
    EXPECT_LT(o.seconds, 60);
    EXPECT_EQ(processes_with(marker), 0);
  });
}

TEST(Sandbox, AKilledParentLeavesNoOrphan) {
  as_root_and_user([] {
    const std::string marker = "86392." + std::to_string(getpid());
    const pid_t parent = fork();
    if (parent == 0) {
      SandboxJob job;
      job.command = {"/usr/bin/sleep", marker};
      job.limits.seconds = 600;
      run_in_sandbox(job);
      _exit(0);
    }
    for (int i = 0; i < 400 && processes_with(marker) < 3; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(25));
    EXPECT_GE(processes_with(marker), 3);  // bwrap, its process 1, sleep
    kill(parent, SIGKILL);
    waitpid(parent, nullptr, 0);
    EXPECT_TRUE(gone_soon(marker));
  });
}

// In a user namespace of its own, where it is user `inside`, this process may do to itself what would else be done to the machine: the rest
// of the test, in a copy of it. False: there are no namespaces to try it in.
bool become(const char* inside) {
  const auto put = [](const char* path, const std::string& text) {
    const int fd = open(path, O_WRONLY);
    const bool ok = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    close(fd);
    return ok;
  };
  const std::string uid = std::to_string(geteuid()), gid = std::to_string(getegid());
  return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && put("/proc/self/uid_map", std::string(inside) + " " + uid + " 1") &&
         put("/proc/self/setgroups", "deny") && put("/proc/self/gid_map", std::string(inside) + " " + gid + " 1") &&
         mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

constexpr int kCantTry = 77;

// What Sandbox::create says in a copy of this process that `spoil` has spoilt.
std::string refusal_when(const char* inside, const std::function<bool()>& spoil) {
  const TempDir dir;
  chmod(dir.path().c_str(), 0777);
  const auto copy = testing::run_forked([&] {
    if (!become(inside) || !spoil()) return kCantTry;
    const auto sandbox = Sandbox::create();
    std::ofstream(dir / "said") << (sandbox.ok() ? "it was made" : sandbox.message());
    return 0;
  });
  std::ifstream file(dir / "said");
  std::string said;
  std::getline(file, said);
  return copy.code == kCantTry ? "can't try" : said;
}

bool hide(const char* program) { return mount("/dev/null", program, nullptr, MS_BIND, nullptr) == 0; }

TEST(Sandbox, RefusesToRunWithoutWhatItIsMadeOf) {
  if (refusal_when("1000", [] { return true; }) == "can't try") GTEST_SKIP() << "NO NAMESPACES to try this in";
  EXPECT_EQ(refusal_when("1000", [] { return hide("/usr/bin/bwrap"); }),
            "sandbox: bwrap is missing: install the Debian package bubblewrap");
  EXPECT_EQ(refusal_when("1000", [] { return hide("/usr/bin/prlimit"); }),
            "sandbox: prlimit is missing: install the Debian package util-linux");
  const std::string off = refusal_when("1000", [] {
    std::ofstream file("/proc/sys/user/max_user_namespaces");
    file << "0" << std::flush;
    return file.good();
  });
  EXPECT_EQ(off.rfind("sandbox: bwrap could not make the sandbox: bwrap: ", 0), 0u) << off;
  EXPECT_NE(off.find("; user namespaces are off: sysctl user.max_user_namespaces=10000"), std::string::npos) << off;
  EXPECT_EQ(refusal_when("0", [] { return hide("/usr/bin/setpriv"); }),
            "sandbox: setpriv is missing: install the Debian package util-linux");
  // A root that can become nobody else.
  const std::string root = refusal_when("0", [] { return true; });
  EXPECT_EQ(root.rfind("sandbox: bwrap could not make the sandbox: setpriv: ", 0), 0u) << root;
  EXPECT_NE(root.find("; root must be able to become user 65534"), std::string::npos) << root;
}

TEST(Sandbox, RunsSeveralAtOnce) {
  SKIP_WITHOUT_PYTHON();
  as_root_and_user([] {
    const auto sandbox = Sandbox::create();
    ASSERT_TRUE(sandbox.ok());
    std::vector<std::string> outs(8);
    std::vector<std::thread> threads;
    for (size_t i = 0; i < outs.size(); ++i)
      threads.emplace_back([&, i] {
        SandboxJob job;
        job.command = {"/usr/bin/python3", "-c", "print(input())"};
        job.input = std::to_string(i);
        const auto o = (*sandbox)->run(job);
        outs[i] = o.ok() ? o->out : o.message();
      });
    for (auto& t : threads) t.join();
    for (size_t i = 0; i < outs.size(); ++i) EXPECT_EQ(outs[i], std::to_string(i) + "\n");
  });
}

}  // namespace
}  // namespace raison
