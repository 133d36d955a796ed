// Files made by other programs: read in full and compared with what those programs say of them.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "io/model_files.h"
#include "io/tensor_read.h"
#include "testing/shared_data.h"

namespace raison {
namespace {
namespace fs = std::filesystem;

// 64-bit FNV-1a with the offset basis of the dump's author (one digit short of the usual one).
struct Fnv {
  uint64_t h = 1469598103934665603u;
  void add(const void* data, size_t n) {
    const auto* p = static_cast<const uint8_t*>(data);
    for (size_t i = 0; i < n; ++i) h = (h ^ p[i]) * 0x100000001b3u;
  }
  std::string text() const { return fmt::format("fnv:{:016x}", h); }
};

// A value as the dump writes it. The kind is the dump's, since metadata keeps no widths.
std::string dumped(const MetaValue& v, const std::string& kind) {
  Fnv f;
  if (auto* s = std::get_if<std::string>(&v)) return fmt::format("str \"{}\"", *s);
  if (auto* u = std::get_if<uint64_t>(&v)) return fmt::format("u32 {}", *u);
  if (auto* d = std::get_if<double>(&v)) {
    const auto x = static_cast<float>(*d);
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return fmt::format("f32 f32:{:08x}", bits);
  }
  if (auto* l = std::get_if<std::vector<std::string>>(&v)) {
    for (const auto& s : *l) f.add(s.c_str(), s.size() + 1);
    return fmt::format("arr str x{} {}", l->size(), f.text());
  }
  if (auto* l = std::get_if<std::vector<double>>(&v)) {
    for (const double d : *l) {
      const auto x = static_cast<float>(d);
      f.add(&x, 4);
    }
    return fmt::format("arr f32 x{} {}", l->size(), f.text());
  }
  if (auto* l = std::get_if<std::vector<int64_t>>(&v)) {
    for (const int64_t i : *l) {
      const auto x = static_cast<int32_t>(i);
      f.add(&x, 4);
    }
    return fmt::format("arr i32 x{} {}", l->size(), f.text());
  }
  return "unexpected kind, the dump has " + kind;
}

std::string dumped(const TensorInfo& t) {
  Fnv f;
  f.add(t.data, t.bytes);
  std::string type = t.type_name;
  for (char& c : type) c = static_cast<char>(std::tolower(c));
  return fmt::format("{} at {} size {} {}", type, t.offset, t.bytes, f.text());
}

TEST(RealGguf, Stories260kEqualsGgmlsDump) {
  const std::string folder = testing::shared_dir() + "/refdata/weights/stories260K/";
  if (!fs::exists(folder)) GTEST_SKIP() << testing::missing(folder);
  const auto file = GgufFile::open(folder + "stories260K.gguf");
  ASSERT_TRUE(file.ok()) << file.message();
  const GgufFile& gguf = **file;
  std::ifstream dump(folder + "gguf_dump_golden.txt");
  std::string line, word, name;
  size_t keys = 0, tensors = 0;
  while (std::getline(dump, line)) {
    std::istringstream words(line);
    words >> word >> name;
    const size_t rest = word.size() + name.size() + 2;
    if (word == "version") { EXPECT_EQ(std::to_string(gguf.version()), name); }
    if (word == "kv") {
      const MetaValue* v = gguf.metadata().find(name);
      ASSERT_NE(v, nullptr) << name;
      EXPECT_EQ(dumped(*v, line), line.substr(rest)) << name;
      ++keys;
    }
    if (word == "tensor") {
      ASSERT_LT(tensors, gguf.tensors().size());
      EXPECT_EQ(gguf.tensors()[tensors].name, name);
      EXPECT_EQ(dumped(gguf.tensors()[tensors]), line.substr(rest)) << name;
      EXPECT_EQ(gguf.find(name), &gguf.tensors()[tensors]);
      ++tensors;
    }
  }
  EXPECT_EQ(keys, 19u);
  EXPECT_EQ(keys, gguf.metadata().values().size());
  EXPECT_EQ(tensors, 48u);
  EXPECT_EQ(tensors, gguf.tensors().size());
  EXPECT_EQ(gguf.find("token_embd.weight")->shape, (std::vector<int64_t>{512, 64}));
  EXPECT_EQ(gguf.find("blk.0.ffn_down.weight")->shape, (std::vector<int64_t>{64, 172}));
  EXPECT_EQ(gguf.find("no such tensor"), nullptr);
}

TEST(RealGguf, Stories260kAsModel) {
  const std::string path = testing::shared_dir() + "/refdata/weights/stories260K/stories260K.gguf";
  if (!fs::exists(path)) GTEST_SKIP() << testing::missing(path);
  const auto m = ModelFiles::open(path);
  ASSERT_TRUE(m.ok()) << m.message();
  EXPECT_EQ(m->format, ModelFiles::Format::Gguf);
  EXPECT_EQ(m->generation.bos_id, 1);
  EXPECT_EQ(m->generation.eos_ids, std::vector<int64_t>{2});
  EXPECT_EQ(m->generation.pad_id, std::nullopt);  // 4294967295
  const auto norm = read_f32(*m->tensors->find("output_norm.weight"));
  ASSERT_TRUE(norm.ok());
  EXPECT_EQ(norm->size(), 64u);
  EXPECT_EQ(std::memcmp(norm->data(), m->tensors->find("output_norm.weight")->data, 256), 0);
}

TEST(RealGguf, VocabularyFiles) {
  const std::string folder = testing::shared_dir() + "/refdata/tokenizers/llama.cpp";
  if (!fs::exists(folder)) GTEST_SKIP() << testing::missing(folder);
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    ++files;
    const auto gguf = GgufFile::open(entry.path().string());
    ASSERT_TRUE(gguf.ok()) << gguf.message();
    EXPECT_TRUE((*gguf)->tensors().empty());
    const auto* tokens = (*gguf)->metadata().strings("tokenizer.ggml.tokens");
    ASSERT_NE(tokens, nullptr);
    EXPECT_GT(tokens->size(), 30000u) << entry.path();
  }
  EXPECT_GE(files, 4);
}

// Every safetensors file of the goldens opens, covers its bytes and gives its numbers.
TEST(RealSafetensors, AllGoldens) {
  const std::string root = testing::shared_dir() + "/goldens";
  if (!fs::exists(root)) GTEST_SKIP() << testing::missing(root);
  int files = 0, floats = 0, integers = 0, fp8 = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".safetensors") continue;
    ++files;
    const auto file = SafetensorsFile::open(entry.path().string());
    ASSERT_TRUE(file.ok()) << file.message();
    uint64_t bytes = 0;
    for (const TensorInfo& t : (*file)->tensors()) {
      bytes += t.bytes;
      EXPECT_EQ((*file)->find(t.name), &t);
      const auto as_floats = read_f32(t);
      const auto as_integers = read_i32(t);
      if (as_floats.ok()) { EXPECT_EQ(static_cast<int64_t>(as_floats->size()), t.elements()); }
      if (as_integers.ok()) { EXPECT_EQ(static_cast<int64_t>(as_integers->size()), t.elements()); }
      floats += as_floats.ok();
      integers += as_integers.ok();
      fp8 += t.type == DType::F8_E4M3 && t.known_type;
    }
    uint64_t header = 0;
    std::ifstream(entry.path(), std::ios::binary).read(reinterpret_cast<char*>(&header), 8);
    EXPECT_EQ(8 + header + bytes, fs::file_size(entry.path())) << entry.path();
  }
  EXPECT_GE(files, 60);
  EXPECT_GT(floats, 1000);
  EXPECT_GT(integers, 10);
  EXPECT_GT(fp8, 0);  // the FP8 weights of deepseek_v3_fp8
}

