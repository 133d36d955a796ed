// Matrix kernels of every instruction set against ref, to the bit; ref against double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "kernels/tables.h"
#include "kernels/weights.h"

namespace raison {
namespace {

using testing::vector_tables;
using Floats = std::vector<float>;

PackedWeight weight(DType type, int64_t n, int64_t k, uint64_t seed) { return testing::random_weight(type, n, k, seed); }

// Normals with some zeros of both signs, denormals and large values (`extreme`: up to 1e30, so that sums overflow).
Floats values(int64_t n, uint64_t seed, bool extreme = false) {
  Rng rng(seed, 1);
  Floats out(static_cast<size_t>(n));
  for (float& v : out) {
    v = static_cast<float>(rng.normal());
    const uint64_t kind = rng.below(16);
    if (kind == 0) v = 0.0f;
    if (kind == 1) v = -0.0f;
    if (kind == 2) v *= 1e-39f;
    if (kind == 3) v *= extreme ? 1e25f : 100.0f;
  }
  return out;
}

::testing::AssertionResult same_bits(const Floats& a, const Floats& b, int64_t ld) {
  if (a.size() != b.size()) return ::testing::AssertionFailure() << "sizes differ";
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;  // payloads are no part of the contract
    if (std::memcmp(&a[i], &b[i], 4) != 0)
      return ::testing::AssertionFailure() << "first difference at row " << static_cast<int64_t>(i) / ld << ", column "
                                           << static_cast<int64_t>(i) % ld << ": " << a[i] << " but ref has " << b[i];
  }
  return ::testing::AssertionSuccess();
}

struct Shape {
  int64_t n, k;
};
const Shape kShapes[] = {{1, 32}, {16, 64}, {117, 128}, {128, 128}, {50, 96}, {33, 544}, {200, 1056}};
const Shape kWholeShapes[] = {{1, 256}, {16, 512}, {37, 768}, {117, 256}};       // for blocks of 256
const Shape kFloatShapes[] = {{7, 1}, {19, 5}, {40, 33}, {65, 259}, {31, 300}};  // K of no particular multiple

std::vector<Shape> shapes(DType type) {
  const int block = dtype_info(type).block_elements;
  if (block == 256) return {std::begin(kWholeShapes), std::end(kWholeShapes)};
  std::vector<Shape> out(std::begin(kShapes), std::end(kShapes));
  if (block == 1) out.insert(out.end(), std::begin(kFloatShapes), std::end(kFloatShapes));
  if (type == DType::F8_E4M3) out.push_back({300, 200});  // scales of their own beyond 128 rows and columns
  return out;
}

std::string label(const KernelTable* t, DType type, Shape s, int64_t rows, int threads) {
  return fmt::format("{} {} N={} K={} rows={} threads={}", t->name, dtype_name(type), s.n, s.k, rows, threads);
}

// Rows that ref computes: its fma is slow, and the ways of block types differ in few rows only.
int64_t most_rows(DType type) { return is_block_type(type) ? 107 : 200; }
std::vector<int64_t> row_counts(DType type, Shape s) {
  std::vector<int64_t> rows;
  const bool large = s.n * s.k > 50000;
  for (int64_t r = 1; r <= 40; r += large ? 4 : 1) rows.push_back(r);
  rows.push_back(large ? 107 : most_rows(type));
  return rows;
}

class MatmulTest : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Types, MatmulTest, ::testing::ValuesIn(testing::computable_types()),
                         [](const auto& type) { return std::string(dtype_name(type.param)); });

// A guard value past each row shows writes outside the matrix.
constexpr float kGuard = -12345.0f;

