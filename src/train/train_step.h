// One micro-batch through the model: packed without padding, its loss, its gradient.
#pragma once
#include <functional>
#include <span>

#include "engine/kv_cache.h"
#include "models/model.h"
#include "train/data.h"

namespace raison {

// Sum of the loss weights, in order, in double.
double total_weight(const MicroBatch& batch);
int64_t token_count(const MicroBatch& batch);

// Runs micro-batches on one arena and one ephemeral KV cache, which stay for the next.
class MicroBatchRunner {
 public:
  // `adapter`: an id of the model's that all sequences have; -1 the base.
  MicroBatchRunner(Model& model, Exec& exec, const KernelTable& kernels, const KvLayout& layout, bool recompute,
                   int32_t adapter = -1);
  // Returns sum(w * -logprob), in double, in packed order. With `gradients`: adds the gradient of that sum divided by
  // `divisor` (the weight of the whole step) as one micro-batch. Error: tokens the model does not have, out of memory.
  Result<double> run(const MicroBatch& batch, GradientStore* gradients, double divisor);

  // For losses that are functions of the logprobs (train/policy_loss.h): logprobs of softmax(logits / temperature) of the tokens that have a
  // weight, in packed order, go to `derive`, whose answer is d loss / d logprob of each; the gradient is added as one micro-batch. Without
  // `gradients` the answer is not used: these are the logprobs alone, with the same bits. Errors: those of run, and derive's.
  using Derive = std::function<Result<std::vector<float>>(std::span<const float> logprobs)>;
  Status differentiate(const MicroBatch& batch, float temperature, GradientStore* gradients, const Derive& derive);

 private:
  struct Packed;
  Status pack(const MicroBatch& batch, Packed* out);
  Model& model_;
  Exec& exec_;
  const KernelTable& kernels_;
  bool recompute_;
  int32_t adapter_;
  KvCache cache_;
  Arena arena_;
};

}  // namespace raison
