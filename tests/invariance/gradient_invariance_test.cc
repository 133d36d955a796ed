// Gradients are byte-equal over ISA, threads, recomputation and page size, for every cache type.
#include "kernels/tables.h"
#include "testing/models.h"

namespace raison::testing {
namespace {

// Past one attention split of 256, but short where sanitizers make everything slow.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int64_t kLongest = 40;
#else
constexpr int64_t kLongest = 290;
#endif

std::vector<float> all_gradients(Model& model, DType cache_type, const KernelTable& kernels, int threads, bool recompute,
                                 int page_size) {
  ThreadPool pool(threads);
  KvCache cache(*model.kv_layout(cache_type, page_size));
  std::vector<std::vector<int32_t>> sequences;
  std::vector<int64_t> first_target;
  for (int64_t n : std::vector<int64_t>{3, 40, 17, 1, kLongest}) {
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

class GradientInvariance : public ::testing::TestWithParam<DType> {};

TEST_P(GradientInvariance, OverIsaThreadsRecomputationAndPages) {
  for (const char* type : {"qwen2", "llama"}) {
    auto model = tiny_model(tiny_config(type), 3);
    ASSERT_TRUE(model);
    const auto want = all_gradients(*model, GetParam(), ref_kernels(), 1, false, 64);
    ASSERT_FALSE(want.empty());
    std::vector<const KernelTable*> tables = {&ref_kernels()};
    if (avx2_kernels()) tables.push_back(avx2_kernels());
    if (avx512_kernels()) tables.push_back(avx512_kernels());
    for (const KernelTable* t : tables)
      for (int threads : {1, 2, 3})
        for (bool recompute : {false, true})
          for (int page : {16, 256})
            ASSERT_TRUE(same_bits(want, all_gradients(*model, GetParam(), *t, threads, recompute, page), 1))
                << type << " " << t->name << " threads " << threads << " recompute " << recompute << " page " << page;
    if (const KernelTable* t = simde_stand_in()) {
      const bool recompute = GetParam() != DType::F32;
      ASSERT_TRUE(same_bits(want, all_gradients(*model, GetParam(), *t, recompute ? 3 : 1, recompute, 16), 1))
          << type << " " << t->name << " on SIMDe, recompute " << recompute;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Caches, GradientInvariance,
                         ::testing::Values(DType::F32, DType::F16, DType::BF16, DType::I16, DType::I8),
                         [](const auto& suite) { return std::string(dtype_name(suite.param)); });

// A quantised base is frozen, but gradients pass through it: the hidden states' gradient must not depend on ISA or threads.
TEST(GradientInvariance, ThroughFrozenWeightsOfEveryType) {
  for (DType type : {DType::F16, DType::BF16, DType::Q8_0}) {
    auto model = tiny_model(tiny_config(), 4);
    ASSERT_TRUE(model);
    repack(*model, type);  // matrices frozen; norms and biases still get gradients
    const auto want = all_gradients(*model, DType::F16, ref_kernels(), 1, false, 64);
    ASSERT_FALSE(want.empty());
    for (const KernelTable* t : {avx2_kernels(), avx512_kernels(), simde_stand_in()})
      for (int threads : {1, 3}) {
        if (!t) continue;
        ASSERT_TRUE(same_bits(want, all_gradients(*model, DType::F16, *t, threads, false, 64), 1)) << dtype_name(type);
      }
  }
}

}  // namespace
}  // namespace raison::testing
