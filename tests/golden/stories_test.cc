// stories260K.gguf against what other engines published: llama.cpp's top logits and llama2.c's greedy text.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "engine/engine.h"
#include "testing/models.h"
#include "testing/shared_data.h"
#include "tokenizer/tokenizer.h"

namespace raison::testing {
namespace {

class Stories : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string folder = shared_dir() + "/refdata/weights/stories260K/";
    auto files = ModelFiles::open(folder + "stories260K.gguf");
    if (!files.ok()) GTEST_SKIP() << "NO SHARED DATA: " << files.message() << "; set RAISON_SHARED";
    folder_ = folder;
    files_ = std::move(files).value();
    auto model = load_model(files_);
    ASSERT_TRUE(model.ok()) << model.message();
    model_ = std::move(model).value();
    auto kernels = select_kernels_from_environment();
    ASSERT_TRUE(kernels.ok()) << kernels.message();
    kernels_ = *kernels;
  }
  std::string folder_;
  ModelFiles files_;
  std::unique_ptr<Model> model_;
  const KernelTable* kernels_ = nullptr;
  ThreadPool pool_{2};
};

TEST_F(Stories, PublishedTopLogits) {
  std::ifstream in(folder_ + "llama_cpp_golden.txt");
  std::vector<int32_t> tokens;
  std::vector<std::vector<std::pair<int, float>>> top;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string word;
    int step = 0, token = 0;
    words >> word >> step >> word >> token >> word;
    if (word != "top") continue;
    tokens.push_back(token);
    top.emplace_back();
    while (words >> word && word.find(':') != std::string::npos)
      top.back().emplace_back(std::stoi(word), std::stof(word.substr(word.find(':') + 1)));
  }
  ASSERT_GE(tokens.size(), 30u);
  auto logits = compute_logits(*model_, pool_, *kernels_, DType::F32, tokens);
  ASSERT_TRUE(logits.ok()) << logits.message();
  const int64_t vocab = model_->info().vocab;
  for (size_t t = 0; t < tokens.size(); ++t) {
    ASSERT_FALSE(top[t].empty());
    const float* row = logits->data() + static_cast<int64_t>(t) * vocab;
    EXPECT_EQ(std::max_element(row, row + vocab) - row, top[t][0].first) << "step " << t;
    for (const auto& [id, value] : top[t]) EXPECT_NEAR(row[id], value, 0.02) << "step " << t << " token " << id;
  }
}

TEST_F(Stories, PublishedGreedyText) {
  const auto expected = nlohmann::json::parse(std::ifstream(folder_ + "expected_greedy_200.json"));
  auto tokenizer = Tokenizer::from_gguf(files_.gguf->metadata(), "stories260K.gguf");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
  Engine engine(*model_, pool_, *kernels_, {.cache_type = DType::F32});
  Request request;
  request.prompt = {1};  // BOS alone
  request.sampling.temperature = 0;
  request.max_tokens = 200;
  auto got = generate(engine, request);
  ASSERT_TRUE(got.ok()) << got.message();
  std::vector<int32_t> ids = {1};
  ids.insert(ids.end(), got->tokens.begin(), got->tokens.end());
  const std::string text = (*tokenizer)->decode(ids, true);
  std::string want = expected.at("expected_stdout").get<std::string>();
  if (!want.empty() && want.back() == '\n') want.pop_back();
  EXPECT_EQ(text, want);
}

}  // namespace
}  // namespace raison::testing
