// The numerics contract for every architecture and every type of weights. Not the full product: each architecture meets every
// factor once, each type one architecture (another for the next type), by way of a file as they are published.
#include <algorithm>
#include <iostream>

#include "kernels/tables.h"
#include "testing/checkpoints.h"

namespace raison::testing {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int64_t kPastASplit = 40;
#else
constexpr int64_t kPastASplit = 270;
#endif

const KernelTable* best_table() {
  if (avx512_kernels()) return avx512_kernels();
  return avx2_kernels() ? avx2_kernels() : &ref_kernels();
}

Way way_of(const KernelTable* kernels, int threads, int64_t chunk, int neighbours, int page_size) {
  Way w;
  w.kernels = kernels;
  w.threads = threads;
  w.chunk = chunk;
  w.neighbours = neighbours;
  w.page_size = page_size;
  return w;
}
Way taped(const KernelTable* kernels, int threads, int neighbours, bool recompute) {
  Way w = way_of(kernels, threads, 0, neighbours, 32);
  w.tape = true;
  w.recompute = recompute;
  return w;
}
Way plain_way() { return way_of(&ref_kernels(), 1, 0, 0, 64); }

std::vector<Way> ways() {
  const KernelTable* best = best_table();
  std::vector<Way> out = {way_of(best, 1, 0, 0, 64),           way_of(best, 3, 7, 0, 16), way_of(best, 2, 64, 4, 256),
                          way_of(best, 2, 0, 12, 64),          taped(best, 3, 0, false),  taped(best, 1, 3, true),
                          way_of(&ref_kernels(), 3, 33, 1, 32)};
  if (avx512_kernels() && avx2_kernels()) out.push_back(way_of(avx2_kernels(), 2, 50, 2, 16));
  return out;
}

constexpr DType kCacheTypes[] = {DType::F32, DType::F16, DType::BF16};

class ArchitectureInvariance : public ::testing::TestWithParam<int> {
 protected:
  TinyArchitecture architecture() const { return tiny_architectures()[static_cast<size_t>(GetParam())]; }
};

TEST_P(ArchitectureInvariance, Logits) {
  const TinyArchitecture a = architecture();
  auto model = through_hf(TinyCheckpoint(a.config, 41), GetParam() % 2 ? DType::BF16 : DType::F32);
  ASSERT_TRUE(model.ok()) << model.message();
  const int64_t vocab = (*model)->info().vocab;
  const auto tokens = random_tokens(kPastASplit, vocab, 42);
  const DType cache = kCacheTypes[GetParam() % 3];
  const auto want = logits_by(**model, cache, tokens, plain_way());
  for (const Way& way : ways())
    ASSERT_TRUE(same_bits(want, logits_by(**model, cache, tokens, way), vocab)) << a.name << " " << describe(way);
  // Token by token, and the AVX-512 sources where they run on SIMDe: short, for they are slow.
  const std::vector<int32_t> some(tokens.begin(), tokens.begin() + 20);
  const std::vector<float> first(want.begin(), want.begin() + 20 * vocab);
  std::vector<Way> slow = {way_of(best_table(), 2, 1, 0, 16), way_of(best_table(), 1, 1, 2, 64)};
  if (simde_stand_in()) {
    slow.push_back(way_of(simde_stand_in(), 2, 6, 2, 16));
    slow.push_back(taped(simde_stand_in(), 1, 0, true));
  }
  for (const Way& way : slow)
    ASSERT_TRUE(same_bits(first, logits_by(**model, cache, some, way), vocab)) << a.name << " " << describe(way);
}

// Caches of integers, both types for every architecture whose heads they can hold.
TEST_P(ArchitectureInvariance, LogitsOfIntegerCaches) {
  const TinyArchitecture a = architecture();
  auto model = tiny_model(a.config, 48);
  ASSERT_TRUE(model);
  const int64_t vocab = model->info().vocab;
  const auto tokens = random_tokens(kPastASplit, vocab, 49);
  const std::vector<int32_t> some(tokens.begin(), tokens.begin() + 20);
  const auto exact = logits_by(*model, DType::F32, tokens, way_of(best_table(), 2, 0, 0, 64));
  const bool latent = a.config.contains("kv_lora_rank"), usable = a.name != "qwen3";  // whose heads are 24 wide
  EXPECT_EQ(model->default_cache_type(), latent ? DType::I16 : DType::F16);
  for (const DType cache : {DType::I16, DType::I8}) {
    const auto layout = model->kv_layout(cache, 64);
    ASSERT_EQ(layout.ok(), usable) << a.name;
    if (!usable) {
      EXPECT_NE(layout.message().find("f32, f16 or bf16"), std::string::npos) << layout.message();
      EXPECT_EQ(layout.message().find('\n'), std::string::npos) << layout.message();
      continue;
    }
    const auto want = logits_by(*model, cache, tokens, plain_way());
    std::vector<Way> several = {way_of(best_table(), 3, 7, 1, 16), way_of(best_table(), 2, 64, 4, 256),
                                taped(best_table(), 1, 2, true)};
    for (const Way& way : several)
      ASSERT_TRUE(same_bits(want, logits_by(*model, cache, tokens, way), vocab)) << a.name << " " << describe(way);
    const std::vector<float> first(want.begin(), want.begin() + 20 * vocab);
    std::vector<Way> slow = {way_of(best_table(), 2, 1, 1, 32)};
    if (simde_stand_in()) slow.push_back(way_of(simde_stand_in(), 2, 6, 2, 16));
    for (const Way& way : slow)
      ASSERT_TRUE(same_bits(first, logits_by(*model, cache, some, way), vocab)) << a.name << " " << describe(way);
    // By the median: a router that chooses another expert makes single tokens differ by much.
    std::vector<double> apart;
    for (size_t i = 0; i < want.size(); ++i) apart.push_back(std::fabs(double{want[i]} - double{exact[i]}));
    std::nth_element(apart.begin(), apart.begin() + static_cast<std::ptrdiff_t>(apart.size() / 2), apart.end());
    EXPECT_LT(apart[apart.size() / 2], cache == DType::I16 ? 2e-3 : 5e-2) << a.name << " " << dtype_name(cache);
    EXPECT_GT(apart[apart.size() / 2], 0) << a.name;
  }
}

// All gradients that there are, one after the other; parameters that no token met have none.
std::vector<float> gradients_of(Model& model, DType cache_type, const KernelTable& kernels, int threads, bool recompute,
                                int page_size, const std::vector<int64_t>& lengths) {
  ThreadPool pool(threads);
  KvCache cache(*model.kv_layout(cache_type, page_size));
  std::vector<std::vector<int32_t>> sequences;
  std::vector<int64_t> first_target;
  for (const int64_t n : lengths) {
    sequences.push_back(random_tokens(n, model.info().vocab, static_cast<uint64_t>(n)));
    first_target.push_back(n / 4);
  }
  const TrainBatch batch = make_train_batch(cache, sequences, first_target);
  GradientStore gradients(model.parameters());
  loss_and_gradients(model, pool, kernels, batch, &gradients, recompute);
  std::vector<float> out;
  for (const auto& p : model.parameters().all()) {
    if (!gradients.has_total(*p)) continue;
    const auto g = p->to_row_major(gradients.total(*p));
    out.insert(out.end(), g.begin(), g.end());
  }
  return out;
}

TEST_P(ArchitectureInvariance, Gradients) {
  const TinyArchitecture a = architecture();
  auto model = tiny_model(a.config, 43);
  ASSERT_TRUE(model);
  const DType cache = kCacheTypes[(GetParam() + 1) % 3];
  const std::vector<int64_t> lengths = {3, 33, 1, GetParam() == 6 ? kPastASplit : 50};
  const auto want = gradients_of(*model, cache, ref_kernels(), 1, false, 64, lengths);
  ASSERT_GT(want.size(), 1000u);
  EXPECT_TRUE(std::all_of(want.begin(), want.end(), [](float g) { return std::isfinite(g); }));
  for (const KernelTable* t : {&ref_kernels(), avx2_kernels(), avx512_kernels()})
    for (const bool recompute : {false, true}) {
      if (!t || (t == &ref_kernels() && !recompute)) continue;
      const int threads = recompute ? 3 : 2, page = recompute ? 16 : 256;
      ASSERT_TRUE(same_bits(want, gradients_of(*model, cache, *t, threads, recompute, page, lengths), 1))
          << a.name << " " << t->name << " recompute " << recompute;
    }
  if (const KernelTable* t = simde_stand_in()) {
    const std::vector<int64_t> few = {3, 9};
    ASSERT_TRUE(same_bits(gradients_of(*model, cache, ref_kernels(), 1, false, 64, few),
                          gradients_of(*model, cache, *t, 2, true, 16, few), 1))
        << a.name << " on SIMDe";
  }
}

// Only differences of positions count: with angles exact to fp32 at any distance, YaRN's and Llama 3's too.
TEST_P(ArchitectureInvariance, FarPositions) {
  const TinyArchitecture a = architecture();
  auto model = tiny_model(a.config, 44);
  ASSERT_TRUE(model);
  const auto tokens = random_tokens(60, model->info().vocab, 45);
  Way near = way_of(best_table(), 2, 0, 0, 64), far = near;
  far.rope_offset = 160000;
  const auto want = logits_by(*model, DType::F32, tokens, near), got = logits_by(*model, DType::F32, tokens, far);
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::fabs(double{got[i]} - double{want[i]}));
  EXPECT_LT(worst, 1e-3) << a.name;
  EXPECT_GT(worst, 0) << a.name << ": the offset reached no angle";
}

