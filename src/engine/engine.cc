#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <new>

#include "ops/ops.h"

namespace raison {
namespace {
using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }
}  // namespace

struct Engine::Impl {
  struct Sequence {
    uint64_t id = 0;
    Request request;
    std::vector<int32_t> tokens;  // prompt, then what was generated
    int64_t computed = 0;         // leading tokens whose K and V lie in the pages
    KvCache::Sequence pages;
    int64_t limit = 0;  // tokens.size() at which it ends
    bool cancelled = false;
  };

  Model& model;
  Exec& exec;
  const KernelTable& kernels;
  EngineOptions options;
  KvCache cache;
  Arena arena;
  std::deque<std::unique_ptr<Sequence>> running, waiting;  // in order of submission
  uint64_t next_id = 1;
  int64_t context = 0, prefilled = 0;
  double prefill_time = 0, decode_time = 0;

  Impl(Model& m, Exec& e, const KernelTable& k, EngineOptions o)
      : model(m), exec(e), kernels(k), options(o), cache(m.kv_layout(o.cache_type, o.page_size)) {
    context = options.context > 0 ? options.context : model.info().context_length;
  }

  void admit() {
    while (!waiting.empty() && static_cast<int>(running.size()) < options.max_sequences) {
      running.push_back(std::move(waiting.front()));
      waiting.pop_front();
    }
  }

  // The rows of this step: one token of each decoding sequence, a chunk of each prompt, within max_batch_tokens.
  struct Step {
    ForwardBatch batch;
    std::vector<Sequence*> members;  // [S]
    std::vector<Sequence*> outputs;  // [R] whose last known token is in this batch
    int64_t prompt_tokens = 0;
  };

  Result<Step> plan() {
    Step step;
    ForwardBatch& b = step.batch;
    b.kv = cache.layout();
    b.seq_offsets.push_back(0);
    for (auto& s : running) {
      const auto known = static_cast<int64_t>(s->tokens.size());
      const int64_t room = options.max_batch_tokens - b.rows();
      const int64_t n = std::min<int64_t>({known - s->computed, options.prefill_chunk, room});
      if (n <= 0) continue;
      RAISON_RETURN_IF_ERROR(s->pages.reserve(s->computed + n));
      for (int64_t i = 0; i < n; ++i) {
        b.tokens.push_back(s->tokens[static_cast<size_t>(s->computed + i)]);
        b.positions.push_back(static_cast<int32_t>(s->computed + i));
      }
      step.prompt_tokens += std::clamp<int64_t>(static_cast<int64_t>(s->request.prompt.size()) - s->computed, 0, n);
      b.seq_offsets.push_back(static_cast<int32_t>(b.rows()));
      b.seq_pages.push_back(s->pages.pages());
      step.members.push_back(s.get());
      if (s->computed + n == known) {
        b.output_rows.push_back(static_cast<int32_t>(b.rows() - 1));
        step.outputs.push_back(s.get());
      }
    }
    return step;
  }

  TokenEvent next_token(Context& ctx, Sequence& s, const float* logits) {
    TokenEvent event;
    event.request = s.id;
    const int64_t vocab = model.info().vocab;
    const auto prompt = std::span<const int32_t>(s.tokens).first(s.request.prompt.size());
    const auto generated = std::span<const int32_t>(s.tokens).subspan(s.request.prompt.size());
    auto token = sample_token(std::span<const float>(logits, static_cast<size_t>(vocab)), prompt, generated, s.request.sampling,
                              s.request.sample_index, s.tokens.size());
    if (!token.ok()) {
      event.finish = FinishReason::Error;
      event.error = token.message();
      return event;
    }
    event.token = *token;
    const float t = s.request.sampling.temperature;
    event.logprob = log_softmax_at(ctx, logits, vocab, event.token, t > 0 ? t : 1.0f);
    s.tokens.push_back(event.token);
    const auto& stops = s.request.stop_ids;
    if (std::find(stops.begin(), stops.end(), event.token) != stops.end()) {
      event.finish = FinishReason::Stop;
    } else if (static_cast<int64_t>(s.tokens.size()) >= s.limit) {
      event.finish = FinishReason::Length;
    }
    return event;
  }

  Status step(const std::function<void(const TokenEvent&)>& on_event) {
    const auto start = Clock::now();
    admit();
    drop_cancelled(on_event);
    auto planned = plan();
    if (!planned.ok()) return fail(planned.error());
    Step& now = *planned;
    if (now.batch.rows() == 0) return {};
    std::vector<TokenEvent> events;
    try {
      arena.reset();
      Context ctx{exec, kernels, arena};
      if (Status ok = check_batch(model, now.batch); !ok.ok()) return fail(ok.error());
      const Tensor hidden = model.forward(ctx, now.batch);  // [R, hidden]
      const Tensor logits = head_logits(ctx, model.head(), hidden);
      for (size_t s = 0; s < now.members.size(); ++s)
        now.members[s]->computed += now.batch.seq_offsets[s + 1] - now.batch.seq_offsets[s];
      for (size_t r = 0; r < now.outputs.size(); ++r)
        events.push_back(next_token(ctx, *now.outputs[r], logits.row(static_cast<int64_t>(r))));
    } catch (const std::bad_alloc&) {
      return fail(Error("out of memory in the forward pass; use a smaller context or fewer sequences"));
    }
    prefilled += now.prompt_tokens;
    (now.prompt_tokens > 0 ? prefill_time : decode_time) += seconds_since(start);
    for (const TokenEvent& e : events)
      if (e.finish != FinishReason::None) std::erase_if(running, [&](const auto& s) { return s->id == e.request; });
    for (const TokenEvent& e : events) on_event(e);
    return {};
  }

