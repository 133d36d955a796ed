#include "models/loading.h"

#include <algorithm>
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
  return *v;
}

namespace {
// The keys as transformers' reference reads them; "attn_factor", which some files carry, it does not read.
Status yarn_from_hf(const ConfigReader& r, const ConfigReader& config, RopeConfig* rope) {
  rope->scaling = RopeConfig::Scaling::Yarn;
  RAISON_ASSIGN(rope->factor, r.number("factor", 1, 1e6));
  RAISON_ASSIGN(const int64_t context, config.integer_or("max_position_embeddings", 2048, 1, 1 << 30));
  RAISON_ASSIGN(rope->original_context, r.number_or("original_max_position_embeddings", static_cast<double>(context), 1, 1e9));
  RAISON_ASSIGN(rope->beta_fast, r.number_or("beta_fast", 32, 1e-3, 1e6));
  RAISON_ASSIGN(rope->beta_slow, r.number_or("beta_slow", 1, 1e-3, 1e6));
  RAISON_ASSIGN(rope->truncate, r.boolean_or("truncate", true));
  if (rope->beta_fast < rope->beta_slow) return r.bad("beta_fast", "is smaller than beta_slow");
  RAISON_ASSIGN(const double mscale, r.number_or("mscale", 0, 0, 1e3));
  RAISON_ASSIGN(rope->mscale_all_dim, r.number_or("mscale_all_dim", 0, 0, 1e3));
  const double own = mscale > 0 && rope->mscale_all_dim > 0
                         ? yarn_mscale(rope->factor, mscale) / yarn_mscale(rope->factor, rope->mscale_all_dim)
                         : yarn_mscale(rope->factor, 1);
  RAISON_ASSIGN(rope->magnitude, r.number_or("attention_factor", own, 1e-3, 1e3));
  return {};
}

// llama.cpp's keys: yarn_log_multiplier is 0.1 * mscale_all_dim, and its writers know no other mscale than mscale_all_dim.
Status yarn_from_gguf(const GgufKeys& keys, RopeConfig* rope) {
  rope->scaling = RopeConfig::Scaling::Yarn;
  RAISON_ASSIGN(rope->factor, keys.number_or("rope.scaling.factor", 1.0, 1, 1e6));
  RAISON_ASSIGN(const int64_t context, keys.integer_or("context_length", 2048, 1, 1 << 30));
  RAISON_ASSIGN(const int64_t original, keys.integer_or("rope.scaling.original_context_length", context, 1, 1 << 30));
  rope->original_context = static_cast<double>(original);
  RAISON_ASSIGN(rope->beta_fast, keys.number_or("rope.scaling.yarn_beta_fast", 32, 1e-3, 1e6));
  RAISON_ASSIGN(rope->beta_slow, keys.number_or("rope.scaling.yarn_beta_slow", 1, 1e-3, 1e6));
  if (rope->beta_fast < rope->beta_slow)
    return error("{}: rope.scaling.yarn_beta_fast is smaller than beta_slow", keys.where());
  RAISON_ASSIGN(const double multiplier, keys.number_or("rope.scaling.yarn_log_multiplier", 0, 0, 100));
  rope->mscale_all_dim = 10 * multiplier;
  RAISON_ASSIGN(const double attention, keys.number_or("rope.scaling.attn_factor", 1, 1e-3, 1e3));
  rope->magnitude = multiplier > 0 ? attention : attention * yarn_mscale(rope->factor, 1);
  return {};
}
}  // namespace

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
  } else if (type == "yarn") {
    RAISON_RETURN_IF_ERROR(yarn_from_hf(r, config, &rope));
  } else {
    return config.bad(
        block, "asks for scaling \"" + type.substr(0, 32) + "\", which is not supported; default, linear, llama3 and yarn are");
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
  if (type == "yarn") return yarn_from_gguf(keys, rope);
  if (type != "linear")
    return error("{}: rope.scaling.type \"{}\" is not supported; none, linear and yarn are", keys.where(), type.substr(0, 32));
  rope->scaling = RopeConfig::Scaling::Linear;
  RAISON_ASSIGN(rope->factor, keys.number_or("rope.scaling.factor", 1.0, 1e-3, 1e6));
  return {};
}

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

}  // namespace raison
