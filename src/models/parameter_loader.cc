// Parameters out of files, or zero.
#include <algorithm>
#include <cstring>

#include "io/printable.h"
#include "models/loading.h"

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
    const bool buffer = t.name.ends_with("inv_freq");
    const auto knows = [&](const std::string& pattern) { return matches(t.name, pattern); };
    if (taken_.count(t.name) || buffer || std::any_of(known.begin(), known.end(), knows)) continue;
    return error(
        "{}: tensor {} has no place in this architecture as its config describes it; without it the answers would be wrong",
        files_.path, printable(t.name));
  }
  return {};
}

Result<std::vector<float>> FileParameterLoader::fp8_scales(const TensorInfo& t, int64_t rows, int64_t cols) {
  const std::string name = t.name + "_scale_inv";
  const TensorInfo* s = files_.tensors->find(name);
  if (!s) return error("{}: tensor {} is of type {} but {} is missing", files_.path, t.name, t.type_name, name);
  const std::vector<int64_t> shape = {(rows + kFp8Block - 1) / kFp8Block, (cols + kFp8Block - 1) / kFp8Block};
  if (s->shape != shape)
    return error("{}: tensor {} is {}, one scale per {} x {} values of {} makes {}", files_.path, name, shape_text(s->shape),
                 kFp8Block, kFp8Block, t.name, shape_text(shape));
  taken_.insert(name);
  if (s->known_type && s->type == DType::F8_E8M0) {
    std::vector<float> scales(static_cast<size_t>(s->elements()));
    for (size_t i = 0; i < scales.size(); ++i) scales[i] = f8_e8m0_to_f32(s->data[i]);
    return scales;
  }
  return read_f32(*s);
}

