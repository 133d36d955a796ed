// Ids and texts against Hugging Face's tokenizers (goldens/tokenizers) and llama.cpp's vocabulary tests.
#include <chrono>

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

class TokenizerGolden : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    goldens_ = raison::testing::shared_dir() + "/goldens/tokenizers/";
    if (!exists(goldens_ + std::string(GetParam()) + ".jsonl"))
      GTEST_SKIP() << raison::testing::missing(goldens_ + std::string(GetParam()) + ".jsonl");
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
  EXPECT_EQ(cases, 24u);
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGolden,
                         ::testing::Values("deepseek-r1", "deepseek-v3", "qwen2", "qwen3", "llama3", "r1-distill-qwen"),
                         [](const auto& param) {
                           std::string name = param.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
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

TEST(TokenizerGoldenFiles, SpeedSlow) {
  const std::string inputs = raison::testing::shared_dir() + "/refdata/tokenizers/goldens-kitoken/";
  if (!exists(inputs + "mixed_input.txt")) GTEST_SKIP() << raison::testing::missing(inputs + "mixed_input.txt");
  auto tokenizer = golden_tokenizer("deepseek-r1");
  ASSERT_TRUE(tokenizer.ok());
  std::string text = slurp(inputs + "small_input.txt");
  while (text.size() < 8'000'000) text += slurp(inputs + "small_input.txt") + slurp(inputs + "mixed_input.txt");
  const auto start = std::chrono::steady_clock::now();
  const Ids ids = must_encode(**tokenizer, text, false);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double speed = static_cast<double>(text.size()) / 1e6 / seconds;
  RecordProperty("MB_per_s", std::to_string(speed));
  printf("deepseek-r1: %.1f MB/s, %.2f bytes a token\n", speed,
         static_cast<double>(text.size()) / static_cast<double>(ids.size()));
  EXPECT_GT(speed, 1.0);  // loose: machines under test are shared
}

// kitoken's own ids for larger texts.
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
  const std::string folder = raison::testing::shared_dir() + "/refdata/tokenizers/llama.cpp/ggml-vocab-";
  if (!exists(folder + "llama-spm.gguf")) GTEST_SKIP() << raison::testing::missing(folder + "llama-spm.gguf");
  for (const std::string name : {"llama-spm", "gpt-2", "deepseek-coder"}) {
    const std::string path = folder + name + ".gguf";
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
