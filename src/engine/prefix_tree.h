// PrefixTree: which pages hold the keys and values of which beginnings of token sequences, so that a beginning is computed once and
// shared: by samples of one prompt, by prompts with one system message, by the turns of a chat.
//
// A radix tree whose edges are pages: a node holds one page and the tokens in it, a whole page but in leaves. What a page holds follows
// from its tokens and those before it alone (docs/numerics.md), so a shared page has the bits that computing it again would give.
// The tree is one of its pages' holders; pages that nobody else holds can be evicted, least recently used first, leaves first.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <span>

#include "engine/kv_cache.h"

namespace raison {

class PrefixTree {
 public:
  explicit PrefixTree(KvCache& cache) : cache_(cache) {}
  ~PrefixTree() { clear(); }
  PrefixTree(const PrefixTree&) = delete;
  PrefixTree& operator=(const PrefixTree&) = delete;

  struct Match {
    std::vector<KvCache::Page> pages;  // whole pages, to be shared
    KvCache::Page partial =
        KvCache::kNone;  // a page whose first `tokens - pages.size() * page_size` positions fit, to be copied
    int64_t tokens = 0;  // in all
  };
  // The longest known beginning of `tokens` computed with `adapter`. Valid until the tree changes.
  Match match(std::span<const int32_t> tokens, int32_t adapter);
  // What a match would give; touches nothing.
  struct Preview {
    int64_t tokens = 0, whole_pages = 0;
    int64_t idle_pages = 0;  // of the whole ones: those that nobody else holds
  };
  Preview preview(std::span<const int32_t> tokens, int32_t adapter) const;
  // Takes note that `pages` hold `tokens` from position 0 on, the last page perhaps in part. What is known already stays as it is, and
  // the sequence gets the tree's pages for its own: so whoever holds a node's page holds those of all before it, and an idle page has
  // idle ones behind it only.
  void insert(std::span<const int32_t> tokens, KvCache::Sequence& pages, int32_t adapter);
  // Frees the page that has been of no use for longest, if there is one that nobody else holds.
  bool evict_one();
  void clear();
  int64_t pages() const { return pages_; }

 private:
  struct Node;
  using Key = std::vector<int32_t>;
  struct Less {  // lexicographic, so that the longest common beginning with a key is that of a neighbour
    using is_transparent = void;
    bool operator()(std::span<const int32_t> a, std::span<const int32_t> b) const;
  };
  using Children = std::map<Key, std::unique_ptr<Node>, Less>;
  struct Node {
    KvCache::Page page = KvCache::kNone;
    Node* parent = nullptr;
    Children children;
    Children::iterator place;  // in parent->children
    uint64_t used = 0;         // clock of the last use
  };
  struct Common {  // a child and how many tokens its page has in common with those asked for
    Node* child = nullptr;
    size_t tokens = 0;
  };

  static Common best_child(const Node& node, std::span<const int32_t> tokens);
  void touch(Node& node);
  Node& add_child(Node& parent, std::span<const int32_t> tokens, KvCache::Page page);
  void remove(Node& leaf);
  bool is_root(const Node& node) const { return node.parent == nullptr; }

  KvCache& cache_;
  std::map<int32_t, Node> roots_;                // by adapter
  std::set<std::pair<uint64_t, Node*>> leaves_;  // by their last use
  uint64_t clock_ = 0;
  int64_t pages_ = 0;
};

}  // namespace raison
