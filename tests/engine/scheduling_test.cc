// Many sequences at once: shared prompts, small caches, preemption, cancellation, fairness. What a request gives must be what it gives
// alone, and nothing may be left behind.
#include <chrono>
#include <map>
#include <set>

#include "engine/engine.h"
#include "testing/models.h"

namespace raison::testing {
namespace {

using Tokens = std::vector<std::pair<int32_t, float>>;

class SchedulingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = tiny_model(tiny_config(), 7);
    ASSERT_TRUE(model_);
    auto kernels = select_kernels_from_environment();
    ASSERT_TRUE(kernels.ok()) << kernels.message();
    kernels_ = *kernels;
  }
  std::unique_ptr<Engine> engine(const EngineOptions& o) { return std::make_unique<Engine>(*model_, pool_, *kernels_, o); }
  int64_t page_bytes(int page_size = 16) { return model_->kv_layout(DType::F16, page_size)->page_bytes(); }
  EngineOptions small(int64_t pages) {
    EngineOptions o;
    o.page_size = 16;
    o.cache_bytes = pages * page_bytes();
    return o;
  }
  // Prompts that often begin alike.
  Request request(int i) {
    Request r;
    r.prompt = random_tokens(1 + (i * 13) % 40, 61, static_cast<uint64_t>(i % 5));
    const auto own = random_tokens((i * 7) % 30, 61, 100 + static_cast<uint64_t>(i));
    r.prompt.insert(r.prompt.end(), own.begin(), own.end());
    r.sampling.temperature = i % 3 == 0 ? 0.0f : 0.9f;
    r.sampling.seed = static_cast<uint64_t>(i);
    r.max_tokens = 1 + (i * 5) % 24;
    return r;
  }
  Tokens alone(Request r) {
    EngineOptions o;
    o.prefix_cache = false;
    auto e = engine(o);
    auto g = generate(*e, std::move(r));
    EXPECT_TRUE(g.ok()) << (g.ok() ? "" : g.message());
    Tokens out;
    if (g.ok())
      for (size_t i = 0; i < g->tokens.size(); ++i) out.emplace_back(g->tokens[i], g->logprobs[i]);
    return out;
  }
  static ::testing::AssertionResult same(const Tokens& a, const Tokens& b) {
    for (size_t i = 0; i < std::max(a.size(), b.size()); ++i)
      if (i >= a.size() || i >= b.size() || a[i].first != b[i].first || std::memcmp(&a[i].second, &b[i].second, 4) != 0)
        return ::testing::AssertionFailure() << "first difference at token " << i;
    return ::testing::AssertionSuccess();
  }
  std::unique_ptr<Model> model_;
  const KernelTable* kernels_ = nullptr;
  ThreadPool pool_{2};
};

// In every order, with a cache that holds all or hardly one, with and without prefixes kept.
TEST_F(SchedulingTest, TokensDoNotDependOnOrderPreemptionOrCachedPrefixes) {
  constexpr int kRequests = 64;
  std::vector<Tokens> want;
  for (int i = 0; i < kRequests; ++i) want.push_back(alone(request(i)));
  struct Case {
    int64_t pages;
    bool prefixes, backwards, late;
    bool preempts;  // surely; else perhaps
  };
  for (const Case& c :
       {Case{0, true, false, false, false}, Case{0, false, true, false, false}, Case{40, true, false, true, false},
        Case{12, true, true, false, true}, Case{7, true, false, false, true}, Case{25, false, true, true, false}}) {
    EngineOptions o = small(c.pages);
    o.prefix_cache = c.prefixes;
    o.prefill_chunk = 11;
    o.max_batch_tokens = 70;
    auto e = engine(o);
    std::map<uint64_t, int> index;
    std::map<int, Tokens> got;
    int next = 0;
    const auto submit = [&] {
      const int i = c.backwards ? kRequests - 1 - next : next;
      ++next;
      auto id = e->submit(request(i));
      ASSERT_TRUE(id.ok()) << id.message();
      index[*id] = i;
    };
    while (next < kRequests / (c.late ? 4 : 1)) submit();
    while (!e->idle() || next < kRequests) {
      if (next < kRequests) submit();
      ASSERT_TRUE(e->step([&](const TokenEvent& t) { got[index[t.request]].emplace_back(t.token, t.logprob); }).ok());
    }
    for (int i = 0; i < kRequests; ++i)
      EXPECT_TRUE(same(got[i], want[static_cast<size_t>(i)])) << "request " << i << " pages " << c.pages;
    const EngineStats s = e->stats();
    EXPECT_EQ(s.pages_in_use, 0) << c.pages;
    if (c.pages > 0) { EXPECT_LE(s.pages_cached, c.pages); }
    if (c.preempts) { EXPECT_GT(s.preemptions, 0) << c.pages; }
    EXPECT_EQ(s.cached_tokens > 0, c.prefixes);
    if (!c.prefixes) { EXPECT_EQ(s.pages_cached, 0); }
    e->forget_prefixes();
    EXPECT_EQ(e->stats().pages_cached, 0);
  }
}

