// docs/numerics.md, written down once more from the page alone, straight and slow: ref must have its bits. The other tests tie
// the vector tables to ref; this one ties ref to the page.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/math.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "kernels/tables.h"
#include "kernels/weights.h"

namespace raison {
namespace {

using Floats = std::vector<float>;
constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

Floats values(size_t n, uint64_t seed, float scale = 1.0f) {
  Rng rng(seed, 6);
  Floats out(n);
  for (float& v : out) v = static_cast<float>(rng.normal()) * scale * (rng.below(10) == 0 ? 30.0f : 1.0f);
  return out;
}

::testing::AssertionResult same_bits(const Floats& got, const Floats& page) {
  if (got.size() != page.size()) return ::testing::AssertionFailure() << "sizes " << got.size() << " and " << page.size();
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(got[i]) && std::isnan(page[i])) continue;  // section 12: some NaN
    if (std::memcmp(&got[i], &page[i], 4) != 0)
      return ::testing::AssertionFailure() << "at " << i << " ref has " << got[i] << ", the page " << page[i];
  }
  return ::testing::AssertionSuccess();
}

// ---- section 1 ----

float folded(Floats lanes) {
  while (lanes.size() > 1) {
    const size_t half = lanes.size() / 2;
    for (size_t j = 0; j < half; ++j) lanes[j] += lanes[j + half];
    lanes.resize(half);
  }
  return lanes[0];
}
float tree16_of_products(const float* a, const float* b, size_t n) {
  Floats lanes;
  for (size_t lane = 0; lane < 16; ++lane) {
    float sum = 0.0f;
    for (size_t i = lane; i < n; i += 16) sum = std::fma(a[i], b[i], sum);
    lanes.push_back(sum);
  }
  return folded(lanes);
}
float tree16_of_terms(const Floats& terms) {
  Floats lanes;
  for (size_t lane = 0; lane < 16; ++lane) {
    float sum = 0.0f;
    for (size_t i = lane; i < terms.size(); i += 16) sum = sum + terms[i];
    lanes.push_back(sum);
  }
  return folded(lanes);
}
float maximum(const Floats& x) {
  float m = -kInf;
  for (float v : x)
    if (v > m) m = v;
  return m;
}

// ---- section 2 ----

float horner(float r, std::initializer_list<float> highest_first) {
  float p = *highest_first.begin();
  for (const float* c = highest_first.begin() + 1; c != highest_first.end(); ++c) p = std::fma(p, r, *c);
  return p;
}
float with_exponent(float p, float z) {
  uint32_t a, b;
  std::memcpy(&a, &p, 4);
  std::memcpy(&b, &z, 4);
  a += b << 23;
  std::memcpy(&p, &a, 4);
  return p;
}
float exp2_of(float x) {
  if (!(x > -100.0f)) x = -100.0f;
  const float z = x + 12582912.0f, r = x - (z - 12582912.0f);
  return with_exponent(horner(r, {0x1.5ec866p-10f, 0x1.3cbf60p-7f, 0x1.c6afeep-5f, 0x1.ebfa4cp-3f, 0x1.62e430p-1f, 1.0f}), z);
}
float exp_of(float x) {
  if (std::isnan(x)) return x;
  if (x < -87.0f) return 0.0f;
  if (x > 88.0f) return kInf;
  const float z = std::fma(x, 0x1.715476p+0f, 12582912.0f), n = z - 12582912.0f;
  const float r = std::fma(n, -0x1.7f7d1cp-20f, std::fma(n, -0x1.62e400p-1f, x));
  return with_exponent(horner(r, {0x1.6d110ep-10f, 0x1.120b72p-7f, 0x1.55551ap-5f, 0x1.5554dcp-3f, 0.5f, 1.0f, 1.0f}), z);
}

TEST(NumericsPage, ElementaryFunctions) {
  Rng rng(1, 7);
  for (int i = 0; i < 200000; ++i) {
    const float x = static_cast<float>(rng.normal() * 40), negative = -std::fabs(x) * 2;
    ASSERT_TRUE(same_bits({exp_f32(x), exp2_f32(negative)}, {exp_of(x), exp2_of(negative)})) << x;
  }
  for (float x : {0.0f, -0.0f, -87.0f, 88.0f, std::nextafter(88.0f, 99.0f), std::nextafter(-87.0f, -99.0f), kInf, -kInf, kNan})
    EXPECT_TRUE(same_bits({exp_f32(x)}, {exp_of(x)})) << x;
  for (float x : {0.0f, -0.0f, -0.5f, -99.9f, -100.0f, -1e30f, -kInf, kNan})
    EXPECT_TRUE(same_bits({exp2_f32(x)}, {exp2_of(x)})) << x;
}

// ---- sections 1, 4, 7 ----

