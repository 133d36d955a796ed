// The streaming writers: any chunks give the same bytes, parts and shards hold the whole, and nothing is left of what fails.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <cstring>
#include <filesystem>

#include "io/gguf_writer.h"
#include "io/model_files.h"
#include "io/safetensors_writer.h"
#include "testing/process.h"
#include "testing/temp_dir.h"

namespace raison {
namespace {
using testing::TempDir;

// Tensors with bytes that differ, one after the other.
struct Cargo {
  std::vector<TensorSpec> specs;
  std::vector<std::string> bytes;
  std::string all;

  void add(const std::string& name, DType type, std::vector<int64_t> shape) {
    specs.push_back({name, type, std::move(shape)});
    const uint64_t n = tensor_bytes("cargo", specs.back()).value();
    std::string data;
    for (uint64_t i = 0; i < n; ++i) data += static_cast<char>((all.size() + i) * 131 + specs.size());
    bytes.push_back(data);
    all += data;
  }
  std::vector<TensorToWrite> whole() const {
    std::vector<TensorToWrite> out;
    for (size_t i = 0; i < specs.size(); ++i) out.push_back({specs[i].name, specs[i].type, specs[i].shape, bytes[i].data()});
    return out;
  }
  void expect_held_by(const TensorSource& source) const {
    ASSERT_EQ(source.tensors().size(), specs.size());
    for (size_t i = 0; i < specs.size(); ++i) {
      const TensorInfo* t = source.find(specs[i].name);
      ASSERT_NE(t, nullptr) << specs[i].name;
      EXPECT_EQ(t->type_name, dtype_name(specs[i].type));
      EXPECT_EQ(t->shape, specs[i].shape);
      ASSERT_EQ(t->bytes, bytes[i].size());
      if (t->bytes > 0) { EXPECT_EQ(std::memcmp(t->data, bytes[i].data(), t->bytes), 0) << t->name; }
    }
  }
};

std::vector<DType> all_dtypes() {
  std::vector<DType> out;
  for (int i = 0; i <= static_cast<int>(DType::BOOL); ++i) out.push_back(static_cast<DType>(i));
  return out;
}

// A tensor of every type that GGUF has.
Cargo gguf_cargo() {
  Cargo c;
  for (const DType type : all_dtypes())
    if (ggml_type_id(type)) c.add(std::string("blk.0.") + dtype_name(type), type, {3, 2 * dtype_info(type).block_elements});
  c.add("odd", DType::F32, {5});
  c.add("four", DType::I8, {2, 1, 3, 7});
  return c;
}

Cargo safetensors_cargo() {
  Cargo c;
  for (const DType type : all_dtypes())
    if (!is_block_type(type)) c.add(std::string("w.") + dtype_name(type), type, {3, 5});
  c.add("none", DType::F32, {0, 7});
  c.add("scalar", DType::I64, {});
  c.add("quote\"\\\n\xC3\xA9", DType::BF16, {3});
  return c;
}

Metadata some_metadata() {
  Metadata m;
  m.set("general.architecture", std::string("test"));
  m.set("tokens", std::vector<std::string>{"a", "b"});
  return m;
}

void append_in_chunks(TensorWriter& writer, const std::string& all, size_t chunk) {
  for (size_t at = 0; at < all.size(); at += chunk)
    ASSERT_TRUE(writer.append(all.data() + at, std::min(chunk, all.size() - at)).ok());
}

int64_t files_in(const TempDir& dir) { return std::distance(std::filesystem::directory_iterator(dir.path()), {}); }

TEST(StreamingGguf, ChunksOfAnySizeGiveTheSameBytes) {
  const TempDir dir;
  const Cargo cargo = gguf_cargo();
  ASSERT_GE(cargo.specs.size(), 25u);
  ASSERT_TRUE(write_gguf(dir / "whole.gguf", some_metadata(), cargo.whole()).ok());
  const std::string whole = read_file(dir / "whole.gguf").value();
  for (const size_t chunk : {size_t{1}, size_t{7}, size_t{64}, size_t{1000}, cargo.all.size()}) {
    auto writer = GgufWriter::create(dir / "chunks.gguf", some_metadata(), cargo.specs);
    ASSERT_TRUE(writer.ok()) << writer.message();
    EXPECT_EQ((*writer)->plan().bytes(), whole.size());
    append_in_chunks(**writer, cargo.all, chunk);
    ASSERT_TRUE((*writer)->finish().ok());
    EXPECT_TRUE((*writer)->finish().ok());  // again: nothing more to do
    EXPECT_FALSE((*writer)->append("x", 1).ok());
    EXPECT_EQ(read_file(dir / "chunks.gguf").value(), whole) << chunk;
  }
  const auto file = GgufFile::open(dir / "chunks.gguf");
  ASSERT_TRUE(file.ok()) << file.message();
  cargo.expect_held_by(**file);
}

TEST(StreamingGguf, Parts) {
  const TempDir dir;
  const Cargo cargo = gguf_cargo();
  Metadata meta = some_metadata();
  meta.set("general.alignment", uint64_t{64});
  auto writer = GgufWriter::create(dir / "m.gguf", meta, cargo.specs, 1000);
  ASSERT_TRUE(writer.ok()) << writer.message();
  append_in_chunks(**writer, cargo.all, 333);
  ASSERT_TRUE((*writer)->finish().ok());
  const size_t parts = (*writer)->plan().files.size();
  ASSERT_GT(parts, 3u);
  EXPECT_EQ(files_in(dir), static_cast<int64_t>(parts));
  for (size_t i = 1; i <= parts; ++i) {
    const auto file = GgufFile::open(gguf_part_path(dir / "m", i, parts));
    ASSERT_TRUE(file.ok()) << file.message();
    EXPECT_EQ((*file)->paths().size(), parts);
    EXPECT_EQ((*file)->path(), gguf_part_path(dir / "m", 1, parts));
    EXPECT_EQ((*file)->metadata().string("general.architecture"), "test");
    EXPECT_EQ((*file)->metadata().integer("split.tensors.count"), static_cast<int64_t>(cargo.specs.size()));
    cargo.expect_held_by(**file);
  }
  for (const FilePlan& f : (*writer)->plan().files)
    if (f.tensors.size() > 1) { EXPECT_LE(f.bytes() - f.header.size(), 1000u + 64 * f.tensors.size()); }
  // Written again from what was read, whole: the parts' keys do not come along.
  const auto joined = GgufFile::open(gguf_part_path(dir / "m", 1, parts));
  ASSERT_TRUE(write_gguf(dir / "again.gguf", (*joined)->metadata(), cargo.whole()).ok());
  ASSERT_TRUE(write_gguf(dir / "direct.gguf", meta, cargo.whole()).ok());
  EXPECT_EQ(read_file(dir / "again.gguf").value(), read_file(dir / "direct.gguf").value());
}

TEST(StreamingSafetensors, ChunksOfAnySizeGiveTheSameBytes) {
  const TempDir dir;
  const Cargo cargo = safetensors_cargo();
  const std::map<std::string, std::string> meta = {{"format", "pt"}, {"quote", "\""}};
  ASSERT_TRUE(write_safetensors(dir / "whole", cargo.whole(), meta).ok());
  const std::string whole = read_file(dir / "whole").value();
  for (const size_t chunk : {size_t{1}, size_t{50}, cargo.all.size()}) {
    auto writer = SafetensorsWriter::create(dir / "chunks", cargo.specs, meta);
    ASSERT_TRUE(writer.ok()) << writer.message();
    append_in_chunks(**writer, cargo.all, chunk);
    ASSERT_TRUE((*writer)->finish().ok());
    EXPECT_EQ(read_file(dir / "chunks").value(), whole) << chunk;
  }
  // The header is what a JSON library prints.
  nlohmann::ordered_json header;
  header["__metadata__"] = meta;
  uint64_t at = 0;
  for (size_t i = 0; i < cargo.specs.size(); ++i) {
    const TensorSpec& t = cargo.specs[i];
    header[t.name] = {{"dtype", dtype_name(t.type)}, {"shape", t.shape}, {"data_offsets", {at, at + cargo.bytes[i].size()}}};
    at += cargo.bytes[i].size();
  }
  const std::string text = header.dump();
  EXPECT_EQ(whole.substr(8, text.size()), text);
  EXPECT_EQ(whole.size(), 8 + (text.size() + 7) / 8 * 8 + cargo.all.size());
  const auto file = SafetensorsFile::open(dir / "chunks");
  ASSERT_TRUE(file.ok()) << file.message();
  cargo.expect_held_by(**file);
}

TEST(StreamingSafetensors, Shards) {
  const TempDir dir;
  const Cargo cargo = safetensors_cargo();
  auto writer = SafetensorsWriter::create_sharded(dir.path(), cargo.specs, 100);
  ASSERT_TRUE(writer.ok()) << writer.message();
  append_in_chunks(**writer, cargo.all, 13);
  EXPECT_FALSE(std::filesystem::exists(dir / "model.safetensors.index.json"));  // last
  ASSERT_TRUE((*writer)->finish().ok());
  const size_t shards = (*writer)->plan().files.size();
  ASSERT_GT(shards, 3u);
  EXPECT_EQ(files_in(dir), static_cast<int64_t>(shards) + 1);
  const auto source = ShardedSafetensors::open_folder(dir.path());
  ASSERT_TRUE(source.ok()) << source.message();
  cargo.expect_held_by(**source);
  const auto index = read_json_file(dir / "model.safetensors.index.json", true);
  ASSERT_TRUE(index.ok()) << index.message();
  EXPECT_EQ((*index)["metadata"]["total_size"], cargo.all.size());
  EXPECT_EQ((*index)["weight_map"].size(), cargo.specs.size());
  // A second model is not written over the first, or over part of it.
  const auto over = SafetensorsWriter::create_sharded(dir.path(), cargo.specs, 100);
  ASSERT_FALSE(over.ok());
  EXPECT_NE(over.message().find("is there already"), std::string::npos) << over.message();
  cargo.expect_held_by(**source);
}

TEST(StreamingSafetensors, OneShardNeedsNoIndex) {
  const TempDir dir;
  const Cargo cargo = safetensors_cargo();
  for (const uint64_t most : {uint64_t{0}, uint64_t{1} << 20}) {
    auto writer = SafetensorsWriter::create_sharded(dir.path(), cargo.specs, most);
    ASSERT_TRUE(writer.ok()) << writer.message();
    append_in_chunks(**writer, cargo.all, 1000);
    ASSERT_TRUE((*writer)->finish().ok());
    EXPECT_EQ(files_in(dir), 1);
    const auto source = ShardedSafetensors::open_folder(dir.path());
    ASSERT_TRUE(source.ok()) << source.message();
    cargo.expect_held_by(**source);
  }
}

TEST(StreamingWriters, RangesWithinALimit) {
  const std::vector<FilePlan::Piece> pieces = {{"a", 40}, {"b", 60}, {"c", 1}, {"d", 500}, {"e", 0}, {"f", 100}};
  using Ranges = std::vector<std::pair<size_t, size_t>>;
  EXPECT_EQ(ranges_within(pieces, 0), (Ranges{{0, 6}}));
  EXPECT_EQ(ranges_within(pieces, 100), (Ranges{{0, 2}, {2, 3}, {3, 4}, {4, 6}}));
  EXPECT_EQ(ranges_within(pieces, UINT64_MAX), (Ranges{{0, 6}}));
  EXPECT_EQ(ranges_within({}, 100), (Ranges{{0, 0}}));
}

TEST(StreamingWriters, TooFewAndTooManyBytes) {
  const TempDir dir;
  Cargo cargo;
  cargo.add("a", DType::F32, {4});
  cargo.add("b", DType::F32, {4});
  {
    auto writer = GgufWriter::create(dir / "few.gguf", {}, cargo.specs);
    ASSERT_TRUE(writer.ok()) << writer.message();
    ASSERT_TRUE((*writer)->append(cargo.all.data(), 20).ok());
    const Status s = (*writer)->finish();
    ASSERT_FALSE(s.ok());
    EXPECT_NE(s.message().find("few.gguf: tensor b was given 4 of its 16 bytes"), std::string::npos) << s.message();
    EXPECT_EQ((*writer)->append(cargo.all.data(), 12).ok(), false);  // failed is failed
  }
  {
    auto writer = SafetensorsWriter::create(dir / "many.safetensors", cargo.specs);
    ASSERT_TRUE(writer.ok()) << writer.message();
    const Status s = (*writer)->append((cargo.all + "xyz").data(), 35);
    ASSERT_FALSE(s.ok());
    EXPECT_NE(s.message().find("many.safetensors: 3 more bytes"), std::string::npos) << s.message();
    EXPECT_FALSE((*writer)->finish().ok());
  }
  EXPECT_EQ(files_in(dir), 0);
}

// An unfinished writer leaves the old file as it was, and of parts and shards none.
TEST(StreamingWriters, NothingIsLeftOfWhatWasNotFinished) {
  const TempDir dir;
  const Cargo cargo = gguf_cargo(), plain = safetensors_cargo();
  dir.write("old.gguf", "the old file");
  {
    auto writer = GgufWriter::create(dir / "old.gguf", {}, cargo.specs);
    ASSERT_TRUE(writer.ok()) << writer.message();
    ASSERT_TRUE((*writer)->append(cargo.all.data(), cargo.all.size()).ok());
    auto parts = GgufWriter::create(dir / "parts.gguf", {}, cargo.specs, 1000);
    ASSERT_TRUE(parts.ok()) << parts.message();
    ASSERT_TRUE((*parts)->append(cargo.all.data(), cargo.all.size() - 1).ok());
    EXPECT_TRUE(std::filesystem::exists((*parts)->plan().files[0].path));
    auto shards = SafetensorsWriter::create_sharded(dir.path(), plain.specs, 100);
    ASSERT_TRUE(shards.ok()) << shards.message();
    ASSERT_TRUE((*shards)->append(plain.all.data(), plain.all.size()).ok());
  }
  EXPECT_EQ(files_in(dir), 1);
  EXPECT_EQ(read_file(dir / "old.gguf").value(), "the old file");
}

TEST(StreamingWriters, NoRoomIsSaidBeforeAnythingIsWritten) {
  const TempDir dir;
  const std::vector<TensorSpec> huge = {{"w", DType::F32, {int64_t{1} << 28, int64_t{1} << 20}}};
  const std::vector<TensorSpec> two = {{"v", DType::F32, {int64_t{1} << 28, int64_t{1} << 20}}, {"w", DType::U8, {1}}};
  const auto refused = [&](const auto& writer, const std::string& file) {
    ASSERT_FALSE(writer.ok());
    EXPECT_NE(writer.message().find(file), std::string::npos) << writer.message();
    EXPECT_NE(writer.message().find("are free there"), std::string::npos) << writer.message();
  };
  refused(GgufWriter::create(dir / "huge.gguf", {}, huge), "huge.gguf");
  refused(SafetensorsWriter::create(dir / "huge.safetensors", huge), "huge.safetensors");
  refused(SafetensorsWriter::create_sharded(dir.path(), two, 1000), "model-00001-of-00002.safetensors");
  EXPECT_EQ(files_in(dir), 0);
}

// A file system that fills up while writing; a limit on the size of files stands for it.
TEST(StreamingWriters, AFailingWriteIsOneLineAndLeavesNothing) {
  const TempDir dir;
  Cargo cargo;
  cargo.add("w", DType::F32, {1 << 16});
  dir.write("m.gguf", "old");
  const auto r = testing::run_forked([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {100'000, 100'000};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
    auto writer = GgufWriter::create(dir / "m.gguf", {}, cargo.specs);
    if (!writer.ok()) return 3;
    Status s;
    for (size_t at = 0; at < cargo.all.size() && s.ok(); at += 4096) s = (*writer)->append(cargo.all.data() + at, 4096);
    if (s.ok() || (*writer)->finish().ok()) return 4;
    const std::string line = s.message();
    return line.find("m.gguf: cannot write: ") != std::string::npos && line.find('\n') == std::string::npos ? 0 : 5;
  });
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(files_in(dir), 1);
  EXPECT_EQ(read_file(dir / "m.gguf").value(), "old");
}

TEST(StreamingGguf, RefusesPartsItCannotName) {
  const TempDir dir;
  const Cargo cargo = gguf_cargo();
  const auto writer = GgufWriter::create(dir / "model", {}, cargo.specs, 100);
  ASSERT_FALSE(writer.ok());
  EXPECT_NE(writer.message().find("ends with .gguf"), std::string::npos) << writer.message();
  const auto plan = plan_gguf(dir / "m.gguf", {}, cargo.specs, 100);
  ASSERT_TRUE(plan.ok()) << plan.message();
  dir.write(std::filesystem::path(plan->files.back().path).filename().string(), "a file that somebody needs");
  const auto over = GgufWriter::create(dir / "m.gguf", {}, cargo.specs, 100);
  ASSERT_FALSE(over.ok());
  EXPECT_NE(over.message().find("is there already"), std::string::npos) << over.message();
  EXPECT_EQ(files_in(dir), 1);
}

}  // namespace
}  // namespace raison
