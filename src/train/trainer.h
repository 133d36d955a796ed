// TrainSession: a training run from recipe to exported model. Never prints: lines and numbers go to the sinks. While it lives it
// holds its folder: a second one there is refused.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "kernels/kernel_table.h"
#include "models/model.h"
#include "train/export.h"
#include "train/recipe.h"
#include "train/step_metrics.h"

namespace raison {

struct TrainSinks {
  std::function<void(const StepMetrics&)> step;        // every log.every steps, and the last
  std::function<void(const std::string&)> notice;      // one line each: resumed from, records dropped, checkpoint unreadable
  std::function<void(const std::string&)> checkpoint;  // path of a checkpoint just made durable
  std::function<void(const std::string&)> live;        // how far a long step is; often
};

enum class Resume {
  Auto,     // go on from the newest checkpoint if there is one; a log without a checkpoint is set aside
  Require,  // error if there is none
  Never,    // error if the run's folder already holds a checkpoint or a log
};

enum class RunEnd { Finished, Stopped };

class TrainSession {
 public:
  // Loads or makes the model, reads the data, resumes. `exec` and `kernels` must outlive the session.
  static Result<std::unique_ptr<TrainSession>> create(const Recipe& recipe, Exec& exec, const KernelTable& kernels,
                                                      TrainSinks sinks = {}, Resume resume = Resume::Auto);
  ~TrainSession();

  // One step of the recipe's kind. Appends to metrics.jsonl; writes no checkpoint.
  // Error: loss or gradient not finite, out of memory, ...; the checkpoints are untouched (and the weights as before, but in a step of several updates).
  Result<StepMetrics> step();
  // Steps until `steps` or until should_stop() says so, after a step or in the middle of its rollouts (what is drawn of it is saved);
  // checkpoints by the recipe, at the end and when stopped. At the end the model, or the adapter, is exported to model_folder().
  Result<RunEnd> run(const std::function<bool()>& should_stop = {});
  Status checkpoint();               // now, durable on return; prunes older ones
  Result<double> validation_loss();  // pretrain, sft, dpo; 0 if the recipe names no validation data
  Status export_to(const std::string& folder) const;

  int64_t steps_done() const;
  bool finished() const;
  Model& model();
  const Recipe& recipe() const;
  std::string model_folder() const;  // <out>/model, or <out>/adapter if that is what is trained
  std::string metrics_path() const;  // <out>/metrics.jsonl
  // What memory the run will need, one line; known once it is created.
  const std::string& memory_plan() const;

 private:
  struct Impl;
  explicit TrainSession(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace raison
