// The engine: same tokens alone or in company, pages given back, limits and errors.
#include "engine/engine.h"

#include <map>

#include "testing/models.h"

namespace raison::testing {
namespace {

class EngineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = tiny_model(tiny_config(), 7);
    ASSERT_TRUE(model_);
    auto kernels = select_kernels_from_environment();
    ASSERT_TRUE(kernels.ok()) << kernels.message();
    kernels_ = *kernels;
  }
  Request request(int i) {
    Request r;
    r.prompt = random_tokens(1 + (i * 31) % 90, 61, static_cast<uint64_t>(i));
    r.sampling.temperature = i % 3 == 0 ? 0.0f : 0.8f;
    r.sampling.top_p = 0.95f;
    r.sampling.seed = static_cast<uint64_t>(i);
    r.max_tokens = 5 + i % 20;
    return r;
  }
  std::unique_ptr<Model> model_;
  const KernelTable* kernels_ = nullptr;
  ThreadPool pool_{2};
};

TEST_F(EngineTest, SameTokensAndLogprobsAloneAndAmongOthers) {
  constexpr int kRequests = 40;
  std::map<uint64_t, std::vector<std::pair<int32_t, float>>> together;
  std::vector<uint64_t> ids;
  EngineOptions options;
  options.max_sequences = 16;
  options.prefill_chunk = 13;
  options.max_batch_tokens = 64;
  Engine engine(*model_, pool_, *kernels_, options);
  for (int i = 0; i < kRequests; ++i) {
    auto id = engine.submit(request(i));
    ASSERT_TRUE(id.ok()) << id.message();
    ids.push_back(*id);
  }
  ASSERT_TRUE(engine.run([&](const TokenEvent& e) { together[e.request].emplace_back(e.token, e.logprob); }).ok());
  EXPECT_EQ(engine.stats().pages_in_use, 0);
  for (int i = 0; i < kRequests; ++i) {
    Engine alone(*model_, pool_, *kernels_, {});
    auto got = generate(alone, request(i));
    ASSERT_TRUE(got.ok()) << got.message();
    const auto& other = together[ids[static_cast<size_t>(i)]];
    ASSERT_EQ(got->tokens.size(), other.size()) << i;
    for (size_t t = 0; t < other.size(); ++t) {
      EXPECT_EQ(got->tokens[t], other[t].first) << "request " << i << " token " << t;
      EXPECT_EQ(std::memcmp(&got->logprobs[t], &other[t].second, sizeof(float)), 0) << "request " << i << " token " << t;
    }
  }
}

// What the trainer will compute for the same tokens is what the sampler reported, to the bit.
TEST_F(EngineTest, LogprobsEqualTheTrainersToTheBit) {
  for (float temperature : {1.0f, 0.7f}) {
    Request r = request(4);
    r.sampling = {};
    r.sampling.temperature = temperature;
    r.max_tokens = 30;
    Engine engine(*model_, pool_, *kernels_, {.cache_type = DType::F16});
    auto got = generate(engine, r);
    ASSERT_TRUE(got.ok()) << got.message();
    std::vector<int32_t> all = r.prompt;
    all.insert(all.end(), got->tokens.begin(), got->tokens.end());
    KvCache cache(*model_->kv_layout(DType::F16, 32));
    const TrainBatch batch = make_train_batch(cache, {all}, {static_cast<int64_t>(r.prompt.size())});
    GradientStore gradients(model_->parameters());
    Tape tape(gradients);
    Arena arena;
    Context ctx{pool_, *kernels_, arena, &tape, true};
    const Tensor hidden = model_->forward(ctx, batch.batch);
    const Tensor logp = log_softmax_gather(ctx, model_->head(), hidden, batch.targets, temperature);
    ASSERT_EQ(logp.rows, static_cast<int64_t>(got->logprobs.size()));
    EXPECT_EQ(std::memcmp(logp.data, got->logprobs.data(), got->logprobs.size() * sizeof(float)), 0);
  }
}

// Pages laid out for another width of values, or as a latent cache, hold something else than this model would read.
TEST_F(EngineTest, BatchesWithAnotherLayoutAreRefused) {
  KvCache cache(*model_->kv_layout(DType::F16, 32));
  TrainBatch batch = make_train_batch(cache, {random_tokens(9, 61, 1)}, {3});
  EXPECT_TRUE(check_batch(*model_, batch.batch).ok());
  const KvLayout right = batch.batch.kv;
  batch.batch.kv.value_dim = right.head_dim;
  EXPECT_TRUE(check_batch(*model_, batch.batch).ok()) << "the same width, said aloud";
  batch.batch.kv.value_dim = right.head_dim + 1;
  EXPECT_FALSE(check_batch(*model_, batch.batch).ok());
  batch.batch.kv = right;
  batch.batch.kv.latent = true;
  const Status status = check_batch(*model_, batch.batch);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("layout is another model's"), std::string::npos) << status.message();
}

TEST_F(EngineTest, CancelFreesPagesAtOnceAndIsReported) {
  Engine engine(*model_, pool_, *kernels_, {});
  Request r = request(1);
  r.max_tokens = 1000;
  auto a = engine.submit(r), b = engine.submit(request(2));
  ASSERT_TRUE(a.ok() && b.ok());
  std::map<uint64_t, FinishReason> ended;
  const auto note = [&](const TokenEvent& e) {
    if (e.finish != FinishReason::None) ended[e.request] = e.finish;
  };
  ASSERT_TRUE(engine.step(note).ok());
  const int64_t held = engine.stats().pages_in_use;
  engine.cancel(*a);
  EXPECT_LT(engine.stats().pages_in_use, held);
  ASSERT_TRUE(engine.run(note).ok());
  EXPECT_EQ(ended[*a], FinishReason::Cancelled);
  EXPECT_EQ(ended[*b], FinishReason::Length);
  EXPECT_EQ(engine.stats().pages_in_use, 0);
}

TEST_F(EngineTest, StopIdsEndAndAreReported) {
  Engine engine(*model_, pool_, *kernels_, {});
  Request r = request(3);
  r.sampling.temperature = 0;
  r.max_tokens = 10;
  auto free_run = generate(engine, r);
  ASSERT_TRUE(free_run.ok());
  r.stop_ids = {free_run->tokens[4]};
  auto stopped = generate(engine, r);
  ASSERT_TRUE(stopped.ok());
  EXPECT_EQ(stopped->finish, FinishReason::Stop);
  EXPECT_EQ(stopped->tokens.back(), r.stop_ids[0]);
  EXPECT_LE(stopped->tokens.size(), 5u);
}

TEST_F(EngineTest, RefusesWhatCannotBeDone) {
  EngineOptions options;
  options.context = 8;
  Engine engine(*model_, pool_, *kernels_, options);
  Request r;
  EXPECT_FALSE(engine.submit(r).ok());
  r.prompt = {1, 2, 3, 4, 5, 6, 7, 8};
  auto too_long = engine.submit(r);
  ASSERT_FALSE(too_long.ok());
  EXPECT_NE(too_long.message().find("8 tokens"), std::string::npos) << too_long.message();
  r.prompt = {61};
  EXPECT_FALSE(engine.submit(r).ok());
  r.prompt = {1};
  r.sampling.temperature = -1;
  EXPECT_FALSE(engine.submit(r).ok());
  r.sampling.temperature = 0;
  auto fits = generate(engine, r);
  ASSERT_TRUE(fits.ok());
  EXPECT_EQ(fits->tokens.size(), 7u);  // to the end of the context
  EXPECT_EQ(fits->finish, FinishReason::Length);
}

}  // namespace
}  // namespace raison::testing
