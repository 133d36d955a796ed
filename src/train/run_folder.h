// The folder of a training run: made so that a power cut does not lose it, and held by one run at a time.
#pragma once
#include <memory>
#include <string>

#include "base/result.h"

namespace raison {

// Creates `path` and what is missing above it; the new entries are durable when it returns. Ok if it is there already.
Status create_folders(const std::string& path);

// Ok if files can be made in it.
Status check_writable(const std::string& folder);

// Holds `folder` for one run as long as it lives, by a lock on the file .lock in it; the kernel frees the lock of a program that
// was killed.
class FolderLock {
 public:
  // Error: another run holds it.
  static Result<std::unique_ptr<FolderLock>> take(const std::string& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

// Renames `path` to the first free of NAME.before-1.EXT, NAME.before-2.EXT, ... and returns that.
Result<std::string> set_file_aside(const std::string& path);

}  // namespace raison
