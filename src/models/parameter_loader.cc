// Parameters out of files, or zero.
#include <algorithm>
#include <cstring>

#include "io/printable.h"
#include "io/tensor_read.h"
#include "models/parameter_loader.h"

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

// FP8's, one per block.
Result<std::vector<float>> scales_in(const TensorInfo& s) {
  if (!s.known_type || s.type != DType::F8_E8M0) return read_f32(s);
  std::vector<float> scales(static_cast<size_t>(s.elements()));
  for (size_t i = 0; i < scales.size(); ++i) scales[i] = f8_e8m0_to_f32(s.data[i]);
  return scales;
}

// As row-major fp32, block scales included.
std::vector<float> values_of(const MatrixInFile& m) {
  std::vector<float> values(static_cast<size_t>(m.rows * m.cols));
  auto packed = pack_matrix(m, DType::F32);
  if (packed.ok()) packed->unpack_f32(values.data());
  return values;
}

bool matches(const std::string& name, const std::string& pattern) {
  if (pattern.ends_with(".*")) return name.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1));
  return name == pattern;
}
}  // namespace

std::string ParameterSpec::gguf_part(const char* name) const {
  std::string part = gguf;
  return part.replace(part.rfind("attn_kv_b"), 9, name);
}

Result<Parameter*> ParameterLoader::matrix(ParameterStore& store, const std::string& hf, const std::string& gguf, int64_t rows,
                                           int64_t cols, int interleaved_heads) {
  return make(store, {.hf = hf, .gguf = gguf, .shape = {rows, cols}, .interleaved_heads = interleaved_heads});
}

Result<Parameter*> ParameterLoader::vector(ParameterStore& store, const std::string& hf, const std::string& gguf, int64_t n,
                                           int interleaved_heads) {
  return make(store, {.hf = hf, .gguf = gguf, .shape = {n}, .interleaved_heads = interleaved_heads});
}

Result<Parameter*> ParameterLoader::expert(ParameterStore& store, const std::string& hf, const std::string& gguf,
                                           int64_t expert, int64_t experts, int64_t rows, int64_t cols) {
  return make(store, {.hf = hf, .gguf = gguf, .shape = {rows, cols}, .expert = expert, .experts = experts});
}

Result<Parameter*> ParameterLoader::latent_kv(ParameterStore& store, const std::string& hf, const std::string& gguf_block,
                                              int64_t heads, int64_t nope, int64_t value, int64_t rank) {
  return make(store, {.hf = hf,
                      .gguf = gguf_block + "attn_kv_b.weight",
                      .shape = {heads * (nope + value), rank},
                      .heads = heads,
                      .nope = nope,
                      .value = value});
}

// ---- what the files hold ----

Status HeaderLoader::take(const std::string& name, const std::vector<int64_t>& shape, std::vector<const TensorInfo*>* out) {
  const TensorInfo* t = files_.tensors->find(name);
  if (!t) return error("{}: tensor {} is missing; the file is incomplete or of another architecture", files_.path, name);
  if (t->shape != shape)
    return error("{}: tensor {} is {}, its config asks for {}", files_.path, name, shape_text(t->shape), shape_text(shape));
  if (!t->known_type) return cannot_compute(*t);
  taken_.insert(t);
  out->push_back(t);
  return t->type == DType::F8_E4M3 && shape.size() == 2 ? take_scales(*t) : Status();
}

Status HeaderLoader::take_scales(const TensorInfo& t) {
  const std::string name = t.name + "_scale_inv";
  const TensorInfo* s = files_.tensors->find(name);
  if (!s) return error("{}: tensor {} is of type {} but {} is missing", files_.path, t.name, t.type_name, name);
  const std::vector<int64_t> shape = {(t.shape[0] + kFp8Block - 1) / kFp8Block, (t.shape[1] + kFp8Block - 1) / kFp8Block};
  if (s->shape != shape)
    return error("{}: tensor {} is {}, one scale per {} x {} values of {} makes {}", files_.path, name, shape_text(s->shape),
                 kFp8Block, kFp8Block, t.name, shape_text(shape));
  taken_.insert(s);
  return {};
}

