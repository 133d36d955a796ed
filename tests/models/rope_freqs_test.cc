// GGUF's rope_freqs.weight divides frequencies: values that would make angles infinite or NaN are refused by name.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "io/gguf_writer.h"
#include "models/model.h"
#include "testing/temp_dir.h"

namespace raison {
namespace {

Result<ModelInfo> described(const std::vector<float>& divisors) {
  testing::TempDir dir;
  const std::vector<float> embedding(5 * 8);
  Metadata meta;
  meta.set("general.architecture", "llama");
  for (const auto& [key, value] : std::initializer_list<std::pair<const char*, int64_t>>{
           {"embedding_length", 8}, {"feed_forward_length", 8}, {"block_count", 1}, {"attention.head_count", 1}})
    meta.set(std::string("llama.") + key, value);
  const std::string path = dir / "model.gguf";
  const Status written = write_gguf(
      path, meta,
      {{"token_embd.weight", DType::F32, {5, 8}, embedding.data()}, {"rope_freqs.weight", DType::F32, {4}, divisors.data()}});
  EXPECT_TRUE(written.ok());
  RAISON_ASSIGN(const ModelFiles files, ModelFiles::open(path));
  return describe_model(files);
}

TEST(RopeFreqs, AreFiniteAndOfASensibleSize) {
  for (float good : {1.0f, 8.0f, 1e-6f, 1e6f}) {
    const auto info = described({1.0f, 1.0f, good, 1.0f});
    EXPECT_TRUE(info.ok()) << good << ": " << (info.ok() ? "" : info.message());
  }
  const float inf = std::numeric_limits<float>::infinity();
  for (float bad : {0.0f, -0.0f, -1.0f, 9e-7f, 1e-30f, 1.1e6f, inf, -inf, std::nanf("")}) {
    const auto info = described({1.0f, 1.0f, 1.0f, bad});
    ASSERT_FALSE(info.ok()) << bad;
    EXPECT_NE(info.message().find("model.gguf"), std::string::npos) << info.message();
    EXPECT_NE(info.message().find("rope_freqs.weight"), std::string::npos) << info.message();
    EXPECT_EQ(info.message().find('\n'), std::string::npos) << info.message();
  }
}

}  // namespace
}  // namespace raison
