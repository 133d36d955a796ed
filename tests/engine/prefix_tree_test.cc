// The prefix tree: against a list of everything ever put in; pages held as often as they should be; eviction.
#include "engine/prefix_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>

#include "base/rng.h"

namespace raison::testing {
namespace {

constexpr int kTreePage = 16;
KvLayout small_layout() {
  KvLayout k;
  k.type = DType::F32;
  k.layers = k.kv_heads = 1;
  k.head_dim = 4;
  k.page_size = kTreePage;
  return k;
}

// A sequence whose page i begins with a number that only its first (i+1)*kTreePage tokens have: what the pages of equal beginnings hold.
struct Written {
  std::vector<int32_t> tokens;
  KvCache::Sequence pages;
};
uint64_t mark_of(std::span<const int32_t> tokens) {
  uint64_t h = 1469598103934665603u;
  for (const int32_t t : tokens) h = (h ^ static_cast<uint64_t>(t + 1)) * 1099511628211u;
  return h;
}
Written write(KvCache& cache, std::vector<int32_t> tokens) {
  Written w{std::move(tokens), cache.sequence()};
  EXPECT_TRUE(w.pages.reserve(static_cast<int64_t>(w.tokens.size())).ok());
  for (size_t p = 0; p < w.pages.page_ids().size(); ++p)
    for (size_t i = 0; i < kTreePage && p * kTreePage + i < w.tokens.size(); ++i)  // one number a position
      reinterpret_cast<uint64_t*>(w.pages.pages()[p])[i] = mark_of(std::span(w.tokens).first(p * kTreePage + i + 1));
  return w;
}

size_t common(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  size_t n = 0;
  while (n < a.size() && n < b.size() && a[n] == b[n]) ++n;
  return n;
}

TEST(PrefixTree, FindsTheLongestBeginningEverPutInAndItsPagesHoldIt) {
  KvCache cache(small_layout());
  PrefixTree tree(cache);
  Rng rng(3, 1);
  std::vector<std::vector<int32_t>> known[2];
  std::list<Written> alive;  // as if still running
  for (int round = 0; round < 400; ++round) {
    const int adapter = static_cast<int>(rng.below(2));
    // Mostly what was known, cut and continued; two tokens, so that beginnings collide often.
    std::vector<int32_t> tokens;
    if (!known[adapter].empty() && rng.below(4) > 0) {
      tokens = known[adapter][rng.below(known[adapter].size())];
      tokens.resize(rng.below(tokens.size() + 1));
    }
    for (uint64_t n = rng.below(70); n > 0; --n) tokens.push_back(static_cast<int32_t>(rng.below(2)));
    size_t longest = 0;
    for (const auto& k : known[adapter]) longest = std::max(longest, common(k, tokens));
    const PrefixTree::Preview before = tree.preview(tokens, adapter);
    const PrefixTree::Match m = tree.match(tokens, adapter);
    ASSERT_EQ(m.tokens, static_cast<int64_t>(longest)) << "round " << round;
    ASSERT_EQ(before.tokens, m.tokens);
    ASSERT_EQ(before.whole_pages, static_cast<int64_t>(m.pages.size()));
    ASSERT_EQ(m.pages.size(), longest / kTreePage);
    ASSERT_EQ(m.partial != KvCache::kNone, longest % kTreePage != 0);
    for (size_t i = 0; i < longest; ++i) {
      const KvCache::Page page = i / kTreePage < m.pages.size() ? m.pages[i / kTreePage] : m.partial;
      ASSERT_EQ(reinterpret_cast<uint64_t*>(cache.data(page))[i % kTreePage], mark_of(std::span(tokens).first(i + 1)))
          << "round " << round << " position " << i;
    }
    Written w = write(cache, tokens);
    tree.insert(w.tokens, w.pages, adapter);
    tree.insert(w.tokens, w.pages, adapter);  // what is known changes nothing
    known[adapter].push_back(tokens);
    if (rng.below(3) == 0) alive.push_back(std::move(w));
  }
  EXPECT_EQ(tree.preview(known[0][5], 7).tokens, 0) << "of another adapter";
  const int64_t in_tree = tree.pages();
  EXPECT_GT(in_tree, 50);
  // Whatever is idle can be evicted, and nothing else.
  const int64_t idle = cache.pages_idle();
  EXPECT_LT(idle, in_tree) << "some pages are shared with sequences";
  int64_t evicted = 0;
  while (tree.evict_one()) ++evicted;
  EXPECT_EQ(evicted, idle);
  EXPECT_EQ(cache.pages_idle(), 0);
  tree.clear();
  alive.clear();
  EXPECT_EQ(cache.pages_held(), 0);
}

// A sequence's page in part, put in when its prompt was computed, and again with what was generated since.
TEST(PrefixTree, APageThatFillsFurtherIsInItOnce) {
  KvCache cache(small_layout());
  PrefixTree tree(cache);
  Written w = write(cache, std::vector<int32_t>(20, 7));
  tree.insert(std::span(w.tokens).first(18), w.pages, -1);
  tree.insert(w.tokens, w.pages, -1);
  EXPECT_EQ(tree.pages(), 2);
  EXPECT_EQ(cache.holders(w.pages.page_ids()[1]), 2);
  EXPECT_EQ(tree.preview(w.tokens, -1).tokens, 20);
  w.pages.truncate(0);
  EXPECT_EQ(cache.pages_idle(), 2);
  tree.clear();
  EXPECT_EQ(cache.pages_held(), 0);
}

TEST(PrefixTree, EvictsWhatWasOfNoUseForLongestAndLeavesBeforeTheirBeginnings) {
  KvCache cache(small_layout());
  PrefixTree tree(cache);
  const std::vector<int32_t> stem(kTreePage, 1);
  std::vector<std::vector<int32_t>> all;
  for (int i = 0; i < 3; ++i) {
    auto tokens = stem;
    tokens.insert(tokens.end(), kTreePage, 10 + i);
    Written w = write(cache, tokens);
    tree.insert(w.tokens, w.pages, -1);
    all.push_back(tokens);
  }
  ASSERT_EQ(tree.pages(), 4);
  tree.match(all[0], -1);  // used again
  ASSERT_TRUE(tree.evict_one());
  EXPECT_EQ(tree.preview(all[1], -1).tokens, kTreePage) << "the oldest unused went first";
  EXPECT_EQ(tree.preview(all[0], -1).tokens, 2 * kTreePage);
  ASSERT_TRUE(tree.evict_one());
  EXPECT_EQ(tree.preview(all[2], -1).tokens, kTreePage);
  ASSERT_TRUE(tree.evict_one());
  EXPECT_EQ(tree.preview(all[0], -1).tokens, kTreePage) << "the stem goes last";
  ASSERT_TRUE(tree.evict_one());
  EXPECT_FALSE(tree.evict_one());
  EXPECT_EQ(cache.pages_held(), 0);
}

TEST(KvCache, RefusesOverItsLimitAndLosesNothing) {
  KvCache cache(small_layout(), 3);
  KvCache::Sequence a = cache.sequence(), b = cache.sequence();
  ASSERT_TRUE(a.reserve(32).ok());
  const Status refused = b.reserve(33);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.message().find("full"), std::string::npos);
  EXPECT_EQ(cache.pages_held(), 2);
  a.truncate(1);
  EXPECT_EQ(cache.pages_held(), 1);
  EXPECT_TRUE(b.reserve(32).ok());
}

}  // namespace
}  // namespace raison::testing
