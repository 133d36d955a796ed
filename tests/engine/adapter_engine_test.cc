// Requests with different adapters in one engine: each gets what it gets alone, and no page goes from one adapter to another.
#include "engine/engine.h"
#include "testing/adapters.h"

namespace raison::testing {
namespace {

struct AdaptedEngine {
  std::unique_ptr<Model> model = tiny_model(tiny_config(), 31);
  ThreadPool pool{2};
  const KernelTable& kernels = **select_kernels_from_environment();

  AdaptedEngine() {
    model->add_adapter(random_adapter(*model, 4, 0.5f, 32));
    model->add_adapter(random_adapter(*model, 2, 0.5f, 33));
  }
  static Request request(int32_t adapter, uint64_t sample) {
    Request r;
    r.prompt = random_tokens(150, 61, 9);  // the same for all: two pages and more
    r.sampling.temperature = 1;
    r.sampling.seed = 4;
    r.sample_index = sample;
    r.max_tokens = 12;
    r.adapter = adapter;
    return r;
  }
};

TEST(AdapterEngine, EachRequestGetsWhatItGetsAlone) {
  AdaptedEngine t;
  const int32_t adapters[] = {0, -1, 1, 0, 1, -1, 0};
  std::vector<Generation> alone;
  for (size_t i = 0; i < std::size(adapters); ++i) {
    Engine engine(*t.model, t.pool, t.kernels, {});
    auto g = generate(engine, AdaptedEngine::request(adapters[i], i));
    ASSERT_TRUE(g.ok()) << g.message();
    alone.push_back(std::move(g).value());
  }
  EXPECT_NE(alone[0].logprobs, alone[1].logprobs);
  EXPECT_NE(alone[0].logprobs, alone[2].logprobs);
  EngineOptions options;
  options.prefill_chunk = 40;
  Engine engine(*t.model, t.pool, t.kernels, options);
  std::vector<Generation> together(alone.size());
  std::vector<uint64_t> ids;
  for (size_t i = 0; i < std::size(adapters); ++i) ids.push_back(*engine.submit(AdaptedEngine::request(adapters[i], i)));
  ASSERT_TRUE(engine
                  .run([&](const TokenEvent& e) {
                    together[static_cast<size_t>(std::find(ids.begin(), ids.end(), e.request) - ids.begin())].add(e);
                  })
                  .ok());
  for (size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(alone[i].tokens, together[i].tokens) << i;
    EXPECT_EQ(alone[i].logprobs, together[i].logprobs) << i;
  }
  // The prompt was computed once for each adapter, and its other samples found it.
  EXPECT_EQ(engine.stats().prompt_tokens, 3 * 150 + 4 * 1);
}

TEST(AdapterEngine, AnUpdateOfAnAdapterMakesPagesStale) {
  AdaptedEngine t;
  Engine engine(*t.model, t.pool, t.kernels, {});
  auto before = generate(engine, AdaptedEngine::request(0, 0));
  ASSERT_TRUE(before.ok());
  Adapter& a = *t.model->adapters()[0];
  for (const auto& p : a.parameters().all())
    for (int64_t i = 0; i < p->value_count(); ++i) p->values()[i] *= 1.5f;
  ++a.parameters().version;
  auto after = generate(engine, AdaptedEngine::request(0, 0));
  ASSERT_TRUE(after.ok());
  Engine fresh(*t.model, t.pool, t.kernels, {});
  auto want = generate(fresh, AdaptedEngine::request(0, 0));
  ASSERT_TRUE(want.ok());
  EXPECT_NE(before->logprobs, after->logprobs);
  EXPECT_EQ(want->logprobs, after->logprobs);
}

TEST(AdapterEngine, UnknownAdaptersAreRefused) {
  AdaptedEngine t;
  Engine engine(*t.model, t.pool, t.kernels, {});
  for (const int32_t id : {2, -2}) {
    const auto r = engine.submit(AdaptedEngine::request(id, 0));
    ASSERT_FALSE(r.ok());
    EXPECT_EQ(r.message(), fmt::format("adapter {} is not loaded", id));
  }
}

}  // namespace
}  // namespace raison::testing
