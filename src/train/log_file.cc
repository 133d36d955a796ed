#include "train/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace raison {

LogFile::~LogFile() {
  if (fd_ >= 0) ::close(fd_);
}

Status LogFile::open(const std::string& path, uint64_t bytes) {
  path_ = path;
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0644);
  struct stat s;
  if (fd_ < 0 || ::fstat(fd_, &s) != 0) return error("{}: cannot open: {}", path, std::strerror(errno));
  bytes_ =
      std::min(bytes, static_cast<uint64_t>(s.st_size));  // shorter if somebody removed it: the log is no part of the model
  if (::ftruncate(fd_, static_cast<off_t>(bytes_)) != 0) return error("{}: cannot cut back: {}", path, std::strerror(errno));
  return {};
}

Status LogFile::append(std::string_view line) {
  for (size_t done = 0; done < line.size();) {
    const ssize_t n = ::write(fd_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error("{}: cannot write: {}", path_, std::strerror(errno));
    done += static_cast<size_t>(n);
  }
  bytes_ += line.size();
  return {};
}

Result<uint64_t> LogFile::sync() {
  if (::fsync(fd_) != 0) return error("{}: cannot sync: {}", path_, std::strerror(errno));
  return bytes_;
}

}  // namespace raison
