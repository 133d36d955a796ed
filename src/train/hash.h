// A 64-bit hash that tells a whole file from a damaged one; not for adversaries.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace raison {

inline uint64_t hash_bytes(const void* data, size_t bytes, uint64_t seed = 0) {
  const auto mix = [](uint64_t h, uint64_t word) {
    h = (h ^ word) * 0x9E3779B97F4A7C15ull;
    return h ^ (h >> 29);
  };
  const auto* p = static_cast<const uint8_t*>(data);
  uint64_t h = mix(seed + 0x243F6A8885A308D3ull, bytes);
  for (; bytes >= 8; bytes -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    h = mix(h, word);
  }
  uint64_t last = 0;
  if (bytes > 0) std::memcpy(&last, p, bytes);
  h = mix(h, last);
  return h ^ (h >> 32);
}

}  // namespace raison
