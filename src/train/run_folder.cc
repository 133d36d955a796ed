#include "train/run_folder.h"

#include <filesystem>
#include <vector>

#include "base/file.h"

namespace raison {
namespace {
namespace fs = std::filesystem;
}  // namespace

Status create_folders(const std::string& path) {
  std::error_code ec;
  std::vector<fs::path> missing;
  for (fs::path p = fs::path(path).lexically_normal(); !p.empty() && !fs::exists(p, ec); p = p.parent_path()) {
    if (p.has_filename()) missing.push_back(p);  // "a/" and "a" are one folder
    if (p == p.parent_path()) break;
  }
  fs::create_directories(path, ec);
  if (ec) return error("{}: cannot create the folder: {}", path, ec.message());
  for (const fs::path& p : missing)
    RAISON_RETURN_IF_ERROR(sync_directory(p.has_parent_path() ? p.parent_path().string() : "."));
  return {};
}

}  // namespace raison
