// The pool runs every item exactly once, however short the runs and however many the threads.
#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

namespace raison {
namespace {

struct Job {
  std::vector<std::atomic<int>> count;
  std::atomic<bool> worker_in_range{true};
  int threads;
  Job(int64_t items, int of) : count(static_cast<size_t>(items)), threads(of) {}
  static void run(void* arg, int64_t item, int worker) {
    auto& job = *static_cast<Job*>(arg);
    job.count[static_cast<size_t>(item)].fetch_add(1);
    if (worker < 0 || worker >= job.threads) job.worker_in_range = false;
  }
  bool each_once() const {
    for (const auto& c : count)
      if (c.load() != 1) return false;
    return true;
  }
};

TEST(ThreadPoolTest, EveryItemRunsExactlyOnce) {
  for (int threads = 1; threads <= 8; ++threads) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int64_t items : {0, 1, 2, 3, 7, 8, 9, 100, 10000}) {
      Job job(items, threads);
      pool.run(items, Job::run, &job);
      ASSERT_TRUE(job.each_once()) << threads << " threads, " << items << " items";
      ASSERT_TRUE(job.worker_in_range);
    }
  }
}

TEST(ThreadPoolTest, ManyShortRunsLoseNothing) {
  for (int threads = 2; threads <= 8; threads += 2) {
    ThreadPool pool(threads);
    for (int i = 0; i < 1000; ++i) {
      Job job(1 + i % 9, threads);
      pool.run(1 + i % 9, Job::run, &job);
      ASSERT_TRUE(job.each_once()) << threads << " threads, run " << i;
    }
  }
}

// Workers that come late, twice or not at all to runs of a few items, some of which throw.
TEST(ThreadPoolTest, ShortRunsOfEverySizeOneAfterTheOther) {
  struct Round {
    std::vector<int>* seen;  // no atomics: a late worker would be a race, and would write an old number
    int number;
    int64_t throws;
  };
  for (int threads : {2, 3, 8}) {
    ThreadPool pool(threads);
    std::vector<int> seen(40, -1);
    for (int i = 0; i < 4000; ++i) {
      const int64_t items = 1 + i % 40;
      Round round{&seen, i, i % 7 == 0 ? i % items : -1};
      const auto item = [](void* arg, int64_t at, int) {
        auto& r = *static_cast<Round*>(arg);
        (*r.seen)[static_cast<size_t>(at)] = r.number;
        if (at == r.throws) throw std::bad_alloc();
      };
      if (round.throws >= 0) {
        ASSERT_THROW(pool.run(items, item, &round), std::bad_alloc);
        continue;
      }
      pool.run(items, item, &round);
      for (int64_t at = 0; at < items; ++at) ASSERT_EQ(seen[static_cast<size_t>(at)], i) << threads << " threads, item " << at;
      if (i % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(3));  // some have parked
    }
  }
}

// A run of two items needs one worker at most, and 198 others find no seat, again and again.
TEST(ThreadPoolTest, ShortRunsOnManyThreads) {
  ThreadPool pool(200);
  std::atomic<int> done{0};
  for (int i = 0; i < 500; ++i) {
    pool.run(
        2, [](void* arg, int64_t, int) { static_cast<std::atomic<int>*>(arg)->fetch_add(1); }, &done);
    ASSERT_EQ(done.load(), 2 * (i + 1));
  }
}

TEST(ThreadPoolTest, WakesWorkersThatHaveParked) {
  ThreadPool pool(3);
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // beyond the spinning
    Job job(50, 3);
    pool.run(50, Job::run, &job);
    ASSERT_TRUE(job.each_once());
  }
}

TEST(ThreadPoolTest, WhatARunWroteIsSeenAfterIt) {
  ThreadPool pool(4);
  std::vector<int> plain(1000);  // no atomics: run() itself must order the writes
  struct Arg {
    std::vector<int>* out;
    int round;
  };
  for (int round = 1; round <= 200; ++round) {
    Arg arg{&plain, round};
    pool.run(
        1000,
        [](void* a, int64_t i, int) { (*static_cast<Arg*>(a)->out)[static_cast<size_t>(i)] += static_cast<Arg*>(a)->round; },
        &arg);
  }
  for (int v : plain) ASSERT_EQ(v, 200 * 201 / 2);
}