TEST_P(MatmulTest, ForwardHasRefsBits) {
  ThreadPool one(1), two(2), three(3);
  const int64_t most = most_rows(GetParam());
  for (const Shape s : shapes(GetParam())) {
    const PackedWeight w = weight(GetParam(), s.n, s.k, 11 + static_cast<uint64_t>(s.n));
    const int64_t ldx = s.k + 3, ldy = s.n + 5;
    const Floats x = values(most * ldx, 5);
    Floats want(static_cast<size_t>(most * ldy), kGuard);  // a row depends on itself only: one ref call serves all counts
    ref_kernels().matmul(two, w.view(), x.data(), ldx, most, want.data(), ldy);
    for (const KernelTable* t : vector_tables())
      for (const int64_t rows : row_counts(GetParam(), s)) {
        ThreadPool* pool = rows % 3 == 0 ? &one : rows % 3 == 1 ? &two : &three;
        Floats got(static_cast<size_t>(rows * ldy) + 16, kGuard);
        t->matmul(*pool, w.view(), x.data(), ldx, rows, got.data(), ldy);
        Floats expected(want.begin(), want.begin() + rows * ldy);
        expected.resize(got.size(), kGuard);
        ASSERT_TRUE(same_bits(got, expected, ldy)) << label(t, GetParam(), s, rows, pool->threads());
      }
  }
}

// More rows than are quantised at once (1024), with a tail and without; what is asked of an Exec stays bounded.
TEST(MatmulQ8Test, ManyRowsHaveRefsBitsInBoundedScratch) {
  class Meter final : public Exec {
   public:
    explicit Meter(int threads) : pool_(threads) {}
    int threads() const override { return pool_.threads(); }
    void run(int64_t items, Fn fn, void* arg) override { pool_.run(items, fn, arg); }
    void* scratch(int worker, int slot, size_t bytes) override {
      if (worker == 0 && slot == 3) most = std::max(most, bytes);
      return pool_.scratch(worker, slot, bytes);
    }
    size_t most = 0;  // of the buffer that all workers share: only the calling thread asks for it

   private:
    ThreadPool pool_;
  };
  constexpr int64_t n = 20, k = 64, ldx = k + 3, ldy = n + 5;
  const PackedWeight w = weight(DType::Q8_0, n, k, 16);
  const Floats x = values(2500 * ldx, 17);
  ThreadPool two(2);
  for (const int64_t rows : {1024, 1025, 2048, 2500}) {
    Floats want(static_cast<size_t>(2500 * ldy), kGuard);
    ref_kernels().matmul(two, w.view(), x.data(), ldx, rows, want.data(), ldy);
    for (const KernelTable* t : vector_tables())
      for (const int threads : {1, 3}) {
        Meter meter(threads);
        Floats got(want.size(), kGuard);
        t->matmul(meter, w.view(), x.data(), ldx, rows, got.data(), ldy);
        ASSERT_TRUE(same_bits(got, want, ldy)) << label(t, DType::Q8_0, {n, k}, rows, threads);
        EXPECT_LE(meter.most, size_t{1024} * 320) << t->name;  // 320 bytes for each 256 columns
      }
  }
}

TEST_P(MatmulTest, InputGradientHasRefsBits) {
  ThreadPool one(1), two(2), three(3);
  const int64_t most = most_rows(GetParam());
  for (const Shape s : shapes(GetParam())) {
    const PackedWeight w = weight(GetParam(), s.n, s.k, 12 + static_cast<uint64_t>(s.n));
    const int64_t lddy = s.n + 1, lddx = s.k + 2;
    const Floats dy = values(most * lddy, 6);
    Floats want(static_cast<size_t>(most * lddx), kGuard);
    ref_kernels().matmul_dx(two, w.view(), dy.data(), lddy, most, want.data(), lddx);
    for (const KernelTable* t : vector_tables())
      for (const int64_t rows : std::vector<int64_t>{1, 2, 5, 6, 7, 13, 29, most})
        for (ThreadPool* pool : {&one, rows % 2 == 0 ? &two : &three}) {
          Floats got(static_cast<size_t>(rows * lddx) + 16, kGuard);
          t->matmul_dx(*pool, w.view(), dy.data(), lddy, rows, got.data(), lddx);
          Floats expected(want.begin(), want.begin() + rows * lddx);
          expected.resize(got.size(), kGuard);
          ASSERT_TRUE(same_bits(got, expected, lddx)) << label(t, GetParam(), s, rows, pool->threads());
        }
  }
}

