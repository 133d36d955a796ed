// Where the shared test data lies: $RAISON_SHARED, else ../shared beside the repository.
#pragma once
#include <cstdlib>
#include <string>

namespace raison::testing {

inline std::string shared_dir() {
  const char* set = std::getenv("RAISON_SHARED");
  return set != nullptr && *set != '\0' ? set : RAISON_SOURCE_DIR "/../shared";
}

// Why a test that reads `path` is skipped.
inline std::string missing(const std::string& path) { return "NO SHARED DATA: " + path + " is missing; set RAISON_SHARED"; }

}  // namespace raison::testing
