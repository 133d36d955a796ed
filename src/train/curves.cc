#include "train/curves.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json_depth.h"

namespace raison {
namespace {

struct Curve {
  const char* key;
  const char* label;
  bool smooth;  // its moving mean beside it
};
struct Wanted {
  const char* title;
  const char* y_label;
  bool percent;
  std::vector<Curve> curves;
};

// Of the panels those are drawn whose first key the log has.
const std::vector<Wanted>& wanted_panels() {
  static const std::vector<Wanted> kPanels = {
      {"Reward", "", false, {{"reward", "rollouts", true}, {"validation_reward", "held out", false}}},
      {"Right answers", "", true, {{"right", "rollouts", true}, {"validation_right", "held out", false}}},
      {"Tokens of a reply", "", false, {{"length", "", true}}},
      {"Shares", "", true, {{"silent_groups", "groups without signal", false}, {"truncated", "cut off", false}}},
      {"Entropy", "nats per token", false, {{"entropy", "", true}, {"kl", "KL", false}}},
      {"Loss", "", false, {{"loss", "training", true}, {"validation_loss", "held out", false}}},
      {"Right pairs", "", true, {{"accuracy", "training", true}, {"validation_accuracy", "held out", false}}},
      {"Norm of the gradient", "", false, {{"grad_norm", "", true}}},
      {"Learning rate", "", false, {{"lr", "", false}}},
  };
  return kPanels;
}

std::vector<PlotPoint> points_of(const std::vector<nlohmann::json>& steps, const std::string& key) {
  std::vector<PlotPoint> out;
  for (const auto& s : steps) {
    const auto it = s.find(key);
    if (it == s.end() || !it->is_number()) continue;
    const double y = it->get<double>();
    if (!(std::abs(y) < 1e30)) continue;  // nothing that a plot could show
    out.push_back({s["step"].get<double>(), y, y, y});
  }
  return out;
}

std::vector<PlotPoint> moving_mean(const std::vector<PlotPoint>& points) {
  const size_t window = std::max<size_t>(points.size() / 10, 2);
  std::vector<PlotPoint> out;
  double sum = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    sum += points[i].y;
    if (i >= window) sum -= points[i - window].y;
    const double y = sum / static_cast<double>(std::min(i + 1, window));
    out.push_back({points[i].x, y, y, y});
  }
  return out;
}

void set_bounds(PlotPanel* p) {
  bool any = false;
  for (const PlotSeries& s : p->series)
    for (const PlotPoint& q : s.points) {
      if (!std::isfinite(q.y)) continue;
      p->y_low = any ? std::min(p->y_low, q.y) : q.y;
      p->y_high = any ? std::max(p->y_high, q.y) : q.y;
      any = true;
    }
  if (p->y_percent) {
    p->y_low = 0;
    p->y_high = 1;
    return;
  }
  if (p->y_low > 0 && p->y_low < 0.7 * p->y_high) p->y_low = 0;
  if (!(p->y_high - p->y_low > 1e-9 * std::abs(p->y_low))) p->y_high = p->y_low + std::max(1.0, 1e-3 * std::abs(p->y_low));
}

}  // namespace

Result<std::vector<PlotPanel>> run_curves(const std::string& path) {
  RAISON_ASSIGN(const std::string text, read_file(path, size_t{1} << 32));
  std::vector<nlohmann::json> steps;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    if (json_too_deep_at(line) != kShallow) continue;
    auto j = nlohmann::json::parse(line, nullptr, false);
    if (j.is_object() && j.contains("step") && j["step"].is_number()) steps.push_back(std::move(j));
  }
  if (steps.empty()) return error("{}: holds no step of a run", path);
  std::vector<PlotPanel> out;
  for (const Wanted& w : wanted_panels()) {
    if (!steps.back().contains(w.curves.front().key)) continue;
    if (std::string_view(w.title) == "Loss" && steps.back().contains("reward")) continue;  // of a policy it says nothing
    PlotPanel p;
    p.title = w.title;
    p.x_label = "step";
    p.y_label = w.y_label;
    p.y_percent = w.percent;
    for (const Curve& c : w.curves) {
      auto points = points_of(steps, c.key);
      const bool flat = std::all_of(points.begin(), points.end(), [](const PlotPoint& q) { return q.y == 0; });
      if (points.empty() || (flat && &c != &w.curves.front())) continue;  // what is switched off
      auto mean = moving_mean(points);
      if (c.smooth && points.size() >= 20) {
        p.series.push_back({std::string(c.label) + (c.label[0] ? ", mean" : "mean"), std::move(mean)});
        p.series.push_back({c.label[0] ? c.label : "each step", std::move(points)});
      } else {
        p.series.push_back({c.label[0] ? c.label : c.key, std::move(points)});
      }
    }
    set_bounds(&p);
    out.push_back(std::move(p));
  }
  return out;
}

}  // namespace raison
