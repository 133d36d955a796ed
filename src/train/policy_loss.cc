#include "train/policy_loss.h"

#include <algorithm>
#include <cmath>

#include "base/math.h"

namespace raison {
namespace {

bool counts(const PolicySample& s, size_t t, const PolicyLossOptions& o) {
  return !(o.skip_truncated && s.truncated) && (s.mask.empty() || s.mask[t] != 0);
}

// By how much a token's term enters the loss.
double share_of(const PolicyLossOptions& o, const PolicyTotals& totals, int64_t tokens) {
  const auto samples = static_cast<double>(std::max<int64_t>(totals.samples, 1));
  switch (o.mean) {
    case LossMean::Samples: return 1 / (samples * static_cast<double>(std::max<int64_t>(tokens, 1)));
    case LossMean::Tokens: return 1 / static_cast<double>(std::max<int64_t>(totals.tokens, 1));
    case LossMean::Constant: return 1 / (samples * o.length);
  }
  return 0;
}

// A token's term without KL, and its derivative by log w (by logprob, if the weight is held constant).
struct Term {
  double value = 0, slope = 0;
  bool low = false, high = false;  // clipped
};
Term surrogate(double w, double logprob, double advantage, const PolicyLossOptions& o) {
  Term t;
  if (o.weight_most) {
    const double weight = std::min(w, *o.weight_most);
    t.value = -weight * advantage * logprob;
    t.slope = -weight * advantage;
    t.high = w > *o.weight_most && advantage > 0;
    return t;
  }
  const double bounded = o.delta ? std::min(w, *o.delta) : w;
  const double clipped = std::clamp(w, 1 - o.clip_low, 1 + o.clip_high);
  t.low = bounded < 1 - o.clip_low && advantage < 0;
  t.high = bounded > 1 + o.clip_high && advantage > 0;
  const double free = bounded * advantage, held = clipped * advantage;
  t.value = -std::min(free, held);
  const bool moves = free <= held ? bounded == w : clipped == w;
  t.slope = moves ? -w * advantage : 0;
  return t;
}

struct Kl {
  double value = 0, slope = 0;  // by logprob
};
Kl k3(double ref_minus_logprob) {
  const double e = exp_f64(ref_minus_logprob);
  return {e - ref_minus_logprob - 1, 1 - e};
}

// One sample's part of the loss.
void add_sample(const PolicySample& s, const PolicyTotals& totals, const PolicyLossOptions& o, PolicyLoss* out) {
  const size_t n = s.logprob.size();
  std::vector<float>& gradient = out->gradient.emplace_back(n, 0.0f);
  int64_t tokens = 0;
  double shift = 0;  // the mean of log w
  const auto log_ratio = [&](size_t t) {
    return s.old.empty() ? 0.0 : static_cast<double>(s.logprob[t]) - static_cast<double>(s.old[t]);
  };
  for (size_t t = 0; t < n; ++t)
    if (counts(s, t, o)) shift += log_ratio(t), ++tokens;
  if (tokens == 0) return;
  shift /= static_cast<double>(tokens);
  const bool whole = o.ratio == RatioLevel::Sequence;
  const double share = share_of(o, totals, tokens);
  double slopes = 0;  // by the sample's log w, of all its tokens
  for (size_t t = 0; t < n; ++t) {
    if (!counts(s, t, o)) continue;
    const double logprob = s.logprob[t], w = exp_f64(whole ? shift : log_ratio(t));
    const Term term = surrogate(w, logprob, s.advantage, o);
    double value = term.value, by_ratio = term.slope, by_logprob = 0;
    if (o.beta != 0) {
      const Kl kl = k3(static_cast<double>(s.ref[t]) - logprob);
      const double weight = o.kl_by_ratio ? w : 1;
      value += o.beta * weight * kl.value;
      by_logprob += o.beta * weight * kl.slope;
      if (o.kl_by_ratio) by_ratio += o.beta * w * kl.value;
      out->kl += kl.value;
    }
    out->loss += share * value;
    out->clipped_low += term.low ? 1 : 0;
    out->clipped_high += term.high ? 1 : 0;
    out->ratio += w;
    if (whole && !o.weight_most) {
      slopes += by_ratio;
    } else {
      by_logprob += by_ratio;
    }
    gradient[t] = static_cast<float>(share * by_logprob);
  }
  out->counted += tokens;
  if (!whole || o.weight_most) return;
  const double each = share * slopes / static_cast<double>(tokens);
  for (size_t t = 0; t < n; ++t)
    if (counts(s, t, o)) gradient[t] = static_cast<float>(static_cast<double>(gradient[t]) + each);
}

}  // namespace

Status PolicyLossOptions::validate() const {
  const auto good = [](double x) { return x >= 0 && std::isfinite(x); };
  if (!good(clip_low) || clip_low > 1) return error("the lower clip is {}, must be in [0, 1]", clip_low);
  if (!good(clip_high)) return error("the upper clip is {}, must be 0 or more", clip_high);
  if (delta && !(*delta > 1 + clip_high && std::isfinite(*delta)))
    return error("delta is {}, must be more than 1 + the upper clip of {}", *delta, clip_high);
  if (weight_most && !(good(*weight_most) && *weight_most > 0))
    return error("the largest weight is {}, must be above 0", *weight_most);
  if (!good(beta)) return error("beta is {}, must be 0 or more", beta);
  if (!(length > 0 && std::isfinite(length))) return error("the length to divide by is {}, must be above 0", length);
  return {};
}

std::vector<std::string> policy_loss_names() { return {"grpo", "dr_grpo", "dapo", "gspo", "cispo"}; }

Result<PolicyLossOptions> policy_loss_named(const std::string& name) {
  PolicyLossOptions o;
  if (name == "grpo") {
    o.beta = 0.04;
  } else if (name == "dr_grpo") {
    o.mean = LossMean::Constant;
  } else if (name == "dapo") {
    o.mean = LossMean::Tokens;
    o.clip_high = 0.28;
    o.skip_truncated = true;
  } else if (name == "gspo") {
    o.ratio = RatioLevel::Sequence;
    o.clip_low = 3e-4;
    o.clip_high = 4e-4;
  } else if (name == "cispo") {
    o.mean = LossMean::Tokens;
    o.weight_most = 5;
  } else {
    return error("no loss is called \"{}\"; there are {}", name.substr(0, 64), fmt::join(policy_loss_names(), ", "));
  }
  return o;
}

PolicyTotals policy_totals(const std::vector<PolicySample>& samples, const PolicyLossOptions& o) {
  PolicyTotals totals;
  totals.samples = static_cast<int64_t>(samples.size());
  for (const PolicySample& s : samples)
    for (size_t t = 0; t < s.logprob.size(); ++t) totals.tokens += counts(s, t, o) ? 1 : 0;
  return totals;
}

Result<PolicyLoss> policy_loss(const std::vector<PolicySample>& samples, const PolicyTotals& totals,
                               const PolicyLossOptions& o) {
  RAISON_RETURN_IF_ERROR(o.validate());
  PolicyLoss out;
  for (const PolicySample& s : samples) {
    const size_t n = s.logprob.size();
    if ((!s.old.empty() && s.old.size() != n) || (o.beta != 0 && s.ref.size() != n) || (!s.mask.empty() && s.mask.size() != n))
      return error("a sample of {} tokens has {} old logprobs, {} of the reference and {} flags", n, s.old.size(), s.ref.size(),
                   s.mask.size());
    add_sample(s, totals, o, &out);
  }
  return out;
}

PreferenceLoss dpo_loss(double chosen, double rejected, double ref_chosen, double ref_rejected, double beta) {
  PreferenceLoss out;
  out.chosen_reward = beta * (chosen - ref_chosen);
  out.rejected_reward = beta * (rejected - ref_rejected);
  const double margin = out.chosen_reward - out.rejected_reward;
  // -log sigmoid(m) = log(1 + e^-m), without overflow on either side.
  const double e = exp_f64(-std::abs(margin));
  out.loss = log_f64(1 + e) + (margin < 0 ? -margin : 0);
  out.gradient = -beta * (margin < 0 ? 1 / (1 + e) : e / (1 + e));
  return out;
}

}  // namespace raison
