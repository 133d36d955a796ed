// Rotary positions as config.json and GGUF say them.
#include <algorithm>
#include <cmath>

#include "base/math.h"
#include "models/loading.h"

namespace raison {
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
  rope->mscale_all_dim = decimal_of_f32(double{static_cast<float>(10 * multiplier)});
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

// ---- written ----

namespace {
// Of Scaling::Yarn without an attention factor of its own.
double implied_magnitude(const RopeConfig& rope) { return rope.mscale_all_dim > 0 ? 1.0 : yarn_mscale(rope.factor, 1); }
}  // namespace

nlohmann::ordered_json rope_scaling_json(const RopeConfig& rope, const GgufKeys& keys, const char* type_key) {
  using Scaling = RopeConfig::Scaling;
  if (rope.scaling == Scaling::None) return nullptr;
  nlohmann::ordered_json j = {{type_key, rope.scaling == Scaling::Linear ? "linear"
                                         : rope.scaling == Scaling::Yarn ? "yarn"
                                                                         : "llama3"},
                              {"factor", rope.factor}};
  if (rope.scaling == Scaling::Linear) return j;
  if (rope.scaling == Scaling::Llama3) {
    j["low_freq_factor"] = rope.low_freq_factor;
    j["high_freq_factor"] = rope.high_freq_factor;
  }
  j["original_max_position_embeddings"] = static_cast<int64_t>(rope.original_context);
  if (rope.scaling == Scaling::Llama3) return j;
  if (keys.has("rope.scaling.yarn_beta_fast")) j["beta_fast"] = rope.beta_fast;
  if (keys.has("rope.scaling.yarn_beta_slow")) j["beta_slow"] = rope.beta_slow;
  if (rope.mscale_all_dim > 0) j["mscale"] = j["mscale_all_dim"] = rope.mscale_all_dim;
  if (rope.magnitude != implied_magnitude(rope)) j["attention_factor"] = rope.magnitude;
  return j;
}

Status rope_to_gguf(const RopeConfig& rope, const nlohmann::ordered_json& hf, GgufConfigWriter* out) {
  using Scaling = RopeConfig::Scaling;
  out->real("rope.freq_base", rope.theta);
  out->set_rope_freqs(rope.scaling == Scaling::Llama3 ? llama3_divisors(rope)
                                                      : std::vector<float>(rope.divisors.begin(), rope.divisors.end()));
  if (rope.scaling == Scaling::None || rope.scaling == Scaling::Llama3) return {};
  out->set("rope.scaling.type", std::string(rope.scaling == Scaling::Linear ? "linear" : "yarn"));
  out->real("rope.scaling.factor", rope.factor);
  if (rope.scaling == Scaling::Linear) return {};
  if (!rope.truncate) return error("rope_scaling: truncate is false, which GGUF cannot say");
  out->count("rope.scaling.original_context_length", static_cast<int64_t>(rope.original_context));
  if (hf.contains("beta_fast")) out->real("rope.scaling.yarn_beta_fast", rope.beta_fast);
  if (hf.contains("beta_slow")) out->real("rope.scaling.yarn_beta_slow", rope.beta_slow);
  if (rope.mscale_all_dim > 0) {
    if (rope.magnitude != 1) return error("rope_scaling: mscale differs from mscale_all_dim, which GGUF cannot say");
    out->real("rope.scaling.yarn_log_multiplier", 0.1 * rope.mscale_all_dim);
  } else if (rope.magnitude != implied_magnitude(rope)) {
    // GGUF's is a factor on YaRN's own 1 + 0.1 ln(factor).
    out->real("rope.scaling.attn_factor", rope.magnitude / implied_magnitude(rope));
  }
  return {};
}

// ---- Llama 3's scaling, which GGUF has as divisors of frequencies (docs/numerics.md, 5) ----

std::vector<float> llama3_divisors(const RopeConfig& c) {
  constexpr double kPi = 3.14159265358979323846;
  std::vector<float> out;
  for (int i = 0; i < c.rot / 2; ++i) {
    const double frequency = 1 / pow_f64(c.theta, 2.0 * i / c.rot);
    const double wavelength = 2 * kPi / frequency;
    double divisor = 1;
    if (wavelength > c.original_context / c.low_freq_factor) {
      divisor = c.factor;
    } else if (wavelength >= c.original_context / c.high_freq_factor) {
      const double t = (c.original_context / wavelength - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor);
      divisor = 1 / ((1 - t) / c.factor + t);
    }
    out.push_back(static_cast<float>(divisor));
  }
  return out;
}

std::optional<RopeConfig> llama3_of_divisors(const RopeConfig& rope) {
  RopeConfig c = rope;
  c.divisors.clear();
  if (std::all_of(rope.divisors.begin(), rope.divisors.end(), [](double d) { return d == 1; })) return c;
  if (rope.scaling != RopeConfig::Scaling::None) return std::nullopt;
  c.scaling = RopeConfig::Scaling::Llama3;
  c.factor = decimal_of_f32(*std::max_element(rope.divisors.begin(), rope.divisors.end()));
  const auto same = [](float a, double b) { return std::fabs(a - b) <= 1e-5 * b; };
  for (c.original_context = 32; c.original_context <= (1 << 24); c.original_context *= 2)
    for (const double high : {4.0, 2.0, 8.0}) {
      c.high_freq_factor = high;
      const std::vector<float> tried = llama3_divisors(c);
      if (std::equal(tried.begin(), tried.end(), rope.divisors.begin(), rope.divisors.end(), same)) return c;
    }
  return std::nullopt;
}

}  // namespace raison
