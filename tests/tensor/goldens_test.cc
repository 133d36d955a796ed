// Float and block conversions against the block goldens, bit by bit (zeros compare as numbers, NaN payloads are free).
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "tensor/packed.h"
#include "tensor/quantize.h"
#include "testing/shared_data.h"

namespace raison {
namespace {

// The few bytes of safetensors these tests need; the real reader stands a floor higher and has tests of its own.
class Golden {
 public:
  explicit Golden(const std::string& name) {
    std::ifstream in(testing::shared_dir() + "/goldens/blocks/" + name, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
    if (bytes_.size() < 8) return;
    uint64_t n;
    std::memcpy(&n, bytes_.data(), 8);
    header_ = nlohmann::json::parse(bytes_.substr(8, n));
    start_ = 8 + n;
  }
  bool found() const { return !header_.is_null(); }
  template <class T>
  std::vector<T> get(const std::string& name) const {
    const auto& span = header_.at(name).at("data_offsets");
    const size_t begin = span[0].get<size_t>(), end = span[1].get<size_t>();
    std::vector<T> out((end - begin) / sizeof(T));
    std::memcpy(out.data(), bytes_.data() + start_ + begin, end - begin);
    return out;
  }

 private:
  std::string bytes_;
  nlohmann::json header_;
  size_t start_ = 0;
};

#define SKIP_WITHOUT(golden) \
  if (!(golden).found()) GTEST_SKIP() << testing::missing(testing::shared_dir() + "/goldens/blocks")

bool same(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (a == 0 && b == 0) return true;
  return std::memcmp(&a, &b, 4) == 0;
}

int differences(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) return -1;
  int n = 0;
  for (size_t i = 0; i < got.size(); ++i) n += !same(got[i], want[i]);
  return n;
}

// Every dequant_TYPE.safetensors that lies there and whose type we have.
TEST(Dequantize, Goldens) {
  namespace fs = std::filesystem;
  const std::string folder = testing::shared_dir() + "/goldens/blocks";
  if (!fs::exists(folder)) GTEST_SKIP() << testing::missing(folder);
  std::set<DType> seen;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.rfind("dequant_", 0) != 0) continue;
    const std::string type_name = name.substr(8, name.size() - 8 - std::strlen(".safetensors"));
    const auto type = dtype_from_name(type_name);
    if (!type) {
      std::cout << "no type " << type_name << " here\n";
      continue;
    }
    SCOPED_TRACE(type_name);
    const Golden golden(name);
    const auto raw = golden.get<uint8_t>("raw");
    const auto want = golden.get<float>("values");
    ASSERT_GE(want.size(), 1024u);
    ASSERT_EQ(raw.size(), *row_bytes(*type, want.size()));
    std::vector<float> got(want.size());
    dequantize_row(*type, raw.data(), got.data(), static_cast<int64_t>(got.size()));
    EXPECT_EQ(differences(got, want), 0);
    seen.insert(*type);
  }
  for (int i = 0; i <= static_cast<int>(DType::BOOL); ++i)  // no block type of ours was left out
    EXPECT_TRUE(!is_block_type(static_cast<DType>(i)) || seen.count(static_cast<DType>(i)) == 1)
        << dtype_name(static_cast<DType>(i));
}

TEST(Floats, Bf16Golden) {
  const Golden golden("floats.safetensors");
  SKIP_WITHOUT(golden);
  const auto in = golden.get<float>("bf16.input");
  const auto want = golden.get<uint16_t>("bf16.output");
  ASSERT_EQ(in.size(), 4096u);
  for (size_t i = 0; i < in.size(); ++i) {
    const uint16_t got = f32_to_bf16(in[i]);
    if (std::isnan(in[i])) {
      EXPECT_TRUE(std::isnan(bf16_to_f32(got))) << i;
    } else {
      EXPECT_EQ(got, want[i]) << i << " " << in[i];
    }
  }
}

TEST(Floats, F16Golden) {
  const Golden golden("floats.safetensors");
  SKIP_WITHOUT(golden);
  const auto in = golden.get<float>("f16.input");
  const auto want = golden.get<uint16_t>("f16.output");
  ASSERT_EQ(in.size(), 4096u);
  for (size_t i = 0; i < in.size(); ++i) {
    const uint16_t got = f32_to_f16(in[i]);
    if (std::isnan(in[i])) {
      EXPECT_TRUE(std::isnan(f16_to_f32(got))) << i;
    } else {
      EXPECT_EQ(got, want[i]) << i << " " << in[i];
    }
  }
  const auto codes = golden.get<uint16_t>("f16_decode.codes");
  const auto values = golden.get<float>("f16_decode.values");
  std::vector<float> decoded(codes.size());
  for (size_t i = 0; i < codes.size(); ++i) decoded[i] = f16_to_f32(codes[i]);
  EXPECT_EQ(differences(decoded, values), 0);
}

