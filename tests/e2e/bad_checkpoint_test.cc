// Checkpoints in several files, whole and broken, and DeepSeek-R1 in full size, through the program.
#include <nlohmann/json.hpp>

#include "e2e/cli_fixture.h"
#include "io/gguf_writer.h"
#include "io/model_files.h"
#include "io/safetensors_writer.h"
#include "testing/sparse_models.h"

namespace raison::testing {
namespace {
namespace fs = std::filesystem;

// The tensors of a source as specs, and their bytes one after the other.
std::vector<TensorSpec> specs_in(const TensorSource& source, std::string* bytes) {
  std::vector<TensorSpec> specs;
  for (const TensorInfo& t : source.tensors()) {
    specs.push_back({t.name, t.type, t.shape});
    bytes->append(reinterpret_cast<const char*>(t.data), t.bytes);
  }
  return specs;
}

// As many bytes as the tensors hold, whatever they are.
Status write_bytes(TensorWriter& writer, const std::vector<TensorSpec>& specs, std::string bytes) {
  uint64_t n = 0;
  for (const TensorSpec& t : specs) {
    uint64_t elements = 1;
    for (const int64_t d : t.shape) elements *= static_cast<uint64_t>(d);
    n += *row_bytes(t.type, elements);
  }
  bytes.resize(n);
  RAISON_RETURN_IF_ERROR(writer.append(bytes.data(), bytes.size()));
  return writer.finish();
}

class BadCheckpoint : public Cli {
 protected:
  // One line that names `file` and says `says`, from every command that reads a model.
  void expect_refused(const std::string& model, const std::string& file, const std::string& says) {
    for (const std::vector<std::string>& args :
         {std::vector<std::string>{"inspect", model}, {"run", model, "--raw", "-p", "x", "--max-tokens", "1"}}) {
      const RunResult r = raison(args);
      SCOPED_TRACE(args[0] + " " + model);
      EXPECT_EQ(r.code, 1) << r.err;
      EXPECT_EQ(r.out, "");
      EXPECT_EQ(line_count(r.err), 1) << r.err;
      EXPECT_EQ(r.err.rfind("raison: error: ", 0), 0u) << r.err;
      EXPECT_NE(r.err.find(file), std::string::npos) << r.err;
      EXPECT_NE(r.err.find(says), std::string::npos) << r.err;
    }
  }

  // stories260K in parts P-00001-of-0000N.gguf; the paths.
  std::vector<std::string> write_parts(uint64_t max_bytes) {
    const auto source = GgufFile::open(stories());
    EXPECT_TRUE(source.ok());
    std::string bytes;
    const auto specs = specs_in(**source, &bytes);
    auto writer = GgufWriter::create(path("p.gguf"), (*source)->metadata(), specs, max_bytes);
    EXPECT_TRUE(writer.ok()) << writer.message();
    EXPECT_TRUE((*writer)->append(bytes.data(), bytes.size()).ok());
    EXPECT_TRUE((*writer)->finish().ok());
    std::vector<std::string> paths;
    for (const FilePlan& f : (*writer)->plan().files) paths.push_back(f.path);
    return paths;
  }

