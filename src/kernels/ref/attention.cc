// Attention over a paged KV cache. Exact definition: docs/numerics.md ("Attention").
#include "kernels/ref/common.h"

namespace raison::ref {
namespace {

// One KV head of one sequence in one layer.
struct HeadView {
  const KvLayout& layout;
  uint8_t* const* pages;
  int64_t offset;  // of this layer and head within a page

  float load(int64_t element, const uint8_t* base) const {
    if (layout.type == DType::F32) {
      float f;
      std::memcpy(&f, base + element * 4, 4);
      return f;
    }
    uint16_t h;
    std::memcpy(&h, base + element * 2, 2);
    return layout.type == DType::F16 ? f16_to_f32(h) : bf16_to_f32(h);
  }
  uint8_t* page(int64_t position) const { return pages[position / layout.page_size] + offset; }
  int64_t k_element(int64_t position, int d) const {
    const int64_t p = position % layout.page_size;
    return (p / 16 * layout.head_dim + d) * 16 + p % 16;
  }
  int64_t v_element(int64_t position, int d) const {
    if (layout.latent) return k_element(position, d);
    return int64_t{layout.page_size} * layout.head_dim + position % layout.page_size * layout.v_dim() + d;
  }
  float k(int64_t position, int d) const { return load(k_element(position, d), page(position)); }
  float v(int64_t position, int d) const { return load(v_element(position, d), page(position)); }
  void store(int64_t element, uint8_t* base, float x) const {
    if (layout.type == DType::F32) {
      std::memcpy(base + element * 4, &x, 4);
      return;
    }
    const uint16_t h = layout.type == DType::F16 ? f32_to_f16_saturate(x) : f32_to_bf16_saturate(x);
    std::memcpy(base + element * 2, &h, 2);
  }
};

// Keys and values that lie as rows of floats: those of an integer cache, rotated back.
struct FloatRows {
  const float *keys, *values;
  int dim, v_dim;
  bool latent;
  float k(int64_t position, int d) const { return keys[position * dim + d]; }
  float v(int64_t position, int d) const { return latent ? k(position, d) : values[position * v_dim + d]; }
};

HeadView head_view(const KvLayout& layout, uint8_t* const* pages, int layer, int64_t kv_head) {
  return {layout, pages, (int64_t{layer} * layout.kv_heads + kv_head) * layout.head_bytes()};
}

// Score in log2 units: the FMA chain over ascending d of k * (q * score_scale).
template <class View>
float score(const View& head, int dim, int64_t position, const float* q_scaled) {
  float s = 0;
  for (int d = 0; d < dim; ++d) s = std::fma(head.k(position, d), q_scaled[d], s);
  return s;
}

void attend_row(const AttentionArgs& a, int64_t row, int64_t h, float* q, float* t) {
  const int dim = a.layout.head_dim, v_dim = a.layout.v_dim();
  const HeadView head = head_view(a.layout, a.row_pages[row], a.layer, h / (a.q_heads / a.layout.kv_heads));
  float* out = a.out + (row * a.q_heads + h) * v_dim;  // holds O while merging
  for (int d = 0; d < dim; ++d) q[d] = a.q[(row * a.q_heads + h) * dim + d] * a.score_scale;
  float max_all = 0, sum_all = 0;
  const int64_t visible = int64_t{a.positions[row]} + 1;
  for (int64_t begin = 0; begin < visible; begin += kAttentionSplit) {
    const int64_t n = visible - begin < kAttentionSplit ? visible - begin : kAttentionSplit;
    float e[kAttentionSplit];
    float m = -INFINITY;
    for (int64_t j = 0; j < n; ++j) {
      e[j] = score(head, dim, begin + j, q);
      m = e[j] > m ? e[j] : m;
    }
    Tree16 l;
    for (int64_t j = 0; j < n; ++j) {
      e[j] = exp2_f32(e[j] - m);
      l.add(j, e[j]);
    }
    for (int d = 0; d < v_dim; ++d) {
      t[d] = 0;
      for (int64_t j = 0; j < n; ++j) t[d] = std::fma(e[j], head.v(begin + j, d), t[d]);
    }
    const float merged = begin == 0 ? m : (m > max_all ? m : max_all);
    const float c1 = begin == 0 ? 0.0f : exp2_f32(max_all - merged);
    const float c2 = exp2_f32(m - merged);
    sum_all = std::fma(l.sum(), c2, sum_all * c1);
    for (int d = 0; d < v_dim; ++d) out[d] = std::fma(t[d], c2, (begin == 0 ? 0.0f : out[d]) * c1);
    max_all = merged;
  }
  for (int d = 0; d < v_dim; ++d) out[d] = out[d] / sum_all;
  if (a.max_out) a.max_out[row * a.q_heads + h] = max_all;
  if (a.sum_out) a.sum_out[row * a.q_heads + h] = sum_all;
}

// One sequence, one KV head: queries ascending, heads of the group ascending within a query.
template <class View>
void backward_head(const AttentionBackwardArgs& a, const View& head, int64_t s, int64_t kv, float* p, float* ds, float* q) {
  const int dim = a.layout.head_dim, v_dim = a.layout.v_dim();
  const int group = a.q_heads / a.layout.kv_heads;
  const int64_t row0 = a.seq_offsets[s], rows = a.seq_offsets[s + 1] - row0;
  const auto dk_row = [&](int64_t j) { return a.dk + ((row0 + j) * a.layout.kv_heads + kv) * dim; };
  const auto dv_row = [&](int64_t j) { return a.dv + ((row0 + j) * a.layout.kv_heads + kv) * v_dim; };
  for (int64_t j = 0; j < rows; ++j) {
    for (int d = 0; d < dim; ++d) dk_row(j)[d] = 0;
    for (int d = 0; d < v_dim; ++d) dv_row(j)[d] = 0;
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      const int64_t at = (row0 + i) * a.q_heads + h;
      const float *q_row = a.q + at * dim, *dout = a.dout + at * v_dim, *out = a.out + at * v_dim;
      Tree16 tree;
      for (int d = 0; d < v_dim; ++d) tree.fma(d, dout[d], out[d]);
      for (int d = 0; d < dim; ++d) q[d] = q_row[d] * a.score_scale;
      const float dot = tree.sum(), inverse = 1.0f / a.sum_in[at];
      for (int64_t j = 0; j <= i; ++j) {
        const float x = score(head, dim, j, q) - a.max_in[at];  // above 0 only where M is of an integer cache's scores
        p[j] = exp2_f32(x > 1 ? 1 : x) * inverse;
        float dp = 0;
        for (int d = 0; d < v_dim; ++d) dp = std::fma(head.v(j, d), dout[d], dp);
        ds[j] = (p[j] * (dp - dot)) * a.scale;
        for (int d = 0; d < v_dim; ++d) dv_row(j)[d] = std::fma(p[j], dout[d], dv_row(j)[d]);
        for (int d = 0; d < dim; ++d) dk_row(j)[d] = std::fma(ds[j], q_row[d], dk_row(j)[d]);
      }
      for (int d = 0; d < dim; ++d) {
        float acc = 0;
        for (int64_t j = 0; j <= i; ++j) acc = std::fma(ds[j], head.k(j, d), acc);
        a.dq[at * dim + d] = acc;
      }
    }
  }
}
}  // namespace

