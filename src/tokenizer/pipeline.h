// PipelineTokenizer: the tokenizer.json pipeline (normalizer, added tokens, pre-tokeniser, model, post-processor, decoder).
// GGUF's "gpt2" vocabularies are brought into the same shape.
#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/tokenizer.h"

namespace raison {

// What a tokenizer file says, taken apart: the vocabulary in flat lists, everything else as JSON.
struct PipelineSpec {
  nlohmann::json skeleton;                                  // a tokenizer.json without model.vocab and model.merges
  VocabMap vocab;                                           // model.vocab
  std::vector<std::pair<std::string, std::string>> merges;  // in rank order
  std::string bos, eos;                                     // token names, "" = none
  bool add_bos = false, add_eos = false;                    // put them around a text even if the post-processor doesn't
};

class PipelineTokenizer final : public Tokenizer {
 public:
  static Result<std::shared_ptr<Tokenizer>> build(PipelineSpec spec, const std::string& where);

  Result<std::vector<TokenId>> encode(std::string_view text, EncodeOptions options) const override;
  std::string piece(TokenId id) const override;
  std::string_view leading_strip() const override { return leading_strip_; }
  std::string_view decode_joiner() const override { return joiner_; }
  int64_t vocab_size() const override { return static_cast<int64_t>(contents_.size()); }
  std::optional<TokenId> id_of(std::string_view token) const override;
  bool is_special(TokenId id) const override;
  std::optional<TokenId> bos() const override { return bos_; }
  std::optional<TokenId> eos() const override { return eos_; }
  std::string kind() const override { return bpe_ ? "BPE" : "WordLevel"; }
  Result<std::string> to_hf_json() const override;
  Result<Metadata> to_gguf() const override;

 private:
  enum class Flag : uint8_t { Hole, Vocab, Added, Special };
  struct DecodeStep {
    enum class Kind { ByteLevel, ByteFallback, Replace } kind;
    std::string from, to;
  };
  PipelineTokenizer() = default;
  Status load_vocab(const std::string& where);
  Status load_added(const std::string& where);
  Status load_model(const std::string& where);
  Status load_merges(const nlohmann::json& model, std::vector<BpeModel::Merge>& merges, const std::string& where) const;
  Status load_post_processor(const nlohmann::json& node, const std::string& where);
  Status load_template(const nlohmann::json& node, const std::string& where);
  Status load_specials(const std::string& where);
  Status load_decoder(const nlohmann::json& node, const std::string& where);
  Status load_decode_step(const nlohmann::json& node, const std::string& where);
  void make_pieces();
  bool gguf_keys_suffice(std::string* pre) const;

  Status encode_segment(std::string_view segment, bool at_start, bool parse_added, std::vector<TokenId>& out) const;
  Status encode_normalized(std::string text, bool at_start, std::vector<TokenId>& out) const;
  Status encode_word(std::string_view word, std::vector<TokenId>& out) const;

  PipelineSpec spec_;
  Normalizer normalizer_;
  PreTokenizer pre_;
  AddedTokens raw_added_, normalized_added_;    // matched before and after normalisation
  std::vector<AddedToken> added_;               // in the file's order
  std::vector<std::string> contents_, pieces_;  // by id
  std::vector<Flag> flags_;
  VocabMap added_ids_;
  std::unique_ptr<BpeModel> bpe_;  // null: WordLevel
  std::string unk_token_;          // WordLevel
  std::optional<TokenId> bos_, eos_, word_unk_;
  std::vector<TokenId> prefix_, suffix_;  // what add_special puts around
  std::vector<DecodeStep> decode_steps_;
  std::string leading_strip_, joiner_;
  bool byte_level_ = false;
};

// GGUF pre-tokeniser names ("tokenizer.ggml.pre") that can be read and written.
struct PreType {
  const char* name;
  std::vector<std::string> regexes;  // Split, Isolated, one after the other
  bool gpt2_regex;                   // ByteLevel's own regex after them
  bool nfc, ignore_merges, add_bos;
};
const std::vector<PreType>& gguf_pre_types();
nlohmann::json pre_tokenizer_json(const PreType& type);
// A tokenizer.json of byte-level BPE that cuts texts as `type` does, without vocabulary, merges and added tokens.
nlohmann::json byte_level_skeleton(const PreType& type);

// GGUF token types, as llama.cpp numbers them.
enum class GgufTokenType : int64_t { Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6 };

// from_gguf's halves: "llama" (sentencepiece.cc) and "gpt2" (gguf_vocab.cc).
Result<std::shared_ptr<Tokenizer>> sentencepiece_from_gguf(const Metadata& metadata, const std::string& where);
Result<std::shared_ptr<Tokenizer>> bpe_from_gguf(const Metadata& metadata, const std::string& where);
// The id under `key` if it is within [0, size); else `fallback` if that is.
std::optional<TokenId> gguf_token_id(const Metadata& metadata, const std::string& key, int64_t fallback, size_t size);

}  // namespace raison