  void drop_cancelled(const std::function<void(const TokenEvent&)>& on_event) {
    std::vector<uint64_t> gone;
    for (auto* queue : {&running, &waiting})
      std::erase_if(*queue, [&](const auto& s) {
        if (s->cancelled) gone.push_back(s->id);
        return s->cancelled;
      });
    for (uint64_t id : gone) on_event({id, -1, 0, FinishReason::Cancelled, ""});
  }

  Status fail(Error e) {
    running.clear();
    waiting.clear();
    return e;
  }
};

Engine::Engine(Model& model, Exec& exec, const KernelTable& kernels, EngineOptions options)
    : impl_(std::make_unique<Impl>(model, exec, kernels, options)) {}
Engine::~Engine() = default;

Result<uint64_t> Engine::submit(Request request) {
  const int64_t vocab = impl_->model.info().vocab;
  const auto length = static_cast<int64_t>(request.prompt.size());
  if (length == 0) return error("the prompt is empty: at least one token is needed");
  for (int32_t t : request.prompt)
    if (t < 0 || t >= vocab) return error("token id {} is outside the vocabulary of {}", t, vocab);
  if (length >= impl_->context)
    return error("the prompt has {} tokens, the context holds {} with at least one to answer; shorten it or raise the context",
                 length, impl_->context);
  RAISON_RETURN_IF_ERROR(request.sampling.validate());
  auto s = std::make_unique<Impl::Sequence>();
  s->id = impl_->next_id++;
  s->tokens = request.prompt;
  s->limit = request.max_tokens > 0 ? length + std::min(request.max_tokens, impl_->context - length) : impl_->context;
  s->pages = impl_->cache.sequence();
  s->request = std::move(request);
  const uint64_t id = s->id;
  impl_->waiting.push_back(std::move(s));
  return id;
}

void Engine::cancel(uint64_t request) {
  for (auto* queue : {&impl_->running, &impl_->waiting})
    for (auto& s : *queue)
      if (s->id == request) {
        s->cancelled = true;
        s->pages.truncate(0);
      }
}

bool Engine::idle() const { return impl_->running.empty() && impl_->waiting.empty(); }
Status Engine::step(const std::function<void(const TokenEvent&)>& on_event) { return impl_->step(on_event); }
Status Engine::run(const std::function<void(const TokenEvent&)>& on_event) {
  while (!idle()) RAISON_RETURN_IF_ERROR(step(on_event));
  return {};
}
int64_t Engine::pages_in_use() const { return impl_->cache.pages_in_use(); }
int64_t Engine::prefill_tokens() const { return impl_->prefilled; }
double Engine::prefill_seconds() const { return impl_->prefill_time; }
double Engine::decode_seconds() const { return impl_->decode_time; }
int64_t Engine::context() const { return impl_->context; }

Result<Generation> generate(Engine& engine, Request request) {
  RAISON_ASSIGN(const uint64_t id, engine.submit(std::move(request)));
  Generation out;
  std::optional<Error> failed;
  RAISON_RETURN_IF_ERROR(engine.run([&](const TokenEvent& e) {
    if (e.request != id) return;
    if (e.finish == FinishReason::Error) failed = Error(e.error);
    if (e.token >= 0) {
      out.tokens.push_back(e.token);
      out.logprobs.push_back(e.logprob);
    }
    out.finish = e.finish;
  }));
  if (failed) return *failed;
  return out;
}

Result<std::vector<float>> compute_logits(Model& model, Exec& exec, const KernelTable& kernels, DType cache_type,
                                          const std::vector<int32_t>& tokens, int64_t chunk, int64_t rope_offset) {
  KvCache cache(model.kv_layout(cache_type, 64));
  KvCache::Sequence pages = cache.sequence();
  const auto total = static_cast<int64_t>(tokens.size());
  RAISON_RETURN_IF_ERROR(pages.reserve(total));
  const int64_t vocab = model.info().vocab;
  try {
    std::vector<float> out(static_cast<size_t>(total * vocab));
    Arena arena;
    for (int64_t begin = 0; begin < total;) {
      const int64_t n = std::min(chunk > 0 ? chunk : total, total - begin);
      ForwardBatch b;
      b.kv = cache.layout();
      b.rope_offset = rope_offset;
      b.seq_offsets = {0, static_cast<int32_t>(n)};
      b.seq_pages = {pages.pages()};
      for (int64_t i = 0; i < n; ++i) {
        b.tokens.push_back(tokens[static_cast<size_t>(begin + i)]);
        b.positions.push_back(static_cast<int32_t>(begin + i));
        b.output_rows.push_back(static_cast<int32_t>(i));
      }
      RAISON_RETURN_IF_ERROR(check_batch(model, b));
      arena.reset();
      Context ctx{exec, kernels, arena};
      const Tensor hidden = model.forward(ctx, b);
      const Tensor z = head_logits(ctx, model.head(), hidden);
      std::copy_n(z.data, z.size(), out.begin() + begin * vocab);
      begin += n;
    }
    return out;
  } catch (const std::bad_alloc&) { return error("out of memory computing the logits of {} tokens; give fewer", total); }
}

}  // namespace raison
