// What a run starts from: the model, loaded or new, and the text files that go with it.
#pragma once
#include <memory>

#include "convert/peft.h"
#include "models/model.h"
#include "train/data.h"
#include "train/export.h"
#include "train/recipe.h"

namespace raison {

struct TrainSetup {
  std::unique_ptr<Model> model;     // every parameter trainable, or none if there is an adapter
  std::optional<LoraAdapter> lora;  // what is trained then
  int32_t adapter = -1;             // its id, for batches and requests; -1: the model itself is trained
  ModelText text;
  TextCodec codec;                // made of `text`; without a tokenizer if there is none
  std::vector<int32_t> stop_ids;  // end-of-text and end-of-turn ids
  // What optimiser, gradients and checkpoints are of.
  ParameterStore& trained() const { return lora ? lora->adapter->parameters() : model->parameters(); }
};

Result<TrainSetup> set_up_model(const Recipe& recipe);

// What a run must find again when it goes on: the model's config, and hashes of its text files. (The weights are the
// checkpoint's own; those of an adapter's base are not, and are known by a part of them.)
nlohmann::ordered_json model_identity(const TrainSetup& setup);
// `before`: a model_identity; null, of a checkpoint that knew none, is taken for the same. The error names what differs.
Status check_same_model(const nlohmann::ordered_json& before, const TrainSetup& now, const Recipe& recipe,
                        const std::string& where);

// Settles data.max_length against the model's context and the token budget. Error: a given length that does not fit.
Status resolve_lengths(const ModelInfo& info, Recipe* recipe);

}  // namespace raison
