#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <new>

#include "base/memory.h"
#include "engine/scheduler.h"
#include "ops/ops.h"
#include "ops/serial_exec.h"

namespace raison {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Pages within the bound; without one: half of what is free, so that a cache never pushes the weights out.
int64_t most_pages(const KvLayout& layout, int64_t bytes) {
  if (bytes <= 0) bytes = available_memory().value_or(0) / 2;
  return bytes > 0 ? std::max<int64_t>(1, bytes / layout.page_bytes()) : 0;
}

constexpr float kNever = -__builtin_inff();

// Draws the next token; `logits` [vocab] are left as they were.
Result<int32_t> draw(EngineSequence& s, float* logits, int64_t vocab) {
  std::vector<int32_t> ruled_out = s.think.forbidden();
  if (s.think.stop_forbidden()) ruled_out.insert(ruled_out.end(), s.request.stop_ids.begin(), s.request.stop_ids.end());
  std::vector<float> kept;
  for (const int32_t id : ruled_out) kept.push_back(std::exchange(logits[id], kNever));
  const size_t asked = s.request.prompt.size() - static_cast<size_t>(s.request.continued);
  const auto prompt = std::span<const int32_t>(s.tokens).first(asked);
  const auto generated = std::span<const int32_t>(s.tokens).subspan(asked);
  auto token = sample_token(std::span<const float>(logits, static_cast<size_t>(vocab)), prompt, generated, s.request.sampling,
                            s.request.sample_index, s.tokens.size());
  for (size_t i = ruled_out.size(); i-- > 0;) logits[ruled_out[i]] = kept[i];  // backwards: an id may be there twice
  return token;
}

}  // namespace

struct Engine::Impl {
  Model& model;
  Exec& exec;
  const KernelTable& kernels;
  EngineOptions options;
  Result<KvLayout> layout;  // an error answers every request
  Scheduler scheduler;
  Arena arena;
  EngineStats counts;
  uint64_t next_id = 1, weights_version;
  int64_t context;
  std::vector<TokenEvent> events;  // of this step

  Impl(Model& m, Exec& e, const KernelTable& k, EngineOptions o)
      : model(m),
        exec(e),
        kernels(k),
        options(o),
        layout(m.kv_layout(o.cache_type, o.page_size)),
        scheduler(layout.ok() ? *layout : KvLayout{}, o, layout.ok() ? most_pages(*layout, o.cache_bytes) : 1),
        weights_version(m.version()),
        context(o.context > 0 ? o.context : m.info().context_length) {}

  // Tokens at which a sequence ends.
  int64_t limit_of(const Request& r) const {
    const auto length = static_cast<int64_t>(r.prompt.size());
    return r.max_tokens > 0 ? length + std::min(r.max_tokens, context - length) : context;
  }

  Status check(const Request& r) const {
    const auto length = static_cast<int64_t>(r.prompt.size());
    const int64_t vocab = model.info().vocab;
    const auto in_vocabulary = [&](int32_t t) { return t >= 0 && t < vocab; };
    if (length == 0) return error("the prompt is empty: at least one token is needed");
    for (const int32_t t : r.prompt)
      if (!in_vocabulary(t)) return error("token id {} is outside the vocabulary of {}", t, vocab);
    for (const int32_t t : r.stop_ids)
      if (!in_vocabulary(t)) return error("stop id {} is outside the vocabulary of {}", t, vocab);
    if (length >= context)
      return error(
          "the prompt has {} tokens, the context holds {} with at least one to answer; shorten it or raise the context", length,
          context);
    if (r.continued < 0 || r.continued >= length)
      return error("{} of {} tokens continue a reply; at least one must be the prompt's", r.continued, length);
    RAISON_RETURN_IF_ERROR(layout);
    RAISON_RETURN_IF_ERROR(scheduler.check(r, limit_of(r)));
    if (r.adapter < -1 || r.adapter >= static_cast<int32_t>(model.adapters().size()))
      return error("adapter {} is not loaded", r.adapter);
    RAISON_RETURN_IF_ERROR(r.sampling.validate());
    RAISON_RETURN_IF_ERROR(r.think_limits.validate());
    if (r.think && !r.think->within(vocab)) return error("a thinking mark is outside the vocabulary of {}", vocab);
    return {};
  }

  // Takes a token into the sequence; returns whether that ended it.
  bool accept(EngineSequence& s, int32_t token, float logprob, bool forced) {
    TokenEvent e;
    e.request = s.id;
    e.token = token;
    e.logprob = logprob;
    e.forced = forced;
    s.tokens.push_back(token);
    ++counts.generated_tokens;
    const ThinkEnd before = s.think.ended_by();
    std::vector<TokenKind> kinds;
    s.think.push(token, &kinds);
    if (s.think.ended_by() != before) e.think_end = s.think.ended_by();
    const auto& stops = s.request.stop_ids;
    if (!forced && std::find(stops.begin(), stops.end(), token) != stops.end()) {
      e.finish = FinishReason::Stop;
    } else if (s.known() >= s.limit) {
      e.finish = FinishReason::Length;
    }
    const bool ended = e.finish != FinishReason::None;
    if (ended) s.think.finish(&kinds);
    s.held.push_back(std::move(e));
    report(s, kinds);
    return ended;
  }

