#include "convert/peft_config.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "io/model_files.h"
#include "io/printable.h"
#include "tokenizer/regex.h"

namespace raison {
namespace {

constexpr int64_t kMostRank = 1 << 16;
constexpr const char* kAllLinear = "all-linear";

// Say nothing of what an adapter computes once it is there.
constexpr const char* kNoMatter[] = {
    "auto_mapping", "base_model_name_or_path", "ensure_weight_tying", "eva_config",        "inference_mode", "loftq_config",
    "lora_dropout", "megatron_core",           "peft_version",        "qalora_group_size", "revision",       "runtime_config",
    "task_type"};

// False, null, empty: a feature that is not in use.
bool is_off(const nlohmann::json& v) {
  return v.is_null() || v == false || ((v.is_string() || v.is_structured()) && v.empty());
}

class PeftReader {
 public:
  PeftReader(const nlohmann::json& json, const std::string& where) : json_(json), reader_(json, where) {}

  Result<PeftConfig> read() {
    if (!json_.is_object()) return error("{}: is no JSON object", reader_.where());
    RAISON_RETURN_IF_ERROR(check_kind());
    RAISON_ASSIGN(c_.r, reader_.integer("r", 1, kMostRank));
    RAISON_ASSIGN(c_.alpha, reader_.number_or("lora_alpha", 8, 0, 1e9));
    RAISON_ASSIGN(c_.rslora, reader_.boolean_or("use_rslora", false));
    RAISON_ASSIGN(c_.base_model, reader_.string_or("base_model_name_or_path", ""));
    RAISON_RETURN_IF_ERROR(read_targets());
    RAISON_RETURN_IF_ERROR(read_layers());
    RAISON_RETURN_IF_ERROR(read_patterns());
    RAISON_RETURN_IF_ERROR(check_rest());
    return std::move(c_);
  }

 private:
  Status check_kind() {
    RAISON_ASSIGN(const std::string type, reader_.string_or("peft_type", ""));
    known("peft_type");
    if (type != "LORA") return reader_.bad("peft_type", "is \"" + printable(type.substr(0, 32)) + "\"; LORA is supported");
    RAISON_ASSIGN(const std::string bias, reader_.string_or("bias", "none"));
    known("bias");
    if (bias != "none")
      return reader_.bad("bias", "is \"" + printable(bias.substr(0, 32)) + "\"; adapters without trained biases are supported");
    known("init_lora_weights");
    const nlohmann::json init = json_.value("init_lora_weights", nlohmann::json(true));
    const bool plain = init.is_boolean() || init.is_null() || init == "gaussian" || init == "eva" || init == "orthogonal";
    if (!plain)
      return reader_.bad("init_lora_weights", "is " + printable(init.dump().substr(0, 32)) +
                                                  ", which changes the base; convert the adapter to plain LoRA with PEFT");
    return {};
  }

  Status read_targets() {
    known("target_modules");
    if (const auto t = json_.find("target_modules"); t != json_.end() && t->is_string()) {
      if (*t == kAllLinear) {
        c_.target_modules = {kAllLinear};
      } else {
        c_.target_regex = t->get<std::string>();
      }
    } else {
      RAISON_ASSIGN(c_.target_modules, strings("target_modules"));
    }
    known("target_parameters");
    RAISON_ASSIGN(c_.target_parameters, strings("target_parameters"));
    if (c_.target_modules.empty() && c_.target_regex.empty() && c_.target_parameters.empty())
      return reader_.bad("target_modules", "names no module");
    return {};
  }

  Status read_layers() {
    known("layers_to_transform");
    known("layers_pattern");
    const nlohmann::json pattern = json_.value("layers_pattern", nlohmann::json());
    if (!is_off(pattern) && pattern != "layers" && pattern != nlohmann::json::array({"layers"}))
      return reader_.bad("layers_pattern", "is not \"layers\", as the layers are called");
    const nlohmann::json layers = json_.value("layers_to_transform", nlohmann::json());
    if (layers.is_null()) return {};
    for (const auto& l : layers.is_array() ? layers : nlohmann::json::array({layers})) {
      if (!l.is_number_integer() || l.get<int64_t>() < 0) return reader_.bad("layers_to_transform", "holds what is no layer");
      c_.layers.push_back(l.get<int64_t>());
    }
    return {};
  }

