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
  enum class Scaling { None, Linear, Llama3, Yarn };
  int rot = 0;  // rotated values per head
  double theta = 10000.0;
  Scaling scaling = Scaling::None;
  double factor = 1.0;                                   // Linear, Llama3, Yarn
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // Llama3
  double original_context = 8192;                        // Llama3, Yarn
  double beta_fast = 32, beta_slow = 1;                  // Yarn: rotations over original_context where the ramp begins and ends
  bool truncate = true;                                  // Yarn: the ramp's ends are rounded to whole dimensions
  double mscale_all_dim = 0;                             // Yarn: of the softmax scale of latent attention; 0: none
  double magnitude = 1.0;                                // cos and sin are multiplied by this (Yarn's attention factor)
  std::vector<double> divisors;                          // [rot/2] or empty: inv_freq is divided by these (GGUF rope_freqs)
  bool interleaved = false;
};

// [rot/2] inverse frequencies, scaling included. Llama 3's correction as in Meta's reference: wavelengths beyond
// original/low are divided by factor, those below original/high are kept, smooth in between. YaRN (Peng et al. 2023,
// arXiv:2309.00071, section 3.2 "NTK-by-parts"): dimensions that turn more than beta_fast times over the original context are
// kept, those that turn less than beta_slow times are divided by factor, linear in the dimension between.
std::vector<double> rope_inverse_frequencies(const RopeConfig& config);

// YaRN's logit temperature as the DeepSeek reference writes it: 0.1 * mscale * ln(factor) + 1, or 1 for factor <= 1.
double yarn_mscale(double factor, double mscale);

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
