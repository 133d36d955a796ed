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

namespace raison {

struct StepMetrics {
  int64_t step = 0;  // 1 .. steps: the update just made
  int64_t steps = 0;
  double loss = 0;  // sum(w * -logprob) / sum(w), nats
  double lr = 0;
  double grad_norm = 0;  // before clipping
  int64_t tokens = 0;    // in this step's batch
  uint64_t total_tokens = 0;
  double seconds = 0;            // of this step
  double tokens_per_second = 0;  // smoothed over about the last 20 steps
  double eta_seconds = 0;        // to the last step
  bool has_validation = false;
  double validation_loss = 0;
};

struct TrainSinks {
  std::function<void(const StepMetrics&)> step;        // every log.every steps, and the last
  std::function<void(const std::string&)> notice;      // one line each: resumed from, records dropped, checkpoint unreadable
  std::function<void(const std::string&)> checkpoint;  // path of a checkpoint just made durable
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

  // One update: accumulation x (forward, loss, backward), clip, AdamW. Appends to metrics.jsonl; writes no checkpoint.
  // Error: loss or gradient not finite, out of memory; the weights are then as before, and the checkpoints untouched.
  Result<StepMetrics> step();
  // Steps until `steps` or until should_stop() says so after a step; checkpoints by the recipe, at the end and when stopped. At
  // the end the model is exported to model_folder().
  Result<RunEnd> run(const std::function<bool()>& should_stop = {});
  Status checkpoint();               // now, durable on return; prunes older ones
  Result<double> validation_loss();  // 0 if the recipe names no validation data
  Status export_to(const std::string& folder) const;

  int64_t steps_done() const;
  bool finished() const;
  Model& model();
  const Recipe& recipe() const;
  std::string model_folder() const;  // <out>/model
  std::string metrics_path() const;  // <out>/metrics.jsonl

 private:
  struct Impl;
  explicit TrainSession(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// "step 12/6000  loss 2.3045  lr 4.80e-04  norm 1.02  21.3k tok/s  ETA 4:12": the progress line, without a line end.
std::string progress_line(const StepMetrics& metrics);

}  // namespace raison
