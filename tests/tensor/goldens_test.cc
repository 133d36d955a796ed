// Float and block conversions against the block goldens, bit by bit (zeros compare as numbers, NaN payloads are free).
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tensor/dtype.h"
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

class Dequantize : public ::testing::TestWithParam<DType> {};
TEST_P(Dequantize, Golden) {
  const DType type = GetParam();
  const Golden golden(std::string("dequant_") + dtype_name(type) + ".safetensors");
  SKIP_WITHOUT(golden);
  const auto raw = golden.get<uint8_t>("raw");
  const auto want = golden.get<float>("values");
  ASSERT_EQ(want.size(), 8u * 1024);
  ASSERT_EQ(raw.size(), 8 * *row_bytes(type, 1024));
  std::vector<float> got(want.size());
  dequantize_row(type, raw.data(), got.data(), static_cast<int64_t>(got.size()));
  EXPECT_EQ(differences(got, want), 0);
}
INSTANTIATE_TEST_SUITE_P(Types, Dequantize, ::testing::Values(DType::F16, DType::BF16, DType::Q8_0),
                         [](const auto& param) { return dtype_name(param.param); });

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

TEST(Quantize, Q8_0Golden) {
  const Golden golden("quantize.safetensors");
  SKIP_WITHOUT(golden);
  const auto input = golden.get<float>("input");
  const auto want = golden.get<uint8_t>("raw.Q8_0");
  const auto want_values = golden.get<float>("values.Q8_0");
  ASSERT_EQ(input.size(), 23u * 512);
  std::ifstream in(testing::shared_dir() + "/goldens/blocks/index.json");
  const auto index = nlohmann::json::parse(in);
  std::map<std::pair<int, int>, bool> undefined;
  for (const auto& type : index.at("quantize").at("types"))
    if (type.at("name") == "Q8_0")
      for (const auto& block : type.at("undefined_blocks")) undefined[{block[0].get<int>(), block[1].get<int>()}] = true;
  EXPECT_EQ(undefined.size(), 16u);
  std::vector<uint8_t> got(want.size());
  quantize_q8_0(input.data(), got.data(), static_cast<int64_t>(input.size()));
  std::vector<float> values(input.size());
  dequantize_row(DType::Q8_0, got.data(), values.data(), static_cast<int64_t>(values.size()));
  for (int row = 0; row < 23; ++row)
    for (int block = 0; block < 16; ++block) {
      const size_t b = static_cast<size_t>(row * 16 + block);
      const bool compared = undefined.count({row, block}) == 0;
      if (compared) { EXPECT_EQ(std::memcmp(&got[b * 34], &want[b * 34], 34), 0) << "row " << row << " block " << block; }
      for (size_t i = 32 * b; i < 32 * b + 32; ++i) {
        if (compared) {
          EXPECT_TRUE(same(values[i], want_values[i])) << "row " << row << " value " << i % 512;
        } else {
          EXPECT_FALSE(std::isnan(values[i])) << "row " << row << " value " << i % 512;
        }
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
