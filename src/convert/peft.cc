#include "convert/peft.h"

#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <unordered_set>

#include "base/atomic_folder.h"
#include "base/file.h"
#include "base/rng.h"
#include "io/printable.h"
#include "io/safetensors.h"
#include "io/tensor_read.h"
#include "tensor/quantize.h"

namespace raison {
namespace {
namespace fs = std::filesystem;

constexpr uint64_t kLoraStream = 0x6C6F7261;  // "lora"
constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kWeightsFile = "adapter_model.safetensors";
constexpr const char* kPrefix = "base_model.model.";

std::string module_of(const Parameter& p) { return p.name.substr(0, p.name.rfind('.')); }

// What can have an adapter: matrices of the layers but the routers.
bool is_linear(const Parameter& p) {
  return p.is_matrix() && p.name.starts_with("model.layers.") && !p.name.ends_with(".mlp.gate.weight");
}

// The routed experts of a layer.
struct Experts {
  std::vector<const Parameter*> gate, up, down;
};

// "model.layers.1.mlp.experts.7.up_proj.weight": the layer's "model.layers.1.mlp.experts", and "up_proj". Empty: no expert's.
std::pair<std::string, std::string> expert_of(const Parameter& p) {
  const std::string mark = ".mlp.experts.";
  const size_t at = p.name.find(mark);
  if (at == std::string::npos) return {};
  const std::string module = module_of(p);
  return {p.name.substr(0, at + mark.size() - 1), module.substr(module.rfind('.') + 1)};
}

std::map<std::string, Experts> experts_of(const Model& model) {
  std::map<std::string, Experts> out;
  for (const auto& p : model.parameters().all()) {
    const auto [layer, kind] = expert_of(*p);
    if (layer.empty()) continue;
    Experts& e = out[layer];
    (kind == "gate_proj" ? e.gate : kind == "up_proj" ? e.up : e.down).push_back(p.get());
  }
  return out;
}

// Makes an adapter's parameters, zero, and says which tensors hold them.
class LoraBuilder {
 public:
  LoraBuilder(const PeftTargets& targets, bool trainable) : targets_(targets), trainable_(trainable) {
    out_.adapter = std::make_shared<Adapter>();
  }

  Status add_linear(const Parameter& w) {
    const std::string module = module_of(w);
    RAISON_ASSIGN(Parameter * a, matrix(module + ".lora_A.weight", targets_.rank(module), w.shape[1]));
    RAISON_ASSIGN(Parameter * b, matrix(module + ".lora_B.weight", w.shape[0], targets_.rank(module)));
    out_.tensors.push_back({kPrefix + a->name, a->shape, {{a}}});
    out_.tensors.push_back({kPrefix + b->name, b->shape, {{b}}});
    out_.adapter->set(w, {a, b, targets_.scale(module)});
    return {};
  }

  // PEFT wraps a layer's experts once for each parameter, gate_up_proj first: what is wrapped again is its base_layer.
  Status add_experts(const std::string& layer, const Experts& experts) {
    const std::string gate_up = layer + ".gate_up_proj", down = layer + ".down_proj";
    const bool has_down = targets_.has_parameter(down);
    if (targets_.has_parameter(gate_up))
      RAISON_RETURN_IF_ERROR(add_fused(gate_up, layer + (has_down ? ".base_layer" : ""), {&experts.gate, &experts.up}));
    if (has_down) RAISON_RETURN_IF_ERROR(add_fused(down, layer, {&experts.down}));
    return {};
  }

  LoraAdapter take() { return std::move(out_); }
  bool empty() const { return out_.tensors.empty(); }

 private:
  // `key`: as patterns know it. Matrices of one expert that stand below each other share A.
  Status add_fused(const std::string& key, const std::string& tensor,
                   const std::vector<const std::vector<const Parameter*>*>& of) {
    const auto experts = static_cast<int64_t>(of[0]->size());
    const int64_t rank = targets_.rank(key), in = (*of[0])[0]->shape[1];
    int64_t rows = 0;
    for (const auto* matrices : of) rows += (*matrices)[0]->shape[0];
    PeftTensor whole_a{kPrefix + tensor + ".lora_A.weight", {experts * rank, in}, {}};
    PeftTensor whole_b{kPrefix + tensor + ".lora_B.weight", {rows, rank * experts}, {}};
    const std::string kind = key.substr(key.rfind('.') + 1), layer = key.substr(0, key.rfind('.'));
    for (int64_t e = 0; e < experts; ++e) {
      RAISON_ASSIGN(Parameter * a, matrix(fmt::format("{}.{}.{}.lora_A.weight", layer, e, kind), rank, in));
      whole_a.parts.push_back({a, e * rank});
      int64_t row = 0;
      for (const auto* matrices : of) {
        const Parameter& w = *(*matrices)[static_cast<size_t>(e)];
        RAISON_ASSIGN(Parameter * b, matrix(module_of(w) + ".lora_B.weight", w.shape[0], rank));
        whole_b.parts.push_back({b, row, e, experts});
        row += w.shape[0];
        out_.adapter->set(w, {a, b, targets_.scale(key)});
      }
    }
    out_.tensors.push_back(std::move(whole_a));
    out_.tensors.push_back(std::move(whole_b));
    return {};
  }

