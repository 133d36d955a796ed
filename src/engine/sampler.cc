#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "base/math.h"
#include "base/rng.h"

namespace raison {
namespace {
constexpr float kGone = -std::numeric_limits<float>::infinity();

void penalise(std::vector<float>& x, std::span<const int32_t> prompt, std::span<const int32_t> generated,
              const SamplingParams& p) {
  const auto vocab = static_cast<int64_t>(x.size());
  const auto inside = [&](int32_t id) { return id >= 0 && id < vocab; };
  if (p.repetition_penalty != 1.0f) {
    std::vector<bool> seen(x.size());
    for (auto ids : {prompt, generated})
      for (int32_t id : ids) {
        if (!inside(id) || seen[static_cast<size_t>(id)]) continue;
        seen[static_cast<size_t>(id)] = true;
        float& v = x[static_cast<size_t>(id)];
        v = v < 0 ? v * p.repetition_penalty : v / p.repetition_penalty;
      }
  }
  if (p.presence_penalty != 0.0f || p.frequency_penalty != 0.0f) {
    std::map<int32_t, int64_t> counts;
    for (int32_t id : generated)
      if (inside(id)) ++counts[id];
    for (const auto& [id, n] : counts) {
      float& v = x[static_cast<size_t>(id)];
      v -= static_cast<float>(n) * p.frequency_penalty;
      v -= p.presence_penalty;
    }
  }
}

// A token that would complete an n-gram seen before is removed.
void forbid_ngrams(std::vector<float>& x, std::span<const int32_t> prompt, std::span<const int32_t> generated, int64_t n) {
  std::vector<int32_t> all(prompt.begin(), prompt.end());
  all.insert(all.end(), generated.begin(), generated.end());
  const auto length = static_cast<int64_t>(all.size());
  if (n <= 0 || length < n) return;
  const int32_t* tail = all.data() + (length - (n - 1));
  for (int64_t i = 0; i + n <= length; ++i) {
    const int32_t next = all[static_cast<size_t>(i + n - 1)];
    if (std::equal(tail, tail + (n - 1), all.data() + i) && next >= 0 && next < static_cast<int64_t>(x.size()))
      x[static_cast<size_t>(next)] = kGone;
  }
}

float largest(const std::vector<float>& x) { return *std::max_element(x.begin(), x.end()); }

// exp(x - max) and their sum, in ascending id.
double weights(const std::vector<float>& x, std::vector<double>* out) {
  const float m = largest(x);
  out->resize(x.size());
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    (*out)[i] = x[i] == kGone ? 0.0 : exp_f64(static_cast<double>(x[i]) - static_cast<double>(m));
    sum += (*out)[i];
  }
  return sum;
}

void keep_top_k(std::vector<float>& x, int64_t k) {
  if (k <= 0 || k >= static_cast<int64_t>(x.size())) return;
  std::vector<float> sorted = x;
  std::nth_element(sorted.begin(), sorted.begin() + (k - 1), sorted.end(), std::greater<>());
  const float limit = sorted[static_cast<size_t>(k - 1)];
  for (float& v : x)
    if (v < limit) v = kGone;
}

// Ids that are left, by `before`.
template <class Before>
std::vector<int32_t> remaining(const std::vector<float>& x, Before before) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < x.size(); ++i)
    if (x[i] != kGone) ids.push_back(static_cast<int32_t>(i));
  std::sort(ids.begin(), ids.end(), before);
  return ids;
}

// Keeps the smallest set of most probable tokens whose mass reaches p (the one that crosses stays; highest ids first among
// equals, as transformers' ascending sort leaves them).
void keep_top_p(std::vector<float>& x, float p) {
  if (p >= 1.0f) return;
  std::vector<double> w;
  const double total = weights(x, &w);
  const auto ids = remaining(x, [&](int32_t a, int32_t b) {
    const float xa = x[static_cast<size_t>(a)], xb = x[static_cast<size_t>(b)];
    return xa != xb ? xa > xb : a > b;
  });
  double mass = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0 && mass >= static_cast<double>(p)) x[static_cast<size_t>(ids[i])] = kGone;
    mass += w[static_cast<size_t>(ids[i])] / total;
  }
}

void keep_min_p(std::vector<float>& x, float min_p) {
  if (min_p <= 0.0f) return;
  std::vector<double> w;
  weights(x, &w);  // the largest has weight 1
  for (size_t i = 0; i < x.size(); ++i)
    if (w[i] < static_cast<double>(min_p)) x[i] = kGone;
}

