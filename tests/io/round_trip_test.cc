// What the writers write the readers read back, and the same input gives the same bytes.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <limits>

#include "bytes.h"
#include "io/gguf_writer.h"
#include "io/model_files.h"
#include "io/tensor_read.h"
#include "testing/temp_dir.h"

namespace raison {
namespace {
using testing::Bytes;
using testing::TempDir;

std::vector<uint8_t> pattern(size_t n) {
  std::vector<uint8_t> out(n);
  uint32_t state = 1;
  for (auto& b : out) b = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return out;
}

Metadata all_kinds() {
  Metadata m;
  m.set("general.architecture", std::string("test"));
  m.set("a.true", true);
  m.set("a.false", false);
  m.set("a.u32", uint64_t{4294967295});
  m.set("a.u64", uint64_t{18446744073709551615u});
  m.set("a.i32", int64_t{-2147483648});
  m.set("a.i64", int64_t{-2147483649});
  m.set("a.f32", 0.5);
  m.set("a.f64", 0.1);
  m.set("a.f64_tiny", 1e-300);
  m.set("a.f64_large", 1e300);
  m.set("a.infinity", std::numeric_limits<double>::infinity());
  m.set("a.empty", std::string());
  m.set("a.bytes", std::string("\0\xFF\n", 3));
  m.set("b.flags", std::vector<bool>{true, false, true});
  m.set("b.i32", std::vector<int64_t>{1, -1, 2147483647});
  m.set("b.i64", std::vector<int64_t>{1, int64_t{1} << 40});
  m.set("b.f32", std::vector<double>{0.25, -1e-3f});
  m.set("b.f64", std::vector<double>{0.25, 0.1});
  m.set("b.strings", std::vector<std::string>{"", "a", "\xC4\xA0token", std::string("\xFF\0", 2)});
  m.set("b.none", std::vector<std::string>{});
  m.set("b.no_numbers", std::vector<double>{});
  return m;
}

struct Case {
  const char* name;
  DType type;
  std::vector<int64_t> shape;
};
const std::vector<Case> kCases = {{"f32", DType::F32, {3, 5}},  {"f16", DType::F16, {2, 3, 4}},    {"bf16", DType::BF16, {7}},
                                  {"q8", DType::Q8_0, {3, 64}}, {"i32", DType::I32, {1, 2, 3, 4}}, {"f64", DType::F64, {2}},
                                  {"i8", DType::I8, {33}}};

TEST(GgufWriter, ReadsBackWhatItWrote) {
  const TempDir dir;
  const Metadata meta = all_kinds();
  std::vector<std::vector<uint8_t>> data;
  std::vector<TensorToWrite> tensors;
  for (const Case& c : kCases) {
    uint64_t n = 1;
    for (const int64_t d : c.shape) n *= static_cast<uint64_t>(d);
    data.push_back(pattern(*row_bytes(c.type, n)));
    tensors.push_back({c.name, c.type, c.shape, data.back().data()});
  }
  ASSERT_TRUE(write_gguf(dir / "a.gguf", meta, tensors).ok());
  const auto file = GgufFile::open(dir / "a.gguf");
  ASSERT_TRUE(file.ok()) << file.message();
  EXPECT_EQ((*file)->version(), 3u);
  EXPECT_EQ((*file)->metadata().values(), meta.values());
  ASSERT_EQ((*file)->tensors().size(), kCases.size());
  for (size_t i = 0; i < kCases.size(); ++i) {
    const TensorInfo& t = (*file)->tensors()[i];
    EXPECT_EQ(t.name, kCases[i].name);
    EXPECT_EQ(t.type, kCases[i].type);
    EXPECT_TRUE(t.known_type);
    EXPECT_EQ(t.shape, kCases[i].shape);
    EXPECT_EQ(t.offset % 32, 0u);
    ASSERT_EQ(t.bytes, data[i].size());
    EXPECT_EQ(std::memcmp(t.data, data[i].data(), t.bytes), 0) << t.name;
  }
  ASSERT_TRUE(write_gguf(dir / "b.gguf", meta, tensors).ok());
  EXPECT_EQ(read_file(dir / "a.gguf").value(), read_file(dir / "b.gguf").value());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 2);  // no temporary file is left
}

TEST(GgufWriter, KeepsTheAlignmentItIsGiven) {
  const TempDir dir;
  Metadata meta;
  meta.set("general.alignment", uint64_t{256});
  const auto data = pattern(20);
  ASSERT_TRUE(
      write_gguf(dir / "a.gguf", meta, {{"a", DType::F32, {5}, data.data()}, {"b", DType::F32, {5}, data.data()}}).ok());
  const auto file = GgufFile::open(dir / "a.gguf");
  ASSERT_TRUE(file.ok()) << file.message();
  EXPECT_EQ((*file)->find("b")->offset % 256, 0u);
  EXPECT_EQ((*file)->find("b")->offset, (*file)->find("a")->offset + 256);
}

TEST(GgufWriter, RefusesWhatItCannotWrite) {
  const TempDir dir;
  const auto data = pattern(64);
  const auto refused = [&](const std::vector<TensorToWrite>& tensors, const char* says, const Metadata& meta = {}) {
    const Status s = write_gguf(dir / "bad.gguf", meta, tensors);
    ASSERT_FALSE(s.ok()) << says;
    EXPECT_NE(s.message().find(says), std::string::npos) << s.message();
    EXPECT_FALSE(std::filesystem::exists(dir / "bad.gguf"));
  };
  refused({{"a", DType::F32, {2}, data.data()}, {"a", DType::F32, {2}, data.data()}}, "twice");
  refused({{"", DType::F32, {2}, data.data()}}, "empty");
  refused({{"a", DType::BOOL, {2}, data.data()}}, "no type BOOL");
  refused({{"a", DType::F32, {}, data.data()}}, "1 to 4 dimensions");
  refused({{"a", DType::F32, {1, 1, 1, 1, 1}, data.data()}}, "1 to 4 dimensions");
  refused({{"a", DType::F32, {0}, data.data()}}, "impossible shape");
  refused({{"a", DType::F32, {INT64_MAX, 3}, data.data()}}, "impossible shape");
  refused({{"a", DType::Q8_0, {32, 1}, data.data()}}, "multiple");
  Metadata odd;
  odd.set("general.alignment", uint64_t{48});
  refused({}, "power of two", odd);
  EXPECT_FALSE(write_gguf(dir / "no/such/folder.gguf", {}, {}).ok());
}

// Widths the writer never chooses, version 2, and types only inspect can name.
TEST(GgufReader, EveryValueTypeAndForeignTensors) {
  const TempDir dir;
  Bytes b = testing::gguf_head(2, 9, 2);
  b.str("u8").u32(testing::kU8).u8(255).str("i8").u32(testing::kI8).u8(255);
  b.str("u16").u32(testing::kU16).put<uint16_t>(65535).str("i16").u32(testing::kI16).put<int16_t>(-2);
  b.str("bool").u32(testing::kBool).u8(1).str("f64").u32(testing::kF64).put(0.1);
  b.str("list8").u32(testing::kArray).u32(testing::kI8).u64(2).u8(1).u8(255);
  b.str("list16").u32(testing::kArray).u32(testing::kU16).u64(1).put<uint16_t>(65535);
  b.str("flags").u32(testing::kArray).u32(testing::kBool).u64(2).u8(1).u8(0);
  testing::add_tensor(b, "k", {256, 2}, 15, 0);
  testing::add_tensor(b, "m", {32}, 39, 608);
  b.align(32).zeros(608 + 17);
  const auto file = GgufFile::open(dir.write("a.gguf", b));
  ASSERT_TRUE(file.ok()) << file.message();
  const Metadata& m = (*file)->metadata();
  EXPECT_EQ((*file)->version(), 2u);
  EXPECT_EQ(m.integer("u8"), 255);
  EXPECT_EQ(m.integer("i8"), -1);
  EXPECT_EQ(m.integer("u16"), 65535);
  EXPECT_EQ(m.integer("i16"), -2);
  EXPECT_EQ(m.boolean("bool"), true);
  EXPECT_EQ(m.number("f64"), 0.1);
  EXPECT_EQ(*m.integers("list8"), (std::vector<int64_t>{1, -1}));
  EXPECT_EQ(*m.integers("list16"), std::vector<int64_t>{65535});
  const TensorInfo* k = (*file)->find("k");
  EXPECT_FALSE(k->known_type);
  EXPECT_EQ(k->type_name, "Q8_K");
  EXPECT_EQ(k->bytes, 584u);
  EXPECT_EQ(k->shape, (std::vector<int64_t>{2, 256}));
  EXPECT_EQ((*file)->find("m")->type_name, "MXFP4");
  const auto floats = read_f32(*k);
  ASSERT_FALSE(floats.ok());
  EXPECT_NE(floats.message().find("Q8_K"), std::string::npos);
}

TEST(SafetensorsWriter, ReadsBackWhatItWrote) {
  const TempDir dir;
  const auto data = pattern(4096);
  const std::vector<TensorToWrite> tensors = {
      {"z.first", DType::F32, {3, 5}, data.data()},   {"scalar", DType::I64, {}, data.data()},
      {"none", DType::F32, {0, 7}, nullptr},          {"b\xC3\xA9", DType::BF16, {3}, data.data() + 7},
      {"flags", DType::BOOL, {1, 2, 2}, data.data()}, {"quote\"\n", DType::U8, {5}, data.data()},
  };
  const std::map<std::string, std::string> meta = {{"format", "pt"}, {"text", "line\nline"}};
  const std::string path = dir / "a.safetensors";
  ASSERT_TRUE(write_safetensors(path, tensors, meta).ok());
  const auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.ok()) << file.message();
  EXPECT_EQ((*file)->metadata(), meta);
  ASSERT_EQ((*file)->tensors().size(), tensors.size());
  for (const TensorToWrite& w : tensors) {
    const TensorInfo* t = (*file)->find(w.name);
    ASSERT_NE(t, nullptr) << w.name;
    EXPECT_EQ(t->type, w.type);
    EXPECT_EQ(t->shape, w.shape);
    if (t->bytes > 0) { EXPECT_EQ(std::memcmp(t->data, w.data, t->bytes), 0) << w.name; }
  }
  EXPECT_EQ((*file)->tensors()[0].name, "z.first");
  EXPECT_EQ((*file)->tensors()[0].offset % 8, 0u);
  ASSERT_TRUE(write_safetensors(dir / "b.safetensors", tensors, meta).ok());
  EXPECT_EQ(read_file(path).value(), read_file(dir / "b.safetensors").value());
  ASSERT_TRUE(write_safetensors(dir / "empty.safetensors", {}).ok());
  EXPECT_TRUE(SafetensorsFile::open(dir / "empty.safetensors").ok());
}