TEST(MatmulWeightGradientTest, HasRefsBitsWholeAndInChunks) {
  ThreadPool one(1), two(2), three(3);
  for (const Shape s : shapes(DType::F32)) {
    const int64_t lddy = s.n + 1, ldx = s.k + 2;
    for (const int64_t rows : {0, 1, 3, 33, 200, 300}) {
      if (s.n * s.k > 50000 && rows == 200) continue;
      const Floats dy = values((rows + 1) * lddy, 7), x = values((rows + 1) * ldx, 8);
      const auto size = static_cast<size_t>(panel_count(s.n) * s.k * 16);
      Floats start(size), want(size, kGuard), want_more(size);
      pack_f32_panels(values(s.n * s.k, 9).data(), s.n, s.k, start.data());
      ref_kernels().matmul_dw(two, dy.data(), lddy, x.data(), ldx, rows, s.n, s.k, want.data(), false);
      want_more = start;
      ref_kernels().matmul_dw(two, dy.data(), lddy, x.data(), ldx, rows, s.n, s.k, want_more.data(), true);
      for (const KernelTable* t : vector_tables())
        for (ThreadPool* pool : {&one, &two, &three}) {
          const std::string where = label(t, DType::F32, s, rows, pool->threads());
          Floats got(size, kGuard);
          t->matmul_dw(*pool, dy.data(), lddy, x.data(), ldx, rows, s.n, s.k, got.data(), false);
          ASSERT_TRUE(same_bits(got, want, 16)) << where;
          got = start;
          t->matmul_dw(*pool, dy.data(), lddy, x.data(), ldx, rows, s.n, s.k, got.data(), true);
          ASSERT_TRUE(same_bits(got, want_more, 16)) << where << " accumulating";
          const int64_t cut = rows / 3;
          got.assign(size, kGuard);
          t->matmul_dw(*pool, dy.data(), lddy, x.data(), ldx, cut, s.n, s.k, got.data(), false);
          t->matmul_dw(*pool, dy.data() + cut * lddy, lddy, x.data() + cut * ldx, ldx, rows - cut, s.n, s.k, got.data(), true);
          ASSERT_TRUE(same_bits(got, want, 16)) << where << " in two chunks";
        }
    }
  }
}

TEST_P(MatmulTest, EmbeddingHasRefsBits) {
  ThreadPool two(2);
  for (const Shape s : shapes(GetParam())) {
    const PackedWeight w = weight(GetParam(), s.n, s.k, 13);
    Rng rng(3, 3);
    std::vector<int32_t> ids(50);
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(static_cast<uint64_t>(s.n)));
    const int64_t ld = s.k + 1;
    Floats want(static_cast<size_t>(50 * ld), kGuard);
    ref_kernels().embedding(two, w.view(), ids.data(), 50, want.data(), ld);
    Floats panels(static_cast<size_t>(panel_count(s.n) * s.k * 16)), want_dw;
    pack_f32_panels(values(s.n * s.k, 4).data(), s.n, s.k, panels.data());
    want_dw = panels;
    ref_kernels().embedding_dw(two, ids.data(), want.data(), ld, 50, s.k, want_dw.data());
    for (const KernelTable* t : vector_tables()) {
      Floats got(want.size(), kGuard);
      t->embedding(two, w.view(), ids.data(), 50, got.data(), ld);
      ASSERT_TRUE(same_bits(got, want, ld)) << label(t, GetParam(), s, 50, 2);
      Floats dw = panels;
      t->embedding_dw(two, ids.data(), want.data(), ld, 50, s.k, dw.data());
      ASSERT_TRUE(same_bits(dw, want_dw, 16)) << label(t, GetParam(), s, 50, 2);
    }
  }
}

// Infinities, NaN, overflowing and vanishing scales: where ref yields a number it is the same number.
TEST_P(MatmulTest, ExtremeActivationsHaveRefsBits) {
  ThreadPool two(2);
  const int64_t block = dtype_info(GetParam()).block_elements == 256 ? 256 : 32;
  const Shape s{37, 2 * block};
  const PackedWeight w = weight(GetParam(), s.n, s.k, 14);
  Floats x = values(24 * s.k, 15, true);
  for (int64_t r = 0; r < 24; ++r) {
    float* row = x.data() + r * s.k;
    if (r == 1) row[3] = INFINITY;
    if (r == 2) row[block + 8] = NAN;
    if (r == 3) std::fill(row, row + s.k, 1e-42f);  // the inverse scale overflows
    if (r == 4) std::fill(row, row + s.k, 0.0f);
    if (r == 5) std::fill(row, row + s.k, -0.0f);
    if (r == 6) std::fill(row, row + s.k, 3e38f);
    if (r == 7) std::fill(row, row + block, NAN);
    if (r == 8) row[0] = -INFINITY;
  }
  Floats want(static_cast<size_t>(24 * s.n));
  ref_kernels().matmul(two, w.view(), x.data(), s.k, 24, want.data(), s.n);
  for (const KernelTable* t : vector_tables())
    for (const int64_t rows : {24, 9}) {
      Floats got(static_cast<size_t>(rows * s.n));
      t->matmul(two, w.view(), x.data(), s.k, rows, got.data(), s.n);
      ASSERT_TRUE(same_bits(got, Floats(want.begin(), want.begin() + rows * s.n), s.n)) << label(t, GetParam(), s, rows, 2);
    }
}