  Status read_patterns() {
    for (const char* key : {"rank_pattern", "alpha_pattern"}) {
      known(key);
      const nlohmann::json patterns = json_.value(key, nlohmann::json());
      if (patterns.is_null()) continue;
      if (!patterns.is_object()) return reader_.bad(key, "is no object");
      const bool ranks = std::string(key) == "rank_pattern";
      for (const auto& [pattern, v] : patterns.items()) {
        if (ranks && v.is_number_integer() && v.get<int64_t>() >= 1 && v.get<int64_t>() <= kMostRank) {
          c_.rank_pattern.emplace_back(pattern, v.get<int64_t>());
        } else if (!ranks && v.is_number() && v.get<double>() >= 0 && v.get<double>() <= 1e9) {
          c_.alpha_pattern.emplace_back(pattern, v.get<double>());
        } else {
          return reader_.bad(key,
                             "has " + printable(v.dump().substr(0, 32)) + " for \"" + printable(pattern.substr(0, 64)) + "\"");
        }
      }
    }
    return {};
  }

  Status check_rest() {
    for (const char* key : {"r", "lora_alpha", "use_rslora"}) known(key);
    for (const auto& [key, value] : json_.items()) {
      const auto is = [&](const std::string& k) { return k == key; };
      if (is_off(value) || std::any_of(known_.begin(), known_.end(), is) ||
          std::any_of(std::begin(kNoMatter), std::end(kNoMatter), is))
        continue;
      return error("{}: key \"{}\" is {}: this is not supported; the answers would be wrong without it", reader_.where(),
                   printable(key.substr(0, 64)), printable(value.dump().substr(0, 64)));
    }
    return {};
  }

  Result<std::vector<std::string>> strings(const char* key) {
    std::vector<std::string> out;
    const nlohmann::json list = json_.value(key, nlohmann::json());
    if (list.is_null()) return out;
    if (!list.is_array()) return reader_.bad(key, "is no list of names");
    for (const auto& name : list) {
      if (!name.is_string() || name.get<std::string>().empty()) return reader_.bad(key, "is no list of names");
      out.push_back(name.get<std::string>());
    }
    return out;
  }

  void known(const char* key) { known_.emplace_back(key); }

  const nlohmann::json& json_;
  ConfigReader reader_;
  PeftConfig c_;
  std::vector<std::string> known_;
};

// A name is another's end if it is the whole or follows a dot.
bool is_end(const std::string& name, const std::string& end) { return name == end || name.ends_with("." + end); }

// Of "model.layers.12.self_attn.q_proj": 12.
std::optional<int64_t> layer_of(const std::string& name) {
  const std::string prefix = "model.layers.";
  if (!name.starts_with(prefix)) return std::nullopt;
  return std::strtoll(name.c_str() + prefix.size(), nullptr, 10);
}

using RegexPtr = std::shared_ptr<const Regex>;

// A pattern that the work limit stops matches nothing.
bool matches(const Regex& regex, const std::string& name) {
  std::vector<std::pair<size_t, size_t>> found;
  return regex.find_all(name, found).ok() && !found.empty();
}

template <class T>
T first_match(const std::vector<std::pair<RegexPtr, T>>& patterns, const std::string& name, T otherwise) {
  for (const auto& [regex, value] : patterns)
    if (matches(*regex, name)) return value;
  return otherwise;
}

class Targets final : public PeftTargets {
 public:
  explicit Targets(const PeftConfig& c) : PeftTargets(c.rslora), c_(c) {}