TEST(NumericsPage, RmsNorm) {
  ThreadPool exec(1);
  for (size_t dim : {1, 2, 15, 16, 17, 31, 100, 896}) {
    constexpr size_t rows = 3;
    const Floats x = values(rows * dim, 1), w = values(dim, 2), dy = values(rows * dim, 3);
    Floats y, rstd, dx, dw = values(dim, 4);
    Floats got_y(rows * dim), got_rstd(rows), got_dx(rows * dim), got_dw = dw;
    for (size_t r = 0; r < rows; ++r) {
      const float s = tree16_of_products(&x[r * dim], &x[r * dim], dim);
      rstd.push_back(1.0f / std::sqrt(s / static_cast<float>(dim) + 1e-5f));
      Floats g;
      for (size_t i = 0; i < dim; ++i) {
        y.push_back((x[r * dim + i] * rstd[r]) * w[i]);
        g.push_back(dy[r * dim + i] * w[i]);
      }
      const float mean = tree16_of_products(g.data(), &x[r * dim], dim) / static_cast<float>(dim);
      const float c = ((rstd[r] * rstd[r]) * rstd[r]) * mean;
      for (size_t i = 0; i < dim; ++i) {
        const float xc = x[r * dim + i] * c, xr = x[r * dim + i] * rstd[r];
        dx.push_back(std::fma(g[i], rstd[r], -xc));
        dw[i] = std::fma(dy[r * dim + i], xr, dw[i]);
      }
    }
    const auto n = static_cast<int64_t>(dim);
    ref_kernels().rms_norm(exec, x.data(), w.data(), 1e-5f, rows, n, got_y.data(), got_rstd.data());
    ref_kernels().rms_norm_backward(exec, x.data(), w.data(), rstd.data(), dy.data(), rows, n, got_dx.data(), got_dw.data());
    EXPECT_TRUE(same_bits(got_y, y)) << "y, dim " << dim;
    EXPECT_TRUE(same_bits(got_rstd, rstd)) << "rstd, dim " << dim;
    EXPECT_TRUE(same_bits(got_dx, dx)) << "dx, dim " << dim;
    EXPECT_TRUE(same_bits(got_dw, dw)) << "dw, dim " << dim;
  }
}

TEST(NumericsPage, Softmax) {
  ThreadPool exec(1);
  for (size_t n : {1, 5, 16, 18, 47, 333}) {
    for (int kind = 0; kind < 4; ++kind) {
      Floats x = values(n, 10 + n, 3.0f);
      if (kind == 1) x[n / 2] = -kInf;
      if (kind == 2) x[n / 2] = kNan;
      if (kind == 3)
        for (size_t i = 0; i < n; ++i) x[i] = i % 2 != 0 ? 0.0f : -0.0f;
      const Floats dy = values(n, 20 + n);
      const float m = maximum(x);
      Floats e, y, dx, got_y(n), got_dx(n);
      for (float v : x) e.push_back(exp_of(v - m));
      const float inverse = 1.0f / tree16_of_terms(e);
      for (float v : e) y.push_back(v * inverse);
      const float dot = tree16_of_products(dy.data(), y.data(), n);
      for (size_t i = 0; i < n; ++i) dx.push_back(y[i] * (dy[i] - dot));
      ref_kernels().softmax(exec, x.data(), 1, static_cast<int64_t>(n), got_y.data());
      ref_kernels().softmax_backward(exec, y.data(), dy.data(), 1, static_cast<int64_t>(n), got_dx.data());
      EXPECT_TRUE(same_bits(got_y, y)) << "n " << n << " kind " << kind;
      EXPECT_TRUE(same_bits(got_dx, dx)) << "dx, n " << n << " kind " << kind;
    }
  }
}

TEST(NumericsPage, SumOfSquares) {
  ThreadPool exec(1);
  for (size_t n : {1, 17, 4096, 4097, 4096 * 3 + 21}) {
    const Floats x = values(n, 30);
    double total = 0;
    for (size_t begin = 0; begin < n; begin += 4096)
      total += tree16_of_products(&x[begin], &x[begin], std::min<size_t>(4096, n - begin));
    EXPECT_EQ(ref_kernels().sum_squares(exec, x.data(), static_cast<int64_t>(n)), total) << n;
  }
}

// ---- section 3 ----

float to_nearest_even(float v) {
  const float below = std::floor(v), rest = v - below;
  if (rest != 0.5f) return rest < 0.5f ? below : below + 1;
  return std::fmod(below, 2.0f) == 0.0f ? below : below + 1;
}

struct Quantised {
  float scale = 0.0f;
  std::vector<int> codes;
};
Quantised quant(const float* x, size_t n) {
  Floats sizes;
  for (size_t i = 0; i < n; ++i) sizes.push_back(std::fabs(x[i]));
  const float a = maximum(sizes);
  Quantised q;
  q.codes.resize(n);
  if (!(a > 0.0f) || std::isinf(127.0f / a)) return q;
  q.scale = a / 127.0f;
  for (size_t i = 0; i < n; ++i) {
    const float v = x[i] * (127.0f / a);
    q.codes[i] = std::isnan(v) ? 0 : v > 127.0f ? 127 : v < -127.0f ? -127 : static_cast<int>(to_nearest_even(v));
  }
  return q;
}

