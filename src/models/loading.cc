#include "models/loading.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace raison {
namespace {

// Row of the HF order -> row of the file.
int64_t file_row(int64_t row, int64_t rows, int interleaved_heads) {
  if (interleaved_heads <= 0) return row;
  const int64_t dim = rows / interleaved_heads, half = dim / 2;
  const int64_t head = row / dim, r = row % dim;
  return head * dim + 2 * (r % half) + r / half;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string s;
  for (int64_t d : shape) s += (s.empty() ? "" : " x ") + std::to_string(d);
  return s.empty() ? "scalar" : s;
}

Parameter named(const std::string& name, std::vector<int64_t> shape) {
  Parameter p;
  p.name = name;
  p.shape = std::move(shape);
  return p;
}
}  // namespace

Result<const TensorInfo*> FileParameterLoader::find(const std::string& hf, const std::string& gguf,
                                                    const std::vector<int64_t>& shape) {
  const std::string& name = is_gguf() ? gguf : hf;
  const TensorInfo* t = files_.tensors->find(name);
  if (!t) return error("{}: tensor {} is missing; the file is incomplete or of another architecture", files_.path, name);
  if (t->shape != shape)
    return error("{}: tensor {} is {}, its config asks for {}", files_.path, name, shape_text(t->shape), shape_text(shape));
  if (!t->known_type) return cannot_compute(*t);
  taken_.insert(name);
  return t;
}

Error FileParameterLoader::cannot_compute(const TensorInfo& t) const {
  return error("{}: tensor {} is of type {}, which cannot be computed with; {} can", files_.path, t.name, t.type_name,
               kComputable);
}

Status FileParameterLoader::finish(const std::vector<std::string>& known) const {
  for (const TensorInfo& t : files_.tensors->tensors()) {
    const bool buffer = t.name.size() > 8 && t.name.compare(t.name.size() - 8, 8, "inv_freq") == 0;
    if (taken_.count(t.name) || buffer || std::count(known.begin(), known.end(), t.name)) continue;
    return error(
        "{}: tensor {} has no place in this architecture as its config describes it; without it the answers would be wrong",
        files_.path, t.name);
  }
  return {};
}

Result<std::vector<float>> FileParameterLoader::fp8_scales(const TensorInfo& t, int64_t rows, int64_t cols) {
  const std::vector<int64_t> shape = {(rows + kFp8Block - 1) / kFp8Block, (cols + kFp8Block - 1) / kFp8Block};
  const std::string name = t.name + "_scale_inv";
  RAISON_ASSIGN(const TensorInfo* scales, find(name, name, shape));
  return read_f32(*scales);
}

Result<Parameter*> FileParameterLoader::matrix(ParameterStore& store, const std::string& hf, const std::string& gguf,
                                               int64_t rows, int64_t cols, int interleaved_heads) {
  RAISON_ASSIGN(const TensorInfo* t, find(hf, gguf, {rows, cols}));
  Parameter p = named(hf, {rows, cols});
  p.trainable = options_.trainable;
  const auto bytes = row_bytes(t->type, static_cast<uint64_t>(cols));
  if (!is_computable(t->type)) return cannot_compute(*t);
  if (!bytes)
    return error("{}: tensor {} of type {} has {} columns, which is no multiple of {}", files_.path, t->name, t->type_name,
                 cols, dtype_info(t->type).block_elements);
  std::vector<float> scales;
  if (t->type == DType::F8_E4M3) { RAISON_ASSIGN(scales, fp8_scales(*t, rows, cols)); }
  const uint8_t* source = t->data;
  std::vector<uint8_t> reordered;
  if (is_gguf() && interleaved_heads > 0) {
    reordered.resize(static_cast<size_t>(rows) * *bytes);
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(reordered.data() + static_cast<size_t>(r) * *bytes,
                  t->data + static_cast<size_t>(file_row(r, rows, interleaved_heads)) * *bytes, *bytes);
    source = reordered.data();
  }
  std::optional<DType> target = options_.trainable ? DType::F32 : options_.repack;
  if (target && !row_bytes(*target, static_cast<uint64_t>(cols))) target = DType::F32;
  if (!target || *target == t->type) {
    auto packed = scales.empty() ? PackedWeight::pack(t->type, rows, cols, source)
                                 : PackedWeight::pack_fp8(rows, cols, source, scales.data());
    if (!packed.ok()) return error("{}: tensor {}: {}", files_.path, t->name, packed.message());
    p.matrix = std::move(packed).value();
  } else {
    std::vector<float> values(static_cast<size_t>(rows * cols));
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* row = source + static_cast<size_t>(r) * *bytes;
      if (scales.empty()) {
        dequantize_row(t->type, row, values.data() + r * cols, cols);
      } else {
        dequantize_fp8_row(row, r, cols, scales.data(), values.data() + r * cols);
      }
    }
    auto packed = PackedWeight::pack_f32(*target, rows, cols, values.data());
    if (!packed.ok()) return error("{}: tensor {}: {}", files_.path, t->name, packed.message());
    p.matrix = std::move(packed).value();
  }
  if (t->file) t->file->release(t->offset, t->bytes);  // packed: the source's pages are not needed again
  return &store.add(std::move(p));
}

