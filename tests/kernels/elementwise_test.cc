// Elementwise and row kernels: every table has ref's bits at every size, in place where the header allows it, on any number
// of threads; and ref means what it should: values against double, gradients against finite differences in double.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "kernels/tables.h"

namespace raison {
namespace {

using testing::vector_tables;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;
constexpr float kInf = std::numeric_limits<float>::infinity();

// Normals, some zeros of both signs, denormals and outliers.
Floats values(int64_t n, uint64_t seed, float outlier = 100.0f) {
  Rng rng(seed, 3);
  Floats out(static_cast<size_t>(n));
  for (float& v : out) {
    v = static_cast<float>(rng.normal());
    const uint64_t kind = rng.below(24);
    if (kind == 0) v = 0.0f;
    if (kind == 1) v = -0.0f;
    if (kind == 2) v *= 1e-39f;
    if (kind == 3) v *= outlier;
  }
  return out;
}
Floats normals(int64_t n, uint64_t seed) {
  Rng rng(seed, 4);
  Floats out(static_cast<size_t>(n));
  for (float& v : out) v = static_cast<float>(rng.normal());
  return out;
}

::testing::AssertionResult same_bits(const Floats& got, const Floats& want) {
  if (got.size() != want.size()) return ::testing::AssertionFailure() << "sizes differ";
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(got[i]) && std::isnan(want[i])) continue;  // payloads are no part of the contract
    if (std::memcmp(&got[i], &want[i], 4) != 0)
      return ::testing::AssertionFailure() << "first difference at " << i << ": " << got[i] << " but ref has " << want[i];
  }
  return ::testing::AssertionSuccess();
}

// Runs `kernel(table, exec)` -> all its outputs, on every table and 1 to 3 threads, against ref.
using Kernel = std::function<Floats(const KernelTable&, Exec&)>;
void expect_refs_bits(const std::string& what, const Kernel& kernel) {
  static ThreadPool one(1), two(2), three(3);
  const Floats want = kernel(ref_kernels(), two);
  for (const KernelTable* t : vector_tables())
    for (ThreadPool* pool : {&one, &two, &three})
      ASSERT_TRUE(same_bits(kernel(*t, *pool), want)) << t->name << " " << what << " threads " << pool->threads();
}

Floats joined(std::initializer_list<Floats> parts) {
  Floats out;
  for (const Floats& p : parts) out.insert(out.end(), p.begin(), p.end());
  return out;
}

constexpr float kGuard = -12345.0f;
Floats guarded(int64_t n) { return Floats(static_cast<size_t>(n) + 19, kGuard); }

std::vector<int64_t> lengths() {
  std::vector<int64_t> out;
  for (int64_t n = 0; n <= 70; ++n) out.push_back(n);
  for (int64_t n : {127, 128, 129, 1000, 4095, 4096, 4097, 8191, 33001}) out.push_back(n);
  return out;
}
struct Shape {
  int64_t rows, dim;
};
std::vector<Shape> shapes() {
  std::vector<Shape> out;
  for (int64_t dim = 1; dim <= 50; ++dim) out.push_back({3, dim});
  for (int64_t dim : {63, 64, 65, 127, 128, 130, 200, 896}) out.push_back({1 + dim % 9, dim});
  out.push_back({300, 128});  // several parts
  out.push_back({700, 70});
  out.push_back({2, 40000});
  out.push_back({0, 16});
  return out;
}
std::string label(const char* name, Shape s) { return fmt::format("{} rows={} dim={}", name, s.rows, s.dim); }

TEST(ElementwiseTest, PlainOpsHaveRefsBits) {
  for (const int64_t n : lengths()) {
    const Floats a = values(n + 1, 1, 1e30f), b = values(n + 1, 2, 1e30f), c = values(n + 1, 3, 1e30f);
    const std::string size = fmt::format("n={}", n);
    expect_refs_bits("silu_mul " + size, [&](const KernelTable& t, Exec& e) {
      Floats y = guarded(n);
      t.silu_mul(e, a.data(), b.data(), n, y.data());
      return y;
    });
    expect_refs_bits("silu_mul_backward " + size, [&](const KernelTable& t, Exec& e) {
      Floats dg = guarded(n), du = guarded(n);
      t.silu_mul_backward(e, a.data(), b.data(), c.data(), n, dg.data(), du.data());
      return joined({dg, du});
    });
    expect_refs_bits("add " + size, [&](const KernelTable& t, Exec& e) {
      Floats y = guarded(n), onto_a = a, onto_b = b;
      t.add(e, a.data(), b.data(), n, y.data());
      t.add(e, onto_a.data(), b.data(), n, onto_a.data());
      t.add(e, a.data(), onto_b.data(), n, onto_b.data());
      return joined({y, onto_a, onto_b});
    });
    expect_refs_bits("scale " + size, [&](const KernelTable& t, Exec& e) {
      Floats x = a;
      t.scale(e, x.data(), 0.3f, n);
      return x;
    });
    expect_refs_bits("adamw " + size, [&](const KernelTable& t, Exec& e) {
      Floats p = a, m = b, v = c;
      for (float& x : v) x = std::fabs(x);
      v.back() = c.back();  // the guard
      t.adamw(e, {p.data(), m.data(), v.data(), c.data(), n, 0.9999f, 0.1f, 0.999f, 0.001f, 3e-3f, 0.0316f, 1e-8f});
      return joined({p, m, v});
    });
  }
}

