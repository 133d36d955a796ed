// The engine on its own thread: many callers at once, cancellation from anywhere, an end in the middle of everything.
#include "engine/engine_thread.h"

#include <atomic>
#include <future>
#include <mutex>
#include <thread>

#include "testing/models.h"

namespace raison::testing {
namespace {

class EngineThreadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = tiny_model(tiny_config(), 7);
    ASSERT_TRUE(model_);
    auto kernels = select_kernels_from_environment();
    ASSERT_TRUE(kernels.ok()) << kernels.message();
    kernels_ = *kernels;
  }
  static Request request(int i, int64_t most) {
    Request r;
    r.prompt = random_tokens(1 + i % 30, 61, static_cast<uint64_t>(i));
    r.sampling.seed = static_cast<uint64_t>(i);
    r.max_tokens = most;
    return r;
  }
  struct Outcome {
    std::vector<int32_t> tokens;
    FinishReason finish = FinishReason::None;
  };
  static std::future<Outcome> ask(EngineThread& engine, Request r, uint64_t* id = nullptr) {
    auto promise = std::make_shared<std::promise<Outcome>>();
    auto outcome = std::make_shared<Outcome>();
    auto future = promise->get_future();
    auto sent = engine.submit(std::move(r), [promise, outcome](const TokenEvent& e) {
      if (e.token >= 0) outcome->tokens.push_back(e.token);
      outcome->finish = e.finish;
      if (e.finish != FinishReason::None) promise->set_value(*outcome);
    });
    EXPECT_TRUE(sent.ok()) << (sent.ok() ? "" : sent.message());
    if (id && sent.ok()) *id = *sent;
    return future;
  }
  std::unique_ptr<Model> model_;
  const KernelTable* kernels_ = nullptr;
  ThreadPool pool_{2};
};

TEST_F(EngineThreadTest, ManyCallersAtOnceGetWhatEachWouldAlone) {
  constexpr int kCallers = 4, kEach = 10;
  std::vector<std::vector<int32_t>> want;
  for (int i = 0; i < kCallers * kEach; ++i) {
    Engine alone(*model_, pool_, *kernels_, {});
    auto g = generate(alone, request(i, 12));
    ASSERT_TRUE(g.ok());
    want.push_back(g->tokens);
  }
  EngineThread engine(*model_, pool_, *kernels_, {});
  std::vector<std::thread> callers;
  for (int c = 0; c < kCallers; ++c)
    callers.emplace_back([&, c] {
      std::vector<std::future<Outcome>> answers;
      for (int i = 0; i < kEach; ++i) answers.push_back(ask(engine, request(c * kEach + i, 12)));
      for (int i = 0; i < kEach; ++i) {
        const Outcome o = answers[static_cast<size_t>(i)].get();
        EXPECT_EQ(o.finish, FinishReason::Length);
        EXPECT_EQ(o.tokens, want[static_cast<size_t>(c * kEach + i)]);
      }
    });
  for (std::thread& t : callers) t.join();
  engine.pause();
  EXPECT_EQ(engine.stats().pages_in_use, 0);
  engine.resume();
}

TEST_F(EngineThreadTest, CancelledRequestsEndAndFreeTheirPages) {
  EngineThread engine(*model_, pool_, *kernels_, {});
  uint64_t id = 0;
  auto endless = ask(engine, request(1, 4000), &id);
  auto other = ask(engine, request(2, 5));
  EXPECT_EQ(other.get().finish, FinishReason::Length);
  engine.cancel(id);
  engine.cancel(id);
  engine.cancel(999);
  EXPECT_EQ(endless.get().finish, FinishReason::Cancelled);
  engine.pause();
  EXPECT_EQ(engine.stats().pages_in_use, 0);
  engine.resume();
}

TEST_F(EngineThreadTest, ErrorsComeAtOnce) {
  EngineThread engine(*model_, pool_, *kernels_, {});
  Request r = request(1, 3);
  r.prompt = {61};
  const auto refused = engine.submit(r, [](const TokenEvent&) { FAIL() << "an event for what was refused"; });
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.message().find("vocabulary"), std::string::npos);
}

TEST_F(EngineThreadTest, ItsEndCancelsWhatRunsAndWaits) {
  std::vector<std::future<Outcome>> answers;
  {
    EngineThread engine(*model_, pool_, *kernels_, {});
    for (int i = 0; i < 20; ++i) answers.push_back(ask(engine, request(i, 4000)));
  }
  for (auto& a : answers) EXPECT_EQ(a.get().finish, FinishReason::Cancelled);
}

// An event's handler may ask for more.
TEST_F(EngineThreadTest, HandlersMaySubmitAndCancel) {
  EngineThread engine(*model_, pool_, *kernels_, {});
  std::promise<void> done;
  std::atomic<int> turns = 0;
  std::function<void(const TokenEvent&)> on_event = [&](const TokenEvent& e) {
    if (e.finish == FinishReason::None) return;
    if (++turns == 5) return done.set_value();
    ASSERT_TRUE(engine.submit(request(turns, turns == 2 ? 4000 : 3), on_event).ok());
    if (turns == 2) engine.cancel(e.request + 1);
  };
  ASSERT_TRUE(engine.submit(request(0, 3), on_event).ok());
  done.get_future().get();
  EXPECT_EQ(turns, 5);
}

// Between pause and resume the weights are the caller's.
TEST_F(EngineThreadTest, WeightsMayChangeWhileItIsPaused) {
  EngineThread engine(*model_, pool_, *kernels_, {});
  auto running = ask(engine, request(3, 200));
  engine.pause();
  randomise(*model_, 9);
  ++model_->parameters().version;
  engine.resume();
  EXPECT_EQ(running.get().finish, FinishReason::Length);
  const Outcome after = ask(engine, request(4, 10)).get();
  engine.pause();
  Engine alone(*model_, pool_, *kernels_, {});
  auto g = generate(alone, request(4, 10));
  engine.resume();
  ASSERT_TRUE(g.ok());
  EXPECT_EQ(after.tokens, g->tokens);
}

}  // namespace
}  // namespace raison::testing
