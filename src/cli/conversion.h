// What `quantize` and `convert` share: a progress bar, a summary.
#pragma once
#include <chrono>
#include <string>

#include "convert/convert.h"

namespace raison::cli {

// A bar on stderr if that is a terminal; Ctrl+C stops the work.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();  // wipes the bar
  Progress callback();

 private:
  void show(uint64_t done, uint64_t total);
  std::chrono::steady_clock::time_point begin_, shown_;
  bool visible_ = false;
};

std::string conversion_text(const Converted& done, const std::string& out);

// Runs `work` with threads and a bar, prints the summary. The value is the exit code.
Result<int> run_conversion(int threads, const std::string& out,
                           const std::function<Result<Converted>(Exec& exec, const Progress& progress)>& work);

}  // namespace raison::cli