// The case: samples of one long prompt hold its pages once, and only one computes it.
TEST_F(SchedulingTest, SamplesOfOnePromptHoldItsPagesOnce) {
  constexpr int kSamples = 16, kPrompt = 2000, kPageSize = 64;
  EngineOptions o;
  o.page_size = kPageSize;
  auto e = engine(o);
  Request r;
  r.prompt = random_tokens(kPrompt, 61, 5);
  r.sampling.temperature = 1;
  r.max_tokens = 20;
  std::map<uint64_t, Tokens> got;
  std::vector<uint64_t> ids;
  for (int i = 0; i < kSamples; ++i) {
    r.sample_index = static_cast<uint64_t>(i);
    auto id = e->submit(r);
    ASSERT_TRUE(id.ok());
    ids.push_back(*id);
  }
  int64_t most = 0;
  while (!e->idle()) {
    ASSERT_TRUE(e->step([&](const TokenEvent& t) { got[t.request].emplace_back(t.token, t.logprob); }).ok());
    most = std::max(most, e->stats().pages_in_use);
  }
  // Whole pages once; of the last one, which each writes on, a copy each, and as the answer crosses a page's end one more.
  EXPECT_LE(most, kPrompt / kPageSize + 2 * kSamples);
  const EngineStats s = e->stats();
  EXPECT_LE(s.prompt_tokens, kPrompt + kSamples);
  EXPECT_GE(s.cached_tokens, (kSamples - 1) * (kPrompt - 1));
  std::set<std::vector<int32_t>> distinct;
  for (int i : {0, 7, 15}) {
    r.sample_index = static_cast<uint64_t>(i);
    EXPECT_TRUE(same(got[ids[static_cast<size_t>(i)]], alone(r))) << i;
    std::vector<int32_t> tokens;
    for (const auto& [t, p] : got[ids[static_cast<size_t>(i)]]) tokens.push_back(t);
    distinct.insert(tokens);
  }
  EXPECT_EQ(distinct.size(), 3u) << "samples draw their own numbers";
}

TEST_F(SchedulingTest, ACachedPrefixIsNotComputedAgain) {
  EngineOptions o;
  o.page_size = 16;
  auto e = engine(o);
  Request r;
  r.prompt = random_tokens(500, 61, 9);
  r.sampling.temperature = 0;
  r.max_tokens = 30;
  auto first = generate(*e, r);
  ASSERT_TRUE(first.ok());
  // The next turn: all that was said, and more.
  Request next = r;
  next.prompt.insert(next.prompt.end(), first->tokens.begin(), first->tokens.end());
  const auto more = random_tokens(20, 61, 10);
  next.prompt.insert(next.prompt.end(), more.begin(), more.end());
  const int64_t before = e->stats().prompt_tokens;
  auto second = generate(*e, next);
  ASSERT_TRUE(second.ok());
  EXPECT_LE(e->stats().prompt_tokens - before, 21) << "20 new ones, and the last of the reply, which had not been computed";
  Tokens got;
  for (size_t i = 0; i < second->tokens.size(); ++i) got.emplace_back(second->tokens[i], second->logprobs[i]);
  EXPECT_TRUE(same(got, alone(next)));
}