// FP8 scales so large that they have no room for what the vector kernels would like to fold into them: few codes and small
// activations, so that numbers come out.
TEST(MatmulFp8Test, LargeScalesHaveRefsBits) {
  ThreadPool one(1);
  constexpr int64_t n = 33, k = 200, rows = 30;
  std::vector<uint8_t> codes(n * k);
  Rng rng(31, 1);
  for (uint8_t& code : codes) code = static_cast<uint8_t>(rng.below(128) % 100 + 128 * rng.below(2));
  for (const float scale : {0x1p118f, 0x1p119f, -0x1p119f, 0x1p123f, 3e38f}) {
    const float scales[] = {scale, 0.5f};
    const auto w = PackedWeight::pack_fp8(n, k, codes.data(), scales);
    ASSERT_TRUE(w.ok());
    Floats x = values(rows * k, 32), want(rows * n), dy = values(rows * n, 33), want_dx(rows * k);
    for (float& v : x) v *= 1e-4f;
    for (float& v : dy) v *= 1e-4f;
    ref_kernels().matmul(one, w->view(), x.data(), k, rows, want.data(), n);
    ref_kernels().matmul_dx(one, w->view(), dy.data(), n, rows, want_dx.data(), k);
    const auto finite = [](const Floats& f) {
      return std::count_if(f.begin(), f.end(), [](float v) { return std::isfinite(v); });
    };
    if (scale < 1e37f) {
      EXPECT_GT(finite(want), rows * n / 2) << scale;
      EXPECT_GT(finite(want_dx), rows * k / 2) << scale;
    }
    for (const KernelTable* t : vector_tables()) {
      for (const int64_t count : {int64_t{1}, int64_t{2}, int64_t{3}, rows}) {
        Floats got(static_cast<size_t>(count * n));
        t->matmul(one, w->view(), x.data(), k, count, got.data(), n);
        ASSERT_TRUE(same_bits(got, Floats(want.begin(), want.begin() + count * n), n))
            << t->name << " " << count << " " << scale;
      }
      Floats got(rows * k);
      t->matmul_dx(one, w->view(), dy.data(), n, rows, got.data(), k);
      ASSERT_TRUE(same_bits(got, want_dx, k)) << t->name << " dx " << scale;
    }
  }
}

// A NaN or infinity in x must not leak into the padding lanes of a weight gradient.
TEST(MatmulWeightGradientTest, PaddingLanesStayZero) {
  ThreadPool one(1);
  const Floats dy(3 * 5, 1.0f), x = {NAN, INFINITY, 1, 2, -INFINITY, 3, 4, 5, 6};
  for (const KernelTable* t : vector_tables()) {
    Floats dw(3 * 16, kGuard);
    t->matmul_dw(one, dy.data(), 5, x.data(), 3, 3, 5, 3, dw.data(), false);
    t->matmul_dw(one, dy.data(), 5, x.data(), 3, 3, 5, 3, dw.data(), true);
    for (size_t i = 0; i < dw.size(); ++i) {
      if (i % 16 < 5) continue;
      ASSERT_EQ(dw[i], 0.0f) << t->name << " at " << i;
    }
  }
}

