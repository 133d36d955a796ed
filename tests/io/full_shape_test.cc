// DeepSeek-R1 at its full size opens in moments and in little memory, and a byte that is missing is noticed.
#include <gtest/gtest.h>

#include <filesystem>

#include "io/model_files.h"
#include "testing/process.h"
#include "testing/sparse_models.h"
#include "testing/temp_dir.h"

namespace raison {
namespace {
using testing::TempDir;

constexpr int64_t kMostKib = 2 << 20;

struct Sums {
  int64_t tensors = 0, elements = 0, fp8 = 0, bf16 = 0, f32 = 0;
};

Sums sums_of(const TensorSource& source) {
  Sums s;
  for (const TensorInfo& t : source.tensors()) {
    ++s.tensors;
    s.elements += t.elements();
    (t.type == DType::F8_E4M3 ? s.fp8 : t.type == DType::BF16 ? s.bf16 : s.f32) += t.elements();
  }
  return s;
}

// Opens the model in a process of its own, so that what it costs can be measured.
void expect_opens(const std::string& path, const Sums& want, const std::string& name, std::vector<int64_t> shape) {
  const auto r = testing::run_forked([&] {
    const auto m = ModelFiles::open(path);
    if (!m.ok()) return 1;
    const Sums s = sums_of(*m->tensors);
    if (s.tensors != want.tensors || s.elements != want.elements || s.fp8 != want.fp8 || s.bf16 != want.bf16 ||
        s.f32 != want.f32)
      return 2;
    const TensorInfo* t = m->tensors->find(name);
    if (!t || t->shape != shape) return 3;
    return t->data[0] == 0 && t->data[t->bytes - 1] == 0 ? 0 : 4;  // mapped to its end
  });
  EXPECT_EQ(r.code, 0) << path << ": 1: not opened, 2: other counts, 3: no " << name << ", 4: other data";
  EXPECT_LT(r.peak_kib, kMostKib);
  printf("%s: %.2f s, %ld MiB\n", path.c_str(), r.seconds, static_cast<long>(r.peak_kib >> 10));
}

void expect_truncation_noticed(const std::string& path, const std::string& file) {
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  const auto m = ModelFiles::open(path);
  ASSERT_FALSE(m.ok());
  EXPECT_NE(m.message().find(file), std::string::npos) << m.message();
  EXPECT_NE(m.message().find("truncated"), std::string::npos) << m.message();
  EXPECT_EQ(m.message().find('\n'), std::string::npos) << m.message();
}

// As the list of names counts them itself.
Sums listed_sums() {
  Sums s;
  std::ifstream in(testing::r1_map_path());
  for (std::string line; std::getline(in, line);) {
    const int64_t n = std::stoll(line.substr(line.find(":elements=") + 10));
    ++s.tensors;
    s.elements += n;
    (line.find(":dtype=bf16:") != std::string::npos ? s.bf16 : s.f32) += n;
  }
  return s;
}

TEST(FullShape, R1AsOneGguf) {
  if (const auto m = testing::missing_r1_data(); !m.empty()) GTEST_SKIP() << m;
  const TempDir dir;
  const auto files = testing::write_sparse_r1_gguf(dir / "r1.gguf");
  if (!files.ok() && testing::no_sparse_files(files.message())) GTEST_SKIP() << files.message();
  ASSERT_TRUE(files.ok()) << files.message();
  ASSERT_EQ(files->size(), 1u);
  EXPECT_GT(std::filesystem::file_size((*files)[0]), uint64_t{1340} * 1000 * 1000 * 1000);
  expect_opens((*files)[0], listed_sums(), "blk.60.ffn_up_exps.weight", {256, 2048, 7168});
  expect_truncation_noticed((*files)[0], (*files)[0]);
}

TEST(FullShape, R1AsGgufInParts) {
  if (const auto m = testing::missing_r1_data(); !m.empty()) GTEST_SKIP() << m;
  const TempDir dir;
  const auto files = testing::write_sparse_r1_gguf(dir / "r1.gguf", uint64_t{48} << 30);
  if (!files.ok() && testing::no_sparse_files(files.message())) GTEST_SKIP() << files.message();
  ASSERT_TRUE(files.ok()) << files.message();
  ASSERT_GT(files->size(), 25u);
  for (const size_t named : {size_t{0}, size_t{7}, files->size() - 1})
    expect_opens((*files)[named], listed_sums(), "blk.60.ffn_up_exps.weight", {256, 2048, 7168});
  expect_truncation_noticed((*files)[3], files->back());
}

// What the published checkpoint's own metadata say of it.
TEST(FullShape, R1AsFp8Folder) {
  if (const auto m = testing::missing_r1_data(); !m.empty()) GTEST_SKIP() << m;
  const TempDir dir;
  const Status written = testing::write_sparse_r1_folder(dir.path());
  if (!written.ok() && testing::no_sparse_files(written.message())) GTEST_SKIP() << written.message();
  ASSERT_TRUE(written.ok()) << written.message();
  const std::string last = dir / "model-00163-of-00163.safetensors";
  ASSERT_TRUE(std::filesystem::exists(last));
  expect_opens(dir.path(), {91991, 684531386000, 680571043840, 3918786560, 41555600},
               "model.layers.61.mlp.experts.255.down_proj.weight", {7168, 2048});
  expect_truncation_noticed(dir.path(), last);
}

}  // namespace
}  // namespace raison