TEST(ElementwiseTest, SumOfSquaresHasRefsBits) {
  std::vector<int64_t> sizes = lengths();
  sizes.push_back(4096 * 9 + 5);
  sizes.push_back(4096 * 1030 + 77);  // more chunk sums than are kept at once
  for (const int64_t n : sizes) {
    const Floats x = values(n, 5, 1000.0f);
    expect_refs_bits(fmt::format("sum_squares n={}", n), [&](const KernelTable& t, Exec& e) {
      const double s = t.sum_squares(e, x.data(), n);
      Floats out(2);
      std::memcpy(out.data(), &s, 8);
      return out;
    });
    double exact = 0;
    for (float v : x) exact += double{v} * v;
    ThreadPool one(1);
    EXPECT_NEAR(ref_kernels().sum_squares(one, x.data(), n), exact, 1e-5 * exact) << n;
  }
}

TEST(RowsTest, NormsAndBiasesHaveRefsBits) {
  for (const Shape s : shapes()) {
    const Floats x = values(s.rows * s.dim, 6), dy = values(s.rows * s.dim, 7), w = values(s.dim, 8), start = values(s.dim, 9);
    Floats rstd(static_cast<size_t>(s.rows));
    ThreadPool one(1);
    Floats ignored(static_cast<size_t>(s.rows * s.dim));
    ref_kernels().rms_norm(one, x.data(), w.data(), 1e-6f, s.rows, s.dim, ignored.data(), rstd.data());
    expect_refs_bits(label("rms_norm", s), [&](const KernelTable& t, Exec& e) {
      Floats y = guarded(s.rows * s.dim), y2 = y, r = guarded(s.rows);
      t.rms_norm(e, x.data(), w.data(), 1e-6f, s.rows, s.dim, y.data(), r.data());
      t.rms_norm(e, x.data(), w.data(), 1e-5f, s.rows, s.dim, y2.data(), nullptr);
      return joined({y, y2, r});
    });
    expect_refs_bits(label("rms_norm_backward", s), [&](const KernelTable& t, Exec& e) {
      Floats dx = guarded(s.rows * s.dim), dx2 = dx, dw = start;
      t.rms_norm_backward(e, x.data(), w.data(), rstd.data(), dy.data(), s.rows, s.dim, dx.data(), dw.data());
      t.rms_norm_backward(e, x.data(), w.data(), rstd.data(), dy.data(), s.rows, s.dim, dx2.data(), nullptr);
      return joined({dx, dx2, dw});
    });
    expect_refs_bits(label("add_bias", s), [&](const KernelTable& t, Exec& e) {
      Floats y = x;
      t.add_bias(e, y.data(), w.data(), s.rows, s.dim);
      return y;
    });
    expect_refs_bits(label("bias_backward", s), [&](const KernelTable& t, Exec& e) {
      Floats db = start;
      t.bias_backward(e, dy.data(), s.rows, s.dim, db.data());
      return db;
    });
  }
}

TEST(RowsTest, RopeHasRefsBitsApartAndInPlace) {
  struct Case {
    int heads, head_dim, rot;
  };
  for (const Case c :
       {Case{1, 2, 2}, {3, 8, 8}, {2, 12, 12}, {2, 20, 12}, {3, 32, 32}, {2, 64, 40}, {2, 80, 80}, {5, 128, 128}, {2, 16, 0}})
    for (const int64_t rows : {1, 2, 7, 150}) {
      const int64_t n = rows * c.heads * c.head_dim;
      const Floats x = values(n, 10), cos = values(rows * c.rot / 2, 11), sin = values(rows * c.rot / 2, 12);
      for (const bool interleaved : {false, true})
        for (const bool inverse : {false, true})
          expect_refs_bits(fmt::format("rope rows={} heads={} dim={} rot={} interleaved={} inverse={}", rows, c.heads,
                                       c.head_dim, c.rot, interleaved, inverse),
                           [&](const KernelTable& t, Exec& e) {
                             Floats y = guarded(n), in_place = x;
                             t.rope(e, x.data(), cos.data(), sin.data(), rows, c.heads, c.head_dim, c.rot, interleaved, inverse,
                                    y.data());
                             t.rope(e, in_place.data(), cos.data(), sin.data(), rows, c.heads, c.head_dim, c.rot, interleaved,
                                    inverse, in_place.data());
                             return joined({y, in_place});
                           });
    }
}

