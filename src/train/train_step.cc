#include "train/train_step.h"

#include <new>

#include "ops/ops.h"

namespace raison {

double total_weight(const MicroBatch& batch) {
  double sum = 0;
  for (const TrainSequence& s : batch)
    for (size_t i = 1; i < s.weights.size(); ++i) sum += static_cast<double>(s.weights[i]);
  return sum;
}

int64_t token_count(const MicroBatch& batch) {
  int64_t n = 0;
  for (const TrainSequence& s : batch) n += static_cast<int64_t>(s.tokens.size());
  return n;
}

struct MicroBatchRunner::Packed {
  ForwardBatch batch;
  std::vector<KvCache::Sequence> pages;
  std::vector<int32_t> targets;  // [R]
};

MicroBatchRunner::MicroBatchRunner(Model& model, Exec& exec, const KernelTable& kernels, const KvLayout& layout, bool recompute,
                                   int32_t adapter)
    : model_(model), exec_(exec), kernels_(kernels), recompute_(recompute), adapter_(adapter), cache_(layout) {}

// The last token of a sequence predicts nothing, and a token without weight costs no row of the head.
Status MicroBatchRunner::pack(const MicroBatch& sequences, Packed* out) {
  ForwardBatch& b = out->batch;
  b.kv = cache_.layout();
  b.seq_offsets = {0};
  for (const TrainSequence& s : sequences) {
    const size_t length = s.tokens.size();
    for (size_t i = 0; i < length; ++i) {
      if (i + 1 < length && s.weights[i + 1] > 0) {
        b.output_rows.push_back(static_cast<int32_t>(b.rows()));
        out->targets.push_back(s.tokens[i + 1]);
      }
      b.tokens.push_back(s.tokens[i]);
      b.positions.push_back(static_cast<int32_t>(i));
    }
    b.seq_offsets.push_back(static_cast<int32_t>(b.rows()));
    out->pages.push_back(cache_.sequence());
    RAISON_RETURN_IF_ERROR(out->pages.back().reserve(static_cast<int64_t>(length)));
    b.seq_pages.push_back(out->pages.back().pages());
    b.adapters.push_back(adapter_);
  }
  for (int32_t t : out->targets)
    if (t < 0 || t >= model_.info().vocab)
      return error("token {} is outside of the model's vocabulary of {}; is it the right tokenizer?", t, model_.info().vocab);
  return check_batch(model_, b);
}

Status MicroBatchRunner::differentiate(const MicroBatch& sequences, float temperature, GradientStore* gradients,
                                       const Derive& derive) {
  try {
    Packed packed;
    RAISON_RETURN_IF_ERROR(pack(sequences, &packed));
    if (packed.targets.empty()) return {};
    arena_.reset();
    std::unique_ptr<Tape> tape = gradients ? std::make_unique<Tape>(*gradients) : nullptr;
    Context ctx{exec_, kernels_, arena_, tape.get(), recompute_};
    const Tensor hidden = model_.forward(ctx, packed.batch);
    const Tensor logprob = log_softmax_gather(ctx, model_.head(), hidden, packed.targets, temperature);  // [R, 1]
    RAISON_ASSIGN(std::vector<float> seed, derive(std::span<const float>(logprob.data, static_cast<size_t>(logprob.rows))));
    if (!gradients) return {};
    if (seed.size() != packed.targets.size())
      return error("training step: {} derivatives for {} logprobs", seed.size(), packed.targets.size());
    tape->add_grad(ctx, logprob, seed.data(), false);
    tape->backward(ctx);
    gradients->finish_micro_batch();
    return {};
  } catch (const std::bad_alloc&) {
    return error("out of memory in a micro-batch of {} tokens; lower batch.tokens or set recompute = true",
                 token_count(sequences));
  } catch (const std::exception& e) { return error("training step: {}", e.what()); }
}

Result<double> MicroBatchRunner::run(const MicroBatch& sequences, GradientStore* gradients, double divisor) {
  std::vector<float> weights;
  for (const TrainSequence& s : sequences)
    for (size_t i = 1; i < s.weights.size(); ++i)
      if (s.weights[i] > 0) weights.push_back(s.weights[i]);
  double loss = 0;
  RAISON_RETURN_IF_ERROR(
      differentiate(sequences, 1.0f, gradients, [&](std::span<const float> logprobs) -> Result<std::vector<float>> {
        std::vector<float> seed(logprobs.size());
        for (size_t r = 0; r < logprobs.size(); ++r) {
          loss -= static_cast<double>(weights[r]) * static_cast<double>(logprobs[r]);
          seed[r] = static_cast<float>(-static_cast<double>(weights[r]) / divisor);
        }
        return seed;
      }));
  return loss;
}

}  // namespace raison
