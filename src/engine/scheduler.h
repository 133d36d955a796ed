// Scheduler: which sequences run, with which pages, and which rows of theirs the next step computes. It knows tokens and pages, no model.
//
// A sequence is older than another if it was submitted earlier. Pages go to the older first: when none are left, the prefix tree's idle
// ones are evicted, then the youngest running sequence is dropped; it waits and is computed again, with the same bits. So the oldest
// always gets on, and since a sequence that the whole cache could not hold is refused at once, everything ends.
#pragma once
#include <deque>
#include <map>

#include "engine/engine.h"
#include "engine/prefix_tree.h"

namespace raison {

struct EngineSequence {
  uint64_t id = 0;
  Request request;
  std::vector<int32_t> tokens;  // prompt, then what was generated
  int64_t computed = 0;         // leading tokens whose K and V lie in the pages
  int64_t seen = 0;             // the most that `computed` ever was: what lies before is computed again
  int64_t limit = 0;            // tokens.size() at which it ends
  KvCache::Sequence pages;
  ThinkState think;
  std::deque<TokenEvent> held;  // events whose kind is not settled
  int64_t untold = 0;           // continued tokens before these, whose kinds are not settled either and interest nobody
  std::vector<int32_t> forced;  // what was being forced when the continued tokens ended
  int no_room = 0;              // steps in which it was not let in for want of pages
  bool cancelled = false;

  int64_t known() const { return static_cast<int64_t>(tokens.size()); }
  int64_t prompt_size() const { return static_cast<int64_t>(request.prompt.size()); }
  bool prefilling() const { return known() - computed > 1 || computed == 0; }
};

class Scheduler {
 public:
  using SequencePtr = std::unique_ptr<EngineSequence>;
  struct Share {  // of a step
    EngineSequence* sequence;
    int64_t rows;  // the next ones after `computed`; their pages are there
  };

  Scheduler(KvLayout layout, const EngineOptions& options, int64_t max_pages);
  // Error: more positions than the whole cache holds. `limit`: tokens at which the sequence would end.
  Status check(const Request& request, int64_t limit) const;
  void add(SequencePtr sequence);  // that has been checked
  EngineSequence* find(uint64_t id);
  void admit();  // lets waiting sequences in
  // Shares out the rows of a step, sequences in order of age. Error: there is no memory for even the oldest alone.
  Result<std::vector<Share>> plan();
  // After the step: `rows` more are computed.
  void computed(EngineSequence& s, int64_t rows);
  void finish(EngineSequence& s);  // takes it out; what it computed stays in the prefix tree
  std::vector<SequencePtr> take_cancelled();
  void restart_all();  // weights have changed: nothing computed is worth anything
  void clear();
  bool idle() const { return running_.empty() && waiting_.empty(); }
  const std::deque<SequencePtr>& running() const { return running_; }
  const std::deque<SequencePtr>& waiting() const { return waiting_; }
  KvCache& cache() { return cache_; }
  const KvCache& cache() const { return cache_; }
  PrefixTree& tree() { return tree_; }
  void count_into(EngineStats* stats) const;

 private:
  bool waits_for_prefix(const EngineSequence& s, int64_t matched) const;
  bool has_room_for(const EngineSequence& s, const PrefixTree::Preview& known) const;
  void start(EngineSequence& s);
  void share_prefill(int64_t budget, std::map<EngineSequence*, int64_t>* rows) const;
  Status reserve(EngineSequence& s, int64_t positions);
  void drop(EngineSequence& s);
  void remember(EngineSequence& s);
  bool make_room() { return tree_.evict_one(); }

  EngineOptions options_;
  KvCache cache_;
  PrefixTree tree_;
  std::deque<SequencePtr> running_, waiting_;  // both by age
  EngineStats counts_;
};

}  // namespace raison