// ref itself against double precision, relative to sum |w||x|.
TEST_P(MatmulTest, RefIsNearDoublePrecision) {
  ThreadPool two(2);
  const int64_t n = 40, k = 512, rows = 3, block = dtype_info(GetParam()).block_elements;
  Rng rng(21, 0);
  Floats x(static_cast<size_t>(rows * k)), dense(static_cast<size_t>(n * k)), y(static_cast<size_t>(rows * n)), dx(x.size()),
      dw(static_cast<size_t>(panel_count(n) * k * 16));
  for (float& v : x) v = static_cast<float>(rng.normal());
  const PackedWeight w = weight(GetParam(), n, k, 22);
  w.unpack_f32(dense.data());
  const KernelTable& ref = ref_kernels();
  ref.matmul(two, w.view(), x.data(), k, rows, y.data(), n);
  double total = 0;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < n; ++i) {
      double sum = 0, size = 0, rounding = 0;
      for (int64_t j = 0; j < k; ++j) {
        const double weight = dense[static_cast<size_t>(i * k + j)], value = x[static_cast<size_t>(r * k + j)];
        sum += weight * value;
        size += std::fabs(weight * value);
        if (block == 1) continue;
        double largest = 0;  // rounding to 8 bits costs up to half a step of 1/127 of the block's largest
        for (int64_t b = j / block * block; b < j / block * block + block; ++b)
          largest = std::max(largest, std::fabs(double{x[static_cast<size_t>(r * k + b)]}));
        rounding += std::fabs(weight) * largest / 254;
      }
      if (!std::isfinite(y[static_cast<size_t>(r * n + i)])) continue;  // an MXFP4 scale near the end of fp32
      EXPECT_LE(std::fabs(y[static_cast<size_t>(r * n + i)] - sum), 1e-5 * size + 1.001 * rounding) << r << " " << i;
      total += size;
    }
  EXPECT_GT(total, 1);
  for (float& v : y) v = static_cast<float>(rng.normal());
  ref.matmul_dx(two, w.view(), y.data(), n, rows, dx.data(), k);
  ref.matmul_dw(two, y.data(), n, x.data(), k, rows, n, k, dw.data(), false);
  Floats dw_rows(static_cast<size_t>(n * k));
  unpack_f32_panels(dw.data(), n, k, dw_rows.data());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < k; ++j) {
      double sum = 0, size = 0;
      for (int64_t i = 0; i < n; ++i) {
        sum += double{dense[static_cast<size_t>(i * k + j)]} * y[static_cast<size_t>(r * n + i)];
        size += std::fabs(double{dense[static_cast<size_t>(i * k + j)]} * y[static_cast<size_t>(r * n + i)]);
      }
      EXPECT_LE(std::fabs(dx[static_cast<size_t>(r * k + j)] - sum), 1e-6 * size) << r << " " << j;
    }
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < k; ++j) {
      double sum = 0, size = 0;
      for (int64_t r = 0; r < rows; ++r) {
        sum += double{y[static_cast<size_t>(r * n + i)]} * x[static_cast<size_t>(r * k + j)];
        size += std::fabs(double{y[static_cast<size_t>(r * n + i)]} * x[static_cast<size_t>(r * k + j)]);
      }
      EXPECT_LE(std::fabs(dw_rows[static_cast<size_t>(i * k + j)] - sum), 1e-6 * size) << i << " " << j;
    }
}

// All codes at a bound with one sign, against activations at +-127: where an int8 pipeline would saturate, or an int16 sum of its
// products overflow. And ref's integers are the dequantised weights' own: with d = 1 everything is exact.
class BlockTest : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Types, BlockTest, ::testing::ValuesIn(testing::block_types()),
                         [](const auto& type) { return std::string(dtype_name(type.param)); });