Result<std::vector<const TensorInfo*>> HeaderLoader::find(const ParameterSpec& spec) {
  std::vector<const TensorInfo*> found;
  if (!is_gguf()) {
    RAISON_RETURN_IF_ERROR(take(spec.hf, spec.shape, &found));
  } else if (spec.is_latent() && !files_.tensors->find(spec.gguf)) {
    RAISON_RETURN_IF_ERROR(take(spec.gguf_keys(), {spec.heads, spec.shape[1], spec.nope}, &found));
    RAISON_RETURN_IF_ERROR(take(spec.gguf_values(), {spec.heads, spec.value, spec.shape[1]}, &found));
  } else {
    std::vector<int64_t> shape = spec.shape;
    if (spec.is_expert()) shape.insert(shape.begin(), spec.experts);
    RAISON_RETURN_IF_ERROR(take(spec.gguf, shape, &found));
  }
  return found;
}

Result<Parameter*> HeaderLoader::make(ParameterStore& store, ParameterSpec spec) {
  RAISON_RETURN_IF_ERROR(find(spec));
  Parameter* p = &store.add(named(spec.hf, spec.shape));
  specs_.push_back(std::move(spec));
  return p;
}

Error HeaderLoader::cannot_compute(const TensorInfo& t) const {
  return error("{}: tensor {} is of type {}, which cannot be computed with; {} can", files_.path, t.name, t.type_name,
               kComputable);
}

Status HeaderLoader::finish(const std::vector<std::string>& known) const {
  for (const TensorInfo& t : files_.tensors->tensors()) {
    const bool buffer = t.name.ends_with("inv_freq");
    const auto knows = [&](const std::string& pattern) { return matches(t.name, pattern); };
    if (taken_.count(&t) || buffer || std::any_of(known.begin(), known.end(), knows)) continue;
    return error(
        "{}: tensor {} has no place in this architecture as its config describes it; without it the answers would be wrong",
        files_.path, printable(t.name));
  }
  return {};
}

// ---- weights ----

Result<MatrixInFile> FileParameterLoader::in_file(const TensorInfo& t, int64_t rows, int64_t cols, int64_t index) {
  const auto bytes = row_bytes(t.type, static_cast<uint64_t>(cols));
  // Of FP8 a matrix alone has scales beside it.
  if (!is_computable(t.type) || (t.type == DType::F8_E4M3 && t.shape.size() != 2)) return cannot_compute(t);
  if (!bytes)
    return error("{}: tensor {} of type {} has {} columns, which is no multiple of {}", files_.path, t.name, t.type_name, cols,
                 dtype_info(t.type).block_elements);
  MatrixInFile m;
  m.file = t.file;
  m.bytes = *bytes * static_cast<uint64_t>(rows);
  m.data = t.data + static_cast<uint64_t>(index) * m.bytes;
  m.offset = t.offset + static_cast<uint64_t>(index) * m.bytes;
  m.type = t.type;
  m.rows = rows;
  m.cols = cols;
  if (t.type == DType::F8_E4M3) { RAISON_ASSIGN(m.scales, scales_in(*files_.tensors->find(t.name + "_scale_inv"))); }
  return m;
}

Result<Parameter*> FileParameterLoader::add(ParameterStore& store, const std::string& hf, const TensorInfo& t,
                                            const MatrixInFile& m, std::optional<DType> type) {
  Parameter p = named(hf, {m.rows, m.cols});
  p.trainable = options_.trainable;
  auto packed = pack_matrix(m, type);
  if (!packed.ok()) return error("{}: tensor {}: {}", files_.path, t.name, packed.message());
  p.matrix = std::move(packed).value();
  if (m.file) m.file->release(m.offset, m.bytes);  // packed: the source's pages are not needed again
  return &store.add(std::move(p));
}

