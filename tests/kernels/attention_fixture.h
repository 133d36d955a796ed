// Caches in pages, and the attention kernels called on them.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "kernels/tables.h"

namespace raison::testing {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

// Normals with zeros of both signs, denormals and, if `outlier` is not 0, some values near it.
inline Floats values(int64_t n, uint64_t seed, float outlier = 0) {
  Rng rng(seed, 5);
  Floats out(static_cast<size_t>(n));
  for (float& v : out) {
    v = static_cast<float>(rng.normal());
    const uint64_t kind = rng.below(40);
    if (kind == 0) v = 0.0f;
    if (kind == 1) v = -0.0f;
    if (kind == 2) v *= 1e-39f;
    if (kind == 3 && outlier != 0) v = outlier * (v < 0 ? -1.0f : 1.0f);
  }
  return out;
}

inline ::testing::AssertionResult same_bits(const Floats& got, const Floats& want) {
  if (got.size() != want.size()) return ::testing::AssertionFailure() << "sizes differ";
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(got[i]) && std::isnan(want[i])) continue;  // payloads are no part of the contract
    if (std::memcmp(&got[i], &want[i], 4) != 0)
      return ::testing::AssertionFailure() << "first difference at " << i << ": " << got[i] << " but ref has " << want[i];
  }
  return ::testing::AssertionSuccess();
}

// Sequences with pages of their own, filled with quiet NaN: what nobody stored must never reach a result.
class Cache {
 public:
  Cache(KvLayout layout, const std::vector<int64_t>& lengths) : layout_(layout) {
    for (const int64_t length : lengths) {
      std::vector<std::vector<uint8_t>>& pages = pages_.emplace_back();
      for (int64_t p = 0; p < length; p += layout.page_size) {
        std::vector<uint8_t>& page = pages.emplace_back(static_cast<size_t>(layout.page_bytes()), uint8_t{0xFF});
        (void)page;
      }
      std::vector<uint8_t*>& pointers = pointers_.emplace_back();
      for (auto& page : pages) pointers.push_back(page.data());
    }
  }
  const KvLayout& layout() const { return layout_; }
  uint8_t* const* pages(size_t sequence) const { return pointers_[sequence].data(); }
  const std::vector<std::vector<std::vector<uint8_t>>>& bytes() const { return pages_; }

 private:
  KvLayout layout_;
  std::vector<std::vector<std::vector<uint8_t>>> pages_;
  std::vector<std::vector<uint8_t*>> pointers_;
};

// Rows of several sequences: `count` rows of sequence `sequence` from position `first`.
struct Span {
  size_t sequence;
  int64_t first, count;
};
struct Rows {
  std::vector<int32_t> positions;
  std::vector<uint8_t* const*> pages;
  Rows(const Cache& cache, const std::vector<Span>& spans) {
    for (const Span& s : spans)
      for (int64_t i = 0; i < s.count; ++i) {
        positions.push_back(static_cast<int32_t>(s.first + i));
        pages.push_back(cache.pages(s.sequence));
      }
  }
  int64_t count() const { return static_cast<int64_t>(positions.size()); }
};

constexpr int kLayers = 2, kLayer = 1;
inline KvLayout layout_of(DType type, int kv_heads, int head_dim, int page_size, int value_dim = 0, bool latent = false) {
  return {type, kLayers, kv_heads, head_dim, page_size, value_dim, latent};
}
inline float score_scale(int dim) { return static_cast<float>(1.4426950408889634 / std::sqrt(double(dim))); }
inline float softmax_scale(int dim) { return static_cast<float>(1.0 / std::sqrt(double(dim))); }

// Fills every sequence from 0 to its length.
inline void fill(const KernelTable& table, Exec& exec, Cache& cache, const std::vector<int64_t>& lengths, const Floats& k,
                 const Floats& v) {
  std::vector<Span> spans;
  for (size_t s = 0; s < lengths.size(); ++s) spans.push_back({s, 0, lengths[s]});
  const Rows rows(cache, spans);
  table.kv_append(exec, {cache.layout(), kLayer, rows.count(), rows.positions.data(), rows.pages.data(), k.data(), v.data()});
}

struct Forward {
  Floats out, max, sum;
};
// With `k` and `v` the rows' own keys and values go into the cache first.
inline Forward attend(const KernelTable& t, Exec& exec, const Cache& cache, int q_heads, const std::vector<Span>& spans,
                      const Floats& q, const float* k = nullptr, const float* v = nullptr) {
  const Rows rows(cache, spans);
  const int dim = cache.layout().head_dim, v_dim = cache.layout().v_dim();
  const auto vectors = static_cast<size_t>(rows.count() * q_heads);
  Forward f{Floats(vectors * static_cast<size_t>(v_dim) + 5, -7.0f), Floats(vectors + 5, -7.0f), Floats(vectors + 5, -7.0f)};
  t.attention(exec, {cache.layout(), kLayer, q_heads, rows.count(), rows.positions.data(), rows.pages.data(), score_scale(dim),
                     q.data(), f.out.data(), f.max.data(), f.sum.data(), k, v});
  return f;
}

struct Backward {
  Floats dq, dk, dv;
};
struct Taped {
  std::vector<int64_t> lengths;
  std::vector<Span> spans;
  std::vector<int32_t> offsets = {0};
  int64_t rows = 0;
  explicit Taped(std::vector<int64_t> of) : lengths(std::move(of)) {
    for (size_t s = 0; s < lengths.size(); ++s) {
      spans.push_back({s, 0, lengths[s]});
      rows += lengths[s];
      offsets.push_back(static_cast<int32_t>(rows));
    }
  }
};

inline Backward attend_backward(const KernelTable& t, Exec& exec, const Cache& cache, int q_heads, const Taped& batch,
                                const Floats& q, const Forward& f, const Floats& dout) {
  const KvLayout& layout = cache.layout();
  const Rows rows(cache, batch.spans);
  const auto guarded = [](int64_t n) { return Floats(static_cast<size_t>(n) + 3, -7.0f); };
  Backward b{guarded(batch.rows * q_heads * layout.head_dim), guarded(batch.rows * layout.kv_heads * layout.head_dim),
             guarded(batch.rows * layout.kv_heads * layout.v_dim())};
  t.attention_backward(exec, {layout, kLayer, q_heads, static_cast<int64_t>(batch.lengths.size()), batch.offsets.data(),
                              rows.pages.data(), score_scale(layout.head_dim), softmax_scale(layout.head_dim), q.data(),
                              f.out.data(), f.max.data(), f.sum.data(), dout.data(), b.dq.data(), b.dk.data(), b.dv.data()});
  return b;
}

}  // namespace raison::testing
