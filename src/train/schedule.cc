#include "train/schedule.h"

#include <algorithm>
#include <cmath>

#include "base/math.h"

namespace raison {
namespace {

// (1 + cos(pi x)) / 2 for x >= 0, exact at whole x.
double half_cosine(double x) {
  x -= 2 * std::floor(x / 2);
  double s, c;
  sincos_f64(3.14159265358979323846 * x, &s, &c);
  return 0.5 * (1.0 + c);
}

double ratio(int64_t a, int64_t b) { return static_cast<double>(a) / static_cast<double>(std::max<int64_t>(1, b)); }

}  // namespace

Result<Schedule::Shape> Schedule::shape_of(const std::string& name, const char* what) {
  if (name == "linear") return Shape::Linear;
  if (name == "cosine") return Shape::Cosine;
  if (name == "1-sqrt") return Shape::OneMinusSqrt;
  return error("schedule: {} is '{}', must be linear, cosine or 1-sqrt", what, name);
}

Result<Schedule> Schedule::create(const ScheduleOptions& options) {
  static const std::pair<const char*, Kind> kNames[] = {
      {"constant", Kind::Constant},
      {"constant_with_warmup", Kind::Constant},
      {"linear", Kind::Linear},
      {"cosine", Kind::Cosine},
      {"cosine_with_min_lr", Kind::Cosine},
      {"cosine_warmup_with_min_lr", Kind::CosineShifted},
      {"cosine_with_restarts", Kind::Restarts},
      {"polynomial", Kind::Polynomial},
      {"inverse_sqrt", Kind::InverseSqrt},
      {"warmup_stable_decay", Kind::Wsd},
      {"wsd", Kind::Wsd},
      {"miniature", Kind::Miniature},
      {"miniature_linear", Kind::MiniatureLinear},
  };
  ScheduleOptions o = options;
  const auto known = std::find_if(std::begin(kNames), std::end(kNames), [&](const auto& n) { return o.name == n.first; });
  if (known == std::end(kNames)) {
    std::string names;
    for (const auto& n : kNames) names += std::string(names.empty() ? "" : ", ") + n.first;
    return error("schedule: unknown name '{}'; known are {}", o.name, names);
  }
  if (!(o.lr > 0 && o.lr < 1e6)) return error("schedule: lr is {}, must be above 0", o.lr);
  if (o.total_steps < 1) return error("schedule: total_steps is {}, must be at least 1", o.total_steps);
  if (o.warmup_steps < 0 || o.warmup_steps > o.total_steps)
    return error("schedule: warmup_steps is {}, must be between 0 and the {} steps", o.warmup_steps, o.total_steps);
  if (!(o.min_ratio >= 0 && o.min_ratio <= 1)) return error("schedule: min_ratio is {}, must be between 0 and 1", o.min_ratio);
  if (o.cycles < 1) return error("schedule: cycles is {}, must be at least 1", o.cycles);
  if (o.timescale < 0) return error("schedule: timescale is {}, must be 0 or more", o.timescale);
  if (known->second == Kind::Polynomial && !(o.lr_end >= 0 && o.lr_end < o.lr && o.power > 0 && o.power <= 100))
    return error("schedule: lr_end is {} and power {}; lr_end must be below lr, power above 0 and at most 100", o.lr_end,
                 o.power);
  if (o.decay_steps < 0 || o.decay_steps > o.total_steps - o.warmup_steps)
    return error("schedule: decay_steps is {}, must be between 0 and the {} steps after the warm-up", o.decay_steps,
                 o.total_steps - o.warmup_steps);
  RAISON_ASSIGN(const Shape warmup, shape_of(o.warmup_type, "warmup_type"));
  RAISON_ASSIGN(const Shape decay, shape_of(o.decay_type, "decay_type"));
  if (o.name == "constant") o.warmup_steps = 0;
  if (o.name == "cosine") o.min_ratio = 0;
  return Schedule(std::move(o), known->second, warmup, decay);
}

double Schedule::rate(int64_t step) const {
  if (o_.hold_after_end && !endless()) step = std::min(step, o_.total_steps);
  return o_.lr * std::max(0.0, factor(std::max<int64_t>(0, step)));
}

double Schedule::factor(int64_t k) const {
  const int64_t warm = o_.warmup_steps, total = o_.total_steps;
  const double floor = o_.min_ratio;
  const double climb = k + 1 < warm ? ratio(k + 1, warm) : 1.0;
  if (kind_ == Kind::Miniature) return climb * (floor + (1.0 - floor) * half_cosine(ratio(k, total)));
  if (kind_ == Kind::MiniatureLinear) return climb * (1.0 - (1.0 - floor) * ratio(k, total));
  if (kind_ == Kind::Wsd) return wsd(k);
  if (k < warm) return kind_ == Kind::CosineShifted ? ratio(k + 1, warm) : ratio(k, warm);
  const double x = ratio(k - warm, total - warm);
  switch (kind_) {
    case Kind::Linear: return std::max(0.0, ratio(total - k, total - warm));
    case Kind::Cosine: return half_cosine(x) * (1.0 - floor) + floor;
    case Kind::CosineShifted: {
      const int64_t last = o_.hold_after_end ? std::min(k, total - 1) : k;  // x = 1 is reached one step before the end
      return half_cosine(ratio(last - warm + 1, total - warm)) * (1.0 - floor) + floor;
    }
    case Kind::Restarts: {
      const double cycle = static_cast<double>(o_.cycles) * x;
      return x >= 1.0 ? 0.0 : half_cosine(cycle - std::floor(cycle));
    }
    case Kind::Polynomial: {
      if (k >= total) return o_.lr_end / o_.lr;
      return ((o_.lr - o_.lr_end) * pow_f64(1.0 - x, o_.power) + o_.lr_end) / o_.lr;
    }
    case Kind::InverseSqrt: {
      const int64_t scale = o_.timescale > 0 ? o_.timescale : warm > 0 ? warm : 10000;
      return 1.0 / std::sqrt(ratio(k - warm + scale, scale));
    }
    default: return 1.0;  // Constant
  }
}

double Schedule::wsd(int64_t k) const {
  const double floor = o_.min_ratio;
  const auto shape = [](Shape s, double y) {  // falls from 1 to 0
    return s == Shape::Linear ? 1.0 - y : s == Shape::Cosine ? half_cosine(y) : 1.0 - std::sqrt(y);
  };
  const int64_t decay_begin = o_.total_steps - o_.decay_steps;
  if (k < o_.warmup_steps) {
    const double y = ratio(k, o_.warmup_steps);
    const double f = warmup_ == Shape::Linear ? y : shape(warmup_, 1.0 - y);
    return f * (1.0 - floor) + floor;
  }
  if (k < decay_begin) return 1.0;
  if (k >= o_.total_steps) return floor;
  return shape(decay_, ratio(k - decay_begin, o_.decay_steps)) * (1.0 - floor) + floor;
}

Result<Schedule> schedule_of(const Recipe& recipe) {
  ScheduleOptions o;
  o.name = recipe.schedule.name == "constant" ? "constant_with_warmup" : recipe.schedule.name;
  o.lr = recipe.optimizer.lr;
  o.total_steps = std::max<int64_t>(1, recipe.steps);
  o.warmup_steps = recipe.schedule.warmup;
  o.min_ratio = recipe.schedule.min;
  o.decay_steps = recipe.schedule.decay_steps;
  o.decay_type = recipe.schedule.decay_type;
  auto schedule = Schedule::create(o);
  if (!schedule.ok()) return error("{}: {}", recipe.file, schedule.message());
  return schedule;
}

}  // namespace raison
