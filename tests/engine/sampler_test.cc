#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/rng.h"
#include "io/safetensors.h"
#include "testing/shared_data.h"

namespace raison {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> normal_logits(size_t n, uint64_t seed, double scale = 3) {
  Rng rng(seed);
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(scale * rng.normal());
  return x;
}

std::vector<double> softmax(const std::vector<float>& x) {
  double top = -kInf, sum = 0;
  for (float v : x) top = std::max(top, static_cast<double>(v));
  std::vector<double> p;
  for (float v : x) {
    p.push_back(std::exp(static_cast<double>(v) - top));
    sum += p.back();
  }
  for (double& v : p) v /= sum;
  return p;
}

SamplingParams params_of(const nlohmann::json& j) {
  SamplingParams p;
  p.temperature = j.value("temperature", 1.0f);
  p.top_k = j.value("top_k", 0);
  p.top_p = j.value("top_p", 1.0f);
  p.min_p = j.value("min_p", 0.0f);
  p.typical_p = j.value("typical_p", 1.0f);
  p.repetition_penalty = j.value("repetition_penalty", 1.0f);
  p.presence_penalty = j.value("presence_penalty", 0.0f);
  p.frequency_penalty = j.value("frequency_penalty", 0.0f);
  p.no_repeat_ngram = j.value("no_repeat_ngram_size", 0);
  return p;
}

void compare_with_golden(const nlohmann::json& c, const std::vector<float>& got, const std::vector<float>& want,
                         const std::vector<float>& want_probs) {
  const auto kept = std::count_if(got.begin(), got.end(), [](float v) { return v > -kInf; });
  EXPECT_EQ(kept, c["n_kept"].get<int64_t>());
  std::vector<double> p = softmax(got), q(want_probs.begin(), want_probs.end());
  if (c.contains("tied_ids")) {  // which of the tied tokens stay is free
    std::sort(p.begin(), p.end());
    std::sort(q.begin(), q.end());
  } else {
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(got[i] > -kInf, want[i] > -kInf) << "token " << i;
      if (want[i] > -kInf) { ASSERT_NEAR(got[i], want[i], 1e-6 * (1 + std::fabs(want[i]))) << "token " << i; }
    }
  }
  for (size_t i = 0; i < p.size(); ++i) ASSERT_NEAR(p[i], q[i], 1e-6 + 1e-5 * q[i]) << "token " << i;
}

TEST(Sampler, AgreesWithTheGoldens) {
  const std::string folder = testing::shared_dir() + "/goldens/sampler";
  const auto text = read_file(folder + "/cases.json");
  if (!text.ok()) GTEST_SKIP() << "SHARED TEST DATA MISSING: " << text.message();
  const auto file = SafetensorsFile::open(folder + "/sampler.safetensors");
  ASSERT_TRUE(file.ok()) << file.message();
  const auto tensor = [&](const std::string& name) {
    const TensorInfo* t = (*file)->find(name);
    if (t == nullptr) return std::vector<float>{};
    std::vector<float> out(t->bytes / sizeof(float));
    std::memcpy(out.data(), t->data, t->bytes);
    return out;
  };
  int cases = 0;
  const nlohmann::json golden = nlohmann::json::parse(*text, nullptr, false);
  for (const auto& c : golden["cases"]) {
    const std::string id = fmt::format("{:03}", c["id"].get<int>());
    SCOPED_TRACE(id + " " + c["name"].get<std::string>());
    const auto logits = tensor(id + ".logits");
    ASSERT_EQ(logits.size(), c["vocab"].get<size_t>());
    const auto prompt = c["prompt_ids"].get<std::vector<int32_t>>(), generated = c["generated_ids"].get<std::vector<int32_t>>();
    const SamplingParams p = params_of(c["params"]);
    const auto got = process_logits(logits, prompt, generated, p);
    ASSERT_TRUE(got.ok()) << got.message();
    compare_with_golden(c, *got, tensor(id + ".processed"), tensor(id + ".probs"));
    EXPECT_EQ(argmax_token(logits).value(), c["argmax"].get<int32_t>());
    // What is drawn is what was kept.
    for (uint64_t i = 0; i < 50; ++i) {
      const auto token = sample_token(logits, prompt, generated, p, 0, i);
      ASSERT_TRUE(token.ok()) << token.message();
      EXPECT_GT((*got)[static_cast<size_t>(*token)], -kInf);
    }
    ++cases;
  }
  EXPECT_EQ(cases, 67);
}

