// Files: mapped reading, whole reading, and writing that never leaves a half file (temporary file, fsync, rename).
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace raison {

// A read-only mapping of a whole file, of any size: no page is read and no memory set aside before it is used. Shared by
// everything that points into it.
class MappedFile {
 public:
  static Result<std::shared_ptr<MappedFile>> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  const std::string& path() const { return path_; }
  // Tells the kernel that [offset, offset+bytes) is not needed soon (its pages can be read again from the file).
  void release(size_t offset, size_t bytes) const;

 private:
  MappedFile(std::string path, const uint8_t* data, size_t size) : path_(std::move(path)), data_(data), size_(size) {}
  std::string path_;
  const uint8_t* data_;
  size_t size_;
};

// The whole file as a string; refused if larger than max_bytes.
Result<std::string> read_file(const std::string& path, size_t max_bytes = size_t{1} << 30);

// Writes `path` by a temporary file in the same folder, fsync, rename, fsync of the folder. A symbolic link stays, its target is
// replaced; a folder, device or pipe is refused.
Status write_file_atomic(const std::string& path, std::string_view bytes);

// Error if the file system that would hold `path` has fewer than `bytes` left for this user.
Status check_free_space(const std::string& path, uint64_t bytes);

// Streaming form of the same: append(), then commit(); destroyed without commit() it removes the temporary file.
class AtomicFile {
 public:
  // `expected`: bytes that will be written, if known; there must be room for them.
  static Result<std::unique_ptr<AtomicFile>> create(const std::string& path, uint64_t expected = 0);
  ~AtomicFile();
  Status append(const void* data, size_t bytes);
  Status commit();

 private:
  AtomicFile(std::string path, std::string temp, int fd) : path_(std::move(path)), temp_(std::move(temp)), fd_(fd) {}
  std::string path_, temp_;
  int fd_;
};

// fsync of a folder, so that renames in it are durable.
Status sync_directory(const std::string& path);

}  // namespace raison
