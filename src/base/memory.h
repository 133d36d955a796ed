// How much memory this machine has to give.
#pragma once
#include <cstdint>
#include <optional>

namespace raison {

// What the system says can be used without swapping (MemAvailable), in bytes. None if it says nothing.
std::optional<int64_t> available_memory();

// What this program holds in memory now (VmRSS), in bytes. None if the system says nothing.
std::optional<int64_t> resident_memory();

}  // namespace raison