TEST(Sampler, DrawsFollowTheProcessedDistribution) {
  const std::vector<float> logits = normal_logits(40, 5, 1.5);
  SamplingParams p;
  p.temperature = 0.8f;
  p.top_p = 0.9f;
  p.seed = 11;
  const auto processed = process_logits(logits, {}, {}, p);
  ASSERT_TRUE(processed.ok());
  const std::vector<double> want = softmax(*processed);
  std::vector<double> count(40);
  const int n = 40000;
  for (int i = 0; i < n; ++i)
    count[static_cast<size_t>(sample_token(logits, {}, {}, p, 3, static_cast<uint64_t>(i)).value())] += 1;
  double chi2 = 0;
  int dof = -1;
  for (size_t i = 0; i < want.size(); ++i) {
    if (want[i] == 0) {
      EXPECT_EQ(count[i], 0) << i;
      continue;
    }
    const double e = want[i] * n;
    chi2 += (count[i] - e) * (count[i] - e) / e;
    ++dof;
  }
  EXPECT_LT(chi2, dof + 5 * std::sqrt(2.0 * dof));
}

TEST(Sampler, TheDrawIsAFunctionOfSeedSampleAndPosition) {
  const std::vector<float> logits(1000, 0.0f);  // uniform: the token is the uniform number
  SamplingParams p;
  p.seed = 7;
  for (uint64_t sample : {0, 1, 5})
    for (uint64_t position : {0, 1, 100})
      EXPECT_EQ(sample_token(logits, {}, {}, p, sample, position).value(),
                static_cast<int32_t>(uniform01(7, sample, position) * 1000));
}

TEST(Sampler, GreedyTakesTheLowestOfEquals) {
  SamplingParams p;
  p.temperature = 0;
  const std::vector<float> x{1, 3, 2, 3, -kInf};
  EXPECT_EQ(sample_token(x, {}, {}, p, 0, 0).value(), 1);
  p.repetition_penalty = 1.5f;
  const std::vector<int32_t> history{1};
  EXPECT_EQ(sample_token(x, history, {}, p, 0, 0).value(), 3);
}

// Against a plain definition by full sorting, on vocabularies of the real size and with many ties.
TEST(Sampler, TopPEqualsTheFullSort) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    std::vector<float> x = normal_logits(seed < 27 ? 500 : 50000, seed, 0.5 + static_cast<double>(seed % 7));
    if (seed % 3 == 0)
      for (float& v : x) v = std::round(v);  // ties
    SamplingParams p;
    p.top_p = 0.05f + 0.03f * static_cast<float>(seed);
    std::vector<size_t> order(x.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x[a] > x[b]; });
    const std::vector<double> probs = softmax(x);
    double sum = 0;
    size_t kept = 0;
    while (sum < static_cast<double>(p.top_p)) sum += probs[order[kept++]];
    const auto got = process_logits(x, {}, {}, p);
    ASSERT_TRUE(got.ok());
    int64_t wrong = 0;
    for (size_t rank = 0; rank < order.size(); ++rank) wrong += ((*got)[order[rank]] > -kInf) != (rank < kept);
    // The mass at the edge may round the other way for one token.
    EXPECT_LE(wrong, 1) << "seed " << seed;
  }
}

TEST(Sampler, RefusesWhatCannotBeSampled) {
  const SamplingParams p;
  std::vector<float> x{0, std::nanf(""), 1};
  EXPECT_NE(sample_token(x, {}, {}, p, 0, 0).message().find("token 1 is not a number"), std::string::npos);
  x[1] = kInf;
  EXPECT_NE(sample_token(x, {}, {}, p, 0, 0).message().find("token 1 is infinite"), std::string::npos);
  EXPECT_FALSE(sample_token(std::vector<float>(3, -kInf), {}, {}, p, 0, 0).ok());
  EXPECT_FALSE(sample_token(std::vector<float>{}, {}, {}, p, 0, 0).ok());
  const std::vector<int32_t> outside{3};
  EXPECT_FALSE(sample_token(std::vector<float>(3, 0), outside, {}, p, 0, 0).ok());
  SamplingParams once = p;
  once.no_repeat_ngram = 1;
  const std::vector<int32_t> all{0, 1, 2};
  EXPECT_FALSE(sample_token(std::vector<float>(3, 0), all, {}, once, 0, 0).ok());
}