// Weights that change in between: nothing computed under the old ones is used.
TEST_F(SchedulingTest, NewWeightsForgetWhatTheOldOnesComputed) {
  auto e = engine({});
  Request r = request(11);
  r.max_tokens = 12;
  const Tokens old = alone(r);
  ASSERT_TRUE(e->submit(r).ok());
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(e->step([](const TokenEvent&) {}).ok());
  randomise(*model_, 8);
  ++model_->parameters().version;
  ASSERT_TRUE(e->run([](const TokenEvent&) {}).ok());
  auto g = generate(*e, r);
  ASSERT_TRUE(g.ok());
  Tokens got;
  for (size_t i = 0; i < g->tokens.size(); ++i) got.emplace_back(g->tokens[i], g->logprobs[i]);
  EXPECT_TRUE(same(got, alone(r)));
  EXPECT_FALSE(same(got, old));
}

TEST_F(SchedulingTest, WhatCanNeverFitIsRefusedAtOnceWithTheNumbers) {
  auto e = engine(small(4));
  Request r;
  r.prompt = random_tokens(60, 61, 1);
  r.max_tokens = 5;
  auto refused = e->submit(r);
  ASSERT_FALSE(refused.ok());
  for (const char* part : {"64 tokens", "4 pages of 16", "needs 65", "60 of prompt", "5 to answer"})
    EXPECT_NE(refused.message().find(part), std::string::npos) << refused.message();
  r.max_tokens = 4;
  auto g = generate(*e, r);
  ASSERT_TRUE(g.ok()) << g.message();
  EXPECT_EQ(g->tokens.size(), 4u);
  r.max_tokens = 0;  // as much as fits
  g = generate(*e, r);
  ASSERT_TRUE(g.ok()) << g.message();
  EXPECT_EQ(g->tokens.size(), 4u);
  EXPECT_EQ(g->finish, FinishReason::Length);
}

// A long prompt does not hold up short ones behind it, and they do not hold it up for ever.
TEST_F(SchedulingTest, ShortOnesNeedNotWaitForLongOnesNorLongOnesForShort) {
  EngineOptions o;
  o.prefill_chunk = 16;
  o.max_batch_tokens = 32;
  auto e = engine(o);
  Request longest;
  longest.prompt = random_tokens(1500, 61, 1);
  longest.max_tokens = 4;
  auto long_id = e->submit(longest);
  ASSERT_TRUE(long_id.ok());
  std::set<uint64_t> shorts;
  std::map<uint64_t, int> ended;
  int step = 0, sent = 0;
  bool done = false;
  while (!done && step < 2000) {
    if (sent < 600) {  // a stream of short ones, more than enough to fill every step
      Request r = request(++sent);
      auto id = e->submit(r);
      ASSERT_TRUE(id.ok());
      shorts.insert(*id);
    }
    ++step;
    ASSERT_TRUE(e->step([&](const TokenEvent& t) {
                   if (t.finish != FinishReason::None) ended[t.request] = step;
                   done = done || (t.request == *long_id && t.finish != FinishReason::None);
                 }).ok());
  }
  ASSERT_TRUE(done) << "the long one starved";
  EXPECT_LE(ended[*long_id], 1500 / 8 + 50) << "it gets half of the prompt rows";
  int early = 0;
  for (const uint64_t id : shorts) early += ended.count(id) != 0 && ended[id] < ended[*long_id] ? 1 : 0;
  EXPECT_GT(early, 40) << "short ones came through meanwhile";
}

