#include "nn/rope_table.h"

#include <algorithm>
#include <cmath>

#include "base/math.h"

namespace raison {
namespace {
constexpr size_t kCachedPositions = 1 << 16;
constexpr double kTwoPi = 6.283185307179586476925286766559;

// The dimension (of rot) that turns `rotations` times over the original context.
double yarn_dimension(const RopeConfig& c, double rotations) {
  return c.rot * log_f64(c.original_context / (rotations * kTwoPi)) / (2 * log_f64(c.theta));
}

// [rot/2]: 1 where a frequency is kept, 0 where it is divided by factor.
std::vector<double> yarn_kept(const RopeConfig& c) {
  double low = yarn_dimension(c, c.beta_fast), high = yarn_dimension(c, c.beta_slow);
  if (c.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, c.rot - 1.0);
  if (low == high) high += 0.001;
  std::vector<double> kept(static_cast<size_t>(c.rot / 2));
  for (size_t i = 0; i < kept.size(); ++i) kept[i] = 1.0 - std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
  return kept;
}
}  // namespace

double yarn_mscale(double factor, double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * log_f64(factor) + 1.0; }

std::vector<double> rope_inverse_frequencies(const RopeConfig& c) {
  const int half = c.rot / 2;
  std::vector<double> out(static_cast<size_t>(half));
  std::vector<double> kept;
  if (c.scaling == RopeConfig::Scaling::Yarn) kept = yarn_kept(c);
  for (int i = 0; i < half; ++i) {
    double f = 1.0 / pow_f64(c.theta, 2.0 * i / c.rot);
    if (c.scaling == RopeConfig::Scaling::Linear) f /= c.factor;
    if (c.scaling == RopeConfig::Scaling::Llama3) {
      const double wavelength = kTwoPi / f;
      const double low = c.original_context / c.low_freq_factor, high = c.original_context / c.high_freq_factor;
      if (wavelength > low) {
        f /= c.factor;
      } else if (wavelength >= high) {
        const double smooth = (c.original_context / wavelength - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor);
        f = (1.0 - smooth) * f / c.factor + smooth * f;
      }
    }
    if (!kept.empty()) {
      const double k = kept[static_cast<size_t>(i)];
      f = f / c.factor * (1.0 - k) + f * k;
    }
    if (!c.divisors.empty()) f /= c.divisors[static_cast<size_t>(i)];
    out[static_cast<size_t>(i)] = f;
  }
  return out;
}

RopeRows RopeTable::rows(const std::vector<int32_t>& positions, int64_t offset) {
  const auto half = static_cast<size_t>(config_.rot / 2);
  auto cos = std::make_shared<std::vector<float>>(positions.size() * half);
  auto sin = std::make_shared<std::vector<float>>(positions.size() * half);
  const std::lock_guard lock(mutex_);
  if (cache_.size() > kCachedPositions) cache_.clear();
  for (size_t r = 0; r < positions.size(); ++r) {
    const int64_t position = positions[r] + offset;
    std::vector<float>& entry = cache_[position];
    if (entry.empty()) {
      entry.resize(2 * half);
      for (size_t i = 0; i < half; ++i) {
        double s, c;
        sincos_f64(static_cast<double>(position) * inv_freq_[i], &s, &c);
        entry[i] = static_cast<float>(c * config_.magnitude);
        entry[half + i] = static_cast<float>(s * config_.magnitude);
      }
    }
    std::copy_n(entry.begin(), half, cos->begin() + static_cast<std::ptrdiff_t>(r * half));
    std::copy_n(entry.begin() + static_cast<std::ptrdiff_t>(half), half, sin->begin() + static_cast<std::ptrdiff_t>(r * half));
  }
  return {cos, sin, config_.rot, config_.interleaved};
}

}  // namespace raison