TEST(RowsTest, SoftmaxHasRefsBits) {
  for (const Shape s : shapes()) {
    Floats x = values(s.rows * s.dim, 13), dy = values(s.rows * s.dim, 14);
    if (s.dim == 33) x.assign(x.size(), -kInf);             // nothing to choose from: NaN, as in ref
    if (s.dim == 34) std::fill_n(x.begin(), s.dim, -0.0f);  // the maximum is a zero
    if (s.dim == 35) x[5] = kInf, x[40] = -kInf;
    expect_refs_bits(label("softmax", s), [&](const KernelTable& t, Exec& e) {
      Floats y = guarded(s.rows * s.dim), dx = guarded(s.rows * s.dim);
      t.softmax(e, x.data(), s.rows, s.dim, y.data());
      t.softmax_backward(e, y.data(), dy.data(), s.rows, s.dim, dx.data());
      return joined({y, dx});
    });
  }
}

TEST(RowsTest, LogprobsHaveRefsBits) {
  for (const Shape s : shapes()) {
    const int64_t ld = s.dim + 3;
    Floats z = values(s.rows * ld, 15, 30.0f);
    Rng rng(16);
    std::vector<int32_t> targets;
    for (int64_t r = 0; r < s.rows; ++r)
      targets.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(s.dim) + 1)) - 1);
    if (s.rows > 2) targets[1] = static_cast<int32_t>(s.dim - 1);
    if (s.rows > 1)  // all at most zero, the maximum a zero of either sign
      for (int64_t i = 0; i < s.dim; ++i)
        z[static_cast<size_t>(ld + i)] = i % 5 == 3 ? -0.0f : i % 5 == 4 ? 0.0f : -std::fabs(z[static_cast<size_t>(ld + i)]);
    const Floats g = values(s.rows, 17);
    for (const float temperature : {1.0f, 0.7f, 1.3f})
      expect_refs_bits(label("logprob_rows", s), [&](const KernelTable& t, Exec& e) {
        Floats lp = guarded(s.rows), m = guarded(s.rows), sum = guarded(s.rows), lp2 = guarded(s.rows), dz = z;
        t.logprob_rows(e, z.data(), ld, s.rows, s.dim, targets.data(), temperature, lp.data(), m.data(), sum.data());
        t.logprob_rows(e, z.data(), ld, s.rows, s.dim, targets.data(), temperature, lp2.data(), nullptr, nullptr);
        t.logprob_rows_backward(e, dz.data(), ld, s.rows, s.dim, targets.data(), temperature, m.data(), sum.data(), g.data());
        return joined({lp, m, sum, lp2, dz});
      });
  }
}

// ---- meaning: gradients against finite differences of double re-implementations ----

// d sum(c * f(x)) / dx by central differences.
Doubles finite_differences(const std::function<Doubles(const Doubles&)>& f, Doubles x, const Floats& c) {
  const auto value = [&](const Doubles& at) {
    const Doubles y = f(at);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * double{c[i]};
    return sum;
  };
  Doubles out;
  for (size_t i = 0; i < x.size(); ++i) {
    const double keep = x[i], h = 1e-5;
    x[i] = keep + h;
    const double up = value(x);
    x[i] = keep - h;
    out.push_back((up - value(x)) / (2 * h));
    x[i] = keep;
  }
  return out;
}

void expect_close(const Floats& got, const Doubles& want, double tolerance, const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = 0;
  for (double w : want) largest = std::max(largest, std::fabs(w));
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance * largest) << what << " at " << i;
}
Doubles widened(const Floats& x) { return Doubles(x.begin(), x.end()); }

class MeaningTest : public ::testing::Test {
 protected:
  ThreadPool exec_{1};
  const KernelTable& k_ = ref_kernels();  // the other tables have its bits
};

Doubles norm_in_double(const Doubles& x, const Doubles& w, size_t dim) {
  Doubles y;
  for (size_t r = 0; r < x.size() / dim; ++r) {
    double s = 0;
    for (size_t i = 0; i < dim; ++i) s += x[r * dim + i] * x[r * dim + i];
    for (size_t i = 0; i < dim; ++i) y.push_back(x[r * dim + i] / std::sqrt(s / static_cast<double>(dim) + 1e-6) * w[i]);
  }
  return y;
}

