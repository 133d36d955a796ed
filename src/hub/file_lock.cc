#include "hub/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace raison {

Result<std::unique_ptr<FileLock>> FileLock::try_take(const std::string& path) {
  std::error_code ec;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ec);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0664);
    if (fd < 0) return error("{}: cannot lock: {}", path, strerror(errno));
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      const int why = errno;
      ::close(fd);
      if (why == EINTR) continue;
      if (why == EWOULDBLOCK) return std::unique_ptr<FileLock>();
      return error("{}: cannot lock: {}", path, strerror(why));
    }
    // A client that removes its lock file when it is done may have done so between our two calls.
    struct stat held = {}, named = {};
    if (::fstat(fd, &held) == 0 && ::stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
        held.st_dev == named.st_dev)
      return std::unique_ptr<FileLock>(new FileLock(fd));
    ::close(fd);
  }
  return std::unique_ptr<FileLock>();
}

FileLock::~FileLock() { ::close(fd_); }

}  // namespace raison