void keep_typical(std::vector<float>& x, float p) {
  if (p >= 1.0f) return;
  std::vector<double> w;
  const double total = weights(x, &w);
  const double log_total = log_f64(total), m = static_cast<double>(largest(x));
  std::vector<double> surprise(x.size());
  double entropy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] == kGone) continue;
    surprise[i] = -((static_cast<double>(x[i]) - m) - log_total);
    entropy += w[i] / total * surprise[i];
  }
  const auto distance = [&](int32_t i) { return std::fabs(surprise[static_cast<size_t>(i)] - entropy); };
  const auto ids = remaining(x, [&](int32_t a, int32_t b) {
    const double da = distance(a), db = distance(b);
    return da != db ? da < db : a < b;
  });
  double mass = 0;
  size_t last = 0;  // the first at which the mass reaches p
  for (; last < ids.size(); ++last) {
    mass += w[static_cast<size_t>(ids[last])] / total;
    if (mass >= static_cast<double>(p)) break;
  }
  if (last >= ids.size()) return;
  const double limit = distance(ids[last]);
  for (int32_t id : ids)
    if (distance(id) > limit) x[static_cast<size_t>(id)] = kGone;
}

Status in_range(const char* name, double v, double lo, double hi) {
  if (v >= lo && v <= hi) return {};
  return error("{} is {}, outside {} .. {}", name, v, lo, hi);
}
}  // namespace

Status SamplingParams::validate() const {
  RAISON_RETURN_IF_ERROR(in_range("temperature", temperature, 0, 1e4));
  RAISON_RETURN_IF_ERROR(in_range("top-k", static_cast<double>(top_k), 0, 1e9));
  RAISON_RETURN_IF_ERROR(in_range("top-p", top_p, 0, 1));
  RAISON_RETURN_IF_ERROR(in_range("min-p", min_p, 0, 1));
  RAISON_RETURN_IF_ERROR(in_range("typical-p", typical_p, 0, 1));
  RAISON_RETURN_IF_ERROR(in_range("repetition penalty", repetition_penalty, 1e-3, 1e3));
  RAISON_RETURN_IF_ERROR(in_range("presence penalty", presence_penalty, -100, 100));
  RAISON_RETURN_IF_ERROR(in_range("frequency penalty", frequency_penalty, -100, 100));
  return in_range("no-repeat n-gram", static_cast<double>(no_repeat_ngram), 0, 1e6);
}

std::vector<float> process_logits(std::span<const float> logits, std::span<const int32_t> prompt,
                                  std::span<const int32_t> generated, const SamplingParams& params) {
  std::vector<float> x(logits.begin(), logits.end());
  if (x.empty()) return x;
  penalise(x, prompt, generated, params);
  forbid_ngrams(x, prompt, generated, params.no_repeat_ngram);
  if (params.temperature == 0.0f || largest(x) == kGone) return x;
  if (params.temperature != 1.0f)
    for (float& v : x) v /= params.temperature;
  keep_top_k(x, params.top_k);
  keep_top_p(x, params.top_p);
  keep_min_p(x, params.min_p);
  keep_typical(x, params.typical_p);
  return x;
}

Result<int32_t> sample_token(std::span<const float> logits, std::span<const int32_t> prompt, std::span<const int32_t> generated,
                             const SamplingParams& params, uint64_t sample_index, uint64_t position) {
  const std::vector<float> x = process_logits(logits, prompt, generated, params);
  for (float v : x)
    if (std::isnan(v)) return error("the model gave a NaN logit; its weights are damaged or a value overflowed");
  if (x.empty() || largest(x) == kGone) return error("no token is left to choose from: every one is forbidden");
  if (params.temperature == 0.0f) return static_cast<int32_t>(std::max_element(x.begin(), x.end()) - x.begin());
  std::vector<double> w;
  const double total = weights(x, &w);
  const double target = uniform01(params.seed, sample_index, position) * total;
  double sum = 0;
  int32_t last = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    if (w[i] == 0.0) continue;
    sum += w[i];
    last = static_cast<int32_t>(i);
    if (sum > target) break;
  }
  return last;
}

StopChecker::StopChecker(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& s) { return s.empty(); });
}

std::string StopChecker::push(const std::string& text) {
  if (stopped_) return "";
  held_ += text;
  size_t first = std::string::npos;
  for (const std::string& s : stops_) first = std::min(first, held_.find(s));
  std::string out;
  if (first != std::string::npos) {
    stopped_ = true;
    out = held_.substr(0, first);
    held_.clear();
    return out;
  }
  size_t keep = 0;  // the longest tail that begins a stop string
  for (const std::string& s : stops_)
    for (size_t n = std::min(s.size() - 1, held_.size()); n > keep; --n)
      if (held_.compare(held_.size() - n, n, s, 0, n) == 0) {
        keep = n;
        break;
      }
  out = held_.substr(0, held_.size() - keep);
  held_.erase(0, out.size());
  return out;
}

std::string StopChecker::flush() { return stopped_ ? "" : std::exchange(held_, ""); }

}  // namespace raison