  Status compile(const std::string& where) {
    if (!c_.target_regex.empty()) { RAISON_ASSIGN(regex_, Regex::compile("^(?:" + c_.target_regex + ")$", where)); }
    RAISON_RETURN_IF_ERROR(compile_all(c_.rank_pattern, where, &ranks_));
    return compile_all(c_.alpha_pattern, where, &alphas_);
  }

  bool has_module(const std::string& name) const override {
    const auto is = [&](const std::string& t) { return t == kAllLinear || is_end(name, t); };
    const bool named = regex_ ? matches(*regex_, name) : std::any_of(c_.target_modules.begin(), c_.target_modules.end(), is);
    if (!named || c_.layers.empty()) return named;
    const auto layer = layer_of(name);
    return layer && std::count(c_.layers.begin(), c_.layers.end(), *layer) > 0;
  }
  bool has_parameter(const std::string& name) const override {
    return std::any_of(c_.target_parameters.begin(), c_.target_parameters.end(),
                       [&](const std::string& t) { return is_end(name, t); });
  }
  int64_t rank(const std::string& name) const override { return first_match(ranks_, name, c_.r); }
  double alpha(const std::string& name) const override { return first_match(alphas_, name, c_.alpha); }

 private:
  template <class T>
  static Status compile_all(const std::vector<std::pair<std::string, T>>& patterns, const std::string& where,
                            std::vector<std::pair<RegexPtr, T>>* out) {
    for (const auto& [pattern, value] : patterns) {
      RAISON_ASSIGN(RegexPtr regex, Regex::compile("^(?:.*\\.)?(?:" + pattern + ")$", where));
      out->emplace_back(std::move(regex), value);
    }
    return {};
  }

  PeftConfig c_;
  RegexPtr regex_;
  std::vector<std::pair<RegexPtr, int64_t>> ranks_;
  std::vector<std::pair<RegexPtr, double>> alphas_;
};

}  // namespace

Result<PeftConfig> parse_peft_config(const nlohmann::json& json, const std::string& where) {
  return PeftReader(json, where).read();
}

nlohmann::ordered_json peft_config_json(const PeftConfig& c) {
  nlohmann::ordered_json j = {{"peft_type", "LORA"},
                              {"task_type", "CAUSAL_LM"},
                              {"base_model_name_or_path", c.base_model},
                              {"r", c.r},
                              {"lora_alpha", c.alpha},
                              {"lora_dropout", 0.0},
                              {"use_rslora", c.rslora},
                              {"use_dora", false},
                              {"bias", "none"},
                              {"fan_in_fan_out", false},
                              {"inference_mode", true},
                              {"init_lora_weights", true},
                              {"modules_to_save", nullptr}};
  if (const auto whole = static_cast<int64_t>(c.alpha); static_cast<double>(whole) == c.alpha) j["lora_alpha"] = whole;
  if (c.target_regex.empty()) {
    j["target_modules"] = c.target_modules;
  } else {
    j["target_modules"] = c.target_regex;
  }
  if (!c.target_parameters.empty()) j["target_parameters"] = c.target_parameters;
  j["layers_to_transform"] = c.layers.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(c.layers);
  j["rank_pattern"] = j["alpha_pattern"] = nlohmann::ordered_json::object();
  for (const auto& [pattern, rank] : c.rank_pattern) j["rank_pattern"][pattern] = rank;
  for (const auto& [pattern, alpha] : c.alpha_pattern) j["alpha_pattern"][pattern] = alpha;
  return j;
}

Result<std::shared_ptr<const PeftTargets>> PeftTargets::of(const PeftConfig& config, const std::string& where) {
  auto targets = std::make_shared<Targets>(config);
  RAISON_RETURN_IF_ERROR(targets->compile(where));
  return std::shared_ptr<const PeftTargets>(std::move(targets));
}

float PeftTargets::scale(const std::string& name) const {
  const auto r = static_cast<double>(rank(name));
  return static_cast<float>(alpha(name) / (rslora_ ? std::sqrt(r) : r));
}

}  // namespace raison