Result<Parameter*> FileParameterLoader::vector(ParameterStore& store, const std::string& hf, const std::string& gguf, int64_t n,
                                               int interleaved_heads) {
  RAISON_ASSIGN(const TensorInfo* t, find(hf, gguf, {n}));
  RAISON_ASSIGN(const std::vector<float> values, read_f32(*t));
  Parameter p = named(hf, {n});
  p.trainable = options_.trainable;
  p.vector.resize(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i)
    p.vector[static_cast<size_t>(i)] = values[static_cast<size_t>(file_row(i, n, is_gguf() ? interleaved_heads : 0))];
  return &store.add(std::move(p));
}

Result<Parameter*> ZeroParameterLoader::matrix(ParameterStore& store, const std::string& hf, const std::string&, int64_t rows,
                                               int64_t cols, int) {
  Parameter p = named(hf, {rows, cols});
  p.trainable = true;
  RAISON_ASSIGN(p.matrix, PackedWeight::zeros(DType::F32, rows, cols));
  return &store.add(std::move(p));
}

Result<Parameter*> ZeroParameterLoader::vector(ParameterStore& store, const std::string& hf, const std::string&, int64_t n,
                                               int) {
  Parameter p = named(hf, {n});
  p.trainable = true;
  p.vector.resize(static_cast<size_t>(n));
  return &store.add(std::move(p));
}

Result<int64_t> GgufKeys::integer(const std::string& key, int64_t lo, int64_t hi) const {
  if (!metadata_.has(prefix_ + key)) return error("{}: key {}{} is missing", where_, prefix_, key);
  return integer_or(key, 0, lo, hi);
}

Result<int64_t> GgufKeys::integer_or(const std::string& key, int64_t fallback, int64_t lo, int64_t hi) const {
  int64_t v = fallback;
  if (metadata_.has(prefix_ + key)) {
    const auto i = metadata_.integer(prefix_ + key);
    if (!i) return error("{}: key {}{} is no integer", where_, prefix_, key);
    v = *i;
  }
  if (v < lo || v > hi) return error("{}: key {}{} is {}, outside {} .. {}", where_, prefix_, key, v, lo, hi);
  return v;
}

Result<double> GgufKeys::number_or(const std::string& key, double fallback, double lo, double hi) const {
  if (!metadata_.has(prefix_ + key)) return fallback;
  const auto v = metadata_.number(prefix_ + key);
  if (!v) return error("{}: key {}{} is no number", where_, prefix_, key);
  if (!(*v >= lo && *v <= hi)) return error("{}: key {}{} is {}, outside {} .. {}", where_, prefix_, key, *v, lo, hi);
  return *v;
}

