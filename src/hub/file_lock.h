// A lock that ends with its process, on a file of the cache's .locks/, as the hub's own clients take it (flock).
#pragma once
#include <memory>
#include <string>

#include "base/result.h"

namespace raison {

class FileLock {
 public:
  // Null if another process (or another FileLock) holds it. The file's folder is made.
  static Result<std::unique_ptr<FileLock>> try_take(const std::string& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace raison
