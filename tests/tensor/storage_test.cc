// Owned memory: zeroed and writable to its last byte, whichever way it comes (from 2 MiB on in pages of its own).
#include <gtest/gtest.h>

#include <algorithm>

#include "tensor/packed.h"

namespace raison::testing {
namespace {

TEST(Storage, IsZeroedAlignedAndWhole) {
  constexpr size_t kHuge = size_t{2} << 20;
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{4097}, kHuge - 1, kHuge, kHuge + 1, 5 * kHuge + 3}) {
    SCOPED_TRACE(bytes);
    auto storage = Storage::allocate(bytes);
    ASSERT_TRUE(storage.ok()) << storage.message();
    uint8_t* data = (*storage)->data();
    EXPECT_EQ((*storage)->bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
    EXPECT_TRUE(std::all_of(data, data + bytes, [](uint8_t b) { return b == 0; }));
    std::fill(data, data + bytes, uint8_t{7});
    EXPECT_EQ(std::count(data, data + bytes, uint8_t{7}), static_cast<std::ptrdiff_t>(bytes));
  }
}

TEST(Storage, WhatCannotBeIsAnError) {
  for (const size_t bytes : {SIZE_MAX, SIZE_MAX - 100}) EXPECT_FALSE(Storage::allocate(bytes).ok()) << bytes;
#ifndef __SANITIZE_ADDRESS__  // whose allocator ends the program instead
  EXPECT_FALSE(Storage::allocate(SIZE_MAX / 2).ok());
#endif
}

}  // namespace
}  // namespace raison::testing