TEST_F(MeaningTest, RmsNormAndItsGradients) {
  constexpr int64_t rows = 5, dim = 37;
  const Floats x = normals(rows * dim, 20), w = normals(dim, 21), dy = normals(rows * dim, 22);
  Floats y(rows * dim), rstd(rows), dx(rows * dim), dw(dim, 0.0f);
  k_.rms_norm(exec_, x.data(), w.data(), 1e-6f, rows, dim, y.data(), rstd.data());
  k_.rms_norm_backward(exec_, x.data(), w.data(), rstd.data(), dy.data(), rows, dim, dx.data(), dw.data());
  expect_close(y, norm_in_double(widened(x), widened(w), dim), 1e-6, "y");
  expect_close(dx, finite_differences([&](const Doubles& v) { return norm_in_double(v, widened(w), dim); }, widened(x), dy),
               1e-4, "dx");
  expect_close(dw, finite_differences([&](const Doubles& v) { return norm_in_double(widened(x), v, dim); }, widened(w), dy),
               1e-4, "dw");
}

TEST_F(MeaningTest, SiluMulAndItsGradients) {
  constexpr int64_t n = 90;
  const Floats g = normals(n, 23), u = normals(n, 24), dy = normals(n, 25);
  const auto f = [](const Doubles& a, const Doubles& b) {
    Doubles y;
    for (size_t i = 0; i < a.size(); ++i) y.push_back(a[i] / (1 + std::exp(-a[i])) * b[i]);
    return y;
  };
  Floats y(n), dg(n), du(n);
  k_.silu_mul(exec_, g.data(), u.data(), n, y.data());
  k_.silu_mul_backward(exec_, g.data(), u.data(), dy.data(), n, dg.data(), du.data());
  expect_close(y, f(widened(g), widened(u)), 1e-6, "y");
  expect_close(dg, finite_differences([&](const Doubles& v) { return f(v, widened(u)); }, widened(g), dy), 1e-4, "dg");
  expect_close(du, finite_differences([&](const Doubles& v) { return f(widened(g), v); }, widened(u), dy), 1e-4, "du");
}

TEST_F(MeaningTest, RopeRotatesAndItsInverseTurnsBack) {
  constexpr int64_t rows = 3;
  constexpr int heads = 2, dim = 20, rot = 12;
  Floats cos(rows * rot / 2), sin(rows * rot / 2);
  for (size_t i = 0; i < cos.size(); ++i) {
    cos[i] = static_cast<float>(std::cos(0.3 * static_cast<double>(i)));
    sin[i] = static_cast<float>(std::sin(0.3 * static_cast<double>(i)));
  }
  const Floats x = normals(rows * heads * dim, 26), dy = normals(rows * heads * dim, 27);
  for (const bool interleaved : {false, true}) {
    const auto f = [&](const Doubles& v) {
      Doubles y = v;
      for (size_t r = 0; r < rows; ++r)
        for (size_t h = 0; h < heads; ++h)
          for (size_t i = 0; i < rot / 2; ++i) {
            const size_t base = (r * heads + h) * dim, a = base + (interleaved ? 2 * i : i),
                         b = base + (interleaved ? 2 * i + 1 : i + rot / 2);
            const double c = cos[r * rot / 2 + i], s = sin[r * rot / 2 + i];
            y[a] = v[a] * c - v[b] * s;
            y[b] = v[b] * c + v[a] * s;
          }
      return y;
    };
    Floats y(x.size()), back(x.size()), dx(x.size());
    k_.rope(exec_, x.data(), cos.data(), sin.data(), rows, heads, dim, rot, interleaved, false, y.data());
    k_.rope(exec_, y.data(), cos.data(), sin.data(), rows, heads, dim, rot, interleaved, true, back.data());
    k_.rope(exec_, dy.data(), cos.data(), sin.data(), rows, heads, dim, rot, interleaved, true, dx.data());
    expect_close(y, f(widened(x)), 1e-6, "y");
    expect_close(back, widened(x), 1e-6, "back");
    expect_close(dx, finite_differences(f, widened(x), dy), 1e-4, "dx");
  }
}

