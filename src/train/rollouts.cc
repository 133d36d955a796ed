#include "train/rollouts.h"

#include <algorithm>
#include <unordered_map>

#include "base/rng.h"

namespace raison {

namespace {

Request request_of(const RolloutPrompt& prompt, uint64_t seed, size_t place, int64_t sample, const RolloutOptions& o) {
  Request r;
  r.prompt = prompt.tokens;
  r.sampling = o.sampling;
  r.sampling.seed = hash_seed({seed, place});
  r.sample_index = static_cast<uint64_t>(sample);
  r.max_tokens = o.length - static_cast<int64_t>(prompt.tokens.size());
  if (o.max_tokens > 0) r.max_tokens = std::min(r.max_tokens, o.max_tokens);
  r.stop_ids = o.stop_ids;
  r.adapter = o.adapter;
  r.think = o.think;
  r.think_start = o.think ? prompt.start : ThinkPhase::None;
  r.think_limits = o.think_limits;
  return r;
}

}  // namespace

Result<bool> draw_rollouts(Engine& engine, const std::vector<RolloutPrompt>& prompts, uint64_t seed, const RolloutOptions& o,
                           std::vector<Rollout>* rollouts, const std::function<Result<bool>(int64_t)>& progress) {
  const auto group = static_cast<size_t>(o.group);
  rollouts->resize(prompts.size() * group);
  std::unordered_map<uint64_t, size_t> index;
  const auto cancel_all = [&] {
    for (const auto& [id, i] : index) engine.cancel(id);
    const Status ran = engine.run([](const TokenEvent&) {});
    for (Rollout& r : *rollouts)
      if (!r.finished()) r.reply = {};
    return ran;
  };
  int64_t finished = 0;
  for (size_t i = 0; i < rollouts->size(); ++i) {
    const RolloutPrompt& prompt = prompts[i / group];
    Rollout& rollout = (*rollouts)[i];
    rollout.prompt = prompt.tokens;
    finished += rollout.finished() ? 1 : 0;
    if (rollout.finished()) continue;
    Request r = request_of(prompt, seed, i / group, static_cast<int64_t>(i % group), o);
    const auto id =
        r.max_tokens > 0
            ? engine.submit(std::move(r))
            : Result<uint64_t>(error("{} tokens leave no room to answer within {}", prompt.tokens.size(), o.length));
    if (!id.ok()) {
      RAISON_RETURN_IF_ERROR(cancel_all());
      return error("prompt {}: {}", i / group + 1, id.message());
    }
    index[*id] = i;
  }
  std::string fault;
  while (!engine.idle()) {
    RAISON_RETURN_IF_ERROR(engine.step([&](const TokenEvent& e) {
      if (e.finish == FinishReason::Error) fault = e.error;
      (*rollouts)[index.at(e.request)].reply.add(e);
      finished += e.finish != FinishReason::None ? 1 : 0;
    }));
    auto more = !fault.empty() ? Result<bool>(error("rollout: {}", fault)) : progress ? progress(finished) : Result<bool>(true);
    if (more.ok() && *more) continue;
    RAISON_RETURN_IF_ERROR(cancel_all());
    return more;
  }
  return true;
}

}  // namespace raison
