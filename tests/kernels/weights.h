// Weights of any computable type for tests: blocks of random bytes, so that every code occurs, with scales of our choice.
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/rng.h"
#include "tensor/packed.h"

namespace raison::testing {

inline std::vector<DType> computable_types() {
  std::vector<DType> types;
  for (int t = 0; t <= static_cast<int>(DType::BOOL); ++t)
    if (is_computable(static_cast<DType>(t))) types.push_back(static_cast<DType>(t));
  return types;
}
inline std::vector<DType> block_types() {
  std::vector<DType> types;
  for (const DType type : computable_types())
    if (is_block_type(type)) types.push_back(type);
  return types;
}

// Where a block keeps its scale and its minimum (or the scale of its minima), both f16; -1: it has none. MXFP4's is a byte, and
// IQ1_M's lies in four top nibbles.
struct ScalePlaces {
  int d = -1, m = -1;
};
inline ScalePlaces scale_places(DType type) {
  switch (type) {
    case DType::Q4_1:
    case DType::Q5_1:
    case DType::Q4_K:
    case DType::Q5_K: return {0, 2};
    case DType::Q2_K: return {80, 82};
    case DType::MXFP4:
    case DType::IQ1_M: return {};
    case DType::Q3_K:
    case DType::Q6_K:
    case DType::TQ1_0:
    case DType::TQ2_0: return {dtype_info(type).block_bytes - 2, -1};
    default: return {0, -1};
  }
}

// d and m are f16 bits, for MXFP4 (d alone) the byte.
inline void set_scales(DType type, uint8_t* block, uint16_t d, uint16_t m) {
  const ScalePlaces at = scale_places(type);
  if (type == DType::MXFP4) block[0] = static_cast<uint8_t>(d);
  if (type == DType::IQ1_M)
    for (int i = 0; i < 4; ++i) block[49 + 2 * i] = static_cast<uint8_t>((block[49 + 2 * i] & 15) | (d >> (4 * i) & 15) << 4);
  if (at.d >= 0) std::memcpy(block + at.d, &d, 2);
  if (at.m >= 0) std::memcpy(block + at.m, &m, 2);
}
inline uint16_t unit_scale(DType type) { return type == DType::MXFP4 ? 128 : f32_to_f16(1.0f); }  // d = 1

// Of both signs, some zero or subnormal. MXFP4: any that overflows nothing, mostly near 1.
inline uint16_t random_scale(DType type, Rng& rng) {
  const uint64_t kind = rng.below(16);
  if (type == DType::MXFP4) return static_cast<uint16_t>(kind == 0 ? rng.below(253) : 115 + rng.below(10));
  if (kind == 0) return rng.below(2) == 0 ? 0 : 0x8000;
  return f32_to_f16(static_cast<float>(rng.normal()) * (kind == 1 ? 1e-6f : 0.01f));
}

// Rows of blocks as files hold them.
inline std::vector<uint8_t> random_rows(DType type, int64_t n, int64_t k, uint64_t seed) {
  Rng rng(seed, 2);
  const DTypeInfo& info = dtype_info(type);
  std::vector<uint8_t> rows(static_cast<size_t>(n * k / info.block_elements * info.block_bytes));
  for (size_t b = 0; b < rows.size(); b += static_cast<size_t>(info.block_bytes)) {
    const uint64_t kind = rng.below(8);  // some blocks of one byte: all codes the lowest, all the highest
    for (int i = 0; i < info.block_bytes; ++i)
      rows[b + static_cast<size_t>(i)] = kind == 0   ? 0x80
                                         : kind == 1 ? 0xFF
                                         : kind == 2 ? 0
                                                     : static_cast<uint8_t>(rng.below(256));
    set_scales(type, &rows[b], random_scale(type, rng), random_scale(DType::Q4_1, rng));
  }
  return rows;
}

inline std::vector<float> plain_values(int64_t n, uint64_t seed) {
  Rng rng(seed, 1);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) {
    v = static_cast<float>(rng.normal());
    const uint64_t kind = rng.below(16);
    if (kind == 0) v = 0.0f;
    if (kind == 1) v = -0.0f;
    if (kind == 2) v *= 1e-39f;
    if (kind == 3) v *= 100.0f;
  }
  return out;
}

inline PackedWeight random_fp8(int64_t n, int64_t k, uint64_t seed, bool nan = false) {
  Rng rng(seed, 4);
  std::vector<uint8_t> codes(static_cast<size_t>(n * k));
  for (uint8_t& code : codes) {
    code = static_cast<uint8_t>(rng.below(256));
    if (!nan && (code & 0x7F) == 0x7F) code = 0x3C;
  }
  std::vector<float> scales(static_cast<size_t>((n + 127) / 128 * ((k + 127) / 128)));
  for (float& s : scales) s = static_cast<float>(rng.normal()) * (rng.below(8) == 0 ? 1e-38f : 0.01f);
  auto w = PackedWeight::pack_fp8(n, k, codes.data(), scales.data());
  EXPECT_TRUE(w.ok());
  return std::move(w).value();
}

inline PackedWeight random_weight(DType type, int64_t n, int64_t k, uint64_t seed) {
  if (type == DType::F8_E4M3) return random_fp8(n, k, seed);
  auto w = is_block_type(type) ? PackedWeight::pack(type, n, k, random_rows(type, n, k, seed).data())
                               : PackedWeight::pack_f32(type, n, k, plain_values(n * k, seed).data());
  EXPECT_TRUE(w.ok());
  return std::move(w).value();
}

}  // namespace raison::testing
