#include "train/advantages.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace raison {
namespace {

// Mean and standard deviation of those that are numbers.
struct Moments {
  int64_t n = 0;
  double mean = 0, std = 0;
};
Moments moments(std::span<const double> x, bool unbiased) {
  Moments m;
  double sum = 0;
  for (const double v : x)
    if (!std::isnan(v)) sum += v, ++m.n;
  if (m.n == 0) return m;
  m.mean = sum / static_cast<double>(m.n);
  double squares = 0;
  for (const double v : x)
    if (!std::isnan(v)) squares += (v - m.mean) * (v - m.mean);
  const int64_t freedom = unbiased ? m.n - 1 : m.n;
  m.std = freedom > 0 ? std::sqrt(squares / static_cast<double>(freedom)) : 0;
  return m;
}

double scaled(double x, double std, double epsilon) {
  const double by = std + epsilon;
  return by > 0 ? x / by : 0;
}

bool flat(std::span<const double> group) {
  double first = std::numeric_limits<double>::quiet_NaN();
  for (const double v : group) {
    if (std::isnan(v)) continue;
    if (std::isnan(first)) first = v;
    if (v != first) return false;
  }
  return true;
}

// Of one row of rewards, by its groups; NaN stays 0.
std::vector<double> normalised(std::span<const double> rewards, const AdvantageOptions& o, AdvantageScale scale) {
  std::vector<double> out(rewards.size());
  const auto group = static_cast<size_t>(o.group);
  const double all = scale == AdvantageScale::Batch ? moments(rewards, o.unbiased_std).std : 0;
  for (size_t g = 0; g < rewards.size(); g += group) {
    const Moments m = moments(rewards.subspan(g, group), o.unbiased_std);
    for (size_t i = g; i < g + group; ++i) {
      const double centred = std::isnan(rewards[i]) ? 0 : rewards[i] - m.mean;
      out[i] =
          scale == AdvantageScale::None ? centred : scaled(centred, scale == AdvantageScale::Batch ? all : m.std, o.epsilon);
    }
  }
  return out;
}

}  // namespace

Status AdvantageOptions::validate() const {
  if (group < 1) return error("a group of {} samples, must be at least 1", group);
  if (!(epsilon >= 0 && std::isfinite(epsilon))) return error("the epsilon of advantages is {}, must be 0 or more", epsilon);
  return {};
}

Result<Advantages> advantages(const std::vector<std::vector<std::optional<double>>>& rewards, std::span<const double> weights,
                              const AdvantageOptions& o) {
  RAISON_RETURN_IF_ERROR(o.validate());
  if (rewards.empty() || rewards.size() != weights.size())
    return error("{} rewards with {} weights", rewards.size(), weights.size());
  const size_t n = rewards.front().size();
  if (n == 0 || n % static_cast<size_t>(o.group) != 0) return error("{} samples are no groups of {}", n, o.group);
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  Advantages out;
  out.rewards.assign(n, kNone);
  std::vector<double> sums(n, 0);
  std::vector<std::vector<double>> rows;  // [f][n], to tell silent groups by
  for (size_t f = 0; f < rewards.size(); ++f) {
    if (rewards[f].size() != n) return error("reward {} is for {} samples, the first for {}", f + 1, rewards[f].size(), n);
    if (!std::isfinite(weights[f])) return error("the weight of reward {} is {}", f + 1, weights[f]);
    std::vector<double> row(n, kNone);
    for (size_t i = 0; i < n; ++i) {
      if (!rewards[f][i]) continue;
      row[i] = *rewards[f][i];
      if (!std::isfinite(row[i])) return error("reward {} of sample {} is {}", f + 1, i, row[i]);
      out.rewards[i] = (std::isnan(out.rewards[i]) ? 0 : out.rewards[i]) + weights[f] * row[i];
    }
    rows.push_back(row);
    if (!o.normalise_each) continue;
    const auto each = normalised(row, o, AdvantageScale::Group);
    for (size_t i = 0; i < n; ++i) sums[i] += weights[f] * each[i];
  }
  const auto group = static_cast<size_t>(o.group);
  // Normalised one by one, rewards that cancel in their sum still teach.
  const auto silent_group = [&](size_t g) {
    if (!o.normalise_each) return flat(std::span<const double>(out.rewards).subspan(g, group));
    return std::all_of(rows.begin(), rows.end(),
                       [&](const auto& row) { return flat(std::span<const double>(row).subspan(g, group)); });
  };
  for (size_t g = 0; g < n; g += group) out.silent.insert(out.silent.end(), group, silent_group(g) ? 1 : 0);
  if (!o.normalise_each) {
    out.values = normalised(out.rewards, o, o.scale);
    return out;
  }
  const Moments all = moments(sums, o.unbiased_std);
  for (const double s : sums) out.values.push_back(scaled(s - all.mean, all.std, o.epsilon));
  return out;
}

}  // namespace raison
