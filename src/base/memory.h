// How much memory this machine has to give.
#pragma once
#include <cstdint>
#include <optional>

namespace raison {

// What can be used without swapping: what the system says (MemAvailable), or what the memory cgroup of a container leaves, if that is less. In
// bytes. None if neither says anything.
std::optional<int64_t> available_memory();

// What this program holds in memory now (VmRSS), in bytes. None if the system says nothing.
std::optional<int64_t> resident_memory();

}  // namespace raison
