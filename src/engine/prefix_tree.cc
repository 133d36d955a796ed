#include "engine/prefix_tree.h"

#include <algorithm>

namespace raison {
namespace {

size_t common_length(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t n = std::min(a.size(), b.size());
  return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin()).first - a.begin());
}

}  // namespace

bool PrefixTree::Less::operator()(std::span<const int32_t> a, std::span<const int32_t> b) const {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
}

PrefixTree::Common PrefixTree::best_child(const Node& node, std::span<const int32_t> tokens) {
  Common best;
  const auto look = [&](Children::const_iterator it) {
    const size_t n = common_length(it->first, tokens);
    if (n > best.tokens) best = {it->second.get(), n};
  };
  const auto after = node.children.lower_bound(tokens);
  if (after != node.children.end()) look(after);
  if (after != node.children.begin()) look(std::prev(after));
  return best;
}

void PrefixTree::touch(Node& node) {
  if (is_root(node)) return;
  const bool leaf = leaves_.erase({node.used, &node}) > 0;
  node.used = ++clock_;
  if (leaf) leaves_.insert({node.used, &node});
}

PrefixTree::Match PrefixTree::match(std::span<const int32_t> tokens, int32_t adapter) {
  Match m;
  const auto root = roots_.find(adapter);
  if (root == roots_.end()) return m;
  const auto page_size = static_cast<size_t>(cache_.layout().page_size);
  for (Node* node = &root->second;;) {
    const Common c = best_child(*node, tokens.subspan(0, std::min(page_size, tokens.size())));
    if (c.child == nullptr) return m;
    touch(*c.child);
    m.tokens += static_cast<int64_t>(c.tokens);
    if (c.tokens < page_size) {
      m.partial = c.child->page;
      return m;
    }
    m.pages.push_back(c.child->page);
    tokens = tokens.subspan(page_size);
    node = c.child;
  }
}

PrefixTree::Preview PrefixTree::preview(std::span<const int32_t> tokens, int32_t adapter) const {
  Preview p;
  const auto root = roots_.find(adapter);
  if (root == roots_.end()) return p;
  const auto page_size = static_cast<size_t>(cache_.layout().page_size);
  for (const Node* node = &root->second;;) {
    const Common c = best_child(*node, tokens.subspan(0, std::min(page_size, tokens.size())));
    p.tokens += static_cast<int64_t>(c.tokens);
    if (c.tokens < page_size) return p;
    ++p.whole_pages;
    p.idle_pages += cache_.holders(c.child->page) == 1 ? 1 : 0;
    tokens = tokens.subspan(page_size);
    node = c.child;
  }
}

PrefixTree::Node& PrefixTree::add_child(Node& parent, std::span<const int32_t> tokens, KvCache::Page page) {
  if (!is_root(parent)) leaves_.erase({parent.used, &parent});
  auto node = std::make_unique<Node>();
  node->page = page;
  node->parent = &parent;
  node->used = ++clock_;
  const auto place = parent.children.emplace(Key(tokens.begin(), tokens.end()), std::move(node)).first;
  Node& child = *place->second;
  child.place = place;
  leaves_.insert({child.used, &child});
  cache_.hold(page);
  cache_.set_in_tree(page, true);
  ++pages_;
  return child;
}

void PrefixTree::remove(Node& leaf) {
  Node& parent = *leaf.parent;
  leaves_.erase({leaf.used, &leaf});
  cache_.set_in_tree(leaf.page, false);
  cache_.release(leaf.page);
  --pages_;
  parent.children.erase(leaf.place);
  if (parent.children.empty() && !is_root(parent)) leaves_.insert({parent.used, &parent});
}

void PrefixTree::insert(std::span<const int32_t> tokens, KvCache::Sequence& pages, int32_t adapter) {
  const auto page_size = static_cast<size_t>(cache_.layout().page_size);
  Node* node = &roots_[adapter];
  for (size_t i = 0; i < pages.page_ids().size() && !tokens.empty(); ++i) {
    const auto here = tokens.subspan(0, std::min(page_size, tokens.size()));
    Common c = best_child(*node, here);
    if (c.child == nullptr || c.tokens < here.size()) {
      // No node is a beginning of its sibling: a leaf in part gives way to a page that holds its tokens and more (often the same page,
      // filled further), so a page is in the tree once.
      if (c.child != nullptr && c.child->place->first.size() == c.tokens) remove(*c.child);
      c.child = &add_child(*node, here, pages.page_ids()[i]);
    }
    touch(*c.child);
    if (here.size() == page_size) pages.replace(i, c.child->page);
    node = c.child;
    tokens = tokens.subspan(here.size());
    if (here.size() < page_size) return;  // perhaps the beginning of a longer one
  }
}

bool PrefixTree::evict_one() {
  for (const auto& [used, leaf] : leaves_)
    if (cache_.holders(leaf->page) == 1) {
      remove(*leaf);
      return true;
    }
  return false;
}

void PrefixTree::clear() {
  while (!leaves_.empty()) remove(*leaves_.begin()->second);
  roots_.clear();
}

}  // namespace raison
