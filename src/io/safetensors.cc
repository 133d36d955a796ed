#include "io/safetensors.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/json_depth.h"
#include "io/json_keys.h"
#include "io/model_files.h"
#include "io/printable.h"

namespace raison {
namespace {
using nlohmann::json;
constexpr uint64_t kMaxHeader = 100'000'000;

// Bits of an element of the dtypes that are known by name only; 0 for no dtype at all.
uint64_t foreign_bits(const std::string& dtype) {
  static const std::map<std::string, uint64_t> kBits = {
      {"F4", 4}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"C64", 64},
  };
  const auto it = kBits.find(dtype);
  return it == kBits.end() ? 0 : it->second;
}

bool exists(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0;
}
}  // namespace

struct SafetensorsParser {
  std::shared_ptr<MappedFile> file;
  std::shared_ptr<SafetensorsFile> out;
  uint64_t data_start = 0, data_bytes = 0;

  template <class... Args>
  Error bad(fmt::format_string<Args...> format, Args&&... args) const {
    return Error(fmt::format("{}: {}", file->path(), fmt::format(format, std::forward<Args>(args)...)));
  }

  Result<std::shared_ptr<SafetensorsFile>> parse() {
    out = std::shared_ptr<SafetensorsFile>(new SafetensorsFile());
    out->path_ = file->path();
    if (file->size() < 8) return bad("truncated: {} bytes are too few for a safetensors file", file->size());
    uint64_t header;
    std::memcpy(&header, file->data(), 8);
    if (header > kMaxHeader) return bad("not a safetensors file, or damaged: its header claims {} bytes", header);
    if (header > file->size() - 8) return bad("truncated: the header claims {} bytes, {} are there", header, file->size() - 8);
    data_start = 8 + header;
    data_bytes = file->size() - data_start;
    const std::string_view text(reinterpret_cast<const char*>(file->data()) + 8, header);
    if (json_too_deep_at(text, 8) != kShallow) return bad("damaged: its header is not a JSON object of flat entries");
    const json parsed = json::parse(text.begin(), text.end(), nullptr, false);
    if (!parsed.is_object()) return bad("damaged: its header is not a JSON object");
    if (const auto twice = key_given_twice(text)) return bad("tensor {} occurs twice", printable(*twice));
    out->tensors_.reserve(parsed.size());
    for (const auto& [name, entry] : parsed.items()) RAISON_RETURN_IF_ERROR(add(name, entry));
    RAISON_RETURN_IF_ERROR(check_coverage());
    return out;
  }

  Status add(const std::string& name, const json& entry) {
    if (!entry.is_object()) return bad("entry {} of the header is no object", printable(name));
    if (name == "__metadata__") {
      for (const auto& [k, v] : entry.items()) {
        if (!v.is_string()) return bad("__metadata__ key {} is no string", printable(k));
        out->metadata_[k] = v.get<std::string>();
      }
      return {};
    }
    TensorInfo t;
    t.name = name;
    t.file = file;
    if (!entry.contains("dtype") || !entry["dtype"].is_string()) return bad("tensor {} has no dtype", printable(name));
    if (!entry.contains("shape") || !entry["shape"].is_array()) return bad("tensor {} has no shape", printable(name));
    if (!entry.contains("data_offsets") || !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2)
      return bad("tensor {} has no data_offsets", printable(name));
    t.type_name = entry["dtype"].get<std::string>();
    uint64_t elements = 1;
    for (const json& d : entry["shape"]) {
      if (!d.is_number_unsigned()) return bad("tensor {} has a shape that is no list of sizes", printable(name));
      const auto n = d.get<uint64_t>();
      if (n > static_cast<uint64_t>(INT64_MAX) || __builtin_mul_overflow(elements, n, &elements) ||
          elements > static_cast<uint64_t>(INT64_MAX))
        return bad("tensor {} has an impossible shape (over 2^63 values)", printable(name));
      t.shape.push_back(static_cast<int64_t>(n));
    }
    uint64_t span[2];
    for (int i = 0; i < 2; ++i) {
      const json& o = entry["data_offsets"][static_cast<size_t>(i)];
      if (!o.is_number_unsigned()) return bad("tensor {} has data_offsets that are no sizes", printable(name));
      span[i] = o.get<uint64_t>();
    }
    if (span[0] > span[1]) return bad("tensor {} ends before it begins", printable(name));
    if (span[1] > data_bytes)
      return bad("truncated: tensor {} needs {} bytes of data, the file holds {}", printable(name), span[1], data_bytes);
    RAISON_RETURN_IF_ERROR(set_type(&t, elements, span[1] - span[0]));
    t.bytes = span[1] - span[0];
    t.offset = data_start + span[0];
    t.data = file->data() + t.offset;
    out->tensors_.push_back(std::move(t));
    return {};
  }

  Status set_type(TensorInfo* t, uint64_t elements, uint64_t bytes) {
    const auto type = dtype_from_name(t->type_name);
    if (type && t->type_name == dtype_name(*type) && dtype_info(*type).block_elements == 1) {
      t->type = *type;
      const auto want = row_bytes(*type, elements);
      if (!want || *want != bytes) return size_error(*t, bytes, want.value_or(0));
      return {};
    }
    const uint64_t bits = foreign_bits(t->type_name);
    if (bits == 0) return bad("tensor {} has the unknown dtype {}", printable(t->name), printable(t->type_name));
    t->known_type = false;
    t->type = DType::U8;
    uint64_t all_bits;
    if (__builtin_mul_overflow(elements, bits, &all_bits) || all_bits % 8 != 0)
      return bad("tensor {} has a shape that {} cannot have", printable(t->name), t->type_name);
    if (all_bits / 8 != bytes) return size_error(*t, bytes, all_bits / 8);
    return {};
  }

