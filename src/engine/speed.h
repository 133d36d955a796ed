// SpeedMeter: how fast a model answers here, measured on the Engine as its users drive it: random tokens in, greedy tokens out, nothing
// reused. Beside each speed stand the machine's peaks, taken just before and just after on the same threads, and the bound that follows
// from them (models/step_cost.h).
#pragma once
#include <functional>

#include "engine/engine.h"
#include "models/step_cost.h"

namespace raison {

struct SpeedTest {
  enum class Kind { Prefill, Decode };
  Kind kind = Kind::Decode;
  int64_t prompt = 0;     // Prefill: tokens of the prompt that is timed; Decode: positions before the tokens that are timed
  int64_t sequences = 1;  // that decode at once; several begin with prompt = 0, so that all are read in one pass
  bool operator==(const SpeedTest&) const = default;
};

struct SpeedOptions {
  DType cache_type = DType::F16;
  int64_t context = 0;  // as in EngineOptions
  int repetitions = 3;
  int64_t decode_steps = 32;  // timed in one repetition
  double peak_seconds = 0.1;  // for each of the three peaks, before and after
  // Called before each forward pass and between phases with what is going on; false ends the measuring.
  std::function<bool(const std::string&)> progress;
};

struct SpeedRow {
  SpeedTest test;
  int64_t tokens = 0, steps = 0;  // of a repetition
  std::vector<double> seconds;    // of each repetition
  StepCost cost;                  // of a repetition, the mean of all
  Peaks peaks;
  CostBound bound;  // of a repetition

  double median_seconds() const;
  double tokens_per_second() const { return static_cast<double>(tokens) / median_seconds(); }
  double step_seconds() const { return median_seconds() / static_cast<double>(steps); }
  double spread() const;                                             // (slowest - fastest) / median
  double share() const { return bound.seconds / median_seconds(); }  // of the bound that was reached; 0: no bound known
};

class SpeedMeter {
 public:
  SpeedMeter(Model& model, Exec& exec, const KernelTable& kernels, const PeakMeter& peaks, SpeedOptions options);
  // Positions that each sequence of a test takes.
  int64_t positions(const SpeedTest& test) const;
  // Error: more positions than the context, or than the cache's memory, holds.
  Status check(const SpeedTest& test) const;
  // Error: as check, or what the engine says. None: progress() ended it.
  Result<std::optional<SpeedRow>> measure(const SpeedTest& test);

  // Times to the first token of prompts of `prefix` tokens and kOwn more: seconds where the prefix lies in the cache, and where nothing does.
  // Medians. Errors, and none, as of measure.
  static constexpr int64_t kOwn = 16;
  struct FirstToken {
    double cached = 0, uncached = 0;
  };
  Result<std::optional<FirstToken>> measure_first_token(int64_t prefix);

 private:
  struct Running;
  EngineOptions engine_options(const SpeedTest& test) const;
  Result<bool> prefill(const SpeedTest& test, SpeedRow* row);
  Result<bool> decode(const SpeedTest& test, SpeedRow* row);
  Result<bool> step(Running& r, const std::string& what, double* seconds);
  Status submit(Running& r, int64_t prompt, int64_t answer, int64_t sequences);
  bool go_on(const std::string& what) const { return !options_.progress || options_.progress(what); }
  void take_peaks(SpeedRow* row) const { row->peaks = best_of(row->peaks, peaks_.measure(options_.peak_seconds)); }

  Model& model_;
  Exec& exec_;
  const KernelTable& kernels_;
  const PeakMeter& peaks_;
  SpeedOptions options_;
  uint64_t prompts_ = 0;  // submitted so far: each has random tokens of its own
};

}  // namespace raison
