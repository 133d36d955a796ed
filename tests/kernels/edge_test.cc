// No rows at all, and values that are no numbers: every table does what ref does, and writes nothing it should not.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "kernels/tables.h"
#include "kernels/weights.h"

namespace raison {
namespace {

using Floats = std::vector<float>;
constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<const KernelTable*> all_tables() {
  auto tables = testing::vector_tables();
  tables.push_back(&ref_kernels());
  return tables;
}

// Normals, one in `every` of which is an infinity, a NaN, or near overflow.
Floats odd_values(int64_t n, uint64_t seed, uint64_t every = 9) {
  Rng rng(seed, 9);
  Floats out(static_cast<size_t>(n));
  const float odd[] = {kInf, -kInf, kNan, 3e38f, -3e38f, 1e-45f};
  for (float& v : out) v = rng.below(every) == 0 ? odd[rng.below(6)] : static_cast<float>(rng.normal());
  return out;
}

using Kernel = std::function<Floats(const KernelTable&, Exec&)>;
void expect_refs_bits(const std::string& what, const Kernel& kernel) {
  ThreadPool one(1), three(3);
  const Floats want = kernel(ref_kernels(), one);
  size_t nans = 0;
  for (float v : want) nans += std::isnan(v) ? 1 : 0;
  EXPECT_GT(nans, 0u) << what << ": nothing odd came out";
  EXPECT_LT(nans, want.size()) << what << ": nothing but NaN";
  for (const KernelTable* t : testing::vector_tables())
    for (Exec* exec : {&one, &three}) {
      const Floats got = kernel(*t, *exec);
      ASSERT_EQ(got.size(), want.size());
      for (size_t i = 0; i < got.size(); ++i) {
        if (std::isnan(got[i]) && std::isnan(want[i])) continue;
        ASSERT_EQ(std::memcmp(&got[i], &want[i], 4), 0)
            << t->name << " " << what << " at " << i << ": " << got[i] << " but ref has " << want[i];
      }
    }
}

// All but MXFP4, whose scale is always a number.
std::vector<DType> types_with_odd_scales() {
  std::vector<DType> types;
  for (const DType type : testing::computable_types())
    if (type != DType::MXFP4) types.push_back(type);
  return types;
}
constexpr DType kCaches[] = {DType::F32, DType::F16, DType::BF16, DType::I16, DType::I8};

// Weights with infinities and NaN (block types: such scales, F8_E4M3: such codes).
PackedWeight odd_weight(DType type, int64_t n, int64_t k, uint64_t seed, uint64_t every) {
  Rng rng(seed, 10);
  const float odd[] = {kInf, -kInf, kNan, 60000.0f};
  if (type == DType::F8_E4M3) {  // one scale: at most 128 x 128
    std::vector<uint8_t> codes(static_cast<size_t>(n * k));
    for (uint8_t& code : codes) code = rng.below(every < 9 ? 9 : 9 * every) == 0 ? 0xFF : static_cast<uint8_t>(rng.below(127));
    const float scale = 0.1f;
    return *PackedWeight::pack_fp8(n, k, codes.data(), &scale);
  }
  if (!is_block_type(type)) return *PackedWeight::pack_f32(type, n, k, odd_values(n * k, seed, every).data());
  std::vector<uint8_t> rows = testing::random_rows(type, n, k, seed);
  for (size_t b = 0; b < rows.size(); b += static_cast<size_t>(dtype_info(type).block_bytes)) {
    const auto scale = [&] {
      return f32_to_f16(rng.below(every < 9 ? every : 9) == 0 ? odd[rng.below(4)] : static_cast<float>(rng.normal()));
    };
    testing::set_scales(type, &rows[b], scale(), scale());
  }
  return *PackedWeight::pack(type, n, k, rows.data());
}

TEST(EdgeTest, NoRowsWriteNothing) {
  ThreadPool exec(2);
  Floats guard(4096, -7.0f);
  const Floats kept = guard, x(4096, 1.0f);
  uint8_t* no_pages = nullptr;
  uint8_t* const* row_pages[] = {&no_pages};
  const int32_t zero[] = {0, 0};
  for (const KernelTable* t : all_tables()) {
    float* out = guard.data();
    for (DType type : testing::computable_types()) {
      const PackedWeight w = *PackedWeight::zeros(type, 20, 256);
      t->matmul(exec, w.view(), x.data(), 256, 0, out, 20);
      t->matmul_dx(exec, w.view(), x.data(), 20, 0, out, 256);
      t->embedding(exec, w.view(), zero, 0, out, 256);
    }
    t->matmul_dw(exec, x.data(), 20, x.data(), 32, 0, 20, 32, out, true);
    t->embedding_dw(exec, zero, x.data(), 32, 0, 32, out);
    t->rms_norm(exec, x.data(), x.data(), 1e-5f, 0, 32, out, out);
    t->rms_norm_backward(exec, x.data(), x.data(), x.data(), x.data(), 0, 32, out, out);
    for (bool interleaved : {false, true}) t->rope(exec, x.data(), x.data(), x.data(), 0, 2, 16, 16, interleaved, false, out);
    t->add_bias(exec, out, x.data(), 0, 32);
    t->bias_backward(exec, x.data(), 0, 32, out);
    t->softmax(exec, x.data(), 0, 32, out);
    t->softmax_backward(exec, x.data(), x.data(), 0, 32, out);
    t->logprob_rows(exec, x.data(), 32, 0, 32, zero, 1.0f, out, out, out);
    t->logprob_rows_backward(exec, out, 32, 0, 32, zero, 1.0f, x.data(), x.data(), x.data());
    t->silu_mul(exec, x.data(), x.data(), 0, out);
    t->silu_mul_backward(exec, x.data(), x.data(), x.data(), 0, out, out + 64);
    t->adamw(exec, {out, out + 64, out + 128, x.data(), 0, 1, 1, 1, 1, 1, 1, 1});
    EXPECT_EQ(t->sum_squares(exec, x.data(), 0), 0.0) << t->name;
    for (DType type : kCaches) {
      for (const KvLayout& layout : {KvLayout{type, 1, 2, 16, 16}, KvLayout{type, 1, 2, 16, 16, 8, true}}) {
        t->kv_append(exec, {layout, 0, 0, zero, row_pages, x.data(), layout.latent ? nullptr : x.data()});
        t->attention(exec, {layout, 0, 4, 0, zero, row_pages, 1.0f, x.data(), out, out, out});
        for (int64_t sequences : {0, 1})  // none, and one without a row
          t->attention_backward(exec, {layout, 0, 4, sequences, zero, row_pages, 1.0f, 1.0f, x.data(), x.data(), x.data(),
                                       x.data(), x.data(), out, out + 64, out + 128});
      }
    }
    ASSERT_EQ(guard, kept) << t->name;
    t->matmul_dw(exec, x.data(), 20, x.data(), 32, 0, 20, 32, out, false);  // no rows to sum: zeros
    for (size_t i = 0; i < guard.size(); ++i) ASSERT_EQ(guard[i], i < 2 * 32 * 16 ? 0.0f : -7.0f) << t->name << " at " << i;
    guard = kept;
  }
}

TEST(EdgeTest, MatricesWithoutNumbers) {
  constexpr int64_t n = 37, rows = 14;
  const Floats dy = odd_values(rows * n, 2, 200);
  const Floats plain = odd_values(rows * n, 3, UINT64_MAX);
  std::vector<int32_t> ids = {0, 36, 5, 5, 17, 16, 15, 1, 2, 3, 36, 5, 30, 9};
  for (DType type : types_with_odd_scales()) {
    const int64_t k = dtype_info(type).block_elements == 256 ? 256 : 64;
    const Floats x = odd_values(rows * k, 1, static_cast<uint64_t>(3 * k));
    const std::string name = dtype_name(type);
    const PackedWeight w = odd_weight(type, n, k, 4, 60), odder = odd_weight(type, n, k, 4, 1);
    expect_refs_bits("matmul " + name, [&](const KernelTable& t, Exec& e) {
      Floats y(rows * n);
      t.matmul(e, w.view(), x.data(), k, rows, y.data(), n);
      return y;
    });
    for (const Floats* d : {&dy, &plain})
      expect_refs_bits("matmul_dx " + name, [&](const KernelTable& t, Exec& e) {
        Floats dx(rows * k + 1, 1.0f);  // the last is a number: there the weights alone may spoil everything
        t.matmul_dx(e, w.view(), d->data(), n, rows, dx.data(), k);
        return dx;
      });
    expect_refs_bits("embedding " + name, [&](const KernelTable& t, Exec& e) {
      Floats y(rows * k);
      t.embedding(e, odder.view(), ids.data(), rows, y.data(), k);
      return y;
    });
  }
  constexpr int64_t k = 64;
  const Floats x = odd_values(rows * k, 1, 200);
  expect_refs_bits("matmul_dw", [&](const KernelTable& t, Exec& e) {
    Floats dw(static_cast<size_t>(panel_count(n)) * k * 16);
    t.matmul_dw(e, dy.data(), n, x.data(), k, rows, n, k, dw.data(), false);
    return dw;
  });
  expect_refs_bits("embedding_dw", [&](const KernelTable& t, Exec& e) {
    Floats dw(static_cast<size_t>(panel_count(n)) * k * 16);
    t.embedding_dw(e, ids.data(), x.data(), k, rows, k, dw.data());
    return dw;
  });
}

TEST(EdgeTest, RowsWithoutNumbers) {
  constexpr int64_t rows = 40, dim = 35;
  const Floats x = odd_values(rows * dim, 5, 20), dy = odd_values(rows * dim, 6, 60), w = odd_values(dim, 7, 12);
  expect_refs_bits("rms_norm", [&](const KernelTable& t, Exec& e) {
    Floats out(rows * (2 * dim + 1) + dim);
    float *y = out.data(), *dx = y + rows * dim, *rstd = dx + rows * dim, *dw = rstd + rows;
    t.rms_norm(e, x.data(), w.data(), 1e-6f, rows, dim, y, rstd);
    t.rms_norm_backward(e, x.data(), w.data(), rstd, dy.data(), rows, dim, dx, dw);
    return out;
  });
  expect_refs_bits("bias", [&](const KernelTable& t, Exec& e) {
    Floats y = x, db(dim);
    t.add_bias(e, y.data(), w.data(), rows, dim);
    t.bias_backward(e, dy.data(), rows, dim, db.data());
    y.insert(y.end(), db.begin(), db.end());
    return y;
  });
  expect_refs_bits("softmax", [&](const KernelTable& t, Exec& e) {
    Floats y(rows * dim), dx(rows * dim);
    t.softmax(e, x.data(), rows, dim, y.data());
    t.softmax_backward(e, y.data(), dy.data(), rows, dim, dx.data());
    y.insert(y.end(), dx.begin(), dx.end());
    return y;
  });
  const std::vector<int32_t> targets(rows, 3);
  expect_refs_bits("logprob_rows", [&](const KernelTable& t, Exec& e) {
    Floats z = x, lp(rows), m(rows), s(rows);
    t.logprob_rows(e, z.data(), dim, rows, dim, targets.data(), 0.7f, lp.data(), m.data(), s.data());
    t.logprob_rows_backward(e, z.data(), dim, rows, dim, targets.data(), 0.7f, m.data(), s.data(), lp.data());
    for (const Floats* more : {&lp, &m, &s}) z.insert(z.end(), more->begin(), more->end());
    return z;
  });
  for (const bool interleaved : {false, true})
    for (const bool inverse : {false, true})
      expect_refs_bits("rope", [&](const KernelTable& t, Exec& e) {
        const Floats cos = odd_values(rows * 6, 8, 30), sin = odd_values(rows * 6, 9, 30);
        Floats y(rows * 34);
        t.rope(e, x.data(), cos.data(), sin.data(), rows, 2, 17, 12, interleaved, inverse, y.data());
        return y;
      });
}

TEST(EdgeTest, ElementsWithoutNumbers) {
  constexpr int64_t n = 4500;
  const Floats a = odd_values(n, 10), b = odd_values(n, 11), c = odd_values(n, 12);
  expect_refs_bits("silu_mul", [&](const KernelTable& t, Exec& e) {
    Floats y(n);
    t.silu_mul(e, a.data(), b.data(), n, y.data());
    return y;
  });
  expect_refs_bits("silu_mul_backward", [&](const KernelTable& t, Exec& e) {
    Floats out(2 * n);
    t.silu_mul_backward(e, a.data(), b.data(), c.data(), n, out.data(), out.data() + n);
    return out;
  });
  expect_refs_bits("add and scale", [&](const KernelTable& t, Exec& e) {
    Floats y(n);
    t.add(e, a.data(), b.data(), n, y.data());
    t.scale(e, y.data(), 0.3f, n);
    return y;
  });
  expect_refs_bits("adamw", [&](const KernelTable& t, Exec& e) {
    Floats p = a, m = b, v = c;
    t.adamw(e, {p.data(), m.data(), v.data(), a.data(), n, 0.999f, 0.1f, 0.999f, 0.001f, 3e-3f, 0.0316f, 1e-8f});
    p.insert(p.end(), m.begin(), m.end());
    p.insert(p.end(), v.begin(), v.end());
    return p;
  });
}

TEST(EdgeTest, AttentionWithoutNumbers) {
  constexpr int64_t n = 270;
  constexpr int kKvHeads = 2, kHeads = 6;
  std::vector<int32_t> positions;
  for (int32_t i = 0; i < n; ++i) positions.push_back(i);
  const int32_t offsets[] = {0, n};
  std::vector<KvLayout> layouts;
  for (DType type : kCaches) {
    const bool integer = type == DType::I16 || type == DType::I8;
    const int dim = integer ? 16 : 12;
    layouts.push_back({type, 1, kKvHeads, dim, 64});
    layouts.push_back({type, 1, kKvHeads, dim, 64, integer ? 32 : 20});
    layouts.push_back({type, 1, kKvHeads, dim, 64, integer ? 8 : 9, true});
  }
  for (const KvLayout& layout : layouts) {
    const int dim = layout.head_dim, v_dim = layout.v_dim();
    const Floats k = odd_values(n * kKvHeads * dim, 13, 3000), v = odd_values(n * kKvHeads * v_dim, 14, 3000),
                 q = odd_values(n * kHeads * dim, 15, 3000), dout = odd_values(n * kHeads * v_dim, 16, 3000);
    const auto what = fmt::format("attention {} {} latent {}", dtype_name(layout.type), v_dim, layout.latent);
    expect_refs_bits(what, [&](const KernelTable& t, Exec& e) {
      std::vector<std::vector<uint8_t>> pages(5, std::vector<uint8_t>(static_cast<size_t>(layout.page_bytes()), 0xFF));
      std::vector<uint8_t*> pointers;
      for (auto& page : pages) pointers.push_back(page.data());
      const std::vector<uint8_t* const*> row_pages(n, pointers.data());
      Floats out(dout.size()), m(n * kHeads), s(n * kHeads), dq(q.size()), dk(k.size()), dv(v.size());
      t.kv_append(e, {layout, 0, n, positions.data(), row_pages.data(), k.data(), layout.latent ? nullptr : v.data()});
      t.attention(e,
                  {layout, 0, kHeads, n, positions.data(), row_pages.data(), 0.4f, q.data(), out.data(), m.data(), s.data()});
      t.attention_backward(e, {layout, 0, kHeads, 1, offsets, row_pages.data(), 0.4f, 0.3f, q.data(), out.data(), m.data(),
                               s.data(), dout.data(), dq.data(), dk.data(), dv.data()});
      for (const Floats* more : {&m, &s, &dq, &dk, &dv}) out.insert(out.end(), more->begin(), more->end());
      return out;
    });
  }
}

}  // namespace
}  // namespace raison
