// Ids and texts against Hugging Face's tokenizers (goldens/tokenizers) and llama.cpp's vocabulary tests.
#include <gtest/gtest.h>

#include <cctype>
#include <cstdio>
#include <ctime>

#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "tokenizer/helpers.h"
#include "tokenizer/utf8.h"

namespace raison {
namespace {

using nlohmann::json;
using namespace tokenizer_test;  // NOLINT

using Ids = std::vector<TokenId>;

std::string from_hex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) out.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return out;
}

Ids must_encode(const Tokenizer& tokenizer, const std::string& text, bool special) {
  auto ids = tokenizer.encode(text, {special, true});
  EXPECT_TRUE(ids.ok()) << ids.message();
  return ids.ok() ? *ids : Ids{};
}

class TokenizerGolden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    goldens_ = raison::testing::shared_dir() + "/goldens/tokenizers/";
    if (!exists(goldens_ + GetParam() + ".jsonl")) GTEST_SKIP() << raison::testing::missing(goldens_ + GetParam() + ".jsonl");
  }
  std::string goldens_;
};

// Every golden text through `tokenizer`: ids with and without specials, and both decodings.
void check_texts(const Tokenizer& tokenizer, const std::string& path) {
  size_t cases = 0;
  for (const std::string& line : lines_of(path)) {
    const json c = json::parse(line);
    const std::string text = c["text"];
    ASSERT_EQ(must_encode(tokenizer, text, false), c["ids"].get<Ids>()) << c["cat"] << ": " << text;
    ASSERT_EQ(must_encode(tokenizer, text, true), c["ids_special"].get<Ids>()) << c["cat"] << ": " << text;
    ASSERT_EQ(tokenizer.decode(c["ids"].get<Ids>()), c["decoded"].get<std::string>()) << c["cat"];
    ASSERT_EQ(tokenizer.decode(c["ids"].get<Ids>(), true), c["decoded_skip"].get<std::string>()) << c["cat"];
    ++cases;
  }
  EXPECT_GE(cases, 300u);
}

TEST_P(TokenizerGolden, IdsTextsAndRoundTripsThroughBothFormats) {
  const std::string name = GetParam(), cases = goldens_ + name + ".jsonl";
  auto tokenizer = golden_tokenizer(name);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
  check_texts(**tokenizer, cases);
  auto text = (*tokenizer)->to_hf_json();
  ASSERT_TRUE(text.ok());
  auto again = Tokenizer::from_hf_json(*text, "", "round trip");
  ASSERT_TRUE(again.ok()) << again.message();
  check_texts(**again, cases);
  // GGUF needs to know the beginning-of-sentence token by name.
  const json meta = json::parse(slurp(goldens_ + name + ".meta.json"));
  json config = json::object();
  if (!meta["added_by_add_special_tokens"].empty()) {
    config["bos_token"] = (*tokenizer)->piece(meta["added_by_add_special_tokens"][0].get<TokenId>());
    config["add_bos_token"] = true;
  }
  auto named = Tokenizer::from_hf_json(*text, config.dump(), "named");
  ASSERT_TRUE(named.ok()) << named.message();
  auto metadata = (*named)->to_gguf();
  ASSERT_TRUE(metadata.ok()) << metadata.message();
  EXPECT_FALSE(metadata->has("tokenizer.huggingface.json")) << "the plain GGUF keys should suffice for " << name;
  auto from_gguf = Tokenizer::from_gguf(*metadata, "gguf round trip");
  ASSERT_TRUE(from_gguf.ok()) << from_gguf.message();
  EXPECT_EQ((*from_gguf)->vocab_size(), (*tokenizer)->vocab_size());
  check_texts(**from_gguf, cases);
}

TEST_P(TokenizerGolden, Streaming) {
  const std::string name = GetParam();
  auto tokenizer = golden_tokenizer(name);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
  size_t cases = 0;
  for (const std::string& line : lines_of(goldens_ + name + ".stream.jsonl")) {
    const json c = json::parse(line);
    const Ids ids = c["ids"].get<Ids>();
    StreamDecoder stream(**tokenizer);
    std::string joined, hf;
    for (size_t i = 0; i < ids.size(); ++i) {
      ASSERT_EQ((*tokenizer)->piece(ids[i]), from_hex(c["pieces"][i])) << ids[i];
      joined += stream.push(ids[i]);
      if (!c["hf_stream"][i].is_null()) hf += c["hf_stream"][i].get<std::string>();
      // Text is shown as soon as HF's stream would show it, and no later.
      if (!c["text"].is_null()) { ASSERT_GE(joined.size(), hf.size()) << c["cat"] << " at token " << i; }
      ASSERT_EQ(lossy_utf8(joined), joined) << "half a character was shown";
    }
    joined += stream.flush();
    EXPECT_EQ(joined, c["decoded"].get<std::string>()) << c["cat"];
    EXPECT_EQ((*tokenizer)->decode(ids), c["decoded"].get<std::string>());
    ++cases;
  }
  EXPECT_GT(cases, 0u);
}

