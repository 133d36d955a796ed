#include "engine/kv_cache.h"

namespace raison {

KvCache::Sequence& KvCache::Sequence::operator=(Sequence&& o) noexcept {
  if (this != &o) {
    truncate(0);
    cache_ = o.cache_;
    pages_ = std::move(o.pages_);
    o.pages_.clear();
  }
  return *this;
}

Status KvCache::Sequence::reserve(int64_t positions) {
  const auto want = static_cast<size_t>((positions + cache_->layout_.page_size - 1) / cache_->layout_.page_size);
  const size_t had = pages_.size();
  while (pages_.size() < want) {
    auto page = cache_->take();
    if (!page.ok()) {
      truncate(static_cast<int64_t>(had) * cache_->layout_.page_size);
      return page.error();
    }
    pages_.push_back(*page);
  }
  return {};
}

void KvCache::Sequence::truncate(int64_t positions) {
  if (!cache_) return;
  const auto keep = static_cast<size_t>((positions + cache_->layout_.page_size - 1) / cache_->layout_.page_size);
  while (pages_.size() > keep) {
    cache_->give_back(pages_.back());
    pages_.pop_back();
  }
}

Result<uint8_t*> KvCache::take() {
  if (free_.empty()) {
    if (max_pages_ > 0 && static_cast<int64_t>(storage_.size()) >= max_pages_)
      return error("the KV cache is full: {} pages of {} positions are in use; allow a larger context or fewer sequences",
                   in_use_, layout_.page_size);
    RAISON_ASSIGN(auto page, Storage::allocate(static_cast<size_t>(layout_.page_bytes())));
    free_.push_back(page->data());
    storage_.push_back(std::move(page));
  }
  uint8_t* page = free_.back();
  free_.pop_back();
  ++in_use_;
  return page;
}

void KvCache::give_back(uint8_t* page) {
  free_.push_back(page);
  --in_use_;
}

}  // namespace raison