// 64 running, 30 % cancelled at random moments, small caches; nothing may be left of anything.
void soak(SchedulingTest&, Engine& e, int requests, const std::function<Request(int)>& make, uint64_t seed) {
  Rng rng(seed, 1);
  std::map<uint64_t, int64_t> open;  // request -> most tokens it may still give
  int sent = 0, finished = 0, cancelled = 0;
  while (sent < requests || !e.idle()) {
    while (sent < requests && open.size() < 96) {
      Request r = make(sent++);
      const int64_t most = r.max_tokens;
      auto id = e.submit(std::move(r));
      ASSERT_TRUE(id.ok()) << id.message();
      open[*id] = most;
    }
    // 30 % of all, whether waiting, in their prompt or answering.
    if (!open.empty() && rng.below(10) < 7) {
      auto it = open.begin();
      std::advance(it, static_cast<std::ptrdiff_t>(rng.below(open.size())));
      if (cancelled * 10 < sent * 3) {
        e.cancel(it->first);
        ++cancelled;
      }
    }
    ASSERT_TRUE(e.step([&](const TokenEvent& t) {
                   ASSERT_TRUE(open.count(t.request)) << "an event after the end";
                   if (t.token >= 0) { ASSERT_GE(--open[t.request], 0); }
                   if (t.finish == FinishReason::None) return;
                   ASSERT_NE(t.finish, FinishReason::Error) << t.error;
                   open.erase(t.request);
                   ++finished;
                 }).ok());
  }
  EXPECT_EQ(finished, requests);
  EXPECT_TRUE(open.empty());
  const EngineStats s = e.stats();
  EXPECT_EQ(s.pages_in_use, 0);
  EXPECT_EQ(s.running + s.waiting, 0);
  e.forget_prefixes();
  EXPECT_EQ(e.stats().pages_cached, 0);
}

TEST_F(SchedulingTest, ManyRequestsManyCancelledLeaveNothingBehind) {
  for (const int64_t pages : {0, 60, 9}) {
    EngineOptions o = small(pages);
    o.max_sequences = 64;
    auto e = engine(o);
    soak(
        *this, *e, 600, [&](int i) { return request(i); }, static_cast<uint64_t>(pages));
    if (pages == 9) { EXPECT_GT(e->stats().preemptions, 0); }
  }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kMany = 2000;
#else
constexpr int kMany = 20000;
#endif
TEST_F(SchedulingTest, TwentyThousandRequests) {
  EngineOptions o = small(120);
  o.max_sequences = 64;
  auto e = engine(o);
  soak(
      *this, *e, kMany,
      [&](int i) {
        Request r = request(i);
        r.max_tokens = 1 + (i * 5) % 9;
        return r;
      },
      4);
}

TEST_F(SchedulingTest, ThinkingWithinTheEngine) {
  const auto made = ThinkRules::create({{{3}}, {{4}}, {5, 4, 6}, false});
  ASSERT_TRUE(made.ok()) << made.message();
  const auto rules = *made;
  auto e = engine({});
  for (int64_t budget : {0, 1, 7}) {
    Request r = request(2);
    r.max_tokens = 20;
    r.sampling.temperature = 1;
    r.stop_ids = {0, 4, 7};  // ruled out below the minimum, the closing mark too
    r.think = rules;
    r.think_start = ThinkPhase::Thinking;
    r.think_limits.budget = r.think_limits.minimum = budget;
    auto g = generate(*e, r);
    ASSERT_TRUE(g.ok()) << g.message();
    const auto n = static_cast<size_t>(budget);
    ASSERT_GT(g->tokens.size(), n + 3);
    for (size_t i = 0; i < n; ++i) EXPECT_EQ(g->kinds[i], TokenKind::Thought);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(g->tokens[n + i], rules->marks().forced_close[i]);
      EXPECT_EQ(g->kinds[n + i], TokenKind::Mark);
      EXPECT_EQ(g->forced[n + i], 1);
      EXPECT_EQ(g->logprobs[n + i], 0.0f);
    }
    EXPECT_EQ(g->kinds[n + 3], TokenKind::Answer);
    EXPECT_EQ(g->think_end, ThinkEnd::Budget);
    // What follows is what would follow the same tokens as a prompt: forced tokens are tokens like others.
    Request after = r;
    after.think = nullptr;
    after.prompt.insert(after.prompt.end(), g->tokens.begin(), g->tokens.begin() + static_cast<std::ptrdiff_t>(n + 3));
    after.max_tokens = 20 - budget - 3;
    const Tokens want = alone(after);
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_EQ(g->tokens[n + 3 + i], want[i].first);
      EXPECT_EQ(std::memcmp(&g->logprobs[n + 3 + i], &want[i].second, 4), 0);
    }
  }
  // Told to stop while it thinks.
  Request r = request(2);
  r.max_tokens = 40;
  r.think = rules;
  r.think_start = ThinkPhase::Thinking;
  r.think_limits.minimum = 100;
  auto id = e->submit(r);
  ASSERT_TRUE(id.ok());
  std::vector<TokenEvent> events;
  while (!e->idle()) {
    ASSERT_TRUE(e->step([&](const TokenEvent& t) { events.push_back(t); }).ok());
    if (events.size() == 5) e->end_thinking(*id);
  }
  ASSERT_EQ(events.size(), 40u);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(events[i].kind, TokenKind::Thought);
  for (size_t i = 5; i < 8; ++i) EXPECT_TRUE(events[i].forced && events[i].kind == TokenKind::Mark);
  EXPECT_EQ(events[7].think_end, ThinkEnd::Caller);
  EXPECT_EQ(events[8].kind, TokenKind::Answer);
}

