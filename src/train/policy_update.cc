#include "train/policy_update.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace raison {
namespace {

// A rollout as a sequence of the trainer: what the policy wrote has a weight.
TrainSequence sequence_of(const Rollout& r) {
  TrainSequence s;
  s.tokens = r.prompt;
  s.weights.assign(s.tokens.size(), 0.0f);
  for (size_t i = 0; i < r.reply.tokens.size(); ++i) {
    s.tokens.push_back(r.reply.tokens[i]);
    s.weights.push_back(r.reply.forced[i] ? 0.0f : 1.0f);
  }
  return s;
}

// What the policy wrote of `values`, which has one for each token of the reply.
std::vector<float> written(const Rollout& r, std::span<const float> values) {
  std::vector<float> out;
  for (size_t i = 0; i < r.reply.tokens.size(); ++i)
    if (!r.reply.forced[i]) out.push_back(values[i]);
  return out;
}

// Rollouts side by side in micro-batches: those of like length together, so that a budget of tokens is met closely.
std::vector<std::vector<size_t>> micro_batches(const std::vector<const Rollout*>& rollouts, std::vector<size_t> used,
                                               int64_t budget) {
  const auto length = [&](size_t i) {
    return static_cast<int64_t>(rollouts[i]->prompt.size() + rollouts[i]->reply.tokens.size());
  };
  std::stable_sort(used.begin(), used.end(), [&](size_t a, size_t b) { return length(a) < length(b); });
  std::vector<std::vector<size_t>> out;
  int64_t tokens = 0;
  for (const size_t i : used) {
    if (out.empty() || tokens + length(i) > budget) out.emplace_back(), tokens = 0;
    out.back().push_back(i);
    tokens += length(i);
  }
  return out;
}

}  // namespace

Result<PolicyUpdate> PolicyUpdater::update(const PolicyBatch& b, bool fresh, const PolicyUpdateOptions& o, double lr) {
  PolicyUpdate out;
  std::vector<size_t> used;
  PolicyTotals totals;
  for (size_t i = 0; i < b.rollouts.size(); ++i) {
    const bool silent = b.silent[i] != 0;
    out.silent += silent ? 1 : 0;
    if (silent && !o.count_silent) continue;
    const auto& forced = b.rollouts[i]->reply.forced;
    if (!silent || o.loss.beta > 0) used.push_back(i);
    ++totals.samples;
    if (!(o.loss.skip_truncated && b.rollouts[i]->truncated()))
      totals.tokens += std::count(forced.begin(), forced.end(), uint8_t{0});
  }
  out.samples = totals.samples;
  out.tokens = totals.tokens;
  if (totals.tokens == 0 || used.empty()) return out;
  int64_t counted = 0;
  for (const auto& part : micro_batches(b.rollouts, used, o.micro_batch)) {
    MicroBatch batch;
    for (const size_t i : part) batch.push_back(sequence_of(*b.rollouts[i]));
    const Status ok = runner_.differentiate(batch, o.temperature, gradients_.get(), [&](std::span<const float> logprobs) {
      return derive(b, part, logprobs, fresh, o, totals, &out, &counted);
    });
    if (!ok.ok()) {
      forget();  // half a step
      return ok.error();
    }
  }
  for (double* sum : {&out.clipped_low, &out.clipped_high, &out.kl, &out.ratio})
    *sum /= static_cast<double>(std::max<int64_t>(counted, 1));
  if (!std::isfinite(out.loss)) {
    forget();
    return error("the loss is {}; lower the learning rate or the clip bounds", out.loss);
  }
  const auto norm = optimizer_.step(exec_, kernels_, *gradients_, lr);
  if (!norm.ok()) forget();
  RAISON_ASSIGN(out.grad_norm, norm);
  out.made = true;
  return out;
}

// d loss / d logprob of a micro-batch's tokens, and what the loss tells by the way.
Result<std::vector<float>> PolicyUpdater::derive(const PolicyBatch& b, const std::vector<size_t>& part,
                                                 std::span<const float> logprobs, bool fresh, const PolicyUpdateOptions& o,
                                                 const PolicyTotals& totals, PolicyUpdate* out, int64_t* counted) const {
  std::vector<PolicySample> samples;
  std::vector<std::vector<float>> old, reference;
  for (const size_t i : part) {
    old.push_back(written(*b.rollouts[i], b.rollouts[i]->reply.logprobs));
    reference.push_back(b.ref.empty() ? std::vector<float>() : written(*b.rollouts[i], *b.ref[i]));
  }
  for (size_t k = 0, at = 0; k < part.size(); at += old[k++].size()) {
    PolicySample s;
    s.logprob = logprobs.subspan(at, old[k].size());
    for (size_t t = 0; fresh && t < old[k].size(); ++t) {
      out->delta_logprob =
          std::max(out->delta_logprob, std::abs(static_cast<double>(s.logprob[t]) - static_cast<double>(old[k][t])));
      if (std::memcmp(&s.logprob[t], &old[k][t], sizeof(float)) != 0)
        return error("rollout {}, written token {}: the trainer's logprob {} is not the rollout's {}", part[k], t, s.logprob[t],
                     old[k][t]);
    }
    if (fresh) out->compared += static_cast<int64_t>(old[k].size());
    s.old = old[k];
    s.ref = reference[k];
    s.advantage = b.advantages[part[k]];
    s.truncated = b.rollouts[part[k]]->truncated();
    samples.push_back(s);
  }
  RAISON_ASSIGN(const PolicyLoss l, policy_loss(samples, totals, o.loss));
  out->loss += l.loss;
  out->clipped_low += l.clipped_low;
  out->clipped_high += l.clipped_high;
  out->kl += l.kl;
  out->ratio += l.ratio;
  *counted += l.counted;
  std::vector<float> seeds;
  for (const auto& g : l.gradient) seeds.insert(seeds.end(), g.begin(), g.end());
  return seeds;
}

Result<std::vector<std::vector<float>>> PolicyUpdater::logprobs(const std::vector<const Rollout*>& rollouts, float temperature,
                                                                int64_t micro_batch) {
  std::vector<std::vector<float>> out(rollouts.size());
  std::vector<size_t> all(rollouts.size());
  std::iota(all.begin(), all.end(), size_t{0});
  for (const auto& part : micro_batches(rollouts, all, micro_batch)) {
    MicroBatch batch;
    for (const size_t i : part) batch.push_back(sequence_of(*rollouts[i]));
    RAISON_RETURN_IF_ERROR(
        runner_.differentiate(batch, temperature, nullptr, [&](std::span<const float> logprobs) -> Result<std::vector<float>> {
          size_t at = 0;
          for (const size_t i : part)
            for (const uint8_t forced : rollouts[i]->reply.forced) out[i].push_back(forced != 0 ? 0 : logprobs[at++]);
          return std::vector<float>();
        }));
  }
  return out;
}

}  // namespace raison
