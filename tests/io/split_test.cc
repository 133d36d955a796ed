// Models in several files: GGUF parts and safetensors shards, whole and in every state of disorder.
#include <gtest/gtest.h>

#include <filesystem>

#include "bytes.h"
#include "io/model_files.h"
#include "testing/temp_dir.h"

namespace raison {
namespace {
using testing::Bytes;
using testing::gguf_head;
using testing::gguf_part;
using testing::TempDir;

using Files = std::vector<std::pair<std::string, std::string>>;

// Opening `open` fails; the one line names `file` and says `says`.
struct SplitFault {
  const char* name;
  Files files;
  const char* open;
  const char* file;
  const char* says;
};

void expect_fault(const SplitFault& f) {
  SCOPED_TRACE(f.name);
  const TempDir dir;
  for (const auto& [name, bytes] : f.files) dir.write(name, bytes);
  const auto opened = ModelFiles::open(*f.open ? dir / f.open : dir.path());
  ASSERT_FALSE(opened.ok());
  const std::string& m = opened.message();
  EXPECT_EQ(m.find('\n'), std::string::npos) << m;
  EXPECT_EQ(m.rfind(dir / f.file, 0), 0u) << m << "\nmust begin with " << f.file;
  EXPECT_NE(m.find(f.says), std::string::npos) << m;
  EXPECT_LT(m.size(), 500u) << m;
}

TEST(GgufParts, AnyPartOpensAll) {
  const TempDir dir;
  dir.write("m-00001-of-00003.gguf", gguf_part(0, 3, 3, {"a", "b"}, "llama"));
  dir.write("m-00002-of-00003.gguf", gguf_part(1, 3, 3, {}));  // a part may be empty
  dir.write("m-00003-of-00003.gguf", gguf_part(2, 3, -1, {"c"}, "llama"));
  for (const char* part : {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"}) {
    const auto m = ModelFiles::open(dir / part);
    ASSERT_TRUE(m.ok()) << m.message();
    EXPECT_EQ(m->format, ModelFiles::Format::Gguf);
    EXPECT_EQ(m->path, dir / part);
    EXPECT_EQ(m->gguf->path(), dir / "m-00001-of-00003.gguf");
    EXPECT_EQ(m->gguf->paths().size(), 3u);
    EXPECT_EQ(m->gguf->metadata().string("general.architecture"), "llama");
    ASSERT_EQ(m->tensors->tensors().size(), 3u);
    const char* names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; ++i) {
      const TensorInfo& t = m->tensors->tensors()[i];
      EXPECT_EQ(t.name, names[i]);
      EXPECT_EQ(m->tensors->find(t.name), &t);
      EXPECT_EQ(t.data, t.file->data() + t.offset);
      EXPECT_EQ(t.file->path(), dir / (i == 2 ? "m-00003-of-00003.gguf" : "m-00001-of-00003.gguf"));
    }
  }
}

// The first part may hold metadata alone; a single part is a whole file under any name.
TEST(GgufParts, OddButSound) {
  const TempDir dir;
  dir.write("m-00001-of-00002.gguf", gguf_part(0, 2, 1, {}, "llama"));
  dir.write("m-00002-of-00002.gguf", gguf_part(1, 2, 1, {"a"}));
  const auto m = ModelFiles::open(dir / "m-00002-of-00002.gguf");
  ASSERT_TRUE(m.ok()) << m.message();
  EXPECT_EQ(m->tensors->tensors().size(), 1u);
  for (const std::string& bytes : {gguf_part(0, 1, 1, {"a"}), gguf_part(-1, 1, -1, {"a"}), gguf_part(-1, -1, -1, {"a"})})
    for (const char* name : {"whole.gguf", "x-00001-of-00004.gguf", "noextension"}) {
      const auto whole = ModelFiles::open(dir.write(name, bytes));
      EXPECT_TRUE(whole.ok()) << whole.message();
    }
}

std::string part_with(const std::string& key, uint32_t type, const std::string& value) {
  return gguf_head(0, 2).str("split.no").u32(testing::kU16).put<uint16_t>(0).str(key).u32(type).raw(value).zeros(64);
}

TEST(GgufParts, Faults) {
  const char *p1 = "m-00001-of-00003.gguf", *p2 = "m-00002-of-00003.gguf", *p3 = "m-00003-of-00003.gguf";
  const std::string first = gguf_part(0, 3, 3, {"a"}, "llama"), second = gguf_part(1, 3, 3, {"b"});
  const std::string third = gguf_part(2, 3, 3, {"c"});
  const auto with_third = [&](const std::string& bytes) { return Files{{p1, first}, {p2, second}, {p3, bytes}}; };
  const auto with_first = [&](const std::string& bytes) { return Files{{p1, bytes}, {p2, second}, {p3, third}}; };
  const std::string magic_gone = "GGML" + third.substr(4);
  const std::vector<SplitFault> faults = {
      {"second_missing", {{p1, first}, {p3, third}}, p1, p2, "is missing; the model is in 3 parts"},
      {"first_missing", {{p2, second}, {p3, third}}, p3, p1, "is missing"},
      {"all_others_missing", {{p2, second}}, p2, p1, "and 1 more of the model's 3 parts"},
      {"many_missing",
       {{"m-00007-of-65535.gguf", gguf_part(6, 65535, 3, {})}},
       "m-00007-of-65535.gguf",
       "m-00001-of-65535.gguf",
       "and 65533 more"},
      {"part_is_folder_shaped_name", {{p1, first}, {p2, second}, {"m-0003-of-00003.gguf", third}}, p1, p3, "is missing"},
      {"named_as_no_part",
       {{"m.gguf", first}},
       "m.gguf",
       "m.gguf",
       "is part 1 of 3, but its name is not NAME-00001-of-00003.gguf"},
      {"name_without_stem", {{"-00001-of-00003", first}}, "-00001-of-00003", "-00001-of-00003", "its name is not"},
      {"named_as_another_part",
       {{p1, second}, {p2, first}, {p3, third}},
       p1,
       p1,
       "says part 1 of 3, the file says part 2 of 3"},
      {"named_with_another_count",
       {{"m-00001-of-00004.gguf", first}},
       "m-00001-of-00004.gguf",
       "m-00001-of-00004.gguf",
       "says part 1 of 4, the file says part 1 of 3"},
      {"two_parts_swapped", {{p1, first}, {p2, third}, {p3, second}}, p1, p2, "says it is part 3, its name 2"},
      {"part_twice", {{p1, first}, {p2, second}, {p3, second}}, p1, p3, "says it is part 2, its name 3"},
      {"part_of_two", with_third(gguf_part(1, 2, 3, {"c"})), p1, p3, "is of another model: it says 2 parts, its name 3"},
      {"part_without_keys", with_third(gguf_part(-1, -1, -1, {"c"})), p1, p3, "is not a part of a split model"},
      {"part_whole", with_third(gguf_part(0, 1, 1, {"c"})), p1, p3, "is of another model"},
      {"part_without_number", with_third(gguf_part(-1, 3, 3, {"c"})), p1, p3, "split.no is missing or no number"},
      {"number_beyond_count", with_third(gguf_part(3, 3, 3, {"c"})), p1, p3,
       "split.no is missing or no number between 0 and 2"},
      {"count_zero", {{p1, gguf_part(0, 0, 3, {"a"})}}, p1, p1, "split.count is missing or no number between 1"},
      {"number_without_count", {{p1, gguf_part(0, -1, 3, {"a"})}}, p1, p1, "has the key split.no but no split.count"},
      {"total_without_count", {{p1, gguf_part(-1, -1, 3, {"a"})}}, p1, p1, "split.tensors.count but no split.count"},
      {"count_is_text", {{p1, part_with("split.count", testing::kString, Bytes().str("3"))}}, p1, p1, "split.count"},
      {"count_negative", {{p1, part_with("split.count", testing::kI32, Bytes().u32(UINT32_MAX))}}, p1, p1, "split.count"},
      {"count_huge", {{p1, part_with("split.count", testing::kU64, Bytes().u64(UINT64_MAX))}}, p1, p1, "split.count"},
      {"first_without_total", with_first(gguf_part(0, 3, -1, {"a"}, "llama")), p2, p1, "split.tensors.count is missing"},
      {"total_too_large", with_first(gguf_part(0, 3, 4, {"a"}, "llama")), p1, p2, "it says 3 tensors in all"},
      {"total_wrong_everywhere",
       {{p1, gguf_part(0, 3, 4, {"a"})}, {p2, gguf_part(1, 3, 4, {"b"})}, {p3, gguf_part(2, 3, 4, {"c"})}},
       p1,
       p1,
       "split.tensors.count says 4 tensors, its 3 parts hold 3"},
      {"tensor_too_many", with_third(gguf_part(2, 3, 3, {"c", "d"})), p2, p1, "says 3 tensors, its 3 parts hold 4"},
      {"tensor_in_two_parts", with_third(gguf_part(2, 3, 3, {"a"})), p1, p3, "tensor a is also in m-00001-of-00003.gguf"},
      {"other_architecture", with_third(gguf_part(2, 3, 3, {"c"}, "qwen2")), p1, p3, "its architecture is \"qwen2\""},
      {"part_cut", with_third(third.substr(0, third.size() - 1)), p1, p3, "truncated"},
      {"part_cut_in_header", with_third(third.substr(0, 80)), p1, p3, "truncated"},
      {"part_empty", with_third(""), p1, p3, "not a GGUF file"},
      {"part_no_gguf", with_third(magic_gone), p1, p3, "not a GGUF file"},
      {"named_part_cut", with_third(third.substr(0, third.size() - 1)), p3, p3, "truncated"},
      {"whole_with_number", {{"m.gguf", gguf_part(1, 1, 1, {"a"})}}, "m.gguf", "m.gguf", "split.no is missing or no number"},
      {"whole_with_wrong_total",
       {{"m.gguf", gguf_part(0, 1, 2, {"a"})}},
       "m.gguf",
       "m.gguf",
       "split.tensors.count does not say 1"},
  };
  EXPECT_GE(faults.size(), 30u);
  for (const SplitFault& f : faults) expect_fault(f);
}

// A vocabulary of 2^40 empty strings in a file of holes must not fill the memory.
TEST(GgufFaults, ArrayLargerThanAnyVocabulary) {
  const TempDir dir;
  const std::string path =
      dir.write("sparse.gguf", gguf_head(0, 1).str("tokens").u32(testing::kArray).u32(testing::kString).u64(uint64_t{1} << 34));
  std::error_code ec;
  std::filesystem::resize_file(path, uint64_t{1} << 40, ec);
  if (ec) GTEST_SKIP() << "NO SPARSE FILES: " << ec.message();
  const auto file = GgufFile::open(path);
  ASSERT_FALSE(file.ok());
  EXPECT_NE(file.message().find("key tokens claims 17179869184 values, more than"), std::string::npos) << file.message();
}

std::string shard(const std::vector<std::string>& names) {
  std::string header = "{";
  for (size_t i = 0; i < names.size(); ++i)
    header += fmt::format("{}\"{}\":{{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[{},{}]}}", i > 0 ? "," : "", names[i],
                          8 * i, 8 * i + 8);
  return testing::safetensors_bytes(header + "}", 8 * names.size());
}

TEST(Shards, Faults) {
  const char* index = "model.safetensors.index.json";
  const std::pair<std::string, std::string> config = {"config.json", "{}"};
  const std::string ab = R"({"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})";
  const auto with = [&](const std::string& map, const Files& more = {}) {
    Files files = {config, {index, map}};
    files.insert(files.end(), more.begin(), more.end());
    return files;
  };
  const auto one = [&](const std::string& name) {
    return with("{\"weight_map\":{\"a\":\"" + name + "\"}}", {{"s1.safetensors", shard({"a"})}});
  };
  const std::vector<SplitFault> faults = {
      {"shard_missing", with(ab, {{"s1.safetensors", shard({"a"})}}), "", index, "shard s2.safetensors is missing"},
      {"all_shards_missing", with(ab), "", index, "2 of its 2 shards are missing, the first is s1.safetensors"},
      {"shard_empty", with(ab, {{"s1.safetensors", shard({"a"})}, {"s2.safetensors", ""}}), "", "s2.safetensors", "truncated"},
      {"shard_cut",
       with(ab, {{"s1.safetensors", shard({"a"})}, {"s2.safetensors", shard({"b"}).substr(0, shard({"b"}).size() - 1)}}), "",
       "s2.safetensors", "truncated"},
      {"shard_longer", with(ab, {{"s1.safetensors", shard({"a"})}, {"s2.safetensors", shard({"b"}) + "x"}}), "",
       "s2.safetensors", "1 bytes at the end"},
      {"shards_swapped", with(ab, {{"s1.safetensors", shard({"b"})}, {"s2.safetensors", shard({"a"})}}), "", index,
       "tensor a is not in s1.safetensors"},
      {"name_in_two_shards", with(ab, {{"s1.safetensors", shard({"a"})}, {"s2.safetensors", shard({"a", "b"})}}), "",
       "s2.safetensors", "tensor a is in two shards, here and in s1.safetensors"},
      {"key_twice", with(R"({"weight_map":{"a":"s1.safetensors","a":"s2.safetensors"}})", {{"s1.safetensors", shard({"a"})}}),
       "", index, "\"a\" occurs twice"},
      {"map_twice", with(R"({"weight_map":{},"weight_map":{"a":"s1.safetensors"}})", {{"s1.safetensors", shard({"a"})}}), "",
       index, "\"weight_map\" occurs twice"},
      {"map_empty", with(R"({"weight_map":{}})"), "", index, "\"weight_map\" is empty"},
      {"map_null", with(R"({"weight_map":null})"), "", index, "\"weight_map\" is missing"},
      {"index_cut", with(ab.substr(0, 50)), "", index, "not valid JSON at byte"},
      {"index_empty", with(""), "", index, "not valid JSON"},
      {"index_list", with("[]"), "", index, "\"weight_map\" is missing"},
      {"index_not_utf8", with("{\"weight_map\":{\"a\xFF\":\"s1.safetensors\"}}"), "", index, "not valid JSON"},
      {"index_deep", with(std::string(1000, '[')), "", index, "nested over 64 deep"},
      {"shard_null", with(R"({"weight_map":{"a":null}})"), "", index, "the shard of tensor a is no file name"},
      {"shard_list", with(R"({"weight_map":{"a":["s1.safetensors"]}})"), "", index, "is no file name"},
      {"up", one("../s1.safetensors"), "", index, "is no plain file name"},
      {"up_within", one("x/../s1.safetensors"), "", index, "is no plain file name"},
      {"below", one("x/s1.safetensors"), "", index, "is no plain file name"},
      {"here", one("./s1.safetensors"), "", index, "is no plain file name"},
      {"absolute", one("/etc/passwd"), "", index, "\"/etc/passwd\" is no plain file name"},
      {"backslashes", one("..\\\\s1.safetensors"), "", index, "is no plain file name"},
      {"nul", one("s1.safetensors\\u0000"), "", index, "is no plain file name"},
      {"newline", one("s1\\n.safetensors"), "", index, "shard s1?.safetensors is missing"},
      {"long", one(std::string(5000, 'x')), "", index, "is missing"},
      {"index_alone_missing",
       {config, {"model-00001-of-00002.safetensors", shard({"a"})}},
       "",
       "",
       "1 other safetensors files lie there, their index is missing"},
      {"pickles_only", {config, {"pytorch_model.bin", "x"}}, "", "", "PyTorch pickles"},
      {"gguf_beside_config", {config, {"m.gguf", "x"}}, "", "", "1 GGUF files lie there"},
      {"gguf_folder",
       {{"m-00002-of-00002.gguf", "x"}, {"m-00001-of-00002.gguf", "x"}},
       "",
       "",
       "is it m-00001-of-00002.gguf that you mean?"},
  };
  EXPECT_GE(faults.size(), 30u);
  for (SplitFault f : faults) {
    if (*f.file == '\0') {
      const TempDir dir;
      for (const auto& [name, bytes] : f.files) dir.write(name, bytes);
      const auto opened = ModelFiles::open(dir.path());
      ASSERT_FALSE(opened.ok()) << f.name;
      EXPECT_EQ(opened.message().rfind(dir.path() + ": ", 0), 0u) << opened.message();
      EXPECT_NE(opened.message().find(f.says), std::string::npos) << opened.message();
      EXPECT_EQ(opened.message().find('\n'), std::string::npos) << opened.message();
    } else {
      expect_fault(f);
    }
  }
}

// A shard may be a link, as downloads keep them, and an index may name a file twice over.
TEST(Shards, LinksAndExtraTensors) {
  const TempDir dir;
  dir.write("config.json", "{}");
  dir.write("blob", shard({"a", "b", "extra"}));
  std::filesystem::create_symlink(dir / "blob", dir / "s1.safetensors");
  dir.write("model.safetensors.index.json", R"({"weight_map":{"a":"s1.safetensors","b":"s1.safetensors"}})");
  const auto m = ModelFiles::open(dir.path());
  ASSERT_TRUE(m.ok()) << m.message();
  EXPECT_EQ(m->tensors->tensors().size(), 3u);
  for (const TensorInfo& t : m->tensors->tensors()) EXPECT_EQ(m->tensors->find(t.name), &t);
}

}  // namespace
}  // namespace raison