INSTANTIATE_TEST_SUITE_P(All, ArchitectureInvariance, ::testing::Range(0, 8),
                         [](const auto& suite) { return tiny_architectures()[static_cast<size_t>(suite.param)].name; });

// A scaled model of long context is another than an unscaled one: the tests above would not see scaling that is not applied.
TEST(FarPositionsOfEveryScaling, ScalingIsApplied) {
  for (const TinyArchitecture& a : tiny_architectures()) {
    if (!a.config.contains("rope_scaling")) continue;
    nlohmann::json unscaled = a.config;
    unscaled.erase("rope_scaling");
    auto with = tiny_model(a.config, 46), without = tiny_model(unscaled, 46);
    ASSERT_TRUE(with && without);
    const auto tokens = random_tokens(60, with->info().vocab, 47);
    const Way way = way_of(best_table(), 1, 0, 0, 64);
    EXPECT_FALSE(same_bits(logits_by(*with, DType::F32, tokens, way), logits_by(*without, DType::F32, tokens, way), 61))
        << a.name;
  }
}

// ---- types of weights ----

std::vector<DType> weight_types_in_files() {
  std::vector<DType> out;
  for (int t = 0; t <= static_cast<int>(DType::BOOL); ++t)
    if (is_computable(static_cast<DType>(t))) out.push_back(static_cast<DType>(t));
  return out;
}

