// Damaged, hostile and merely wrong files: each is refused with one line that names the file and says what is wrong.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <functional>

#include "bytes.h"
#include "io/model_files.h"
#include "testing/temp_dir.h"

namespace raison {
namespace {
using testing::Bytes;
using testing::gguf_head;
using testing::one_tensor;
using testing::safetensors_bytes;
using testing::TempDir;

struct Fault {
  const char* name;
  std::string bytes;
  const char* says;  // must be in the message
};

void expect_one_line(const std::string& message, const std::string& file, const std::string& says) {
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_NE(message.find(file), std::string::npos) << message;
  EXPECT_NE(message.find(says), std::string::npos) << message;
  EXPECT_LT(message.size(), 500u) << message;
}

std::string two_tensors(const std::string& a, const std::string& b, uint64_t offset_b) {
  Bytes out = gguf_head(2, 0);
  testing::add_tensor(out, a, {16}, 0, 0);
  testing::add_tensor(out, b, {16}, 0, offset_b);
  return out.align(32).zeros(128);
}

std::string with_alignment(uint32_t alignment) {
  return gguf_head(0, 1).str("general.alignment").u32(testing::kU32).u32(alignment).zeros(64);
}

std::vector<Fault> gguf_faults() {
  const uint64_t huge = UINT64_MAX, big = uint64_t{1} << 62;
  return {
      {"empty", "", "not a GGUF file"},
      {"three_bytes", "GGU", "not a GGUF file"},
      {"other_magic", Bytes().raw("GGML").zeros(60), "not a GGUF file"},
      {"ends_in_version", Bytes().raw("GGUF").u8(3), "truncated"},
      {"ends_in_counts", Bytes().raw("GGUF").u32(3).u64(1), "truncated"},
      {"version_1", gguf_head(0, 0, 1), "version 1 is not supported"},
      {"version_4", gguf_head(0, 0, 4), "version 4 is not supported"},
      {"big_endian", gguf_head(0, 0, 0x03000000), "big-endian"},
      {"key_count_huge", gguf_head(0, huge).zeros(100), "keys cannot fit"},
      {"tensor_count_huge", gguf_head(huge, 0).zeros(100), "tensors cannot fit"},
      {"key_count_beyond_file", gguf_head(0, 3).zeros(20), "keys cannot fit"},
      {"key_length_huge", gguf_head(0, 1).u64(huge).zeros(32), "claims 18446744073709551615 bytes"},
      {"key_length_beyond_file", gguf_head(0, 1).u64(100).zeros(32), "claims 100 bytes"},
      {"key_too_long", gguf_head(0, 1).str(std::string(70000, 'k')).u32(testing::kU8).u8(1), "more than 65536"},
      {"key_empty", gguf_head(0, 1).str("").u32(testing::kU8).u8(1).zeros(8), "empty or not valid UTF-8"},
      {"key_not_utf8", gguf_head(0, 1).str("a\xC0\x80").u32(testing::kU8).u8(1), "not valid UTF-8"},
      {"key_surrogate", gguf_head(0, 1).str("\xED\xA0\x80").u32(testing::kU8).u8(1), "not valid UTF-8"},
      {"key_twice", gguf_head(0, 2).str("ab").u32(testing::kU8).u8(1).str("ab").u32(testing::kU8).u8(2), "key ab occurs twice"},
      {"value_type_unknown", gguf_head(0, 1).str("ab").u32(13).u64(0), "unknown value type 13"},
      {"value_cut", gguf_head(0, 1).str("ab").u32(testing::kU64).u32(0), "truncated"},
      {"bool_of_2", gguf_head(0, 1).str("ab").u32(testing::kBool).u8(2), "boolean of value 2"},
      {"string_beyond_file", gguf_head(0, 1).str("ab").u32(testing::kString).u64(50).raw("xy"), "claims 50 bytes"},
      {"array_count_huge", gguf_head(0, 1).str("ab").u32(testing::kArray).u32(testing::kF64).u64(huge).zeros(16),
       "claims 18446744073709551615 values"},
      {"array_count_wraps", gguf_head(0, 1).str("ab").u32(testing::kArray).u32(testing::kU64).u64(uint64_t{1} << 61).zeros(16),
       "values, 16 bytes are left"},
      {"array_of_strings_huge", gguf_head(0, 1).str("ab").u32(testing::kArray).u32(testing::kString).u64(5).zeros(16),
       "claims 5 values"},
      {"array_string_cut", gguf_head(0, 1).str("ab").u32(testing::kArray).u32(testing::kString).u64(1).u64(9).raw("abc"),
       "claims 9 bytes"},
      {"array_nested", gguf_head(0, 1).str("ab").u32(testing::kArray).u32(testing::kArray).u64(1).zeros(32), "array of arrays"},
      {"array_type_unknown", gguf_head(0, 1).str("ab").u32(testing::kArray).u32(99).u64(1).zeros(32), "unknown type 99"},
      {"array_u64_over_i64", gguf_head(0, 1).str("ab").u32(testing::kArray).u32(testing::kU64).u64(1).u64(huge), "too large"},
      {"alignment_0", with_alignment(0), "general.alignment"},
      {"alignment_24", with_alignment(24), "power of two"},
      {"alignment_huge", with_alignment(1u << 31), "general.alignment"},
      {"alignment_text", gguf_head(0, 1).str("general.alignment").u32(testing::kString).str("32"), "general.alignment"},
      {"name_empty", one_tensor("", {16}, 0, 0), "empty or not valid UTF-8"},
      {"name_not_utf8", one_tensor("w\xFF", {16}, 0, 0), "not valid UTF-8"},
      {"name_twice", two_tensors("w", "w", 64), "tensor w occurs twice"},
      {"name_with_newline", one_tensor("a\nb", {16}, 99, 0), "tensor a?b has the unknown type 99"},
      {"dims_0", one_tensor("w", {}, 0, 0), "0 dimensions"},
      {"dims_5", one_tensor("w", {1, 1, 1, 1, 1}, 0, 0), "5 dimensions"},
      {"dim_zero", one_tensor("w", {16, 0}, 0, 0), "dimension of 0"},
      {"dim_over_i64", one_tensor("w", {huge}, 0, 0), "impossible shape"},
      {"shape_wraps", one_tensor("w", {big, 4}, 0, 0), "impossible shape"},
      {"bytes_wrap", one_tensor("w", {big}, 0, 0), "impossible size"},
      {"type_unknown", one_tensor("w", {16}, 77, 0), "unknown type 77"},
      {"row_no_block_multiple", one_tensor("w", {16, 2}, 8, 0), "multiple of 32"},
      {"offset_unaligned", one_tensor("w", {4}, 0, 8), "no multiple of 32"},
      {"offset_beyond_file", one_tensor("w", {16}, 0, 4096), "truncated"},
      {"offset_wraps", one_tensor("w", {16}, 0, huge - 31), "truncated"},
      {"data_cut", one_tensor("w", {16}, 0, 0, 63), "truncated"},
      {"no_data", one_tensor("w", {16}, 0, 0, 0), "truncated"},
      {"overlap", two_tensors("a", "b", 32), "overlap"},
  };
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"w":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

std::vector<Fault> safetensors_faults() {
  const std::string w = R"("w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const std::string v = R"("v":{"dtype":"F32","shape":[2],"data_offsets":)";
  return {
      {"empty", "", "truncated"},
      {"seven_bytes", "1234567", "truncated"},
      {"header_beyond_file", Bytes().u64(100).raw("{}"), "claims 100 bytes"},
      {"header_over_cap", Bytes().u64(100'000'001).raw("{}"), "claims 100000001 bytes"},
      {"header_length_huge", Bytes().u64(UINT64_MAX).raw("{}"), "its header claims"},
      {"header_empty", safetensors_bytes(""), "not a JSON object"},
      {"header_no_json", safetensors_bytes("{\"w\":"), "not a JSON object"},
      {"header_array", safetensors_bytes("[]"), "not a JSON object"},
      {"header_not_utf8", safetensors_bytes("{\"\xFF\":1}"), "not a JSON object"},
      {"header_deep", safetensors_bytes(std::string(100000, '[')), "not a JSON object"},
      {"entry_number", safetensors_bytes(R"({"w":1})"), "entry w of the header is no object"},
      {"name_twice", safetensors_bytes("{" + w + "," + w + "}", 8), "w occurs twice"},
      {"empty_name_twice", safetensors_bytes(R"({"":{},"":{}})"), "tensor  occurs twice"},
      {"field_twice", safetensors_bytes(R"({"w":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}})", 8),
       "dtype occurs twice"},
      {"dtype_missing", safetensors_bytes(R"({"w":{"shape":[2],"data_offsets":[0,8]}})", 8), "has no dtype"},
      {"dtype_unknown", safetensors_bytes(entry("F33", "[2]", "[0,8]"), 8), "unknown dtype F33"},
      {"dtype_small_letters", safetensors_bytes(entry("f32", "[2]", "[0,8]"), 8), "unknown dtype f32"},
      {"dtype_block", safetensors_bytes(entry("Q8_0", "[32]", "[0,34]"), 34), "unknown dtype Q8_0"},
      {"shape_missing", safetensors_bytes(R"({"w":{"dtype":"F32","data_offsets":[0,8]}})", 8), "has no shape"},
      {"shape_negative", safetensors_bytes(entry("F32", "[-2]", "[0,8]"), 8), "no list of sizes"},
      {"shape_fraction", safetensors_bytes(entry("F32", "[2.0]", "[0,8]"), 8), "no list of sizes"},
      {"shape_text", safetensors_bytes(entry("F32", "[\"2\"]", "[0,8]"), 8), "no list of sizes"},
      {"shape_wraps", safetensors_bytes(entry("F32", "[4294967296,4294967296]", "[0,0]")), "impossible shape"},
      {"bytes_wrap", safetensors_bytes(entry("F32", "[4611686018427387904]", "[0,0]")), "has 0 bytes"},
      {"offsets_missing", safetensors_bytes(R"({"w":{"dtype":"F32","shape":[2]}})", 8), "has no data_offsets"},
      {"offsets_three", safetensors_bytes(entry("F32", "[2]", "[0,8,8]"), 8), "has no data_offsets"},
      {"offsets_negative", safetensors_bytes(entry("F32", "[2]", "[-8,0]"), 8), "data_offsets that are no sizes"},
      {"offsets_reversed", safetensors_bytes(entry("F32", "[2]", "[8,0]"), 8), "ends before it begins"},
      {"offsets_beyond_file", safetensors_bytes(entry("F32", "[2]", "[0,8]"), 7), "the file holds 7"},
      {"size_mismatch", safetensors_bytes(entry("F32", "[3]", "[0,8]"), 8), "has 8 bytes"},
      {"fp8_size_mismatch", safetensors_bytes(entry("F8_E4M3", "[3]", "[0,8]"), 8), "has 8 bytes"},
      {"overlap", safetensors_bytes("{" + w + "," + v + "[4,12]}}", 12), "overlaps"},
      {"hole", safetensors_bytes("{" + w + "," + v + "[12,20]}}", 20), "4 bytes before tensor v"},
      {"trailing_bytes", safetensors_bytes("{" + w + "}", 9), "1 bytes at the end"},
      {"metadata_number", safetensors_bytes(R"({"__metadata__":{"a":1}})"), "__metadata__"},
  };
}

TEST(Faults, Gguf) {
  const TempDir dir;
  for (const Fault& f : gguf_faults()) {
    SCOPED_TRACE(f.name);
    const std::string file = dir.write(std::string(f.name) + ".gguf", f.bytes);
    const auto opened = GgufFile::open(file);
    ASSERT_FALSE(opened.ok());
    expect_one_line(opened.message(), file, f.says);
  }
}

TEST(Faults, Safetensors) {
  const TempDir dir;
  for (const Fault& f : safetensors_faults()) {
    SCOPED_TRACE(f.name);
    const std::string file = dir.write(std::string(f.name) + ".safetensors", f.bytes);
    const auto opened = SafetensorsFile::open(file);
    ASSERT_FALSE(opened.ok());
    expect_one_line(opened.message(), file, f.says);
  }
}

// What is read of a header takes time in proportion to its length.
TEST(Faults, ManyEntriesAreReadInMoments) {
  const TempDir dir;
  std::string header = "{";
  for (int i = 0; i < 100'000; ++i)
    header += fmt::format("\"t{}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}},", i);
  header.back() = '}';
  const std::string file = dir.write("many.safetensors", safetensors_bytes(header));
  const auto start = std::chrono::steady_clock::now();
  const auto opened = SafetensorsFile::open(file);
  ASSERT_TRUE(opened.ok()) << opened.message();
  EXPECT_EQ((*opened)->tensors().size(), 100'000u);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 30);
}

// Every prefix of a sound file is refused, without a crash.
TEST(Faults, EveryCut) {
  const TempDir dir;
  Bytes gguf = gguf_head(2, 2).str("k").u32(testing::kString).str("value");
  gguf.str("list").u32(testing::kArray).u32(testing::kI32).u64(2).u32(1).u32(2);
  testing::add_tensor(gguf, "a", {4, 2}, 0, 0);
  testing::add_tensor(gguf, "b", {32}, 8, 32);
  const std::string whole = gguf.align(32).zeros(32 + 34);
  ASSERT_TRUE(GgufFile::open(dir.write("whole", whole)).ok());
  for (size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(GgufFile::open(dir.write("cut", whole.substr(0, n))).ok()) << n;
  const std::string st = safetensors_bytes(entry("F32", "[2]", "[0,8]"), 8);
  ASSERT_TRUE(SafetensorsFile::open(dir.write("whole", st)).ok());
  for (size_t n = 0; n < st.size(); ++n) EXPECT_FALSE(SafetensorsFile::open(dir.write("cut", st.substr(0, n))).ok()) << n;
}

// A folder of files: name -> contents; the fault is in `file`.
struct FolderFault {
  const char* name;
  std::vector<std::pair<std::string, std::string>> files;
  const char* file;
  const char* says;
};

std::vector<FolderFault> folder_faults() {
  const std::string index = "model.safetensors.index.json", config = "config.json", gen = "generation_config.json";
  const std::string sound = safetensors_bytes(entry("F32", "[2]", "[0,8]"), 8);
  const auto map = [](const std::string& s) { return R"({"weight_map":{"w":)" + s + "}}"; };
  const auto with_gen = [&](const std::string& text) {
    return std::vector<std::pair<std::string, std::string>>{{config, "{}"}, {"model.safetensors", sound}, {gen, text}};
  };
  return {
      {"no_config", {{"model.safetensors", sound}}, "", "config.json is missing"},
      {"no_weights", {{config, "{}"}}, "", "no weights here"},
      {"weights_damaged", {{config, "{}"}, {"model.safetensors", "x"}}, "model.safetensors", "truncated"},
      {"config_empty", {{config, ""}}, "config.json", "not valid JSON at byte"},
      {"config_cut", {{config, R"({"a": [1, 2)"}}, "config.json", "not valid JSON at byte 12"},
      {"config_array", {{config, "[]"}}, "config.json", "not a JSON object"},
      {"config_not_utf8", {{config, "{\"a\":\"\xC3\x28\"}"}}, "config.json", "not valid JSON"},
      {"config_overflow", {{config, R"({"a":1e999})"}}, "config.json", "not valid JSON"},
      {"config_deep", {{config, std::string(65, '[')}}, "config.json", "nested over 64 deep"},
      {"index_no_json", {{config, "{}"}, {index, "{"}}, "index.json", "not valid JSON"},
      {"index_no_map", {{config, "{}"}, {index, "{}"}}, "index.json", "weight_map"},
      {"index_map_list", {{config, "{}"}, {index, R"({"weight_map":[]})"}}, "index.json", "weight_map"},
      {"index_shard_number", {{config, "{}"}, {index, map("1")}}, "index.json", "no file name"},
      {"index_shard_empty", {{config, "{}"}, {index, map("\"\"")}}, "index.json", "no plain file name"},
      {"index_shard_above", {{config, "{}"}, {index, map("\"../x.safetensors\"")}}, "index.json", "no plain file name"},
      {"index_shard_parent", {{config, "{}"}, {index, map("\"..\"")}}, "index.json", "no plain file name"},
      {"index_shard_absolute", {{config, "{}"}, {index, map("\"/etc/passwd\"")}}, "index.json", "no plain file name"},
      {"index_shard_missing", {{config, "{}"}, {index, map("\"m.safetensors\"")}}, "index.json", "m.safetensors is missing"},
      {"index_tensor_absent",
       {{config, "{}"}, {index, R"({"weight_map":{"other":"m.safetensors"}})"}, {"m.safetensors", sound}},
       "index.json",
       "tensor other is not in"},
      {"tensor_in_two_shards",
       {{config, "{}"},
        {index, R"({"weight_map":{"w":"a.safetensors","x":"b.safetensors"}})"},
        {"a.safetensors", sound},
        {"b.safetensors",
         safetensors_bytes(
             R"({"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})")}},
       "",
       "tensor w is in two shards"},
      {"gen_no_json", with_gen("nope"), "generation_config.json", "not valid JSON"},
      {"gen_list", with_gen("[]"), "generation_config.json", "not a JSON object"},
      {"gen_temperature_text", with_gen(R"({"temperature":"hot"})"), "generation_config.json",
       "\"temperature\" is not a number"},
      {"gen_temperature_negative", with_gen(R"({"temperature":-1})"), "generation_config.json", "outside"},
      {"gen_top_p_over_1", with_gen(R"({"top_p":1.5})"), "generation_config.json", "\"top_p\""},
      {"gen_top_k_fraction", with_gen(R"({"top_k":1.5})"), "generation_config.json", "\"top_k\" is not an integer"},
      {"gen_do_sample_number", with_gen(R"({"do_sample":1})"), "generation_config.json", "\"do_sample\""},
      {"gen_eos_text", with_gen(R"({"eos_token_id":"</s>"})"), "generation_config.json", "\"eos_token_id\""},
      {"gen_eos_list_of_text", with_gen(R"({"eos_token_id":[1,"x"]})"), "generation_config.json", "\"eos_token_id\""},
      {"gen_eos_huge", with_gen(R"({"eos_token_id":99999999999})"), "generation_config.json", "outside"},
      {"gen_bos_list", with_gen(R"({"bos_token_id":[1]})"), "generation_config.json", "\"bos_token_id\""},
  };
}

TEST(Faults, Folders) {
  for (const FolderFault& f : folder_faults()) {
    SCOPED_TRACE(f.name);
    const TempDir dir;
    for (const auto& [name, bytes] : f.files) dir.write(name, bytes);
    const auto opened = ModelFiles::open(dir.path());
    ASSERT_FALSE(opened.ok());
    expect_one_line(opened.message(), dir.path() + (*f.file ? "/" : ""), f.says);
    expect_one_line(opened.message(), f.file, f.says);
  }
}

TEST(Faults, MissingPathAndForeignFile) {
  const TempDir dir;
  const auto missing = ModelFiles::open(dir / "nothing");
  ASSERT_FALSE(missing.ok());
  expect_one_line(missing.message(), dir / "nothing", "no such file or folder");
  const auto foreign = ModelFiles::open(dir.write("model.gguf", "hello, world"));
  ASSERT_FALSE(foreign.ok());
  expect_one_line(foreign.message(), dir / "model.gguf", "not a GGUF file");
}

// Values that config readers must refuse: the message names file and key.
TEST(Faults, ConfigValues) {
  const auto json =
      nlohmann::json::parse(R"({"text":"x","half":0.5,"big":99,"huge":18446744073709551615,"none":null,"flag":true})");
  const ConfigReader r(json, "dir/config.json");
  const auto refused = [](const auto& result, const std::string& key, const char* says) {
    ASSERT_FALSE(result.ok());
    expect_one_line(result.message(), "dir/config.json", says);
    expect_one_line(result.message(), "\"" + key + "\"", says);
  };
  refused(r.integer("absent", 0, 9), "absent", "is missing");
  refused(r.integer("none", 0, 9), "none", "is missing");
  refused(r.integer("text", 0, 9), "text", "not an integer");
  refused(r.integer("half", 0, 9), "half", "not an integer");
  refused(r.integer("flag", 0, 9), "flag", "not an integer");
  refused(r.integer("big", 0, 9), "big", "is 99, outside 0 .. 9");
  refused(r.integer("huge", 0, 9), "huge", "too large");
  refused(r.integer_or("big", 1, 0, 9), "big", "outside");
  refused(r.number("text", 0, 9), "text", "not a number");
  refused(r.number("big", 0, 9), "big", "outside");
  refused(r.boolean_or("big", false), "big", "neither true nor false");
  refused(r.string_or("big", ""), "big", "not a string");
  EXPECT_EQ(r.integer_or("none", 7, 0, 9).value(), 7);
  EXPECT_EQ(r.number_or("half", 7, 0, 9).value(), 0.5);
  EXPECT_FALSE(r.has("none"));
}

}  // namespace
}  // namespace raison
