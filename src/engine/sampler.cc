#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "base/math.h"
#include "base/rng.h"

namespace raison {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// w[i] = e^(x[i] - top), relative error below 3e-7, never less than e^-87. Plain products and sums, no FMA calls and no
// branches, so that every compiler can vectorise it and every CPU gives the same bits.
void exponentials(const float* x, size_t n, float top, float* w) {
  for (size_t i = 0; i < n; ++i) {
    const int32_t below = std::bit_cast<int32_t>(top - x[i]);                        // >= 0: floats order as their bits do
    const float c = -std::bit_cast<float>(below < 0x42AE0000 ? below : 0x42AE0000);  // 87.0f
    const float z = c * 0x1.715476p+0f + 12582912.0f;  // 1.5 * 2^23: rounds c / ln 2 to an integer in the low bits
    const float k = z - 12582912.0f;
    const float r = (c - k * 0x1.62e400p-1f) - k * 0x1.7f7d1cp-20f;  // the first product is exact
    float p = 0x1.6c16c2p-10f;                                       // Taylor, |r| <= 0.347
    p = p * r + 0x1.111112p-7f;
    p = p * r + 0x1.555556p-5f;
    p = p * r + 0x1.555556p-3f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    w[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(z) << 23));
  }
}

// The tokens still in play, ids ascending.
struct Candidates {
  std::vector<int32_t> ids;
  std::vector<float> x, w;  // logits; e^(x - largest logit), filled by weigh()
  float top = -kInf;        // the largest logit

  void weigh() {
    w.resize(x.size());
    exponentials(x.data(), x.size(), top, w.data());
  }
  double mass() const {
    double sum = 0;
    for (float v : w) sum += static_cast<double>(v);
    return sum;
  }
  template <class Keep>
  void filter(Keep keep) {  // keep(index)
    size_t n = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (!keep(i)) continue;
      ids[n] = ids[i];
      x[n] = x[i];
      if (!w.empty()) w[n] = w[i];
      ++n;
    }
    ids.resize(n);
    x.resize(n);
    if (!w.empty()) w.resize(n);
  }
};

struct Edge {
  float key;
  int32_t id;
};

// In the order (key ascending, id ascending), the first candidate at which the running sum of w reaches `target`; the last
// one if none does. Only one bucket of keys is sorted: counting sorts finds it, whatever the vocabulary.
Edge crossing(const Candidates& c, const std::vector<float>& keys, double target) {
  constexpr size_t kBuckets = 2048;
  const auto bucket_of = [](float key) { return static_cast<int32_t>(std::min(key * 16.0f, 2047.0f)); };
  std::vector<double> mass(kBuckets, 0.0);
  size_t last = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto b = static_cast<size_t>(bucket_of(keys[i]));
    mass[b] += static_cast<double>(c.w[i]);
    last = std::max(last, b);
  }
  double before = 0;
  size_t bucket = 0;
  while (bucket < last && before + mass[bucket] < target) before += mass[bucket++];
  std::vector<std::pair<Edge, float>> members;
  for (size_t i = 0; i < keys.size(); ++i)
    if (static_cast<size_t>(bucket_of(keys[i])) == bucket) members.push_back({{keys[i], c.ids[i]}, c.w[i]});
  std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) {
    return a.first.key != b.first.key ? a.first.key < b.first.key : a.first.id < b.first.id;
  });
  for (const auto& [edge, w] : members) {
    before += static_cast<double>(w);
    if (before >= target) return edge;
  }
  return members.back().first;  // rounding: the bucket's own sum reached the target in another order
}

