#include "train/checkpoint.h"

#include <fcntl.h>
#include <stdio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/json_depth.h"
#include "io/safetensors.h"
#include "train/hash.h"
#include "train/run_folder.h"

namespace raison {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kFormat = 1;
constexpr const char* kFiles[] = {"model.safetensors", "optimizer.safetensors"};

// "step-000123" -> 123, or -1.
int64_t step_of(const std::string& name) {
  if (name.rfind("step-", 0) != 0 || name.size() < 11 || name.size() > 20) return -1;
  int64_t n = 0;
  for (size_t i = 5; i < name.size(); ++i) {
    if (name[i] < '0' || name[i] > '9') return -1;
    n = n * 10 + (name[i] - '0');
  }
  return n;
}

std::string hex(uint64_t v) { return fmt::format("{:016x}", v); }

Status write_parameters(const std::string& path, const ParameterStore& parameters) {
  std::vector<std::vector<float>> rows;
  std::vector<TensorToWrite> tensors;
  for (const auto& p : parameters.all()) rows.push_back(p->to_row_major());
  for (size_t i = 0; i < rows.size(); ++i)
    tensors.push_back({parameters.all()[i]->name, DType::F32, parameters.all()[i]->shape, rows[i].data()});
  return write_safetensors(path, tensors);
}

Status write_moments(const std::string& path, const ParameterStore& parameters, const AdamW& optimizer) {
  std::vector<std::vector<float>> rows;
  std::vector<TensorToWrite> tensors;
  std::vector<int64_t> updates;
  for (const auto& p : parameters.all()) {
    if (!p->trainable) continue;
    const AdamW::State& s = optimizer.states()[static_cast<size_t>(p->index)];
    rows.push_back(p->to_row_major(s.m.data()));
    rows.push_back(p->to_row_major(s.v.data()));
    updates.push_back(s.t);
  }
  size_t next = 0;
  for (const auto& p : parameters.all()) {
    if (!p->trainable) continue;
    const size_t at = next++;
    tensors.push_back({"m." + p->name, DType::F32, p->shape, rows[2 * at].data()});
    tensors.push_back({"v." + p->name, DType::F32, p->shape, rows[2 * at + 1].data()});
    tensors.push_back({"t." + p->name, DType::I64, {1}, &updates[at]});
  }
  return write_safetensors(path, tensors);
}

Result<Json> file_entry(const std::string& path) {
  RAISON_ASSIGN(const auto file, MappedFile::open(path));
  return Json{{"bytes", file->size()}, {"hash", hex(hash_bytes(file->data(), file->size()))}};
}

Result<Json> state_json(const std::string& folder, const TrainState& s, const std::vector<CheckpointPart>& parts) {
  Json j;
  j["format"] = kFormat;
  j["step"] = s.step;
  j["tokens"] = s.tokens;
  j["version"] = s.version;
  j["seed"] = s.seed;
  j["data_fingerprint"] = hex(s.data_fingerprint);
  j["metrics_bytes"] = s.metrics_bytes;
  j["event_bytes"] = s.event_bytes;
  j["data_cursor"] = s.data_cursor;
  j["recipe"] = s.recipe;
  j["model"] = s.model;
  for (const char* name : kFiles) { RAISON_ASSIGN(j["files"][name], file_entry(folder + "/" + name)); }
  for (const CheckpointPart& p : parts) { RAISON_ASSIGN(j["files"][p.name], file_entry(folder + "/" + p.name)); }
  const std::string body = j.dump();
  j["check"] = hex(hash_bytes(body.data(), body.size()));
  return j;
}

Result<uint64_t> unsigned_of(const Json& j, const char* key) {
  if (!j.contains(key) || !j[key].is_number_integer() || (!j[key].is_number_unsigned() && j[key].get<int64_t>() < 0))
    return error("state.json: {} is missing or no number", key);
  return j[key].get<uint64_t>();
}

Result<uint64_t> hex_of(const Json& j, const char* key) {
  if (!j.contains(key) || !j[key].is_string()) return error("state.json: {} is missing", key);
  const std::string text = j[key].get<std::string>();
  char* end = nullptr;
  const uint64_t v = std::strtoull(text.c_str(), &end, 16);
  if (text.size() != 16 || *end) return error("state.json: {} is no hash", key);
  return v;
}

Status check_file(const std::string& path, const std::string& name, const Json& entry) {
  if (!entry.is_object()) return error("state.json: says nothing of {}", name);
  if (name.find('/') != std::string::npos) return error("state.json: {} is no name of a file", name);
  RAISON_ASSIGN(const uint64_t bytes, unsigned_of(entry, "bytes"));
  RAISON_ASSIGN(const uint64_t hash, hex_of(entry, "hash"));
  RAISON_ASSIGN(const auto file, MappedFile::open(path + "/" + name));
  if (file->size() != bytes) return error("{} has {} bytes, {} were written", name, file->size(), bytes);
  if (hash_bytes(file->data(), file->size()) != hash) return error("{} is damaged: its hash differs", name);
  return {};
}

Status check_files(const std::string& path, const Json& j) {
  const Json files = j.contains("files") && j["files"].is_object() ? j["files"] : Json::object();
  for (const char* name : kFiles)
    if (!files.contains(name)) return error("state.json: says nothing of {}", name);
  for (const auto& [name, entry] : files.items()) RAISON_RETURN_IF_ERROR(check_file(path, name, entry));
  return {};
}

Result<TrainState> parse_state(const std::string& path) {
  RAISON_ASSIGN(const std::string text, read_file(path + "/state.json", size_t{1} << 26));
  if (json_too_deep_at(text) != kShallow) return error("state.json is nested more than {} deep", kMaxJsonDepth);
  Json j = Json::parse(text, nullptr, false);
  if (!j.is_object()) return error("state.json is not valid JSON");
  RAISON_ASSIGN(const uint64_t check, hex_of(j, "check"));
  j.erase("check");
  const std::string body = j.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (hash_bytes(body.data(), body.size()) != check) return error("state.json is damaged: its hash differs");
  RAISON_ASSIGN(const uint64_t format, unsigned_of(j, "format"));
  if (format != kFormat) return error("state.json is of format {}, this program reads {}", format, kFormat);
  TrainState s;
  RAISON_ASSIGN(const uint64_t step, unsigned_of(j, "step"));
  s.step = static_cast<int64_t>(step);
  RAISON_ASSIGN(s.tokens, unsigned_of(j, "tokens"));
  RAISON_ASSIGN(s.version, unsigned_of(j, "version"));
  RAISON_ASSIGN(s.seed, unsigned_of(j, "seed"));
  RAISON_ASSIGN(s.metrics_bytes, unsigned_of(j, "metrics_bytes"));
  if (j.contains("event_bytes")) { RAISON_ASSIGN(s.event_bytes, unsigned_of(j, "event_bytes")); }
  RAISON_ASSIGN(s.data_fingerprint, hex_of(j, "data_fingerprint"));
  s.data_cursor = j.value("data_cursor", Json());
  s.recipe = j.value("recipe", Json());
  s.model = j.value("model", Json());
  RAISON_RETURN_IF_ERROR(check_files(path, j));
  return s;
}

Result<const TensorInfo*> find_tensor(const SafetensorsFile& file, const std::string& name, DType type,
                                      const std::vector<int64_t>& shape) {
  const TensorInfo* t = file.find(name);
  if (!t || !t->known_type || t->type != type || t->shape != shape)
    return error("{}: {} is missing or of another shape; the checkpoint is of another model", file.path(), name);
  return t;
}

struct Loaded {
  std::vector<float> values, m, v;
  int64_t t = 0;
};

Result<std::vector<float>> floats_of(const SafetensorsFile& file, const std::string& name, const Parameter& p) {
  RAISON_ASSIGN(const TensorInfo* t, find_tensor(file, name, DType::F32, p.shape));
  std::vector<float> out(static_cast<size_t>(p.element_count()));
  std::memcpy(out.data(), t->data, out.size() * sizeof(float));
  return out;
}

Result<std::vector<Loaded>> load_all(const std::string& path, const ParameterStore& parameters) {
  RAISON_ASSIGN(const auto weights, SafetensorsFile::open(path + "/" + kFiles[0]));
  RAISON_ASSIGN(const auto moments, SafetensorsFile::open(path + "/" + kFiles[1]));
  if (weights->tensors().size() != parameters.all().size())
    return error("{}: holds {} tensors, the model has {}", weights->path(), weights->tensors().size(), parameters.all().size());
  std::vector<Loaded> out;
  for (const auto& p : parameters.all()) {
    Loaded l;
    RAISON_ASSIGN(l.values, floats_of(*weights, p->name, *p));
    if (p->trainable) {
      RAISON_ASSIGN(l.m, floats_of(*moments, "m." + p->name, *p));
      RAISON_ASSIGN(l.v, floats_of(*moments, "v." + p->name, *p));
      RAISON_ASSIGN(const TensorInfo* t, find_tensor(*moments, "t." + p->name, DType::I64, {1}));
      std::memcpy(&l.t, t->data, sizeof(l.t));
    }
    out.push_back(std::move(l));
  }
  return out;
}

Status write_files(const std::string& folder, const TrainState& state, const ParameterStore& parameters, const AdamW& optimizer,
                   const std::vector<CheckpointPart>& parts) {
  std::error_code ec;
  if (!fs::create_directory(folder, ec)) return error("{}: cannot create the folder: {}", folder, ec.message());
  RAISON_RETURN_IF_ERROR(write_parameters(folder + "/" + kFiles[0], parameters));
  RAISON_RETURN_IF_ERROR(write_moments(folder + "/" + kFiles[1], parameters, optimizer));
  for (const CheckpointPart& p : parts) RAISON_RETURN_IF_ERROR(p.write(folder + "/" + p.name));
  RAISON_ASSIGN(const Json j, state_json(folder, state, parts));
  RAISON_RETURN_IF_ERROR(write_file_atomic(folder + "/state.json", j.dump(1) + "\n"));
  return sync_directory(folder);
}

Status put_in_place(const std::string& dir, const std::string& temp, const std::string& name) {
  const std::string path = dir + "/" + name;
  std::error_code ec;
  if (fs::exists(path, ec)) {
    // They change places, so that at every moment a whole one has the name.
    if (::renameat2(AT_FDCWD, temp.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) {
      const Status durable = sync_directory(dir);
      fs::remove_all(temp, ec);
      return durable;
    }
    const std::string old =
        dir + "/.replaced-" + name;  // a file system that can't; clean_checkpoints puts it back if we are killed here
    fs::remove_all(old, ec);
    fs::rename(path, old, ec);
    if (ec) return error("{}: cannot replace: {}", path, ec.message());
    fs::rename(temp, path, ec);
    if (ec) return error("{}: cannot rename to {}: {}", temp, path, ec.message());
    const Status durable = sync_directory(dir);
    fs::remove_all(old, ec);
    return durable;
  }
  fs::rename(temp, path, ec);
  if (ec) return error("{}: cannot rename to {}: {}", temp, path, ec.message());
  return sync_directory(dir);
}

}  // namespace

std::vector<std::string> list_checkpoints(const std::string& dir) {
  std::vector<std::pair<int64_t, std::string>> found;
  std::error_code ec;
  for (fs::directory_iterator it(dir, ec), end; !ec && it != end; it.increment(ec)) {
    const int64_t step = step_of(it->path().filename().string());
    if (step >= 0 && it->is_directory(ec)) found.emplace_back(step, it->path().string());
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> out;
  for (auto& f : found) out.push_back(std::move(f.second));
  return out;
}

void clean_checkpoints(const std::string& dir) {
  std::vector<fs::path> rubbish;
  std::error_code ec;
  for (fs::directory_iterator it(dir, ec), end; !ec && it != end; it.increment(ec)) {
    const std::string name = it->path().filename().string();
    const std::string replaced = ".replaced-";  // by one of the same step, if that was finished
    if (name.rfind(replaced, 0) == 0) {
      const fs::path to = fs::path(dir) / name.substr(replaced.size());
      std::error_code gone;
      if (fs::exists(to, gone)) {
        rubbish.push_back(it->path());
      } else {
        fs::rename(it->path(), to, gone);
      }
      continue;
    }
    if (name.rfind(".writing-step-", 0) == 0 || name.rfind(".removing-step-", 0) == 0) rubbish.push_back(it->path());
  }
  for (const auto& p : rubbish) fs::remove_all(p, ec);
}

Result<std::string> set_checkpoint_aside(const std::string& path) {
  const fs::path from(path);
  fs::path to = from.parent_path() / ("damaged-" + from.filename().string());
  std::error_code ec;
  for (int n = 2; fs::exists(to, ec); ++n) to = from.parent_path() / fmt::format("damaged-{}.{}", from.filename().string(), n);
  fs::rename(from, to, ec);
  if (ec) return error("{}: cannot rename the damaged checkpoint: {}", path, ec.message());
  RAISON_RETURN_IF_ERROR(sync_directory(from.parent_path().string()));
  return to.string();
}

Status prune_checkpoints(const std::string& dir, int64_t keep, int64_t newest) {
  std::vector<std::string> older;
  for (const std::string& path : list_checkpoints(dir))
    if (step_of(fs::path(path).filename().string()) < newest) older.push_back(path);
  for (size_t i = 0; i + static_cast<size_t>(keep) <= older.size(); ++i) {
    // Renamed first: a folder named step-N is whole at every moment.
    const fs::path doomed = fs::path(dir) / (".removing-" + fs::path(older[i]).filename().string());
    std::error_code ec;
    fs::rename(older[i], doomed, ec);
    if (!ec) fs::remove_all(doomed, ec);
    if (ec) return error("{}: cannot remove: {}", older[i], ec.message());
  }
  return {};
}

Status write_checkpoint(const std::string& dir, const TrainState& state, const ParameterStore& parameters,
                        const AdamW& optimizer, const std::vector<CheckpointPart>& parts) {
  const std::string name = fmt::format("step-{:06d}", state.step);
  const std::string temp = dir + "/.writing-" + name;
  std::error_code ec;
  fs::remove_all(temp, ec);
  const auto written = [&]() -> Status {
    RAISON_RETURN_IF_ERROR(create_folders(dir));
    RAISON_RETURN_IF_ERROR(write_files(temp, state, parameters, optimizer, parts));
    return put_in_place(dir, temp, name);
  };
  Status status = error("{}: out of memory", temp);
  try {
    status = written();
  } catch (const std::bad_alloc&) {}
  if (!status.ok()) fs::remove_all(temp, ec);  // on a full disk it would only keep the disk full
  return status;
}

Result<TrainState> read_checkpoint_state(const std::string& path) {
  auto state = parse_state(path);
  if (!state.ok()) return error("{}: {}", path, state.message());
  return state;
}

Result<TrainState> read_checkpoint(const std::string& path, ParameterStore& parameters, AdamW& optimizer) {
  RAISON_ASSIGN(TrainState state, read_checkpoint_state(path));
  RAISON_ASSIGN(const std::vector<Loaded> loaded, load_all(path, parameters));
  for (const auto& p : parameters.all()) {
    const Loaded& l = loaded[static_cast<size_t>(p->index)];
    p->from_row_major(l.values.data(), p->values());
    if (!p->trainable) continue;
    AdamW::State& s = optimizer.states()[static_cast<size_t>(p->index)];
    p->from_row_major(l.m.data(), s.m.data());
    p->from_row_major(l.v.data(), s.v.data());
    s.t = l.t;
  }
  parameters.version = state.version;
  return state;
}

}  // namespace raison
