// Attention over a paged KV cache of integers. Exact definition: docs/numerics.md (8, "Integer caches").
#include "kernels/ref/common.h"

namespace raison::ref {
namespace {

// The largest codes, and how far an integer sum goes before it becomes a float.
struct IntForm {
  int kv, q, p;
  int64_t dims, positions;
};
constexpr int kRope = 4095;  // the largest code of roped parts, keys' and queries'
IntForm form_of(const KvLayout& layout) {
  return layout.type == DType::I8 ? IntForm{127, 32512, 32767, 512, kAttentionSplit} : IntForm{4095, 8191, 8191, 64, 64};
}

// Walsh-Hadamard over n values, a power of two; its own inverse.
void rotate_row(float* x, int n) {
  for (int h = 1; h < n; h *= 2)
    for (int i = 0; i < n; ++i) {
      if ((i & h) != 0) continue;
      const float a = x[i], b = x[i + h];
      x[i] = a + b;
      x[i + h] = a - b;
    }
  const auto norm = static_cast<float>(1.0 / std::sqrt(static_cast<double>(n)));
  for (int i = 0; i < n; ++i) x[i] *= norm;
}

// What a largest magnitude gives: codes are RNE(x * factor), x is about code * scale.
struct Quantiser {
  float scale = 0, factor = 0;
  Quantiser(float largest, int most) {
    const float inverse = static_cast<float>(most) / largest;
    if (!(largest > 0) || std::isinf(inverse)) return;
    scale = largest / static_cast<float>(most);
    if (!std::isinf(largest)) factor = inverse;
  }
  int32_t code(float x) const { return factor == 0 ? 0 : static_cast<int32_t>(std::nearbyint(x * factor)); }
};
Quantiser quantise(const float* x, int n, int most, int32_t* codes) {
  float largest = 0;
  for (int i = 0; i < n; ++i) {
    const float size = std::isnan(x[i]) ? INFINITY : std::fabs(x[i]);
    largest = size > largest ? size : largest;
  }
  const Quantiser quantiser(largest, most);
  for (int i = 0; i < n; ++i) codes[i] = quantiser.code(x[i]);
  return quantiser;
}

// One KV head of one sequence in one layer.
struct IntView {
  const KvLayout& layout;
  uint8_t* const* pages;
  int64_t offset;  // of this layer and head within a page

  int64_t at(int64_t position) const { return position % layout.page_size; }
  uint8_t* page(int64_t position) const { return pages[position / layout.page_size] + offset; }
  // Codes in groups along the sum, 16 lanes side by side: the index of (lane, term) in a block of `terms`.
  int64_t grouped(int64_t lane, int64_t term, int64_t terms, int64_t group) const {
    return ((lane / 16 * (terms / group) + term / group) * 16 + lane % 16) * group + term % group;
  }
  int64_t group() const { return layout.type == DType::I8 ? 4 : 2; }
  int64_t key_index(int64_t position, int d) const { return grouped(at(position), d, layout.key_codes(), group()); }
  int64_t value_index(int64_t position, int d) const { return grouped(d, at(position), layout.page_size, group()); }
  int64_t rope_index(int64_t position, int d) const { return grouped(at(position), d, layout.roped(), 2); }

