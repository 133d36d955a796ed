#include "engine/kv_cache.h"

#include <algorithm>
#include <cstring>

namespace raison {

// Half as many pages more as there are, up to a slab of 32 MiB.
Status KvCache::grow() {
  const auto have = static_cast<int64_t>(pages_.size());
  if (max_pages_ > 0 && have >= max_pages_)
    return error("the KV cache is full: {} pages of {} positions are in use; allow it more memory, or fewer sequences", held_,
                 layout_.page_size);
  constexpr int64_t kSlab = int64_t{32} << 20;
  int64_t more = std::clamp<int64_t>(have / 2, 1, std::max<int64_t>(1, kSlab / layout_.page_bytes()));
  if (max_pages_ > 0) more = std::min(more, max_pages_ - have);
  auto allocated = Storage::allocate(static_cast<size_t>(more * layout_.page_bytes()));
  if (!allocated.ok() && more > 1) allocated = Storage::allocate(static_cast<size_t>((more = 1) * layout_.page_bytes()));
  RAISON_ASSIGN(auto slab, std::move(allocated));
  for (int64_t i = more; i-- > 0;) free_.push_back(static_cast<Page>(have + i));  // the first is taken first
  for (int64_t i = 0; i < more; ++i) pages_.push_back({slab->data() + i * layout_.page_bytes()});
  slabs_.push_back(std::move(slab));
  return {};
}

Result<KvCache::Page> KvCache::take() {
  if (free_.empty()) RAISON_RETURN_IF_ERROR(grow());
  const Page page = free_.back();
  free_.pop_back();
  pages_[static_cast<size_t>(page)].holders = 1;
  ++held_;
  return page;
}

template <class Change>
void KvCache::change(Page page, Change what) {
  Slot& s = pages_[static_cast<size_t>(page)];
  idle_ -= s.idle() ? 1 : 0;
  what(s);
  idle_ += s.idle() ? 1 : 0;
}

void KvCache::hold(Page page) {
  change(page, [](Slot& s) { ++s.holders; });
}

void KvCache::release(Page page) {
  change(page, [](Slot& s) { --s.holders; });
  if (holders(page) > 0) return;
  free_.push_back(page);
  --held_;
}

void KvCache::set_in_tree(Page page, bool in_tree) {
  change(page, [&](Slot& s) { s.in_tree = in_tree; });
}

KvCache::Sequence::Sequence(Sequence&& o) noexcept
    : cache_(o.cache_), ids_(std::exchange(o.ids_, {})), data_(std::exchange(o.data_, {})) {}

KvCache::Sequence& KvCache::Sequence::operator=(Sequence&& o) noexcept {
  if (this != &o) {
    truncate(0);
    cache_ = o.cache_;
    ids_ = std::exchange(o.ids_, {});
    data_ = std::exchange(o.data_, {});
  }
  return *this;
}

Status KvCache::Sequence::reserve(int64_t positions) {
  const auto want = static_cast<size_t>(cache_->pages_for(positions));
  const size_t had = ids_.size();
  while (ids_.size() < want) {
    auto page = cache_->take();
    if (!page.ok()) {
      truncate(static_cast<int64_t>(had) * cache_->layout_.page_size);
      return page.error();
    }
    ids_.push_back(*page);
    data_.push_back(cache_->data(*page));
  }
  return {};
}

void KvCache::Sequence::truncate(int64_t positions) {
  if (!cache_) return;
  const auto keep = static_cast<size_t>(cache_->pages_for(positions));
  while (ids_.size() > keep) {
    cache_->release(ids_.back());
    ids_.pop_back();
    data_.pop_back();
  }
}

void KvCache::Sequence::share(Page page) {
  cache_->hold(page);
  ids_.push_back(page);
  data_.push_back(cache_->data(page));
}

void KvCache::Sequence::replace(size_t index, Page page) {
  if (ids_[index] == page) return;
  cache_->hold(page);
  cache_->release(ids_[index]);
  ids_[index] = page;
  data_[index] = cache_->data(page);
}

Status KvCache::Sequence::append_copy(Page page) {
  RAISON_ASSIGN(const Page copy, cache_->take());
  ids_.push_back(copy);
  data_.push_back(cache_->data(copy));
  std::memcpy(data_.back(), cache_->data(page), static_cast<size_t>(cache_->layout_.page_bytes()));
  return {};
}

}  // namespace raison
