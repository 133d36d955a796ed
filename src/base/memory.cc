#include "base/memory.h"

#include <fstream>
#include <string>

namespace raison {

std::optional<int64_t> available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  for (int64_t kib = 0; file >> key >> kib; std::getline(file, unit))
    if (key == "MemAvailable:") return kib * 1024;
  return std::nullopt;
}

}  // namespace raison