// The table of section 3 by way of dequantize_row: with d = 1 and no minima, a block's values are s * code, and with d = 0 they
// are the minima. In the unit in which the table counts (IQ1, IQ2: 1/8, IQ3_XXS: 1/4) they are integers.
struct PageBlock {
  std::vector<int> products, minima;  // s * code; s_min
  float d, m;
};
float unit_of(DType type) {
  const std::string name = dtype_name(type);
  return name.rfind("IQ1", 0) == 0 || name.rfind("IQ2", 0) == 0 ? 8.0f : name == "IQ3_XXS" ? 4.0f : 1.0f;
}
PageBlock page_block(DType type, std::vector<uint8_t> raw) {
  const size_t n = static_cast<size_t>(dtype_info(type).block_elements);
  const uint16_t minus_one = f32_to_f16(-1.0f);
  const float unit = unit_of(type);
  PageBlock b = {};
  Floats values(n);
  const auto at = testing::scale_places(type);
  const auto f16 = [&](int place) {
    uint16_t h;
    std::memcpy(&h, &raw[static_cast<size_t>(place)], 2);
    return f16_to_f32(h);
  };
  if (type == DType::MXFP4) {
    b.d = static_cast<float>(std::pow(2.0, raw[0] - 128));
  } else if (type == DType::IQ1_M) {
    int bits = 0;
    for (int i = 3; i >= 0; --i) bits = bits * 16 + raw[static_cast<size_t>(49 + 2 * i)] / 16;
    b.d = f16_to_f32(static_cast<uint16_t>(bits)) / unit;
  } else {
    b.d = f16(at.d) / unit;
  }
  if (at.m >= 0) b.m = f16(at.m);
  testing::set_scales(type, raw.data(), testing::unit_scale(type), 0);
  dequantize_row(type, raw.data(), values.data(), static_cast<int64_t>(n));
  for (float v : values) b.products.push_back(static_cast<int>(v * unit));
  for (size_t i = 0; i < n; ++i) EXPECT_EQ(static_cast<float>(b.products[i]), values[i] * unit) << dtype_name(type);
  if (n == 256 && at.m >= 0) {
    testing::set_scales(type, raw.data(), 0, minus_one);
    dequantize_row(type, raw.data(), values.data(), static_cast<int64_t>(n));
    for (float v : values) b.minima.push_back(static_cast<int>(v));
  }
  return b;
}

float page_dot(const PageBlock& b, const Quantised& x) {
  int64_t total = 0, mins = 0, sum = 0;
  for (size_t i = 0; i < x.codes.size(); ++i) {
    total += int64_t{b.products[i]} * x.codes[i];
    sum += x.codes[i];
    if (!b.minima.empty()) mins += int64_t{b.minima[i]} * x.codes[i];
  }
  EXPECT_LT(std::abs(total), int64_t{1} << 27);
  const float t = b.d * static_cast<float>(total);
  if (!b.minima.empty()) return std::fma(-b.m, static_cast<float>(mins), t);
  if (b.m != 0.0f) return std::fma(b.m, static_cast<float>(sum), t);
  return t;
}

class NumericsPageOf : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Types, NumericsPageOf, ::testing::ValuesIn(testing::block_types()),
                         [](const auto& type) { return std::string(dtype_name(type.param)); });

TEST_P(NumericsPageOf, MatmulWithBlocks) {
  const DType type = GetParam();
  const DTypeInfo& info = dtype_info(type);
  const size_t width = static_cast<size_t>(info.block_elements), block_bytes = static_cast<size_t>(info.block_bytes);
  const size_t n = 35, blocks = 3, k = blocks * width;
  const std::vector<uint8_t> raw = testing::random_rows(type, n, static_cast<int64_t>(k), 90);
  const auto w = PackedWeight::pack(type, n, static_cast<int64_t>(k), raw.data());
  ASSERT_TRUE(w.ok());
  ThreadPool exec(1);
  for (uint64_t c = 0; c < 6; ++c) {
    Floats x = values(k, 91 + c, c % 2 != 0 ? 1.0f : 1e-20f);
    if (c == 2) std::fill_n(x.begin() + static_cast<int64_t>(width), width, 0.0f);
    if (c == 3) x[5] = kNan;
    if (c == 4) std::fill_n(x.begin(), width, 127.0f);  // all codes at the end
    if (c == 5) std::fill_n(x.begin(), width, -3e38f);
    Floats page, got(n);
    for (size_t row = 0; row < n; ++row) {
      float acc = 0.0f;
      for (size_t b = 0; b < blocks; ++b) {
        const auto first = raw.begin() + static_cast<int64_t>((row * blocks + b) * block_bytes);
        const Quantised q = quant(&x[b * width], width);
        acc = std::fma(q.scale, page_dot(page_block(type, {first, first + info.block_bytes}), q), acc);
      }
      page.push_back(acc);
    }
    ref_kernels().matmul(exec, w->view(), x.data(), static_cast<int64_t>(k), 1, got.data(), n);
    EXPECT_TRUE(same_bits(got, page)) << "input " << c;
  }
}

