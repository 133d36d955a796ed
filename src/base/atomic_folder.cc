#include "base/atomic_folder.h"

#include <fcntl.h>
#include <stdio.h>

#include <filesystem>

#include "base/file.h"

namespace raison {
namespace {
namespace fs = std::filesystem;

// `temp` takes the place of `path`, which exists.
Status exchange_folders(const std::string& temp, const std::string& path) {
  std::error_code ec;
  if (::renameat2(AT_FDCWD, temp.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) {
    fs::remove_all(temp, ec);  // now the old one
    return {};
  }
  const std::string old = temp + ".old";  // a file system that cannot exchange
  fs::remove_all(old, ec);
  fs::rename(path, old, ec);
  if (ec) return error("{}: cannot replace: {}", path, ec.message());
  fs::rename(temp, path, ec);
  if (ec) return error("{}: cannot rename to {}: {}", temp, path, ec.message());
  fs::remove_all(old, ec);
  return {};
}
}  // namespace

Result<std::unique_ptr<AtomicFolder>> AtomicFolder::create(const std::string& path) {
  fs::path target = fs::path(path).lexically_normal();
  if (target.filename().empty()) target = target.parent_path();
  if (target.filename().empty() || target.filename() == "." || target.filename() == "..")
    return error("{}: is no name for a new folder", path);
  const fs::path parent = target.has_parent_path() ? target.parent_path() : fs::path(".");
  std::error_code ec;
  fs::create_directories(parent, ec);
  if (ec) return error("{}: cannot create the folder: {}", parent.string(), ec.message());
  const std::string temp = (parent / (".writing-" + target.filename().string())).string();
  fs::remove_all(temp, ec);
  if (!fs::create_directory(temp, ec)) return error("{}: cannot create the folder: {}", temp, ec.message());
  return std::unique_ptr<AtomicFolder>(new AtomicFolder(target.string(), temp));
}

AtomicFolder::~AtomicFolder() {
  std::error_code ec;
  if (!committed_) fs::remove_all(temp_, ec);
}

Status AtomicFolder::commit() {
  RAISON_RETURN_IF_ERROR(sync_directory(temp_));
  std::error_code ec;
  if (fs::exists(path_, ec)) {
    RAISON_RETURN_IF_ERROR(exchange_folders(temp_, path_));
  } else {
    fs::rename(temp_, path_, ec);
    if (ec) return error("{}: cannot rename to {}: {}", temp_, path_, ec.message());
  }
  committed_ = true;
  const fs::path parent = fs::path(path_).parent_path();
  return sync_directory(parent.empty() ? "." : parent.string());
}

}  // namespace raison
