// KvCache: owns the pages of the KV cache and lends them to sequences. One page holds page_size positions of one sequence
// in all layers (tensor/kv_view.h).
#pragma once
#include <memory>
#include <vector>

#include "base/result.h"
#include "tensor/kv_view.h"
#include "tensor/packed.h"

namespace raison {

class KvCache {
 public:
  // max_pages 0: grows as needed.
  explicit KvCache(KvLayout layout, int64_t max_pages = 0) : layout_(layout), max_pages_(max_pages) {}
  const KvLayout& layout() const { return layout_; }
  int64_t pages_in_use() const { return in_use_; }
  int64_t bytes() const { return static_cast<int64_t>(storage_.size()) * layout_.page_bytes(); }

  // The pages of one sequence; given back on destruction. Must not outlive the cache.
  class Sequence {
   public:
    Sequence() = default;
    explicit Sequence(KvCache* cache) : cache_(cache) {}
    Sequence(Sequence&& o) noexcept : cache_(o.cache_), pages_(std::move(o.pages_)) { o.pages_.clear(); }
    Sequence& operator=(Sequence&& o) noexcept;
    ~Sequence() { truncate(0); }
    // Makes room for positions 0 .. positions-1. Error: out of memory or over max_pages (with the numbers); nothing changes then.
    Status reserve(int64_t positions);
    void truncate(int64_t positions);                        // gives back pages past the last of `positions`
    uint8_t* const* pages() const { return pages_.data(); }  // stable until the next reserve or truncate

   private:
    KvCache* cache_ = nullptr;
    std::vector<uint8_t*> pages_;
  };
  Sequence sequence() { return Sequence(this); }

 private:
  Result<uint8_t*> take();
  void give_back(uint8_t* page);
  KvLayout layout_;
  int64_t max_pages_;
  int64_t in_use_ = 0;
  std::vector<std::shared_ptr<Storage>> storage_;  // one page each, zeroed: no position is ever an uninitialised number
  std::vector<uint8_t*> free_;
};

}  // namespace raison
