// Any bytes as a tokenizer.json, or else as a tiktoken file; behind zero bytes a tokenizer_config.json and a text to encode.
#include "parts.h"
#include "properties.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

using namespace raison;

namespace {

constexpr const char* kText =
    "Hello you're 12345,  \xE4\xBD\xA0\xE5\xA5\xBD \xC3\xA9\xCC\x81\n\n\t<s>abc</s> \xFF\xF0\x9F\x98\x80!?";

// What holds for every tokenizer: ids of its own, texts that are UTF-8, a stream that shows what decode() says.
void check(const Tokenizer& tokenizer, const std::string& text) {
  for (const EncodeOptions options : {EncodeOptions{true, true}, EncodeOptions{false, false}}) {
    const auto ids = tokenizer.encode(text, options);
    if (!ids.ok()) {
      fuzz::check_refusal(ids.message());
      continue;
    }
    for (TokenId id : *ids) fuzz::require(id >= 0 && id < tokenizer.vocab_size());
    fuzz::require(is_valid_utf8(tokenizer.decode(*ids)));
    StreamDecoder stream(tokenizer, true);
    std::string shown;
    for (TokenId id : *ids) {
      const std::string more = stream.push(id);
      fuzz::require(is_valid_utf8(more));
      shown += more;
    }
    fuzz::require(shown + stream.flush() == tokenizer.decode(*ids, true));
  }
}

// What was written out must be read back, and mean the same.
void check_again(const Tokenizer& tokenizer, const Result<std::shared_ptr<Tokenizer>>& again, const std::string& text) {
  if (!again.ok()) {
    fuzz::check_refusal(again.message());
    return;
  }
  const auto one = tokenizer.encode(text, {false, true}), two = (*again)->encode(text, {false, true});
  if (one.ok() && two.ok()) fuzz::require(*one == *two);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Parts parts(data, size);
  const std::string file = parts.next(), config = parts.next(), own = parts.next();
  const std::string text = own.empty() ? kText : own.substr(0, 4096);
  if (const auto source = chat_template_of_tokenizer_config(config, "c"); !source.ok()) fuzz::check_refusal(source.message());
  const auto tokenizer = Tokenizer::from_hf_json(file, config, "t.json");
  if (!tokenizer.ok()) {
    fuzz::check_refusal(tokenizer.message());
    const auto ranks = Tokenizer::from_tiktoken(file, config, "tiktoken.model", "kimi-k2");
    if (ranks.ok()) {
      check(**ranks, text);
    } else {
      fuzz::check_refusal(ranks.message());
    }
    return 0;
  }
  check(**tokenizer, text);
  if (const auto written = (*tokenizer)->to_hf_json(); written.ok())
    check_again(**tokenizer, Tokenizer::from_hf_json(*written, "", "again"), text);
  if (const auto metadata = (*tokenizer)->to_gguf(); metadata.ok()) {
    const auto again = Tokenizer::from_gguf(*metadata, "gguf");
    if (again.ok()) {
      check(**again, text);
    } else {
      fuzz::check_refusal(again.message());
    }
  }
  return 0;
}