// The metadata that llama.cpp's converter writes for a tokenizer.json: `as_converted` also takes every "<|...|>" for a control
// token, whatever the file says, as it does.
Metadata converted(const json& root, const std::vector<TokenId>& bos, bool as_converted) {
  std::vector<std::string> tokens, merges;
  std::vector<int64_t> types;
  const auto put = [&](size_t id, const std::string& token, int64_t type) {
    if (id >= tokens.size()) {
      tokens.resize(id + 1);
      types.resize(id + 1, 5);
    }
    tokens[id] = token;
    types[id] = type;
  };
  for (const auto& [token, id] : root["model"]["vocab"].items()) put(id, token, 1);
  for (const json& token : root["added_tokens"]) {
    const std::string text = token["content"];
    const auto framed = [&](const std::string& open, const std::string& close) {
      return text.rfind(open, 0) == 0 && text.size() > close.size() &&
             text.compare(text.size() - close.size(), close.size(), close) == 0;
    };
    const bool special = token["special"] || (as_converted && (framed("<|", "|>") || framed("<｜", "｜>")));
    put(token["id"], text, special ? 3 : 4);
  }
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = types[i] == 5 ? fmt::format("[PAD{}]", i) : tokens[i];
  for (const json& merge : root["model"]["merges"]) {
    merges.push_back(merge.is_string() ? merge.get<std::string>()
                                       : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  const std::string split = root["pre_tokenizer"].dump();
  const bool threes = split.find("\\\\p{N}{1,3}|") != std::string::npos;
  const char* pre = split.find("\"\\\\p{N}{1,3}\"") != std::string::npos ? "deepseek-v3"
                    : threes                                             ? "llama-bpe"
                    : bos.empty()                                        ? "qwen2"
                                                                         : "deepseek-r1-qwen";
  Metadata out;
  out.set("general.architecture", std::string("llama"));
  out.set("tokenizer.ggml.model", std::string("gpt2"));
  out.set("tokenizer.ggml.pre", std::string(pre));
  out.set("tokenizer.ggml.tokens", std::move(tokens));
  out.set("tokenizer.ggml.token_type", std::move(types));
  out.set("tokenizer.ggml.merges", std::move(merges));
  if (!bos.empty()) out.set("tokenizer.ggml.bos_token_id", static_cast<int64_t>(bos[0]));
  out.set("tokenizer.ggml.add_bos_token", !bos.empty());
  return out;
}

TEST_P(TokenizerGolden, GgufFilesGiveTheSameIds) {
  const std::string name = GetParam(), path = ::testing::TempDir() + name + ".gguf";
  const json root = json::parse(golden_tokenizer_json(name));
  const auto bos = json::parse(slurp(goldens_ + name + ".meta.json"))["added_by_add_special_tokens"].get<Ids>();
  for (const bool as_converted : {false, true}) {
    const Status written = write_gguf(path, converted(root, bos, as_converted), {});
    ASSERT_TRUE(written.ok()) << written.message();
    const auto file = GgufFile::open(path);
    ASSERT_TRUE(file.ok()) << file.message();
    const auto tokenizer = Tokenizer::from_gguf((*file)->metadata(), path);
    std::remove(path.c_str());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
    if (!as_converted) {
      check_texts(**tokenizer, goldens_ + name + ".jsonl");
      continue;
    }
    for (const std::string& line : lines_of(goldens_ + name + ".jsonl")) {  // what is special differs, no id does
      const json c = json::parse(line);
      ASSERT_EQ(must_encode(**tokenizer, c["text"], true), c["ids_special"].get<Ids>()) << c["cat"] << ": " << c["text"];
      ASSERT_EQ((*tokenizer)->decode(c["ids"].get<Ids>()), c["decoded"].get<std::string>()) << c["cat"];
    }
  }
}

// Whatever lies there when the tests are listed; without any, one that is skipped and says so.
std::vector<std::string> golden_parameters() {
  std::vector<std::string> names = golden_names();
  if (names.empty()) names.emplace_back("none");
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGolden, ::testing::ValuesIn(golden_parameters()), [](const auto& param) {
  std::string name = param.param;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
});

TEST(TokenizerGoldenFiles, DeepSeekR1AsPublishedAddsBosByItsConfig) {
  const std::string folder = raison::testing::shared_dir() + "/refdata/tokenizers/deepseek-r1/";
  if (!exists(folder + "tokenizer.json.gz")) GTEST_SKIP() << raison::testing::missing(folder + "tokenizer.json.gz");
  auto tokenizer =
      Tokenizer::from_hf_json(gunzip(folder + "tokenizer.json.gz"), slurp(folder + "tokenizer_config.json"), "deepseek-r1");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
  EXPECT_EQ((*tokenizer)->bos(), 0);
  EXPECT_EQ((*tokenizer)->eos(), 1);
  check_texts(**tokenizer, raison::testing::shared_dir() + "/goldens/tokenizers/deepseek-r1.jsonl");
}

TEST(TokenizerGoldenFiles, Kitoken) {
  const std::string folder = raison::testing::shared_dir() + "/refdata/tokenizers/goldens-kitoken/";
  if (!exists(folder + "mixed_input.txt")) GTEST_SKIP() << raison::testing::missing(folder + "mixed_input.txt");
  for (const auto& [name, suffix] : {std::pair{"deepseek-r1", "r1"}, std::pair{"llama3", "llama33"}}) {
    auto tokenizer = golden_tokenizer(name);
    ASSERT_TRUE(tokenizer.ok());
    for (const std::string kind : {"small", "mixed", "utf8"}) {
      // Line by line with newlines and trailing spaces written as \n and \s; utf8_input is one text.
      const bool whole = kind == "utf8";
      std::vector<std::string> texts = lines_of(folder + kind + "_input.txt"),
                               answers = lines_of(folder + kind + "_tokens_" + suffix + ".txt");
      if (whole) texts = {slurp(folder + kind + "_input.txt")};
      ASSERT_EQ(texts.size(), answers.size());
      for (size_t i = 0; i < texts.size(); ++i) {
        Ids expected;
        for (const json& id : json::parse("[" + answers[i] + "]")) expected.push_back(id);
        EXPECT_EQ(
            must_encode(**tokenizer, whole ? texts[i] : replace_all(replace_all(texts[i], "\\n", "\n"), "\\s", " "), false),
            expected)
            << name << " " << kind << ": " << texts[i].substr(0, 200);
      }
    }
  }
}

// llama.cpp's vocabulary tests: texts parted by a marker line, ids line by line.
void check_llama_cpp(const Tokenizer& tokenizer, const std::string& path) {
  const std::string marker = "\n__ggml_vocab_test__\n", input = slurp(path + ".inp");
  std::vector<std::string> texts;
  for (size_t at = 0, end; (end = input.find(marker, at)) != std::string::npos; at = end + marker.size()) {
    texts.push_back(input.substr(at, end - at));
  }
  std::istringstream out(slurp(path + ".out"));
  size_t i = 0;
  for (std::string line; i < texts.size() && std::getline(out, line); ++i) {
    std::istringstream words(line);
    Ids expected;
    for (TokenId id; words >> id;) expected.push_back(id);
    auto got = tokenizer.encode(texts[i], {false, true});
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(*got, expected) << path << " text " << i << ": " << texts[i];
    // Every text comes back (SentencePiece: less the dummy space).
    EXPECT_EQ(tokenizer.decode(*got), texts[i]);
  }
  EXPECT_GT(i, 40u);
  EXPECT_EQ(i, texts.size());
}

TEST(LlamaCppVocab, GgufFiles) {
  const std::string folder = raison::testing::shared_dir() + "/refdata/tokenizers/llama.cpp";
  std::vector<std::string> files;
  std::error_code absent;
  for (const auto& entry : std::filesystem::directory_iterator(folder, absent)) {
    if (entry.path().extension() == ".gguf") files.push_back(entry.path().string());
  }
  if (files.empty()) GTEST_SKIP() << raison::testing::missing(folder + "/*.gguf");
  for (const std::string& path : files) {
    auto tokenizer = Tokenizer::from_gguf(gguf_metadata(path), path);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
    check_llama_cpp(**tokenizer, path);
    auto metadata = (*tokenizer)->to_gguf();
    ASSERT_TRUE(metadata.ok());
    auto again = Tokenizer::from_gguf(*metadata, "round trip");
    ASSERT_TRUE(again.ok()) << again.message();
    check_llama_cpp(**again, path);
    auto text = (*tokenizer)->to_hf_json();
    ASSERT_TRUE(text.ok());
    auto hf = Tokenizer::from_hf_json(*text, "", "as tokenizer.json");
    ASSERT_TRUE(hf.ok()) << hf.message();
    check_llama_cpp(**hf, path);
  }
}

TEST(LlamaCppVocab, HfTokenizersGiveTheSameIds) {
  const std::string folder = raison::testing::shared_dir() + "/refdata/tokenizers/llama.cpp/ggml-vocab-";
  if (!exists(folder + "llama-bpe.gguf.inp")) GTEST_SKIP() << raison::testing::missing(folder + "llama-bpe.gguf.inp");
  for (const auto& [name, golden] :
       {std::pair{"llama-bpe", "llama3"}, std::pair{"qwen2", "qwen2"}, std::pair{"deepseek-r1-qwen", "r1-distill-qwen"}}) {
    auto tokenizer = golden_tokenizer(golden);
    ASSERT_TRUE(tokenizer.ok());
    check_llama_cpp(**tokenizer, folder + name + ".gguf");
  }
}

TEST(SentencePieceGolden, Llama2Cases) {
  const std::string shared = raison::testing::shared_dir();
  const std::string cases = shared + "/refdata/weights/llama2-tokenizer/llama2_encode_cases.json";
  if (!exists(cases)) GTEST_SKIP() << raison::testing::missing(cases);
  auto tokenizer =
      Tokenizer::from_gguf(gguf_metadata(shared + "/refdata/tokenizers/llama.cpp/ggml-vocab-llama-spm.gguf"), "llama-spm");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
  EXPECT_EQ((*tokenizer)->kind(), "SentencePiece-BPE");
  size_t n = 0;
  for (const json& c : json::parse(slurp(cases))) {
    const Ids ids = must_encode(**tokenizer, c["text"], true);
    EXPECT_EQ(ids, c["ids_with_bos"].get<Ids>()) << c["text"];
    EXPECT_EQ((*tokenizer)->decode(ids, true), c["text"].get<std::string>());
    ++n;
  }
  EXPECT_GE(n, 4u);
}

TEST(SentencePieceGolden, Stories260K) {
  const std::string path = raison::testing::shared_dir() + "/refdata/weights/stories260K/stories260K.gguf";
  if (!exists(path)) GTEST_SKIP() << raison::testing::missing(path);
  auto tokenizer = Tokenizer::from_gguf(gguf_metadata(path), path);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
  EXPECT_EQ((*tokenizer)->vocab_size(), 512);
  EXPECT_EQ((*tokenizer)->bos(), 1);
  EXPECT_EQ((*tokenizer)->eos(), 2);
  const std::string text = "Once upon a time, there was a little girl named Lily. Zürich 🙂";
  const Ids ids = must_encode(**tokenizer, text, true);
  EXPECT_EQ(ids[0], 1);
  EXPECT_EQ((*tokenizer)->decode(ids, true), text);
  auto hf_text = (*tokenizer)->to_hf_json();
  auto hf = Tokenizer::from_hf_json(*hf_text, "", "hf");
  ASSERT_TRUE(hf.ok()) << hf.message();
  EXPECT_EQ(must_encode(**hf, text, true), ids);
  EXPECT_EQ((*hf)->decode(ids, true), text);
  auto gguf = Tokenizer::from_gguf(*(*tokenizer)->to_gguf(), "gguf");
  ASSERT_TRUE(gguf.ok()) << gguf.message();
  EXPECT_EQ(must_encode(**gguf, text, true), ids);
}

TEST(TokenizerGoldenFiles, EveryModelFolder) {
  const std::string goldens = raison::testing::shared_dir() + "/goldens/";
  size_t found = 0;
  for (const std::string folder : {"deepseek_v2", "deepseek_v2_group", "deepseek_v3", "deepseek_v3_fp8", "kimi_k2", "llama",
                                   "qwen2", "qwen3", "qwen3_moe", "grpo/model"}) {
    const std::string path = goldens + folder + "/tokenizer.json";
    if (!exists(path)) continue;
    ++found;
    auto tokenizer = Tokenizer::from_hf_json(slurp(path), slurp(goldens + folder + "/tokenizer_config.json"), path);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
    EXPECT_TRUE((*tokenizer)->eos().has_value()) << folder;
    const bool words = (*tokenizer)->kind() == "WordLevel";
    const std::string text = words ? "t2 t5 t7" : "Wait, 3 + 4 = 7.\n\n  So é 你好?";
    const Ids ids = must_encode(**tokenizer, text, false);
    EXPECT_EQ((*tokenizer)->decode(ids), text);
    auto again = Tokenizer::from_hf_json(*(*tokenizer)->to_hf_json(), "", "round trip");
    ASSERT_TRUE(again.ok()) << again.message();
    EXPECT_EQ(must_encode(**again, text, true), must_encode(**tokenizer, text, true));
    auto gguf = Tokenizer::from_gguf(*(*tokenizer)->to_gguf(), "gguf");
    ASSERT_TRUE(gguf.ok()) << gguf.message();
    EXPECT_EQ(must_encode(**gguf, text, true), must_encode(**tokenizer, text, true));
    EXPECT_EQ((*gguf)->eos(), (*tokenizer)->eos());
  }
  if (found == 0) GTEST_SKIP() << raison::testing::missing(goldens + "*/tokenizer.json");
}

}  // namespace
}  // namespace raison
