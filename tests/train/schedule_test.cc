#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "testing/shared_data.h"

namespace raison {
namespace {

Schedule make(const ScheduleOptions& o) {
  auto s = Schedule::create(o);
  EXPECT_TRUE(s.ok()) << s.message();
  return std::move(s).value();
}

ScheduleOptions options_of(const nlohmann::json& j) {
  ScheduleOptions o;
  o.name = j["name"].get<std::string>();
  o.lr = j["base_lr"].get<double>();
  o.warmup_steps = j["num_warmup_steps"].get<int64_t>();
  o.total_steps = j["num_training_steps"].get<int64_t>();
  o.hold_after_end = false;
  const nlohmann::json& extra = j["extra"];
  o.min_ratio = extra.value("min_lr_rate", extra.value("min_lr_ratio", extra.value("min_lr", 0.0) / o.lr));
  o.cycles = extra.value("num_cycles", int64_t{1});
  o.power = extra.value("power", 1.0);
  if (extra.contains("lr_end")) o.lr_end = extra["lr_end"].get<double>();
  o.decay_steps = extra.value("num_decay_steps", int64_t{0});
  o.decay_type = extra.value("decay_type", std::string("cosine"));
  o.warmup_type = extra.value("warmup_type", std::string("linear"));
  return o;
}

TEST(Schedule, AgreesWithTheGoldens) {
  const auto text = read_file(testing::shared_dir() + "/goldens/optim/schedules.json");
  if (!text.ok()) GTEST_SKIP() << "SHARED TEST DATA MISSING: " << text.message();
  const nlohmann::json golden = nlohmann::json::parse(*text, nullptr, false);
  int count = 0;
  for (const auto& j : golden["schedules"]) {
    SCOPED_TRACE(j["label"].get<std::string>());
    const Schedule s = make(options_of(j));
    const auto want = j["lr"].get<std::vector<double>>();
    ASSERT_EQ(want.size(), 100u);
    for (size_t k = 0; k < want.size(); ++k)
      ASSERT_NEAR(s.rate(static_cast<int64_t>(k)), want[k], 1e-13 * want[k] + 1e-18) << "step " << k;
    ++count;
  }
  EXPECT_EQ(count, 17);
}

TEST(Schedule, MiniatureWarmsUpWithinItsCosine) {
  ScheduleOptions o;
  o.name = "miniature";
  o.lr = 2e-3;
  o.warmup_steps = 50;
  o.total_steps = 6000;
  o.min_ratio = 0.1;
  const Schedule s = make(o);
  for (int64_t k : {0, 1, 48, 49, 50, 3000, 5999}) {
    const double x = static_cast<double>(k);
    const double want = 2e-3 * std::min(1.0, (x + 1) / 50) * (0.1 + 0.45 * (1 + std::cos(M_PI * x / 6000)));
    EXPECT_NEAR(s.rate(k), want, 1e-15 * 2e-3 + 1e-13 * want) << k;
  }
  EXPECT_GT(s.rate(0), 0);
  EXPECT_DOUBLE_EQ(s.rate(6000), 2e-4);
  EXPECT_DOUBLE_EQ(s.rate(9000), 2e-4);
}

TEST(Schedule, MiniatureLinearFallsToItsShare) {
  ScheduleOptions o;
  o.name = "miniature_linear";
  o.lr = 5e-4;
  o.warmup_steps = 5;
  o.total_steps = 60;
  o.min_ratio = 0.1;
  const Schedule s = make(o);
  for (int64_t k = 0; k < 60; ++k) {
    const double x = static_cast<double>(k);
    EXPECT_NEAR(s.rate(k), 5e-4 * std::min(1.0, (x + 1) / 5) * (1 - 0.9 * x / 60), 1e-18) << k;
  }
}

TEST(Schedule, HoldsItsLastValue) {
  for (const char* name : {"linear", "cosine", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "cosine_with_restarts",
                           "polynomial", "wsd", "miniature", "miniature_linear"}) {
    ScheduleOptions o;
    o.name = name;
    o.total_steps = 60;
    o.warmup_steps = 5;
    o.min_ratio = 0.2;
    o.decay_steps = 20;
    const Schedule s = make(o);
    EXPECT_EQ(s.rate(60), s.rate(1000)) << name;
    EXPECT_LE(s.rate(60), s.rate(50)) << name;
  }
}

TEST(Schedule, RefusesWhatMakesNoSense) {
  const auto message = [](auto change) {
    ScheduleOptions o;
    o.name = "wsd";
    o.total_steps = 100;
    change(o);
    const auto s = Schedule::create(o);
    return s.ok() ? std::string() : s.message();
  };
  EXPECT_EQ(message([](ScheduleOptions&) {}), "");
  EXPECT_NE(message([](ScheduleOptions& o) { o.name = "cosin"; }).find("unknown name 'cosin'; known are constant,"),
            std::string::npos);
  EXPECT_NE(message([](ScheduleOptions& o) { o.lr = 0; }), "");
  EXPECT_NE(message([](ScheduleOptions& o) { o.lr = std::nan(""); }), "");
  EXPECT_NE(message([](ScheduleOptions& o) { o.total_steps = 0; }), "");
  EXPECT_NE(message([](ScheduleOptions& o) { o.warmup_steps = 101; }), "");
  EXPECT_NE(message([](ScheduleOptions& o) { o.min_ratio = 1.1; }), "");
  EXPECT_NE(message([](ScheduleOptions& o) { o.decay_steps = 101; }), "");
  EXPECT_NE(message([](ScheduleOptions& o) { o.decay_type = "sqrt"; }), "");
}

TEST(Schedule, EveryNameOfARecipeIsKnown) {
  for (const char* name : {"constant", "linear", "cosine", "cosine_with_min_lr", "wsd", "miniature"}) {
    Recipe r;
    r.steps = 100;
    r.schedule.name = name;
    r.schedule.warmup = 10;
    const auto s = schedule_of(r);
    ASSERT_TRUE(s.ok()) << s.message();
    EXPECT_LT(s->rate(2), s->rate(11)) << name;
  }
}

}  // namespace
}  // namespace raison
