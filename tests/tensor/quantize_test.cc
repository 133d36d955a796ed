// The searched formats have no bytes to agree with: what is tested is their error, and that nothing odd spoils more than itself.
#include "tensor/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/rng.h"

namespace raison {
namespace {

std::vector<float> normal_values(size_t n, float sigma) {
  std::vector<float> x(n);
  Rng rng(1);
  for (float& v : x) v = sigma * static_cast<float>(rng.normal());
  return x;
}

// Root mean square of what a round trip changes, as a fraction of that of the values.
double relative_error(DType type, const std::vector<float>& x) {
  std::vector<uint8_t> raw(*row_bytes(type, x.size()));
  std::vector<float> y(x.size());
  quantize_row(type, x.data(), raw.data(), static_cast<int64_t>(x.size()));
  dequantize_row(type, raw.data(), y.data(), static_cast<int64_t>(y.size()));
  double off = 0, all = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    off += (static_cast<double>(y[i]) - x[i]) * (static_cast<double>(y[i]) - x[i]);
    all += static_cast<double>(x[i]) * x[i];
  }
  return std::sqrt(off / all);
}

TEST(QuantizeK, ErrorsAreThoseOfTheReferenceOrLess) {
  // ggml's on standard normal values: ggml_quantize_chunk without an importance matrix.
  const std::pair<DType, double> reference[] = {
      {DType::Q2_K, 0.2971}, {DType::Q3_K, 0.1510},   {DType::Q4_K, 0.0713},   {DType::Q5_K, 0.0360},
      {DType::Q6_K, 0.0177}, {DType::IQ4_NL, 0.0762}, {DType::IQ4_XS, 0.0768},
  };
  for (const float sigma : {1.0f, 0.02f, 300.0f}) {
    const auto x = normal_values(1 << 16, sigma);
    for (const auto& [type, most] : reference) {
      const double error = relative_error(type, x);
      EXPECT_LT(error, most * 1.003) << dtype_name(type) << " at sigma " << sigma;
      EXPECT_GT(error, most * 0.85) << dtype_name(type) << ": too good to be true";
    }
  }
}

TEST(QuantizeK, WhatBlocksHoldExactlyComesBack) {
  for (int t = 0; t < static_cast<int>(DType::I8); ++t) {
    const auto type = static_cast<DType>(t);
    if (!can_quantize(type) || !is_block_type(type)) continue;
    SCOPED_TRACE(dtype_name(type));
    const std::vector<float> zeros(512);
    EXPECT_TRUE(std::isnan(relative_error(type, zeros)));  // 0/0: nothing changed
    std::vector<float> same(512, 0.25f);
    EXPECT_LT(relative_error(type, same), 0.002);
    for (size_t i = 0; i < same.size(); i += 3) same[i] = -0.25f;
    EXPECT_LT(relative_error(type, same), 0.15);
  }
}

TEST(QuantizeK, OddValuesGiveFiniteBlocks) {
  const float inf = std::numeric_limits<float>::infinity();
  for (int t = 0; t < static_cast<int>(DType::I8); ++t) {
    const auto type = static_cast<DType>(t);
    if (!can_quantize(type) || dtype_info(type).block_elements != 256 || type == DType::TQ1_0 || type == DType::TQ2_0) continue;
    SCOPED_TRACE(dtype_name(type));
    for (const float odd : {inf, -inf, std::nanf(""), 3e38f, 1e-42f, -1e-30f}) {
      auto x = normal_values(512, odd == 1e-42f || odd == -1e-30f ? 0.0f : 1.0f);
      x[100] = odd;
      std::vector<uint8_t> raw(*row_bytes(type, x.size()));
      std::vector<float> y(x.size());
      quantize_row(type, x.data(), raw.data(), 512);
      dequantize_row(type, raw.data(), y.data(), 512);
      for (const float v : y) EXPECT_TRUE(std::isfinite(v)) << odd;
      for (size_t i = 256; i < 512; ++i) EXPECT_NEAR(y[i], x[i], 0.7) << "the next block, with " << odd;
      if (std::isnan(odd)) { EXPECT_NEAR(y[0], x[0], 0.7); }
    }
  }
}

TEST(QuantizeK, SaysWhatItCannotMake) {
  for (const DType type : {DType::IQ1_S, DType::IQ1_M, DType::IQ2_XXS, DType::IQ2_XS, DType::IQ2_S, DType::IQ3_XXS,
                           DType::IQ3_S, DType::I8, DType::F8_E4M3, DType::F64})
    EXPECT_FALSE(can_quantize(type)) << dtype_name(type);
}

}  // namespace
}  // namespace raison
