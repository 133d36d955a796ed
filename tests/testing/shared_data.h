// Where the shared test data lies: $RAISON_SHARED, else ../shared beside the repository.
#pragma once
#include <cstdlib>
#include <string>

namespace raison::testing {

inline std::string shared_dir() {
  const char* set = std::getenv("RAISON_SHARED");
  return set != nullptr && *set != '\0' ? set : RAISON_SOURCE_DIR "/../shared";
}

}  // namespace raison::testing