void kv_append(Exec& exec, const KvAppendArgs& a) {
  if (a.layout.integer()) return kv_append_int(exec, a);
  const int dim = a.layout.head_dim, v_dim = a.layout.v_dim();
  parallel(exec, a.rows, [&](int64_t row, int) {
    for (int64_t h = 0; h < a.layout.kv_heads; ++h) {
      const HeadView head = head_view(a.layout, a.row_pages[row], a.layer, h);
      const int64_t position = a.positions[row], at = row * a.layout.kv_heads + h;
      uint8_t* page = head.page(position);
      for (int d = 0; d < dim; ++d) head.store(head.k_element(position, d), page, a.k[at * dim + d]);
      if (a.layout.latent) continue;
      for (int d = 0; d < v_dim; ++d) head.store(head.v_element(position, d), page, a.v[at * v_dim + d]);
    }
  });
}

void attention(Exec& exec, const AttentionArgs& a) {
  if (a.k) kv_append(exec, {a.layout, a.layer, a.rows, a.positions, a.row_pages, a.k, a.v});
  if (a.layout.integer()) return attention_int(exec, a);
  const auto dim = static_cast<size_t>(a.layout.head_dim), v_dim = static_cast<size_t>(a.layout.v_dim());
  parallel(exec, a.rows * a.q_heads, [&](int64_t item, int worker) {
    auto* buffer = static_cast<float*>(exec.scratch(worker, 0, (dim + v_dim) * sizeof(float)));
    attend_row(a, item / a.q_heads, item % a.q_heads, buffer, buffer + dim);
  });
}

void attention_backward(Exec& exec, const AttentionBackwardArgs& a) {
  const KvLayout& layout = a.layout;
  parallel(exec, a.sequences * layout.kv_heads, [&](int64_t item, int worker) {
    const int64_t s = item / layout.kv_heads, kv = item % layout.kv_heads, row0 = a.seq_offsets[s];
    const auto rows = static_cast<size_t>(a.seq_offsets[s + 1] - row0), dim = static_cast<size_t>(layout.head_dim);
    if (rows == 0) return;
    auto* buffer = static_cast<float*>(exec.scratch(worker, 0, (2 * rows + dim) * sizeof(float)));
    float *p = buffer, *ds = p + rows, *q = ds + rows;
    if (!layout.integer()) return backward_head(a, head_view(layout, a.row_pages[row0], a.layer, kv), s, kv, p, ds, q);
    const auto v_dim = static_cast<size_t>(layout.v_dim());
    auto* k = static_cast<float*>(exec.scratch(worker, 1, rows * (dim + v_dim) * sizeof(float)));
    float* v = k + rows * dim;
    dequantise_kv(layout, a.row_pages[row0], a.layer, kv, static_cast<int64_t>(rows), k, v);
    backward_head(a, FloatRows{k, v, layout.head_dim, layout.v_dim(), layout.latent}, s, kv, p, ds, q);
  });
}

}  // namespace raison::ref