class WeightTypeInvariance : public ::testing::TestWithParam<DType> {
 protected:
  std::unique_ptr<Model> model() const {
    const auto all = tiny_architectures(256);
    const auto which = static_cast<size_t>(GetParam());
    const TinyArchitecture& a = all[which % all.size()];
    const TinyCheckpoint c(a.config, 51);
    const bool latent = a.config.contains("kv_lora_rank");
    auto m = GetParam() == DType::F8_E4M3 ? through_hf(c, GetParam()) : through_gguf(c, GetParam(), latent && which % 8 < 6);
    EXPECT_TRUE(m.ok()) << a.name << ": " << (m.ok() ? "" : m.message());
    if (!m.ok()) return nullptr;
    int64_t of_this_type = 0;
    for (const auto& p : (*m)->parameters().all()) of_this_type += p->is_matrix() && p->matrix_type() == GetParam();
    EXPECT_GT(of_this_type, 5) << a.name << " has too few matrices of " << dtype_name(GetParam());
    return std::move(m).value();
  }
};

TEST_P(WeightTypeInvariance, LogitsAndGradientsThroughFrozenWeights) {
  auto m = model();
  ASSERT_TRUE(m);
  const int64_t vocab = m->info().vocab;
  const auto tokens = random_tokens(21, vocab, 52);
  const auto want = logits_by(*m, DType::BF16, tokens, plain_way());
  EXPECT_TRUE(std::all_of(want.begin(), want.end(), [](float z) { return std::isfinite(z); }));
  std::vector<Way> some = {way_of(best_table(), 2, 0, 0, 64), way_of(best_table(), 3, 5, 3, 16),
                           taped(best_table(), 1, 1, true)};
  for (const Way& way : some) ASSERT_TRUE(same_bits(want, logits_by(*m, DType::BF16, tokens, way), vocab)) << describe(way);
  const std::vector<int32_t> few(tokens.begin(), tokens.begin() + 4);
  const std::vector<float> first(want.begin(), want.begin() + 4 * vocab);
  std::vector<Way> decode = {way_of(best_table(), 2, 1, 0, 16)};
  if (simde_stand_in()) decode.push_back(way_of(simde_stand_in(), 1, 3, 0, 64));
  for (const Way& way : decode) ASSERT_TRUE(same_bits(first, logits_by(*m, DType::BF16, few, way), vocab)) << describe(way);
  // Frozen matrices hand gradients on to what is trained: norms and biases here.
  for (const auto& p : m->parameters().all()) p->trainable = !p->is_matrix() && p->name.find("correction") == std::string::npos;
  const std::vector<int64_t> lengths = {3, 9};
  const auto gradients = gradients_of(*m, DType::F16, ref_kernels(), 1, false, 64, lengths);
  ASSERT_GT(gradients.size(), 256u);
  for (const KernelTable* t : {avx2_kernels(), avx512_kernels()})
    for (const bool recompute : {false, true}) {
      if (!t) continue;
      ASSERT_TRUE(same_bits(gradients, gradients_of(*m, DType::F16, *t, recompute ? 3 : 1, recompute, 16, lengths), 1))
          << t->name;
    }
}

INSTANTIATE_TEST_SUITE_P(All, WeightTypeInvariance, ::testing::ValuesIn(weight_types_in_files()),
                         [](const auto& suite) { return std::string(dtype_name(suite.param)); });

}  // namespace
}  // namespace raison::testing
