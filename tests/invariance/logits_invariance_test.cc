// The numerics contract: a row of logits depends on its own inputs only. Every factor alone against one baseline, for every
// weight type x cache type x length; then random combinations from a printed seed (200; 2,000 in the slow test). Where the
// CPU has no AVX-512 its sources run on SIMDe instead, for a part of this.
#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "kernels/tables.h"
#include "testing/models.h"
#include "testing/shared_data.h"

namespace raison::testing {
namespace {

std::vector<const KernelTable*> tables() {
  std::vector<const KernelTable*> out = {&ref_kernels()};
  if (const KernelTable* t = avx2_kernels()) out.push_back(t);
  if (const KernelTable* t = avx512_kernels()) out.push_back(t);
  return out;
}

const KernelTable* fastest() { return tables().back(); }

// Sanitized builds look for errors of memory and threads, not of numbers: a part of the lengths does.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr DType kWeights[] = {DType::F32, DType::F16, DType::BF16, DType::Q8_0};
constexpr DType kCaches[] = {DType::F32, DType::F16, DType::BF16};

struct Subject {
  std::string name;
  std::unique_ptr<Model> model;
  std::vector<int64_t> lengths;
};

std::unique_ptr<Model> stories(DType weights) {
  auto files = ModelFiles::open(shared_dir() + "/refdata/weights/stories260K/stories260K.gguf");
  if (!files.ok()) return nullptr;
  LoadOptions options;
  options.repack = weights;
  auto model = load_model(*files, options);
  EXPECT_TRUE(model.ok()) << (model.ok() ? "" : model.message());
  return model.ok() ? std::move(model).value() : nullptr;
}

// One baseline: ref, one thread, the whole prompt at once, alone, no tape.
Way baseline() {
  Way w;
  w.kernels = &ref_kernels();
  return w;
}

std::vector<Way> single_factors() {
  std::vector<Way> out;
  Way base = baseline();
  base.kernels = fastest();  // the ISA factor is covered by the first entries
  for (const KernelTable* t : tables()) {
    Way w = base;
    w.kernels = t;
    if (t != &ref_kernels()) out.push_back(w);
  }
  for (int threads : {2, 3}) {
    Way w = base;
    w.threads = threads;
    out.push_back(w);
  }
  for (int64_t chunk : {1, 7, 64, 256}) {  // 1 = token-by-token decode
    Way w = base;
    w.chunk = chunk;
    out.push_back(w);
  }
  for (int neighbours : {1, 4, 32}) {  // batches of 2, 5 and 33
    Way w = base;
    w.neighbours = neighbours;
    w.chunk = neighbours == 4 ? 64 : 0;
    out.push_back(w);
  }
  for (bool recompute : {false, true}) {
    Way w = base;
    w.tape = true;
    w.recompute = recompute;
    out.push_back(w);
  }
  for (int page : {16, 256}) {
    Way w = base;
    w.page_size = page;
    out.push_back(w);
  }
  return out;
}

// What is left of the factors for the AVX-512 sources on SIMDe, which are slow.
std::vector<Way> simde_ways() {
  Way whole = baseline();
  whole.kernels = simde_stand_in();
  if (!whole.kernels) return {};
  Way decode = whole, chunks = whole, batch = whole, tape = whole;
  decode.chunk = 1;
  chunks.chunk = 7, chunks.threads = 3, chunks.page_size = 16;
  batch.neighbours = 4, batch.chunk = 64, batch.threads = 2;
  tape.tape = tape.recompute = true;
  return {whole, decode, chunks, batch, tape};
}

void check_single_factors(Model& model, DType weights, const std::vector<int64_t>& lengths, uint64_t seed) {
  const int64_t vocab = model.info().vocab;
  // The baseline is computed once, at the greatest length: a shorter prompt must give its first rows.
  const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  const auto all_tokens = random_tokens(longest, vocab, seed);
  for (DType cache : kCaches) {
    const auto all_logits = logits_by(model, cache, all_tokens, baseline());
    for (int64_t length : lengths) {
      const std::vector<int32_t> tokens(all_tokens.begin(), all_tokens.begin() + length);
      const std::vector<float> want(all_logits.begin(), all_logits.begin() + length * vocab);
      for (const Way& way : single_factors()) {
        if (length > 300 && way.chunk == 1 && way.threads > 1) continue;
        ASSERT_TRUE(same_bits(want, logits_by(model, cache, tokens, way), vocab))
            << dtype_name(weights) << " weights, " << dtype_name(cache) << " cache, length " << length << ", " << describe(way);
      }
      // One cache type to a weight type, and the lengths about one split.
      if (static_cast<int>(cache) != static_cast<int>(weights) % 3 || (length != 1 && length != 257)) continue;
      for (const Way& way : simde_ways())
        ASSERT_TRUE(same_bits(want, logits_by(model, cache, tokens, way), vocab))
            << dtype_name(weights) << " weights, " << dtype_name(cache) << " cache, length " << length << ", " << describe(way);
    }
  }
}

class StoriesInvariance : public ::testing::TestWithParam<DType> {};

TEST_P(StoriesInvariance, EachFactorAlone) {
  auto model = stories(GetParam());
  if (!model) GTEST_SKIP() << "NO SHARED DATA: stories260K.gguf is not under " << shared_dir();
  check_single_factors(*model, GetParam(), kSanitized ? std::vector<int64_t>{33} : std::vector<int64_t>{1, 255, 256, 257, 500},
                       5);
}

INSTANTIATE_TEST_SUITE_P(Weights, StoriesInvariance, ::testing::ValuesIn(kWeights),
                         [](const auto& suite) { return std::string(dtype_name(suite.param)); });

class OwnModelInvariance : public ::testing::TestWithParam<DType> {};

TEST_P(OwnModelInvariance, EachFactorAloneAt1300) {
  auto model = tiny_model(tiny_config(), 11);
  ASSERT_TRUE(model);
  repack(*model, GetParam());
  check_single_factors(*model, GetParam(), {kSanitized ? 257 : 1300}, 6);
}

INSTANTIATE_TEST_SUITE_P(Weights, OwnModelInvariance, ::testing::ValuesIn(kWeights),
                         [](const auto& suite) { return std::string(dtype_name(suite.param)); });

void random_combinations(int count) {
  const char* given = std::getenv("RAISON_INVARIANCE_SEED");
  const uint64_t seed = given ? std::strtoull(given, nullptr, 10) : 20261124;
  std::cout << count << " random combinations, seed " << seed << " (RAISON_INVARIANCE_SEED)\n";
  Rng rng(seed);
  const auto isas = tables();
  for (int i = 0; i < count; ++i) {
    const DType weights = kWeights[rng.below(4)], cache = kCaches[rng.below(3)];
    auto model = rng.below(2) ? stories(weights) : nullptr;
    if (!model) {
      model = tiny_model(tiny_config(rng.below(2) ? "llama" : "qwen2"), rng.below(100));
      ASSERT_TRUE(model);
      repack(*model, weights);
    }
    const int64_t length = rng.between(1, 300);
    const auto tokens = random_tokens(length, model->info().vocab, rng.next_u64());
    Way a = baseline(), b;
    a.kernels = fastest();
    b.kernels = isas[rng.below(isas.size())];
    if (i % 8 == 7 && simde_stand_in()) b.kernels = simde_stand_in();
    b.threads = static_cast<int>(rng.between(1, 3));
    b.chunk = rng.below(2) ? rng.between(1, length) : 0;
    b.neighbours = rng.below(2) ? static_cast<int>(rng.between(1, 32)) : 0;
    b.tape = rng.below(4) == 0;
    b.recompute = rng.below(2) == 0;
    b.page_size = 16 << rng.below(5);
    ASSERT_TRUE(same_bits(logits_by(*model, cache, tokens, a), logits_by(*model, cache, tokens, b), model->info().vocab))
        << "combination " << i << ": " << dtype_name(weights) << " weights, " << dtype_name(cache) << " cache, length "
        << length << ", " << describe(b);
  }
}

// 520 positions are three splits, and a matrix of 200 rows and 136 columns has panels and tiles that end in the middle.
TEST(Invariance, AModelOfOddSizesOnSimde) {
  if (avx512_kernels()) GTEST_SKIP() << "NOT NEEDED: this CPU runs the AVX-512 table itself, in the other tests here";
  if (!avx2_kernels()) GTEST_SKIP() << "NO AVX2 on this CPU: SIMDe's AVX-512 cannot run either";
  if (!simde_stand_in())
    GTEST_SKIP() << "NO SIMDE in this build: libsimde-dev is missing (scripts/setup --dev), or a sanitizer is on";
  auto config = tiny_config();
  config["hidden_size"] = 136, config["intermediate_size"] = 200, config["head_dim"] = 20;
  auto model = tiny_model(config, 12);
  ASSERT_TRUE(model);
  const auto tokens = random_tokens(520, model->info().vocab, 8);
  for (DType cache : {DType::F32, DType::BF16}) {
    Way a = baseline(), b = a;
    a.kernels = fastest();
    b.kernels = simde_stand_in();
    b.threads = 2;
    ASSERT_TRUE(same_bits(logits_by(*model, cache, tokens, a), logits_by(*model, cache, tokens, b), model->info().vocab));
  }
}

TEST(Invariance, RandomCombinations) { random_combinations(kSanitized ? 6 : 200); }
TEST(Invariance, SlowRandomCombinations) { random_combinations(2000); }

}  // namespace
}  // namespace raison::testing
