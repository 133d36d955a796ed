// What the ref kernels share. Plain scalar code, no ISA flags; std::fma is exact on any CPU.
#pragma once
#include <cmath>
#include <cstring>

#include "base/math.h"
#include "kernels/kernel_table.h"

namespace raison::ref {

// Calls f(item, worker) for each item on the Exec.
template <class F>
void parallel(Exec& exec, int64_t items, F f) {
  exec.run(
      items, [](void* arg, int64_t item, int worker) { (*static_cast<F*>(arg))(item, worker); }, &f);
}

// The fixed reduction: lane = index mod 16, then 8, 4, 2, 1.
struct Tree16 {
  float lane[16] = {};
  void fma(int64_t i, float a, float b) { lane[i % 16] = std::fma(a, b, lane[i % 16]); }
  void add(int64_t i, float a) { lane[i % 16] += a; }
  float sum() const {
    float t[16];
    std::memcpy(t, lane, sizeof t);
    for (int half = 8; half >= 1; half /= 2)
      for (int j = 0; j < half; ++j) t[j] += t[j + half];
    return t[0];
  }
};

// matmul of a block type (quants.cc).
void matmul_blocks(Exec&, const PackedView&, const float*, int64_t, int64_t, float*, int64_t);

void matmul(Exec&, const PackedView&, const float*, int64_t, int64_t, float*, int64_t);
void matmul_dx(Exec&, const PackedView&, const float*, int64_t, int64_t, float*, int64_t);
void matmul_dw(Exec&, const float*, int64_t, const float*, int64_t, int64_t, int64_t, int64_t, float*, bool);
void embedding(Exec&, const PackedView&, const int32_t*, int64_t, float*, int64_t);
void embedding_dw(Exec&, const int32_t*, const float*, int64_t, int64_t, int64_t, float*);
void kv_append(Exec&, const KvAppendArgs&);
void attention(Exec&, const AttentionArgs&);
void attention_backward(Exec&, const AttentionBackwardArgs&);

// Caches of integers (attention_int.cc).
void kv_append_int(Exec&, const KvAppendArgs&);
void attention_int(Exec&, const AttentionArgs&);
// Rows [0, rows) of one layer's KV head as floats, rotated back: k [rows][head_dim]; v [rows][v_dim], not written if latent.
void dequantise_kv(const KvLayout&, uint8_t* const* pages, int layer, int64_t kv_head, int64_t rows, float* k, float* v);

}  // namespace raison::ref
