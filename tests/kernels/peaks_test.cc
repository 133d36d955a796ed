// Peaks: every instruction set that runs here is measured, and a kernel is not faster than its own peak.
#include "kernels/peaks.h"

#include <gtest/gtest.h>

#include "base/thread_pool.h"

namespace raison {
namespace {

TEST(Peaks, EveryTableHasPeaks) {
  ThreadPool pool(2);
  for (const KernelTable* table : {&ref_kernels(), avx2_kernels(), avx512_kernels()}) {
    if (!table) continue;
    const auto meter = PeakMeter::create(pool, *table, 8 << 20);
    ASSERT_TRUE(meter.ok()) << meter.message();
    const Peaks p = meter->measure(0.01);
    EXPECT_GT(p.read, 1e7) << table->name;
#if defined(__x86_64__)
    EXPECT_GT(p.fp32, 1e7) << table->name;
    EXPECT_GT(p.int8, 1e7) << table->name;
#endif
  }
}

// A clock that stands still but for what the work itself does to it: seconds of one call, whatever the batches.
double fake_time = 0;
double fake_now() { return fake_time; }

TEST(Peaks, BestTimeIsTheFastestBatch) {
  int calls = 0;
  fake_time = 0;
  const double t = best_time(
      1.0, [&] { fake_time += ++calls == 7 ? 0.25 : 0.5; }, fake_now);
  EXPECT_EQ(t, 0.5) << "only two calls fit in, and the seventh is not among them";
  calls = 4;
  EXPECT_EQ(best_time(
                1.0, [&] { fake_time += ++calls == 7 ? 0.25 : 0.5; }, fake_now),
            0.25);
}

TEST(Peaks, TheHigherOfEach) {
  const Peaks p = best_of({1, 5, 3}, {2, 4, 3});
  EXPECT_EQ(p.fp32, 2);
  EXPECT_EQ(p.int8, 5);
  EXPECT_EQ(p.read, 3);
}

}  // namespace
}  // namespace raison