TEST_P(BlockTest, NothingSaturates) {
  ThreadPool one(1);
  const DType type = GetParam();
  constexpr int64_t n = 16 * 8, k = 512, rows = 9;
  const uint8_t fills[] = {0x00, 0xFF, 0x80, 0x7F, 0x88, 0x77, 0x0F, 0xF0};
  const DTypeInfo& info = dtype_info(type);
  std::vector<uint8_t> raw(static_cast<size_t>(n * k / info.block_elements * info.block_bytes));
  for (size_t b = 0; b < raw.size(); b += static_cast<size_t>(info.block_bytes)) {
    const size_t row = b * n / raw.size();
    std::fill_n(raw.begin() + static_cast<int64_t>(b), info.block_bytes, fills[row % 8]);
    if (row >= 64 && type != DType::IQ1_M)  // and one byte another, so that codebooks and sub-scales differ
      raw[b + row % static_cast<size_t>(info.block_bytes)] = static_cast<uint8_t>(37 * row);
    testing::set_scales(type, &raw[b], testing::unit_scale(type), f32_to_f16(1.0f));
  }
  auto w = PackedWeight::pack(type, n, k, raw.data());
  ASSERT_TRUE(w.ok());
  Floats x(rows * k);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < k; ++j)  // all one sign, alternating by 1, 2, 4 ... columns
      x[static_cast<size_t>(r * k + j)] = r < 2 ? (r == 0 ? 127.0f : -127.0f) : (j >> (r - 2)) % 2 == 0 ? 127.0f : -127.0f;
  Floats dense(n * k), want(rows * n);
  w->unpack_f32(dense.data());
  ref_kernels().matmul(one, w->view(), x.data(), k, rows, want.data(), n);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < n; ++i) {
      double sum = 0, size = 0;
      for (int64_t j = 0; j < k; ++j) {
        sum += double{dense[static_cast<size_t>(i * k + j)]} * x[static_cast<size_t>(r * k + j)];
        size += std::fabs(double{dense[static_cast<size_t>(i * k + j)]} * x[static_cast<size_t>(r * k + j)]);
      }
      ASSERT_NEAR(want[static_cast<size_t>(r * n + i)], sum, 3e-7 * size)
          << dtype_name(type) << " row " << r << " output " << i;
    }
  for (const KernelTable* t : vector_tables())
    for (const int64_t count : {1, 2, 3, 4, 9}) {
      Floats got(static_cast<size_t>(count * n));
      t->matmul(one, w->view(), x.data(), k, count, got.data(), n);
      ASSERT_TRUE(same_bits(got, Floats(want.begin(), want.begin() + count * n), n)) << label(t, type, {n, k}, count, 1);
    }
}

// The vector kernels' own way to fp32: with the unit matrix as dy, dx is W itself.
TEST_P(BlockTest, DequantisesToTheRowsBits) {
  ThreadPool one(1);
  const DType type = GetParam();
  constexpr int64_t n = 33, k = 512;
  const PackedWeight w = weight(type, n, k, 77);
  Floats dense(n * k);
  w.unpack_f32(dense.data());
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < n; ++i) ids.push_back(i);
  auto tables = vector_tables();
  tables.push_back(&ref_kernels());
  for (const KernelTable* t : tables) {
    Floats rows(n * k), dx(n * k), dy(n * n);
    t->embedding(one, w.view(), ids.data(), n, rows.data(), k);
    EXPECT_EQ(std::memcmp(rows.data(), dense.data(), dense.size() * 4), 0) << t->name;
    for (int64_t i = 0; i < n; ++i) dy[static_cast<size_t>(i * n + i)] = 1.0f;
    t->matmul_dx(one, w.view(), dy.data(), n, n, dx.data(), k);
    for (size_t i = 0; i < dx.size(); ++i) ASSERT_EQ(dx[i], dense[i]) << t->name << " at " << i;
  }
}

// Q8_0 with activations that are exact multiples of their scale loses nothing but rounding of the sums.
TEST(MatmulQ8Test, Q8IsExactOnRepresentableActivations) {
  ThreadPool one(1);
  std::vector<uint8_t> block(34);
  const uint16_t d = f32_to_f16(0.5f);
  std::memcpy(block.data(), &d, 2);
  int64_t sum = 0;
  Floats x(32);
  for (int i = 0; i < 32; ++i) {
    const int code = i == 0 ? -128 : 4 * i - 60, q = i == 31 ? 127 : 3 * i - 40;
    block[static_cast<size_t>(2 + i)] = static_cast<uint8_t>(static_cast<int8_t>(code));
    x[static_cast<size_t>(i)] = static_cast<float>(q) * 0.25f;
    sum += code * q;
  }
  auto w = PackedWeight::pack(DType::Q8_0, 1, 32, block.data());
  ASSERT_TRUE(w.ok());
  auto tables = vector_tables();
  tables.push_back(&ref_kernels());
  for (const KernelTable* t : tables) {
    float y = 0;
    t->matmul(one, w->view(), x.data(), 32, 1, &y, 1);
    EXPECT_EQ(y, static_cast<float>(sum) * 0.5f * 0.25f) << t->name;
  }
}

}  // namespace
}  // namespace raison
