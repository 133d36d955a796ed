// KvCache: owns the pages of the KV cache and lends them. One page holds page_size positions in all layers (tensor/kv_view.h).
// A page may have several holders: sequences that share a beginning, and the prefix tree (engine/prefix_tree.h). Only a page with one
// holder may be written to, but for positions that no other holder reads.
#pragma once
#include <memory>
#include <vector>

#include "base/result.h"
#include "tensor/kv_view.h"
#include "tensor/packed.h"

namespace raison {

class KvCache {
 public:
  using Page = int32_t;
  static constexpr Page kNone = -1;

  // max_pages 0: grows as needed.
  explicit KvCache(KvLayout layout, int64_t max_pages = 0) : layout_(layout), max_pages_(max_pages) {}
  const KvLayout& layout() const { return layout_; }
  int64_t max_pages() const { return max_pages_; }
  int64_t max_positions() const { return max_pages_ * layout_.page_size; }  // of all sequences; 0: no bound
  int64_t pages_for(int64_t positions) const { return (positions + layout_.page_size - 1) / layout_.page_size; }
  int64_t pages_held() const { return held_; }  // by anybody
  int64_t pages_idle() const { return idle_; }  // of these, by the prefix tree alone
  int64_t bytes() const { return static_cast<int64_t>(pages_.size()) * layout_.page_bytes(); }

  // A page with one holder. Error: out of memory or over max_pages (with the numbers).
  Result<Page> take();
  void hold(Page page);     // one more holder
  void release(Page page);  // one fewer; free after the last
  int holders(Page page) const { return pages_[static_cast<size_t>(page)].holders; }
  // The prefix tree is (or is no more) one of the page's holders.
  void set_in_tree(Page page, bool in_tree);
  uint8_t* data(Page page) const { return pages_[static_cast<size_t>(page)].data; }

  // The pages of one sequence; given back on destruction. Must not outlive the cache.
  class Sequence {
   public:
    Sequence() = default;
    explicit Sequence(KvCache* cache) : cache_(cache) {}
    Sequence(Sequence&& o) noexcept;
    Sequence& operator=(Sequence&& o) noexcept;
    ~Sequence() { truncate(0); }
    // Makes room for positions 0 .. positions-1. Error: out of memory or over max_pages (with the numbers); nothing changes then.
    Status reserve(int64_t positions);
    void truncate(int64_t positions);                       // gives back pages past the last of `positions`
    void share(Page page);                                  // appends a page that others hold too
    Status append_copy(Page page);                          // appends a copy of a page; errors as of reserve
    void replace(size_t index, Page page);                  // by one that holds the same
    uint8_t* const* pages() const { return data_.data(); }  // stable until the next change
    const std::vector<Page>& page_ids() const { return ids_; }

   private:
    KvCache* cache_ = nullptr;
    std::vector<Page> ids_;
    std::vector<uint8_t*> data_;  // of the same pages
  };
  Sequence sequence() { return Sequence(this); }

 private:
  struct Slot {
    uint8_t* data = nullptr;  // in one of the slabs; zeroed at first: no position is ever an uninitialised number
    int holders = 0;
    bool in_tree = false;
    bool idle() const { return in_tree && holders == 1; }
  };
  Status grow();
  template <class Change>
  void change(Page page, Change what);

  KvLayout layout_;
  int64_t max_pages_, held_ = 0, idle_ = 0;
  std::vector<std::shared_ptr<Storage>> slabs_;  // of several pages each: huge pages hold more than one
  std::vector<Slot> pages_;
  std::vector<Page> free_;
};

}  // namespace raison