// The k-th largest value (k <= n): a heap of k while k is small, else selection. A value, so the method leaves no trace.
float kth_largest(const std::vector<float>& x, size_t k) {
  const auto greater = [](float a, float b) { return a > b; };
  std::vector<float> heap(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(k > 1024 ? x.size() : k));
  if (k > 1024) {
    std::nth_element(heap.begin(), heap.begin() + static_cast<std::ptrdiff_t>(k - 1), heap.end(), greater);
    return heap[k - 1];
  }
  std::make_heap(heap.begin(), heap.end(), greater);
  for (size_t i = k; i < x.size(); ++i) {
    if (x[i] <= heap.front()) continue;
    std::pop_heap(heap.begin(), heap.end(), greater);
    heap.back() = x[i];
    std::push_heap(heap.begin(), heap.end(), greater);
  }
  return heap.front();
}

void keep_top_p(Candidates& c, float p) {
  std::vector<float> keys(c.x.size());
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = c.top - c.x[i];
  const Edge e = crossing(c, keys, static_cast<double>(p) * c.mass());
  c.filter([&](size_t i) {
    const float key = c.top - c.x[i];  // filter() writes only behind i, so x[i] is still its own
    return key < e.key || (key == e.key && c.ids[i] <= e.id);
  });
}

void keep_typical(Candidates& c, float p) {
  const double total = c.mass(), log_total = log_f64(total);
  double entropy = 0;
  for (size_t i = 0; i < c.x.size(); ++i) {
    const double surprise = log_total - (static_cast<double>(c.x[i]) - static_cast<double>(c.top));
    entropy += static_cast<double>(c.w[i]) / total * surprise;
  }
  std::vector<float> keys(c.x.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    const double surprise = log_total - (static_cast<double>(c.x[i]) - static_cast<double>(c.top));
    keys[i] = static_cast<float>(std::fabs(surprise - entropy));
  }
  const Edge e = crossing(c, keys, static_cast<double>(p) * total);
  c.filter([&](size_t i) { return keys[i] <= e.key; });
}

Status check_history(std::span<const int32_t> ids, size_t vocab) {
  for (int32_t id : ids)
    if (id < 0 || static_cast<size_t>(id) >= vocab) return error("token id {} is outside the {} logits", id, vocab);
  return {};
}

