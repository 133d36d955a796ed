// logits, tokenize, render, perplexity, inspect: what whoever compares engines uses.
#include <cmath>
#include <nlohmann/json.hpp>

#include "e2e/cli_fixture.h"
#include "io/safetensors.h"
#include "io/tensor_read.h"

namespace raison::testing {
namespace {

class Tools : public Cli {};

std::string last_line(const std::string& text) {
  const size_t end = text.find_last_not_of('\n');
  return text.substr(text.rfind('\n', end) + 1, end - text.rfind('\n', end));
}

TEST_F(Tools, LogitsAreWrittenAndReadBackAsTheGoldenSays) {
  const auto golden = SafetensorsFile::open(golden_model("qwen2") + "/golden.safetensors");
  ASSERT_TRUE(golden.ok()) << golden.message();
  const auto tokens = read_i32(*(*golden)->find("prompt.3.tokens"));
  const auto expected = read_f32(*(*golden)->find("prompt.3.logits"));
  ASSERT_TRUE(tokens.ok() && expected.ok());
  std::string list;
  for (int32_t t : *tokens) list += std::to_string(t) + ",";
  spill(path("ids.txt"), list);
  for (const char* chunk : {"7", "1000"}) {
    const RunResult r = raison(
        {"logits", golden_model("qwen2"), "--tokens", path("ids.txt"), "--out", path("l.safetensors"), "--chunk", chunk});
    ASSERT_EQ(r.code, 0) << r.err;
    const auto out = SafetensorsFile::open(path("l.safetensors"));
    ASSERT_TRUE(out.ok()) << out.message();
    const auto logits = read_f32(*(*out)->find("logits"));
    ASSERT_TRUE(logits.ok());
    EXPECT_EQ((*out)->find("logits")->shape, (std::vector<int64_t>{static_cast<int64_t>(tokens->size()), 512}));
    EXPECT_EQ(*read_i32(*(*out)->find("tokens")), *tokens);
    ASSERT_EQ(logits->size(), expected->size());
    double worst = 0;
    for (size_t i = 0; i < logits->size(); ++i) worst = std::max(worst, std::fabs(double{(*logits)[i]} - (*expected)[i]));
    EXPECT_LT(worst, 1e-4);
  }
  // The file it wrote serves as the list too.
  const RunResult again = raison({"logits", golden_model("qwen2"), "--tokens", path("l.safetensors")});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(line_count(again.out), static_cast<int64_t>(tokens->size()) + 1);
}

TEST_F(Tools, LogitsTableNamesTheBest) {
  const RunResult r = raison({"logits", stories(), "--tokens", "1"});
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find("Once"), std::string::npos) << r.out;  // "Once upon a time" begins every story
  const RunResult shifted = raison({"logits", stories(), "--tokens", "1", "--position-offset", "1000"});
  EXPECT_EQ(shifted.code, 0) << shifted.err;
}

TEST_F(Tools, TokenizeAndBack) {
  const RunResult ids = raison({"tokenize", stories(), "Once upon a time", "--ids"});
  ASSERT_EQ(ids.code, 0) << ids.err;
  EXPECT_EQ(ids.out.rfind("1,", 0), 0u) << ids.out;  // BOS first
  RunSettings s;
  s.input = "Once upon a time\n";
  EXPECT_EQ(raison({"tokenize", stories(), "--ids"}, s).out, ids.out);
  const RunResult plain = raison({"tokenize", stories(), "Once upon a time", "--ids", "--no-special"});
  EXPECT_EQ("1," + plain.out, ids.out);
  const RunResult text = raison({"tokenize", stories(), "--decode", ids.out, "--no-special"});
  EXPECT_EQ(text.out, "Once upon a time\n");
  const auto json = nlohmann::json::parse(raison({"tokenize", golden_model("llama"), "Hello", "--json"}).out, nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["ids"].size(), json["count"].get<size_t>());
  EXPECT_EQ(json["ids"].size(), json["pieces"].size());
}

TEST_F(Tools, RenderShowsTheTemplatesPrompt) {
  const RunResult r = raison({"render", golden_model("qwen2"), "-p", "Hello"});
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out, "<|bos|><|user|>Hello<|assistant|><think>\n");
  EXPECT_EQ(raison({"render", golden_model("qwen2"), "-p", "Hello", "--no-generation-prompt"}).out, "<|bos|><|user|>Hello");
  spill(path("m.json"), R"([{"role":"system","content":"S"},{"role":"user","content":"A"},)"
                        R"({"role":"assistant","content":"x</think>B"},{"role":"user","content":"C"}])");
  EXPECT_EQ(raison({"render", golden_model("qwen2"), "--messages", path("m.json")}).out,
            "<|bos|>S<|user|>A<|assistant|>B<|eos|><|user|>C<|assistant|><think>\n");
}