TEST(Floats, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const auto code = static_cast<uint16_t>(h);
    if (std::isnan(f16_to_f32(code))) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(f16_to_f32(code)))));
    } else {
      EXPECT_EQ(f32_to_f16(f16_to_f32(code)), code);
    }
    if (std::isnan(bf16_to_f32(code))) {
      EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(bf16_to_f32(code)))));
    } else {
      EXPECT_EQ(f32_to_bf16(bf16_to_f32(code)), code);
    }
  }
}

TEST(Floats, SaturatingFormsStayFinite) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(f16_to_f32(f32_to_f16_saturate(1e9f)), 65504.0f);
  EXPECT_EQ(f16_to_f32(f32_to_f16_saturate(-inf)), -65504.0f);
  EXPECT_EQ(f16_to_f32(f32_to_f16_saturate(65520.0f)), 65504.0f);
  EXPECT_EQ(f32_to_bf16_saturate(inf), 0x7F7F);
  EXPECT_EQ(f32_to_bf16_saturate(-std::numeric_limits<float>::max()), 0xFF7F);
  EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16_saturate(std::nanf("")))));
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16_saturate(std::nanf("")))));
}

TEST(Quantize, Goldens) {
  const Golden golden("quantize.safetensors");
  SKIP_WITHOUT(golden);
  const auto input = golden.get<float>("input");
  std::ifstream in(testing::shared_dir() + "/goldens/blocks/index.json");
  const auto index = nlohmann::json::parse(in);
  const int cols = index.at("quantize").at("cols").get<int>();
  int types = 0;
  for (const auto& entry : index.at("quantize").at("types")) {
    const auto name = entry.at("name").get<std::string>();
    SCOPED_TRACE(name);
    const auto type = dtype_from_name(name);
    ASSERT_TRUE(type && can_quantize(*type));
    ++types;
    const auto want = golden.get<uint8_t>("raw." + name);
    const auto want_values = golden.get<float>("values." + name);
    ASSERT_EQ(want.size(), *row_bytes(*type, input.size()));
    const size_t elements = static_cast<size_t>(dtype_info(*type).block_elements);
    const size_t bytes = static_cast<size_t>(dtype_info(*type).block_bytes);
    std::set<size_t> undefined;
    for (const auto& block : entry.at("undefined_blocks"))
      undefined.insert(block[0].get<size_t>() * (static_cast<size_t>(cols) / elements) + block[1].get<size_t>());
    std::vector<uint8_t> got(want.size());
    quantize_row(*type, input.data(), got.data(), static_cast<int64_t>(input.size()));
    std::vector<float> values(input.size());
    dequantize_row(*type, got.data(), values.data(), static_cast<int64_t>(values.size()));
    for (size_t b = 0; b < input.size() / elements; ++b) {
      const size_t row = b * elements / static_cast<size_t>(cols);
      const bool compared = undefined.count(b) == 0;
      if (compared) { EXPECT_EQ(std::memcmp(&got[b * bytes], &want[b * bytes], bytes), 0) << "row " << row << " block " << b; }
      for (size_t i = elements * b; i < elements * (b + 1); ++i) {
        if (compared) {
          EXPECT_TRUE(same(values[i], want_values[i])) << "row " << row << " value " << i;
        } else {
          EXPECT_TRUE(std::fabs(values[i]) < 1e-37f) << "row " << row << " value " << values[i];
        }
      }
    }
  }
  EXPECT_GE(types, 10);
}

// What no golden can say: not-a-numbers and infinities give blocks of the right size and no crash, and of other values nothing else.
TEST(Quantize, OddValuesStayInTheirBlock) {
  for (int t = 0; t <= static_cast<int>(DType::BOOL); ++t) {
    const auto type = static_cast<DType>(t);
    if (!can_quantize(type) || !is_block_type(type)) continue;
    SCOPED_TRACE(dtype_name(type));
    const int block = dtype_info(type).block_elements;
    std::vector<float> x(static_cast<size_t>(3 * block), 1.0f), y(x.size());
    x[static_cast<size_t>(block)] = std::nanf("");
    x[static_cast<size_t>(block) + 1] = std::numeric_limits<float>::infinity();
    std::vector<uint8_t> raw(*row_bytes(type, x.size()));
    quantize_row(type, x.data(), raw.data(), static_cast<int64_t>(x.size()));
    dequantize_row(type, raw.data(), y.data(), static_cast<int64_t>(y.size()));
    for (int i = 0; i < block; ++i) {
      EXPECT_NEAR(y[static_cast<size_t>(i)], 1.0f, 0.05f);
      EXPECT_NEAR(y[static_cast<size_t>(2 * block + i)], 1.0f, 0.05f);
    }
    // A NaN among plain values leaves those as they are.
    x[static_cast<size_t>(block) + 1] = 1.0f;
    quantize_row(type, x.data(), raw.data(), static_cast<int64_t>(x.size()));
    dequantize_row(type, raw.data(), y.data(), static_cast<int64_t>(y.size()));
    for (int i = 1; i < block; ++i) EXPECT_NEAR(y[static_cast<size_t>(block + i)], 1.0f, 0.05f) << i;
  }
}

