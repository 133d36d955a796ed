// Learning-rate schedules: the rate of step k, a pure function of k whose bits depend on no libm.
//
// T = total_steps, W = warmup_steps, min = min_ratio, step k counts from 0; all multiplied by lr. As in HF transformers,
// warm-up is k/W for k < W (the very first step has rate 0), or (k+1)/W where said. After it, with x = (k-W)/(T-W):
//   constant                    1 (no warm-up)
//   constant_with_warmup        1
//   linear                      1-x
//   cosine                      (1+cos(pi x))/2
//   cosine_with_min_lr          c(1-min)+min, c the cosine above
//   cosine_warmup_with_min_lr   the same with x = (k-W+1)/(T-W), warm-up (k+1)/W
//   cosine_with_restarts        (1+cos(pi (cycles*x mod 1)))/2, 0 from T on
//   polynomial                  ((lr-lr_end)(1-x)^power+lr_end)/lr
//   inverse_sqrt                1/sqrt((k-W+s)/s), s = timescale, or W, or 10000 if W = 0
//   warmup_stable_decay, wsd    1 until T-decay_steps, then over decay_steps f(1-min)+min, f of decay_type: linear 1-y,
//                               cosine (1+cos(pi y))/2, 1-sqrt 1-sqrt(y); min from T on. The warm-up goes from min to 1
//                               by warmup_type: linear y, cosine (1-cos(pi y))/2, 1-sqrt 1-sqrt(1-y)
// Two of our own, where the warm-up multiplies a decay that runs from step 0 (so no step has rate 0):
//   miniature                   min(1, (k+1)/W) (min + (1-min)/2 (1+cos(pi k/T)))
//   miniature_linear            min(1, (k+1)/W) (1 - (1-min) k/T)
// From step T on all of them keep the value of step T (but constant ones and inverse_sqrt, which know no end);
// hold_after_end = false lets cosines rise again as HF's do.
#pragma once
#include <cstdint>
#include <string>

#include "base/result.h"
#include "train/recipe.h"

namespace raison {

struct ScheduleOptions {
  std::string name = "constant";
  double lr = 1e-4;  // > 0: the largest rate
  int64_t warmup_steps = 0;
  int64_t total_steps = 1;            // at least 1
  double min_ratio = 0;               // [0, 1]: the smallest rate as a share of lr, where the schedule has one
  int64_t cycles = 1;                 // cosine_with_restarts
  double power = 1, lr_end = 1e-7;    // polynomial; lr_end < lr
  int64_t timescale = 0;              // inverse_sqrt; 0 = W
  int64_t decay_steps = 0;            // warmup_stable_decay
  std::string decay_type = "cosine";  // warmup_stable_decay: linear | cosine | 1-sqrt
  std::string warmup_type = "linear";
  bool hold_after_end = true;
};

class Schedule {
 public:
  // Error: an unknown name or kind, a number out of bounds.
  static Result<Schedule> create(const ScheduleOptions& options);
  double rate(int64_t step) const;                                                        // step >= 0
  bool endless() const { return kind_ == Kind::Constant || kind_ == Kind::InverseSqrt; }  // rates don't depend on total_steps

 private:
  enum class Kind {
    Constant,
    Linear,
    Cosine,
    CosineShifted,
    Restarts,
    Polynomial,
    InverseSqrt,
    Wsd,
    Miniature,
    MiniatureLinear
  };
  enum class Shape { Linear, Cosine, OneMinusSqrt };
  Schedule(ScheduleOptions options, Kind kind, Shape warmup, Shape decay)
      : o_(std::move(options)), kind_(kind), warmup_(warmup), decay_(decay) {}
  static Result<Shape> shape_of(const std::string& name, const char* what);
  double factor(int64_t k) const;
  double wsd(int64_t k) const;

  ScheduleOptions o_;
  Kind kind_;
  Shape warmup_, decay_;
};

// The schedule of a recipe ("constant" with a warm-up is constant_with_warmup).
Result<Schedule> schedule_of(const Recipe& recipe);

}  // namespace raison
