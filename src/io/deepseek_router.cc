#include "io/deepseek_router.h"

namespace raison {
namespace {

struct RouterKeys {
  const GgufFile& file;

  Result<int64_t> integer_or(const char* key, int64_t fallback, int64_t lo, int64_t hi) const {
    const std::string name = std::string("deepseek2.") + key;
    if (!file.metadata().has(name)) return fallback;
    const auto v = file.metadata().integer(name);
    if (!v) return error("{}: key {} is no integer", file.path(), name);
    if (*v < lo || *v > hi) return error("{}: key {} is {}, outside {} .. {}", file.path(), name, *v, lo, hi);
    return *v;
  }
};

std::pair<int64_t, int64_t> published_groups(int64_t experts) {
  if (experts == 256) return {8, 4};  // V3, R1
  if (experts == 160) return {8, 3};  // V2
  return {1, 1};
}
}  // namespace

Result<DeepseekRouter> deepseek_router(const GgufFile& file) {
  const RouterKeys keys{file};
  DeepseekRouter r;
  RAISON_ASSIGN(const int64_t dense, keys.integer_or("leading_dense_block_count", 0, 0, 4096));
  r.correction = file.find(fmt::format("blk.{}.exp_probs_b.bias", dense)) != nullptr;
  RAISON_ASSIGN(const int64_t gating, keys.integer_or("expert_gating_func", 0, 0, 100));  // 0: not said
  if (gating > 2)
    return error("{}: deepseek2.expert_gating_func {} is not known; 1 (softmax) and 2 (sigmoid) are", file.path(), gating);
  r.sigmoid = gating == 0 ? r.correction : gating == 2;
  RAISON_ASSIGN(const int64_t experts, keys.integer_or("expert_count", 0, 0, 1 << 16));
  const auto [groups, kept] = published_groups(experts);
  RAISON_ASSIGN(r.groups, keys.integer_or("expert_group_count", groups, 1, 1 << 16));
  RAISON_ASSIGN(r.top_groups, keys.integer_or("expert_group_used_count", kept, 1, 1 << 16));
  return r;
}

}  // namespace raison
