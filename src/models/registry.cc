#include "models/registry.h"

#include <algorithm>

#include "models/parameter_loader.h"
#include "tensor/packed.h"

namespace raison {

const std::vector<Architecture>& architectures() {
  static const std::vector<Architecture> all = {llama_architecture(),       qwen2_architecture(),
                                                qwen3_architecture(),       qwen3_moe_architecture(),
                                                deepseek_v2_architecture(), deepseek_v3_architecture()};
  return all;
}

namespace {
std::string known() {
  std::string s;
  for (const Architecture& a : architectures())
    for (const std::string& type : a.hf_model_types) s += (s.empty() ? "" : ", ") + type;
  return s;
}

// Weights of other formats than FP8 in blocks of 128 would be read as something they are not.
Status check_quantization(const nlohmann::json& config, const std::string& where) {
  if (!config.contains("quantization_config") || config["quantization_config"].is_null()) return {};
  const nlohmann::json& q = config["quantization_config"];
  if (!q.is_object()) return error("{}: \"quantization_config\" is no object", where);
  const ConfigReader r(q, where + ": quantization_config");
  RAISON_ASSIGN(const std::string method, r.string_or("quant_method", ""));
  if (method != "fp8")
    return error("{}: quantization_config of method \"{}\" is not supported; fp8 is (or take a GGUF)", where,
                 method.substr(0, 32));
  RAISON_ASSIGN(const std::string format, r.string_or("fmt", "e4m3"));
  if (format != "e4m3") return r.bad("fmt", "is \"" + format.substr(0, 32) + "\"; e4m3 is supported");
  if (!r.has("weight_block_size")) return r.bad("weight_block_size", "is missing; [128, 128] is supported");
  if (q["weight_block_size"] != nlohmann::json::array({kFp8Block, kFp8Block}))
    return r.bad("weight_block_size", "is not [128, 128], which alone is supported");
  return {};
}

Result<const Architecture*> find_hf(const nlohmann::json& config, const std::string& where) {
  if (!config.is_object() || !config.contains("model_type") || !config["model_type"].is_string())
    return error("{}: \"model_type\" is missing: not a language model's config.json", where);
  const auto type = config["model_type"].get<std::string>();
  RAISON_RETURN_IF_ERROR(check_quantization(config, where));
  for (const Architecture& a : architectures())
    if (std::count(a.hf_model_types.begin(), a.hf_model_types.end(), type)) return &a;
  return error("{}: architecture \"{}\" is not known; known: {}", where, type.substr(0, 64), known());
}
}  // namespace

Result<const Architecture*> find_architecture(const ModelFiles& files) {
  if (files.format == ModelFiles::Format::HfFolder) return find_hf(files.config, files.path + "/config.json");
  const auto name = files.gguf->metadata().string("general.architecture");
  if (!name) return error("{}: \"general.architecture\" is missing: not a language model's GGUF", files.path);
  for (const Architecture& a : architectures())
    if (a.name == *name) return &a;
  return error("{}: architecture \"{}\" is not known; known: {}", files.path, name->substr(0, 64), known());
}

Result<std::unique_ptr<Model>> load_model(const ModelFiles& files, const LoadOptions& options) {
  RAISON_ASSIGN(const Architecture* a, find_architecture(files));
  FileParameterLoader loader(files, options);
  return a->build(files, loader);
}

Result<std::unique_ptr<Model>> outline_model(const ModelFiles& files, std::vector<ParameterSpec>* specs) {
  RAISON_ASSIGN(const Architecture* a, find_architecture(files));
  HeaderLoader loader(files);
  RAISON_ASSIGN(auto model, a->build(files, loader));
  if (specs) *specs = loader.specs();
  return model;
}

Result<std::unique_ptr<Model>> create_model(const nlohmann::json& config, const std::string& where) {
  RAISON_ASSIGN(const Architecture* a, find_hf(config, where));
  return a->create(config, where);
}

Result<ModelInfo> describe_model(const ModelFiles& files) {
  RAISON_ASSIGN(const Architecture* a, find_architecture(files));
  return a->describe(files);
}

DType Model::default_cache_type() const {
  const auto layout = kv_layout(DType::I16, 64);
  return layout.ok() && layout->latent ? DType::I16 : DType::F16;
}

int32_t Model::add_adapter(std::shared_ptr<Adapter> adapter) {
  adapters_.push_back(std::move(adapter));
  return static_cast<int32_t>(adapters_.size()) - 1;
}

uint64_t Model::version() const {
  uint64_t sum = parameters().version;
  for (const auto& a : adapters_) sum += a->parameters().version;
  return sum;
}

Status check_batch(const Model& model, const ForwardBatch& b) {
  const ModelInfo& info = model.info();
  const auto rows = static_cast<size_t>(b.rows());
  if (b.positions.size() != rows) return error("batch: {} positions for {} tokens", b.positions.size(), rows);
  if (b.seq_offsets.empty() || b.seq_offsets.front() != 0 || b.seq_offsets.back() != static_cast<int32_t>(rows) ||
      !std::is_sorted(b.seq_offsets.begin(), b.seq_offsets.end()))
    return error("batch: sequence offsets do not cover the {} tokens", rows);
  if (b.seq_pages.size() + 1 != b.seq_offsets.size()) return error("batch: pages for {} sequences", b.seq_pages.size());
  if (!b.adapters.empty() && b.adapters.size() != b.seq_pages.size())
    return error("batch: adapters for {} sequences of {}", b.adapters.size(), b.seq_pages.size());
  for (const int32_t id : b.adapters)
    if (id < -1 || id >= static_cast<int32_t>(model.adapters().size())) return error("adapter {} is not loaded", id);
  for (size_t s = 0; s + 1 < b.seq_offsets.size(); ++s)
    for (auto r = static_cast<size_t>(b.seq_offsets[s]); r < static_cast<size_t>(b.seq_offsets[s + 1]); ++r) {
      if (b.tokens[r] < 0 || b.tokens[r] >= info.vocab)
        return error("token id {} is outside the vocabulary of {}", b.tokens[r], info.vocab);
      if (b.positions[r] < 0 || (r > static_cast<size_t>(b.seq_offsets[s]) && b.positions[r] != b.positions[r - 1] + 1))
        return error("batch: positions of a sequence must be consecutive");
    }
  for (size_t i = 0; i < b.output_rows.size(); ++i)
    if (b.output_rows[i] < 0 || b.output_rows[i] >= static_cast<int32_t>(rows) ||
        (i > 0 && b.output_rows[i] <= b.output_rows[i - 1]))
      return error("batch: output rows must ascend and lie within the {} tokens", rows);
  RAISON_ASSIGN(const KvLayout want, model.kv_layout(b.kv.type, b.kv.page_size));
  if (want.layers != b.kv.layers || want.kv_heads != b.kv.kv_heads || want.head_dim != b.kv.head_dim ||
      want.v_dim() != b.kv.v_dim() || want.latent != b.kv.latent)
    return error("batch: the cache's layout is another model's");
  return {};
}

}  // namespace raison
