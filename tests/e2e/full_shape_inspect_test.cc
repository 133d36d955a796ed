// `raison inspect` of DeepSeek-R1 in its full shape: named, counted, in little memory.
#include <gtest/gtest.h>

#include <filesystem>

#include "testing/process.h"
#include "testing/sparse_models.h"
#include "testing/temp_dir.h"

namespace raison {
namespace {
using testing::RunResult;

void expect_r1(const std::string& path, const char* title) {
  const RunResult r = testing::run_program({RAISON_BINARY, "inspect", path, "--json"});
  ASSERT_EQ(r.code, 0) << r.err;
  const auto j = nlohmann::json::parse(r.out);
  EXPECT_EQ(j.at("title"), title);
  EXPECT_TRUE(j.at("supported")) << r.out;
  EXPECT_EQ(j.at("parameters"), 671026419200);
  EXPECT_EQ(j.at("active_parameters"), 36625618432);
  EXPECT_EQ(j.at("experts"), 256);
  EXPECT_EQ(j.at("experts_used"), 8);
  EXPECT_EQ(j.at("f16_cache_bytes_per_token"), 61 * 576 * 2);
  EXPECT_TRUE(j.at("tokenizer").at("think_tokens"));
  EXPECT_LT(r.peak_kib, 2 << 20);
  printf("%s: inspected in %.2f s, %ld MiB\n", path.c_str(), r.seconds, static_cast<long>(r.peak_kib >> 10));
}

TEST(FullShapeInspect, R1AsGgufAndAsFp8Folder) {
  if (const auto m = testing::missing_r1_data(); !m.empty()) GTEST_SKIP() << m;
  const testing::TempDir dir;
  const auto gguf = testing::write_sparse_r1_gguf(dir / "r1.gguf");
  if (!gguf.ok() && testing::no_sparse_files(gguf.message())) GTEST_SKIP() << gguf.message();
  ASSERT_TRUE(gguf.ok()) << gguf.message();
  expect_r1((*gguf)[0], "DeepSeek-R1 671B, 37B active, BF16");
  std::filesystem::create_directory(dir / "r1");
  const Status written = testing::write_sparse_r1_folder(dir / "r1");
  if (!written.ok() && testing::no_sparse_files(written.message())) GTEST_SKIP() << written.message();
  ASSERT_TRUE(written.ok()) << written.message();
  expect_r1(dir / "r1", "DeepSeek-R1 671B, 37B active, FP8");
}

}  // namespace
}  // namespace raison
