// SyntheticTask: a task small enough to teach from nothing, which makes its own data, problems and rewards. Everything
// drawn is a pure function of (seed, round, position): a stream is resumed by naming a place in it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/rng.h"
#include "engine/think.h"
#include "train/data.h"

namespace raison {

// Counts of what a reply got right on the way (see SyntheticTask::audit). Sums of audits are audits.
struct TaskAudit {
  int64_t right_equations = 0, equations = 0;
  int64_t right_verdicts = 0, verdicts = 0;
  TaskAudit& operator+=(const TaskAudit& o) {
    right_equations += o.right_equations;
    equations += o.equations;
    right_verdicts += o.right_verdicts;
    verdicts += o.verdicts;
    return *this;
  }
};

class SyntheticTask {
 public:
  static constexpr int32_t kPad = 0, kBos = 1, kEos = 2;  // of every task: <pad> <bos> <eos>
  virtual ~SyntheticTask() = default;
  virtual const std::string& name() const = 0;
  virtual const std::vector<std::string>& vocab() const = 0;  // words by token id
  virtual int64_t max_sequence() const = 0;                   // tokens of the longest training sequence, at most
  // One training sequence, about a problem that is not held out; or, with held_out, about one that is.
  virtual TrainSequence sequence(Rng& rng, bool held_out = false) const = 0;
  // The prompt of one problem, ready to be continued by the model.
  virtual std::vector<int32_t> problem(Rng& rng, bool held_out) const = 0;
  // 1 if the reply (what follows the prompt, <eos> included) is right, else 0; cut off (no <eos>) is 0.
  virtual double reward(std::span<const int32_t> prompt, std::span<const int32_t> reply) const = 0;
  // What votes are counted by: equal for replies that give the same answer. nullopt: cut off, no vote.
  virtual std::optional<std::string> vote(std::span<const int32_t> reply) const = 0;
  // The reply's own thought says that its answer is right; only where can_self_verify().
  virtual bool can_self_verify() const { return false; }
  virtual bool self_verified(std::span<const int32_t>) const { return false; }
  // How its thoughts are marked (prompts end within one), and which tokens in them are tries. nullopt: there are none to count.
  struct CountedThought {
    std::shared_ptr<const ThinkRules> rules;
    std::vector<int32_t> failed, all;  // tries that failed; all tries
    int32_t success = -1;              // the try that makes more of them needless
  };
  virtual std::optional<CountedThought> counted_thought() const { return std::nullopt; }
  // Of prompt and reply in one sequence.
  virtual TaskAudit audit(std::span<const int32_t>) const { return {}; }
  std::string text(std::span<const int32_t> tokens) const;  // words joined by spaces; ids out of range as <?>
};

// By one of the names below. Error: an unknown name, with the list.
Result<std::shared_ptr<const SyntheticTask>> make_synthetic_task(const std::string& name);
std::vector<std::string> synthetic_task_names();
bool is_synthetic_task(const std::string& name);

// An endless stream of micro-batches: rounds of `round` sequences, sorted by length (stable), cut greedily so that
// sequences x longest <= budget, the batches shuffled. None is dropped, not even the last, partial one.
class TaskStream {
 public:
  struct Cursor {
    uint64_t round = 0, position = 0;  // the next batch: which round, which batch of it
    bool operator==(const Cursor&) const = default;
  };
  TaskStream(std::shared_ptr<const SyntheticTask> task, uint64_t seed, int64_t budget = 1024, int64_t round = 600)
      : task_(std::move(task)), seed_(seed), budget_(budget), round_size_(round) {}
  MicroBatch next();
  Cursor cursor() const { return cursor_; }
  // Goes on at a place that cursor() named. Error: no such batch in that round (another task, seed or budget).
  Status seek(Cursor cursor);
  // The batches of one round in their order.
  std::vector<MicroBatch> round(uint64_t index) const;

 private:
  void load();  // brings the cursor's round into batches_

  std::shared_ptr<const SyntheticTask> task_;
  uint64_t seed_;
  int64_t budget_, round_size_;
  Cursor cursor_;
  std::vector<MicroBatch> batches_;
  std::optional<uint64_t> loaded_;
};

}  // namespace raison