TEST_F(Tools, PerplexityIsTheMeanOfTheLogits) {
  spill(path("story.txt"), "Once upon a time, there was a little girl named Lily. She loved to play outside in the park.");
  const RunResult r = raison({"perplexity", stories(), path("story.txt")});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find("cache f32"), std::string::npos) << r.out;
  double nll = 0, perplexity = 0;
  ASSERT_EQ(sscanf(last_line(r.out).c_str(), "NLL per token %lf, perplexity %lf", &nll, &perplexity), 2) << r.out;
  EXPECT_NEAR(std::exp(nll), perplexity, 1e-3);
  EXPECT_GT(perplexity, 1.0);
  EXPECT_LT(perplexity, 6.0);  // its own kind of text
  const RunResult windows = raison({"perplexity", stories(), path("story.txt"), "--ctx", "10"});
  ASSERT_EQ(windows.code, 0) << windows.err;
  EXPECT_GT(line_count(windows.out), 4) << windows.out;
  // Other figure, but from the same number of scored tokens: a BOS stands before every window.
  EXPECT_EQ(last_line(windows.out).substr(last_line(windows.out).find("over")),
            last_line(r.out).substr(last_line(r.out).find("over")));
}

TEST_F(Tools, InspectNamesGguf) {
  const RunResult r = raison({"inspect", stories()});
  ASSERT_EQ(r.code, 0) << r.err;
  for (const char* word : {"Llama", "GGUF v3", "F32", "512", "SentencePiece-BPE"})
    EXPECT_NE(r.out.find(word), std::string::npos) << word << "\n" << r.out;
  const auto j = nlohmann::json::parse(raison({"inspect", stories(), "--json"}).out, nullptr, false);
  ASSERT_TRUE(j.is_object());
  EXPECT_EQ(j["architecture"], "llama");
  EXPECT_EQ(j["layers"], 5);
  EXPECT_EQ(j["query_heads"], 8);
  EXPECT_EQ(j["kv_heads"], 4);
  EXPECT_EQ(j["context_length"], 2048);
  EXPECT_FALSE(j["chat_template"]["present"].get<bool>());
  EXPECT_EQ(j["disk_bytes"], std::filesystem::file_size(stories()));
}

TEST_F(Tools, InspectFoldersFilesAndTokenizers) {
  for (const auto& entry : std::filesystem::directory_iterator(shared_dir() + "/goldens")) {
    if (!std::filesystem::exists(entry.path() / "config.json")) continue;
    const RunResult r = raison({"inspect", entry.path().string(), "--json"});
    ASSERT_EQ(r.code, 0) << entry.path() << r.err;  // also of architectures that cannot run yet
    const auto j = nlohmann::json::parse(r.out, nullptr, false);
    ASSERT_TRUE(j.is_object()) << r.out;
    EXPECT_GT(j["parameters"].get<int64_t>(), 1000) << entry.path();
    EXPECT_TRUE(j["supported"].get<bool>() || j.contains("unsupported")) << entry.path();
    EXPECT_EQ(raison({"inspect", entry.path().string()}).code, 0);
  }
  const auto thinks = nlohmann::json::parse(raison({"inspect", golden_model("qwen2"), "--json"}).out);
  EXPECT_TRUE(thinks["chat_template"]["prompt_opens_thought"].get<bool>());
  EXPECT_TRUE(thinks["tokenizer"]["think_tokens"].get<bool>());
  const RunResult tensors = raison({"inspect", golden_model("qwen2") + "/model.safetensors"});
  EXPECT_EQ(tensors.code, 0) << tensors.err;
  EXPECT_NE(tensors.out.find("BF16"), std::string::npos) << tensors.out;
  std::filesystem::copy_file(golden_model("llama") + "/tokenizer.json", path("tokenizer.json"));
  const RunResult tokenizer = raison({"inspect", folder_});
  EXPECT_EQ(tokenizer.code, 0) << tokenizer.err;
  EXPECT_NE(tokenizer.out.find("tokenizer folder"), std::string::npos) << tokenizer.out;
  EXPECT_EQ(raison({"tokenize", folder_, "Hello"}).code, 0);
}

}  // namespace
}  // namespace raison::testing