Result<Parameter*> FileParameterLoader::make(ParameterStore& store, ParameterSpec spec) {
  RAISON_ASSIGN(const auto found, find(spec));
  const TensorInfo& t = *found[0];
  if (spec.shape.size() == 1) return read_vector(store, spec, t);
  if (found.size() == 2) return read_latent(store, spec, t, *found[1]);
  const int64_t rows = spec.shape[0], cols = spec.shape[1];
  RAISON_ASSIGN(MatrixInFile m, in_file(t, rows, cols, spec.is_expert() && is_gguf() ? spec.expert : 0));
  if (spec.is_latent()) return add(store, spec.hf, t, m, latent_target(m.type));
  if (spec.is_expert() && !options_.trainable) {
    if (auto none = PackedWeight::check(packed_type(m, target()), rows, cols); !none.ok())
      return error("{}: tensor {}: {}", files_.path, t.name, none.message());
    Parameter p = named(spec.hf, spec.shape);
    p.source = std::make_shared<ExpertMatrix>(std::move(m), target(), memory_);
    return &store.add(std::move(p));
  }
  std::vector<uint8_t> reordered;
  if (is_gguf() && spec.interleaved_heads > 0) {
    const size_t bytes = m.bytes / static_cast<size_t>(rows);
    reordered.resize(m.bytes);
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(reordered.data() + static_cast<size_t>(r) * bytes,
                  m.data + static_cast<size_t>(file_row(r, rows, spec.interleaved_heads)) * bytes, bytes);
    m.data = reordered.data();
  }
  return add(store, spec.hf, t, m, target());
}

Result<Parameter*> FileParameterLoader::read_vector(ParameterStore& store, const ParameterSpec& spec, const TensorInfo& t) {
  RAISON_ASSIGN(const std::vector<float> values, read_f32(t));
  const int64_t n = spec.shape[0];
  Parameter p = named(spec.hf, spec.shape);
  p.trainable = options_.trainable;
  p.vector.resize(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i)
    p.vector[static_cast<size_t>(i)] = values[static_cast<size_t>(file_row(i, n, is_gguf() ? spec.interleaved_heads : 0))];
  return &store.add(std::move(p));
}

std::optional<DType> FileParameterLoader::latent_target(DType type) const {
  if (target()) return target();
  return type == DType::F16 || type == DType::BF16 ? type : DType::F32;
}

Result<Parameter*> FileParameterLoader::read_latent(ParameterStore& store, const ParameterSpec& spec, const TensorInfo& k,
                                                    const TensorInfo& v) {
  const int64_t heads = spec.heads, nope = spec.nope, value = spec.value, rank = spec.shape[1], stride = nope + value;
  RAISON_ASSIGN(const MatrixInFile k_in_file, in_file(k, heads * rank, nope));
  RAISON_ASSIGN(const MatrixInFile v_in_file, in_file(v, heads * value, rank));
  const std::vector<float> k_values = values_of(k_in_file), v_values = values_of(v_in_file);
  std::vector<float> all(static_cast<size_t>(heads * stride * rank));
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t d = 0; d < nope; ++d)
      for (int64_t c = 0; c < rank; ++c)
        all[static_cast<size_t>((h * stride + d) * rank + c)] = k_values[static_cast<size_t>((h * rank + c) * nope + d)];
    std::copy_n(v_values.begin() + h * value * rank, value * rank, all.begin() + (h * stride + nope) * rank);
  }
  MatrixInFile m;
  m.data = reinterpret_cast<const uint8_t*>(all.data());
  m.bytes = all.size() * sizeof(float);
  m.rows = heads * stride;
  m.cols = rank;
  return add(store, spec.hf, k, m, latent_target(k.type == v.type ? k.type : DType::F32));
}

Result<Parameter*> ZeroParameterLoader::make(ParameterStore& store, ParameterSpec spec) {
  Parameter p = named(spec.hf, spec.shape);
  p.trainable = true;
  if (p.is_matrix()) {
    RAISON_ASSIGN(p.matrix, PackedWeight::zeros(DType::F32, spec.shape[0], spec.shape[1]));
  } else {
    p.vector.resize(static_cast<size_t>(spec.shape[0]));
  }
  return &store.add(std::move(p));
}

}  // namespace raison
