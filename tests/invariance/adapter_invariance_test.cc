// The numerics contract with adapters: a row depends on its own adapter alone, whatever adapters its neighbours in the batch have.
#include "kernels/tables.h"
#include "testing/adapters.h"
#include "testing/checkpoints.h"

namespace raison::testing {
namespace {

struct AdaptedSequence {
  std::vector<int32_t> tokens;
  int32_t adapter;
};

struct AdapterWay {
  const KernelTable* kernels;
  int threads = 1;
  int64_t chunk = 0;
  bool tape = false, recompute = false;
  int page_size = 64;
};

// Logits of every sequence, all in the same batches.
std::vector<std::vector<float>> logits_of_all(Model& model, const std::vector<AdaptedSequence>& sequences,
                                              const AdapterWay& way) {
  ThreadPool pool(way.threads);
  KvCache cache(*model.kv_layout(DType::F32, way.page_size));
  std::vector<KvCache::Sequence> pages;
  std::vector<std::vector<float>> out(sequences.size());
  std::vector<size_t> done(sequences.size(), 0);
  for (const AdaptedSequence& s : sequences) {
    pages.push_back(cache.sequence());
    EXPECT_TRUE(pages.back().reserve(static_cast<int64_t>(s.tokens.size())).ok());
  }
  Arena arena;
  GradientStore gradients(model.parameters());
  while (true) {
    ForwardBatch b;
    b.kv = cache.layout();
    b.seq_offsets = {0};
    std::vector<size_t> of_row;
    for (size_t s = 0; s < sequences.size(); ++s) {
      const size_t left = sequences[s].tokens.size() - done[s];
      // Chunks of other lengths in every sequence.
      const size_t n = way.chunk == 0 ? left : std::min(left, static_cast<size_t>(way.chunk) + s % 3);
      if (n == 0) continue;
      for (size_t i = 0; i < n; ++i) {
        b.output_rows.push_back(static_cast<int32_t>(b.rows()));
        of_row.push_back(s);
        b.tokens.push_back(sequences[s].tokens[done[s] + i]);
        b.positions.push_back(static_cast<int32_t>(done[s] + i));
      }
      done[s] += n;
      b.seq_offsets.push_back(static_cast<int32_t>(b.rows()));
      b.seq_pages.push_back(pages[s].pages());
      b.adapters.push_back(sequences[s].adapter);
    }
    if (b.rows() == 0) return out;
    const Status ok = check_batch(model, b);
    EXPECT_TRUE(ok.ok()) << (ok.ok() ? "" : ok.message());
    if (!ok.ok()) return out;
    Tape tape(gradients);
    arena.reset();
    Context ctx{pool, *way.kernels, arena, way.tape ? &tape : nullptr, way.recompute};
    const Tensor hidden = model.forward(ctx, b);
    Context plain{pool, *way.kernels, arena};
    const Tensor z = head_logits(plain, model.head(), hidden);
    for (int64_t r = 0; r < z.rows; ++r) {
      auto& to = out[of_row[static_cast<size_t>(r)]];
      to.insert(to.end(), z.row(r), z.row(r) + z.cols);
    }
  }
}

const KernelTable* widest_table() {
  if (avx512_kernels()) return avx512_kernels();
  return avx2_kernels() ? avx2_kernels() : &ref_kernels();
}

std::vector<AdapterWay> adapter_ways() {
  const KernelTable* best = widest_table();
  std::vector<AdapterWay> out = {
      {best}, {best, 3, 1, false, false, 16}, {best, 2, 7}, {best, 2, 0, true, false}, {best, 1, 0, true, true}};
  if (avx512_kernels() && avx2_kernels()) out.push_back({avx2_kernels(), 2, 5});
  if (simde_stand_in()) out.push_back({simde_stand_in(), 1, 0});
  return out;
}

class AdapterInvariance : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    const TinyArchitecture a = tiny_architectures()[static_cast<size_t>(GetParam())];
    auto loaded = through_hf(TinyCheckpoint(a.config, 61), GetParam() % 2 ? DType::BF16 : DType::F32);
    ASSERT_TRUE(loaded.ok()) << loaded.message();
    model_ = std::move(loaded).value();
    // Of other ranks; the second leaves matrices out.
    EXPECT_EQ(model_->add_adapter(random_adapter(*model_, 3, 0.8f, 62)), 0);
    EXPECT_EQ(model_->add_adapter(random_adapter(*model_, 17, 0.3f, 63, 2)), 1);
  }
  std::unique_ptr<Model> model_;
};

