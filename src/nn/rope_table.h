// RoPE angles (Su et al. 2021, arXiv:2104.09864): inv_freq and angle = position * inv_freq in double, sin/cos by our own
// double routine, rounded once to fp32, kept per position.
#pragma once
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "ops/ops.h"

namespace raison {

struct RopeConfig {
  enum class Scaling { None, Linear, Llama3 };
  int rot = 0;  // rotated values per head (head_dim for all models here)
  double theta = 10000.0;
  Scaling scaling = Scaling::None;
  double factor = 1.0;                                   // Linear, Llama3
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // Llama3
  double original_context = 8192;                        // Llama3
  std::vector<double> divisors;                          // [rot/2] or empty: inv_freq is divided by these (GGUF rope_freqs)
  bool interleaved = false;
};

// [rot/2] inverse frequencies, scaling included. Llama 3's correction as in Meta's reference: wavelengths beyond
// original/low are divided by factor, those below original/high are kept, smooth in between.
std::vector<double> rope_inverse_frequencies(const RopeConfig& config);

class RopeTable {
 public:
  explicit RopeTable(RopeConfig config) : config_(std::move(config)), inv_freq_(rope_inverse_frequencies(config_)) {}
  const RopeConfig& config() const { return config_; }
  // Angles of each row of a batch.
  RopeRows rows(const std::vector<int32_t>& positions, int64_t offset);

 private:
  RopeConfig config_;
  std::vector<double> inv_freq_;
  std::mutex mutex_;
  std::unordered_map<int64_t, std::vector<float>> cache_;  // position -> cos [rot/2], sin [rot/2]
};

}  // namespace raison
