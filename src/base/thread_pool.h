// Thread pool: workers spin for a while after a job, then park. The calling thread is worker 0. What an item throws ends the job
// (other items may or may not have run) and is thrown by run().
#pragma once
#include <memory>

#include "base/exec.h"

namespace raison {

class ThreadPool final : public Exec {
 public:
  explicit ThreadPool(int threads);  // clamped to [1, 256]
  ~ThreadPool() override;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  int threads() const override;
  // Not reentrant: fn must not call run() of the same pool.
  void run(int64_t items, Fn fn, void* arg) override;
  void* scratch(int worker, int slot, size_t bytes) override;
  // CPUs this process may use (affinity and cgroup quota respected), at least 1.
  static int default_threads();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace raison