TEST_P(AdapterInvariance, ARowDependsOnItsOwnAdapterAlone) {
  const int64_t vocab = model_->info().vocab;
  std::vector<AdaptedSequence> sequences;
  const int32_t ids[] = {-1, 0, 1, 0, -1, 1, 0};
  for (size_t i = 0; i < std::size(ids); ++i)  // the first three begin alike
    sequences.push_back({random_tokens(9 + static_cast<int64_t>(i * 5 % 17), vocab, i < 3 ? 1 : i), ids[i]});
  std::vector<std::vector<float>> alone;
  for (const AdaptedSequence& s : sequences) alone.push_back(logits_of_all(*model_, {s}, {&ref_kernels()})[0]);
  EXPECT_NE(std::vector<float>(alone[0].begin(), alone[0].begin() + vocab),
            std::vector<float>(alone[1].begin(), alone[1].begin() + vocab));
  EXPECT_NE(std::vector<float>(alone[1].begin(), alone[1].begin() + vocab),
            std::vector<float>(alone[2].begin(), alone[2].begin() + vocab));
  for (const AdapterWay& way : adapter_ways()) {
    const auto together = logits_of_all(*model_, sequences, way);
    for (size_t s = 0; s < sequences.size(); ++s)
      ASSERT_TRUE(same_bits(alone[s], together[s], vocab))
          << way.kernels->name << " sequence " << s << ", chunk " << way.chunk << ", tape " << way.tape << way.recompute;
  }
}

// Without an adapter the bits are those of a model that never had one.
TEST_P(AdapterInvariance, TheBaseStaysTheBase) {
  const auto tokens = random_tokens(20, model_->info().vocab, 9);
  Way way;
  way.kernels = widest_table();
  const auto plain = logits_by(*model_, DType::F32, tokens, way);
  const auto named = logits_of_all(*model_, {{tokens, -1}, {tokens, 1}}, {widest_table()});
  EXPECT_TRUE(same_bits(plain, named[0], model_->info().vocab));
}

// A's and B's gradients: the same bits on every table, with any number of threads, recomputed or not.
TEST_P(AdapterInvariance, Gradients) {
  freeze(*model_);
  Adapter& adapter = *model_->adapters()[0];
  const auto gradients_by = [&](const KernelTable& kernels, int threads, bool recompute, int page) {
    ThreadPool pool(threads);
    KvCache cache(*model_->kv_layout(DType::F32, page));
    TrainBatch batch = make_train_batch(cache, {random_tokens(17, 61, 1), random_tokens(6, 61, 2)}, {3, 1});
    batch.batch.adapters = {0, 0};
    GradientStore gradients(adapter.parameters());
    loss_and_gradients(*model_, pool, kernels, batch, &gradients, recompute);
    std::vector<float> all;
    int64_t seen = 0;
    for (const auto& p : adapter.parameters().all()) {
      if (!gradients.has_total(*p)) continue;  // of experts that no token met
      const auto g = p->to_row_major(gradients.total(*p));
      all.insert(all.end(), g.begin(), g.end());
      ++seen;
    }
    EXPECT_GT(seen, 10);
    return all;
  };
  const auto want = gradients_by(ref_kernels(), 1, false, 64);
  ASSERT_FALSE(want.empty());
  EXPECT_TRUE(std::all_of(want.begin(), want.end(), [](float v) { return std::isfinite(v); }));
  for (const KernelTable* t : {avx2_kernels(), avx512_kernels()})
    for (const bool recompute : {false, true})
      if (t) {
        EXPECT_TRUE(same_bits(want, gradients_by(*t, recompute ? 3 : 2, recompute, recompute ? 16 : 32), 1)) << t->name;
      }
}

INSTANTIATE_TEST_SUITE_P(All, AdapterInvariance, ::testing::Range(0, 8),
                         [](const auto& suite) { return tiny_architectures()[static_cast<size_t>(suite.param)].name; });

}  // namespace
}  // namespace raison::testing