TEST(SafetensorsWriter, RefusesWhatItCannotWrite) {
  const TempDir dir;
  const auto data = pattern(64);
  const auto refused = [&](const std::vector<TensorToWrite>& tensors, const char* says) {
    const Status s = write_safetensors(dir / "bad", tensors);
    ASSERT_FALSE(s.ok()) << says;
    EXPECT_NE(s.message().find(says), std::string::npos) << s.message();
  };
  refused({{"a", DType::F32, {2}, data.data()}, {"a", DType::F32, {2}, data.data()}}, "twice");
  refused({{"a", DType::Q8_0, {32}, data.data()}}, "Q8_0");
  refused({{"a", DType::F32, {-1}, data.data()}}, "impossible shape");
  refused({{"__metadata__", DType::F32, {1}, data.data()}}, "cannot be named");
  refused({{"\xFF", DType::F32, {1}, data.data()}}, "cannot be named");
  EXPECT_FALSE(write_safetensors(dir / "bad", {}, {{"k", "\xFF"}}).ok());
}

TEST(TensorRead, NumbersOfEveryType) {
  const TempDir dir;
  const float x[2] = {1.5f, -2};
  const double d[2] = {0.1, -2};
  const uint16_t h[2] = {0x3C00, 0xC000}, b[2] = {0x3F80, 0xC000};
  const int64_t wide[2] = {-5, int64_t{1} << 31}, narrow[2] = {-5, INT32_MAX};
  const int32_t i[2] = {INT32_MIN, 7};
  ASSERT_TRUE(write_safetensors(dir / "t", {{"f32", DType::F32, {2}, x},
                                            {"f64", DType::F64, {2}, d},
                                            {"f16", DType::F16, {2}, h},
                                            {"bf16", DType::BF16, {2}, b},
                                            {"wide", DType::I64, {2}, wide},
                                            {"narrow", DType::I64, {2}, narrow},
                                            {"i32", DType::I32, {2}, i}})
                  .ok());
  const auto file = SafetensorsFile::open(dir / "t");
  ASSERT_TRUE(file.ok()) << file.message();
  const auto floats = [&](const char* name) { return read_f32(*(*file)->find(name)); };
  const auto integers = [&](const char* name) { return read_i32(*(*file)->find(name)); };
  EXPECT_EQ(floats("f32").value(), (std::vector<float>{1.5f, -2}));
  EXPECT_EQ(floats("f64").value(), (std::vector<float>{0.1f, -2}));
  EXPECT_EQ(floats("f16").value(), (std::vector<float>{1, -2}));
  EXPECT_EQ(floats("bf16").value(), (std::vector<float>{1, -2}));
  EXPECT_EQ(integers("narrow").value(), (std::vector<int32_t>{-5, INT32_MAX}));
  EXPECT_EQ(integers("i32").value(), (std::vector<int32_t>{INT32_MIN, 7}));
  EXPECT_FALSE(floats("i32").ok());
  EXPECT_FALSE(integers("f32").ok());
  ASSERT_FALSE(integers("wide").ok());
  EXPECT_NE(integers("wide").message().find("2147483648"), std::string::npos);
}

TEST(GenerationDefaults, ReadsWhatIsGiven) {
  const TempDir dir;
  dir.write("config.json", "{}");
  dir.write("generation_config.json", R"({"do_sample":true,"temperature":0.6,"top_p":0.95,"top_k":-1,"min_p":null,
    "eos_token_id":[3,5],"bos_token_id":1,"pad_token_id":-1,"max_new_tokens":77,"transformers_version":"x"})");
  const auto m = ModelFiles::open(dir.path(), false);
  ASSERT_TRUE(m.ok()) << m.message();
  const GenerationDefaults& g = m->generation;
  EXPECT_EQ(g.do_sample, true);
  EXPECT_EQ(g.temperature, 0.6);
  EXPECT_EQ(g.top_p, 0.95);
  EXPECT_EQ(g.top_k, std::nullopt);
  EXPECT_EQ(g.min_p, std::nullopt);
  EXPECT_EQ(g.eos_ids, (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(g.bos_id, 1);
  EXPECT_EQ(g.pad_id, std::nullopt);
  EXPECT_EQ(g.max_new_tokens, 77);
  EXPECT_TRUE(m->tokenizer_json.empty());
}

}  // namespace
}  // namespace raison
