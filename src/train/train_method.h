// TrainMethod: what a step of a run does. The run around it (folder, checkpoints, logs, export) is TrainSession's.
#pragma once
#include <functional>
#include <memory>

#include "train/model_setup.h"
#include "train/optimizer.h"
#include "train/step_metrics.h"
#include "train/train_step.h"

namespace raison {

// What a method works with; all of it outlives the method.
struct TrainParts {
  const Recipe& recipe;
  Exec& exec;
  const KernelTable& kernels;
  TrainSetup& setup;
  AdamW& optimizer;
  MicroBatchRunner& runner;
  std::function<void(const std::string&)> notice;  // a line worth telling
  std::function<void(const std::string&)> live;    // how far a step is: replaced by the next
  std::function<bool()> should_stop;               // asked often within long steps
  std::function<Status()> save_if_due;             // within long steps: a checkpoint, if it is time for one
};

// A file of a method in a checkpoint.
struct CheckpointPart {
  std::string name;  // file name
  std::function<Status(const std::string& path)> write;
};

class TrainMethod {
 public:
  virtual ~TrainMethod() = default;
  // The update after `done` ones, at rate lr; fills loss, grad_norm, tokens and the method's own metrics. false: stopped in its middle; what is
  // done of it is in parts(), and the next call goes on with it. Error: the update was not made; the checkpoints hold what was before.
  virtual Result<bool> step(int64_t done, double lr, StepMetrics* metrics) = 0;
  virtual Status validate(StepMetrics* metrics) = 0;
  // Called once the step is in the logs.
  virtual Status finish_step(const StepMetrics&) { return {}; }
  // Where the data goes on: the whole state besides weights, moments and parts().
  virtual nlohmann::ordered_json cursor() const = 0;
  virtual Status seek(const nlohmann::ordered_json& cursor) = 0;
  virtual uint64_t fingerprint() const = 0;  // of the data
  virtual std::vector<CheckpointPart> parts() const { return {}; }
  virtual Status read_parts(const std::string&) { return {}; }  // of the checkpoint in that folder
  virtual bool in_flight() const { return false; }              // a step is begun, and worth saving
  // The run begins or goes on after `done` steps: opens what is kept beside the checkpoints.
  virtual Status begin(int64_t) { return {}; }
};

Result<std::unique_ptr<TrainMethod>> make_supervised(const TrainParts& parts);  // pretrain, sft
Result<std::unique_ptr<TrainMethod>> make_policy(const TrainParts& parts);      // grpo
Result<std::unique_ptr<TrainMethod>> make_preference(const TrainParts& parts);  // dpo

}  // namespace raison
