// The section [lora] of a recipe: an adapter is trained, the base stays as it is.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "convert/peft_config.h"
#include "tensor/dtype.h"

namespace raison {

class TomlSection;

struct LoraRecipe {
  bool on = false;
  std::string adapter;  // a folder of PEFT's to go on from; empty: a new one, of `config`
  PeftConfig config;    // default: r 16, alpha 32, all-linear
};

void read_lora_section(TomlSection& section, LoraRecipe* out);
// model.weights: "as stored", or a type that raison quantises to.
void read_weights_type(TomlSection& section, std::optional<DType>* out);
// Keys that a checkpoint remembers; none of a run without them, so that older checkpoints go on.
void add_lora_json(const LoraRecipe& lora, const std::optional<DType>& weights, nlohmann::ordered_json* out);

}  // namespace raison
