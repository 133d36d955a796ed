// Typed reads of metadata; results and their macros.
#include "base/metadata.h"

#include <gtest/gtest.h>

#include "base/result.h"

namespace raison {
namespace {

TEST(MetadataTest, ReadsByKind) {
  Metadata m;
  m.set("flag", true);
  m.set("negative", int64_t{-4});
  m.set("positive", uint64_t{7});
  m.set("huge", ~uint64_t{0});
  m.set("real", 2.5);
  m.set("text", std::string("hello"));
  m.set("words", std::vector<std::string>{"a", "b"});
  m.set("reals", std::vector<double>{1.5});
  m.set("counts", std::vector<int64_t>{1, 2, 3});

  EXPECT_EQ(m.boolean("flag"), true);
  EXPECT_EQ(m.integer("negative"), -4);
  EXPECT_EQ(m.integer("positive"), 7);
  EXPECT_EQ(m.integer("huge"), std::nullopt);  // does not fit
  EXPECT_EQ(m.number("real"), 2.5);
  EXPECT_EQ(m.number("negative"), -4.0);       // an integer will do for a number
  EXPECT_EQ(m.integer("real"), std::nullopt);  // but not the other way round
  EXPECT_EQ(m.string("text"), "hello");
  ASSERT_NE(m.strings("words"), nullptr);
  EXPECT_EQ(m.strings("words")->size(), 2u);
  ASSERT_NE(m.numbers("reals"), nullptr);
  ASSERT_NE(m.integers("counts"), nullptr);
  EXPECT_EQ(m.integers("counts")->back(), 3);
}

TEST(MetadataTest, MissingAndMistypedAreAbsent) {
  Metadata m;
  m.set("text", std::string("1"));
  m.set("flag", true);
  EXPECT_FALSE(m.has("none"));
  EXPECT_TRUE(m.has("text"));
  EXPECT_EQ(m.find("none"), nullptr);
  EXPECT_EQ(m.integer("text"), std::nullopt);
  EXPECT_EQ(m.integer("flag"), std::nullopt);
  EXPECT_EQ(m.number("flag"), std::nullopt);
  EXPECT_EQ(m.boolean("text"), std::nullopt);
  EXPECT_EQ(m.string("flag"), std::nullopt);
  EXPECT_EQ(m.strings("text"), nullptr);
  EXPECT_EQ(m.integers("none"), nullptr);
}

TEST(MetadataTest, SettingAgainReplaces) {
  Metadata m;
  m.set("x", int64_t{1});
  m.set("x", std::string("two"));
  EXPECT_EQ(m.integer("x"), std::nullopt);
  EXPECT_EQ(m.string("x"), "two");
  EXPECT_EQ(m.values().size(), 1u);
}

Result<int> half(int x) {
  if (x % 2 != 0) return error("{} is odd", x);
  return x / 2;
}
Result<int> quarter(int x) {
  RAISON_ASSIGN(const int h, half(x));
  RAISON_ASSIGN(const int q, half(h));
  return q;
}
Status both_even(int x) {
  RAISON_RETURN_IF_ERROR(quarter(x));
  return {};
}

TEST(ResultTest, MacrosPassErrorsOn) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(3).message(), "3 is odd");
  EXPECT_EQ(quarter(6).message(), "3 is odd");
  EXPECT_TRUE(both_even(4).ok());
  EXPECT_EQ(both_even(2).message(), "1 is odd");
}

}  // namespace
}  // namespace raison
