#include "train/lora_recipe.h"

#include "tensor/quantize.h"
#include "train/toml_section.h"

namespace raison {
namespace {

constexpr int64_t kMostLayers = 1 << 20;
}  // namespace

void read_lora_section(TomlSection& s, LoraRecipe* out) {
  out->on = true;
  PeftConfig& c = out->config;
  c.r = 16;
  c.alpha = 32;
  c.target_modules = {"all-linear"};
  s.string("adapter", &out->adapter);
  s.integer("r", &c.r, 1, 1 << 16);
  s.number("alpha", &c.alpha, 0, 1e9);
  s.boolean("rslora", &c.rslora);
  s.strings("target_modules", &c.target_modules);
  s.strings("target_parameters", &c.target_parameters);
  s.integers("layers", &c.layers, 0, kMostLayers);
  for (const char* key : {"r", "alpha", "rslora", "target_modules", "target_parameters", "layers"})
    if (!out->adapter.empty() && s.has(key)) s.fail(key, "is for a new adapter, but lora.adapter names one to go on from");
}

void read_weights_type(TomlSection& s, std::optional<DType>* out) {
  std::string name = "as stored";
  s.string("weights", &name);
  if (name == "as stored") return;
  *out = dtype_from_name(name);
  if (!*out || !can_quantize(**out))
    s.fail("weights", fmt::format("is \"{}\", must be \"as stored\" or a type such as q8_0, q4_k, bf16", name));
}

void add_lora_json(const LoraRecipe& lora, const std::optional<DType>& weights, nlohmann::ordered_json* out) {
  nlohmann::ordered_json& j = *out;
  if (weights) j["model.weights"] = dtype_name(*weights);
  if (!lora.on) return;
  j["lora.adapter"] = lora.adapter;
  j["lora.r"] = lora.config.r;
  j["lora.alpha"] = lora.config.alpha;
  j["lora.rslora"] = lora.config.rslora;
  j["lora.target_modules"] = lora.config.target_modules;
  j["lora.target_parameters"] = lora.config.target_parameters;
  j["lora.layers"] = lora.config.layers;
}

}  // namespace raison
