// SpeedMeter: what it counts, what it refuses, that it can be stopped. Never how fast anything is.
#include "engine/speed.h"

#include "testing/models.h"

namespace raison::testing {
namespace {

struct SpeedBench {
  std::unique_ptr<Model> model = tiny_model(tiny_config("llama"), 1);
  ThreadPool pool{2};
  const KernelTable& kernels = ref_kernels();
  PeakMeter peaks = PeakMeter::create(pool, kernels, 1 << 20).value();
  SpeedOptions options;

  SpeedBench() {
    options.context = 64;
    options.repetitions = 3;
    options.decode_steps = 4;
    options.peak_seconds = 0.001;
  }
  SpeedMeter meter() { return SpeedMeter(*model, pool, kernels, peaks, options); }
  Result<std::optional<SpeedRow>> measure(const SpeedTest& t) { return meter().measure(t); }
};

TEST(Speed, RowsOfEachKind) {
  SpeedBench b;
  const StepCounter counter(*b.model, *b.model->kv_layout(DType::F16, 64));
  const auto prefill = b.measure({SpeedTest::Kind::Prefill, 20, 1});
  ASSERT_TRUE(prefill.ok() && *prefill);
  EXPECT_EQ((*prefill)->tokens, 20);
  EXPECT_EQ((*prefill)->steps, 1);
  EXPECT_EQ((*prefill)->seconds.size(), 3u);
  EXPECT_EQ((*prefill)->cost.ops(), counter.count({1, 20, 0, true}).ops());

  const auto decode = b.measure({SpeedTest::Kind::Decode, 10, 1});
  ASSERT_TRUE(decode.ok() && *decode);
  EXPECT_EQ((*decode)->tokens, 4);
  // Two tokens warm it up; the twelve that are timed stand at positions 12 to 23, the mean row at 17.5.
  const double mean = (counter.count({1, 1, 17, true}).cache_bytes + counter.count({1, 1, 18, true}).cache_bytes) / 2;
  EXPECT_DOUBLE_EQ((*decode)->cost.cache_bytes, 4 * mean);

  const auto batch = b.measure({SpeedTest::Kind::Decode, 0, 5});
  ASSERT_TRUE(batch.ok() && *batch);
  EXPECT_EQ((*batch)->tokens, 20);
  EXPECT_EQ((*batch)->steps, 4);
  EXPECT_EQ((*batch)->cost.weight_bytes, 4 * counter.count({1, 1, 0, true}).weight_bytes);
  EXPECT_GT((*batch)->share(), 0);
  EXPECT_GT((*batch)->peaks.read, 0);
}

TEST(Speed, MediansAndSpread) {
  SpeedRow r;
  r.tokens = 8, r.steps = 4;
  r.seconds = {4, 1, 2};
  r.bound.seconds = 0.5;
  EXPECT_EQ(r.median_seconds(), 2);
  EXPECT_EQ(r.tokens_per_second(), 4);
  EXPECT_EQ(r.step_seconds(), 0.5);
  EXPECT_EQ(r.spread(), 1.5);
  EXPECT_EQ(r.share(), 0.25);
  r.seconds = {4, 1, 2, 3};
  EXPECT_EQ(r.median_seconds(), 2.5);
}

TEST(Speed, RefusesWhatTheContextCannotHold) {
  SpeedBench b;
  EXPECT_EQ(b.meter().positions({SpeedTest::Kind::Decode, 49, 1}), 64);
  EXPECT_TRUE(b.meter().check({SpeedTest::Kind::Decode, 49, 1}).ok());
  EXPECT_FALSE(b.meter().check({SpeedTest::Kind::Decode, 50, 1}).ok());
  EXPECT_TRUE(b.measure({SpeedTest::Kind::Decode, 49, 1}).ok());
  EXPECT_TRUE(b.meter().check({SpeedTest::Kind::Prefill, 63, 1}).ok());
  const auto refused = b.measure({SpeedTest::Kind::Prefill, 64, 1});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.message().find("context holds 64"), std::string::npos) << refused.message();
}

TEST(Speed, StopsWhenAsked) {
  SpeedBench b;
  for (const auto kind : {SpeedTest::Kind::Prefill, SpeedTest::Kind::Decode}) {
    int steps = 0;
    b.options.progress = [&](const std::string&) { return ++steps < 3; };
    const auto row = b.measure({kind, 8, 1});
    ASSERT_TRUE(row.ok());
    EXPECT_FALSE(row->has_value());
    EXPECT_EQ(steps, 3);
  }
}

}  // namespace
}  // namespace raison::testing
