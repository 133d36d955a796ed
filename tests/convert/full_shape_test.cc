// What is written of DeepSeek-R1 at its full size is known in little memory, in either direction.
#include <gtest/gtest.h>

#include <set>

#include "convert/convert.h"
#include "testing/process.h"
#include "testing/sparse_models.h"
#include "testing/temp_dir.h"

namespace raison {
namespace {

// In a process of its own, so that what it costs can be measured. `plan`: 0, or what went wrong.
void expect_planned(const std::string& path,
                    const std::function<int(const ModelFiles&, const Model&, const std::vector<ParameterSpec>&)>& plan) {
  const auto r = testing::run_forked([&] {
    const auto files = ModelFiles::open(path);
    if (!files.ok()) return 1;
    std::vector<ParameterSpec> specs;
    const auto model = outline_model(*files, &specs);
    return model.ok() ? plan(*files, **model, specs) : 2;
  });
  EXPECT_EQ(r.code, 0) << path << ": 1: not opened, 2: refused, 3: no tensors, 4: others than there should be";
  EXPECT_LT(r.peak_kib, 2 << 20);
  printf("%s: planned in %.2f s, %ld MiB\n", path.c_str(), r.seconds, static_cast<long>(r.peak_kib >> 10));
}

std::set<std::pair<std::string, std::vector<int64_t>>> set_of(const std::vector<OutputTensor>& tensors) {
  std::set<std::pair<std::string, std::vector<int64_t>>> out;
  for (const OutputTensor& t : tensors) out.insert({t.name, t.rows->shape()});
  return out;
}

TEST(FullShape, R1sFp8FolderAsGguf) {
  if (const auto m = testing::missing_r1_data(); !m.empty()) GTEST_SKIP() << m;
  const testing::TempDir dir;
  const Status written = testing::write_sparse_r1_folder(dir.path());
  if (!written.ok() && testing::no_sparse_files(written.message())) GTEST_SKIP() << written.message();
  ASSERT_TRUE(written.ok()) << written.message();
  expect_planned(dir.path(), [](const ModelFiles& files, const Model& model, const std::vector<ParameterSpec>& specs) {
    std::vector<std::string> left_out;
    const auto said = model.gguf_config();
    const auto tensors = gguf_tensors_of_hf(files, specs, {}, DType::F32, &left_out);
    if (!said.ok() || !tensors.ok()) return 3;
    std::set<std::pair<std::string, std::vector<int64_t>>> published;
    for (const TensorSpec& t : testing::r1_gguf_tensors()) published.insert({t.name, t.shape});
    return set_of(*tensors) == published && left_out.size() > 768 ? 0 : 4;
  });
}

TEST(FullShape, R1sGgufAsFolder) {
  if (const auto m = testing::missing_r1_data(); !m.empty()) GTEST_SKIP() << m;
  const testing::TempDir dir;
  const auto written = testing::write_sparse_r1_gguf(dir / "r1.gguf");
  if (!written.ok() && testing::no_sparse_files(written.message())) GTEST_SKIP() << written.message();
  ASSERT_TRUE(written.ok()) << written.message();
  expect_planned((*written)[0], [](const ModelFiles& files, const Model& model, const std::vector<ParameterSpec>& specs) {
    std::vector<std::string> left_out;
    const auto tensors = hf_tensors_of_gguf(*files.gguf, specs, DType::BF16, &left_out);
    if (!model.expressible_in_hf().ok() || !tensors.ok()) return 3;
    std::set<std::pair<std::string, std::vector<int64_t>>> want;
    for (const ParameterSpec& s : specs) want.insert({s.hf, s.shape});
    return set_of(*tensors) == want && want.size() == 45395 && left_out.empty() ? 0 : 4;
  });
}

}  // namespace
}  // namespace raison