TEST(NumericsPage, MatmulWithFp8Weights) {
  constexpr size_t n = 150, k = 140, rows = 2;
  Rng rng(44, 8);
  std::vector<uint8_t> codes(n * k);
  for (uint8_t& code : codes) code = static_cast<uint8_t>(rng.below(256));
  const float scales[] = {0.3f, -0.001f, 1e-39f, 0x1p121f};  // 448 times the last is near the end of fp32
  for (size_t i = 0; i < codes.size(); ++i)
    if (codes[i] % 128 == 127) codes[i] = 1;
  const auto w = PackedWeight::pack_fp8(n, k, codes.data(), scales);
  ASSERT_TRUE(w.ok());
  const Floats x = values(rows * k, 95);
  Floats page, got(rows * n);
  for (size_t r = 0; r < rows; ++r)
    for (size_t i = 0; i < n; ++i) {
      float acc = 0.0f;
      for (size_t j = 0; j < k; ++j) {
        const int code = codes[i * k + j], exponent = code / 8 % 16, fraction = code % 8;
        const double magnitude = exponent == 0 ? fraction * std::pow(2.0, -9) : (8 + fraction) * std::pow(2.0, exponent - 10);
        const float value = static_cast<float>(code < 128 ? magnitude : -magnitude) * scales[i / 128 * 2 + j / 128];
        acc = std::fma(value, x[r * k + j], acc);
      }
      page.push_back(acc);
    }
  ThreadPool exec(1);
  ref_kernels().matmul(exec, w->view(), x.data(), k, rows, got.data(), n);
  EXPECT_TRUE(same_bits(got, page));
}

TEST(NumericsPage, MatmulWithQ8Weights) {
  constexpr size_t n = 19, k = 96, blocks = k / 32;
  Rng rng(40, 8);
  std::vector<uint8_t> rows(n * blocks * 34);
  for (size_t b = 0; b < rows.size(); b += 34) {
    const uint16_t d = f32_to_f16(static_cast<float>(rng.normal()) * 0.02f);
    std::memcpy(&rows[b], &d, 2);
    for (size_t i = 2; i < 34; ++i) rows[b + i] = i == 9 ? 0x80 : static_cast<uint8_t>(rng.below(256));  // -128 among them
  }
  const auto w = PackedWeight::pack(DType::Q8_0, n, k, rows.data());
  ASSERT_TRUE(w.ok());

  std::vector<Floats> inputs;
  for (uint64_t i = 0; i < 20; ++i) inputs.push_back(values(k, 50 + i, i % 2 != 0 ? 1.0f : 1e-20f));
  Floats ties(k);  // a = 127: the codes are the values themselves, every other one a tie
  for (size_t i = 0; i < k; ++i) ties[i] = static_cast<float>(i % 32) * 0.5f - 8.0f;
  ties[3] = 127.0f, ties[40] = -127.0f, ties[64] = 127.0f, ties[65] = -127.0f, ties[66] = 126.5f, ties[67] = -125.5f;
  inputs.push_back(ties);
  for (float& v : ties) v *= 2.0f;
  inputs.push_back(ties);
  // The middle block alone has values, so that nothing larger hides what it adds.
  const auto block_of = [&](std::initializer_list<float> first, float rest) {
    Floats x(k);
    std::fill(x.begin() + 32, x.begin() + 64, rest);
    std::copy(first.begin(), first.end(), x.begin() + 32);
    inputs.push_back(x);
  };
  block_of({}, 0.0f);
  block_of({}, -0.0f);
  block_of({-1e-42f, 1e-41f}, 0.0f);          // 127 / a is infinite: no scale
  block_of({0x1p-126f, -0x1p-127f}, 1e-45f);  // and where it just is not
  block_of({3e38f, -3e38f, 1.0f}, 1e37f);
  block_of({kNan, 5.0f, -3.0f}, 0.25f);  // NaN is no maximum, and its code is 0
  block_of({kNan}, kNan);
  block_of({kInf, 1.0f}, 2.0f);
  block_of({-kInf, kNan, kInf}, 0.0f);

  ThreadPool exec(1);
  for (size_t c = 0; c < inputs.size(); ++c) {
    Floats page, got(n);
    for (size_t row = 0; row < n; ++row) {
      float acc = 0.0f;
      for (size_t b = 0; b < blocks; ++b) {
        const uint8_t* block = &rows[(row * blocks + b) * 34];
        uint16_t d;
        std::memcpy(&d, block, 2);
        const Quantised x = quant(&inputs[c][b * 32], 32);
        int64_t sum = 0;
        for (int i = 0; i < 32; ++i) sum += int64_t{static_cast<int8_t>(block[2 + i])} * x.codes[static_cast<size_t>(i)];
        const float t = f16_to_f32(d) * static_cast<float>(sum);
        acc = std::fma(x.scale, t, acc);
      }
      page.push_back(acc);
    }
    ref_kernels().matmul(exec, w->view(), inputs[c].data(), k, 1, got.data(), n);
    EXPECT_TRUE(same_bits(got, page)) << "input " << c;
  }
}

