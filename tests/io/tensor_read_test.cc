// read_f32: every float and block type, and what it refuses.
#include "io/tensor_read.h"

#include <gtest/gtest.h>

#include "tensor/quantize.h"

namespace raison {
namespace {

TensorInfo tensor_of(DType type, std::vector<int64_t> shape, const std::vector<uint8_t>& bytes) {
  TensorInfo t;
  t.name = "w";
  t.type = type;
  t.type_name = dtype_name(type);
  t.shape = std::move(shape);
  t.data = bytes.data();
  t.bytes = bytes.size();
  return t;
}

TEST(TensorRead, ReadsEveryFloatAndBlockType) {
  for (int i = 0; i <= static_cast<int>(DType::BOOL); ++i) {
    const auto type = static_cast<DType>(i);
    SCOPED_TRACE(dtype_name(type));
    const bool fp8 = type == DType::F8_E4M3 || type == DType::F8_E5M2 || type == DType::F8_E8M0;
    const bool readable = !fp8 && type < DType::I8;
    std::vector<uint8_t> bytes(*row_bytes(type, 512));
    for (size_t b = 0; b < bytes.size(); ++b) bytes[b] = static_cast<uint8_t>(b * 37 % 59);  // no infinite scales
    const auto values = read_f32(tensor_of(type, {2, 256}, bytes));
    ASSERT_EQ(values.ok(), readable);
    if (!readable) {
      EXPECT_NE(values.message().find("a float type was expected"), std::string::npos) << values.message();
      continue;
    }
    ASSERT_EQ(values->size(), 512u);
    std::vector<float> row(256);
    dequantize_row(type, bytes.data() + bytes.size() / 2, row.data(), 256);
    EXPECT_EQ(std::vector<float>(values->begin() + 256, values->end()), row);
    EXPECT_NE(row, std::vector<float>(256)) << "nothing but zeros";
  }
}

}  // namespace
}  // namespace raison