  Result<Parameter*> matrix(const std::string& name, int64_t rows, int64_t cols) {
    Parameter p;
    p.name = name;
    p.shape = {rows, cols};
    p.trainable = trainable_;
    RAISON_ASSIGN(p.matrix, PackedWeight::zeros(DType::F32, rows, cols));
    return &out_.adapter->parameters().add(std::move(p));
  }

  const PeftTargets& targets_;
  bool trainable_;
  LoraAdapter out_;
};

bool is_all_linear(const PeftConfig& config) { return config.target_modules == std::vector<std::string>{"all-linear"}; }

// What a name in target_modules can only mean, and no adapter can be on.
Status check_targets(const PeftConfig& config, const PeftTargets& targets, const Model& model, const std::string& where) {
  const auto refuse = [&](const std::string& module, const char* what) {
    return error("{}: target_modules names {}, {}; adapters are on the layers' projections", where, module, what);
  };
  if (is_all_linear(config)) return {};
  for (const char* module : {"model.embed_tokens", "lm_head"})
    if (targets.has_module(module)) return refuse(module, "the table of embeddings or the head");
  for (const auto& p : model.parameters().all()) {
    if (is_linear(*p) || !targets.has_module(module_of(*p)) || p->name.ends_with(".bias")) continue;
    return refuse(module_of(*p), p->is_matrix() ? "a router" : "a norm");
  }
  return {};
}

// Whether `module` of a matrix that targets name has an adapter. `file`: what an adapter on disk holds; null for a new one. Experts in a
// list of modules, as older versions of transformers have them, are there only on disk; there, what "all-linear" means is what it holds.
bool is_wanted(const std::string& module, bool of_experts, bool all_linear, const Model& model, const SafetensorsFile* file) {
  const bool in_file = file && file->find(kPrefix + module + ".lora_A.weight");
  if (of_experts) return in_file;
  if (!all_linear) return true;
  return file ? in_file : model.info().experts == 0 || module.find(".mlp.") == std::string::npos;
}

Result<LoraAdapter> build_lora(const Model& model, const PeftConfig& config, const std::string& where, bool trainable,
                               const SafetensorsFile* file) {
  RAISON_ASSIGN(const auto targets, PeftTargets::of(config, where));
  RAISON_RETURN_IF_ERROR(check_targets(config, *targets, model, where));
  LoraBuilder builder(*targets, trainable);
  std::string layer_of_experts;
  const auto experts = experts_of(model);
  const bool all_linear = is_all_linear(config);
  for (const auto& p : model.parameters().all()) {
    const auto [layer, kind] = expert_of(*p);
    if (!layer.empty() && layer != layer_of_experts) {  // with the first of them
      layer_of_experts = layer;
      RAISON_RETURN_IF_ERROR(builder.add_experts(layer, experts.at(layer)));
    }
    const std::string module = module_of(*p);
    if (is_linear(*p) && targets->has_module(module) && is_wanted(module, !layer.empty(), all_linear, model, file))
      RAISON_RETURN_IF_ERROR(builder.add_linear(*p));
  }
  if (builder.empty())
    return error("{}: target_modules and target_parameters name nothing that this {} model has", where,
                 model.info().architecture);
  LoraAdapter out = builder.take();
  out.config = config;
  return out;
}

// Readers want names.
void spell_out_targets(LoraAdapter* lora) {
  if (!is_all_linear(lora->config)) return;
  std::set<std::string> names;
  for (const auto& p : lora->adapter->parameters().all()) {
    const std::string module = p->name.substr(0, p->name.rfind(".lora_"));
    if (module.find(".experts.") == std::string::npos) names.insert(module.substr(module.rfind('.') + 1));
  }
  lora->config.target_modules.assign(names.begin(), names.end());
}

Status read_tensor(const SafetensorsFile& file, const PeftTensor& t) {
  const TensorInfo* info = file.find(t.name);
  if (!info) return error("{}: tensor {} is missing; the adapter is not whole, or of another model", file.path(), t.name);
  if (info->shape != t.shape)
    return error("{}: tensor {} is [{}], base and {} make it [{}]; the adapter is of another model", file.path(), t.name,
                 fmt::join(info->shape, ", "), kConfigFile, fmt::join(t.shape, ", "));
  RAISON_ASSIGN(const std::vector<float> whole, read_f32(*info));
  for (const PeftTensor::Part& part : t.parts) {
    const int64_t rows = part.parameter->shape[0], cols = part.parameter->shape[1];
    std::vector<float> values(static_cast<size_t>(rows * cols));
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < cols; ++j)
        values[static_cast<size_t>(i * cols + j)] =
            whole[static_cast<size_t>((part.row + i) * t.shape[1] + part.col + j * part.step)];
    part.parameter->from_row_major(values.data(), part.parameter->values());
  }
  return {};
}

// What nobody has asked for would be left out of the answers.
Status check_no_tensor_left(const SafetensorsFile& file, const LoraAdapter& lora) {
  std::unordered_set<std::string> known;
  for (const PeftTensor& t : lora.tensors) known.insert(t.name);
  for (const TensorInfo& t : file.tensors())
    if (!known.count(t.name))
      return error("{}: tensor {} is of no module that {} names and this model has", file.path(), printable(t.name),
                   kConfigFile);
  return {};
}

std::vector<float> whole_tensor(const PeftTensor& t) {
  std::vector<float> whole(static_cast<size_t>(t.shape[0] * t.shape[1]));
  for (const PeftTensor::Part& part : t.parts) {
    const std::vector<float> values = part.parameter->to_row_major();
    const int64_t rows = part.parameter->shape[0], cols = part.parameter->shape[1];
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < cols; ++j)
        whole[static_cast<size_t>((part.row + i) * t.shape[1] + part.col + j * part.step)] =
            values[static_cast<size_t>(i * cols + j)];
  }
  return whole;
}

}  // namespace

