// What a GGUF of architecture deepseek2 says of its router, and what it means where it is older than the keys.
#pragma once
#include "io/gguf.h"

namespace raison {

struct DeepseekRouter {
  bool correction = false;  // exp_probs_b is there: a bias for the choice of experts
  bool sigmoid = false;     // else softmax
  int64_t groups = 1, top_groups = 1;
};

// Without expert_gating_func: sigmoid if the correction bias is there (V3, R1), else softmax (V2). Without expert_group_count: the
// published models' groups, told by their number of experts. Errors: an unknown gating function, keys out of range.
Result<DeepseekRouter> deepseek_router(const GgufFile& file);

}  // namespace raison