TEST(NumericsPage, MatmulWithFloatWeights) {
  constexpr size_t n = 21, k = 45, rows = 3;
  const Floats source = values(n * k, 60), x = values(rows * k, 61), dy = values(rows * n, 62), held = values(n * k, 63);
  ThreadPool exec(1);
  for (const DType type : {DType::F32, DType::F16, DType::BF16}) {
    const auto weight = PackedWeight::pack_f32(type, n, k, source.data());
    ASSERT_TRUE(weight.ok());
    Floats w = source;
    for (float& v : w) {
      if (type == DType::F16) v = f16_to_f32(f32_to_f16(v));
      if (type == DType::BF16) v = bf16_to_f32(f32_to_bf16(v));
    }
    Floats y, dx, dw = held, got_y(rows * n), got_dx(rows * k), panels(static_cast<size_t>(panel_count(n)) * k * 16),
                  got_dw(n * k);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t i = 0; i < n; ++i) {
        y.push_back(0.0f);
        for (size_t j = 0; j < k; ++j) y.back() = std::fma(w[i * k + j], x[r * k + j], y.back());
      }
      for (size_t j = 0; j < k; ++j) {
        dx.push_back(0.0f);
        for (size_t i = 0; i < n; ++i) dx.back() = std::fma(dy[r * n + i], w[i * k + j], dx.back());
      }
      for (size_t i = 0; i < n; ++i)
        for (size_t j = 0; j < k; ++j) dw[i * k + j] = std::fma(dy[r * n + i], x[r * k + j], dw[i * k + j]);
    }
    ref_kernels().matmul(exec, weight->view(), x.data(), k, rows, got_y.data(), n);
    ref_kernels().matmul_dx(exec, weight->view(), dy.data(), n, rows, got_dx.data(), k);
    pack_f32_panels(held.data(), n, k, panels.data());
    ref_kernels().matmul_dw(exec, dy.data(), n, x.data(), k, rows, n, k, panels.data(), true);
    unpack_f32_panels(panels.data(), n, k, got_dw.data());
    EXPECT_TRUE(same_bits(got_y, y)) << dtype_name(type);
    EXPECT_TRUE(same_bits(got_dx, dx)) << dtype_name(type);
    EXPECT_TRUE(same_bits(got_dw, dw)) << dtype_name(type);
  }
}

// ---- section 8 ----

struct Widths {
  size_t dim, v_dim;
  bool latent;
};
constexpr Widths kWidths[] = {{12, 12, false}, {12, 20, false}, {12, 7, false}, {24, 19, true}};
constexpr DType kCaches[] = {DType::F32, DType::F16, DType::BF16};
constexpr size_t kKvHeads = 2, kGroup = 3, kHeads = kKvHeads * kGroup, kPage = 32;

// Integer caches' codes.
struct PageForm {
  int kv, q, p;
  size_t dims, positions;  // that go into one integer sum
};
PageForm page_form(DType type) {
  return type == DType::I8 ? PageForm{127, 32512, 32767, 512, 256} : PageForm{4095, 8191, 8191, 64, 64};
}

