#include "engine/scheduler.h"

#include <algorithm>

namespace raison {
namespace {

constexpr int64_t kWorthWaiting = 16;  // tokens of a prefix in the making
constexpr int kMostRefusals = 32;      // steps in which younger sequences may pass one that finds no room
constexpr size_t kMostLooks = 256;     // waiting sequences looked at in a step

int64_t common_prefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  const size_t n = std::min(a.size(), b.size());
  return std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin()).first - a.begin();
}

template <class Queue>
void insert_by_age(Queue& queue, Scheduler::SequencePtr s) {
  const auto at = std::find_if(queue.begin(), queue.end(), [&](const auto& other) { return other->id > s->id; });
  queue.insert(at, std::move(s));
}

// All but the last token, whose logits are wanted.
std::span<const int32_t> reusable(const EngineSequence& s) {
  return std::span<const int32_t>(s.tokens).first(s.tokens.size() - 1);
}

}  // namespace

Scheduler::Scheduler(KvLayout layout, const EngineOptions& options, int64_t max_pages)
    : options_(options), cache_(layout, max_pages), tree_(cache_) {}

Status Scheduler::check(const Request& request, int64_t limit) const {
  const int64_t page = cache_.layout().page_size, most = cache_.max_pages();
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t wanted = request.max_tokens > 0 ? limit : prompt + 1;
  if (most == 0 || cache_.pages_for(wanted) <= most) return {};
  return error(
      "the KV cache holds {} tokens ({} pages of {}), the request needs {} ({} of prompt, {} to answer); shorten it, or allow "
      "the cache more memory",
      most * page, most, page, wanted, prompt, wanted - prompt);
}

void Scheduler::add(SequencePtr s) {
  if (cache_.max_pages() > 0) s->limit = std::min(s->limit, cache_.max_positions());
  s->pages = cache_.sequence();
  waiting_.push_back(std::move(s));
}

EngineSequence* Scheduler::find(uint64_t id) {
  for (auto* queue : {&running_, &waiting_}) {
    const auto at = std::lower_bound(queue->begin(), queue->end(), id, [](const auto& s, uint64_t v) { return s->id < v; });
    if (at != queue->end() && (*at)->id == id) return at->get();
  }
  return nullptr;
}

// ---- letting in ----

// A running sequence is computing a beginning that this one shares: it is had for nothing a little later.
bool Scheduler::waits_for_prefix(const EngineSequence& s, int64_t matched) const {
  if (!options_.prefix_cache) return false;
  for (const auto& other : running_) {
    if (!other->prefilling() || other->request.adapter != s.request.adapter) continue;
    const int64_t common = std::min(common_prefix(other->tokens, s.tokens), s.known() - 1);
    if (common - matched >= kWorthWaiting && other->computed < common) return true;
  }
  return false;
}

// Its tokens so far and one more fit beside what the running ones are about to take: all of their prompts, and for half of them a page to
// grow into (more being let in would only be dropped again). What it shares need not be taken, but if idle it can't be evicted either.
bool Scheduler::has_room_for(const EngineSequence& s, const PrefixTree::Preview& known) const {
  if (cache_.max_pages() == 0 || running_.empty()) return true;
  int64_t taken = static_cast<int64_t>(running_.size()) / 2;
  for (const auto& other : running_)
    taken += std::max<int64_t>(0, cache_.pages_for(other->known() + 1) - static_cast<int64_t>(other->pages.page_ids().size()));
  const int64_t free = cache_.max_pages() - cache_.pages_held() + cache_.pages_idle();
  return cache_.pages_for(s.known() + 1) - known.whole_pages + known.idle_pages + taken <= free;
}

void Scheduler::start(EngineSequence& s) {
  s.computed = 0;
  if (!options_.prefix_cache) return;
  const PrefixTree::Match m = tree_.match(reusable(s), s.request.adapter);
  for (const KvCache::Page page : m.pages) s.pages.share(page);
  s.computed = static_cast<int64_t>(m.pages.size()) * cache_.layout().page_size;
  if (m.partial != KvCache::kNone) {
    cache_.hold(m.partial);  // evicting must not take it from us
    Status copied = s.pages.append_copy(m.partial);
    if (!copied.ok() && make_room()) copied = s.pages.append_copy(m.partial);
    if (copied.ok()) s.computed = m.tokens;
    cache_.release(m.partial);
  }
  counts_.cached_tokens += std::max<int64_t>(0, std::min(s.computed, s.prompt_size()) - s.seen);
  s.seen = std::max(s.seen, s.computed);
}

void Scheduler::admit() {
  size_t looked = 0;
  for (auto it = waiting_.begin(); it != waiting_.end() && looked < kMostLooks; ++looked) {
    if (static_cast<int>(running_.size()) >= options_.max_sequences) return;
    EngineSequence& s = **it;
    const PrefixTree::Preview known =
        options_.prefix_cache ? tree_.preview(reusable(s), s.request.adapter) : PrefixTree::Preview();
    const bool room = has_room_for(s, known);
    if (!room || waits_for_prefix(s, known.tokens)) {
      if (!room && ++s.no_room > kMostRefusals) return;
      ++it;
      continue;
    }
    start(s);
    SequencePtr in = std::move(*it);
    it = waiting_.erase(it);
    insert_by_age(running_, std::move(in));
  }
}

