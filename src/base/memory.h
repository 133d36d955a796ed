// How much memory this machine has to give.
#pragma once
#include <cstdint>
#include <optional>

namespace raison {

// What the system says can be used without swapping (MemAvailable), in bytes. None if it says nothing.
std::optional<int64_t> available_memory();

}  // namespace raison
