// What a request gives does not depend on how the engine came to it: alone or among 64, preempted or not, prefix cached or not, whatever
// the order of arrival, the threads and the chunks; for every architecture and type of cache.
#include <map>

#include "engine/engine.h"
#include "testing/checkpoints.h"

namespace raison::testing {
namespace {

constexpr DType kEngineCaches[] = {DType::F32, DType::F16, DType::BF16, DType::I16, DType::I8};
constexpr int kRequests = 65, kLookedAt = 9;

struct Answer {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
};

Request engine_request(const Model& model, int i) {
  const int64_t vocab = model.info().vocab;
  Request r;
  r.prompt = random_tokens(10 + i % 3 * 9, vocab, static_cast<uint64_t>(i % 4));  // beginnings in common
  const auto own = random_tokens(i % 11, vocab, 50 + static_cast<uint64_t>(i));
  r.prompt.insert(r.prompt.end(), own.begin(), own.end());
  r.sampling.temperature = i % 4 == 0 ? 0.0f : 1.0f;
  r.sampling.seed = static_cast<uint64_t>(i / 2);
  r.sample_index = static_cast<uint64_t>(i % 2);
  r.max_tokens = 4 + i % 7 * 9;
  return r;
}

Answer alone(Model& model, const KernelTable& kernels, DType cache, int i) {
  ThreadPool pool(1);
  EngineOptions o;
  o.cache_type = cache;
  o.prefix_cache = false;
  Engine engine(model, pool, kernels, o);
  auto g = generate(engine, engine_request(model, i));
  EXPECT_TRUE(g.ok()) << (g.ok() ? "" : g.message());
  return g.ok() ? Answer{g->tokens, g->logprobs} : Answer{};
}

struct Company {
  int64_t pages;  // of 16 positions; 0: as many as are wanted
  bool prefixes, backwards;
  int threads, chunk;
};

// All requests in one engine; the answers of all.
std::vector<Answer> together(Model& model, const KernelTable& kernels, DType cache, const Company& c, EngineStats* stats) {
  ThreadPool pool(c.threads);
  EngineOptions o;
  o.cache_type = cache;
  o.page_size = 16;
  o.prefill_chunk = c.chunk;
  o.prefix_cache = c.prefixes;
  const auto layout = model.kv_layout(cache, o.page_size);
  EXPECT_TRUE(layout.ok()) << (layout.ok() ? "" : layout.message());
  o.cache_bytes = c.pages * layout->page_bytes();
  Engine engine(model, pool, kernels, o);
  std::map<uint64_t, size_t> index;
  std::vector<Answer> out(kRequests);
  for (int n = 0; n < kRequests; ++n) {
    const int i = c.backwards ? kRequests - 1 - n : n;
    auto id = engine.submit(engine_request(model, i));
    EXPECT_TRUE(id.ok()) << (id.ok() ? "" : id.message());
    if (id.ok()) index[*id] = static_cast<size_t>(i);
  }
  const Status ran = engine.run([&](const TokenEvent& e) {
    EXPECT_NE(e.finish, FinishReason::Error) << e.error;
    out[index.at(e.request)].tokens.push_back(e.token);
    out[index.at(e.request)].logprobs.push_back(e.logprob);
  });
  EXPECT_TRUE(ran.ok()) << (ran.ok() ? "" : ran.message());
  *stats = engine.stats();
  return out;
}

class EngineInvariance : public ::testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(EngineInvariance, TokensAndLogprobs) {
  const auto [which, cache_index] = GetParam();
  const TinyArchitecture a = tiny_architectures()[static_cast<size_t>(which)];
  const DType cache = kEngineCaches[cache_index];
  auto config = a.config;
  if ((cache == DType::I16 || cache == DType::I8) && a.name == "qwen3") config["head_dim"] = 32;  // its 24 can't be rotated
  auto model = tiny_model(config, 61);
  ASSERT_TRUE(model);
  auto kernels = select_kernels_from_environment();
  ASSERT_TRUE(kernels.ok()) << kernels.message();
  std::vector<Answer> want;
  for (int i = 0; i < kLookedAt; ++i) want.push_back(alone(*model, **kernels, cache, i * 7));
  for (const Company& c : {Company{0, true, false, 2, 512}, Company{16, true, true, 3, 7}, Company{12, false, false, 2, 13}}) {
    EngineStats stats;
    const auto got = together(*model, **kernels, cache, c, &stats);
    for (int i = 0; i < kLookedAt; ++i) {
      const Answer &w = want[static_cast<size_t>(i)], &g = got[static_cast<size_t>(i * 7)];
      ASSERT_EQ(w.tokens, g.tokens) << a.name << " " << dtype_name(cache) << " request " << i * 7 << " pages " << c.pages;
      ASSERT_TRUE(same_bits(w.logprobs, g.logprobs, 1)) << a.name << " " << dtype_name(cache) << " request " << i * 7;
    }
    EXPECT_EQ(stats.pages_in_use, 0);
    EXPECT_EQ(stats.cached_tokens > 0, c.prefixes);
    if (c.pages > 0) { EXPECT_GT(stats.preemptions, 0) << a.name << " pages " << c.pages; }
  }
}

INSTANTIATE_TEST_SUITE_P(All, EngineInvariance,
                         ::testing::Combine(::testing::Range(0, 8),
                                            ::testing::Range(0, static_cast<int>(std::size(kEngineCaches)))),
                         [](const auto& which) {
                           return tiny_architectures()[static_cast<size_t>(std::get<0>(which.param))].name + "_" +
                                  dtype_name(kEngineCaches[std::get<1>(which.param)]);
                         });

}  // namespace
}  // namespace raison::testing