// ---- sharing out ----

// Half of the prompt rows go to the oldest prompt, so that it gets on; the rest to those nearest to their end, so that short ones need not
// wait for long ones.
void Scheduler::share_prefill(int64_t budget, std::map<EngineSequence*, int64_t>* rows) const {
  std::vector<EngineSequence*> prompts;
  for (const auto& s : running_)
    if (s->prefilling()) prompts.push_back(s.get());
  if (prompts.empty()) return;
  const auto give = [&](EngineSequence* s, int64_t most) {
    int64_t& n = (*rows)[s];
    const int64_t more =
        std::min({most, budget, s->known() - s->computed - n, static_cast<int64_t>(options_.prefill_chunk) - n});
    if (more <= 0) return;
    n += more;
    budget -= more;
  };
  give(prompts.front(), std::max<int64_t>(1, budget / 2));
  std::vector<EngineSequence*> order = prompts;
  std::stable_sort(order.begin(), order.end(),
                   [](const auto* a, const auto* b) { return a->known() - a->computed < b->known() - b->computed; });
  for (EngineSequence* s : order) give(s, budget);
}

// Pages for `positions` of s, at the cost of idle prefixes and of sequences younger than it. Error: there are none even so.
Status Scheduler::reserve(EngineSequence& s, int64_t positions) {
  while (true) {
    Status ok = s.pages.reserve(positions);
    if (ok.ok()) return ok;
    if (make_room()) continue;
    EngineSequence* youngest = running_.back().get();
    if (youngest == &s) return ok;
    drop(*youngest);
  }
}

Result<std::vector<Scheduler::Share>> Scheduler::plan() {
  std::map<EngineSequence*, int64_t> rows;
  int64_t room = options_.max_batch_tokens;
  for (const auto& s : running_)
    if (!s->prefilling() && room > 0) {
      rows[s.get()] = 1;
      --room;
    }
  share_prefill(rows.empty() ? room : std::min<int64_t>(room, options_.prefill_chunk), &rows);
  std::vector<Share> step;
  for (size_t i = 0; i < running_.size(); ++i) {  // dropping shortens it behind i
    EngineSequence& s = *running_[i];
    const int64_t n = rows[&s];
    if (n <= 0) continue;
    if (Status ok = reserve(s, s.computed + n); !ok.ok()) {
      if (running_.size() == 1) return ok.error();
      drop(s);
      break;
    }
    step.push_back({&s, n});
  }
  return step;
}

// ---- afterwards ----

void Scheduler::remember(EngineSequence& s) {
  if (options_.prefix_cache && s.computed > 0)
    tree_.insert(std::span<const int32_t>(s.tokens).first(static_cast<size_t>(s.computed)), s.pages, s.request.adapter);
}

void Scheduler::computed(EngineSequence& s, int64_t rows) {
  const bool prompt = s.prefilling();
  const int64_t before = s.computed;
  s.computed += rows;
  counts_.recomputed_tokens += std::max<int64_t>(0, std::min(s.computed, s.seen) - before);
  counts_.prompt_tokens += std::max<int64_t>(0, std::min(s.computed, s.prompt_size()) - std::max(before, s.seen));
  s.seen = std::max(s.seen, s.computed);
  if (prompt) remember(s);
}

// The youngest: it waits, with nothing computed. Its pages stay in the prefix tree as long as nobody needs them.
void Scheduler::drop(EngineSequence& s) {
  remember(s);
  s.pages.truncate(0);
  s.computed = 0;
  ++counts_.preemptions;
  const auto at = std::find_if(running_.begin(), running_.end(), [&](const auto& other) { return other.get() == &s; });
  SequencePtr out = std::move(*at);
  running_.erase(at);
  insert_by_age(waiting_, std::move(out));
}

void Scheduler::finish(EngineSequence& s) {
  remember(s);
  std::erase_if(running_, [&](const auto& other) { return other.get() == &s; });
}

std::vector<Scheduler::SequencePtr> Scheduler::take_cancelled() {
  std::vector<SequencePtr> gone;
  for (auto* queue : {&running_, &waiting_})
    for (auto it = queue->begin(); it != queue->end();) {
      if ((*it)->cancelled) {
        insert_by_age(gone, std::move(*it));
        it = queue->erase(it);
      } else {
        ++it;
      }
    }
  return gone;
}

void Scheduler::restart_all() {
  for (const auto& s : running_) {
    s->pages.truncate(0);
    s->computed = 0;
  }
  tree_.clear();
}

void Scheduler::clear() {
  running_.clear();
  waiting_.clear();
}

void Scheduler::count_into(EngineStats* stats) const {
  *stats = counts_;
  stats->pages_in_use = cache_.pages_held() - cache_.pages_idle();
  stats->pages_cached = cache_.pages_idle();
  stats->pages_most = cache_.max_pages();
  stats->running = static_cast<int64_t>(running_.size());
  stats->waiting = static_cast<int64_t>(waiting_.size());
}

}  // namespace raison
