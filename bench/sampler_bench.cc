// Time to draw one token from the logits of a real vocabulary (151,936 entries), on one core. There is no peak to hold it against but
// reading the logits once, which is given beside it.
//
//   raison_bench_sampler [VOCABULARY]
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "base/cpu.h"
#include "base/rng.h"
#include "engine/sampler.h"
#include "kernels/peaks.h"

namespace raison {
namespace {

constexpr int kDraws = 50;

// ms a call, the median of kDraws.
template <class F>
double median_ms(F draw) {
  std::vector<double> ms;
  for (int i = 0; i < kDraws; ++i) {
    const double begin = steady_seconds();
    draw(i);
    ms.push_back(1e3 * (steady_seconds() - begin));
  }
  std::nth_element(ms.begin(), ms.begin() + kDraws / 2, ms.end());
  return ms[kDraws / 2];
}

int run(size_t vocab) {
  std::vector<float> logits(vocab);
  Rng rng(3);
  for (float& x : logits) x = 4 * static_cast<float>(rng.normal());
  fmt::print("{}; {} logits\n", cpu_name().described(), vocab);
  float most = 0;
  fmt::print("{:<28}{:>8.3f} ms\n", "reading them (largest)",
             median_ms([&](int) { most += *std::max_element(logits.begin(), logits.end()); }));
  struct Case {
    const char* name;
    float temperature, top_p;
    int top_k;
  };
  for (const Case& c : {Case{"greedy", 0, 1, 0}, Case{"T 1", 1, 1, 0}, Case{"T 0.6, top-p 0.95", 0.6f, 0.95f, 0},
                        Case{"T 0.6, top-p 0.95, top-k 50", 0.6f, 0.95f, 50}}) {
    SamplingParams p;
    p.temperature = c.temperature;
    p.top_p = c.top_p;
    p.top_k = c.top_k;
    bool failed = false;
    const double ms =
        median_ms([&](int i) { failed = failed || !sample_token(logits, {}, {}, p, 0, static_cast<uint64_t>(i)).ok(); });
    if (failed) return 1;
    fmt::print("{:<28}{:>8.3f} ms\n", c.name, ms);
  }
  return most > 0 ? 0 : 1;
}

}  // namespace
}  // namespace raison

int main(int argc, char** argv) {
  const long vocab = argc > 1 ? atol(argv[1]) : 151936;
  if (vocab < 1) {
    fmt::print(stderr, "raison_bench_sampler [VOCABULARY]\n");
    return 2;
  }
  return raison::run(static_cast<size_t>(vocab));
}
