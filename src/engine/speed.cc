#include "engine/speed.h"

#include <algorithm>

#include "base/rng.h"

namespace raison {
namespace {

constexpr int kWarmSteps = 2;               // decoded before the clock starts: the peaks have emptied the caches
constexpr int64_t kWarmPrompt = 32;         // tokens, where every token meets every weight
constexpr uint64_t kPromptSeed = 20250120;  // any

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

std::string name_of(const SpeedTest& test) {
  if (test.kind == SpeedTest::Kind::Prefill) return fmt::format("prefill of {}", test.prompt);
  return fmt::format("decoding {} at once behind {}", test.sequences, test.prompt);
}

}  // namespace

double SpeedRow::median_seconds() const { return median(seconds); }

double SpeedRow::spread() const {
  const auto [low, high] = std::minmax_element(seconds.begin(), seconds.end());
  return (*high - *low) / median_seconds();
}

// An engine at work on one test.
struct SpeedMeter::Running {
  Engine engine;
  std::optional<Error> failed = {};
};

SpeedMeter::SpeedMeter(Model& model, Exec& exec, const KernelTable& kernels, const PeakMeter& peaks, SpeedOptions options)
    : model_(model), exec_(exec), kernels_(kernels), peaks_(peaks), options_(std::move(options)) {}

EngineOptions SpeedMeter::engine_options(const SpeedTest& test) const {
  EngineOptions o;
  o.cache_type = options_.cache_type;
  o.context = options_.context;
  o.prefix_cache = false;
  o.max_sequences = std::max(o.max_sequences, static_cast<int>(test.sequences));
  o.max_batch_tokens = std::max(o.max_batch_tokens, test.sequences);
  return o;
}

int64_t SpeedMeter::positions(const SpeedTest& test) const {
  if (test.kind == SpeedTest::Kind::Prefill) return test.prompt + 1;
  return std::max<int64_t>(test.prompt, 1) + 1 + kWarmSteps + options_.repetitions * options_.decode_steps;
}

Status SpeedMeter::check(const SpeedTest& test) const {
  const Engine engine(model_, exec_, kernels_, engine_options(test));
  const int64_t needed = positions(test), context = engine.context();
  if (needed > context)
    return error("{} takes {} positions, the context holds {}; ask for less, or raise --ctx if the model's is larger",
                 name_of(test), needed, context);
  const int64_t page = EngineOptions().page_size, pages = (needed + page - 1) / page * test.sequences;
  const int64_t most = engine.stats().pages_most;
  if (most > 0 && pages > most)
    return error("{} takes {} positions of KV cache, there is memory for {}; ask for less", name_of(test), pages * page,
                 most * page);
  return {};
}

Status SpeedMeter::submit(Running& r, int64_t prompt, int64_t answer, int64_t sequences) {
  const auto vocab = static_cast<uint64_t>(model_.info().vocab);
  for (int64_t s = 0; s < sequences; ++s) {
    Rng rng(kPromptSeed, prompts_++);
    Request request;
    request.prompt.resize(static_cast<size_t>(prompt));
    for (int32_t& t : request.prompt) t = static_cast<int32_t>(rng.below(vocab));
    request.sampling.temperature = 0;
    request.max_tokens = answer;
    RAISON_RETURN_IF_ERROR(r.engine.submit(std::move(request)));
  }
  return {};
}

// One forward pass; its time is added to *seconds. False: progress() ended it.
Result<bool> SpeedMeter::step(Running& r, const std::string& what, double* seconds) {
  if (!go_on(what)) return false;
  const double begin = steady_seconds();
  RAISON_RETURN_IF_ERROR(r.engine.step([&](const TokenEvent& e) {
    if (e.finish == FinishReason::Error) r.failed = Error(e.error);
  }));
  *seconds += steady_seconds() - begin;
  if (r.failed) return *r.failed;
  // Two sequences that take turns in one's room would be measured as neither.
  if (r.engine.stats().preemptions > 0) return error("{}: the KV cache ran out of memory; ask for less", what);
  return true;
}

Result<bool> SpeedMeter::prefill(const SpeedTest& test, SpeedRow* row) {
  Running r{Engine(model_, exec_, kernels_, engine_options(test))};
  const int64_t chunk = engine_options(test).prefill_chunk;
  row->tokens = test.prompt;
  row->steps = (test.prompt + chunk - 1) / chunk;
  RAISON_ASSIGN(const KvLayout layout, model_.kv_layout(options_.cache_type, EngineOptions().page_size));
  const StepCounter counter(model_, layout);
  for (int64_t at = 0; at < test.prompt; at += chunk) {
    const int64_t rows = std::min(chunk, test.prompt - at);
    row->cost += counter.count({1, rows, at, at + rows == test.prompt});
  }
  for (int i = -1; i < options_.repetitions;
       ++i) {  // -1: warming up. Experts are packed when they are first met, so by all tokens.
    const bool all = i >= 0 || model_.info().experts > 0;
    RAISON_RETURN_IF_ERROR(submit(r, all ? test.prompt : std::min(test.prompt, kWarmPrompt), 1, 1));
    if (i == 0) take_peaks(row);
    double seconds = 0;
    for (int64_t done = 0; !r.engine.idle(); done += chunk) {
      const std::string what =
          fmt::format("{}: {}{} done", name_of(test),
                      i < 0 ? std::string("warming up, ") : fmt::format("{} of {}, ", i + 1, options_.repetitions), done);
      RAISON_ASSIGN(const bool more, step(r, what, &seconds));
      if (!more) return false;
    }
    if (i >= 0) row->seconds.push_back(seconds);
  }
  return true;
}

Result<bool> SpeedMeter::decode(const SpeedTest& test, SpeedRow* row) {
  Running r{Engine(model_, exec_, kernels_, engine_options(test))};
  const int64_t prompt = std::max<int64_t>(test.prompt, 1);
  RAISON_RETURN_IF_ERROR(submit(r, prompt, positions(test) - prompt, test.sequences));
  double untimed = 0;
  while (r.engine.stats().generated_tokens < test.sequences) {
    const std::string what = fmt::format("{}: {} tokens read", name_of(test), r.engine.stats().prompt_tokens);
    RAISON_ASSIGN(const bool more, step(r, what, &untimed));
    if (!more) return false;
  }
  if (!go_on(name_of(test) + ": peaks")) return false;
  take_peaks(row);
  for (int i = 0; i < kWarmSteps; ++i) {
    RAISON_ASSIGN(const bool more, step(r, name_of(test) + ": warming up", &untimed));
    if (!more) return false;
  }
  row->steps = options_.decode_steps;
  row->tokens = row->steps * test.sequences;
  for (int i = 0; i < options_.repetitions; ++i) {
    double seconds = 0;
    for (int64_t s = 0; s < row->steps; ++s) {
      const std::string what = fmt::format("{}: {} of {}, {} done", name_of(test), i + 1, options_.repetitions, s);
      RAISON_ASSIGN(const bool more, step(r, what, &seconds));
      if (!more) return false;
    }
    row->seconds.push_back(seconds);
  }
  if (r.engine.stats().generated_tokens != test.sequences * (1 + kWarmSteps + options_.repetitions * row->steps))
    return error("{}: not every step decoded a token of every sequence", name_of(test));
  RAISON_ASSIGN(const KvLayout layout, model_.kv_layout(options_.cache_type, EngineOptions().page_size));
  const StepCounter counter(model_, layout);
  for (int64_t s = 0; s < row->steps * options_.repetitions; ++s)
    row->cost += counter.count({test.sequences, 1, prompt + kWarmSteps + s, true});
  row->cost = row->cost * (1.0 / options_.repetitions);
  return true;
}

Result<std::optional<SpeedMeter::FirstToken>> SpeedMeter::measure_first_token(int64_t prefix) {
  const SpeedTest as_prefill{SpeedTest::Kind::Prefill, prefix + kOwn, 1};
  RAISON_RETURN_IF_ERROR(check(as_prefill));
  EngineOptions o = engine_options(as_prefill);
  o.prefix_cache = true;
  Running r{Engine(model_, exec_, kernels_, o)};
  const auto vocab = static_cast<uint64_t>(model_.info().vocab);
  const auto draw = [&](int64_t n) {
    Rng rng(kPromptSeed, prompts_++);
    std::vector<int32_t> tokens(static_cast<size_t>(n));
    for (int32_t& t : tokens) t = static_cast<int32_t>(rng.below(vocab));
    return tokens;
  };
  const std::string what = fmt::format("first token behind {} cached", prefix);
  // One answer token each; with it the request ends.
  const auto ask = [&](const std::vector<int32_t>& beginning) -> Result<std::optional<double>> {
    Request request;
    request.prompt = beginning;
    const auto own = draw(kOwn);
    request.prompt.insert(request.prompt.end(), own.begin(), own.end());
    request.sampling.temperature = 0;
    request.max_tokens = 1;
    RAISON_RETURN_IF_ERROR(r.engine.submit(std::move(request)));
    double seconds = 0;
    while (!r.engine.idle()) {
      RAISON_ASSIGN(const bool more, step(r, what, &seconds));
      if (!more) return std::optional<double>();
    }
    return std::optional<double>(seconds);
  };
  std::vector<double> cached, uncached;
  for (int i = -1; i < options_.repetitions; ++i) {  // -1: warming up
    const auto beginning = draw(prefix);
    for (auto* list : {&uncached, &cached}) {
      RAISON_ASSIGN(const std::optional<double> seconds, ask(beginning));
      if (!seconds) return std::optional<FirstToken>();
      if (i >= 0) list->push_back(*seconds);
    }
  }
  return std::optional<FirstToken>({median(cached), median(uncached)});
}

Result<std::optional<SpeedRow>> SpeedMeter::measure(const SpeedTest& test) {
  RAISON_RETURN_IF_ERROR(check(test));
  SpeedRow row;
  row.test = test;
  RAISON_ASSIGN(const bool whole, test.kind == SpeedTest::Kind::Prefill ? prefill(test, &row) : decode(test, &row));
  if (!whole) return std::optional<SpeedRow>();
  take_peaks(&row);
  row.bound = bound_of(row.cost, row.peaks);
  return std::optional<SpeedRow>(std::move(row));
}

}  // namespace raison
