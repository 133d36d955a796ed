// Checkpoints: DIR/step-000123/ with model.safetensors, optimizer.safetensors and state.json, written as a temporary folder
// and renamed whole, so that a folder of that name is always complete.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "autodiff/parameter.h"
#include "train/train_method.h"

namespace raison {

// What a run must remember besides weights and moments.
struct TrainState {
  int64_t step = 0;      // updates made
  uint64_t tokens = 0;   // trained on so far
  uint64_t version = 0;  // ParameterStore::version
  uint64_t seed = 0;
  uint64_t data_fingerprint = 0;
  uint64_t metrics_bytes = 0;  // length of metrics.jsonl that belongs to this state
  uint64_t event_bytes = 0;    // and of TensorBoard's event file
  nlohmann::ordered_json data_cursor;
  nlohmann::ordered_json recipe;  // recipe_json()
  nlohmann::ordered_json model;   // model_identity()
};

// Complete checkpoints under `dir`, oldest first (paths). Temporary folders left by a killed run are not among them.
std::vector<std::string> list_checkpoints(const std::string& dir);
// Removes what a killed run left half written.
void clean_checkpoints(const std::string& dir);
// Renames a damaged checkpoint to damaged-step-N beside it, so that it no longer counts as one; returns the new path.
Result<std::string> set_checkpoint_aside(const std::string& path);
// Keeps the checkpoint of step `newest`, which has just been written, and the `keep - 1` before it. Later ones are no work of
// this run and are left alone.
Status prune_checkpoints(const std::string& dir, int64_t keep, int64_t newest);

// Durable when it returns; `parts` are further files of it. One of the same step (which was saved in the middle of the next) is replaced
// whole. Error: the checkpoints that were there are as before, and nothing half written is left.
Status write_checkpoint(const std::string& dir, const TrainState& state, const ParameterStore& parameters,
                        const AdamW& optimizer, const std::vector<CheckpointPart>& parts = {});
// Reads and verifies only state.json and the other files' sizes and hashes.
Result<TrainState> read_checkpoint_state(const std::string& path);
// Fills parameters and moments as well. Error: nothing was changed.
Result<TrainState> read_checkpoint(const std::string& path, ParameterStore& parameters, AdamW& optimizer);

}  // namespace raison
