// FileParameterLoader: every computable type comes into the store with the values that its file holds.
#include "models/loading.h"

#include <gtest/gtest.h>

#include <cstring>

#include "kernels/weights.h"

namespace raison::testing {
namespace {

class MemorySource final : public TensorSource {
 public:
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* find(const std::string& name) const override {
    for (const TensorInfo& t : tensors_)
      if (t.name == name) return &t;
    return nullptr;
  }
  void add(const std::string& name, DType type, std::vector<int64_t> shape, const void* data, size_t bytes) {
    TensorInfo t;
    t.name = name;
    t.type = type;
    t.type_name = dtype_name(type);
    t.shape = std::move(shape);
    t.data = static_cast<const uint8_t*>(data);
    t.bytes = bytes;
    tensors_.push_back(t);
  }

 private:
  std::vector<TensorInfo> tensors_;
};

ModelFiles files_of(std::shared_ptr<MemorySource> source, ModelFiles::Format format) {
  ModelFiles files;
  files.format = format;
  files.path = "m";
  files.tensors = std::move(source);
  return files;
}

std::vector<float> unpacked(const Parameter& p) {
  std::vector<float> values(static_cast<size_t>(p.matrix.rows() * p.matrix.cols()));
  p.matrix.unpack_f32(values.data());
  return values;
}

TEST(Loading, BlockTypesAsTheyLieAndAsMasters) {
  constexpr int64_t rows = 24, cols = 512;
  for (const DType type : block_types()) {
    SCOPED_TRACE(dtype_name(type));
    const std::vector<uint8_t> raw = random_rows(type, rows, cols, 5);
    std::vector<float> want(rows * cols), reordered(want.size());
    dequantize_row(type, raw.data(), want.data(), rows * cols);
    for (int64_t r = 0; r < rows; ++r) {  // three heads of eight rows: pairs come apart
      const int64_t from = r / 8 * 8 + r % 4 * 2 + r % 8 / 4;
      std::memcpy(&reordered[static_cast<size_t>(r * cols)], &want[static_cast<size_t>(from * cols)], cols * sizeof(float));
    }
    auto source = std::make_shared<MemorySource>();
    source->add("w", type, {rows, cols}, raw.data(), raw.size());
    const ModelFiles files = files_of(source, ModelFiles::Format::Gguf);
    for (const bool trainable : {false, true}) {
      LoadOptions options;
      options.trainable = trainable;
      FileParameterLoader loader(files, options);
      ParameterStore store;
      auto plain = loader.matrix(store, "a", "w", rows, cols, 0);
      ASSERT_TRUE(plain.ok()) << plain.message();
      EXPECT_EQ((*plain)->matrix.type(), trainable ? DType::F32 : type);
      EXPECT_EQ(std::memcmp(unpacked(**plain).data(), want.data(), want.size() * 4), 0);
      auto heads = loader.matrix(store, "b", "w", rows, cols, 3);
      ASSERT_TRUE(heads.ok()) << heads.message();
      EXPECT_EQ(std::memcmp(unpacked(**heads).data(), reordered.data(), want.size() * 4), 0);
    }
  }
}

TEST(Loading, RepacksWhereTheWidthAllows) {
  const std::vector<uint8_t> raw = random_rows(DType::Q4_K, 3, 256, 6);
  const std::vector<float> odd(3 * 40, 0.5f);
  auto source = std::make_shared<MemorySource>();
  source->add("w", DType::Q4_K, {3, 256}, raw.data(), raw.size());
  source->add("odd", DType::F32, {3, 40}, odd.data(), odd.size() * 4);
  const ModelFiles files = files_of(source, ModelFiles::Format::Gguf);
  LoadOptions options;
  options.repack = DType::Q8_0;
  FileParameterLoader loader(files, options);
  ParameterStore store;
  auto w = loader.matrix(store, "w", "w", 3, 256, 0), narrow = loader.matrix(store, "odd", "odd", 3, 40, 0);
  ASSERT_TRUE(w.ok() && narrow.ok());
  EXPECT_EQ((*w)->matrix.type(), DType::Q8_0);
  EXPECT_EQ((*narrow)->matrix.type(), DType::F32);
}

TEST(Loading, Fp8WithItsScales) {
  constexpr int64_t rows = 200, cols = 300;
  std::vector<uint8_t> codes(rows * cols);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i * 11 % 126);
  const std::vector<float> scales = {0.5f, 0.25f, 3.0f, -1.0f, 0.1f, 7.0f};
  std::vector<float> want(codes.size());
  for (int64_t r = 0; r < rows; ++r)
    dequantize_fp8_row(&codes[static_cast<size_t>(r * cols)], r, cols, scales.data(), &want[static_cast<size_t>(r * cols)]);
  auto source = std::make_shared<MemorySource>();
  source->add("w", DType::F8_E4M3, {rows, cols}, codes.data(), codes.size());
  source->add("w_scale_inv", DType::F32, {2, 3}, scales.data(), scales.size() * 4);
  source->add("bare", DType::F8_E4M3, {rows, cols}, codes.data(), codes.size());
  source->add("wrong", DType::F8_E4M3, {rows, cols}, codes.data(), codes.size());
  source->add("wrong_scale_inv", DType::F32, {3, 2}, scales.data(), scales.size() * 4);
  const ModelFiles files = files_of(source, ModelFiles::Format::HfFolder);
  for (const bool trainable : {false, true}) {
    LoadOptions options;
    options.trainable = trainable;
    FileParameterLoader loader(files, options);
    ParameterStore store;
    auto w = loader.matrix(store, "w", "", rows, cols, 0);
    ASSERT_TRUE(w.ok()) << w.message();
    EXPECT_EQ((*w)->matrix.type(), trainable ? DType::F32 : DType::F8_E4M3);
    EXPECT_EQ(unpacked(**w), want);
    EXPECT_TRUE(loader.finish({"bare", "wrong", "wrong_scale_inv"}).ok());  // the scales are taken too
    for (const char* name : {"bare", "wrong"}) {
      auto bad = loader.matrix(store, name, "", rows, cols, 0);
      ASSERT_FALSE(bad.ok());
      EXPECT_NE(bad.message().find(std::string(name) + "_scale_inv"), std::string::npos) << bad.message();
    }
  }
}

}  // namespace
}  // namespace raison::testing