Floats rotated(const Floats& x) {
  Floats y = x;
  for (size_t h = 1; h < y.size(); h *= 2) {
    const Floats before = y;
    for (size_t i = 0; i < y.size(); ++i) y[i] = (i & h) == 0 ? before[i] + before[i + h] : before[i - h] - before[i];
  }
  for (float& v : y) v = v * static_cast<float>(1.0 / std::sqrt(static_cast<double>(y.size())));
  return y;
}
struct Codes {
  std::vector<int64_t> code;
  float scale = 0.0f;
};
Codes quant(const Floats& x, int most) {
  Codes c;
  c.code.assign(x.size(), 0);
  float a = 0.0f;
  for (float v : x) a = std::max(a, std::isnan(v) ? kInf : std::fabs(v));
  const float factor = static_cast<float>(most) / a;
  if (a == 0.0f || factor == kInf) return c;
  c.scale = a / static_cast<float>(most);
  if (a == kInf) return c;
  for (size_t i = 0; i < x.size(); ++i) c.code[i] = std::lrint(x[i] * factor);
  return c;
}
Floats part(const Floats& x, size_t first, size_t count) {
  return {x.begin() + static_cast<std::ptrdiff_t>(first), x.begin() + static_cast<std::ptrdiff_t>(first + count)};
}
// Keys and values of positions 0 ... n-1 as a cache holds them, and that cache, filled by ref.
struct Held {
  KvLayout layout;
  Widths w;
  std::vector<std::vector<uint8_t>> pages;
  std::vector<uint8_t*> pointers;
  Floats keys, values;
  Held(DType type, const Widths& widths, size_t n, Floats k, Floats v) : w(widths), keys(std::move(k)), values(std::move(v)) {
    layout = {type, 1, kKvHeads, static_cast<int>(w.dim), kPage, static_cast<int>(w.v_dim), w.latent};
    pages.resize((n + kPage - 1) / kPage);
    for (auto& page : pages) {
      page.assign(static_cast<size_t>(layout.page_bytes()), 0xFF);
      pointers.push_back(page.data());
    }
    std::vector<int32_t> at;
    for (size_t p = 0; p < n; ++p) at.push_back(static_cast<int32_t>(p));
    const std::vector<uint8_t* const*> row_pages(n, pointers.data());
    ThreadPool exec(1);
    ref_kernels().kv_append(exec, {layout, 0, static_cast<int64_t>(n), at.data(), row_pages.data(), keys.data(),
                                   w.latent ? nullptr : values.data()});
    if (layout.integer()) {
      hold_integers();
      return;
    }
    for (Floats* all : {&keys, &values})
      for (float& x : *all) {
        const float largest = type == DType::F16 ? 65504.0f : std::numeric_limits<float>::max();
        x = x > largest ? largest : x < -largest ? -largest : x;
        if (type == DType::F16) x = f16_to_f32(f32_to_f16(x));
        if (type == DType::BF16) x = bf16_to_f32(f32_to_bf16(x));
      }
  }
  // Rotated back, as the backward sees them.
  void hold_integers() {
    const int most = page_form(layout.type).kv;
    const auto held = [](const Codes& c) {
      Floats x;
      for (const int64_t code : c.code) x.push_back(static_cast<float>(code) * c.scale);
      return x;
    };
    const size_t rotated_dims = w.latent ? w.v_dim : w.dim;
    for (size_t at = 0; at < keys.size(); at += w.dim) {
      const Floats row = rotated(held(quant(rotated(part(keys, at, rotated_dims)), most))),
                   roped = held(quant(part(keys, at + rotated_dims, w.dim - rotated_dims), 4095));
      std::copy(row.begin(), row.end(), &keys[at]);
      std::copy(roped.begin(), roped.end(), keys.begin() + static_cast<std::ptrdiff_t>(at + rotated_dims));
    }
    for (size_t at = 0; at < values.size(); at += w.v_dim) {
      const Floats row = rotated(held(quant(rotated(part(values, at, w.v_dim)), most)));
      std::copy(row.begin(), row.end(), &values[at]);
    }
  }
  float k(size_t j, size_t h, size_t d) const { return keys[(j * kKvHeads + h / kGroup) * w.dim + d]; }
  float v(size_t j, size_t h, size_t d) const {
    return w.latent ? k(j, h, d) : values[(j * kKvHeads + h / kGroup) * w.v_dim + d];
  }
  float score(size_t j, size_t h, const Floats& scaled) const {
    float chain = 0.0f;
    for (size_t d = 0; d < w.dim; ++d) chain = std::fma(k(j, h, d), scaled[d], chain);
    return chain;
  }
};
std::string describe(DType type, const Widths& w) {
  return fmt::format("{} {} {}{}", dtype_name(type), w.dim, w.v_dim, w.latent ? " latent" : "");
}
// One row of one head, q already scaled, visible positions 0 ... visible-1.
struct RowResult {
  Floats out;
  float top, sum;
};
RowResult attend(const Held& held, size_t h, const Floats& scaled, size_t visible) {
  Floats big_o(held.w.v_dim);
  float big_l = 0.0f, big_m = 0.0f;
  for (size_t first = 0; first < visible; first += 256) {
    const size_t end = std::min(first + 256, visible);
    Floats s, e;
    for (size_t j = first; j < end; ++j) s.push_back(held.score(j, h, scaled));
    const float m = maximum(s);
    for (float x : s) e.push_back(exp2_of(x - m));
    const float l = tree16_of_terms(e);
    const float merged = first == 0 || m > big_m ? m : big_m;
    const float c1 = first == 0 ? 0.0f : exp2_of(big_m - merged), c2 = exp2_of(m - merged);
    const float kept_l = big_l * c1;
    big_l = std::fma(l, c2, kept_l);
    for (size_t d = 0; d < held.w.v_dim; ++d) {
      float t = 0.0f;
      for (size_t j = first; j < end; ++j) t = std::fma(e[j - first], held.v(j, h, d), t);
      const float kept_o = big_o[d] * c1;
      big_o[d] = std::fma(t, c2, kept_o);
    }
    big_m = merged;
  }
  for (float& o : big_o) o = o / big_l;
  return {big_o, big_m, big_l};
}

