// SentencePiece-BPE as GGUF carries it ("llama"): no merge list, the adjacent pair whose joined token scores best is merged
// first, leftmost among equals; characters outside the vocabulary become byte tokens.
#include <algorithm>
#include <array>
#include <tuple>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/pipeline.h"
#include "tokenizer/utf8.h"

namespace raison {
namespace {

using json = nlohmann::json;

class SentencePieceTokenizer final : public Tokenizer {
 public:
  static Result<std::shared_ptr<Tokenizer>> build(const Metadata& metadata, const std::string& where);
  Result<std::vector<TokenId>> encode(std::string_view text, EncodeOptions options) const override;
  std::string piece(TokenId id) const override {
    return id >= 0 && static_cast<size_t>(id) < pieces_.size() ? pieces_[static_cast<size_t>(id)] : "";
  }
  std::string_view leading_strip() const override { return add_space_prefix_ ? " " : ""; }
  int64_t vocab_size() const override { return static_cast<int64_t>(tokens_.size()); }
  std::optional<TokenId> id_of(std::string_view token) const override {
    const auto it = ids_.find(token);
    return it == ids_.end() ? std::nullopt : std::optional(it->second);
  }
  bool is_special(TokenId id) const override {
    if (id < 0 || static_cast<size_t>(id) >= types_.size()) return false;
    const GgufTokenType type = types_[static_cast<size_t>(id)];
    return type == GgufTokenType::Control || type == GgufTokenType::Unknown;
  }
  std::optional<TokenId> bos() const override { return bos_; }
  std::optional<TokenId> eos() const override { return eos_; }
  std::string kind() const override { return "SentencePiece-BPE"; }
  Result<std::string> to_hf_json() const override;
  Result<Metadata> to_gguf() const override;

 private:
  struct Symbol {
    const char* text;
    uint32_t length;  // 0 = merged away
    int32_t prev, next;
  };
  struct Candidate {
    float score;
    int32_t left, right;
    uint32_t length;  // of both when pushed: tells stale entries
  };
  void encode_fragment(std::string_view text, std::vector<TokenId>& out) const;
  void merge(std::vector<Symbol>& symbols) const;
  void append_symbol(std::string_view symbol, std::vector<TokenId>& out) const;
  std::vector<std::pair<std::string, std::string>> merges() const;