TEST(Fp8, CodesGolden) {
  const Golden golden("fp8.safetensors");
  SKIP_WITHOUT(golden);
  std::vector<uint8_t> codes(256);
  for (size_t i = 0; i < 256; ++i) codes[i] = static_cast<uint8_t>(i);
  ASSERT_EQ(golden.get<uint8_t>("codes"), codes);
  std::vector<float> got(256);
  for (const auto& [type, name] :
       {std::pair{DType::F8_E4M3, "e4m3fn"}, std::pair{DType::F8_E5M2, "e5m2"}, std::pair{DType::F8_E8M0, "ue8m0"}}) {
    dequantize_row(type, codes.data(), got.data(), 256);
    EXPECT_EQ(differences(got, golden.get<float>(std::string(name) + ".values")), 0) << name;
  }
}

TEST(Fp8, EncodingGolden) {
  const Golden golden("fp8.safetensors");
  SKIP_WITHOUT(golden);
  const auto check = [&](const std::string& name, uint8_t (*encode)(float, bool), float (*decode)(uint8_t)) {
    const auto input = golden.get<float>(name + ".input");
    for (const bool saturate : {false, true}) {
      const auto want = golden.get<uint8_t>(name + (saturate ? ".codes_saturating" : ".codes"));
      ASSERT_EQ(want.size(), input.size());
      for (size_t i = 0; i < input.size(); ++i) {
        const uint8_t code = encode(input[i], saturate);
        if (std::isnan(decode(want[i]))) {
          EXPECT_TRUE(std::isnan(decode(code))) << name << " " << input[i];
        } else {
          EXPECT_EQ(code, want[i]) << name << " " << input[i] << " saturate " << saturate;
        }
      }
    }
  };
  check("to_e4m3fn", f32_to_f8_e4m3, f8_e4m3_to_f32);
  check("to_e5m2", f32_to_f8_e5m2, f8_e5m2_to_f32);
}

TEST(Fp8, EveryCodeSurvivesTheRoundTrip) {
  for (int c = 0; c < 256; ++c) {
    const auto code = static_cast<uint8_t>(c);
    for (const bool saturate : {false, true}) {
      if (!std::isnan(f8_e4m3_to_f32(code))) { EXPECT_EQ(f32_to_f8_e4m3(f8_e4m3_to_f32(code), saturate), code); }
      const float wide = f8_e5m2_to_f32(code);
      if (!std::isnan(wide) && !(saturate && std::isinf(wide))) { EXPECT_EQ(f32_to_f8_e5m2(wide, saturate), code); }
    }
  }
}

TEST(Fp8, BlockScalesGolden) {
  const Golden golden("fp8_blocks.safetensors");
  SKIP_WITHOUT(golden);
  std::ifstream in(testing::shared_dir() + "/goldens/blocks/index.json");
  const auto index = nlohmann::json::parse(in);
  for (const auto& entry : index.at("fp8").at("matrices")) {
    const auto name = entry.at("name").get<std::string>();
    SCOPED_TRACE(name);
    const int64_t rows = entry.at("rows").get<int64_t>(), cols = entry.at("cols").get<int64_t>();
    const auto codes = golden.get<uint8_t>(name + ".weight");
    const auto scales = golden.get<float>(name + ".weight_scale_inv");
    const auto want = golden.get<float>(name + ".values");
    ASSERT_EQ(static_cast<int64_t>(codes.size()), rows * cols);
    std::vector<float> got(codes.size());
    for (int64_t r = 0; r < rows; ++r)
      dequantize_fp8_row(codes.data() + r * cols, r, cols, scales.data(), got.data() + r * cols);
    EXPECT_EQ(differences(got, want), 0);
    // And as panels hold them.
    const auto packed = PackedWeight::pack_fp8(rows, cols, codes.data(), scales.data());
    ASSERT_EQ(packed.ok(), is_computable(DType::F8_E4M3));
    if (packed.ok()) {
      std::fill(got.begin(), got.end(), -1.0f);
      packed->unpack_f32(got.data());
      EXPECT_EQ(differences(got, want), 0);
    }
  }
}

TEST(RowBytes, CountsBlocksAndRefusesOverflow) {
  EXPECT_EQ(row_bytes(DType::Q8_0, 64), 68u);
  EXPECT_EQ(row_bytes(DType::Q8_0, 33), std::nullopt);
  EXPECT_EQ(row_bytes(DType::F32, UINT64_MAX / 4 + 1), std::nullopt);
  EXPECT_EQ(row_bytes(DType::BF16, 3), 6u);
  EXPECT_EQ(dtype_from_name("bf16"), DType::BF16);
  EXPECT_EQ(dtype_from_name("Q9_9"), std::nullopt);
}

}  // namespace
}  // namespace raison
