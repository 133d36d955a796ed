// The shared model folders, whatever they are.
#pragma once
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "io/model_files.h"
#include "testing/shared_data.h"

namespace raison::testing {

inline std::vector<std::string> model_folders() {
  namespace fs = std::filesystem;
  std::vector<std::string> out;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(shared_dir() + "/goldens", ec))
    if (fs::exists(entry.path() / "config.json", ec)) out.push_back(entry.path().string());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace raison::testing