// A reply cut off anywhere and given back as the end of the prompt goes on as if it had not been cut: in the middle of marks, of what
// is forced, and with bounds that count from its beginning.
TEST_F(SchedulingTest, ContinuesAReply) {
  const auto made = ThinkRules::create({{{3, 8}}, {{4, 9}}, {5, 4, 9, 6}, true});
  ASSERT_TRUE(made.ok()) << made.message();
  auto e = engine({});
  Request r = request(2);
  r.sampling.temperature = 1;
  r.sampling.repetition_penalty = 1.5f;
  r.think = *made;
  r.think_start = ThinkPhase::Thinking;
  r.think_limits.budget = 7;
  r.think_limits.minimum = 3;
  r.max_tokens = 24;
  auto whole = generate(*e, r);
  ASSERT_TRUE(whole.ok()) << whole.message();
  ASSERT_EQ(whole->tokens.size(), 24u);
  ASSERT_EQ(whole->think_end, ThinkEnd::Budget);
  for (size_t cut = 0; cut < 24; ++cut) {
    SCOPED_TRACE(cut);
    Request rest = r;
    rest.prompt.insert(rest.prompt.end(), whole->tokens.begin(), whole->tokens.begin() + static_cast<std::ptrdiff_t>(cut));
    rest.continued = static_cast<int64_t>(cut);
    rest.max_tokens = 24 - rest.continued;
    auto g = generate(*e, rest);
    ASSERT_TRUE(g.ok()) << g.message();
    const auto tail = [cut](const auto& v) {
      return std::decay_t<decltype(v)>(v.begin() + static_cast<std::ptrdiff_t>(cut), v.end());
    };
    EXPECT_EQ(g->tokens, tail(whole->tokens));
    EXPECT_EQ(g->logprobs, tail(whole->logprobs));
    EXPECT_EQ(g->kinds, tail(whole->kinds));
    EXPECT_EQ(g->forced, tail(whole->forced));
  }
  r.continued = static_cast<int64_t>(r.prompt.size());
  EXPECT_FALSE(e->submit(r).ok());
  r.continued = -1;
  EXPECT_FALSE(e->submit(r).ok());
}

}  // namespace
}  // namespace raison::testing
