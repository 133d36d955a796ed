#include "train/init.h"

#include <cmath>

#include "base/rng.h"

namespace raison {
namespace {

constexpr uint64_t kInitStream = 0x696E6974;  // "init": parts these draws from those of the data

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

double std_of(const Parameter& p, const InitRecipe& init) {
  if (ends_with(p.name, "embed_tokens.weight") || ends_with(p.name, "lm_head.weight")) return init.embedding_std;
  const double std = init.std > 0 ? init.std : 1.0 / std::sqrt(static_cast<double>(p.shape[1]));
  const bool residual = ends_with(p.name, "o_proj.weight") || ends_with(p.name, "down_proj.weight");
  return residual ? std * init.residual_scale : std;
}

}  // namespace

void initialise(Model& model, const InitRecipe& init, uint64_t seed) {
  const uint64_t key = hash_seed({seed, kInitStream});
  for (const auto& p : model.parameters().all()) {
    std::vector<float> values(static_cast<size_t>(p->element_count()));
    if (p->is_matrix()) {
      Rng rng(key, static_cast<uint64_t>(p->index));
      const double std = std_of(*p, init);
      for (float& v : values) v = static_cast<float>(std * rng.normal());
    } else {
      values.assign(values.size(), ends_with(p->name, "bias") ? 0.0f : 1.0f);
    }
    p->from_row_major(values.data(), p->values());
  }
  ++model.parameters().version;
}

}  // namespace raison
