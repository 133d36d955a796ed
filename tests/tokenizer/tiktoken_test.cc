// Tokenizers that come in other files than one tokenizer.json: tiktoken's ranks, and tokens that only tokenizer_config.json lists.
#include <gtest/gtest.h>

#include "tokenizer/helpers.h"
#include "tokenizer/utf8.h"

namespace raison {
namespace {

using nlohmann::json;
using tokenizer_test::exists;
using tokenizer_test::gunzip;
using tokenizer_test::lines_of;
using tokenizer_test::slurp;

std::string shared_file(const std::string& path) { return testing::shared_dir() + "/" + path; }

void same_as_golden(const Tokenizer& tokenizer, const std::string& name) {
  size_t cases = 0;
  for (const std::string& line : lines_of(shared_file("goldens/tokenizers/" + name + ".jsonl"))) {
    const json c = json::parse(line);
    for (const bool special : {false, true}) {
      const auto ids = tokenizer.encode(c["text"].get<std::string>(), {special, true});
      ASSERT_TRUE(ids.ok()) << ids.message();
      ASSERT_EQ(*ids, c[special ? "ids_special" : "ids"].get<std::vector<TokenId>>())
          << name << " " << c["cat"] << ": " << c["text"];
    }
    ASSERT_EQ(tokenizer.decode(c["ids"].get<std::vector<TokenId>>(), true), c["decoded_skip"].get<std::string>()) << c["cat"];
    ++cases;
  }
  EXPECT_GT(cases, 0u);
}

// Llama 3's vocabulary as tiktoken has it gives the ids of its tokenizer.json.
TEST(Tiktoken, RanksGiveTheIdsOfTokenizerJson) {
  const std::string ranks = shared_file("refdata/tokenizers/llama3/tokenizer.tiktoken");
  if (!exists(ranks)) GTEST_SKIP() << testing::missing(ranks);
  json config = json::parse(slurp(shared_file("refdata/tokenizers/llama3/tokenizer_config.json")));
  config["add_bos_token"] = true;
  const auto tokenizer = Tokenizer::from_tiktoken(slurp(ranks), config.dump(), ranks, "llama-bpe");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
  EXPECT_EQ((*tokenizer)->vocab_size(), 128256);
  same_as_golden(**tokenizer, "llama3");
}

TEST(TokenizerConfig, AddedTokensThatTokenizerJsonLacks) {
  const std::string file = shared_file("refdata/tokenizers/qwen2/tokenizer.json.gz");
  if (!exists(file)) GTEST_SKIP() << testing::missing(file);
  json root = json::parse(gunzip(file));
  root["added_tokens"] = json::array();
  const std::string bare = root.dump();
  for (const std::string name : {"qwen3", "r1-distill-qwen"}) {
    const std::string config = slurp(shared_file("refdata/tokenizers/" + name + "/tokenizer_config.json"));
    const auto tokenizer = Tokenizer::from_hf_json(bare, config, name);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
    same_as_golden(**tokenizer, name);
  }
}

std::string tiny_ranks() {
  // a b c ab bc abc, a space, and AZZ, which nothing makes
  return "YQ== 0\nYg== 1\nYw== 2\nYWI= 3\nYmM= 4\nYWJj 5\nIA== 6\nQVpa 7\n";
}

constexpr const char* kKimiConfig =
    R"({"tokenizer_class": "TikTokenTokenizer", "bos_token": "[BOS]", "eos_token": {"content": "[EOS]"},
  "added_tokens_decoder": {"8": {"content": "[BOS]", "special": true}, "10": {"content": "[EOS]", "special": true},
  "12": {"content": "<tool>", "special": false}}})";

TEST(Tiktoken, KimisReservedTokensAndWholeWords) {
  const auto loaded = Tokenizer::from_tiktoken(tiny_ranks(), kKimiConfig, "tiktoken.model");
  ASSERT_TRUE(loaded.ok()) << loaded.message();
  const Tokenizer& t = **loaded;
  EXPECT_EQ(t.vocab_size(), 8 + 256);
  EXPECT_EQ(t.bos(), 8);
  EXPECT_EQ(t.eos(), 10);
  EXPECT_EQ(t.id_of("<|reserved_token_9|>"), 9);
  EXPECT_TRUE(t.is_special(9));
  EXPECT_FALSE(t.is_special(12));
  EXPECT_EQ(*t.encode("abc[EOS]<tool>b"), (std::vector<TokenId>{5, 10, 12, 1}));
  EXPECT_EQ(*t.encode("cabbc"), (std::vector<TokenId>{2, 3, 4}));
  EXPECT_EQ(*t.encode("AZZ"), (std::vector<TokenId>{7})) << "a token that no merges make is still taken whole";
  EXPECT_EQ(t.decode({5, 6, 7}), "abc AZZ");
  // Written as a tokenizer.json and as GGUF keys it stays the same.
  for (const bool gguf : {false, true}) {
    const auto again = gguf ? Tokenizer::from_gguf(*t.to_gguf(), "g") : Tokenizer::from_hf_json(*t.to_hf_json(), "", "h");
    ASSERT_TRUE(again.ok()) << again.message();
    EXPECT_EQ(*(*again)->encode("abc[EOS]<tool>b AZZ"), *t.encode("abc[EOS]<tool>b AZZ"));
  }
  EXPECT_EQ(t.to_gguf()->string("tokenizer.ggml.pre"), "kimi-k2");
}

TEST(Tiktoken, BadFilesGiveOneLine) {
  const std::pair<std::string, const char*> files[] = {
      {"", "no tokens"},
      {"YQ==", "line 1 is not"},
      {"YQ== x", "line 1 is not"},
      {"YQ== -1", "line 1 is not"},
      {"YQ== 99999999", "line 1 is not"},
      {"YQ== 0\n?? 1", "line 2 is not"},
      {"YQ== 0\nYg== 0", "second time"},
      {"YQ== 0\nYQ== 1", "the same token"},
      {"YQ== 0\nYg== 2", "some are missing"},
  };
  for (const auto& [text, expect] : files) {
    const auto t = Tokenizer::from_tiktoken(text, kKimiConfig, "dir/tiktoken.model");
    ASSERT_FALSE(t.ok()) << text;
    EXPECT_EQ(t.message().rfind("dir/tiktoken.model: ", 0), 0u) << t.message();
    EXPECT_NE(t.message().find(expect), std::string::npos) << t.message();
  }
  EXPECT_NE(Tokenizer::from_tiktoken(tiny_ranks(), R"({"tokenizer_class": "Other"})", "t").message().find("\"Other\""),
            std::string::npos);
  EXPECT_FALSE(Tokenizer::from_tiktoken(tiny_ranks(), "", "t").ok());
}

}  // namespace
}  // namespace raison
