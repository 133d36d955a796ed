// BpeModel: byte-pair encoding by merge rank (HF's BPE model), fast enough for corpora: packed merge table, a heap over a
// linked list of symbols, and a shared cache of words.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace raison {

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};
using VocabMap = std::unordered_map<std::string, TokenId, StringHash, std::equal_to<>>;

struct BpeOptions {
  bool byte_level = false;     // words come as raw bytes; vocabulary entries are in the byte-level alphabet
  bool byte_fallback = false;  // characters outside the vocabulary become <0xNN>
  bool ignore_merges = false;  // a word of the vocabulary is taken whole
  bool fuse_unk = false;
  std::string unk_token;  // "" = none: characters outside the vocabulary vanish, as in HF
};

class BpeModel {
 public:
  struct Merge {
    TokenId left, right, merged;
  };
  // `vocab` must outlive the model. Merges in rank order; a pair named twice keeps its last rank.
  BpeModel(const VocabMap& vocab, const std::vector<Merge>& merges, BpeOptions options);
  Status encode(std::string_view word, std::vector<TokenId>& out) const;

 private:
  struct Symbol {
    TokenId id;
    int32_t prev, next;
  };
  struct Candidate {
    uint32_t rank;
    int32_t at;
    TokenId left, right, merged;
  };
  struct Slot {
    uint64_t key = UINT64_MAX;
    uint32_t rank = 0;
    TokenId merged = 0;
  };
  struct Scratch {
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };
  // Words seen before; sharded so that threads seldom meet. Bounded: when a shard is full it takes no more.
  struct CacheShard {
    std::mutex mutex;
    std::unordered_map<std::string, std::pair<uint32_t, uint32_t>, StringHash, std::equal_to<>> words;
    std::vector<TokenId> ids;
  };
  static constexpr size_t kShards = 16, kShardWords = 16384, kCachedBytes = 64;

  const Slot* find(TokenId left, TokenId right) const;
  Status symbols_of(std::string_view word, std::vector<Symbol>& symbols) const;
  void merge_all(Scratch& scratch) const;
  void push_candidate(Scratch& scratch, int32_t at) const;
  Status encode_uncached(std::string_view word, std::vector<TokenId>& out) const;

  const VocabMap& vocab_;
  BpeOptions options_;
  std::optional<TokenId> unk_;
  std::array<TokenId, 256> byte_ids_{};  // byte-level symbol, or <0xNN>; -1 = not in the vocabulary
  VocabMap whole_words_;                 // byte-level with ignore_merges: raw bytes -> id
  std::vector<Slot> table_;              // open addressing, size a power of two
  uint64_t mask_ = 0;
  std::unique_ptr<std::array<CacheShard, kShards>> cache_;
};

}  // namespace raison
