#include "train/memory_plan.h"

#include <algorithm>

#include "train/synthetic_task.h"

namespace raison {
namespace {

constexpr int64_t kFloat = sizeof(float);

// Bytes of a micro-batch's activations, and of their gradients, for each of its tokens. On the tape lie, of a layer: three times the width of
// queries, keys and values (as projected, rotated, attended to), six times that of the stream, three times that of the feed-forward.
int64_t activation_bytes(const ModelInfo& m, bool recompute) {
  const int64_t attention = 3 * m.head_dim * (m.q_heads + 2 * m.kv_heads);
  const int64_t experts = m.experts_used > 0 ? m.experts_used + m.shared_experts : 1;
  const int64_t layer = attention + 6 * m.hidden + 3 * m.feed_forward * experts;
  const int64_t kept = recompute ? m.layers * m.hidden + layer : m.layers * layer;
  return 2 * kFloat * (kept + 4 * m.hidden);
}

int64_t rollout_length(const Recipe& r, const TrainSetup& setup) {
  if (r.rollout.max_length > 0) return r.rollout.max_length;
  if (!r.data.task.empty())
    if (const auto task = make_synthetic_task(r.data.task); task.ok()) return (*task)->max_sequence();
  return setup.model->info().context_length;
}

int64_t cache_bytes(const TrainSetup& setup, DType type, int64_t sequences, int64_t length) {
  const auto layout = setup.model->kv_layout(type, 64);
  if (!layout.ok()) return 0;
  return sequences * ((length + layout->page_size - 1) / layout->page_size) * layout->page_bytes();
}

}  // namespace

std::string bytes_text(int64_t bytes) {
  const auto b = static_cast<double>(bytes);
  return b >= 1e9   ? fmt::format("{:.1f} GB", b / 1e9)
         : b >= 1e6 ? fmt::format("{:.1f} MB", b / 1e6)
                    : fmt::format("{:.0f} kB", b / 1e3);
}

int64_t MemoryPlan::needed() const {
  int64_t sum = 0;
  for (const Item& i : items) sum += i.bytes;
  return sum;
}

std::string MemoryPlan::line() const {
  std::string out = fmt::format("memory: weights {}; about {} more:", bytes_text(weights), bytes_text(needed()));
  for (size_t i = 0; i < items.size(); ++i)
    out += fmt::format("{} {} {}", i > 0 ? "," : "", items[i].what, bytes_text(items[i].bytes));
  return out;
}

MemoryPlan plan_memory(const Recipe& r, const TrainSetup& setup) {
  MemoryPlan plan;
  plan.weights = setup.model->parameters().bytes();
  int64_t trained = 0;
  for (const auto& p : setup.trained().all())
    if (p->trainable) trained += p->element_count() * kFloat;
  plan.items.push_back({"gradients", 2 * trained});  // of a micro-batch, and their sum
  plan.items.push_back({"optimiser", 2 * trained});
  const bool reference = r.kind == TrainKind::Dpo || (r.kind == TrainKind::Grpo && r.policy.has_reference());
  if (reference) plan.items.push_back({"reference", trained});
  plan.items.push_back({"checkpoints", 3 * trained});  // the copies that writing and reading them make
  const int64_t longest = r.kind == TrainKind::Grpo ? rollout_length(r, setup) : r.data.max_length;
  const int64_t tokens = r.batch.tokens > 0 ? std::max(r.batch.tokens, r.kind == TrainKind::Grpo ? longest : 0)
                                            : r.batch.sequences * std::max<int64_t>(longest, 1);
  if (r.kind == TrainKind::Grpo) {
    const int64_t together = std::min(r.rollout.together, r.rollout.prompts * r.rollout.group);
    plan.items.push_back({"rollouts' cache", cache_bytes(setup, r.cache_type, together, longest)});
  }
  plan.items.push_back({"activations", tokens * activation_bytes(setup.model->info(), r.recompute) +
                                           cache_bytes(setup, r.cache_type, 1, tokens)});
  return plan;
}

Status fit_memory(Recipe* r, const TrainSetup& setup, int64_t available, std::vector<std::string>* notices) {
  const auto fits = [&] { return plan_memory(*r, setup).needed() <= available; };
  if (fits()) return {};
  const Recipe before = *r;
  if (!r->recompute) {
    r->recompute = true;
    if (fits()) {
      notices->push_back(
          fmt::format("memory: {} are free, so activations are recomputed (recompute = true): slower, the same bits",
                      bytes_text(available)));
      return {};
    }
  }
  const int64_t least = std::min<int64_t>(r->rollout.group, r->rollout.together);
  while (r->kind == TrainKind::Grpo && r->rollout.together > least && !fits())
    r->rollout.together = std::max(least, r->rollout.together / 2);
  if (fits()) {
    notices->push_back(fmt::format("memory: {} are free, so {} sequences are drawn together{}: slower, the same bits",
                                   bytes_text(available), r->rollout.together,
                                   before.recompute ? "" : ", and activations are recomputed"));
    return {};
  }
  const MemoryPlan plan = plan_memory(*r, setup);
  const std::string file = r->file;
  *r = before;
  return error(
      "{}: needs about {} beside the weights, {} are free ({}); lower batch.tokens, teach an adapter ([lora]), or take a "
      "smaller model",
      file, bytes_text(plan.needed()), bytes_text(available), plan.line());
}

}  // namespace raison
