#include "train/rollouts.h"

#include <unordered_map>

#include "base/rng.h"

namespace raison {

Result<std::optional<std::vector<Rollout>>> draw_rollouts(Engine& engine, const std::vector<std::vector<int32_t>>& prompts,
                                                          uint64_t seed, const RolloutOptions& o,
                                                          const std::function<bool(int64_t)>& progress) {
  std::vector<Rollout> out;
  std::unordered_map<uint64_t, size_t> index;
  const auto cancel_all = [&] {
    for (const auto& [id, i] : index) engine.cancel(id);
    return engine.run([](const TokenEvent&) {});
  };
  for (size_t p = 0; p < prompts.size(); ++p)
    for (int64_t k = 0; k < o.group; ++k) {
      Request r;
      r.prompt = prompts[p];
      r.sampling.temperature = o.temperature;
      r.sampling.seed = hash_seed({seed, p});
      r.sample_index = static_cast<uint64_t>(k);
      r.max_tokens = o.length - static_cast<int64_t>(prompts[p].size());
      r.stop_ids = o.stop_ids;
      r.think = o.think;
      r.think_start = o.think_start;
      r.think_limits = o.think_limits;
      const auto id = r.max_tokens > 0
                          ? engine.submit(std::move(r))
                          : Result<uint64_t>(error("{} tokens leave no room to answer within {}", prompts[p].size(), o.length));
      if (!id.ok()) {
        RAISON_RETURN_IF_ERROR(cancel_all());
        return error("prompt {}: {}", p + 1, id.message());
      }
      index[*id] = out.size();
      out.push_back({prompts[p], {}});
    }
  std::string fault;
  int64_t ended = 0;
  while (!engine.idle()) {
    RAISON_RETURN_IF_ERROR(engine.step([&](const TokenEvent& e) {
      if (e.finish == FinishReason::Error) fault = e.error;
      out[index.at(e.request)].reply.add(e);
      ended += e.finish != FinishReason::None ? 1 : 0;
    }));
    if (!fault.empty()) {
      RAISON_RETURN_IF_ERROR(cancel_all());
      return error("rollout: {}", fault);
    }
    if (progress && !progress(ended)) {
      RAISON_RETURN_IF_ERROR(cancel_all());
      return std::optional<std::vector<Rollout>>();
    }
  }
  return std::optional(std::move(out));
}

}  // namespace raison
