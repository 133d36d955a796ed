// What adapter_config.json of PEFT says of a LoRA adapter (https://huggingface.co/docs/peft): ranks, scales, and which modules have one.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace raison {

struct PeftConfig {
  int64_t r = 8;
  double alpha = 8;
  bool rslora = false;  // scale alpha / sqrt(r) (arXiv:2312.03732) instead of alpha / r
  // Names of modules, whole ("model.layers.0.self_attn.q_proj") or their ends ("q_proj", "self_attn.q_proj"); {"all-linear"}: every
  // matrix of the layers but routers, and in a model with routed experts those of attention alone: PEFT (0.21, transformers 5) takes names
  // of an MLP's projections for the routed experts there, and so cannot load adapters on shared experts and dense layers.
  std::vector<std::string> target_modules;
  std::string target_regex;  // or the whole names that this matches
  // Routed experts, which transformers holds as parameters of their own: ends of "...mlp.experts.gate_up_proj" and
  // "...mlp.experts.down_proj".
  std::vector<std::string> target_parameters;
  std::vector<int64_t> layers;  // target_modules count in these layers alone; empty: in all
  // Exceptions: a regex of names (an end of them is enough) and what holds there; the first that matches counts.
  std::vector<std::pair<std::string, int64_t>> rank_pattern;
  std::vector<std::pair<std::string, double>> alpha_pattern;
  std::string base_model;  // as it was named, for readers
};

// Error, one line that names the key: what is not LoRA, what raison does not compute (DoRA, biases, modules_to_save, ...), a key that is
// not known and not empty, values that make no sense.
Result<PeftConfig> parse_peft_config(const nlohmann::json& json, const std::string& where);
// As PEFT reads it.
nlohmann::ordered_json peft_config_json(const PeftConfig& config);

// Answers for names; made once, because patterns are compiled.
class PeftTargets {
 public:
  static Result<std::shared_ptr<const PeftTargets>> of(const PeftConfig& config, const std::string& where);
  virtual ~PeftTargets() = default;
  virtual bool has_module(const std::string& name) const = 0;
  virtual bool has_parameter(const std::string& name) const = 0;
  virtual int64_t rank(const std::string& name) const = 0;
  virtual double alpha(const std::string& name) const = 0;
  float scale(const std::string& name) const;  // rounded once

 protected:
  explicit PeftTargets(bool rslora) : rslora_(rslora) {}

 private:
  bool rslora_;
};

}  // namespace raison