Doubles softmax_in_double(const Doubles& x, size_t n, double temperature) {
  Doubles y;
  for (size_t r = 0; r < x.size() / n; ++r) {
    double sum = 0, m = -1e300;
    for (size_t i = 0; i < n; ++i) m = std::max(m, x[r * n + i] / temperature);
    for (size_t i = 0; i < n; ++i) sum += std::exp(x[r * n + i] / temperature - m);
    for (size_t i = 0; i < n; ++i) y.push_back(std::exp(x[r * n + i] / temperature - m) / sum);
  }
  return y;
}

TEST_F(MeaningTest, SoftmaxAndItsGradient) {
  constexpr int64_t rows = 4, n = 29;
  const Floats x = normals(rows * n, 28), dy = normals(rows * n, 29);
  Floats y(x.size()), dx(x.size());
  k_.softmax(exec_, x.data(), rows, n, y.data());
  k_.softmax_backward(exec_, y.data(), dy.data(), rows, n, dx.data());
  const auto f = [](const Doubles& v) { return softmax_in_double(v, n, 1.0); };
  expect_close(y, f(widened(x)), 1e-6, "y");
  expect_close(dx, finite_differences(f, widened(x), dy), 1e-4, "dx");
}

TEST_F(MeaningTest, LogprobAndItsGradient) {
  constexpr int64_t rows = 4, vocab = 31;
  constexpr float temperature = 0.8f;
  const std::vector<int32_t> targets = {3, 30, -1, 0};
  const Floats z = normals(rows * vocab, 30), g = normals(rows, 31);
  const auto f = [&](const Doubles& v) {
    const Doubles p = softmax_in_double(v, vocab, double{temperature});
    Doubles y;
    for (size_t r = 0; r < rows; ++r)
      y.push_back(targets[r] < 0 ? 0.0 : std::log(p[r * vocab + static_cast<size_t>(targets[r])]));
    return y;
  };
  Floats y(rows), m(rows), s(rows), dz = z;
  k_.logprob_rows(exec_, z.data(), vocab, rows, vocab, targets.data(), temperature, y.data(), m.data(), s.data());
  k_.logprob_rows_backward(exec_, dz.data(), vocab, rows, vocab, targets.data(), temperature, m.data(), s.data(), g.data());
  expect_close(y, f(widened(z)), 1e-6, "logprob");
  expect_close(dz, finite_differences(f, widened(z), g), 1e-4, "dz");
}

TEST_F(MeaningTest, BiasAndItsGradient) {
  constexpr int64_t rows = 6, dim = 19;
  const Floats y0 = normals(rows * dim, 32), b = normals(dim, 33);
  Floats y = y0, db(dim, 2.0f);
  k_.add_bias(exec_, y.data(), b.data(), rows, dim);
  k_.bias_backward(exec_, y0.data(), rows, dim, db.data());
  for (size_t i = 0; i < dim; ++i) {
    double sum = 2;
    for (size_t r = 0; r < rows; ++r) {
      EXPECT_EQ(y[r * dim + i], y0[r * dim + i] + b[i]);
      sum += double{y0[r * dim + i]};
    }
    EXPECT_NEAR(db[i], sum, 1e-5);
  }
}

// Three updates against AdamW written in double (decoupled decay first, bias-corrected moments).
TEST_F(MeaningTest, AdamWFollowsItsFormula) {
  constexpr size_t n = 50;
  constexpr double lr = 1e-2, b1 = 0.9, b2 = 0.99, eps = 1e-8, decay = 0.1;
  Floats p = normals(n, 34), m(n, 0.0f), v(n, 0.0f);
  Doubles pd = widened(p), md(n, 0.0), vd(n, 0.0);
  for (int t = 1; t <= 3; ++t) {
    const Floats g = normals(n, 35 + static_cast<uint64_t>(t));
    const double c1 = 1 - std::pow(b1, t), c2 = 1 - std::pow(b2, t);
    k_.adamw(exec_, {p.data(), m.data(), v.data(), g.data(), n, static_cast<float>(1 - lr * decay), static_cast<float>(1 - b1),
                     static_cast<float>(b2), static_cast<float>(1 - b2), static_cast<float>(lr / c1),
                     static_cast<float>(std::sqrt(c2)), static_cast<float>(eps)});
    for (size_t i = 0; i < n; ++i) {
      pd[i] *= 1 - lr * decay;
      md[i] = b1 * md[i] + (1 - b1) * double{g[i]};
      vd[i] = b2 * vd[i] + (1 - b2) * double{g[i]} * double{g[i]};
      pd[i] -= lr * (md[i] / c1) / (std::sqrt(vd[i] / c2) + eps);
    }
  }
  expect_close(p, pd, 1e-6, "p");
  expect_close(m, md, 1e-6, "m");
  expect_close(v, vd, 1e-6, "v");
}

}  // namespace
}  // namespace raison
