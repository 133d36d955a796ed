// Norms, RoPE, activations, softmax, log-probabilities, optimiser: the scalar meaning of each, and the ref table.
#include "kernels/ref/common.h"

namespace raison::ref {
namespace {

constexpr int64_t kChunk = 4096;  // elements an item of an elementwise kernel takes

template <class F>
void elementwise(Exec& exec, int64_t n, F f) {
  parallel(exec, (n + kChunk - 1) / kChunk, [&](int64_t c, int) {
    const int64_t end = (c + 1) * kChunk < n ? (c + 1) * kChunk : n;
    for (int64_t i = c * kChunk; i < end; ++i) f(i);
  });
}

void rms_norm(Exec& exec, const float* x, const float* w, float eps, int64_t rows, int64_t dim, float* y, float* rstd) {
  parallel(exec, rows, [&](int64_t r, int) {
    const float* in = x + r * dim;
    Tree16 t;
    for (int64_t i = 0; i < dim; ++i) t.fma(i, in[i], in[i]);
    const float s = 1.0f / std::sqrt(t.sum() / static_cast<float>(dim) + eps);
    for (int64_t i = 0; i < dim; ++i) y[r * dim + i] = (in[i] * s) * w[i];
    if (rstd) rstd[r] = s;
  });
}

void rms_norm_backward(Exec& exec, const float* x, const float* w, const float* rstd, const float* dy, int64_t rows,
                       int64_t dim, float* dx, float* dw) {
  parallel(exec, rows, [&](int64_t r, int) {
    const float *in = x + r * dim, *g = dy + r * dim;
    Tree16 t;
    for (int64_t i = 0; i < dim; ++i) t.fma(i, g[i] * w[i], in[i]);
    const float s = rstd[r];
    const float c = ((s * s) * s) * (t.sum() / static_cast<float>(dim));
    for (int64_t i = 0; i < dim; ++i) dx[r * dim + i] = std::fma(g[i] * w[i], s, -(in[i] * c));
  });
  if (!dw) return;
  parallel(exec, dim, [&](int64_t i, int) {
    for (int64_t r = 0; r < rows; ++r) dw[i] = std::fma(dy[r * dim + i], x[r * dim + i] * rstd[r], dw[i]);
  });
}

void rope(Exec& exec, const float* x, const float* cos, const float* sin, int64_t rows, int heads, int head_dim, int rot,
          bool interleaved, bool inverse, float* y) {
  const int half = rot / 2;
  parallel(exec, rows, [&](int64_t r, int) {
    for (int h = 0; h < heads; ++h) {
      const float* in = x + (r * heads + h) * head_dim;
      float* out = y + (r * heads + h) * head_dim;
      for (int i = 0; i < half; ++i) {
        const int a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + half;
        const float c = cos[r * half + i], s = inverse ? -sin[r * half + i] : sin[r * half + i];
        const float x0 = in[a], x1 = in[b];
        out[a] = std::fma(x0, c, -(x1 * s));
        out[b] = std::fma(x1, c, x0 * s);
      }
      for (int i = rot; i < head_dim; ++i) out[i] = in[i];
    }
  });
}

float sigmoid(float g) { return 1.0f / (1.0f + exp_f32(-g)); }

void silu_mul(Exec& exec, const float* g, const float* u, int64_t n, float* y) {
  elementwise(exec, n, [&](int64_t i) { y[i] = (g[i] * sigmoid(g[i])) * u[i]; });
}

void silu_mul_backward(Exec& exec, const float* g, const float* u, const float* dy, int64_t n, float* dg, float* du) {
  elementwise(exec, n, [&](int64_t i) {
    const float s = sigmoid(g[i]), d = dy[i];
    const float slope = s * std::fma(g[i], 1.0f - s, 1.0f);
    const float ui = u[i];
    du[i] = d * (g[i] * s);
    dg[i] = (d * ui) * slope;
  });
}

void add(Exec& exec, const float* a, const float* b, int64_t n, float* y) {
  elementwise(exec, n, [&](int64_t i) { y[i] = a[i] + b[i]; });
}

void scale(Exec& exec, float* x, float s, int64_t n) {
  elementwise(exec, n, [&](int64_t i) { x[i] *= s; });
}

void add_bias(Exec& exec, float* y, const float* bias, int64_t rows, int64_t dim) {
  parallel(exec, rows, [&](int64_t r, int) {
    for (int64_t i = 0; i < dim; ++i) y[r * dim + i] += bias[i];
  });
}

void bias_backward(Exec& exec, const float* dy, int64_t rows, int64_t dim, float* dbias) {
  parallel(exec, dim, [&](int64_t i, int) {
    for (int64_t r = 0; r < rows; ++r) dbias[i] += dy[r * dim + i];
  });
}

float row_max(const float* x, int64_t n) {
  float m = -INFINITY;
  for (int64_t i = 0; i < n; ++i) m = x[i] > m ? x[i] : m;
  return m;
}

void softmax(Exec& exec, const float* x, int64_t rows, int64_t n, float* y) {
  parallel(exec, rows, [&](int64_t r, int) {
    const float m = row_max(x + r * n, n);
    Tree16 t;
    for (int64_t i = 0; i < n; ++i) t.add(i, y[r * n + i] = exp_f32(x[r * n + i] - m));
    const float inverse = 1.0f / t.sum();
    for (int64_t i = 0; i < n; ++i) y[r * n + i] = y[r * n + i] * inverse;
  });
}

void softmax_backward(Exec& exec, const float* y, const float* dy, int64_t rows, int64_t n, float* dx) {
  parallel(exec, rows, [&](int64_t r, int) {
    Tree16 t;
    for (int64_t i = 0; i < n; ++i) t.fma(i, dy[r * n + i], y[r * n + i]);
    const float dot = t.sum();
    for (int64_t i = 0; i < n; ++i) dx[r * n + i] = y[r * n + i] * (dy[r * n + i] - dot);
  });
}

void scatter_rows(Exec& exec, const float* x, const int32_t* rows, const float* w, int64_t n, int64_t dim, float* y) {
  parallel(exec, n, [&](int64_t r, int) {
    float* out = y + rows[r] * dim;
    for (int64_t i = 0; i < dim; ++i) out[i] = std::fma(w[r], x[r * dim + i], out[i]);
  });
}

void scatter_rows_backward(Exec& exec, const float* x, const int32_t* rows, const float* w, int64_t n, int64_t dim,
                           const float* dy, float* dx, float* dw) {
  parallel(exec, n, [&](int64_t r, int) {
    const float* g = dy + rows[r] * dim;
    Tree16 t;
    for (int64_t i = 0; i < dim; ++i) {
      dx[r * dim + i] = w[r] * g[i];
      t.fma(i, g[i], x[r * dim + i]);
    }
    dw[r] = t.sum();
  });
}

void logprob_rows(Exec& exec, const float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets,
                  float temperature, float* logprob, float* max_out, float* sum_out) {
  parallel(exec, rows, [&](int64_t r, int) {
    const float* z = logits + r * ld;
    float m = -INFINITY;
    for (int64_t i = 0; i < vocab; ++i) {
      const float y = z[i] / temperature;
      m = y > m ? y : m;
    }
    Tree16 t;
    for (int64_t i = 0; i < vocab; ++i) t.add(i, exp_f32(z[i] / temperature - m));
    const float s = t.sum();
    logprob[r] = targets[r] < 0 ? 0.0f : (z[targets[r]] / temperature - m) - log_f32(s);
    if (max_out) max_out[r] = m;
    if (sum_out) sum_out[r] = s;
  });
}

void logprob_rows_backward(Exec& exec, float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets,
                           float temperature, const float* max_in, const float* sum_in, const float* dlogprob) {
  parallel(exec, rows, [&](int64_t r, int) {
    float* z = logits + r * ld;
    const float g = dlogprob[r] / temperature, inverse = 1.0f / sum_in[r];
    for (int64_t i = 0; i < vocab; ++i) {
      const float p = exp_f32(z[i] / temperature - max_in[r]) * inverse;
      z[i] = targets[r] < 0 ? 0.0f : i == targets[r] ? g * (1.0f - p) : -(g * p);
    }
  });
}

void adamw(Exec& exec, const AdamWArgs& a) {
  elementwise(exec, a.n, [&](int64_t i) {
    const float g = a.g[i];
    const float p = a.p[i] * a.decay;
    const float m = std::fma(g - a.m[i], a.one_minus_b1, a.m[i]);
    const float v = std::fma(g * g, a.one_minus_b2, a.v[i] * a.b2);
    a.m[i] = m;
    a.v[i] = v;
    a.p[i] = p - a.step_size * (m / (std::sqrt(v) / a.inv_sqrt_c2 + a.eps));
  });
}

double sum_squares(Exec& exec, const float* x, int64_t n) {
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  double total = 0;
  constexpr int64_t kBatch = 1024;  // chunk sums kept at once
  float sums[kBatch];
  for (int64_t first = 0; first < chunks; first += kBatch) {
    const int64_t count = chunks - first < kBatch ? chunks - first : kBatch;
    parallel(exec, count, [&](int64_t c, int) {
      const int64_t begin = (first + c) * kChunk, end = begin + kChunk < n ? begin + kChunk : n;
      Tree16 t;
      for (int64_t i = begin; i < end; ++i) t.fma(i - begin, x[i], x[i]);
      sums[c] = t.sum();
    });
    for (int64_t c = 0; c < count; ++c) total += static_cast<double>(sums[c]);
  }
  return total;
}

const KernelTable kTable = {
    .name = "ref",
    .matmul = matmul,
    .matmul_dx = matmul_dx,
    .matmul_dw = matmul_dw,
    .embedding = embedding,
    .embedding_dw = embedding_dw,
    .rms_norm = rms_norm,
    .rms_norm_backward = rms_norm_backward,
    .rope = rope,
    .silu_mul = silu_mul,
    .silu_mul_backward = silu_mul_backward,
    .add = add,
    .scale = scale,
    .add_bias = add_bias,
    .bias_backward = bias_backward,
    .softmax = softmax,
    .softmax_backward = softmax_backward,
    .scatter_rows = scatter_rows,
    .scatter_rows_backward = scatter_rows_backward,
    .kv_append = kv_append,
    .attention = attention,
    .attention_backward = attention_backward,
    .logprob_rows = logprob_rows,
    .logprob_rows_backward = logprob_rows_backward,
    .adamw = adamw,
    .sum_squares = sum_squares,
};
}  // namespace
}  // namespace raison::ref

namespace raison {
const KernelTable& ref_kernels() { return ref::kTable; }
}  // namespace raison