TEST(Sampler, ValidatesParameters) {
  const auto message = [](auto change) {
    SamplingParams p;
    change(p);
    const Status s = p.validate();
    return s.ok() ? std::string() : s.message();
  };
  EXPECT_EQ(message([](SamplingParams&) {}), "");
  EXPECT_EQ(message([](SamplingParams& p) { p.temperature = 0; }), "");
  EXPECT_EQ(message([](SamplingParams& p) { p.temperature = -1; }),
            "temperature is -1, must be 0 (greedy) or between 0.0001 and 10000");
  EXPECT_EQ(message([](SamplingParams& p) { p.top_p = 1.5f; }), "top_p is 1.5, must be above 0 and at most 1");
  for (float bad : {std::nanf(""), kInf, -1e9f}) {
    EXPECT_NE(message([&](SamplingParams& p) { p.temperature = bad; }), "");
    EXPECT_NE(message([&](SamplingParams& p) { p.top_p = bad; }), "");
    EXPECT_NE(message([&](SamplingParams& p) { p.min_p = bad; }), "");
    EXPECT_NE(message([&](SamplingParams& p) { p.typical_p = bad; }), "");
    EXPECT_NE(message([&](SamplingParams& p) { p.repetition_penalty = bad; }), "");
    EXPECT_NE(message([&](SamplingParams& p) { p.presence_penalty = bad; }), "");
    EXPECT_NE(message([&](SamplingParams& p) { p.frequency_penalty = bad; }), "");
  }
  EXPECT_NE(message([](SamplingParams& p) { p.top_k = -1; }), "");
  EXPECT_NE(message([](SamplingParams& p) { p.no_repeat_ngram = -1; }), "");
}

TEST(StopChecker, HoldsBackWhatMayBecomeAStop) {
  auto s = StopChecker::create({"</s>", "User:"}, {2, 7});
  ASSERT_TRUE(s.ok());
  EXPECT_TRUE(s->is_stop_id(7));
  EXPECT_FALSE(s->is_stop_id(3));
  EXPECT_EQ(s->push("a < b, "), "a < b, ");
  EXPECT_EQ(s->push("c <"), "c ");
  EXPECT_EQ(s->push("/"), "");
  EXPECT_EQ(s->push("x Us"), "</x ");
  EXPECT_EQ(s->push("er"), "");
  EXPECT_FALSE(s->stopped());
  EXPECT_EQ(s->push(": hello"), "");
  EXPECT_EQ(s->found(), "User:");
  EXPECT_EQ(s->push("more"), "");
  EXPECT_EQ(s->finish(), "");
  EXPECT_FALSE(StopChecker::create({"a", ""}).ok());
}

TEST(StopChecker, FinishGivesWhatWasHeld) {
  auto s = StopChecker::create({"abab!"}).value();
  EXPECT_EQ(s.push("xabab"), "x");
  EXPECT_EQ(s.push("ab"), "ab");
  EXPECT_EQ(s.finish(), "abab");
}

// However the text is cut into pieces, the same comes out: all before the stop string completed first.
TEST(StopChecker, EveryCutGivesTheSameText) {
  Rng rng(4);
  const std::vector<std::string> stops{"cabca", "abc", "bbb", "abbc", "bbc"};
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (int i = 0; i < 14; ++i) text += static_cast<char>('a' + rng.below(3));
    size_t want = text.size(), end = text.size() + 1;
    for (const auto& stop : stops) {
      const size_t at = text.find(stop);
      if (at == std::string::npos || at + stop.size() > end || (at + stop.size() == end && at > want)) continue;
      want = at;
      end = at + stop.size();
    }
    auto s = StopChecker::create(stops).value();
    std::string got;
    for (size_t at = 0; at < text.size();) {
      const size_t n = std::min<size_t>(1 + rng.below(4), text.size() - at);
      got += s.push(std::string_view(text).substr(at, n));
      at += n;
    }
    got += s.finish();
    ASSERT_EQ(got, text.substr(0, want)) << text;
    ASSERT_EQ(s.stopped(), end <= text.size());
  }
}

}  // namespace
}  // namespace raison
