#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace raison {
namespace {
std::string reason() { return std::strerror(errno); }
std::string folder_of(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}
}  // namespace

Result<std::shared_ptr<MappedFile>> MappedFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return error("{}: cannot open: {}", path, reason());
  struct stat st {};
  if (::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    ::close(fd);
    return error("{}: not a regular file", path);
  }
  const auto size = static_cast<size_t>(st.st_size);
  const uint8_t* data = nullptr;
  if (size > 0) {
    // A checkpoint may be many times larger than memory and swap: only what is read may count.
    void* p = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    if (p == MAP_FAILED) {
      const std::string why = reason();
      ::close(fd);
      return error("{}: cannot map {} bytes: {}", path, size, why);
    }
    data = static_cast<const uint8_t*>(p);
  }
  ::close(fd);
  return std::shared_ptr<MappedFile>(new MappedFile(path, data, size));
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<uint8_t*>(data_), size_);
}

void MappedFile::release(size_t offset, size_t bytes) const {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t begin = (offset + page - 1) / page * page;
  const size_t end = std::min(offset + bytes, size_) / page * page;
  if (begin < end) ::madvise(const_cast<uint8_t*>(data_) + begin, end - begin, MADV_DONTNEED);
}

Result<std::string> read_file(const std::string& path, size_t max_bytes) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return error("{}: cannot open: {}", path, reason());
  struct stat st {};
  if (::fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
    ::close(fd);
    return error("{}: is a folder, a file was expected", path);
  }
  std::string out;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const std::string why = reason();
      ::close(fd);
      return error("{}: cannot read: {}", path, why);
    }
    if (n == 0) break;
    if (out.size() + static_cast<size_t>(n) > max_bytes) {
      ::close(fd);
      return error("{}: larger than {} bytes", path, max_bytes);
    }
    out.append(buffer, static_cast<size_t>(n));
  }
  ::close(fd);
  return out;
}

Status check_free_space(const std::string& path, uint64_t bytes) {
  struct statvfs fs {};
  if (::statvfs(folder_of(path).c_str(), &fs) != 0 || fs.f_blocks == 0) return {};  // not every file system tells
  uint64_t free;
  if (__builtin_mul_overflow(uint64_t{fs.f_bavail}, uint64_t{fs.f_frsize}, &free) || bytes <= free) return {};
  return error("{}: cannot write: {} bytes are needed, {} are free there", path, bytes, free);
}

Result<std::unique_ptr<AtomicFile>> AtomicFile::create(const std::string& given, uint64_t expected) {
  static std::atomic<uint64_t> counter{0};
  std::string path = given;
  struct stat st;
  if (::stat(given.c_str(), &st) == 0) {
    // A rename would put a file in the place of a device, a pipe or a link, and nobody wants that.
    if (S_ISDIR(st.st_mode)) return error("{}: is a folder, a file was expected", given);
    if (!S_ISREG(st.st_mode)) return error("{}: is no regular file; name one, it is written whole or not at all", given);
    char* real = ::realpath(given.c_str(), nullptr);
    if (!real) return error("{}: cannot write: {}", given, reason());
    path = real;
    ::free(real);
  }
  RAISON_RETURN_IF_ERROR(check_free_space(path, expected));
  std::string temp = fmt::format("{}.{}.{}.tmp", path, ::getpid(), counter++);
  const int fd = ::open(temp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return error("{}: cannot write: {}", path, reason());
  return std::unique_ptr<AtomicFile>(new AtomicFile(path, std::move(temp), fd));
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temp_.empty()) ::unlink(temp_.c_str());
}

Status AtomicFile::append(const void* data, size_t bytes) {
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(fd_, p, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error("{}: cannot write: {}", path_, reason());
    p += n;
    bytes -= static_cast<size_t>(n);
  }
  return {};
}

Status AtomicFile::commit() {
  if (::fsync(fd_) != 0) return error("{}: cannot write: {}", path_, reason());
  const int closed = ::close(fd_);
  fd_ = -1;
  if (closed != 0) return error("{}: cannot write: {}", path_, reason());
  if (::rename(temp_.c_str(), path_.c_str()) != 0) return error("{}: cannot rename into place: {}", path_, reason());
  temp_.clear();
  return sync_directory(folder_of(path_));
}

Status write_file_atomic(const std::string& path, std::string_view bytes) {
  RAISON_ASSIGN(auto file, AtomicFile::create(path));
  RAISON_RETURN_IF_ERROR(file->append(bytes.data(), bytes.size()));
  return file->commit();
}

Status sync_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return error("{}: cannot open folder: {}", path, reason());
  const int r = ::fsync(fd);
  const std::string why = r != 0 ? reason() : "";
  ::close(fd);
  if (r != 0 && why != "Invalid argument") return error("{}: cannot sync folder: {}", path, why);
  return {};
}

}  // namespace raison
