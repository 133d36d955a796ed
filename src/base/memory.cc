#include "base/memory.h"

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

}  // namespace

std::optional<int64_t> available_memory() { return kilobytes_of("/proc/meminfo", "MemAvailable:"); }

std::optional<int64_t> resident_memory() { return kilobytes_of("/proc/self/status", "VmRSS:"); }

}  // namespace raison