TEST(RealSafetensors, ModelFoldersAndTheirShards) {
  const std::string root = testing::shared_dir() + "/goldens";
  if (!fs::exists(root)) GTEST_SKIP() << testing::missing(root);
  int folders = 0, sharded = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().filename() != "config.json") continue;
    ++folders;
    const fs::path folder = entry.path().parent_path();
    const auto m = ModelFiles::open(folder.string());
    ASSERT_TRUE(m.ok()) << m.message();
    EXPECT_FALSE(m->tensors->tensors().empty());
    EXPECT_TRUE(m->config.is_object());
    EXPECT_FALSE(m->tokenizer_json.empty());
    EXPECT_FALSE(m->generation.eos_ids.empty()) << folder;
    const auto bare = ModelFiles::open(folder.string(), false);
    ASSERT_TRUE(bare.ok());
    EXPECT_TRUE(bare->tensors->tensors().empty());
    const fs::path index = folder / "model.safetensors.index.json";
    if (!fs::exists(index)) continue;
    ++sharded;
    const auto map = read_json_file(index.string());
    ASSERT_TRUE(map.ok()) << map.message();
    EXPECT_EQ((*map)["weight_map"].size(), m->tensors->tensors().size());
    for (const auto& [name, shard] : (*map)["weight_map"].items()) {
      const TensorInfo* t = m->tensors->find(name);
      ASSERT_NE(t, nullptr) << name;
      EXPECT_EQ(fs::path(t->file->path()).filename().string(), shard.get<std::string>());
    }
  }
  EXPECT_GE(folders, 9);
  EXPECT_GE(sharded, 3);
}

}  // namespace
}  // namespace raison
