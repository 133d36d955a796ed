// Engine: requests in, token events out. Every step is one ForwardBatch with the prefill chunks and decode rows of all
// running sequences; a sequence's tokens do not depend on its neighbours (docs/numerics.md).
#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "engine/kv_cache.h"
#include "engine/sampler.h"
#include "models/model.h"

namespace raison {

struct EngineOptions {
  DType cache_type = DType::F16;
  int page_size = 64;
  int prefill_chunk = 512;  // prompt tokens of one sequence in one step
  int64_t max_batch_tokens = 2048;
  int max_sequences = 256;  // running at once; the others wait
  int64_t context = 0;      // positions a sequence may use; 0 = the model's
};

struct Request {
  std::vector<int32_t> prompt;  // at least one token
  SamplingParams sampling;
  uint64_t sample_index = 0;      // which of the n samples of one prompt this is (keys the random numbers)
  int64_t max_tokens = 0;         // generated tokens at most; 0 = what the context holds
  std::vector<int32_t> stop_ids;  // end the sequence; the id itself is reported as its last token
};

enum class FinishReason { None, Stop, Length, Cancelled, Error };

struct TokenEvent {
  uint64_t request = 0;
  int32_t token = -1;  // -1 only with an Error
  float logprob = 0;   // of softmax(logits / temperature) before truncation, as the trainer computes it; T = 1 if greedy
  FinishReason finish = FinishReason::None;
  std::string error;
};

class Engine {
 public:
  Engine(Model& model, Exec& exec, const KernelTable& kernels, EngineOptions options);
  ~Engine();
  // Error: an empty prompt, a token out of range, a prompt longer than the context (with the numbers), bad sampling values.
  Result<uint64_t> submit(Request request);
  void cancel(uint64_t request);  // its pages are free when this returns; a Cancelled event follows in the next step
  bool idle() const;
  // One forward pass; calls on_event for each token made, in order of submission. Error: out of memory, which leaves the
  // engine without requests.
  Status step(const std::function<void(const TokenEvent&)>& on_event);
  // Runs until idle.
  Status run(const std::function<void(const TokenEvent&)>& on_event);
  int64_t pages_in_use() const;
  int64_t prefill_tokens() const;  // prompt tokens computed so far
  double prefill_seconds() const;  // time of steps that held prompt tokens
  double decode_seconds() const;   // time of steps that held none
  int64_t context() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One prompt to its end.
struct Generation {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  FinishReason finish = FinishReason::None;
};
Result<Generation> generate(Engine& engine, Request request);

// Logits of every position of `tokens` [T, vocab], prefilled in chunks of `chunk` (0 = all at once). rope_offset shifts all
// rotary positions.
Result<std::vector<float>> compute_logits(Model& model, Exec& exec, const KernelTable& kernels, DType cache_type,
                                          const std::vector<int32_t>& tokens, int64_t chunk = 0, int64_t rope_offset = 0);

}  // namespace raison