TEST(ThreadPoolTest, SeveralThreadsWorkAtOnce) {
  ThreadPool pool(2);
  std::atomic<int> inside{0};
  // Each item waits for the other one: one thread alone would never come out (the wait is bounded all the same).
  pool.run(
      2,
      [](void* arg, int64_t, int) {
        auto& n = *static_cast<std::atomic<int>*>(arg);
        n.fetch_add(1);
        const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (n.load() < 2 && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
        if (n.load() < 2) n = -100;
      },
      &inside);
  EXPECT_EQ(inside.load(), 2);
}

TEST(ThreadPoolTest, WaitsForTheSlowestItem) {
  ThreadPool pool(4);
  struct Shared {
    std::atomic<int> inside{0}, done{0};
  };
  for (int i = 0; i < 5; ++i) {
    Shared shared;
    pool.run(
        2,
        [](void* arg, int64_t, int worker) {
          auto& s = *static_cast<Shared*>(arg);
          s.inside.fetch_add(1);
          const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
          while (s.inside.load() < 2 && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
          if (worker != 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the caller is long through
          s.done.fetch_add(1);
        },
        &shared);
    ASSERT_EQ(shared.done.load(), 2);
  }
}

TEST(ThreadPoolTest, ScratchIsAlignedPrivateAndGrows) {
  ThreadPool pool(3);
  std::vector<void*> all;
  for (int worker = 0; worker < 3; ++worker)
    for (int slot = 0; slot < 4; ++slot) {
      void* p = pool.scratch(worker, slot, 1000);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u);
      std::memset(p, worker * 4 + slot, 1000);
      all.push_back(p);
    }
  for (size_t i = 0; i < all.size(); ++i)
    for (int b = 0; b < 1000; ++b) ASSERT_EQ(static_cast<uint8_t*>(all[i])[b], i);  // nobody's bytes overlap
  EXPECT_EQ(pool.scratch(1, 2, 500), all[6]);                                       // smaller requests keep the buffer
  void* grown = pool.scratch(1, 2, 1 << 20);
  std::memset(grown, 1, 1 << 20);
  EXPECT_EQ(static_cast<uint8_t*>(all[5])[999], 5);
}

// No memory for a buffer must reach whoever asked for the work, not end the program; the pool goes on.
TEST(ThreadPoolTest, WhatAnItemThrowsReachesTheCaller) {
  for (int threads : {1, 3}) {
    ThreadPool pool(threads);
    const auto count = [](void* arg, int64_t, int) { static_cast<std::atomic<int>*>(arg)->fetch_add(1); };
    for (int round = 0; round < 50; ++round) {
      std::atomic<int> done{0};
      EXPECT_THROW(pool.run(
                       40,
                       [](void*, int64_t i, int) {
                         if (i % 13 == 7) throw std::bad_alloc();
                       },
                       nullptr),
                   std::bad_alloc);
      pool.run(40, count, &done);
      ASSERT_EQ(done.load(), 40);
    }
  }
}

// Handlers run on the program's own thread, which may be waiting for just that.
TEST(ThreadPoolTest, WorkersTakeNoSignals) {
  static std::atomic<bool> on_caller{false}, seen{false};
  static const pthread_t caller = pthread_self();
  struct sigaction action = {}, before = {};
  action.sa_handler = [](int) { seen = true, on_caller = pthread_equal(pthread_self(), caller); };
  sigaction(SIGUSR1, &action, &before);
  sigset_t blocked, old;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  {
    ThreadPool pool(3);
    pthread_sigmask(SIG_BLOCK, &blocked, &old);
    kill(getpid(), SIGUSR1);
    usleep(50000);
    EXPECT_FALSE(seen) << "a worker took it";
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
    EXPECT_TRUE(seen && on_caller);
  }
  sigaction(SIGUSR1, &before, nullptr);
}

TEST(ThreadPoolTest, ThreadCountsAreClamped) {
  EXPECT_EQ(ThreadPool(0).threads(), 1);
  EXPECT_EQ(ThreadPool(-5).threads(), 1);
  EXPECT_EQ(ThreadPool(1000).threads(), 256);
  EXPECT_GE(ThreadPool::default_threads(), 1);
}

}  // namespace
}  // namespace raison