  static int32_t load16(const uint8_t* base, int64_t index) {
    int16_t code;
    std::memcpy(&code, base + 2 * index, 2);
    return code;
  }
  static void store16(uint8_t* base, int64_t index, int32_t code) {
    const auto narrow = static_cast<int16_t>(code);
    std::memcpy(base + 2 * index, &narrow, 2);
  }
  int32_t key(int64_t position, int d) const {
    const int64_t i = key_index(position, d);
    return layout.type == DType::I8 ? page(position)[i] - 128 : load16(page(position), i);
  }
  void put_key(int64_t position, int d, int32_t code) const {
    const int64_t i = key_index(position, d);
    if (layout.type == DType::I8) {
      page(position)[i] = static_cast<uint8_t>(code + 128);
    } else {
      store16(page(position), i, code);
    }
  }
  int32_t value(int64_t position, int d) const {
    if (layout.latent) return key(position, d);
    const uint8_t* base = page(position) + layout.value_offset();
    const int64_t i = value_index(position, d);
    return layout.type == DType::I8 ? static_cast<int8_t>(base[i]) : load16(base, i);
  }
  void put_value(int64_t position, int d, int32_t code) const {
    uint8_t* base = page(position) + layout.value_offset();
    const int64_t i = value_index(position, d);
    if (layout.type == DType::I8) {
      base[i] = static_cast<uint8_t>(code);
    } else {
      store16(base, i, code);
    }
  }
  int32_t rope(int64_t position, int d) const { return load16(page(position) + layout.rope_offset(), rope_index(position, d)); }
  void put_rope(int64_t position, int d, int32_t code) const {
    store16(page(position) + layout.rope_offset(), rope_index(position, d), code);
  }
  // 0: of the keys; 1: of the values or, if latent, of the roped parts.
  float scale(int64_t position, int which) const {
    float f;
    std::memcpy(&f, page(position) + layout.scale_offset() + (which * layout.page_size + at(position)) * 4, 4);
    return f;
  }
  void put_scale(int64_t position, int which, float f) const {
    std::memcpy(page(position) + layout.scale_offset() + (which * layout.page_size + at(position)) * 4, &f, 4);
  }
  float value_scale(int64_t position) const { return scale(position, layout.latent ? 0 : 1); }
};

IntView int_view(const KvLayout& layout, uint8_t* const* pages, int layer, int64_t kv_head) {
  return {layout, pages, (int64_t{layer} * layout.kv_heads + kv_head) * layout.head_bytes()};
}

// One query vector as codes: rotated values, then the roped part.
struct IntQuery {
  int32_t* codes;  // [head_dim]
  float scale, rope_scale;
};
IntQuery quantise_query(const KvLayout& layout, const float* q, float score_scale, float* row, int32_t* codes) {
  const int n = layout.key_codes();
  for (int d = 0; d < layout.head_dim; ++d) row[d] = q[d] * score_scale;
  rotate_row(row, n);
  IntQuery out{codes, 0, 0};
  out.scale = quantise(row, n, form_of(layout).q, codes).scale;
  if (layout.latent) out.rope_scale = quantise(row + n, layout.roped(), kRope, codes + n).scale;
  return out;
}

// In log2 units; without the query's scale unless latent.
float int_score(const IntView& view, int64_t j, const IntQuery& q) {
  const KvLayout& layout = view.layout;
  const int n = layout.key_codes();
  const int64_t run = form_of(layout).dims;
  float s = 0;
  for (int64_t begin = 0; begin < n; begin += run) {
    int64_t sum = 0;
    for (auto d = static_cast<int>(begin); d < n && d < begin + run; ++d) sum += int64_t{view.key(j, d)} * q.codes[d];
    s = s + static_cast<float>(sum);
  }
  s = s * view.scale(j, 0);
  if (!layout.latent) return s;
  int64_t sum = 0;
  for (int d = 0; d < layout.roped(); ++d) sum += int64_t{view.rope(j, d)} * q.codes[n + d];
  return std::fma(static_cast<float>(sum), view.scale(j, 1) * q.rope_scale, s * q.scale);
}

void attend_row_int(const AttentionArgs& a, int64_t row, int64_t h, float* q_row, int32_t* q_codes) {
  const KvLayout& layout = a.layout;
  const IntForm form = form_of(layout);
  const int v_dim = layout.v_dim();
  const IntView view = int_view(layout, a.row_pages[row], a.layer, h / (a.q_heads / layout.kv_heads));
  const int64_t at = row * a.q_heads + h, visible = int64_t{a.positions[row]} + 1;
  const IntQuery q = quantise_query(layout, a.q + at * layout.head_dim, a.score_scale, q_row, q_codes);
  const float unit = layout.latent ? 1.0f : q.scale;
  float* out = a.out + at * v_dim;  // holds O while merging
  float max_all = 0, sum_all = 0;
  for (int64_t begin = 0; begin < visible; begin += kAttentionSplit) {
    const int64_t n = visible - begin < kAttentionSplit ? visible - begin : kAttentionSplit;
    float e[kAttentionSplit];
    int32_t p[kAttentionSplit];
    float m = -INFINITY, largest = 0;
    for (int64_t j = 0; j < n; ++j) {
      e[j] = int_score(view, begin + j, q);
      m = e[j] > m ? e[j] : m;
    }
    m = m * unit;
    Tree16 l;
    for (int64_t j = 0; j < n; ++j) {
      const float x = std::fma(e[j], unit, -m);
      e[j] = exp2_f32(x > 1 ? 1 : x);  // what m's rounding leaves is above 1 where m is beyond 2^24
      l.add(j, e[j]);
      e[j] = e[j] * view.value_scale(begin + j);
      largest = e[j] > largest ? e[j] : largest;
    }
    const Quantiser quantiser(largest, form.p);
    for (int64_t j = 0; j < n; ++j) p[j] = quantiser.code(e[j]);
    const float merged = begin == 0 ? m : (m > max_all ? m : max_all);
    const float c1 = begin == 0 ? 0.0f : exp2_f32(max_all - merged);
    float c2 = exp2_f32(m - merged);
    sum_all = std::fma(l.sum(), c2, sum_all * c1);
    c2 = c2 * (largest * (1.0f / static_cast<float>(form.p)));
    for (int d = 0; d < v_dim; ++d) {
      float t = 0;
      for (int64_t first = 0; first < n; first += form.positions) {
        int64_t sum = 0;
        for (int64_t j = first; j < n && j < first + form.positions; ++j) sum += int64_t{p[j]} * view.value(begin + j, d);
        t = t + static_cast<float>(sum);
      }
      out[d] = std::fma(t, c2, (begin == 0 ? 0.0f : out[d]) * c1);
    }
    max_all = merged;
  }
  for (int d = 0; d < v_dim; ++d) out[d] = out[d] / sum_all;
  rotate_row(out, v_dim);
  if (a.max_out) a.max_out[at] = max_all;
  if (a.sum_out) a.sum_out[at] = sum_all;
}
}  // namespace

void kv_append_int(Exec& exec, const KvAppendArgs& a) {
  const KvLayout& layout = a.layout;
  const IntForm form = form_of(layout);
  const int dim = layout.head_dim, v_dim = layout.v_dim(), n = layout.key_codes();
  const auto widest = static_cast<size_t>(dim > v_dim ? dim : v_dim);
  parallel(exec, a.rows, [&](int64_t row, int worker) {
    auto* x = static_cast<float*>(exec.scratch(worker, 0, widest * 8));
    auto* codes = reinterpret_cast<int32_t*>(x + widest);
    for (int64_t h = 0; h < layout.kv_heads; ++h) {
      const IntView view = int_view(layout, a.row_pages[row], a.layer, h);
      const int64_t position = a.positions[row], at = row * layout.kv_heads + h;
      std::memcpy(x, a.k + at * dim, static_cast<size_t>(dim) * 4);
      rotate_row(x, n);
      view.put_scale(position, 0, quantise(x, n, form.kv, codes).scale);
      for (int d = 0; d < n; ++d) view.put_key(position, d, codes[d]);
      if (layout.latent) {
        view.put_scale(position, 1, quantise(x + n, layout.roped(), kRope, codes).scale);
        for (int d = 0; d < layout.roped(); ++d) view.put_rope(position, d, codes[d]);
        continue;
      }
      std::memcpy(x, a.v + at * v_dim, static_cast<size_t>(v_dim) * 4);
      rotate_row(x, v_dim);
      view.put_scale(position, 1, quantise(x, v_dim, form.kv, codes).scale);
      for (int d = 0; d < v_dim; ++d) view.put_value(position, d, codes[d]);
    }
  });
}

void attention_int(Exec& exec, const AttentionArgs& a) {
  const auto dim = static_cast<size_t>(a.layout.head_dim);
  parallel(exec, a.rows * a.q_heads, [&](int64_t item, int worker) {
    auto* buffer = static_cast<float*>(exec.scratch(worker, 0, dim * 8));
    attend_row_int(a, item / a.q_heads, item % a.q_heads, buffer, reinterpret_cast<int32_t*>(buffer + dim));
  });
}

void dequantise_kv(const KvLayout& layout, uint8_t* const* pages, int layer, int64_t kv_head, int64_t rows, float* k,
                   float* v) {
  const IntView view = int_view(layout, pages, layer, kv_head);
  const int n = layout.key_codes();
  for (int64_t j = 0; j < rows; ++j, k += layout.head_dim) {
    for (int d = 0; d < n; ++d) k[d] = static_cast<float>(view.key(j, d)) * view.scale(j, 0);
    rotate_row(k, n);
    for (int d = 0; d < layout.roped(); ++d) k[n + d] = static_cast<float>(view.rope(j, d)) * view.scale(j, 1);
    if (layout.latent) continue;
    for (int d = 0; d < layout.v_dim(); ++d) v[d] = static_cast<float>(view.value(j, d)) * view.scale(j, 1);
    rotate_row(v, layout.v_dim());
    v += layout.v_dim();
  }
}

}  // namespace raison::ref
