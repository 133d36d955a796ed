// Text cut and broken for a terminal's width. (src/cli is no library: the file itself is compiled into this program.)
#include "cli/live_block.h"

#include <gtest/gtest.h>

namespace raison::testing {
namespace {

using cli::clipped;
using cli::last_rows;
using Rows = std::vector<std::string>;

TEST(LiveBlock, RowsBreakAtSpacesAndByColumns) {
  EXPECT_EQ(last_rows("one two three", 8, 9), (Rows{"one two ", "three"}));
  EXPECT_EQ(last_rows("abcdefghij", 4, 9), (Rows{"abcd", "efgh", "ij"}));
  EXPECT_EQ(last_rows("a\n\nb\n", 4, 9), (Rows{"a", "", "b"}));
  EXPECT_EQ(last_rows("one two three", 8, 1), Rows{"three"});
  EXPECT_EQ(last_rows("漢字漢", 4, 9), (Rows{"漢字", "漢"})) << "two columns each";
  EXPECT_EQ(last_rows("e\u0301e\u0301", 2, 9), Rows{"e\u0301e\u0301"}) << "marks take no column";
  EXPECT_EQ(last_rows("a\tb\x1b[2Jc", 20, 9), Rows{"a b[2Jc"});
  EXPECT_EQ(last_rows("", 4, 9), Rows{""});
  EXPECT_EQ(last_rows("xy", 0, 9), Rows{"xy"}) << "no terminal is that narrow";
}

TEST(LiveBlock, RowsStayWhereTheyWereAsALongLineGrows) {
  std::string text(100000, 'x');
  const Rows before = last_rows(text, 77, 3);
  text += 'y';
  const Rows after = last_rows(text, 77, 3);
  ASSERT_EQ(before.size(), 3u);
  EXPECT_EQ(after.back(), before.back() + "y");
}

TEST(LiveBlock, WhatIsCutOffIsShown) {
  EXPECT_EQ(clipped("abcdef", 6), "abcdef");
  EXPECT_EQ(clipped("abcdef", 5), "abcd…");
  EXPECT_EQ(clipped("漢字漢字", 7), "漢字漢…");
  EXPECT_EQ(clipped("漢字漢字", 6), "漢字…");
  EXPECT_EQ(clipped("abce\u0301", 4), "abce\u0301");
  EXPECT_EQ(clipped("abe\u0301d", 3), "ab…");
  EXPECT_EQ(clipped("a\nb", 9), "a b");
  EXPECT_EQ(clipped("ab", 1), "…");
  EXPECT_EQ(clipped("ab", 0), "");
}

}  // namespace
}  // namespace raison::testing
