// Counter-based random numbers (Philox4x32-10; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// A number is a pure function of (seed, stream, index): never of how many were drawn before it or of arrival order.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>

namespace raison {

// Philox4x32-10: 128-bit counter, 64-bit key -> 128 random bits.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// A 64-bit hash of a list of numbers, for deriving seeds: hash_seed({run_seed, step, prompt, sample}).
uint64_t hash_seed(std::initializer_list<uint64_t> parts);

// The uniform double in [0, 1) with 53 random bits belonging to (seed, stream, index).
double uniform01(uint64_t seed, uint64_t stream, uint64_t index);

// A sequential view on one (seed, stream): the cursor is the whole state, so it can be saved and restored.
class Rng {
 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0, uint64_t cursor = 0) : seed_(seed), stream_(stream), cursor_(cursor) {}
  uint64_t next_u64();
  double uniform();            // [0, 1), 53 bits
  uint64_t below(uint64_t n);  // uniform in [0, n), n >= 1; exact (rejection)
  int64_t between(int64_t lo, int64_t hi) { return lo + static_cast<int64_t>(below(static_cast<uint64_t>(hi - lo + 1))); }
  double normal();  // standard normal by Box-Muller with our own log/sin/cos: same bits on every CPU
  template <class T>
  void shuffle(T& items) {  // Fisher-Yates from the back
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }
  uint64_t seed() const { return seed_; }
  uint64_t stream() const { return stream_; }
  uint64_t cursor() const { return cursor_; }  // numbers drawn so far

 private:
  uint64_t seed_, stream_, cursor_;
};

}  // namespace raison
