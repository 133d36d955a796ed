#include "base/thread_pool.h"

#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace raison {
namespace {
constexpr int kSlots = 4;
constexpr int kSpins = 2000;  // about 50-100 us of spinning before a worker parks

inline void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}
}  // namespace

struct ThreadPool::Impl {
  struct Buffer {
    void* data = nullptr;
    size_t bytes = 0;
  };
  int threads = 1;
  std::vector<std::thread> workers;
  std::vector<std::array<Buffer, kSlots>> buffers;

  // One job at a time. A worker that sees `generation` change tries for one of the job's `seats`; with a seat it takes items
  // from `next` until none is left, then counts itself out in `pending`. When the caller finds no item left it closes the
  // seats nobody took and waits for the others only. fn, arg and items are read with a seat in hand, so they are those of the
  // job the seat belongs to, however late the worker comes; and no job is changed while somebody has a seat in it.
  std::atomic<uint64_t> generation{0};
  std::atomic<int64_t> next{0};
  std::atomic<int> seats{0}, pending{0};
  std::atomic<bool> stop{false};
  Fn fn = nullptr;
  void* arg = nullptr;
  int64_t items = 0;
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<int> parked{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;  // the first of a job; written by whoever set `failed`

  // What fn throws (no memory for scratch) ends the job and is thrown again where it was asked for, by run().
  void work(int worker) {
    try {
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < items;) fn(arg, i, worker);
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
      next.store(items, std::memory_order_relaxed);
    }
  }

  void loop(int worker) {
    uint64_t seen = 0;
    for (;;) {
      int spins = 0;
      while (generation.load(std::memory_order_acquire) == seen && !stop.load(std::memory_order_relaxed)) {
        if (++spins < kSpins) {
          cpu_relax();
          continue;
        }
        std::unique_lock lock(mutex);
        parked.fetch_add(1);
        wake.wait(lock, [&] { return generation.load() != seen || stop.load(); });
        parked.fetch_sub(1);
      }
      if (stop.load(std::memory_order_relaxed)) return;
      seen = generation.load(std::memory_order_acquire);
      int free = seats.load(std::memory_order_relaxed);
      while (free > 0 && !seats.compare_exchange_weak(free, free - 1, std::memory_order_acquire, std::memory_order_relaxed)) {}
      if (free == 0) continue;
      work(worker);
      pending.fetch_sub(1, std::memory_order_release);
    }
  }
};

ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>()) {
  impl_->threads = std::clamp(threads, 1, 256);
  impl_->buffers.resize(impl_->threads);
  impl_->workers.reserve(static_cast<size_t>(impl_->threads) - 1);  // may throw while no thread runs yet, not later
  // Workers take no signals: a handler runs on a thread of the program's own, which it may want to interrupt.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    for (int w = 1; w < impl_->threads; ++w) impl_->workers.emplace_back([this, w] { impl_->loop(w); });
  } catch (const std::system_error&) {  // no more threads to be had: fewer give the same bits
  } catch (const std::bad_alloc&) {}
  impl_->threads = static_cast<int>(impl_->workers.size()) + 1;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
  }
  impl_->wake.notify_all();
  for (auto& t : impl_->workers) t.join();
  for (auto& row : impl_->buffers)
    for (auto& b : row) ::operator delete(b.data, std::align_val_t(64));
}

int ThreadPool::threads() const { return impl_->threads; }

void ThreadPool::run(int64_t items, Fn fn, void* arg) {
  if (items <= 0) return;
  Impl& p = *impl_;
  if (p.threads == 1 || items == 1) {
    for (int64_t i = 0; i < items; ++i) fn(arg, i, 0);
    return;
  }
  p.fn = fn;
  p.arg = arg;
  p.items = items;
  p.next.store(0, std::memory_order_relaxed);
  const int seats = static_cast<int>(std::min<int64_t>(items, p.threads)) - 1;
  p.pending.store(seats, std::memory_order_relaxed);
  p.seats.store(seats, std::memory_order_release);
  p.generation.fetch_add(1);
  if (p.parked.load() > 0) {
    { std::lock_guard lock(p.mutex); }  // a worker between its check and its wait is past it once we hold the lock
    for (int i = 0; i < seats; ++i) p.wake.notify_one();
  }
  p.work(0);
  p.pending.fetch_sub(p.seats.exchange(0, std::memory_order_relaxed), std::memory_order_relaxed);
  for (int spins = 0; p.pending.load(std::memory_order_acquire) != 0;) {
    if (++spins < kSpins) {
      cpu_relax();
    } else {
      std::this_thread::yield();  // more threads than cores: let the others finish
    }
  }
  if (p.failed.load(std::memory_order_relaxed)) {
    p.failed.store(false, std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(p.failure, nullptr));
  }
}

void* ThreadPool::scratch(int worker, int slot, size_t bytes) {
  Impl::Buffer& b = impl_->buffers[worker][slot];
  if (b.bytes < bytes) {
    ::operator delete(b.data, std::align_val_t(64));
    b.data = nullptr;
    const size_t grown = std::max(bytes, b.bytes * 2);
    b.bytes = 0;
    b.data = ::operator new(grown, std::align_val_t(64));
    b.bytes = grown;
  }
  return b.data;
}

int ThreadPool::default_threads() {
  int n = 1;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) n = CPU_COUNT(&set);
  std::ifstream quota("/sys/fs/cgroup/cpu.max");
  std::string max;
  double period = 0;
  if (quota >> max >> period && max != "max" && period > 0) {
    n = std::min(n, std::max(1, static_cast<int>(std::strtod(max.c_str(), nullptr) / period + 0.5)));
  }
  return std::max(1, n);
}

}  // namespace raison
