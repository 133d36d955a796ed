#include "tokenizer/bpe.h"

#include <algorithm>

#include "tokenizer/utf8.h"

namespace raison {
namespace {

uint64_t pair_key(TokenId left, TokenId right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

uint64_t mix(uint64_t x) {  // splitmix64's finaliser
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace

BpeModel::BpeModel(const VocabMap& vocab, const std::vector<Merge>& merges, BpeOptions options)
    : vocab_(vocab), options_(std::move(options)), cache_(std::make_unique<std::array<CacheShard, kShards>>()) {
  size_t capacity = 16;
  while (capacity < merges.size() * 2) capacity *= 2;
  table_.resize(capacity);
  mask_ = capacity - 1;
  uint32_t rank = 0;
  for (const Merge& m : merges) {
    const uint64_t key = pair_key(m.left, m.right);
    uint64_t at = mix(key) & mask_;
    while (table_[at].key != UINT64_MAX && table_[at].key != key) at = (at + 1) & mask_;
    table_[at] = {key, rank++, m.merged};
  }
  for (int b = 0; b < 256; ++b) {
    std::string name;
    if (options_.byte_level) {
      append_utf8(name, byte_level_char(static_cast<uint8_t>(b)));
    } else {
      name = byte_token(static_cast<uint8_t>(b));
    }
    const auto it = vocab_.find(name);
    byte_ids_[static_cast<size_t>(b)] = it == vocab_.end() ? -1 : it->second;
  }
  if (!options_.unk_token.empty()) {
    if (const auto it = vocab_.find(options_.unk_token); it != vocab_.end()) unk_ = it->second;
  }
  if (options_.byte_level && options_.ignore_merges) {
    std::string bytes;
    for (const auto& [token, id] : vocab_) {
      if (byte_level_to_bytes(token, &bytes)) whole_words_.emplace(bytes, id);
    }
  }
}

const BpeModel::Slot* BpeModel::find(TokenId left, TokenId right) const {
  const uint64_t key = pair_key(left, right);
  for (uint64_t at = mix(key) & mask_;; at = (at + 1) & mask_) {
    if (table_[at].key == key) return &table_[at];
    if (table_[at].key == UINT64_MAX) return nullptr;
  }
}

Status BpeModel::symbols_of(std::string_view word, std::vector<Symbol>& symbols) const {
  symbols.clear();
  bool last_unk = false;
  const auto put = [&](TokenId id) {
    symbols.push_back({id, static_cast<int32_t>(symbols.size()) - 1, static_cast<int32_t>(symbols.size()) + 1});
  };
  for (size_t i = 0; i < word.size();) {
    const size_t length = options_.byte_level ? 1 : utf8_step(word, i).length;
    const std::string_view piece = word.substr(i, length);
    i += length;
    TokenId id = -1;
    if (options_.byte_level) {
      id = byte_ids_[static_cast<uint8_t>(piece[0])];
    } else if (const auto it = vocab_.find(piece); it != vocab_.end()) {
      id = it->second;
    }
    if (id >= 0) {
      put(id);
      last_unk = false;
      continue;
    }
    const auto has_byte = [&](char c) { return byte_ids_[static_cast<uint8_t>(c)] >= 0; };
    if (options_.byte_fallback && !options_.byte_level && std::all_of(piece.begin(), piece.end(), has_byte)) {
      for (char c : piece) put(byte_ids_[static_cast<uint8_t>(c)]);
      last_unk = false;
    } else if (unk_) {
      if (!(options_.fuse_unk && last_unk)) put(*unk_);
      last_unk = true;
    } else if (!options_.unk_token.empty()) {
      return error("unknown character in \"{}\", and the unk token \"{}\" is not in the vocabulary", shown(word),
                   shown(options_.unk_token));
    }
  }
  if (!symbols.empty()) symbols.back().next = -1;
  return {};
}

void BpeModel::push_candidate(Scratch& scratch, int32_t at) const {
  const Symbol& symbol = scratch.symbols[static_cast<size_t>(at)];
  if (symbol.next < 0) return;
  const TokenId right = scratch.symbols[static_cast<size_t>(symbol.next)].id;
  const Slot* slot = find(symbol.id, right);
  if (slot == nullptr) return;
  scratch.heap.push_back({slot->rank, at, symbol.id, right, slot->merged});
}

// Lowest rank first, leftmost among equals. An entry is stale if its symbols have changed since it was pushed.
void BpeModel::merge_all(Scratch& scratch) const {
  const auto later = [](const Candidate& a, const Candidate& b) { return a.rank != b.rank ? a.rank > b.rank : a.at > b.at; };
  auto& [symbols, heap] = scratch;
  heap.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) push_candidate(scratch, static_cast<int32_t>(i));
  std::make_heap(heap.begin(), heap.end(), later);
  const auto push = [&](int32_t at) {
    const size_t before = heap.size();
    push_candidate(scratch, at);
    if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Candidate top = heap.back();
    heap.pop_back();
    Symbol& left = symbols[static_cast<size_t>(top.at)];
    if (left.id != top.left || left.next < 0) continue;
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    if (right.id != top.right) continue;
    left.id = top.merged;
    right.id = -1;  // dead
    left.next = right.next;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].prev = top.at;
    if (left.prev >= 0) push(left.prev);
    push(top.at);
  }
}

Status BpeModel::encode_uncached(std::string_view word, std::vector<TokenId>& out) const {
  if (options_.ignore_merges) {
    const VocabMap& words = options_.byte_level ? whole_words_ : vocab_;
    if (const auto it = words.find(word); it != words.end()) {
      out.push_back(it->second);
      return {};
    }
  }
  static thread_local Scratch scratch;
  RAISON_RETURN_IF_ERROR(symbols_of(word, scratch.symbols));
  if (scratch.symbols.empty()) return {};
  merge_all(scratch);
  for (int32_t at = 0; at >= 0; at = scratch.symbols[static_cast<size_t>(at)].next) {
    out.push_back(scratch.symbols[static_cast<size_t>(at)].id);
  }
  if (scratch.symbols.capacity() > 1 << 20) scratch = {};  // a giant word must not keep its memory
  return {};
}

Status BpeModel::encode(std::string_view word, std::vector<TokenId>& out) const {
  // Digits and punctuation: a byte alone merges with nothing.
  if (word.size() == 1 && options_.byte_level && byte_ids_[static_cast<uint8_t>(word[0])] >= 0) {
    out.push_back(byte_ids_[static_cast<uint8_t>(word[0])]);
    return {};
  }
  if (word.size() > kCachedBytes) return encode_uncached(word, out);
  CacheShard& shard = (*cache_)[mix(std::hash<std::string_view>{}(word)) % kShards];
  {
    const std::lock_guard lock(shard.mutex);
    if (const auto it = shard.words.find(word); it != shard.words.end()) {
      const auto [begin, count] = it->second;
      out.insert(out.end(), shard.ids.begin() + begin, shard.ids.begin() + begin + count);
      return {};
    }
  }
  const size_t before = out.size();
  RAISON_RETURN_IF_ERROR(encode_uncached(word, out));
  const std::lock_guard lock(shard.mutex);
  if (shard.words.size() >= kShardWords) return {};
  const auto [it, inserted] = shard.words.try_emplace(std::string(word), static_cast<uint32_t>(shard.ids.size()),
                                                      static_cast<uint32_t>(out.size() - before));
  if (inserted) shard.ids.insert(shard.ids.end(), out.begin() + static_cast<ptrdiff_t>(before), out.end());
  return {};
}

}  // namespace raison
