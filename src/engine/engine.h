// Engine: requests in, token events out. Every step is one ForwardBatch with the prefill chunks and decode rows of all running
// sequences; a sequence's tokens depend on its own request alone: not on its neighbours, the order of arrival, cached prefixes, or
// whether it was dropped and computed again (docs/numerics.md).
//
// An Engine belongs to one thread; EngineThread (engine/engine_thread.h) lets others talk to it.
#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "engine/kv_cache.h"
#include "engine/sampler.h"
#include "engine/think.h"
#include "models/model.h"

namespace raison {

struct EngineOptions {
  DType cache_type = DType::F16;
  int page_size = 64;
  int prefill_chunk = 512;          // prompt tokens of one sequence in one step, and of all of them while others decode
  int64_t max_batch_tokens = 2048;  // rows of a step
  int max_sequences = 256;          // running at once; the others wait
  int64_t context = 0;              // positions a sequence may use; 0 = the model's
  int64_t cache_bytes = 0;   // bound of the KV cache, shared prefixes included; 0 = a share of the memory that is free now
  bool prefix_cache = true;  // pages of finished sequences stay for those that begin alike, as long as there is room
};

struct Request {
  std::vector<int32_t> prompt;  // at least one token
  SamplingParams sampling;
  uint64_t sample_index = 0;                       // which of the n samples of one prompt this is (keys the random numbers)
  int64_t max_tokens = 0;                          // generated tokens at most; 0 = what the context, and the whole cache, hold
  std::vector<int32_t> stop_ids;                   // end the sequence; the id itself is reported as its last token
  int32_t adapter = -1;                            // an id of Model::add_adapter; -1: the base
  std::shared_ptr<const ThinkRules> think;         // null: the model does not think
  ThinkPhase think_start = ThinkPhase::Undecided;  // in which the prompt ends
  ThinkLimits think_limits;
  // The last so many tokens of the prompt are this reply's own, drawn before (by a request whose context was full, say), after think_start.
  // They count as generated for the thought's state and bounds and for penalties; max_tokens counts what comes after them.
  int64_t continued = 0;
};

enum class FinishReason { None, Stop, Length, Cancelled, Error };

struct TokenEvent {
  uint64_t request = 0;
  int32_t token = -1;  // -1 only with Cancelled or Error
  float logprob =
      0;  // of softmax(logits / temperature) before truncation, as the trainer computes it; T = 1 if greedy; 0 if forced
  TokenKind kind = TokenKind::Answer;
  bool forced = false;                  // put in by the engine, not drawn
  ThinkEnd think_end = ThinkEnd::None;  // set once: on the last token of what closed the thought
  FinishReason finish = FinishReason::None;
  std::string error;
};

// What the engine holds and has done.
struct EngineStats {
  int64_t pages_in_use = 0;  // held by sequences; a shared one counts once
  int64_t pages_cached = 0;  // held by the prefix tree alone
  int64_t pages_most = 0;    // the bound
  int64_t running = 0, waiting = 0;
  int64_t prompt_tokens = 0;  // that went through the model, those computed again after a preemption not counted
  int64_t cached_tokens = 0;  // prompt tokens found in the prefix tree instead
  int64_t generated_tokens = 0;
  int64_t preemptions = 0, recomputed_tokens = 0;
  double prefill_seconds = 0;  // of steps that held prompt tokens
  double decode_seconds = 0;   // of steps that held none
};

class Engine {
 public:
  Engine(Model& model, Exec& exec, const KernelTable& kernels, EngineOptions options);
  ~Engine();
  // Error: an empty prompt, a token out of range, a prompt longer than the context, more than the whole cache holds (with the numbers),
  // bad sampling values or bounds of thinking.
  Result<uint64_t> submit(Request request);
  // submit's errors, without submitting. Reads only what never changes: any thread may call it.
  Status check(const Request& request) const;
  void cancel(uint64_t request);        // its pages are free when this returns; a Cancelled event follows in the next step
  void end_thinking(uint64_t request);  // closes its thought with the next step
  bool idle() const;
  // One forward pass; calls on_event for each token settled, sequences in order of submission. Error: out of memory, which leaves
  // the engine without requests.
  Status step(const std::function<void(const TokenEvent&)>& on_event);
  // Runs until idle.
  Status run(const std::function<void(const TokenEvent&)>& on_event);
  EngineStats stats() const;
  int64_t context() const;
  // Positions that a prompt of so many tokens and its answer must be able to have (max_tokens as in Request), and those that one sequence can
  // have at most. More than that, or a prompt as long as the context, is refused.
  int64_t needed(int64_t prompt, int64_t max_tokens) const;
  int64_t room() const;
  void forget_prefixes();  // frees what the prefix tree alone holds

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One prompt to its end.
struct Generation {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  std::vector<TokenKind> kinds;
  std::vector<uint8_t> forced;  // 1: put in by the engine
  FinishReason finish = FinishReason::None;
  ThinkEnd think_end = ThinkEnd::None;
  void add(const TokenEvent& event);  // of this request
};
Result<Generation> generate(Engine& engine, Request request);

// Logits of every position of `tokens` [T, vocab], prefilled in chunks of `chunk` (0 = all at once). rope_offset shifts all
// rotary positions; `adapter` is an id of the model's, -1 the base.
Result<std::vector<float>> compute_logits(Model& model, Exec& exec, const KernelTable& kernels, DType cache_type,
                                          const std::vector<int32_t>& tokens, int64_t chunk = 0, int64_t rope_offset = 0,
                                          int32_t adapter = -1);

}  // namespace raison