  Error size_error(const TensorInfo& t, uint64_t bytes, uint64_t want) const {
    return bad("tensor {} has {} bytes, its shape and dtype {} need {}", printable(t.name), bytes, t.type_name, want);
  }

  // Puts the tensors in the order of their bytes; empty ones before what begins where they lie.
  Status check_coverage() {
    std::sort(out->tensors_.begin(), out->tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
      return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
    });
    uint64_t at = data_start;
    for (size_t i = 0; i < out->tensors_.size(); ++i) {
      const TensorInfo& t = out->tensors_[i];
      if (t.offset < at) return bad("damaged: tensor {} overlaps another", printable(t.name));
      if (t.offset > at) return bad("damaged: {} bytes before tensor {} belong to none", t.offset - at, printable(t.name));
      at = t.offset + t.bytes;
      out->index_[t.name] = i;
    }
    if (at != file->size()) return bad("damaged: {} bytes at the end belong to no tensor", file->size() - at);
    return {};
  }
};

Result<std::shared_ptr<SafetensorsFile>> SafetensorsFile::open(const std::string& path) {
  RAISON_ASSIGN(auto file, MappedFile::open(path));
  SafetensorsParser parser{std::move(file), nullptr};
  return parser.parse();
}

const TensorInfo* SafetensorsFile::find(const std::string& name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

namespace {
using ShardMap = std::map<std::string, std::vector<std::string>>;  // file -> names the index puts there

// "in FOLDER lie ..." for a folder without weights that can be read, or nothing to say.
std::string what_lies_there(const std::string& folder) {
  int shards = 0, pickles = 0, ggufs = 0;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ec)) {
    const std::string extension = entry.path().extension().string();
    shards += extension == ".safetensors";
    pickles += extension == ".bin" || extension == ".pt" || extension == ".pth";
    ggufs += extension == ".gguf";
  }
  if (shards > 0) return fmt::format("; {} other safetensors files lie there, their index is missing", shards);
  if (ggufs > 0) return fmt::format("; {} GGUF files lie there, name one of them", ggufs);
  if (pickles > 0) return fmt::format("; {} PyTorch pickles lie there, they are not read", pickles);
  return "";
}

bool is_plain_name(const std::string& file) {
  return !file.empty() && file[0] != '.' && file.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

Result<ShardMap> read_shard_map(const std::string& index_path) {
  RAISON_ASSIGN(const json index, read_json_file(index_path, true));
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    return error("{}: \"weight_map\" is missing", index_path);
  if (index["weight_map"].empty()) return error("{}: \"weight_map\" is empty", index_path);
  ShardMap shards;
  for (const auto& [name, shard] : index["weight_map"].items()) {
    if (!shard.is_string()) return error("{}: the shard of tensor {} is no file name", index_path, printable(name));
    const auto& file = shard.get_ref<const std::string&>();
    if (!is_plain_name(file)) return error("{}: \"{}\" is no plain file name", index_path, printable(file));
    shards[file].push_back(name);
  }
  return shards;
}

Status check_shards_exist(const std::string& folder, const std::string& index_path, const ShardMap& shards) {
  std::string first;
  size_t absent = 0;
  for (const auto& [file, names] : shards)
    if (!exists(folder + "/" + file) && absent++ == 0) first = file;
  if (absent == 0) return {};
  if (absent == 1) return error("{}: shard {} is missing", index_path, printable(first));
  return error("{}: {} of its {} shards are missing, the first is {}", index_path, absent, shards.size(), printable(first));
}
}  // namespace

Status ShardedSafetensors::add(SafetensorsFile&& shard) {
  const auto file_name = [](const std::string& path) { return printable(path.substr(path.find_last_of('/') + 1)); };
  for (TensorInfo& t : shard.tensors_) {
    const auto [at, fresh] = index_.emplace(t.name, tensors_.size());
    if (!fresh)
      return error("{}: tensor {} is in two shards, here and in {}", shard.path(), printable(t.name),
                   file_name(tensors_[at->second].file->path()));
    tensors_.push_back(std::move(t));
  }
  return {};
}

Result<std::shared_ptr<ShardedSafetensors>> ShardedSafetensors::open_folder(const std::string& folder) {
  auto out = std::shared_ptr<ShardedSafetensors>(new ShardedSafetensors());
  const std::string index_path = folder + "/model.safetensors.index.json", single = folder + "/model.safetensors";
  if (!exists(index_path)) {
    if (!exists(single))
      return error("{}: no weights here: neither model.safetensors nor model.safetensors.index.json{}", folder,
                   what_lies_there(folder));
    RAISON_ASSIGN(const auto only, SafetensorsFile::open(single));
    RAISON_RETURN_IF_ERROR(out->add(std::move(*only)));
    return out;
  }
  RAISON_ASSIGN(const ShardMap shards, read_shard_map(index_path));
  RAISON_RETURN_IF_ERROR(check_shards_exist(folder, index_path, shards));
  for (const auto& [file, names] : shards) {
    auto opened = SafetensorsFile::open(folder + "/" + file);
    if (!opened.ok()) return error("{} (named by model.safetensors.index.json)", opened.message());
    for (const std::string& name : names)
      if (!(*opened)->find(name))
        return error("{}: tensor {} is not in {}, where the index puts it", index_path, printable(name), printable(file));
    RAISON_RETURN_IF_ERROR(out->add(std::move(**opened)));
  }
  return out;
}

const TensorInfo* ShardedSafetensors::find(const std::string& name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace raison
