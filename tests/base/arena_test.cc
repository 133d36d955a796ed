// The arena: aligned, nothing overlaps, growth moves nothing, and what was rewound is given out again.
#include "base/arena.h"

#include <gtest/gtest.h>

#include <cstring>
#include <new>
#include <vector>

namespace raison {
namespace {

struct Piece {
  unsigned char* data;
  size_t bytes;
  unsigned char fill;
};

TEST(ArenaTest, PiecesAreAlignedAndKeepTheirBytesWhileItGrows) {
  Arena arena;
  EXPECT_EQ(arena.reserved(), 0u);
  std::vector<Piece> pieces;
  size_t total = 0;
  for (size_t i = 0; i < 300; ++i) {
    const size_t bytes = i % 50 == 49 ? size_t{700000} : (i * 331) % 5000;  // 0, odd sizes, and larger than the first chunk
    Piece p{static_cast<unsigned char*>(arena.allocate(bytes)), bytes, static_cast<unsigned char>(i)};
    ASSERT_EQ(reinterpret_cast<uintptr_t>(p.data) % 64, 0u) << bytes;
    if (bytes > 0) std::memset(p.data, p.fill, bytes);
    pieces.push_back(p);
    total += bytes;
  }
  EXPECT_GE(arena.reserved(), total);
  for (const Piece& p : pieces)
    for (size_t b = 0; b < p.bytes; ++b) ASSERT_EQ(p.data[b], p.fill);
}

TEST(ArenaTest, RewindGivesTheSameMemoryAgainAndKeepsWhatWasBefore) {
  Arena arena;
  float* before = arena.floats(100);
  for (int i = 0; i < 100; ++i) before[i] = static_cast<float>(i);
  const Arena::Mark mark = arena.mark();
  std::vector<void*> first;
  for (int round = 0; round < 3; ++round) {
    std::vector<void*> got;
    for (size_t bytes : {1000u, 3000000u, 64u, 9000000u}) {  // into later chunks and back
      got.push_back(arena.allocate(bytes));
      std::memset(got.back(), 0xEE, bytes);
    }
    if (round == 0) first = got;
    EXPECT_EQ(got, first) << "round " << round;
    arena.rewind(mark);
  }
  const size_t held = arena.reserved();
  for (int i = 0; i < 100; ++i) ASSERT_EQ(before[i], static_cast<float>(i));
  arena.reset();
  EXPECT_EQ(arena.floats(100), before);
  EXPECT_EQ(arena.reserved(), held);  // nothing is given back, nothing more is taken
}

// A piece that fits no chunk held so far, after a rewind: smaller chunks are passed over, not lost.
TEST(ArenaTest, LargePiecesAfterARewind) {
  Arena arena;
  void* small = arena.allocate(10);
  arena.reset();
  void* large = arena.allocate(size_t{5} << 20);
  std::memset(large, 1, size_t{5} << 20);
  EXPECT_NE(large, small);
  arena.reset();
  EXPECT_EQ(arena.allocate(10), small);
  EXPECT_EQ(arena.allocate(size_t{5} << 20), large);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they stop at such a request
TEST(ArenaTest, NoMemoryIsAnExceptionAndTheArenaGoesOn) {
  Arena arena;
  float* before = arena.floats(10);
  before[0] = 5;
  EXPECT_THROW(arena.allocate(size_t{1} << 60), std::bad_alloc);
  float* after = arena.floats(10);
  after[0] = 6;
  EXPECT_NE(after, before);
  EXPECT_EQ(before[0], 5);
}
#endif

}  // namespace
}  // namespace raison
