// LogFile: a file that a run appends to, whose length is part of a checkpoint.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace raison {

class LogFile {
 public:
  LogFile() = default;
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;
  // Cuts the file to `bytes` (what stands after belongs to steps that will be made again) and appends from there.
  Status open(const std::string& path, uint64_t bytes);
  Status append(std::string_view bytes);
  Result<uint64_t> sync();  // durable; returns the length
  uint64_t bytes() const { return bytes_; }

 private:
  std::string path_;
  int fd_ = -1;
  uint64_t bytes_ = 0;
};

}  // namespace raison
