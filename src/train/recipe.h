// Recipe: what a training run is, read from a TOML file. Every value that decides the bits of the result is here; paths are
// relative to the current folder.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"
#include "train/lora_recipe.h"
#include "train/policy_recipe.h"

namespace raison {

enum class TrainKind { Pretrain, Sft, Dpo, Grpo };
const char* train_kind_name(TrainKind kind);  // "pretrain", "sft", "dpo", "grpo"

// How a new model's parameters are drawn: normals keyed by (seed, parameter index). Norm weights are 1, biases 0.
struct InitRecipe {
  double std = 0;               // of matrices; 0 = 1/sqrt(fan_in)
  double residual_scale = 1;    // times std for the projections that add to the residual stream (o_proj, down_proj)
  double embedding_std = 0.02;  // of the token table (and of an untied head)
};

struct ModelRecipe {
  std::string path;       // HF folder or GGUF file to start from; empty for a new model
  nlohmann::json config;  // of a new model, as HF's config.json; null if `path` is set
  InitRecipe init;
  std::string tokenizer;         // HF folder or tokenizer.json; empty = that of `path`, or the task's own
  std::optional<DType> weights;  // of a base that is frozen: its matrices are rounded to this type; none: as they are stored
};

struct DataRecipe {
  std::string task;                 // a built-in task (synthetic_task_names()), or empty: then files
  std::vector<std::string> train;   // JSONL files
  std::vector<std::string> valid;   // JSONL files for the validation loss, may be empty
  std::string format = "auto";      // auto | messages | prompt_completion | text | tokens
  std::string loss = "completion";  // completion: only what the model is to say; all: every token but the first
  bool token_weights = false;       // records carry `weights`, one number for each token that has a loss
  int64_t max_length = 0;           // tokens of a sequence; texts are cut into pieces, the rest is truncated; 0 = what fits
  bool shuffle = true;              // a new order in every epoch
};

struct BatchRecipe {
  int64_t tokens = 0;        // most tokens of a micro-batch, or
  int64_t sequences = 0;     // its number of sequences; exactly one of the two is set
  int64_t accumulation = 1;  // micro-batches of one step
};

struct OptimizerRecipe {
  std::string name = "adamw";
  double lr = 1e-4;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.0;
  std::string decay = "all";  // which parameters decay: all | matrices (neither norms nor biases)
  double clip = 1.0;          // largest gradient norm; 0 = no clipping
};

struct ScheduleRecipe {
  std::string name = "constant";
  int64_t warmup = 0;
  double min = 0;                     // smallest rate as a share of lr, where the schedule has one
  int64_t decay_steps = 0;            // warmup_stable_decay: must be given, it has no end of its own
  std::string decay_type = "linear";  // warmup_stable_decay: linear | cosine | 1-sqrt
};

struct Recipe {
  std::string file;  // where it was read from, for messages
  TrainKind kind = TrainKind::Sft;
  uint64_t seed = 1;
  int64_t steps = 0;
  std::string out;         // the run's folder: metrics.jsonl, checkpoints/, model/ or adapter/; default runs/<name of the file>
  bool recompute = false;  // activations of a layer are recomputed in backward: less memory, same bits
  DType cache_type = DType::F32;
  ModelRecipe model;
  LoraRecipe lora;
  DataRecipe data;
  BatchRecipe batch;
  OptimizerRecipe optimizer;
  ScheduleRecipe schedule;
  RolloutRecipe rollout;              // grpo
  std::vector<RewardRecipe> rewards;  // grpo
  PolicyRecipe policy;                // grpo
  PreferenceRecipe preference;        // dpo
  std::string checkpoint_dir;         // default <out>/checkpoints
  int64_t checkpoint_every = 0;       // steps; 0 = only at the end and when stopped
  int64_t checkpoint_minutes = 10;    // of a step that is longer: what is drawn of it is saved that often; 0 = not
  int64_t keep_last = 2;              // checkpoints kept, at least 1
  int64_t validation_every = 0;       // steps; 0 = never
  int64_t validation_sequences = 256;
  int64_t log_every = 1;           // steps between calls of the progress sink; metrics.jsonl has every step
  int64_t log_samples = 2;         // grpo: groups of rollouts of each step that go into samples.db; 0 = none
  DType export_type = DType::F32;  // F32 or BF16: of the model written at the end
};

// Errors are one line: "FILE:LINE: KEY: what is wrong" (a file that cannot be read, TOML that does not parse, unknown keys,
// wrong types, values that make no sense).
Result<Recipe> read_recipe(const std::string& path);
// `settings`: "section.key=value" over what the file says; what such a setting gets wrong has no line.
Result<Recipe> parse_recipe(std::string_view toml, const std::string& where, const std::vector<std::string>& settings = {});

// The recipe flattened to "section.key" -> value, in a fixed order: what a checkpoint remembers.
nlohmann::ordered_json recipe_json(const Recipe& recipe);
// Ok if training begun under `before` (a recipe_json) may go on under `now`: only steps, paths and the bookkeeping of
// checkpoints and logs may differ. The error names the key and both values.
Status check_same_recipe(const nlohmann::ordered_json& before, const Recipe& now, const std::string& where);

}  // namespace raison
