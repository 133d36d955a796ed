#include "verify/process_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "verify/subprocess.h"

namespace raison {
namespace {

// A file of /proc, at most `most` bytes of it; "" if it can't be read.
std::string proc_text(const std::string& path, size_t most = 65536) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char part[4096];
  while (fd.open() && text.size() < most) {
    const ssize_t n = read(fd.get(), part, sizeof part);
    if (n <= 0) break;
    text.append(part, static_cast<size_t>(n));
  }
  return text;
}

// The numbers of a folder's entries.
std::vector<pid_t> numbers_in(const std::string& folder) {
  std::vector<pid_t> out;
  DIR* d = opendir(folder.c_str());
  if (d == nullptr) return out;
  while (const dirent* entry = readdir(d))
    if (const pid_t n = atoi(entry->d_name); n > 0) out.push_back(n);
  closedir(d);
  return out;
}

// "RssAnon:     1234 kB" of /proc/PID/status, in bytes.
int64_t status_bytes(std::string_view status, std::string_view key) {
  const size_t at = status.find(key);
  if (at == std::string_view::npos) return 0;
  status.remove_prefix(at + key.size());
  status.remove_prefix(std::min(status.find_first_not_of(" \t"), status.size()));
  int64_t kib = 0;
  std::from_chars(status.data(), status.data() + status.size(), kib);
  return kib * 1024;
}

void add_children(const std::string& tasks_folder, pid_t task, std::vector<pid_t>* processes) {
  const std::string children = proc_text(tasks_folder + "/" + std::to_string(task) + "/children");
  const char* at = children.data();
  const char* end = at + children.size();
  while (at < end) {
    pid_t child = 0;
    const auto [next, fault] = std::from_chars(at, end, child);
    if (fault != std::errc()) break;
    processes->push_back(child);
    at = next + 1;
  }
}

}  // namespace

TreeUsage tree_usage(pid_t root, int64_t most_tasks) {
  TreeUsage usage;
  std::vector<pid_t> processes = {root};
  for (size_t i = 0; i < processes.size() && usage.tasks <= most_tasks; ++i) {
    const std::string folder = "/proc/" + std::to_string(processes[i]);
    const std::string tasks_folder = folder + "/task";
    for (const pid_t task : numbers_in(tasks_folder)) {
      ++usage.tasks;
      add_children(tasks_folder, task, &processes);
    }
    const std::string status = proc_text(folder + "/status");
    for (const char* key : {"\nRssAnon:", "\nRssShmem:", "\nVmSwap:", "\nVmPTE:"})
      usage.memory_bytes += status_bytes(status, key);
  }
  return usage;
}

bool tree_usage_works() {
  const std::string me = std::to_string(getpid());
  return access(("/proc/" + me + "/task/" + me + "/children").c_str(), R_OK) == 0;
}

int64_t sockets_of(pid_t root) {
  constexpr std::string_view kBegin = "sockets: used ";
  const std::string text = proc_text("/proc/" + std::to_string(root) + "/net/sockstat");
  int64_t used = 0;
  if (text.rfind(kBegin, 0) == 0) std::from_chars(text.data() + kBegin.size(), text.data() + text.size(), used);
  return used;
}

int64_t files_below(pid_t root, const char* path, int64_t size) {
  struct statfs s = {};
  if (statfs(("/proc/" + std::to_string(root) + "/root" + path).c_str(), &s) != 0) return 0;
  const auto page = static_cast<int64_t>(s.f_bsize);
  const bool it = s.f_type == TMPFS_MAGIC && static_cast<int64_t>(s.f_blocks) == (size + page - 1) / page;
  return it ? static_cast<int64_t>(s.f_files) - static_cast<int64_t>(s.f_ffree) : 0;
}

}  // namespace raison