  // The oldest held events, whose kinds are settled now.
  void report(EngineSequence& s, const std::vector<TokenKind>& kinds) {
    for (const TokenKind kind : kinds) {
      if (s.untold > 0) {
        --s.untold;
        continue;
      }
      s.held.front().kind = kind;
      events.push_back(std::move(s.held.front()));
      s.held.pop_front();
    }
  }

  // An end without a token.
  void close(EngineSequence& s, FinishReason finish, std::string why) {
    std::vector<TokenKind> kinds;
    s.think.finish(&kinds);
    report(s, kinds);
    TokenEvent e;
    e.request = s.id;
    e.finish = finish;
    e.error = std::move(why);
    events.push_back(std::move(e));
  }

  // What the thought's bounds put in. Returns whether that ended the sequence.
  bool accept_forced(EngineSequence& s) {
    std::vector<int32_t> tokens = std::exchange(s.forced, {});
    if (tokens.empty()) tokens = s.think.take_forced();
    for (const int32_t token : tokens)
      if (accept(s, token, 0, true)) return true;
    return false;
  }

  // Brings a new sequence's thinking to where the reply that it continues had come.
  static void replay(EngineSequence& s) {
    const auto begin = s.tokens.end() - static_cast<std::ptrdiff_t>(s.request.continued);
    std::vector<TokenKind> kinds;
    if (s.request.continued > 0) s.forced = s.think.take_forced();
    for (auto at = begin; at != s.tokens.end(); ++at) {
      s.think.push(*at, &kinds);
      if (!s.forced.empty()) s.forced.erase(s.forced.begin());
      // What the bounds put in then follows in the tokens, as far as there was room.
      if (s.forced.empty()) s.forced = s.think.take_forced();
    }
    s.untold = s.request.continued - static_cast<int64_t>(kinds.size());
  }

  ForwardBatch make_batch(const std::vector<Scheduler::Share>& step, std::vector<EngineSequence*>* outputs) {
    ForwardBatch b;
    b.kv = scheduler.cache().layout();
    b.seq_offsets.push_back(0);
    for (const auto& [s, rows] : step) {
      for (int64_t i = 0; i < rows; ++i) {
        b.tokens.push_back(s->tokens[static_cast<size_t>(s->computed + i)]);
        b.positions.push_back(static_cast<int32_t>(s->computed + i));
      }
      b.seq_offsets.push_back(static_cast<int32_t>(b.rows()));
      b.seq_pages.push_back(s->pages.pages());
      b.adapters.push_back(s->request.adapter);
      if (s->computed + rows < s->known()) continue;
      b.output_rows.push_back(static_cast<int32_t>(b.rows() - 1));
      outputs->push_back(s);
    }
    return b;
  }

  // Next tokens of `outputs` from logits [R, vocab], each row by itself.
  struct Drawn {
    Result<int32_t> token = Result<int32_t>(-1);
    float logprob = 0;
  };
  std::vector<Drawn> draw_all(const std::vector<EngineSequence*>& outputs, const Tensor& logits) {
    std::vector<Drawn> drawn(outputs.size());
    const int64_t vocab = model.info().vocab;
    parallel_serial(exec, static_cast<int64_t>(outputs.size()), [&](int64_t r, SerialExec& serial) {
      EngineSequence& s = *outputs[static_cast<size_t>(r)];
      Drawn& d = drawn[static_cast<size_t>(r)];
      d.token = draw(s, logits.row(r), vocab);
      if (!d.token.ok()) return;
      const float t = s.request.sampling.temperature;
      Arena none;
      Context ctx{serial, kernels, none};
      d.logprob = log_softmax_at(ctx, logits.row(r), vocab, *d.token, t > 0 ? t : 1.0f);
    });
    return drawn;
  }

  Status forward(const std::vector<Scheduler::Share>& step, bool* prompts) {
    std::vector<EngineSequence*> outputs;
    const ForwardBatch batch = make_batch(step, &outputs);
    std::vector<Drawn> drawn;
    try {
      arena.reset();
      Context ctx{exec, kernels, arena};
      RAISON_RETURN_IF_ERROR(check_batch(model, batch));
      const Tensor hidden = model.forward(ctx, batch);               // [R, hidden]
      const Tensor logits = head_logits(ctx, model.head(), hidden);  // [R, vocab]
      drawn = draw_all(outputs, logits);
    } catch (const std::bad_alloc&) {
      return error("out of memory in the forward pass; use a smaller context or fewer sequences");
    }
    for (const auto& [s, rows] : step) {
      *prompts = *prompts || s->computed < s->prompt_size();
      scheduler.computed(*s, rows);
    }
    for (size_t r = 0; r < outputs.size(); ++r) {
      EngineSequence& s = *outputs[r];
      const Result<int32_t>& token = drawn[r].token;
      if (!token.ok()) {
        close(s, FinishReason::Error, token.message());
        scheduler.finish(s);
      } else if (accept(s, *token, drawn[r].logprob, false) || accept_forced(s)) {
        scheduler.finish(s);
      }
    }
    return {};
  }

