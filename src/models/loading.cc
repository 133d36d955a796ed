#include "models/loading.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace raison {

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
  return decimal_of_f32(*v);
}

double decimal_of_f32(double v) {
  if (!(std::fabs(v) <= double{std::numeric_limits<float>::max()}) || double{static_cast<float>(v)} != v) return v;
  return std::stod(fmt::format("{}", static_cast<float>(v)));
}

GgufConfigWriter::GgufConfigWriter(const std::string& architecture) : prefix_(architecture + ".") {
  out_.metadata.set("general.architecture", architecture);
}
void GgufConfigWriter::count(const std::string& key, int64_t v) { set(key, static_cast<uint64_t>(v)); }
void GgufConfigWriter::real(const std::string& key, double v) { set(key, double{static_cast<float>(v)}); }

Status check_expert_count(int64_t layers, int64_t experts, int64_t hidden, int64_t width, const std::string& where) {
  const double values = 3.0 * static_cast<double>(layers * experts) * static_cast<double>(hidden * width);
  if (values > 1e18)
    return error("{}: {} layers of {} experts make {:.1e} parameters, which is absurd", where, layers, experts, values);
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
    if (p->is_matrix())
      bytes[dtype_name(p->matrix_type())] += panel_count(p->shape[0]) * panel_bytes(p->matrix_type(), p->shape[1]);
  std::vector<std::pair<int64_t, std::string>> order;
  for (const auto& [name, n] : bytes) order.emplace_back(-n, name);
  std::sort(order.begin(), order.end());
  std::string out;
  for (const auto& o : order) out += (out.empty() ? "" : " + ") + o.second;
  return out;
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