Result<MatrixInFile> FileParameterLoader::in_file(const TensorInfo& t, int64_t rows, int64_t cols, int64_t index) {
  const auto bytes = row_bytes(t.type, static_cast<uint64_t>(cols));
  if (!is_computable(t.type)) return cannot_compute(t);
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
  if (t.type == DType::F8_E4M3) { RAISON_ASSIGN(m.scales, fp8_scales(t, rows, cols)); }
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

Result<Parameter*> FileParameterLoader::matrix(ParameterStore& store, const std::string& hf, const std::string& gguf,
                                               int64_t rows, int64_t cols, int interleaved_heads) {
  RAISON_ASSIGN(const TensorInfo* t, find(hf, gguf, {rows, cols}));
  RAISON_ASSIGN(MatrixInFile m, in_file(*t, rows, cols));
  std::vector<uint8_t> reordered;
  if (is_gguf() && interleaved_heads > 0) {
    const size_t bytes = m.bytes / static_cast<size_t>(rows);
    reordered.resize(m.bytes);
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(reordered.data() + static_cast<size_t>(r) * bytes,
                  m.data + static_cast<size_t>(file_row(r, rows, interleaved_heads)) * bytes, bytes);
    m.data = reordered.data();
  }
  return add(store, hf, *t, m, target());
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

Result<Parameter*> FileParameterLoader::expert(ParameterStore& store, const std::string& hf, const std::string& gguf,
                                               int64_t expert, int64_t experts, int64_t rows, int64_t cols) {
  const auto shape = is_gguf() ? std::vector<int64_t>{experts, rows, cols} : std::vector<int64_t>{rows, cols};
  RAISON_ASSIGN(const TensorInfo* t, find(hf, gguf, shape));
  RAISON_ASSIGN(MatrixInFile m, in_file(*t, rows, cols, is_gguf() ? expert : 0));
  if (options_.trainable) return add(store, hf, *t, m, target());
  if (auto none = PackedWeight::check(packed_type(m, target()), rows, cols); !none.ok())
    return error("{}: tensor {}: {}", files_.path, t->name, none.message());
  Parameter p = named(hf, {rows, cols});
  p.source = std::make_shared<ExpertMatrix>(std::move(m), target(), memory_);
  return &store.add(std::move(p));
}

Result<Parameter*> FileParameterLoader::latent_kv(ParameterStore& store, const std::string& hf, const std::string& gguf_block,
                                                  int64_t heads, int64_t nope, int64_t value, int64_t rank) {
  const std::string joint = gguf_block + "attn_kv_b.weight";
  const int64_t stride = nope + value, rows = heads * stride;
  const auto kept_as = [&](DType type) -> std::optional<DType> {
    if (target()) return target();
    return type == DType::F16 || type == DType::BF16 ? type : DType::F32;
  };
  if (!is_gguf() || files_.tensors->find(joint)) {
    RAISON_ASSIGN(const TensorInfo* t, find(hf, joint, {rows, rank}));
    RAISON_ASSIGN(const MatrixInFile m, in_file(*t, rows, rank));
    return add(store, hf, *t, m, kept_as(m.type));
  }
  RAISON_ASSIGN(const TensorInfo* k, find("", gguf_block + "attn_k_b.weight", {heads, rank, nope}));
  RAISON_ASSIGN(const TensorInfo* v, find("", gguf_block + "attn_v_b.weight", {heads, value, rank}));
  RAISON_ASSIGN(const MatrixInFile k_in_file, in_file(*k, heads * rank, nope));
  RAISON_ASSIGN(const MatrixInFile v_in_file, in_file(*v, heads * value, rank));
  const std::vector<float> k_values = values_of(k_in_file), v_values = values_of(v_in_file);
  std::vector<float> all(static_cast<size_t>(rows * rank));
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t d = 0; d < nope; ++d)
      for (int64_t c = 0; c < rank; ++c)
        all[static_cast<size_t>((h * stride + d) * rank + c)] = k_values[static_cast<size_t>((h * rank + c) * nope + d)];
    std::copy_n(v_values.begin() + h * value * rank, value * rank, all.begin() + (h * stride + nope) * rank);
  }
  MatrixInFile m;
  m.data = reinterpret_cast<const uint8_t*>(all.data());
  m.bytes = all.size() * sizeof(float);
  m.rows = rows;
  m.cols = rank;
  return add(store, hf, *k, m, kept_as(k->type == v->type ? k->type : DType::F32));
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

Result<Parameter*> ZeroParameterLoader::expert(ParameterStore& store, const std::string& hf, const std::string& gguf, int64_t,
                                               int64_t, int64_t rows, int64_t cols) {
  return matrix(store, hf, gguf, rows, cols, 0);
}

Result<Parameter*> ZeroParameterLoader::latent_kv(ParameterStore& store, const std::string& hf, const std::string& gguf_block,
                                                  int64_t heads, int64_t nope, int64_t value, int64_t rank) {
  return matrix(store, hf, gguf_block, heads * (nope + value), rank, 0);
}

// ---- layers ----

Status load_linear(ParameterLoader& loader, ParameterStore& store, const std::string& hf, const std::string& gguf, int64_t rows,
                   int64_t cols, bool bias, int interleaved_heads, Linear* out) {
  RAISON_ASSIGN(out->weight, loader.matrix(store, hf + ".weight", gguf + ".weight", rows, cols, interleaved_heads));
  if (!bias) return {};
  RAISON_ASSIGN(out->bias, loader.vector(store, hf + ".bias", gguf + ".bias", rows, interleaved_heads));
  return {};
}

Status load_norm(ParameterLoader& loader, ParameterStore& store, const std::string& hf, const std::string& gguf, int64_t dim,
                 double eps, RmsNorm* out) {
  RAISON_ASSIGN(out->weight, loader.vector(store, hf + ".weight", gguf + ".weight", dim));
  out->eps = static_cast<float>(eps);
  return {};
}

Status load_swiglu(ParameterLoader& loader, ParameterStore& store, const std::string& hf, const std::string& gguf,
                   const std::string& suffix, int64_t hidden, int64_t width, SwiGlu* out) {
  RAISON_RETURN_IF_ERROR(
      load_linear(loader, store, hf + ".gate_proj", gguf + "ffn_gate" + suffix, width, hidden, false, 0, &out->gate));
  RAISON_RETURN_IF_ERROR(
      load_linear(loader, store, hf + ".up_proj", gguf + "ffn_up" + suffix, width, hidden, false, 0, &out->up));
  return load_linear(loader, store, hf + ".down_proj", gguf + "ffn_down" + suffix, hidden, width, false, 0, &out->down);
}

Status load_experts(ParameterLoader& loader, ParameterStore& store, const std::string& hf, const std::string& gguf,
                    int64_t hidden, int64_t width, bool correction, MixtureOfExperts* out) {
  const int64_t experts = out->config.experts;
  RAISON_RETURN_IF_ERROR(
      load_linear(loader, store, hf + "gate", gguf + "ffn_gate_inp", experts, hidden, false, 0, &out->router));
  if (correction) {
    RAISON_ASSIGN(out->correction,
                  loader.vector(store, hf + "gate.e_score_correction_bias", gguf + "exp_probs_b.bias", experts));
    out->correction->trainable = false;
  }
  out->experts.resize(static_cast<size_t>(experts));
  for (int64_t e = 0; e < experts; ++e) {
    SwiGlu& x = out->experts[static_cast<size_t>(e)];
    const std::string name = fmt::format("{}experts.{}.", hf, e), exps = gguf + "ffn_";
    RAISON_ASSIGN(x.gate.weight,
                  loader.expert(store, name + "gate_proj.weight", exps + "gate_exps.weight", e, experts, width, hidden));
    RAISON_ASSIGN(x.up.weight,
                  loader.expert(store, name + "up_proj.weight", exps + "up_exps.weight", e, experts, width, hidden));
    RAISON_ASSIGN(x.down.weight,
                  loader.expert(store, name + "down_proj.weight", exps + "down_exps.weight", e, experts, hidden, width));
  }
  return {};
}

Status describe_weights(const ParameterLoader& loader, const ParameterStore& store, ModelInfo* info) {
  const auto memory = loader.memory();
  info->expert_bytes = memory ? memory->experts_bytes() : 0;
  info->weight_bytes = store.bytes() + info->expert_bytes;
  info->weight_types = weight_types(store);
  return memory ? memory->set_resident(store.bytes()) : Status{};
}

}  // namespace raison