  std::vector<std::string> tokens_, pieces_;
  std::vector<float> scores_;
  std::vector<GgufTokenType> types_;
  VocabMap ids_;
  AddedTokens added_;
  std::array<TokenId, 256> byte_ids_{};
  std::optional<TokenId> bos_, eos_, unk_;
  bool add_bos_ = true, add_eos_ = false, add_space_prefix_ = true;
  size_t longest_ = 0;  // bytes of the longest token
};

Result<std::shared_ptr<Tokenizer>> SentencePieceTokenizer::build(const Metadata& metadata, const std::string& where) {
  const auto* tokens = metadata.strings("tokenizer.ggml.tokens");
  const auto* scores = metadata.numbers("tokenizer.ggml.scores");
  const auto* types = metadata.integers("tokenizer.ggml.token_type");
  if (tokens == nullptr || tokens->empty()) return error("{}: tokenizer.ggml.tokens is missing or empty", where);
  if (scores == nullptr || scores->size() != tokens->size()) {
    return error("{}: tokenizer.ggml.scores must have one number for each of the {} tokens", where, tokens->size());
  }
  if (types != nullptr && types->size() != tokens->size()) {
    return error("{}: tokenizer.ggml.token_type has {} entries for {} tokens", where, types->size(), tokens->size());
  }
  auto self = std::make_shared<SentencePieceTokenizer>();
  self->tokens_ = *tokens;
  self->byte_ids_.fill(-1);
  for (size_t i = 0; i < tokens->size(); ++i) {
    const std::string& token = (*tokens)[i];
    const auto id = static_cast<TokenId>(i);
    if (!is_valid_utf8(token)) return error("{}: token {} is not valid UTF-8", where, i);
    const int64_t type_number = types != nullptr ? (*types)[i] : 1;
    if (type_number < 0 || type_number > 6)
      return error("{}: token {} has type {}, which is none of 0 to 6", where, i, type_number);
    const auto type = static_cast<GgufTokenType>(type_number);
    if (!((*scores)[i] == (*scores)[i])) return error("{}: the score of token {} is not a number", where, i);
    self->scores_.push_back(static_cast<float>((*scores)[i]));
    self->types_.push_back(type);
    self->ids_.emplace(token, id);
    self->longest_ = std::max(self->longest_, token.size());
    const bool verbatim =
        type == GgufTokenType::Control || type == GgufTokenType::Unknown || type == GgufTokenType::UserDefined;
    const int byte = verbatim ? -1 : byte_token_value(token);
    if (byte >= 0) self->byte_ids_[static_cast<size_t>(byte)] = id;
    self->pieces_.push_back(byte >= 0  ? std::string(1, static_cast<char>(byte))
                            : verbatim ? token
                                       : replace_all(token, kMetaspace, " "));
    if (verbatim) self->added_.add({id, token, type != GgufTokenType::UserDefined, false, false, false, false}, token);
  }
  self->bos_ = gguf_token_id(metadata, "tokenizer.ggml.bos_token_id", 1, tokens->size());
  self->eos_ = gguf_token_id(metadata, "tokenizer.ggml.eos_token_id", 2, tokens->size());
  self->unk_ = gguf_token_id(metadata, "tokenizer.ggml.unknown_token_id", 0, tokens->size());
  self->add_bos_ = metadata.boolean("tokenizer.ggml.add_bos_token").value_or(true) && self->bos_;
  self->add_eos_ = metadata.boolean("tokenizer.ggml.add_eos_token").value_or(false) && self->eos_;
  self->add_space_prefix_ = metadata.boolean("tokenizer.ggml.add_space_prefix").value_or(true);
  return std::shared_ptr<Tokenizer>(std::move(self));
}

void SentencePieceTokenizer::append_symbol(std::string_view symbol, std::vector<TokenId>& out) const {
  if (const auto it = ids_.find(symbol); it != ids_.end()) {
    out.push_back(it->second);
    return;
  }
  for (char c : symbol) {
    const TokenId byte = byte_ids_[static_cast<uint8_t>(c)];
    if (byte >= 0) {
      out.push_back(byte);
    } else if (unk_) {
      out.push_back(*unk_);
      return;
    }
  }
}

void SentencePieceTokenizer::merge(std::vector<Symbol>& symbols) const {
  const auto worse = [](const Candidate& a, const Candidate& b) {
    return a.score != b.score ? a.score < b.score : a.left > b.left;
  };
  std::vector<Candidate> heap;
  const auto push = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0) return;
    const Symbol &l = symbols[static_cast<size_t>(left)], &r = symbols[static_cast<size_t>(right)];
    const uint32_t length = l.length + r.length;
    if (length > longest_) return;
    const auto it = ids_.find(std::string_view(l.text, length));  // neighbours lie side by side in the text
    if (it == ids_.end()) return;
    heap.push_back({scores_[static_cast<size_t>(it->second)], left, right, length});
    std::push_heap(heap.begin(), heap.end(), worse);
  };
  for (size_t i = 1; i < symbols.size(); ++i) push(static_cast<int32_t>(i) - 1, static_cast<int32_t>(i));
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), worse);
    const Candidate top = heap.back();
    heap.pop_back();
    Symbol &l = symbols[static_cast<size_t>(top.left)], &r = symbols[static_cast<size_t>(top.right)];
    if (l.length == 0 || r.length == 0 || l.length + r.length != top.length) continue;
    l.length = top.length;
    r.length = 0;
    l.next = r.next;
    if (r.next >= 0) symbols[static_cast<size_t>(r.next)].prev = top.left;
    push(l.prev, top.left);
    push(top.left, l.next);
  }
}

void SentencePieceTokenizer::encode_fragment(std::string_view text, std::vector<TokenId>& out) const {
  const std::string marked = (add_space_prefix_ ? std::string(kMetaspace) : "") + replace_all(text, " ", kMetaspace);
  std::vector<Symbol> symbols;
  for (size_t i = 0; i < marked.size();) {
    const size_t length = utf8_step(marked, i).length;
    const auto index = static_cast<int32_t>(symbols.size());
    i += length;
    symbols.push_back(
        {marked.data() + i - length, static_cast<uint32_t>(length), index - 1, i < marked.size() ? index + 1 : -1});
  }
  merge(symbols);
  for (int32_t at = symbols.empty() ? -1 : 0; at >= 0; at = symbols[static_cast<size_t>(at)].next) {
    const Symbol& symbol = symbols[static_cast<size_t>(at)];
    append_symbol({symbol.text, symbol.length}, out);
  }
}

Result<std::vector<TokenId>> SentencePieceTokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::string repaired;
  if (!is_valid_utf8(text)) text = repaired = lossy_utf8(text);
  if (text.size() > size_t{1} << 29) return error("a text of {} bytes is too long to tokenise; split it", text.size());
  std::vector<TokenId> out;
  if (options.add_special && add_bos_) out.push_back(*bos_);
  const auto plain = [&](size_t begin, size_t end) { encode_fragment(text.substr(begin, end - begin), out); };
  if (options.parse_special) {
    added_.scan(text, plain, [&](TokenId id) { out.push_back(id); });
  } else if (!text.empty()) {
    plain(0, text.size());
  }
  if (options.add_special && add_eos_) out.push_back(*eos_);
  return out;
}

