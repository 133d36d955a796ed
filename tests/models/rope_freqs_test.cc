// Divisors of rotary frequencies in a GGUF file are the file's word: nonsense must be refused, not computed with.
#include <gtest/gtest.h>

#include <cmath>

#include "io/gguf_writer.h"
#include "models/registry.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {

Status describe_with(const std::vector<float>& divisors) {
  const TempDir dir;
  Metadata m;
  m.set("general.architecture", std::string("llama"));
  for (const auto& [key, value] : std::vector<std::pair<std::string, int64_t>>{{"embedding_length", 8},
                                                                               {"feed_forward_length", 16},
                                                                               {"block_count", 1},
                                                                               {"attention.head_count", 1}})
    m.set("llama." + key, value);
  const std::vector<float> embedding(5 * 8, 0.5f);
  const Status written = write_gguf(
      dir / "m.gguf", m,
      {{"token_embd.weight", DType::F32, {5, 8}, embedding.data()},
       {"rope_freqs.weight", DType::F32, {static_cast<int64_t>(divisors.size())}, divisors.data()}});
  if (!written.ok()) return written;
  RAISON_ASSIGN(const ModelFiles files, ModelFiles::open(dir / "m.gguf"));
  const auto info = describe_model(files);
  return info.ok() ? Status() : Status(info.error());
}

TEST(RopeFreqs, AreFiniteAndOfSenseOrRefused) {
  EXPECT_TRUE(describe_with({1, 1, 8, 32}).ok()) << describe_with({1, 1, 8, 32}).message();
  for (float bad : {0.0f, -1.0f, 1e-30f, 1e30f, NAN, INFINITY}) {
    const Status s = describe_with({1, 1, bad, 1});
    ASSERT_FALSE(s.ok()) << bad;
    EXPECT_NE(s.message().find("rope_freqs.weight"), std::string::npos) << s.message();
  }
}

}  // namespace
}  // namespace raison::testing
