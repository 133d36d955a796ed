// The tokenizer's parts on small files made here: pre-tokenisers, added tokens, decoders, writers, streaming, bad files.
#include "tokenizer/tokenizer.h"
#include "tokenizer/pipeline.h"
#include "tokenizer/utf8.h"
#include "tokenizer/word_level.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <thread>

namespace raison {
namespace {

using nlohmann::json;
using Ids = std::vector<TokenId>;

json base_file() {
  return json::parse(
      R"({"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
    "decoder": null, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4, "<unk>": 5}, "merges": ["a b", ["ab", "c"]]}})");
}

Result<std::shared_ptr<Tokenizer>> load(const json& file, const std::string& config = "") {
  return Tokenizer::from_hf_json(file.dump(), config, "t.json");
}

std::vector<std::string> pre_split(const json& node, std::string text, bool at_start = true) {
  auto pre = PreTokenizer::from_json(node, "t");
  EXPECT_TRUE(pre.ok()) << pre.message();
  std::vector<PreTokenizer::Range> ranges;
  EXPECT_TRUE(pre->apply(text, at_start, ranges).ok());
  std::vector<std::string> out;
  for (const auto& [begin, end] : ranges) out.push_back(text.substr(begin, end - begin));
  return out;
}

TEST(PreTokenizer, Behaviours) {
  using V = std::vector<std::string>;
  const auto split = [](const char* behaviour, bool invert = false) {
    return json{{"type", "Split"}, {"pattern", {{"String", "-"}}}, {"behavior", behaviour}, {"invert", invert}};
  };
  // HF's own example: "the-final--countdown".
  const std::string text = "the-final--countdown";
  EXPECT_EQ(pre_split(split("Removed"), text), (V{"the", "final", "countdown"}));
  EXPECT_EQ(pre_split(split("Isolated"), text), (V{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(pre_split(split("MergedWithPrevious"), text), (V{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(pre_split(split("MergedWithNext"), text), (V{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(pre_split(split("Contiguous"), text), (V{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(pre_split(split("Removed", true), text), (V{"-", "-", "-"}));
}

TEST(PreTokenizer, Kinds) {
  using V = std::vector<std::string>;
  EXPECT_EQ(pre_split({{"type", "Whitespace"}}, "Hi there,  you_2!"), (V{"Hi", "there", ",", "you_2", "!"}));
  EXPECT_EQ(pre_split({{"type", "WhitespaceSplit"}}, " Hi\u00a0there,\n you "), (V{"Hi", "there,", "you"}));
  EXPECT_EQ(pre_split({{"type", "Digits"}, {"individual_digits", true}}, "a12b"), (V{"a", "1", "2", "b"}));
  EXPECT_EQ(pre_split({{"type", "Digits"}, {"individual_digits", false}}, "a12b"), (V{"a", "12", "b"}));
  EXPECT_EQ(pre_split({{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", true}}, "It's 12"),
            (V{" It", "'s", " 12"}));
  EXPECT_EQ(pre_split({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}, "It's 12"), (V{"It's 12"}));
  EXPECT_EQ(pre_split({{"type", "Metaspace"}, {"prepend_scheme", "always"}}, "Hey you"), (V{"▁Hey", "▁you"}));
  EXPECT_EQ(pre_split({{"type", "Metaspace"}, {"prepend_scheme", "first"}}, "Hey", false), (V{"Hey"}));
  EXPECT_EQ(pre_split({{"type", "Metaspace"}, {"prepend_scheme", "never"}, {"split", false}}, "Hey you"), (V{"Hey▁you"}));
  EXPECT_EQ(pre_split({{"type", "Punctuation"}, {"behavior", "Isolated"}}, "a,b"), (V{"a", ",", "b"}));
}

TEST(Regex, WhiteSpaceIsUnicodesAndClassIntersections) {
  using V = std::vector<std::string>;
  const json split = {{"type", "Split"}, {"pattern", {{"Regex", "\\s+"}}}, {"behavior", "Removed"}, {"invert", false}};
  EXPECT_EQ(pre_split(split, "a\u0085b\u180ec\u200bd\u3000e"), (V{"a", "b\u180ec\u200bd", "e"}));
  const json both = {
      {"type", "Split"}, {"pattern", {{"Regex", "[\\p{L}&&[^b]]+"}}}, {"behavior", "Isolated"}, {"invert", false}};
  EXPECT_EQ(pre_split(both, "aabcc"), (V{"aa", "b", "cc"}));
}

TEST(Regex, NamesOfScriptsMeanScriptAndIntersectionsOfCategoriesArePlainClasses) {
  EXPECT_EQ(translate_oniguruma(R"(\p{Han}\P{Greek}\p{^Thai}[\p{L}\p{Hiragana}])"),
            R"(\p{sc:Han}\P{sc:Greek}\p{^sc:Thai}[\p{L}\p{sc:Hiragana}])");
  EXPECT_EQ(translate_oniguruma(R"(\p{Lu}\p{N}\p{Alphabetic}\p{)"), R"(\p{Lu}\p{N}\p{Alphabetic}\p{)");
  EXPECT_EQ(translate_oniguruma(R"([\p{L}\p{M}\p{N}\p{P}\p{Z}\p{C}&&[^a\p{Han}]])"),
            R"([^\p{Sm}\p{Sc}\p{Sk}\p{So}a\p{sc:Han}])");
  // U+3001 is common to several scripts, Han among their extensions only.
  const json split = {{"type", "Split"}, {"pattern", {{"Regex", "\\p{Han}+"}}}, {"behavior", "Isolated"}, {"invert", false}};
  EXPECT_EQ(pre_split(split, "你、好"), (std::vector<std::string>{"你", "、", "好"}));
}

// Expected: Python's `regex` module (V1) with the pattern of Kimi-K2's published tokenizer.
TEST(GgufPreTypes, KimiK2) {
  using V = std::vector<std::string>;
  const auto& types = gguf_pre_types();
  const auto type = std::find_if(types.begin(), types.end(), [](const PreType& t) { return std::string(t.name) == "kimi-k2"; });
  ASSERT_NE(type, types.end());
  const json pre = pre_tokenizer_json(*type);
  EXPECT_EQ(pre_split(pre, "Hello world, it's McDonald's HTTPServer don'T"),
            (V{"Hello", " world", ",", " it's", " Mc", "Donald's", " HTTPServer", " don'T"}));
  EXPECT_EQ(pre_split(pre, "你好，世界。kimiK2模型〇々、한국어かなカナ漢字"),
            (V{"你好", "，", "世界", "。kimi", "K", "2", "模型〇々", "、한국어かなカナ", "漢字"}));
  EXPECT_EQ(pre_split(pre, "x = foo_bar(12345)\n\n    return  -1"),
            (V{"x", " =", " foo", "_bar", "(", "123", "45", ")\n\n", "   ", " return", " ", " -", "1"}));
  EXPECT_EQ(pre_split(pre, "ΑΒΓαβγ Ǆungla ʰabc e\u0301tude"), (V{"ΑΒΓαβγ", " Ǆungla", " ʰabc", " e\u0301tude"}));
  EXPECT_EQ(pre_split(pre, "  \t\n a\r\n  b   "), (V{"  \t\n", " a", "\r\n", " ", " b", "   "}));
}

// A run of one character, as long as a document: no pre-tokeniser may run out of stack or of patience.
TEST(GgufPreTypes, LongRunsAreCutInTimeAndNothingIsLost) {
  for (const PreType& type : gguf_pre_types()) {
    auto pre = PreTokenizer::from_json(pre_tokenizer_json(type), "t");
    ASSERT_TRUE(pre.ok()) << pre.message();
    for (const char* unit :
         {"a", "A", " ", "\n", "1", "!", "\u00e9", "\u3042", "\u6f22", "\u0301", "\U0001F600", "\r\n ", "aB", "'"}) {
      std::string text;
      while (text.size() < 500'000) text += unit;
      std::vector<PreTokenizer::Range> ranges;
      const std::clock_t start = std::clock();
      const Status status = pre->apply(text, true, ranges);
      ASSERT_TRUE(status.ok()) << type.name << " '" << unit << "': " << status.message();
      size_t done = 0;
      for (const auto& [begin, end] : ranges) {
        ASSERT_EQ(begin, done);
        done = end;
      }
      EXPECT_EQ(done, text.size()) << type.name << " '" << unit << "'";
      EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 10) << type.name << " '" << unit << "'";
    }
  }
}

TEST(Bpe, MergesInRankOrderLeftmostFirst) {
  auto t = load(base_file());
  ASSERT_TRUE(t.ok()) << t.message();
  EXPECT_EQ(*(*t)->encode("abcab"), (Ids{4, 3}));
  EXPECT_EQ(*(*t)->encode("cba"), (Ids{2, 1, 0}));
  EXPECT_EQ(*(*t)->encode("a?b"), (Ids{3})) << "HF drops characters outside the vocabulary where there is no unk";
  EXPECT_EQ((*t)->id_of("abc"), 4);
  EXPECT_FALSE((*t)->id_of("abcd").has_value());
}

TEST(Bpe, UnkByteFallbackIgnoreMerges) {
  json file = base_file();
  file["model"]["unk_token"] = "<unk>";
  EXPECT_EQ(*(*load(file))->encode("a??b"), (Ids{0, 5, 5, 1}));
  file["model"]["fuse_unk"] = true;
  EXPECT_EQ(*(*load(file))->encode("a??b"), (Ids{0, 5, 1}));
  file["model"]["byte_fallback"] = true;
  file["model"]["vocab"]["<0xC3>"] = 6;
  file["model"]["vocab"]["<0xA9>"] = 7;
  EXPECT_EQ(*(*load(file))->encode("aéö"), (Ids{0, 6, 7, 5})) << "é has its bytes, ö lacks one";
  json whole = base_file();
  whole["model"]["vocab"]["cab"] = 6;
  EXPECT_EQ(*(*load(whole))->encode("cab"), (Ids{2, 3}));
  whole["model"]["ignore_merges"] = true;
  EXPECT_EQ(*(*load(whole))->encode("cab"), (Ids{6}));
}

json added(TokenId id, const char* content, json more = json::object()) {
  json token = {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", true}};
  token.update(more);
  return token;
}

TEST(AddedTokens, LongestFirstFlagsAndParseSpecial) {
  json file = base_file();
  file["added_tokens"] = {added(10, "<x>"), added(11, "<x><y>"), added(12, "<l>", {{"lstrip", true}}),
                          added(13, "<r>", {{"rstrip", true}}), added(14, "cab", {{"single_word", true}, {"special", false}})};
  auto t = load(file);
  ASSERT_TRUE(t.ok()) << t.message();
  EXPECT_EQ(*(*t)->encode("a<x><y>b<x>"), (Ids{0, 11, 1, 10}));
  EXPECT_EQ(*(*t)->encode("a  <l>b<r> \nc"), (Ids{0, 12, 1, 13, 2}));
  EXPECT_EQ(*(*t)->encode("cab acab"), (Ids{14, 0, 2, 3}));
  EXPECT_EQ(*(*t)->encode("a<x>", {true, false}), (Ids{0}));
  EXPECT_TRUE((*t)->is_special(10));
  EXPECT_FALSE((*t)->is_special(14));
  EXPECT_EQ((*t)->vocab_size(), 15);
  EXPECT_EQ((*t)->piece(8), "");
  EXPECT_EQ((*t)->decode({0, 10, 1}, true), "a b");
}

TEST(PostProcessor, TemplateAndConfig) {
  json file = base_file();
  file["added_tokens"] = {added(10, "<s>"), added(11, "</s>")};
  auto t =
      load(file, R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": true, "add_eos_token": true})");
  ASSERT_TRUE(t.ok()) << t.message();
  EXPECT_EQ((*t)->bos(), 10);
  EXPECT_EQ((*t)->eos(), 11);
  EXPECT_EQ(*(*t)->encode("a"), (Ids{10, 0, 11}));
  EXPECT_EQ(*(*t)->encode("a", {false, true}), (Ids{0}));
  auto again = Tokenizer::from_hf_json(*(*t)->to_hf_json(), "", "again");
  ASSERT_TRUE(again.ok()) << again.message();
  EXPECT_EQ(*(*again)->encode("a"), (Ids{10, 0, 11}));
  auto gguf = Tokenizer::from_gguf(*(*t)->to_gguf(), "gguf");
  ASSERT_TRUE(gguf.ok()) << gguf.message();
  EXPECT_EQ(*(*gguf)->encode("a"), (Ids{10, 0, 11}));
  EXPECT_EQ((*gguf)->bos(), 10);
}

TEST(WordLevel, EncodesDecodesAndNamesUnknownWords) {
  auto t = make_word_level({"<pad>", "<bos>", "<eos>", "one", "plus", "two", "="}, {"<bos>", "<eos>", "<pad>", {}, true});
  ASSERT_TRUE(t.ok()) << t.message();
  EXPECT_EQ((*t)->kind(), "WordLevel");
  EXPECT_EQ(*(*t)->encode("one  plus\ntwo<eos>"), (Ids{1, 3, 4, 5, 2}));
  EXPECT_EQ((*t)->decode({1, 3, 4, 5, 6, 2}, true), "one plus two =");
  EXPECT_EQ((*t)->decode({3, 4}), "one plus");
  EXPECT_EQ((*t)->eos(), 2);
  auto bad = (*t)->encode("one minus two");
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.message().find("\"minus\""), std::string::npos) << bad.message();
  for (const bool gguf : {false, true}) {
    auto again = gguf ? Tokenizer::from_gguf(*(*t)->to_gguf(), "g")
                      : Tokenizer::from_hf_json(*(*t)->to_hf_json(), tokenizer_config_json(**t, "<pad>", "{{ 1 }}"), "h");
    ASSERT_TRUE(again.ok()) << again.message();
    EXPECT_EQ(*(*again)->encode("one plus two"), (Ids{1, 3, 4, 5}));
    EXPECT_EQ((*again)->eos(), 2);
    EXPECT_FALSE((*again)->encode("minus").ok());
  }
  EXPECT_FALSE(make_word_level({"a", "a"}, {}).ok());
  EXPECT_FALSE(make_word_level({"a b"}, {}).ok());
  EXPECT_FALSE(make_word_level({"a"}, {"<bos>", "", "", {}, false}).ok());
}

TEST(Utf8, LossyReplacesMaximalSubparts) {
  EXPECT_EQ(lossy_utf8("a\xFFz"), "a\uFFFDz");
  EXPECT_EQ(lossy_utf8("\xF0\x9F\x98"), "\uFFFD");
  EXPECT_EQ(lossy_utf8("\xF0\x9F\x98x"), "\uFFFDx");
  EXPECT_EQ(lossy_utf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(lossy_utf8("\xC0\xAF"), "\uFFFD\uFFFD");            // overlong
  EXPECT_EQ(lossy_utf8("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(lossy_utf8("ok é 😀"), "ok é 😀");
}

TEST(Utf8, ShownFitsIntoALine) {
  EXPECT_EQ(shown("a\n\tb\u200b \xFFz"), "a\\n\\u{9}b\\u{200b} \\xffz");
  EXPECT_EQ(shown("\u4f60\u597d!", 4), "\u4f60\u597d...") << "cut after whole characters";
  json file = base_file();
  file["model"]["unk_token"] = "<no\nsuch>";
  EXPECT_EQ((*load(file))->encode("?\nx").message().find('\n'), std::string::npos);
}

TEST(StreamDecoder, NeverHalfACharacter) {
  json file = base_file();
  file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  file["decoder"] = {{"type", "ByteLevel"}};
  TokenId id = 10;
  for (char32_t c : {0xF0, 0x9F, 0x98, 0x80}) {
    std::string name;
    append_utf8(name, byte_level_char(static_cast<uint8_t>(c)));
    file["model"]["vocab"][name] = id++;
  }
  auto t = load(file);
  ASSERT_TRUE(t.ok()) << t.message();
  StreamDecoder stream(**t);
  EXPECT_EQ(stream.push(0), "a");
  EXPECT_EQ(stream.push(10), "");
  EXPECT_EQ(stream.push(11), "");
  EXPECT_EQ(stream.push(12), "");
  EXPECT_EQ(stream.push(13), "😀");
  EXPECT_EQ(stream.push(10), "");
  EXPECT_EQ(stream.push(1), "\uFFFDb");
  EXPECT_EQ(stream.push(10), "");
  EXPECT_EQ(stream.flush(), "\uFFFD");
  EXPECT_EQ(stream.flush(), "");
}

TEST(Tokenizer, InvalidUtf8IsRepairedAndThreadsAgree) {
  auto t = load(base_file());
  EXPECT_EQ(*(*t)->encode("a\xFF"
                          "bc"),
            *(*t)->encode("a\uFFFDbc"));
  const Ids expected = *(*t)->encode("abcabcab");
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 500; ++k) wrong += *(*t)->encode("abcabcab") != expected;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Tokenizer, HugeWordStaysFast) {
  auto t = load(base_file());
  std::string text;
  for (int i = 0; i < 300000; ++i) text += "abc";
  EXPECT_EQ((*t)->encode(text)->size(), 300000u);
}

struct BadFile {
  const char* what;
  std::string text, config;
  const char* expect;  // part of the message
};

std::string with(const char* pointer, json value) {
  json file = base_file();
  file[json::json_pointer(pointer)] = std::move(value);
  return file.dump();
}

TEST(Tokenizer, BadFilesGiveOneLineThatNamesTheFile) {
  std::string deep = "{\"model\":";
  for (int i = 0; i < 100000; ++i) deep += "[";
  const BadFile files[] = {
      {"empty", "", "", "not valid JSON"},
      {"cut off", base_file().dump().substr(0, 100), "", "not valid JSON at byte"},
      {"a list", "[]", "", "must be a JSON object"},
      {"deep", deep, "", "nested more than"},
      {"no model", "{}", "", "no object \"model\""},
      {"unigram", with("/model/type", "Unigram"), "", "\"Unigram\" is not supported"},
      {"vocab is a list", with("/model/vocab", json::array()), "", "model.vocab"},
      {"vocab is empty", with("/model/vocab", json::object()), "", "model.vocab is empty"},
      {"negative id", with("/model/vocab/a", -1), "", "must be an integer in"},
      {"giant id", with("/model/vocab/a", 2000000000), "", "must be an integer in"},
      {"id as text", with("/model/vocab/a", "0"), "", "must be an integer in"},
      {"id twice", with("/model/vocab/b", 0), "", "id 0 is given to"},
      {"merges missing", with("/model/merges", nullptr), "", "model.merges must be a list"},
      {"merge of three", with("/model/merges/0", "a b c"), "", "merge 0 must be"},
      {"merge unknown", with("/model/merges/0", "a z"), "", "not in the vocabulary"},
      {"dropout", with("/model/dropout", 0.1), "", "dropout"},
      {"subword prefix", with("/model/continuing_subword_prefix", "##"), "", "continuing_subword_prefix"},
      {"bad regex", with("/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}}), "",
       "regex \"(a\""},
      {"bad behaviour", with("/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Odd"}}), "",
       "\"Odd\""},
      {"unknown pre", with("/pre_tokenizer", {{"type", "Magic"}}), "", "pre_tokenizer \"Magic\""},
      {"unknown normalizer", with("/normalizer", {{"type", "Magic"}}), "", "normalizer \"Magic\""},
      {"unknown decoder", with("/decoder", {{"type", "Magic"}}), "", "decoder \"Magic\""},
      {"unknown post", with("/post_processor", {{"type", "Magic"}}), "", "post_processor \"Magic\""},
      {"template names nothing",
       with("/post_processor", {{"type", "TemplateProcessing"}, {"single", {{{"SpecialToken", {{"id", "<s>"}}}}}}}), "",
       "do not define"},
      {"template puts no token",
       with("/post_processor", {{"type", "TemplateProcessing"},
                                {"single", {{{"SpecialToken", {{"id", "<s>"}}}}}},
                                {"special_tokens", {{"<s>", {{"ids", {77}}}}}}}),
       "", "id 77"},
      {"added without content", with("/added_tokens", {{{"id", 9}}}), "", "without content"},
      {"added clashes", with("/added_tokens", {{{"id", 0}, {"content", "<s>"}}}), "", "has id 0"},
      {"bad config", base_file().dump(), "{", "tokenizer_config"},
      {"bos is nowhere", base_file().dump(), R"({"add_bos_token": true, "bos_token": "<s>"})", "add_bos_token is true"},
  };
  for (const BadFile& file : files) {
    auto t = Tokenizer::from_hf_json(file.text, file.config, "dir/t.json");
    ASSERT_FALSE(t.ok()) << file.what;
    EXPECT_EQ(t.message().rfind("dir/t.json", 0), 0u) << file.what << ": " << t.message();
    EXPECT_EQ(t.message().find('\n'), std::string::npos) << file.what;
    EXPECT_NE(t.message().find(file.expect), std::string::npos) << file.what << ": " << t.message();
  }
}

TEST(Tokenizer, BadGgufMetadata) {
  Metadata none;
  EXPECT_FALSE(Tokenizer::from_gguf(none, "x.gguf").ok());
  Metadata spm;
  spm.set("tokenizer.ggml.model", std::string("llama"));
  auto r = Tokenizer::from_gguf(spm, "x.gguf");
  ASSERT_FALSE(r.ok());
  EXPECT_NE(r.message().find("x.gguf: tokenizer.ggml.tokens"), std::string::npos);
  spm.set("tokenizer.ggml.tokens", std::vector<std::string>{"<unk>", "a"});
  EXPECT_NE(Tokenizer::from_gguf(spm, "x").message().find("scores"), std::string::npos);
  spm.set("tokenizer.ggml.scores", std::vector<double>{0, 0});
  spm.set("tokenizer.ggml.token_type", std::vector<int64_t>{2});
  EXPECT_NE(Tokenizer::from_gguf(spm, "x").message().find("token_type"), std::string::npos);
  spm.set("tokenizer.ggml.token_type", std::vector<int64_t>{2, 77});
  EXPECT_NE(Tokenizer::from_gguf(spm, "x").message().find("77"), std::string::npos);
  Metadata bpe;
  bpe.set("tokenizer.ggml.model", std::string("gpt2"));
  bpe.set("tokenizer.ggml.pre", std::string("martian"));
  EXPECT_NE(Tokenizer::from_gguf(bpe, "x").message().find("\"martian\""), std::string::npos);
  bpe.set("tokenizer.ggml.pre", std::string("qwen2"));
  EXPECT_NE(Tokenizer::from_gguf(bpe, "x").message().find("tokens"), std::string::npos);
  bpe.set("tokenizer.ggml.tokens", std::vector<std::string>{"a"});
  EXPECT_NE(Tokenizer::from_gguf(bpe, "x").message().find("merges"), std::string::npos);
  bpe.set("tokenizer.ggml.model", std::string("rwkv"));
  EXPECT_NE(Tokenizer::from_gguf(bpe, "x").message().find("\"rwkv\""), std::string::npos);
}

}  // namespace
}  // namespace raison