  Status step(const std::function<void(const TokenEvent&)>& on_event) {
    const auto start = Clock::now();
    events.clear();
    for (const auto& s : scheduler.take_cancelled()) close(*s, FinishReason::Cancelled, "");
    if (model.version() != weights_version) {  // trained in the meantime
      weights_version = model.version();
      scheduler.restart_all();
    }
    scheduler.admit();
    std::vector<EngineSequence*> over;
    for (const auto& s : scheduler.running())
      if (accept_forced(*s)) over.push_back(s.get());
    for (EngineSequence* s : over) scheduler.finish(*s);
    const auto planned = scheduler.plan();
    if (!planned.ok()) return fail(planned.error());
    bool prompts = false;
    if (!planned->empty())
      if (Status ok = forward(*planned, &prompts); !ok.ok()) return fail(ok.error());
    (prompts ? counts.prefill_seconds : counts.decode_seconds) += seconds_since(start);
    std::vector<TokenEvent> now;
    now.swap(events);  // on_event may submit and cancel
    for (const TokenEvent& e : now) on_event(e);
    return {};
  }

  Status fail(Error e) {
    scheduler.clear();
    events.clear();
    return e;
  }
};

Engine::Engine(Model& model, Exec& exec, const KernelTable& kernels, EngineOptions options)
    : impl_(std::make_unique<Impl>(model, exec, kernels, options)) {}
Engine::~Engine() = default;

Result<uint64_t> Engine::submit(Request request) {
  RAISON_RETURN_IF_ERROR(impl_->check(request));
  auto s = std::make_unique<EngineSequence>();
  s->id = impl_->next_id++;
  s->tokens = request.prompt;
  s->limit = impl_->limit_of(request);
  s->think = ThinkState(request.think, request.think_limits, request.think_start);
  s->request = std::move(request);
  Impl::replay(*s);
  const uint64_t id = s->id;
  impl_->scheduler.add(std::move(s));
  return id;
}

Status Engine::check(const Request& request) const { return impl_->check(request); }

void Engine::cancel(uint64_t request) {
  if (EngineSequence* s = impl_->scheduler.find(request)) {
    s->cancelled = true;
    s->pages.truncate(0);
    s->computed = 0;
  }
}

void Engine::end_thinking(uint64_t request) {
  if (EngineSequence* s = impl_->scheduler.find(request)) s->think.end_now();
}

bool Engine::idle() const { return impl_->scheduler.idle(); }
Status Engine::step(const std::function<void(const TokenEvent&)>& on_event) { return impl_->step(on_event); }
Status Engine::run(const std::function<void(const TokenEvent&)>& on_event) {
  while (!idle()) RAISON_RETURN_IF_ERROR(step(on_event));
  return {};
}
int64_t Engine::context() const { return impl_->context; }
int64_t Engine::needed(int64_t prompt, int64_t max_tokens) const {
  return max_tokens > 0 ? std::min(prompt + max_tokens, std::max(impl_->context, prompt + 1)) : prompt + 1;
}
int64_t Engine::room() const {
  const int64_t most = impl_->scheduler.cache().max_positions();
  return most > 0 ? std::min(most, impl_->context) : impl_->context;
}
void Engine::forget_prefixes() { impl_->scheduler.tree().clear(); }

EngineStats Engine::stats() const {
  EngineStats s;
  impl_->scheduler.count_into(&s);
  s.generated_tokens = impl_->counts.generated_tokens;
  s.prefill_seconds = impl_->counts.prefill_seconds;
  s.decode_seconds = impl_->counts.decode_seconds;
  return s;
}

void Generation::add(const TokenEvent& e) {
  if (e.token >= 0) {
    tokens.push_back(e.token);
    logprobs.push_back(e.logprob);
    kinds.push_back(e.kind);
    forced.push_back(e.forced ? 1 : 0);
  }
  if (e.think_end != ThinkEnd::None) think_end = e.think_end;
  finish = e.finish;
}

Result<Generation> generate(Engine& engine, Request request) {
  RAISON_ASSIGN(const uint64_t id, engine.submit(std::move(request)));
  Generation out;
  std::optional<Error> failed;
  RAISON_RETURN_IF_ERROR(engine.run([&](const TokenEvent& e) {
    if (e.request != id) return;
    if (e.finish == FinishReason::Error) failed = Error(e.error);
    out.add(e);
  }));
  if (failed) return *failed;
  return out;
}

Result<std::vector<float>> compute_logits(Model& model, Exec& exec, const KernelTable& kernels, DType cache_type,
                                          const std::vector<int32_t>& tokens, int64_t chunk, int64_t rope_offset,
                                          int32_t adapter) {
  RAISON_ASSIGN(const KvLayout layout, model.kv_layout(cache_type, 64));
  KvCache cache(layout);
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
      b.adapters = {adapter};
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
