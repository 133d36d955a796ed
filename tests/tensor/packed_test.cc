// PackedWeight: what it refuses, and that packing loses nothing but what the type rounds.
#include "tensor/packed.h"

#include <gtest/gtest.h>

#include <vector>

namespace raison {
namespace {

void expect_refused(DType type, int64_t rows, int64_t cols, const std::string& says) {
  SCOPED_TRACE(std::string(dtype_name(type)) + " " + std::to_string(rows) + " x " + std::to_string(cols));
  // None of these may look at its source.
  for (const auto& w : {PackedWeight::zeros(type, rows, cols), PackedWeight::pack(type, rows, cols, nullptr),
                        PackedWeight::pack_f32(type, rows, cols, nullptr)}) {
    ASSERT_FALSE(w.ok());
    EXPECT_NE(w.message().find(says), std::string::npos) << w.message();
    EXPECT_EQ(w.message().find('\n'), std::string::npos) << w.message();
  }
}

TEST(PackedWeight, RefusesTypesAndSizes) {
  for (DType type : {DType::F64, DType::I8, DType::I64, DType::U16, DType::BOOL})
    expect_refused(type, 2, 32, "cannot be computed with");
  const int64_t large = int64_t{1} << 40, wide = int64_t{1} << 31;
  for (DType type : {DType::F32, DType::F16, DType::BF16, DType::Q8_0}) {
    for (int64_t bad : {int64_t{0}, int64_t{-1}, INT64_MIN}) {
      expect_refused(type, bad, 32, "out of range");
      expect_refused(type, 2, bad, "out of range");
    }
    expect_refused(type, large + 1, 32, "out of range");
    expect_refused(type, INT64_MAX, 32, "out of range");
    expect_refused(type, 1, wide + 32, "out of range");
    expect_refused(type, large, wide, "out of range");  // each may be, the product of bytes overflows
  }
  for (int64_t cols : {32, 255, 384}) expect_refused(DType::Q4_K, 2, cols, "multiple of 256");
  const float zeros[256] = {};
  EXPECT_FALSE(PackedWeight::pack_f32(DType::IQ2_XS, 1, 256, zeros).ok());  // nobody quantises to it
  EXPECT_FALSE(PackedWeight::pack(DType::F8_E4M3, 1, 4, reinterpret_cast<const uint8_t*>(zeros)).ok());  // no scales
  for (int64_t cols : {1, 31, 33, 48}) expect_refused(DType::Q8_0, 2, cols, "multiple of 32");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)                   // they stop at such a request
  expect_refused(DType::F32, int64_t{1} << 36, int64_t{1} << 20, "cannot allocate");  // more than an address space
#endif
}

TEST(PackedWeight, UnpacksWhatWasPackedAndPadsWithZeros) {
  for (DType type : {DType::F32, DType::F16, DType::BF16, DType::Q8_0})
    for (int64_t rows : {1, 15, 16, 17, 40}) {
      const int64_t cols = 64;
      std::vector<float> source(static_cast<size_t>(rows * cols)), want = source, got = source;
      for (size_t i = 0; i < source.size(); ++i) source[i] = static_cast<float>(static_cast<int>(i * 37 % 101) - 50) * 0.013f;
      for (int64_t r = 0; r < rows; ++r) {
        std::vector<uint8_t> row(static_cast<size_t>(*row_bytes(type, cols)));
        for (int64_t k = 0; k < cols; ++k) {
          const float x = source[static_cast<size_t>(r * cols + k)];
          want[static_cast<size_t>(r * cols + k)] = type == DType::F16    ? f16_to_f32(f32_to_f16(x))
                                                    : type == DType::BF16 ? bf16_to_f32(f32_to_bf16(x))
                                                                          : x;
        }
        if (type != DType::Q8_0) continue;
        quantize_q8_0(source.data() + r * cols, row.data(), cols);
        dequantize_row(type, row.data(), want.data() + r * cols, cols);
      }
      auto w = PackedWeight::pack_f32(type, rows, cols, source.data());
      ASSERT_TRUE(w.ok()) << w.message();
      w->unpack_f32(got.data());
      EXPECT_EQ(got, want) << dtype_name(type) << " " << rows;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(w->view().data) % 64, 0u);
      if (type != DType::F32) continue;
      for (int64_t i = 0; i < w->f32_panel_floats(); ++i) {
        if (i / (cols * 16) * 16 + i % 16 >= rows) { ASSERT_EQ(w->f32_panels()[i], 0.0f) << "padding at " << i; }
      }
    }
}

}  // namespace
}  // namespace raison