Result<RopeConfig> rope_from_hf(const ConfigReader& config, int head_dim) {
  RopeConfig rope;
  rope.rot = head_dim;
  const nlohmann::json& json = config.json();
  RAISON_ASSIGN(const double partial, config.number_or("partial_rotary_factor", 1.0, 0.0, 1.0));
  if (partial != 1) return config.bad("partial_rotary_factor", "is not 1, which is not supported");
  if (config.has("rope_parameters") && config.has("rope_scaling"))
    return config.bad("rope_scaling", "stands beside rope_parameters; one of them must go");
  const bool modern = config.has("rope_parameters");
  const char* block = modern ? "rope_parameters" : "rope_scaling";
  if (!modern || config.has("rope_theta")) { RAISON_ASSIGN(rope.theta, config.number_or("rope_theta", 10000.0, 1.0, 1e12)); }
  if (!config.has(block)) return rope;
  const nlohmann::json& scaling = json[block];
  if (!scaling.is_object()) return config.bad(block, "is no object");
  const ConfigReader r(scaling, config.where() + ": " + block);
  if (modern) { RAISON_ASSIGN(rope.theta, r.number_or("rope_theta", rope.theta, 1.0, 1e12)); }
  RAISON_ASSIGN(const double partial_here, r.number_or("partial_rotary_factor", 1.0, 0.0, 1.0));
  if (partial_here != 1) return r.bad("partial_rotary_factor", "is not 1, which is not supported");
  if (!r.has("type") && !r.has("rope_type"))
    for (const auto& [key, value] : scaling.items())
      if (key != "rope_theta" && key != "partial_rotary_factor")
        return config.bad(block, "has \"" + key.substr(0, 32) + "\" but no \"rope_type\"");
  RAISON_ASSIGN(const std::string old_name, r.string_or("type", "default"));
  RAISON_ASSIGN(const std::string type, r.string_or("rope_type", old_name));
  if (type == "default") return rope;
  if (type == "linear") {
    rope.scaling = RopeConfig::Scaling::Linear;
    RAISON_ASSIGN(rope.factor, r.number("factor", 1e-3, 1e6));
  } else if (type == "llama3") {
    rope.scaling = RopeConfig::Scaling::Llama3;
    RAISON_ASSIGN(rope.factor, r.number("factor", 1e-3, 1e6));
    RAISON_ASSIGN(rope.low_freq_factor, r.number("low_freq_factor", 1e-6, 1e6));
    RAISON_ASSIGN(rope.high_freq_factor, r.number("high_freq_factor", 1e-6, 1e6));
    RAISON_ASSIGN(rope.original_context, r.number("original_max_position_embeddings", 1, 1e9));
    if (rope.high_freq_factor <= rope.low_freq_factor) return r.bad("high_freq_factor", "must be larger than low_freq_factor");
  } else {
    return config.bad(
        block, "asks for scaling \"" + type.substr(0, 32) + "\", which is not supported; default, linear and llama3 are");
  }
  return rope;
}

nlohmann::ordered_json rope_scaling_json(const nlohmann::json& config) {
  for (const char* key : {"rope_parameters", "rope_scaling"})
    if (config.contains(key) && config[key].is_object()) {
      nlohmann::ordered_json j = nlohmann::ordered_json::parse(config[key].dump());
      j.erase("rope_theta");
      if (j.value("rope_type", j.value("type", std::string("default"))) == "default") return nullptr;
      return j;
    }
  return nullptr;
}

Status rope_scaling_from_gguf(const GgufKeys& keys, RopeConfig* rope) {
  if (keys.has("rope.scaling.type") && !keys.string("rope.scaling.type"))
    return error("{}: rope.scaling.type is no string", keys.where());
  RAISON_ASSIGN(const double legacy, keys.number_or("rope.scale_linear", 1.0, 1e-3, 1e6));
  if (legacy != 1) return error("{}: rope.scale_linear {} is not supported; rope.scaling is", keys.where(), legacy);
  const std::string type = keys.string("rope.scaling.type").value_or("none");
  if (type == "none") {
    RAISON_ASSIGN(const double factor, keys.number_or("rope.scaling.factor", 1.0, 1e-3, 1e6));
    if (factor != 1 && !keys.has("rope.scaling.type"))
      return error("{}: rope.scaling.factor {} without rope.scaling.type", keys.where(), factor);
    return {};
  }
  if (type != "linear")
    return error("{}: rope.scaling.type \"{}\" is not supported; none and linear are", keys.where(), type.substr(0, 32));
  rope->scaling = RopeConfig::Scaling::Linear;
  RAISON_ASSIGN(rope->factor, keys.number_or("rope.scaling.factor", 1.0, 1e-3, 1e6));
  return {};
}

int64_t first_id(const nlohmann::json& config, const char* key) {
  if (!config.contains(key)) return -1;
  const nlohmann::json& v = config[key].is_array() && !config[key].empty() ? config[key][0] : config[key];
  return v.is_number_integer() ? v.get<int64_t>() : -1;
}

std::string weight_types(const ParameterStore& store) {
  std::map<std::string, int64_t> bytes;
  for (const auto& p : store.all())
    if (p->is_matrix()) bytes[dtype_name(p->matrix.type())] += p->matrix.bytes();
  std::vector<std::pair<int64_t, std::string>> order;
  for (const auto& [name, n] : bytes) order.emplace_back(-n, name);
  std::sort(order.begin(), order.end());
  std::string out;
  for (const auto& o : order) out += (out.empty() ? "" : " + ") + o.second;
  return out;
}

}  // namespace raison