void repetition_penalty(std::vector<float>& x, std::span<const int32_t> prompt, std::span<const int32_t> generated, float r) {
  std::vector<int32_t> ids(prompt.begin(), prompt.end());
  ids.insert(ids.end(), generated.begin(), generated.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (int32_t id : ids) {
    float& v = x[static_cast<size_t>(id)];
    v = v < 0 ? v * r : v / r;
  }
}

void count_penalties(std::vector<float>& x, std::span<const int32_t> generated, const SamplingParams& p) {
  std::vector<int32_t> ids(generated.begin(), generated.end());
  std::sort(ids.begin(), ids.end());
  for (size_t i = 0; i < ids.size();) {
    size_t j = i;
    while (j < ids.size() && ids[j] == ids[i]) ++j;
    float& v = x[static_cast<size_t>(ids[i])];
    v -= static_cast<float>(j - i) * p.frequency_penalty;
    v -= p.presence_penalty;
    i = j;
  }
}

void forbid_ngrams(std::vector<float>& x, std::span<const int32_t> prompt, std::span<const int32_t> generated, size_t n) {
  std::vector<int32_t> all(prompt.begin(), prompt.end());
  all.insert(all.end(), generated.begin(), generated.end());
  if (all.size() + 1 < n) return;
  const auto tail = all.end() - static_cast<std::ptrdiff_t>(n - 1);
  for (size_t i = 0; i + n <= all.size(); ++i)
    if (std::equal(tail, all.end(), all.begin() + static_cast<std::ptrdiff_t>(i)))
      x[static_cast<size_t>(all[i + n - 1])] = -kInf;
}

// Processors 1 to 3.
Result<std::vector<float>> penalised(std::span<const float> logits, std::span<const int32_t> prompt,
                                     std::span<const int32_t> generated, const SamplingParams& p) {
  RAISON_RETURN_IF_ERROR(p.validate());
  RAISON_RETURN_IF_ERROR(check_history(prompt, logits.size()));
  RAISON_RETURN_IF_ERROR(check_history(generated, logits.size()));
  std::vector<float> x(logits.begin(), logits.end());
  if (p.repetition_penalty != 1) repetition_penalty(x, prompt, generated, p.repetition_penalty);
  if (p.presence_penalty != 0 || p.frequency_penalty != 0) count_penalties(x, generated, p);
  if (p.no_repeat_ngram > 0) forbid_ngrams(x, prompt, generated, static_cast<size_t>(p.no_repeat_ngram));
  return x;
}

// The largest logit's id; errors for NaN, +inf and "nothing left".
Result<int32_t> checked_argmax(std::span<const float> x) {
  bool bad_bits = false;                         // NaN or +inf
  float tops[4] = {-kInf, -kInf, -kInf, -kInf};  // four chains: one would wait for itself
  size_t at = 0;
  const auto look = [&](size_t i, float* most) {
    const float v = x[i];
    bad_bits |= std::bit_cast<int32_t>(v) >= 0x7F800000 || std::bit_cast<uint32_t>(v) > 0xFF800000u;
    *most = std::max(*most, v);
  };
  for (; at + 4 <= x.size(); at += 4)
    for (size_t i = 0; i < 4; ++i) look(at + i, &tops[i]);
  for (; at < x.size(); ++at) look(at, &tops[0]);
  if (bad_bits) {
    const auto bad = std::find_if(x.begin(), x.end(), [](float v) { return v != v || v == kInf; });
    return error("the logit of token {} is {}; the model's weights or its input are broken", bad - x.begin(),
                 *bad == kInf ? "infinite" : "not a number");
  }
  const float top = std::max(std::max(tops[0], tops[1]), std::max(tops[2], tops[3]));
  if (top == -kInf) return error("no token is left to sample from: all {} logits are -inf", x.size());
  return static_cast<int32_t>(std::find(x.begin(), x.end(), top) - x.begin());
}

// Processors 4 to 8 on penalised logits with a finite largest one; temperature > 0. Weights are filled.
Result<Candidates> truncated(std::vector<float> x, const SamplingParams& p) {
  if (p.temperature != 1)
    for (float& v : x) v /= p.temperature;
  RAISON_ASSIGN(const int32_t best, checked_argmax(x));
  Candidates c;
  c.top = x[static_cast<size_t>(best)];
  const auto k = static_cast<size_t>(p.top_k);
  const float floor = k > 0 && k < x.size() ? kth_largest(x, k) : -kInf;
  bool all = floor == -kInf;  // as mostly without top-k: nothing to pick out
  if (all)
    for (const float v : x) all &= v != -kInf;
  if (all) {
    c.ids.resize(x.size());
    std::iota(c.ids.begin(), c.ids.end(), 0);
    c.x = std::move(x);
  } else {
    for (size_t i = 0; i < x.size(); ++i) {
      if (!(x[i] >= floor) || x[i] == -kInf) continue;
      c.ids.push_back(static_cast<int32_t>(i));
      c.x.push_back(x[i]);
    }
  }
  c.weigh();
  if (p.top_p < 1) keep_top_p(c, p.top_p);
  if (p.min_p > 0) c.filter([&](size_t i) { return c.w[i] >= p.min_p; });  // the most probable one weighs 1
  if (p.typical_p < 1) keep_typical(c, p.typical_p);
  return c;
}

// Of the weights as far as each, in mass()'s order.
std::vector<double> running_sums(const std::vector<float>& w) {
  std::vector<double> sums(w.size());
  double sum = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    sum += static_cast<double>(w[i]);
    sums[i] = sum;
  }
  return sums;
}

Status bounded(const char* name, float value, float low, float high) {
  if (value >= low && value <= high) return {};
  return error("{} is {}, must be between {} and {}", name, value, low, high);
}

}  // namespace