Result<LoraAdapter> create_lora(const Model& model, const PeftConfig& config, uint64_t seed) {
  RAISON_ASSIGN(LoraAdapter lora, build_lora(model, config, "lora", true, nullptr));
  spell_out_targets(&lora);
  const uint64_t key = hash_seed({seed, kLoraStream});
  for (const auto& p : lora.adapter->parameters().all()) {
    if (!p->name.ends_with(".lora_A.weight")) continue;  // B stays zero
    Rng rng(key, static_cast<uint64_t>(p->index));
    // kaiming_uniform with a = sqrt(5): sqrt(6 / ((1 + 5) * in)) on both sides.
    const double bound = 1.0 / std::sqrt(static_cast<double>(p->shape[1]));
    std::vector<float> values(static_cast<size_t>(p->element_count()));
    for (float& v : values) v = static_cast<float>((2 * rng.uniform() - 1) * bound);
    p->from_row_major(values.data(), p->values());
  }
  return lora;
}

Result<LoraAdapter> read_lora(const std::string& folder, const Model& model, bool trainable) {
  const std::string config_path = folder + "/" + kConfigFile, weights_path = folder + "/" + kWeightsFile;
  std::error_code ec;
  if (!fs::exists(config_path, ec)) return error("{}: is no adapter: {} is missing", folder, kConfigFile);
  RAISON_ASSIGN(const nlohmann::json json, read_json_file(config_path, true));
  RAISON_ASSIGN(const PeftConfig config, parse_peft_config(json, config_path));
  if (!fs::exists(weights_path, ec) && fs::exists(folder + "/adapter_model.bin", ec))
    return error("{}: has adapter_model.bin; save it with safe_serialization=True as {}", folder, kWeightsFile);
  RAISON_ASSIGN(const auto file, SafetensorsFile::open(weights_path));
  RAISON_ASSIGN(LoraAdapter lora, build_lora(model, config, config_path, trainable, file.get()));
  for (const PeftTensor& t : lora.tensors) RAISON_RETURN_IF_ERROR(read_tensor(*file, t));
  RAISON_RETURN_IF_ERROR(check_no_tensor_left(*file, lora));
  spell_out_targets(&lora);
  return lora;
}

Status check_lora_folder(const std::string& folder) {
  std::error_code ec;
  if (fs::exists(folder, ec) && !fs::exists(fs::path(folder) / kConfigFile, ec) && !fs::is_empty(folder, ec))
    return error("{}: exists and holds no adapter; choose another folder", folder);
  return {};
}

Status write_lora(const LoraAdapter& lora, DType type, const std::string& folder) {
  if (type != DType::F32 && type != DType::BF16 && type != DType::F16)
    return error("{}: an adapter is written as F32, F16 or BF16, not {}", folder, dtype_name(type));
  RAISON_RETURN_IF_ERROR(check_lora_folder(folder));
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<TensorToWrite> tensors;
  for (const PeftTensor& t : lora.tensors) {
    const std::vector<float> values = whole_tensor(t);
    bytes.emplace_back(values.size() * (type == DType::F32 ? 4 : 2));
    quantize_row(type, values.data(), bytes.back().data(), static_cast<int64_t>(values.size()));
    tensors.push_back({t.name, type, t.shape, bytes.back().data()});
  }
  RAISON_ASSIGN(const auto place, AtomicFolder::create(folder));
  RAISON_RETURN_IF_ERROR(write_safetensors(place->temp() + "/" + kWeightsFile, tensors, {{"format", "pt"}}));
  RAISON_RETURN_IF_ERROR(write_file_atomic(place->temp() + "/" + kConfigFile, peft_config_json(lora.config).dump(2) + "\n"));
  RAISON_RETURN_IF_ERROR(sync_directory(place->temp()));
  return place->commit();
}

}  // namespace raison
