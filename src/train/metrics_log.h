// MetricsLog: metrics.jsonl, one JSON object per step, whose length is part of a checkpoint.
#pragma once
#include <string>

#include "base/result.h"

namespace raison {

struct StepMetrics;

class MetricsLog {
 public:
  MetricsLog() = default;
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;
  // Cuts the file to `bytes` (what stands after belongs to steps that will be made again) and appends from there.
  Status open(const std::string& path, uint64_t bytes);
  Status append(const StepMetrics& metrics);
  Result<uint64_t> sync();  // durable; returns the length

 private:
  std::string path_;
  int fd_ = -1;
  uint64_t bytes_ = 0;
};

}  // namespace raison