Status SamplingParams::validate() const {
  if (temperature != 0) {
    if (!(temperature >= 1e-4f && temperature <= 1e4f))
      return error("temperature is {}, must be 0 (greedy) or between 0.0001 and 10000", temperature);
  }
  if (top_k < 0) return error("top_k is {}, must be 0 (off) or more", top_k);
  if (!(top_p > 0 && top_p <= 1)) return error("top_p is {}, must be above 0 and at most 1", top_p);
  RAISON_RETURN_IF_ERROR(bounded("min_p", min_p, 0, 1));
  if (!(typical_p > 0 && typical_p <= 1)) return error("typical_p is {}, must be above 0 and at most 1", typical_p);
  RAISON_RETURN_IF_ERROR(bounded("repetition_penalty", repetition_penalty, 1e-4f, 1e4f));
  RAISON_RETURN_IF_ERROR(bounded("presence_penalty", presence_penalty, -100, 100));
  RAISON_RETURN_IF_ERROR(bounded("frequency_penalty", frequency_penalty, -100, 100));
  if (no_repeat_ngram < 0) return error("no_repeat_ngram is {}, must be 0 (off) or more", no_repeat_ngram);
  return {};
}

Result<std::vector<float>> process_logits(std::span<const float> logits, std::span<const int32_t> prompt,
                                          std::span<const int32_t> generated, const SamplingParams& params) {
  RAISON_ASSIGN(std::vector<float> x, penalised(logits, prompt, generated, params));
  if (params.temperature == 0) {
    RAISON_RETURN_IF_ERROR(checked_argmax(x));
    return x;
  }
  RAISON_ASSIGN(const Candidates c, truncated(std::move(x), params));
  std::vector<float> out(logits.size(), -kInf);
  for (size_t i = 0; i < c.ids.size(); ++i) out[static_cast<size_t>(c.ids[i])] = c.x[i];
  return out;
}

Result<int32_t> sample_token(std::span<const float> logits, std::span<const int32_t> prompt, std::span<const int32_t> generated,
                             const SamplingParams& params, uint64_t sample, uint64_t position) {
  RAISON_ASSIGN(std::vector<float> x, penalised(logits, prompt, generated, params));
  if (params.temperature == 0) return checked_argmax(x);
  RAISON_ASSIGN(const Candidates c, truncated(std::move(x), params));
  const std::vector<double> sums = running_sums(c.w);
  const double target = uniform01(params.seed, sample, position) * sums.back();  // below it, as the uniform is below 1
  const auto chosen = std::upper_bound(sums.begin(), sums.end(), target);
  return chosen == sums.end() ? c.ids.back() : c.ids[static_cast<size_t>(chosen - sums.begin())];
}

Result<int32_t> argmax_token(std::span<const float> logits) { return checked_argmax(logits); }

Result<StopChecker> StopChecker::create(std::vector<std::string> strings, std::vector<int32_t> ids) {
  for (const std::string& s : strings)
    if (s.empty()) return error("a stop string is empty; leave it out");
  StopChecker out;
  out.strings_ = std::move(strings);
  out.ids_ = std::move(ids);
  return out;
}

bool StopChecker::is_stop_id(int32_t id) const { return std::find(ids_.begin(), ids_.end(), id) != ids_.end(); }

std::string StopChecker::push(std::string_view text) {
  if (stopped()) return "";
  held_ += text;
  size_t first = std::string::npos, end = std::string::npos;
  for (const std::string& s : strings_) {
    const size_t at = held_.find(s);
    if (at == std::string::npos) continue;
    if (at + s.size() < end || (at + s.size() == end && at < first)) {
      first = at;
      end = at + s.size();
      found_ = s;
    }
  }
  if (stopped()) return std::exchange(held_, "").substr(0, first);
  size_t hold = 0;  // the longest end of the text that begins some stop string
  for (const std::string& s : strings_)
    for (size_t n = std::min(s.size() - 1, held_.size()); n > hold; --n)
      if (held_.ends_with(std::string_view(s).substr(0, n))) {
        hold = n;
        break;
      }
  std::string out = held_.substr(0, held_.size() - hold);
  held_.erase(0, held_.size() - hold);
  return out;
}

std::string StopChecker::finish() { return stopped() ? "" : std::exchange(held_, ""); }

}  // namespace raison
