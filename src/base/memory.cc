#include "base/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

namespace raison {

namespace {

// A line "KEY: N kB" of a file of /proc, in bytes.
std::optional<int64_t> kilobytes_of(const char* path, const char* wanted) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(wanted, 0) != 0) continue;
    return std::strtoll(line.c_str() + std::strlen(wanted), nullptr, 10) * 1024;
  }
  return std::nullopt;
}

std::optional<int64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  int64_t n = 0;
  if (file >> n) return n;
  return std::nullopt;  // no such file, or "max"
}

// What the memory cgroup leaves: its bound less what is in use, of which file pages that nobody has touched lately can be given back.
std::optional<int64_t> cgroup_memory(const std::string& folder, const char* bound, const char* use, const char* inactive) {
  const auto limit = number_in(folder + bound), used = number_in(folder + use);
  if (!limit || !used || *limit >= int64_t{1} << 60) return std::nullopt;
  int64_t idle = 0;
  std::ifstream stat(folder + "memory.stat");
  std::string key;
  for (int64_t n = 0; stat >> key >> n;)
    if (key == inactive) idle = n;
  return std::max<int64_t>(0, *limit - *used + idle);
}

}  // namespace

std::optional<int64_t> available_memory() {
  std::optional<int64_t> least;
  for (const auto& said :
       {kilobytes_of("/proc/meminfo", "MemAvailable:"),
        cgroup_memory("/sys/fs/cgroup/", "memory.max", "memory.current", "inactive_file"),
        cgroup_memory("/sys/fs/cgroup/memory/", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")})
    if (said && (!least || *said < *least)) least = said;
  return least;
}

std::optional<int64_t> resident_memory() { return kilobytes_of("/proc/self/status", "VmRSS:"); }

}  // namespace raison