  // The golden qwen2 in shards, in folder m.
  std::string write_shards(uint64_t max_bytes) {
    const std::string m = path("m");
    fs::copy(golden_model("qwen2"), m, fs::copy_options::recursive);
    const auto source = SafetensorsFile::open(m + "/model.safetensors");
    EXPECT_TRUE(source.ok());
    std::string bytes;
    const auto specs = specs_in(**source, &bytes);
    fs::remove(m + "/model.safetensors");
    auto writer = SafetensorsWriter::create_sharded(m, specs, max_bytes);
    EXPECT_TRUE(writer.ok()) << writer.message();
    EXPECT_TRUE((*writer)->append(bytes.data(), bytes.size()).ok());
    EXPECT_TRUE((*writer)->finish().ok());
    return m;
  }
};

TEST_F(BadCheckpoint, GgufParts) {
  const auto parts = write_parts(200'000);
  ASSERT_GT(parts.size(), 3u);
  const std::vector<std::string> args = {"run", "", "--raw", "-p", "Once upon a time", "--temp", "0", "--max-tokens", "20"};
  const auto answer = [&](const std::string& model) {
    auto with = args;
    with[1] = model;
    const RunResult r = raison(with);
    EXPECT_EQ(r.code, 0) << r.err;
    return r.out;
  };
  const std::string whole = answer(stories());
  EXPECT_FALSE(whole.empty());
  EXPECT_EQ(answer(parts.front()), whole);
  EXPECT_EQ(answer(parts.back()), whole);
  const RunResult inspected = raison({"inspect", parts[1], "--json"});
  ASSERT_EQ(inspected.code, 0) << inspected.err;
  uint64_t bytes = 0;
  for (const auto& part : parts) bytes += fs::file_size(part);
  EXPECT_EQ(nlohmann::json::parse(inspected.out)["disk_bytes"], bytes);

  const std::string second = slurp(parts[1]), last = slurp(parts.back());
  spill(parts.back(), last.substr(0, last.size() - 1));
  expect_refused(parts[0], parts.back(), "truncated");
  spill(parts.back(), second);
  expect_refused(parts[0], parts.back(), "was it renamed?");
  spill(parts.back(), slurp(stories()));
  expect_refused(parts[0], parts.back(), "is not a part of a split model");
  spill(parts.back(), "");
  expect_refused(parts[1], parts.back(), "not a GGUF file");
  fs::remove(parts.back());
  expect_refused(parts[0], parts.back(), "is missing");
  expect_refused(parts[1], parts.back(), "is missing");
  spill(parts.back(), last);
  fs::rename(parts[1], path("renamed.gguf"));
  expect_refused(path("renamed.gguf"), "renamed.gguf", "its name is not NAME-00002-of-");
  expect_refused(parts[0], parts[1], "is missing");
  spill(parts[1], second);
  std::string other = second;
  other.replace(other.find("split.count") + 15, 1, "\x63");
  spill(parts[1], other);
  expect_refused(parts[0], parts[1], "is of another model");
  expect_refused(parts[1], parts[1], "the file says part 2 of 99");
  other = second;
  other.replace(other.find("split.tensors.count") + 23, 1, "\x63");
  spill(parts[1], other);
  expect_refused(parts[0], parts[1], "it says 99 tensors in all");
}

TEST_F(BadCheckpoint, Shards) {
  const std::string m = write_shards(60'000), index_path = m + "/model.safetensors.index.json";
  const RunResult whole = raison({"inspect", golden_model("qwen2"), "--json"}), sharded = raison({"inspect", m, "--json"});
  ASSERT_EQ(sharded.code, 0) << sharded.err;
  EXPECT_EQ(nlohmann::json::parse(sharded.out)["parameters"], nlohmann::json::parse(whole.out)["parameters"]);
  const std::string text = slurp(index_path);
  const auto index = nlohmann::json::parse(text);
  const auto first = index["weight_map"].begin();
  const std::string name = first.key(), shard = first.value().get<std::string>(), shard_path = m + "/" + shard;
  std::string other;
  for (const auto& [n, s] : index["weight_map"].items())
    if (s != shard) other = s.get<std::string>();
  ASSERT_FALSE(other.empty());
  const std::string bytes = slurp(shard_path);
  const auto with_shard_of_first = [&](const nlohmann::json& value) {
    auto changed = index;
    changed["weight_map"][name] = value;
    spill(index_path, changed.dump());
  };

  fs::remove(shard_path);
  expect_refused(m, index_path, "shard " + shard + " is missing");
  spill(shard_path, bytes.substr(0, bytes.size() - 1));
  expect_refused(m, shard_path, "truncated");
  spill(shard_path, bytes + "x");
  expect_refused(m, shard_path, "belong to no tensor");
  spill(shard_path, slurp(m + "/" + other));
  expect_refused(m, index_path, "is not in " + shard);
  spill(shard_path, bytes);
  for (const char* path : {"../model.safetensors", "/etc/passwd", "a/b", "..", ".hidden", ""}) {
    with_shard_of_first(path);
    expect_refused(m, index_path, "is no plain file name");
  }
  with_shard_of_first(7);
  expect_refused(m, index_path, "is no file name");
  with_shard_of_first(other);
  expect_refused(m, index_path, "tensor " + name + " is not in " + other);
  auto more = index;
  more["weight_map"]["model.layers.9.nowhere.weight"] = shard;
  spill(index_path, more.dump());
  expect_refused(m, index_path, "tensor model.layers.9.nowhere.weight is not in");
  spill(index_path, text.substr(0, text.size() / 2));
  expect_refused(m, index_path, "not valid JSON");
  spill(index_path, "{\"weight_map\": {\"" + name + "\": \"" + shard + "\", \"" + name + "\": \"" + shard + "\"}}");
  expect_refused(m, index_path, "occurs twice");
  fs::remove(index_path);
  expect_refused(m, m, "their index is missing");
}

// Names and shapes that `run` refuses, `inspect` tells in the same words beside the facts.
TEST_F(BadCheckpoint, TensorsThatDoNotFitAreToldByInspect) {
  const auto source = SafetensorsFile::open(golden_model("qwen2") + "/model.safetensors");
  const auto gguf = GgufFile::open(stories());
  ASSERT_TRUE(source.ok() && gguf.ok());
  using Specs = std::vector<TensorSpec>;
  const auto expect_told = [&](const std::string& model, const std::string& says) {
    const RunResult inspected = raison({"inspect", model}), json = raison({"inspect", model, "--json"});
    const RunResult run = raison({"run", model, "--raw", "-p", "x", "--max-tokens", "1"});
    EXPECT_EQ(run.code, 1);
    EXPECT_EQ(line_count(run.err), 1) << run.err;
    EXPECT_NE(run.err.find(says), std::string::npos) << run.err;
    ASSERT_EQ(json.code, 0) << json.err;
    const auto j = nlohmann::json::parse(json.out);
    EXPECT_FALSE(j["supported"]);
    EXPECT_EQ("raison: error: " + j["unsupported"].get<std::string>() + "\n", run.err);
    EXPECT_FALSE(j.contains("memory_bytes"));
    EXPECT_TRUE(j.contains("layers")) << "the facts are there all the same";
    EXPECT_NE(inspected.out.find("no: " + j["unsupported"].get<std::string>() + "\n"), std::string::npos) << inspected.out;
  };
  const auto changed = [&](const std::string& says, const std::string& in_gguf, auto change) {
    std::string bytes;
    Specs specs = specs_in(**source, &bytes);
    change(specs, "model.norm.weight", "model.layers.1.mlp.up_proj.weight");
    const std::string m = path("m");
    fs::remove_all(m);
    fs::copy(golden_model("qwen2"), m);
    fs::remove(m + "/model.safetensors");
    auto writer = SafetensorsWriter::create(m + "/model.safetensors", specs);
    ASSERT_TRUE(writer.ok()) << writer.message();
    ASSERT_TRUE(write_bytes(**writer, specs, bytes).ok());
    expect_told(m, says);
    bytes.clear();
    specs = specs_in(**gguf, &bytes);
    change(specs, "output_norm.weight", "blk.1.ffn_up.weight");
    auto gguf_writer = GgufWriter::create(path("m.gguf"), (*gguf)->metadata(), specs);
    ASSERT_TRUE(gguf_writer.ok()) << gguf_writer.message();
    ASSERT_TRUE(write_bytes(**gguf_writer, specs, bytes).ok());
    expect_told(path("m.gguf"), in_gguf);
  };
  const auto named = [](Specs& specs, const std::string& name) {
    return std::find_if(specs.begin(), specs.end(), [&](const TensorSpec& t) { return t.name == name; });
  };
  changed("tensor model.layers.1.mlp.up_proj.weight is missing", "tensor blk.1.ffn_up.weight is missing",
          [&](Specs& s, const char*, const char* up) { s.erase(named(s, up)); });
  changed("tensor strange has no place", "tensor strange has no place", [&](Specs& s, const char*, const char*) {
    s.push_back({"strange", DType::F32, {3}});
  });
  changed("tensor model.norm.weight is 1 x 96, its config asks for 96",
          "tensor output_norm.weight is 2 x 32, its config asks for 64", [&](Specs& s, const char* norm, const char*) {
            auto& shape = named(s, norm)->shape;
            shape = shape[0] == 96 ? std::vector<int64_t>{1, 96} : std::vector<int64_t>{2, 32};
          });
}

// R1 in its full shape: headers are read, nothing else.
class FullSize : public BadCheckpoint {
 protected:
  void SetUp() override {
    if (const auto m = missing_r1_data(); !m.empty()) GTEST_SKIP() << m;
    BadCheckpoint::SetUp();
  }
  nlohmann::json expect_inspected(const std::string& model) {
    const RunResult r = raison({"inspect", model, "--json"});
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_LT(r.peak_kib, 2 << 20);
    printf("inspect %s: %.2f s, %ld MiB\n", model.c_str(), r.seconds, static_cast<long>(r.peak_kib >> 10));
    return nlohmann::json::parse(r.out, nullptr, false);
  }
  // Of the file, not of the model as it computes.
  static int64_t elements(const nlohmann::json& inspected) {
    int64_t sum = 0;
    for (const auto& type : inspected.at("tensor_types")) sum += type.at("elements").get<int64_t>();
    return sum;
  }
};

TEST_F(FullSize, R1AsGguf) {
  const auto one = write_sparse_r1_gguf(path("r1.gguf"));
  if (!one.ok() && no_sparse_files(one.message())) GTEST_SKIP() << one.message();
  ASSERT_TRUE(one.ok()) << one.message();
  fs::resize_file(one->front(), fs::file_size(one->front()) - 1);
  expect_refused(one->front(), "r1.gguf", "truncated");
  const auto parts = write_sparse_r1_gguf(path("p.gguf"), uint64_t{48} << 30);
  ASSERT_TRUE(parts.ok()) << parts.message();
  const auto j = expect_inspected(parts->back());
  EXPECT_TRUE(j["supported"]) << j;
  EXPECT_EQ(elements(j), 671026419200);
  EXPECT_EQ(j["tokenizer"]["vocabulary"], 129280) << j;
  fs::resize_file((*parts)[5], fs::file_size((*parts)[5]) - 1);
  expect_refused(parts->front(), (*parts)[5], "truncated");
}

TEST_F(FullSize, R1AsFp8Folder) {
  const Status written = write_sparse_r1_folder(folder_);
  if (!written.ok() && no_sparse_files(written.message())) GTEST_SKIP() << written.message();
  ASSERT_TRUE(written.ok()) << written.message();
  const std::string shard = path("model-00100-of-00163.safetensors");
  fs::resize_file(shard, fs::file_size(shard) - 1);
  expect_refused(folder_, shard, "truncated");
}

}  // namespace
}  // namespace raison::testing
