#include "train/step_metrics.h"

#include <fmt/format.h>

namespace raison {
namespace {
using Json = nlohmann::ordered_json;

double per_second(int64_t n, double seconds) { return seconds > 0 ? static_cast<double>(n) / seconds : 0; }

Json policy_metrics_json(const PolicyMetrics& p) {
  Json j;
  j["reward"] = p.reward;
  j["reward_std"] = p.reward_std;
  Json parts = Json::object();
  for (const auto& [name, mean] : p.parts) parts[name] = mean;
  j["rewards"] = std::move(parts);
  j["right"] = p.right;
  j["unparseable"] = p.unparseable;
  j["failed"] = p.failed;
  j["silent_groups"] = p.silent;
  j["groups"] = p.groups;
  j["draws"] = p.draws;
  j["length"] = p.length;
  j["length_ended"] = p.length_ended;
  j["length_most"] = p.length_most;
  j["truncated"] = p.truncated;
  j["entropy"] = p.entropy;
  j["kl"] = p.kl;
  j["clipped_low"] = p.clipped_low;
  j["clipped_high"] = p.clipped_high;
  j["ratio"] = p.ratio;
  j["updates"] = p.updates;
  j["samples"] = p.samples;
  j["compared_logprobs"] = p.compared;
  j["delta_logprob"] = p.delta_logprob;
  j["rollout_tokens"] = p.generated;
  j["update_tokens"] = p.updated;
  j["rollout_seconds"] = p.rollout_seconds;
  j["verify_seconds"] = p.verify_seconds;
  j["update_seconds"] = p.update_seconds;
  j["rollout_tokens_per_second"] = per_second(p.generated, p.rollout_seconds);
  j["update_tokens_per_second"] = per_second(p.updated, p.update_seconds);
  return j;
}

std::string duration_text(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  return s >= 3600 ? fmt::format("{}:{:02d}:{:02d}", s / 3600, s / 60 % 60, s % 60) : fmt::format("{}:{:02d}", s / 60, s % 60);
}

std::string rate_text(double per_s) {
  return per_s >= 1000 ? fmt::format("{:.1f}k", per_s / 1000) : fmt::format("{:.0f}", per_s);
}

}  // namespace

Json step_json(const StepMetrics& m) {
  Json j;
  j["step"] = m.step;
  j["loss"] = m.loss;
  j["lr"] = m.lr;
  j["grad_norm"] = m.grad_norm;
  j["tokens"] = m.tokens;
  j["total_tokens"] = m.total_tokens;
  if (m.has_validation && !m.validation_reward) j["validation_loss"] = m.validation_loss;
  if (m.validation_reward) j["validation_reward"] = *m.validation_reward;
  if (m.policy) j.update(policy_metrics_json(*m.policy));
  for (const auto& [name, value] : m.more) j[name] = value;
  j["seconds"] = m.seconds;  // from here on: what is another number in every run
  j["tokens_per_second"] = m.tokens_per_second;
  j["memory_bytes"] = m.memory;
  return j;
}

std::vector<std::pair<std::string, double>> step_scalars(const StepMetrics& m) {
  std::vector<std::pair<std::string, double>> out;
  const Json all = step_json(m);
  for (const auto& [key, value] : all.items()) {
    if (key == "step") continue;
    if (value.is_number()) out.emplace_back("train/" + key, value.get<double>());
    if (value.is_object())
      for (const auto& [inner, v] : value.items())
        if (v.is_number()) out.emplace_back(key + "/" + inner, v.get<double>());
  }
  return out;
}

std::string progress_line(const StepMetrics& m) {
  std::string out = fmt::format("step {}/{}  ", m.step, m.steps);
  if (m.policy) {
    const PolicyMetrics& p = *m.policy;
    out += fmt::format("reward {:.3f}  right {:.1f} %  length {:.0f}", p.reward, 100 * p.right, p.length);
    if (p.truncated > 0) out += fmt::format("  cut {:.1f} %", 100 * p.truncated);
    out += fmt::format("  signal {:.0f} %", 100 * (1 - p.silent));
    if (p.kl != 0) out += fmt::format("  KL {:.4f}", p.kl);
    out += fmt::format("  norm {:.2f}", m.grad_norm);
  } else {
    out += fmt::format("loss {:.4f}  lr {:.2e}  norm {:.2f}", m.loss, m.lr, m.grad_norm);
    for (const auto& [name, value] : m.more) out += fmt::format("  {} {:.3f}", name, value);
  }
  out += fmt::format("  {} tok/s  ETA {}", rate_text(m.tokens_per_second), duration_text(m.eta_seconds));
  if (m.validation_reward) {
    out += fmt::format("  held out {:.3f}", *m.validation_reward);
  } else if (m.has_validation) {
    out += fmt::format("  validation {:.4f}", m.validation_loss);
  }
  return out;
}

}  // namespace raison
