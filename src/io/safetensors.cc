#include "io/safetensors.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "io/model_files.h"
#include "io/printable.h"

namespace raison {
namespace {
using nlohmann::json;
constexpr uint64_t kMaxHeader = 100'000'000;

// Parses the header and notices what nlohmann keeps silent about: a name, or a field of an entry, that occurs twice.
struct HeaderParse {
  json value;
  std::string duplicate;
};

HeaderParse parse_header(const char* begin, const char* end) {
  HeaderParse out;
  std::set<std::string> names, fields;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start && depth == 1) fields.clear();
    if (event == json::parse_event_t::key && (depth == 1 || depth == 2)) {
      auto key = parsed.get<std::string>();
      if (!(depth == 1 ? names : fields).insert(key).second) out.duplicate = std::move(key);
    }
    return depth < 8;  // nothing in a header is deeper
  };
  out.value = json::parse(begin, end, watch, false);
  return out;
}

// Bits of an element of the dtypes that are known by name only; 0 for no dtype at all.
uint64_t foreign_bits(const std::string& dtype) {
  static const std::map<std::string, uint64_t> kBits = {
      {"F4", 4},      {"F6_E2M3", 6},     {"F6_E3M2", 6},     {"F8_E4M3", 8}, {"F8_E5M2", 8},
      {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"C64", 64},
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
    const char* text = reinterpret_cast<const char*>(file->data()) + 8;
    HeaderParse parsed = parse_header(text, text + header);
    if (!parsed.value.is_object()) return bad("damaged: its header is not a JSON object");
    if (!parsed.duplicate.empty()) return bad("tensor {} occurs twice", printable(parsed.duplicate));
    for (const auto& [name, entry] : parsed.value.items()) RAISON_RETURN_IF_ERROR(add(name, entry));
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

Result<std::shared_ptr<ShardedSafetensors>> ShardedSafetensors::open_folder(const std::string& folder) {
  auto out = std::shared_ptr<ShardedSafetensors>(new ShardedSafetensors());
  const std::string index_path = folder + "/model.safetensors.index.json", single = folder + "/model.safetensors";
  std::map<std::string, std::vector<std::string>> shards;  // file -> names the index puts there
  if (!exists(index_path)) {
    if (!exists(single))
      return error("{}: no weights here: neither model.safetensors nor model.safetensors.index.json", folder);
    auto only = SafetensorsFile::open(single);
    if (!only.ok()) return only.error();
    out->files_.push_back(*only);
  } else {
    RAISON_ASSIGN(const json index, read_json_file(index_path));
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
      return error("{}: \"weight_map\" is missing", index_path);
    for (const auto& [name, shard] : index["weight_map"].items()) {
      if (!shard.is_string()) return error("{}: the shard of tensor {} is no file name", index_path, printable(name));
      const auto file = shard.get<std::string>();
      if (file.empty() || file.find('/') != std::string::npos || file.find('\0') != std::string::npos || file[0] == '.')
        return error("{}: \"{}\" is no plain file name", index_path, printable(file));
      shards[file].push_back(name);
    }
    for (const auto& [file, names] : shards) {
      auto opened = SafetensorsFile::open(folder + "/" + file);
      if (!opened.ok()) return error("{} (named by model.safetensors.index.json)", opened.message());
      for (const std::string& name : names)
        if (!(*opened)->find(name))
          return error("{}: tensor {} is not in {}, where the index puts it", index_path, printable(name), printable(file));
      out->files_.push_back(*opened);
    }
  }
  for (const auto& f : out->files_)
    for (const TensorInfo& t : f->tensors()) {
      if (!out->index_.emplace(t.name, out->tensors_.size()).second)
        return error("{}: tensor {} is in two shards", folder, printable(t.name));
      out->tensors_.push_back(t);
    }
  return out;
}

const TensorInfo* ShardedSafetensors::find(const std::string& name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

Status write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                         const std::map<std::string, std::string>& metadata) {
  for (const auto& [key, value] : metadata)
    if (!valid_utf8(key) || !valid_utf8(value)) return error("{}: metadata {} is not valid UTF-8", path, printable(key));
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t at = 0;
  std::vector<uint64_t> sizes;
  std::set<std::string> names;
  for (const TensorToWrite& t : tensors) {
    uint64_t elements = 1;
    for (int64_t d : t.shape)
      if (d < 0 || __builtin_mul_overflow(elements, static_cast<uint64_t>(d), &elements))
        return error("{}: tensor {} has an impossible shape", path, printable(t.name));
    const auto bytes = row_bytes(t.type, elements);
    if (!bytes || dtype_info(t.type).block_elements != 1)
      return error("{}: tensor {} of type {} cannot be written as safetensors", path, printable(t.name), dtype_name(t.type));
    if (t.name == "__metadata__" || !valid_utf8(t.name))
      return error("{}: a tensor cannot be named {}", path, printable(t.name));
    if (!names.insert(t.name).second) return error("{}: tensor {} is given twice", path, printable(t.name));
    header[t.name] = {{"dtype", dtype_name(t.type)}, {"shape", t.shape}, {"data_offsets", {at, at + *bytes}}};
    sizes.push_back(*bytes);
    at += *bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  RAISON_ASSIGN(auto file, AtomicFile::create(path));
  const uint64_t length = text.size();
  RAISON_RETURN_IF_ERROR(file->append(&length, 8));
  RAISON_RETURN_IF_ERROR(file->append(text.data(), text.size()));
  for (size_t i = 0; i < tensors.size(); ++i) RAISON_RETURN_IF_ERROR(file->append(tensors[i].data, sizes[i]));
  return file->commit();
}

}  // namespace raison
