// Rows of made-up tensors: what is rearranged comes back, and each rearrangement is what its definition says.
#include "convert/row_source.h"

#include <gtest/gtest.h>

#include <numeric>

namespace raison {
namespace {

RowSourcePtr counting(std::vector<int64_t> shape) {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  std::vector<float> values(static_cast<size_t>(n));
  std::iota(values.begin(), values.end(), 0.0f);
  return rows_in_memory(std::move(shape), std::move(values));
}

std::vector<float> all_rows(const RowSource& rows, int64_t step = 1) {
  std::vector<float> out(static_cast<size_t>(rows.rows() * rows.cols()));
  step *= rows.unit();
  for (int64_t r = 0; r < rows.rows(); r += step) rows.read(r, std::min(step, rows.rows() - r), out.data() + r * rows.cols());
  return out;
}

TEST(RowSource, PairsSideBySideAndBack) {
  const auto rows = counting({12, 3});  // two heads of 6
  const auto pairs = interleave(rows, 2);
  const auto got = all_rows(*pairs);
  const std::vector<int64_t> order = {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11};
  for (size_t r = 0; r < order.size(); ++r) EXPECT_EQ(got[r * 3], static_cast<float>(order[r] * 3)) << r;
  EXPECT_EQ(all_rows(*deinterleave(pairs, 2), 5), all_rows(*rows));
  const auto vector = counting({12});
  EXPECT_EQ(all_rows(*interleave(vector, 2)), (std::vector<float>{0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11}));
  EXPECT_EQ(all_rows(*deinterleave(interleave(vector, 2), 2)), all_rows(*vector));
}

TEST(RowSource, StacksAndTakesOut) {
  const auto a = counting({4, 3}), b = interleave(a, 1);
  const auto both = stack({a, b, a});
  EXPECT_EQ(both->shape(), (std::vector<int64_t>{3, 4, 3}));
  EXPECT_NE(all_rows(*a), all_rows(*b));
  for (const int64_t step : {1, 3, 5, 12}) {
    const auto got = all_rows(*both, step);
    EXPECT_EQ(std::vector<float>(got.begin(), got.begin() + 12), all_rows(*a));
    EXPECT_EQ(std::vector<float>(got.begin() + 12, got.begin() + 24), all_rows(*b));
  }
  EXPECT_EQ(all_rows(*unstack(both, 1)), all_rows(*b));
  EXPECT_EQ(unstack(both, 2)->shape(), a->shape());
}

TEST(RowSource, SplitsAndJoinsLatentHeads) {
  constexpr int64_t heads = 3, nope = 4, v = 2, rank = 5;
  const auto kv_b = counting({heads * (nope + v), rank});
  const auto keys = keys_of_kv_b(kv_b, heads, nope, v), values = values_of_kv_b(kv_b, heads, nope, v);
  EXPECT_EQ(keys->shape(), (std::vector<int64_t>{heads, rank, nope}));
  EXPECT_EQ(values->shape(), (std::vector<int64_t>{heads, v, rank}));
  const auto whole = all_rows(*kv_b), k = all_rows(*keys), u = all_rows(*values);
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t j = 0; j < rank; ++j) {
      for (int64_t i = 0; i < nope; ++i)
        EXPECT_EQ(k[static_cast<size_t>((h * rank + j) * nope + i)],
                  whole[static_cast<size_t>((h * (nope + v) + i) * rank + j)]);
      for (int64_t i = 0; i < v; ++i)
        EXPECT_EQ(u[static_cast<size_t>((h * v + i) * rank + j)],
                  whole[static_cast<size_t>((h * (nope + v) + nope + i) * rank + j)]);
    }
  const auto joined = join_kv_b(keys, values);
  EXPECT_EQ(joined->shape(), kv_b->shape());
  EXPECT_EQ(all_rows(*joined), whole);
  EXPECT_EQ(all_rows(*joined, 2), whole);
  EXPECT_EQ(any_rows(joined)->unit(), 1);
  for (const int64_t step : {1, 2, 5}) EXPECT_EQ(all_rows(*any_rows(joined), step), whole);
}

TEST(RowSource, RefusesTypesWithoutMeaning) {
  const std::vector<uint8_t> bytes(64);
  TensorInfo t;
  t.name = "w";
  t.type = DType::F8_E4M3;
  t.type_name = "F8_E4M3";
  t.shape = {4, 4};
  t.data = bytes.data();
  EXPECT_FALSE(rows_of(t, nullptr).ok());
  TensorInfo scales = t;
  scales.type = DType::F32;
  scales.type_name = "F32";
  scales.shape = {1, 1};
  EXPECT_TRUE(rows_of(t, &scales).ok());
  scales.shape = {1, 2};
  EXPECT_FALSE(rows_of(t, &scales).ok());
  t.type = DType::I32;
  EXPECT_FALSE(rows_of(t, nullptr).ok());
  t.type = DType::F32;
  EXPECT_TRUE(rows_of(t, nullptr).ok());
  EXPECT_FALSE(rows_of(t, &scales).ok());  // scales of what needs none
}

}  // namespace
}  // namespace raison
