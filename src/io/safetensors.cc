#include "io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "io/model_files.h"

namespace raison {
namespace {
using nlohmann::json;
constexpr uint64_t kMaxHeader = 100'000'000;

std::string shown(const std::string& s) {
  std::string out;
  for (char c : s.substr(0, 96)) out += (c >= 32 && c < 127) ? c : '?';
  return out;
}

// Parses the header and notices what nlohmann would keep silent about: a name that stands twice.
struct HeaderParse {
  json value;
  std::string duplicate;
};

HeaderParse parse_header(const char* begin, const char* end) {
  HeaderParse out;
  std::set<std::string> names;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth == 1 && event == json::parse_event_t::key && !names.insert(parsed.get<std::string>()).second)
      out.duplicate = parsed.get<std::string>();
    return depth < 8;  // nothing in a header is deeper
  };
  out.value = json::parse(begin, end, watch, false);
  return out;
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
    if (!parsed.value.is_object()) return bad("damaged: its header is no JSON object");
    if (!parsed.duplicate.empty()) return bad("tensor {} stands twice", shown(parsed.duplicate));
    for (const auto& [name, entry] : parsed.value.items()) RAISON_RETURN_IF_ERROR(add(name, entry));
    RAISON_RETURN_IF_ERROR(check_coverage());
    return out;
  }

  Status add(const std::string& name, const json& entry) {
    if (!entry.is_object()) return bad("entry {} of the header is no object", shown(name));
    if (name == "__metadata__") {
      for (const auto& [k, v] : entry.items()) {
        if (!v.is_string()) return bad("__metadata__ key {} is no string", shown(k));
        out->metadata_[k] = v.get<std::string>();
      }
      return {};
    }
    TensorInfo t;
    t.name = name;
    t.file = file;
    if (!entry.contains("dtype") || !entry["dtype"].is_string()) return bad("tensor {} has no dtype", shown(name));
    if (!entry.contains("shape") || !entry["shape"].is_array()) return bad("tensor {} has no shape", shown(name));
    if (!entry.contains("data_offsets") || !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2)
      return bad("tensor {} has no data_offsets", shown(name));
    t.type_name = entry["dtype"].get<std::string>();
    uint64_t elements = 1;
    for (const json& d : entry["shape"]) {
      if (!d.is_number_unsigned()) return bad("tensor {} has a shape that is no list of sizes", shown(name));
      const auto n = d.get<uint64_t>();
      if (n > static_cast<uint64_t>(INT64_MAX) || __builtin_mul_overflow(elements, n, &elements) ||
          elements > static_cast<uint64_t>(INT64_MAX))
        return bad("tensor {} has an impossible shape (over 2^63 values)", shown(name));
      t.shape.push_back(static_cast<int64_t>(n));
    }
    uint64_t span[2];
    for (int i = 0; i < 2; ++i) {
      const json& o = entry["data_offsets"][static_cast<size_t>(i)];
      if (!o.is_number_unsigned()) return bad("tensor {} has data_offsets that are no sizes", shown(name));
      span[i] = o.get<uint64_t>();
    }
    if (span[0] > span[1]) return bad("tensor {} ends before it begins", shown(name));
    if (span[1] > data_bytes)
      return bad("truncated: tensor {} needs {} bytes of data, the file holds {}", shown(name), span[1], data_bytes);
    RAISON_RETURN_IF_ERROR(set_type(&t, elements, span[1] - span[0]));
    t.bytes = span[1] - span[0];
    t.offset = data_start + span[0];
    t.data = file->data() + t.offset;
    out->index_[name] = out->tensors_.size();
    out->tensors_.push_back(std::move(t));
    return {};
  }

  Status set_type(TensorInfo* t, uint64_t elements, uint64_t bytes) {
    const auto type = t->type_name == "Q8_0" ? std::nullopt : dtype_from_name(t->type_name);
    if (!type) {
      static const std::set<std::string> others = {"F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3", "F6_E3M2", "C64"};
      if (!others.count(t->type_name)) return bad("tensor {} has the unknown dtype {}", shown(t->name), shown(t->type_name));
      t->known_type = false;
      t->type = DType::U8;
      if (t->type_name.rfind("F8", 0) == 0 && bytes != elements) return size_error(*t, bytes, elements);
      return {};
    }
    t->type = *type;
    const auto want = row_bytes(*type, elements);
    if (!want || *want != bytes) return size_error(*t, bytes, want.value_or(0));
    return {};
  }

  Error size_error(const TensorInfo& t, uint64_t bytes, uint64_t want) const {
    return bad("tensor {} has {} bytes, its shape and dtype {} need {}", shown(t.name), bytes, t.type_name, want);
  }

  Status check_coverage() {
    std::vector<const TensorInfo*> order;
    for (const TensorInfo& t : out->tensors_) order.push_back(&t);
    std::sort(order.begin(), order.end(), [](const TensorInfo* a, const TensorInfo* b) {
      return a->offset != b->offset ? a->offset < b->offset : a->bytes < b->bytes;
    });
    uint64_t at = data_start;
    for (const TensorInfo* t : order) {
      if (t->offset < at) return bad("damaged: tensor {} overlaps another", shown(t->name));
      if (t->offset > at) return bad("damaged: {} bytes before tensor {} belong to none", t->offset - at, shown(t->name));
      at = t->offset + t->bytes;
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
  auto index_file = MappedFile::open(index_path);
  if (!index_file.ok()) {
    auto only = SafetensorsFile::open(single);
    if (!only.ok()) {
      if (!MappedFile::open(single).ok())
        return error("{}: no weights: neither model.safetensors nor model.safetensors.index.json is there", folder);
      return only.error();
    }
    out->files_.push_back(*only);
  } else {
    RAISON_ASSIGN(const json index, read_json_file(index_path));
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
      return error("{}: \"weight_map\" is missing", index_path);
    for (const auto& [name, shard] : index["weight_map"].items()) {
      if (!shard.is_string()) return error("{}: the shard of tensor {} is no file name", index_path, shown(name));
      const auto file = shard.get<std::string>();
      if (file.empty() || file.find('/') != std::string::npos || file.find('\0') != std::string::npos || file[0] == '.')
        return error("{}: \"{}\" is no plain file name", index_path, shown(file));
      shards[file].push_back(name);
    }
    for (const auto& [file, names] : shards) {
      auto opened = SafetensorsFile::open(folder + "/" + file);
      if (!opened.ok()) return error("{} (named by model.safetensors.index.json)", opened.message());
      for (const std::string& name : names)
        if (!(*opened)->find(name))
          return error("{}: tensor {} is not in {}, where the index puts it", index_path, shown(name), shown(file));
      out->files_.push_back(*opened);
    }
  }
  for (const auto& f : out->files_)
    for (const TensorInfo& t : f->tensors()) {
      if (!out->index_.emplace(t.name, out->tensors_.size()).second)
        return error("{}: tensor {} stands in two shards", folder, shown(t.name));
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
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t at = 0;
  std::vector<uint64_t> sizes;
  for (const TensorToWrite& t : tensors) {
    uint64_t elements = 1;
    for (int64_t d : t.shape)
      if (d < 0 || __builtin_mul_overflow(elements, static_cast<uint64_t>(d), &elements))
        return error("{}: tensor {} has an impossible shape", path, t.name);
    const auto bytes = row_bytes(t.type, elements);
    if (!bytes || dtype_info(t.type).block_elements != 1)
      return error("{}: tensor {} of type {} cannot be written as safetensors", path, t.name, dtype_name(t.type));
    if (header.contains(t.name)) return error("{}: tensor {} is given twice", path, t.name);
    header[t.name] = {{"dtype", dtype_name(t.type)}, {"shape", t.shape}, {"data_offsets", {at, at + *bytes}}};
    sizes.push_back(*bytes);
    at += *bytes;
  }
  std::string text = header.dump(-1, ' ', false, json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  RAISON_ASSIGN(auto file, AtomicFile::create(path));
  const uint64_t length = text.size();
  RAISON_RETURN_IF_ERROR(file->append(&length, 8));
  RAISON_RETURN_IF_ERROR(file->append(text.data(), text.size()));
  for (size_t i = 0; i < tensors.size(); ++i) RAISON_RETURN_IF_ERROR(file->append(tensors[i].data, sizes[i]));
  return file->commit();
}

}  // namespace raison
