#include "base/rng.h"

#include <cmath>

#include "base/math.h"

namespace raison {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k[0] += 0x9E3779B9;
    k[1] += 0xBB67AE85;
  }
  return c;
}

namespace {
uint64_t draw(uint64_t seed, uint64_t stream, uint64_t index) {
  const auto r = philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), static_cast<uint32_t>(stream),
                             static_cast<uint32_t>(stream >> 32)},
                            {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  return uint64_t{r[0]} << 32 | r[1];
}
double to_unit(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }
}  // namespace

uint64_t hash_seed(std::initializer_list<uint64_t> parts) {
  uint64_t h = 0x9E3779B97F4A7C15;
  for (uint64_t p : parts) {  // splitmix64 finaliser over each part
    h ^= p;
    h += 0x9E3779B97F4A7C15;
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9;
    h = (h ^ (h >> 27)) * 0x94D049BB133111EB;
    h ^= h >> 31;
  }
  return h;
}

double uniform01(uint64_t seed, uint64_t stream, uint64_t index) { return to_unit(draw(seed, stream, index)); }

uint64_t Rng::next_u64() { return draw(seed_, stream_, cursor_++); }
double Rng::uniform() { return to_unit(next_u64()); }

uint64_t Rng::below(uint64_t n) {
  const uint64_t limit = ~uint64_t{0} - (~uint64_t{0} % n + 1) % n;  // largest multiple of n, less one
  for (;;) {
    const uint64_t x = next_u64();
    if (x <= limit) return x % n;
  }
}

double Rng::normal() {
  const double u = 1.0 - uniform();  // (0, 1]
  double s, c;
  sincos_f64(6.283185307179586476925286766559 * uniform(), &s, &c);
  return std::sqrt(-2.0 * log_f64(u)) * c;
}

}  // namespace raison
