// What of a broken download is believed by the next one.
#include "hub/partial_blob.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "hub/file_lock.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {

using Ranges = std::vector<RangeSet::Range>;

TEST(RangeSetTest, JoinsAndTellsGaps) {
  RangeSet set;
  set.add(10, 20);
  set.add(30, 40);
  set.add(5, 5);
  EXPECT_EQ(set.ranges(), (Ranges{{10, 20}, {30, 40}}));
  EXPECT_EQ(set.gaps(50), (Ranges{{0, 10}, {20, 30}, {40, 50}}));
  set.add(20, 30);
  EXPECT_EQ(set.ranges(), (Ranges{{10, 40}}));
  set.add(0, 12);
  set.add(35, 50);
  EXPECT_EQ(set.ranges(), (Ranges{{0, 50}}));
  EXPECT_TRUE(set.gaps(50).empty());
  EXPECT_EQ(set.total(), 50);
}

// Against one bit per byte.
TEST(RangeSetTest, AsASetOfBytes) {
  uint32_t x = 7;
  const auto random = [&x](uint32_t n) { return (x = x * 1664525u + 1013904223u) / 65536u % n; };
  for (int round = 0; round < 200; ++round) {
    RangeSet set;
    std::vector<bool> bytes(60);
    for (int i = 0; i < 12; ++i) {
      const int64_t begin = random(60), end = begin + random(static_cast<uint32_t>(61 - begin));
      set.add(begin, end);
      for (int64_t at = begin; at < end; ++at) bytes[static_cast<size_t>(at)] = true;
      std::vector<bool> told(60, true);
      for (const auto& gap : set.gaps(60))
        for (int64_t at = gap.begin; at < gap.end; ++at) told[static_cast<size_t>(at)] = false;
      ASSERT_EQ(told, bytes);
      for (size_t k = 1; k < set.ranges().size(); ++k) ASSERT_GT(set.ranges()[k].begin, set.ranges()[k - 1].end);
    }
  }
}

class PartialBlobTest : public ::testing::Test {
 protected:
  std::unique_ptr<PartialBlob> open(int64_t size = 100) {
    auto blob = PartialBlob::open(path_, size);
    EXPECT_TRUE(blob.ok()) << (blob.ok() ? "" : blob.message());
    return blob.ok() ? std::move(*blob) : nullptr;
  }
  void write(PartialBlob& blob, int64_t begin, int64_t end) {
    const std::string bytes(static_cast<size_t>(end - begin), 'x');
    ASSERT_TRUE(blob.write(begin, bytes.data(), bytes.size()).ok());
  }
  TempDir dir_;
  std::string path_ = dir_ / "blob";
  std::string log_ = PartialBlob::log_path_of(path_), data_ = PartialBlob::data_path_of(path_);
};

TEST_F(PartialBlobTest, OnlyWhatWasSavedCounts) {
  auto blob = open();
  write(*blob, 0, 30);
  write(*blob, 50, 60);
  ASSERT_TRUE(blob->save().ok());
  write(*blob, 30, 40);
  blob.reset();
  blob = open();
  EXPECT_EQ(blob->have().ranges(), (Ranges{{0, 30}, {50, 60}}));
  EXPECT_FALSE(blob->whole());
  write(*blob, 30, 50);
  write(*blob, 60, 100);
  ASSERT_TRUE(blob->save().ok());
  blob = open();
  EXPECT_TRUE(blob->whole());
  ASSERT_TRUE(blob->finish().ok());
  EXPECT_EQ(*read_file(path_), std::string(100, 'x'));
  EXPECT_FALSE(std::filesystem::exists(log_) || std::filesystem::exists(data_));
}

TEST_F(PartialBlobTest, ABrokenLogIsNotBelieved) {
  const auto fresh = [&](const std::string& log) {
    auto blob = open();
    write(*blob, 0, 100);
    ASSERT_TRUE(blob->save().ok());
    blob.reset();
    dir_.write("blob.raison.ranges", log);
    EXPECT_EQ(open()->have().total(), 0) << log;
  };
  fresh("");
  fresh("raison-ranges 1 100");
  fresh("raison-ranges 1 99\n0 50\n");  // of another size
  fresh("raison-ranges 2 100\n0 50\n");
  fresh("raison-ranges 1 100\n0 101\n");
  fresh("raison-ranges 1 100\n-5 50\n");
  fresh("raison-ranges 1 100\n50 50\n");
  fresh("raison-ranges 1 100\n0 50 \n");
  fresh("raison-ranges 1 100\nzero 50\n");
}

TEST_F(PartialBlobTest, ATornLineCostsItselfAlone) {
  auto blob = open();
  write(*blob, 0, 100);
  blob.reset();
  dir_.write("blob.raison.ranges", "raison-ranges 1 100\n0 50\n60 8");
  blob = open();
  EXPECT_EQ(blob->have().ranges(), (Ranges{{0, 50}}));
  write(*blob, 90, 95);
  ASSERT_TRUE(blob->save().ok());
  blob.reset();
  EXPECT_EQ(open()->have().ranges(), (Ranges{{0, 50}, {90, 95}}));
}

TEST_F(PartialBlobTest, DataShorterThanItsLogIsNotBelieved) {
  auto blob = open();
  write(*blob, 0, 80);
  ASSERT_TRUE(blob->save().ok());
  blob.reset();
  std::filesystem::resize_file(data_, 79);
  EXPECT_EQ(open()->have().total(), 0);
}

TEST(FileLockTest, OneHolder) {
  TempDir dir;
  auto first = FileLock::try_take(dir / "locks/repo/x.lock");
  ASSERT_TRUE(first.ok()) << first.message();
  ASSERT_NE(*first, nullptr);
  auto second = FileLock::try_take(dir / "locks/repo/x.lock");
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(*second, nullptr);
  first->reset();
  second = FileLock::try_take(dir / "locks/repo/x.lock");
  ASSERT_TRUE(second.ok());
  EXPECT_NE(*second, nullptr);
}

}  // namespace
}  // namespace raison::testing
