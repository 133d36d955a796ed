// What the CPU calls itself.
#pragma once
#include <string>

namespace raison {

struct CpuName {
  std::string name = "unknown CPU";  // "AMD EPYC 7B13 64-Core Processor"
  std::string family, model;         // numbers; empty where the system does not tell
  std::string described() const;     // the name, with the numbers in brackets
};
CpuName cpu_name();

}  // namespace raison
