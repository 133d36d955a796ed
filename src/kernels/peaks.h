// What this machine gives at this moment: operations a second in registers, bytes a second from memory, on the threads that compute.
// Shared machines drift, so a speed is worth something only beside peaks taken in the same minute.
#pragma once
#include <functional>
#include <memory>

#include "base/exec.h"
#include "base/result.h"
#include "kernels/kernel_table.h"
#include "kernels/peak_loops.h"

namespace raison {

struct Peaks {
  double fp32 = 0;  // operations a second of FMAs, two each; 0: not known on this CPU
  double int8 = 0;  // operations a second on bytes, two a product, as the block types' kernels multiply; 0: not known
  double read = 0;  // bytes a second
};
Peaks best_of(const Peaks& a, const Peaks& b);  // of each the higher

double steady_seconds();
// Seconds of one call: the best of as many batches as fit into `budget` seconds of the clock `now`.
double best_time(double budget, const std::function<void()>& f, double (*now)() = steady_seconds);

class PeakMeter {
 public:
  // `bytes` of memory that are read, 0: more than the CPU's caches hold. Error: there are not so many.
  static Result<PeakMeter> create(Exec& exec, const KernelTable& kernels, int64_t bytes = 0);
  // About 3 * budget seconds, all threads at once, as the kernels run. The vectors are as wide as those of `kernels`; beside ref's
  // scalar code stand those of AVX2, or SSE2 where there is none.
  Peaks measure(double budget, double (*now)() = steady_seconds) const;

 private:
  PeakMeter(Exec& exec, const PeakLoops& loops) : exec_(&exec), loops_(&loops) {}
  Exec* exec_;
  const PeakLoops* loops_;
  std::shared_ptr<Storage> memory_;
};

}  // namespace raison
