// Tokenizer: text <-> token ids. Three kinds: byte-level BPE and WordLevel (HF tokenizer.json), SentencePiece-BPE (GGUF
// `tokenizer.ggml.model = "llama"`, greedy merging by score, byte fallback).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"

namespace raison {

using TokenId = int32_t;

struct EncodeOptions {
  bool add_special = true;    // what the file's post-processor (or add_bos_token) puts around the text
  bool parse_special = true;  // added/special tokens written out in the text become their ids
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // From the text of a tokenizer.json; tokenizer_config (text, may be empty) gives bos/eos/pad names, add_bos_token, and tokens
  // that its added_tokens_decoder lists and tokenizer.json does not.
  static Result<std::shared_ptr<Tokenizer>> from_hf_json(std::string_view tokenizer_json, std::string_view tokenizer_config,
                                                         const std::string& where);
  // From the text of a tiktoken file (lines "base64 rank"). `pre` names how texts are cut into words, as GGUF does; "" = as
  // tokenizer_config's tokenizer_class says: TikTokenTokenizer is Kimi-K2's. Others are an error.
  static Result<std::shared_ptr<Tokenizer>> from_tiktoken(std::string_view ranks, std::string_view tokenizer_config,
                                                          const std::string& where, std::string pre = "");
  // From GGUF metadata (tokenizer.ggml.*): "llama" here; "gpt2" as far as byte-level BPE serves it.
  static Result<std::shared_ptr<Tokenizer>> from_gguf(const Metadata& metadata, const std::string& where);

  virtual Result<std::vector<TokenId>> encode(std::string_view text, EncodeOptions options = {}) const = 0;
  // The bytes an id stands for (not always whole characters). Special/added tokens give their content. Out of range: "".
  virtual std::string piece(TokenId id) const = 0;
  // All of them together; invalid UTF-8 becomes U+FFFD per maximal subpart. skip_special leaves out special tokens.
  std::string decode(const std::vector<TokenId>& ids, bool skip_special = false) const;
  // What decode() removes at the start of a text (SentencePiece's dummy-prefix space), "" for most.
  virtual std::string_view leading_strip() const { return ""; }
  virtual std::string_view decode_joiner() const { return ""; }  // WordLevel: " " between tokens

  virtual int64_t vocab_size() const = 0;                                  // largest id + 1
  virtual std::optional<TokenId> id_of(std::string_view token) const = 0;  // exact token content (vocabulary or added)
  virtual bool is_special(TokenId id) const = 0;                           // added with special: true (GGUF: control type)
  virtual std::optional<TokenId> bos() const = 0;
  virtual std::optional<TokenId> eos() const = 0;
  virtual std::string kind() const = 0;  // "BPE", "WordLevel", "SentencePiece-BPE"
  // A tokenizer.json that from_hf_json reads back to the same ids. GGUF-born ones: SentencePiece-BPE is written as HF's
  // BPE with byte_fallback.
  virtual Result<std::string> to_hf_json() const = 0;
  // tokenizer.ggml.* keys for a GGUF writer.
  virtual Result<Metadata> to_gguf() const = 0;
};

// Streaming detokeniser: emits text as soon as its last byte is there and never half a character.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = false)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}
  std::string push(TokenId id);  // text that became complete
  std::string flush();           // the rest, broken bytes as U+FFFD
 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  bool first_ = true;
  std::string pending_;
};

// Lossy UTF-8: invalid bytes become U+FFFD per maximal subpart (WHATWG).
std::string lossy_utf8(std::string_view bytes);

}  // namespace raison