TEST(NumericsPage, AttentionInSplits) {
  constexpr size_t kPositions = 700;
  ThreadPool exec(1);
  for (const Widths& w : kWidths)
    for (const DType type : kCaches) {
      const auto score_scale = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(w.dim)));
      Floats k = values(kPositions * kKvHeads * w.dim, 70), v = values(kPositions * kKvHeads * w.v_dim, 71);
      v[5] = 1e30f, k[w.dim] = -70000.0f;  // what a half can't hold becomes its largest value
      // Later splits have the larger scores in some heads and the smaller in others.
      for (size_t i = 300 * kKvHeads * w.dim; i < k.size(); ++i) k[i] *= i / w.dim % 2 != 0 ? 3.0f : 0.2f;
      const Held held(type, w, kPositions, k, v);
      std::vector<int32_t> positions = {0, 14, 15, 16, 254, 255, 256, 257, 511, 512, 699};
      for (int32_t p = 20; p < 700; p += 20) positions.push_back(p);
      const std::vector<uint8_t* const*> row_pages(positions.size(), held.pointers.data());
      const Floats q = values(positions.size() * kHeads * w.dim, 72, 0.3f);
      Floats out, tops, sums;
      for (size_t r = 0; r < positions.size(); ++r)
        for (size_t h = 0; h < kHeads; ++h) {
          Floats scaled;
          for (size_t d = 0; d < w.dim; ++d) scaled.push_back(q[(r * kHeads + h) * w.dim + d] * score_scale);
          const RowResult row = attend(held, h, scaled, static_cast<size_t>(positions[r]) + 1);
          out.insert(out.end(), row.out.begin(), row.out.end());
          tops.push_back(row.top);
          sums.push_back(row.sum);
        }
      Floats got(out.size()), got_tops(tops.size()), got_sums(sums.size());
      ref_kernels().attention(exec, {held.layout, 0, kHeads, static_cast<int64_t>(positions.size()), positions.data(),
                                     row_pages.data(), score_scale, q.data(), got.data(), got_tops.data(), got_sums.data()});
      EXPECT_TRUE(same_bits(got, out)) << describe(type, w);
      EXPECT_TRUE(same_bits(got_tops, tops)) << describe(type, w) << " M";
      EXPECT_TRUE(same_bits(got_sums, sums)) << describe(type, w) << " L";
    }
}

// ---- section 8, integer caches ----

float sum_in_runs(const std::vector<int64_t>& a, const std::vector<int64_t>& b, size_t run) {
  float f = 0.0f;
  for (size_t first = 0; first < a.size(); first += run) {
    int64_t sum = 0;
    for (size_t i = first; i < std::min(first + run, a.size()); ++i) sum += a[i] * b[i];
    f = f + static_cast<float>(sum);
  }
  return f;
}

TEST(NumericsPage, AttentionOfIntegerCaches) {
  constexpr size_t kPositions = 600;
  ThreadPool exec(1);
  for (const Widths& w : {Widths{16, 16, false}, Widths{128, 32, false}, Widths{8, 128, false}, Widths{134, 128, true}})
    for (const DType type : {DType::I8, DType::I16}) {
      const PageForm form = page_form(type);
      const size_t rotated_dims = w.latent ? w.v_dim : w.dim;
      const auto score_scale = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(w.dim)));
      const Floats k = values(kPositions * kKvHeads * w.dim, 80), v = values(kPositions * kKvHeads * w.v_dim, 81);
      const Held pages(type, w, kPositions, k, v);
      std::vector<Codes> keys, roped, vals;  // [position][KV head]
      for (size_t at = 0; at < kPositions * kKvHeads; ++at) {
        keys.push_back(quant(rotated(part(k, at * w.dim, rotated_dims)), form.kv));
        if (w.latent) roped.push_back(quant(part(k, at * w.dim + rotated_dims, w.dim - rotated_dims), 4095));
        vals.push_back(w.latent ? keys.back() : quant(rotated(part(v, at * w.v_dim, w.v_dim)), form.kv));
      }
      const std::vector<int32_t> positions = {0, 1, 15, 16, 63, 64, 254, 255, 256, 300, 511, 512, 599};
      const std::vector<uint8_t* const*> row_pages(positions.size(), pages.pointers.data());
      const Floats q = values(positions.size() * kHeads * w.dim, 82, 0.3f);
      Floats out, tops, sums;
      for (size_t r = 0; r < positions.size(); ++r)
        for (size_t h = 0; h < kHeads; ++h) {
          Floats scaled = part(q, (r * kHeads + h) * w.dim, w.dim);
          for (float& x : scaled) x = x * score_scale;
          const Codes query = quant(rotated(part(scaled, 0, rotated_dims)), form.q),
                      query_roped = quant(part(scaled, rotated_dims, w.dim - rotated_dims), 4095);
          const float u = w.latent ? 1.0f : query.scale;
          Floats big_o(w.v_dim);
          float big_l = 0.0f, big_m = 0.0f;
          const size_t visible = static_cast<size_t>(positions[r]) + 1;
          for (size_t first = 0; first < visible; first += 256) {
            const size_t end = std::min(first + 256, visible);
            const auto at = [&](size_t j) { return j * kKvHeads + h / kGroup; };
            Floats s, e, weights;
            for (size_t j = first; j < end; ++j) {
              float score = sum_in_runs(keys[at(j)].code, query.code, form.dims) * keys[at(j)].scale;
              if (w.latent) {
                const float unit = roped[at(j)].scale * query_roped.scale, rest = score * query.scale;
                score = std::fma(sum_in_runs(roped[at(j)].code, query_roped.code, 128), unit, rest);
              }
              s.push_back(score);
            }
            const float m = maximum(s) * u;
            for (size_t j = first; j < end; ++j) {
              e.push_back(exp2_of(std::min(std::fma(s[j - first], u, -m), 1.0f)));
              weights.push_back(e.back() * vals[at(j)].scale);
            }
            const float l = tree16_of_terms(e), big_w = std::max(0.0f, maximum(weights));
            const Codes p = quant(weights, form.p);
            const float merged = first == 0 || m > big_m ? m : big_m;
            const float c1 = first == 0 ? 0.0f : exp2_of(big_m - merged), c2 = exp2_of(m - merged);
            const float kept_l = big_l * c1, unit = c2 * (big_w * (1.0f / static_cast<float>(form.p)));
            big_l = std::fma(l, c2, kept_l);
            for (size_t d = 0; d < w.v_dim; ++d) {
              std::vector<int64_t> column;
              for (size_t j = first; j < end; ++j) column.push_back(vals[at(j)].code[d]);
              const float kept_o = big_o[d] * c1;
              big_o[d] = std::fma(sum_in_runs(p.code, column, form.positions), unit, kept_o);
            }
            big_m = merged;
          }
          for (float& o : big_o) o = o / big_l;
          const Floats row = rotated(big_o);
          out.insert(out.end(), row.begin(), row.end());
          tops.push_back(big_m);
          sums.push_back(big_l);
        }
      Floats got(out.size()), got_tops(tops.size()), got_sums(sums.size());
      ref_kernels().attention(exec, {pages.layout, 0, kHeads, static_cast<int64_t>(positions.size()), positions.data(),
                                     row_pages.data(), score_scale, q.data(), got.data(), got_tops.data(), got_sums.data()});
      EXPECT_TRUE(same_bits(got, out)) << describe(type, w);
      EXPECT_TRUE(same_bits(got_tops, tops)) << describe(type, w) << " M";
      EXPECT_TRUE(same_bits(got_sums, sums)) << describe(type, w) << " L";
    }
}

