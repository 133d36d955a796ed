#include "base/cpu.h"

#include <fmt/format.h>

#include <fstream>

namespace raison {

CpuName cpu_name() {
  CpuName cpu;
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line) && !line.empty();) {  // up to the second CPU
    const size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, line.find_first_of("\t:")), value = line.substr(colon + 2);
    if (key == "model name") cpu.name = value;
    if (key == "cpu family") cpu.family = value;
    if (key == "model") cpu.model = value;
  }
  return cpu;
}

std::string CpuName::described() const {
  return family.empty() ? name : fmt::format("{} (family {}, model {})", name, family, model);
}

}  // namespace raison
