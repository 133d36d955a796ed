#include "train/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
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

Status check_writable(const std::string& folder) {
  if (::access(folder.c_str(), W_OK | X_OK) != 0) return error("{}: cannot write here: {}", folder, std::strerror(errno));
  return {};
}

Result<std::unique_ptr<FolderLock>> FolderLock::take(const std::string& folder) {
  const std::string path = folder + "/.lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return error("{}: cannot write: {}", path, std::strerror(errno));
  std::unique_ptr<FolderLock> lock(new FolderLock(fd));
  // A file system that knows no locks is no reason not to train there.
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    return error("{}: another run is at work in this folder; let it end, or name another folder (out)", folder);
  return lock;
}

FolderLock::~FolderLock() { ::close(fd_); }

Result<std::string> set_file_aside(const std::string& path) {
  const fs::path from(path);
  std::error_code ec;
  for (int n = 1;; ++n) {
    const fs::path to = from.parent_path() / fmt::format("{}.before-{}{}", from.stem().string(), n, from.extension().string());
    if (fs::exists(to, ec)) continue;
    fs::rename(from, to, ec);
    if (ec) return error("{}: cannot rename to {}: {}", path, to.string(), ec.message());
    return to.string();
  }
}

}  // namespace raison