TEST(NumericsPage, AttentionBackward) {
  constexpr size_t n = 270;
  constexpr float kScale = 0.31f, kScoreScale = 0.44f;
  ThreadPool exec(1);
  const auto check = [&](const Widths& w, DType type) {
    const Held held(type, w, n, values(n * kKvHeads * w.dim, 73), values(n * kKvHeads * w.v_dim, 74));
    const Floats q = values(n * kHeads * w.dim, 75, 0.3f), dout = values(n * kHeads * w.v_dim, 76);
    Floats out, tops, sums, dq, dk(n * kKvHeads * w.dim), dv(n * kKvHeads * w.v_dim);
    for (size_t i = 0; i < n; ++i)
      for (size_t h = 0; h < kHeads; ++h) {  // a KV head's queries in order, whatever the other heads do between them
        const float *q_row = &q[(i * kHeads + h) * w.dim], *g = &dout[(i * kHeads + h) * w.v_dim];
        Floats scaled, ds;
        for (size_t d = 0; d < w.dim; ++d) scaled.push_back(q_row[d] * kScoreScale);
        const RowResult row = attend(held, h, scaled, i + 1);
        const float dot = tree16_of_products(g, row.out.data(), w.v_dim), inverse = 1.0f / row.sum;
        for (size_t j = 0; j <= i; ++j) {
          const float p = exp2_of(std::min(held.score(j, h, scaled) - row.top, 1.0f)) * inverse;
          float dp = 0.0f;
          for (size_t d = 0; d < w.v_dim; ++d) dp = std::fma(held.v(j, h, d), g[d], dp);
          ds.push_back((p * (dp - dot)) * kScale);
          for (size_t d = 0; d < w.v_dim; ++d) {
            float& to = dv[(j * kKvHeads + h / kGroup) * w.v_dim + d];
            to = std::fma(p, g[d], to);
          }
          for (size_t d = 0; d < w.dim; ++d) {
            float& to = dk[(j * kKvHeads + h / kGroup) * w.dim + d];
            to = std::fma(ds[j], q_row[d], to);
          }
        }
        for (size_t d = 0; d < w.dim; ++d) {
          dq.push_back(0.0f);
          for (size_t j = 0; j <= i; ++j) dq.back() = std::fma(ds[j], held.k(j, h, d), dq.back());
        }
        out.insert(out.end(), row.out.begin(), row.out.end());
        tops.push_back(row.top);
        sums.push_back(row.sum);
      }
    const std::vector<uint8_t* const*> row_pages(n, held.pointers.data());
    const int32_t offsets[] = {0, static_cast<int32_t>(n)};
    Floats got_q(dq.size()), got_k(dk.size()), got_v(dv.size());
    ref_kernels().attention_backward(
        exec, {held.layout, 0, kHeads, 1, offsets, row_pages.data(), kScoreScale, kScale, q.data(), out.data(), tops.data(),
               sums.data(), dout.data(), got_q.data(), got_k.data(), got_v.data()});
    EXPECT_TRUE(same_bits(got_q, dq)) << describe(type, w) << " dq";
    EXPECT_TRUE(same_bits(got_k, dk)) << describe(type, w) << " dk";
    EXPECT_TRUE(same_bits(got_v, dv)) << describe(type, w) << " dv";
  };
  for (const DType type : kCaches)
    for (const Widths& w : kWidths) check(w, type);
  for (const DType type : {DType::I8, DType::I16})
    for (const Widths& w : {Widths{16, 16, false}, Widths{8, 32, false}, Widths{22, 16, true}}) check(w, type);
}

}  // namespace
}  // namespace raison
