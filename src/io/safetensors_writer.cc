#include "io/safetensors_writer.h"

#include <nlohmann/json.hpp>
#include <unordered_set>

#include "io/printable.h"

namespace raison {
namespace {
using StringMap = std::map<std::string, std::string>;

std::string quoted(const std::string& text) { return nlohmann::json(text).dump(); }

Result<std::vector<FilePlan::Piece>> checked_pieces(const std::string& path, const std::vector<TensorSpec>& tensors,
                                                    const StringMap& metadata) {
  for (const auto& [key, value] : metadata)
    if (!valid_utf8(key) || !valid_utf8(value)) return error("{}: metadata {} is not valid UTF-8", path, printable(key));
  std::vector<FilePlan::Piece> pieces;
  std::unordered_set<std::string> names;
  uint64_t total = 0;
  for (const TensorSpec& t : tensors) {
    RAISON_ASSIGN(const uint64_t bytes, tensor_bytes(path, t));
    if (dtype_info(t.type).block_elements != 1)
      return error("{}: tensor {} of type {} cannot be written as safetensors", path, printable(t.name), dtype_name(t.type));
    if (t.name == "__metadata__" || !valid_utf8(t.name))
      return error("{}: a tensor cannot be named {}", path, printable(t.name));
    if (!names.insert(t.name).second) return error("{}: tensor {} is given twice", path, printable(t.name));
    if (__builtin_add_overflow(total, bytes, &total) || total > INT64_MAX)
      return error("{}: the tensors are too large together", path);
    pieces.push_back({t.name, bytes});
  }
  return pieces;
}

// The text is put together by hand: an ordered JSON object is searched from its front at every insertion, and a header may hold
// a hundred thousand tensors.
FilePlan plan_shard(const std::string& path, const std::vector<TensorSpec>& tensors, const std::vector<FilePlan::Piece>& pieces,
                    size_t begin, size_t end, const StringMap& metadata) {
  FilePlan plan{path, "", {}, 1};
  std::string text = "{";
  if (!metadata.empty()) text += "\"__metadata__\":" + nlohmann::json(metadata).dump();
  uint64_t at = 0;
  for (size_t i = begin; i < end; ++i) {
    const TensorSpec& t = tensors[i];
    if (text.size() > 1) text += ',';
    text += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}}", quoted(t.name), dtype_name(t.type),
                        nlohmann::json(t.shape).dump(), at, at + pieces[i].bytes);
    at += pieces[i].bytes;
    plan.tensors.push_back(pieces[i]);
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  plan.header.assign(reinterpret_cast<const char*>(&length), 8);
  plan.header += text;
  return plan;
}
}  // namespace

Result<WritePlan> plan_safetensors(const std::string& path, const std::vector<TensorSpec>& tensors, const StringMap& metadata) {
  RAISON_ASSIGN(const auto pieces, checked_pieces(path, tensors, metadata));
  WritePlan plan;
  plan.files.push_back(plan_shard(path, tensors, pieces, 0, tensors.size(), metadata));
  return plan;
}

Result<WritePlan> plan_sharded_safetensors(const std::string& folder, const std::vector<TensorSpec>& tensors,
                                           uint64_t max_shard_bytes, const StringMap& metadata) {
  RAISON_ASSIGN(const auto pieces, checked_pieces(folder, tensors, metadata));
  const auto ranges = ranges_within(pieces, max_shard_bytes);
  if (ranges.size() == 1) return plan_safetensors(folder + "/model.safetensors", tensors, metadata);
  WritePlan plan;
  uint64_t total = 0;
  nlohmann::json map = nlohmann::json::object();
  for (size_t i = 0; i < ranges.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, ranges.size());
    plan.files.push_back(plan_shard(folder + "/" + name, tensors, pieces, ranges[i].first, ranges[i].second, metadata));
    for (const FilePlan::Piece& t : plan.files.back().tensors) {
      map[t.name] = name;
      total += t.bytes;
    }
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", std::move(map)}};
  plan.index_path = folder + "/model.safetensors.index.json";
  plan.index = index.dump(2) + "\n";
  return plan;
}

Result<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::create(const std::string& path,
                                                                     const std::vector<TensorSpec>& tensors,
                                                                     const StringMap& metadata) {
  RAISON_ASSIGN(WritePlan plan, plan_safetensors(path, tensors, metadata));
  std::unique_ptr<SafetensorsWriter> writer(new SafetensorsWriter(std::move(plan)));
  RAISON_RETURN_IF_ERROR(writer->begin());
  return writer;
}

Result<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::create_sharded(const std::string& folder,
                                                                             const std::vector<TensorSpec>& tensors,
                                                                             uint64_t max_shard_bytes,
                                                                             const StringMap& metadata) {
  RAISON_ASSIGN(WritePlan plan, plan_sharded_safetensors(folder, tensors, max_shard_bytes, metadata));
  std::unique_ptr<SafetensorsWriter> writer(new SafetensorsWriter(std::move(plan)));
  RAISON_RETURN_IF_ERROR(writer->begin());
  return writer;
}

Status write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors, const StringMap& metadata) {
  RAISON_ASSIGN(auto writer, SafetensorsWriter::create(path, specs_of(tensors), metadata));
  return write_all(*writer, tensors);
}

}  // namespace raison