// Every way to put a token together from two others, best score first: the merges an HF BPE needs for the same result.
// Ways of equal score keep the order of the pieces' ids.
std::vector<std::pair<std::string, std::string>> SentencePieceTokenizer::merges() const {
  std::vector<std::tuple<float, TokenId, TokenId, TokenId>> found;  // -score, merged, left, right
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (types_[i] != GgufTokenType::Normal && types_[i] != GgufTokenType::Unused) continue;
    const std::string_view token = tokens_[i];
    for (size_t cut = 0; (cut += utf8_step(token, cut).length) < token.size();) {
      const auto left = ids_.find(token.substr(0, cut)), right = ids_.find(token.substr(cut));
      if (left != ids_.end() && right != ids_.end())
        found.emplace_back(-scores_[i], static_cast<TokenId>(i), left->second, right->second);
    }
  }
  std::sort(found.begin(), found.end());
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [score, merged, left, right] : found) {
    out.emplace_back(tokens_[static_cast<size_t>(left)], tokens_[static_cast<size_t>(right)]);
  }
  return out;
}

Result<std::string> SentencePieceTokenizer::to_hf_json() const {
  json root = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"pre_tokenizer", nullptr}};
  json added = json::array(), vocab = json::object();
  for (size_t i = 0; i < tokens_.size(); ++i) {
    vocab.emplace(tokens_[i], i);
    const bool special = is_special(static_cast<TokenId>(i));
    if (!special && types_[i] != GgufTokenType::UserDefined) continue;
    added.push_back({{"id", i},
                     {"content", tokens_[i]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", special}});
  }
  json normalizers = json::array();
  if (add_space_prefix_) normalizers.push_back({{"type", "Prepend"}, {"prepend", kMetaspace}});
  normalizers.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kMetaspace}});
  json decoders = json::array({{{"type", "Replace"}, {"pattern", {{"String", kMetaspace}}}, {"content", " "}},
                               {{"type", "ByteFallback"}},
                               {{"type", "Fuse"}}});
  if (add_space_prefix_) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  json pairs = json::array();
  for (auto& [left, right] : merges()) pairs.push_back({left, right});
  root["added_tokens"] = std::move(added);
  root["normalizer"] = {{"type", "Sequence"}, {"normalizers", normalizers}};
  root["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
  root["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", unk_ ? json(tokens_[static_cast<size_t>(*unk_)]) : json()},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", true},
                   {"byte_fallback", true},
                   {"ignore_merges", false}};
  root["model"]["vocab"] = std::move(vocab);
  root["model"]["merges"] = std::move(pairs);
  root["post_processor"] = nullptr;
  if (add_bos_ || add_eos_) {
    json single = json::array(), specials = json::object();
    const auto put = [&](TokenId id) {
      const std::string& name = tokens_[static_cast<size_t>(id)];
      single.push_back({{"SpecialToken", {{"id", name}, {"type_id", 0}}}});
      specials[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
    };
    if (add_bos_) put(*bos_);
    single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
    if (add_eos_) put(*eos_);
    json pair = single;
    for (json item : single) {
      if (item.contains("Sequence")) item["Sequence"] = {{"id", "B"}, {"type_id", 1}};
      if (item.contains("SpecialToken")) item["SpecialToken"]["type_id"] = 1;
      pair.push_back(item);
    }
    root["post_processor"] = {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", specials}};
  }
  return root.dump(1, ' ', false, json::error_handler_t::replace);
}

Result<Metadata> SentencePieceTokenizer::to_gguf() const {
  Metadata out;
  std::vector<int64_t> types;
  for (GgufTokenType type : types_) types.push_back(static_cast<int64_t>(type));
  out.set("tokenizer.ggml.model", std::string("llama"));
  out.set("tokenizer.ggml.pre", std::string("default"));
  out.set("tokenizer.ggml.tokens", tokens_);
  out.set("tokenizer.ggml.scores", std::vector<double>(scores_.begin(), scores_.end()));
  out.set("tokenizer.ggml.token_type", std::move(types));
  if (bos_) out.set("tokenizer.ggml.bos_token_id", static_cast<int64_t>(*bos_));
  if (eos_) out.set("tokenizer.ggml.eos_token_id", static_cast<int64_t>(*eos_));
  if (unk_) out.set("tokenizer.ggml.unknown_token_id", static_cast<int64_t>(*unk_));
  out.set("tokenizer.ggml.add_bos_token", add_bos_);
  out.set("tokenizer.ggml.add_eos_token", add_eos_);
  out.set("tokenizer.ggml.add_space_prefix", add_space_prefix_);
  return out;
}

}  // namespace

Result<std::shared_ptr<Tokenizer>> sentencepiece_from_gguf(const Metadata& metadata, const std::string& where) {
  return SentencePieceTokenizer::build(metadata, where);
}

}  // namespace raison
