// quantize and convert through the program: a model in another format gives the same answers.
#include <cmath>
#include <nlohmann/json.hpp>

#include "e2e/cli_fixture.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "io/tensor_read.h"

namespace raison::testing {
namespace {
namespace fs = std::filesystem;

class Convert : public Cli {
 protected:
  std::vector<float> logits(const std::string& model, const std::string& tokens) {
    const RunResult r = raison({"logits", model, "--tokens", tokens, "--out", path("l.safetensors")});
    EXPECT_EQ(r.code, 0) << model << ": " << r.err;
    if (r.code != 0) return {};
    const auto out = SafetensorsFile::open(path("l.safetensors"));
    EXPECT_TRUE(out.ok()) << out.message();
    return read_f32(*(*out)->find("logits")).value();
  }
  static double distance(const std::vector<float>& a, const std::vector<float>& b) {
    if (a.size() != b.size()) return INFINITY;
    double worst = 0;
    for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::fabs(double{a[i]} - b[i]));
    return worst;
  }
  std::string one_line(const RunResult& r) {
    EXPECT_EQ(line_count(r.err), 1) << r.err;
    EXPECT_EQ(r.out, "");
    return r.err;
  }
};

const char* kTokens = "0,2,70,300,41,41,5,511,17,3,88,9,140,260,33,6,6,6,402,12";

TEST_F(Convert, EveryModelAnswersTheSameInEitherFormat) {
  int ran = 0;
  for (const auto& entry : fs::directory_iterator(shared_dir() + "/goldens")) {
    if (!fs::exists(entry.path() / "config.json")) continue;
    const std::string folder = entry.path(), name = entry.path().filename();
    SCOPED_TRACE(folder);
    const RunResult there = raison({"quantize", folder, path(name + ".gguf"), "--type", "F32"});
    ASSERT_EQ(there.code, 0) << there.err;
    const RunResult back = raison({"convert", path(name + ".gguf"), path(name), "--dtype", "f32"});
    ASSERT_EQ(back.code, 0) << back.err;
    const auto want = logits(folder, kTokens);
    const auto in_gguf = logits(path(name + ".gguf"), kTokens), in_folder = logits(path(name), kTokens);
    ASSERT_FALSE(want.empty());
    ++ran;
    EXPECT_LT(distance(in_gguf, want), 1e-4);
    EXPECT_LT(distance(in_folder, want), 1e-4);
    // The smaller types load and run too; how near they are is a matter of the model.
    ASSERT_EQ(raison({"quantize", folder, path("q.gguf"), "--type", "Q8_0", "--force"}).code, 0);
    const auto q8 = logits(path("q.gguf"), kTokens);
    EXPECT_EQ(q8.size(), want.size());
    EXPECT_TRUE(std::all_of(q8.begin(), q8.end(), [](float v) { return std::isfinite(v); }));
  }
  EXPECT_GE(ran, 1);
}

TEST_F(Convert, ARealGgufBecomesAFolderAndIsQuantised) {
  const std::string tokens = "1,403,407,261,378,432,408,300,261,401";
  const auto want = logits(stories(), tokens);
  ASSERT_FALSE(want.empty());
  ASSERT_EQ(raison({"convert", stories(), path("stories"), "--dtype", "f32"}).code, 0);
  EXPECT_EQ(logits(path("stories"), tokens), want);
  const auto text = [&](const std::string& model) { return raison({"tokenize", model, "Once upon a time, Lily", "--ids"}); };
  EXPECT_EQ(text(path("stories")).out, text(stories()).out);
  const RunResult q8 = raison({"quantize", stories(), path("q8.gguf"), "--type", "q8_0"});
  ASSERT_EQ(q8.code, 0) << q8.err;
  EXPECT_NE(q8.out.find("Q8_0"), std::string::npos) << q8.out;
  EXPECT_LT(fs::file_size(path("q8.gguf")), fs::file_size(stories()) / 3);
  EXPECT_LT(distance(logits(path("q8.gguf"), tokens), want), 1.0);
  EXPECT_NE(logits(path("q8.gguf"), tokens), want);
  const auto metadata = GgufFile::open(path("q8.gguf")).value()->metadata();
  EXPECT_EQ(metadata.integer("general.file_type"), 7);
}

TEST_F(Convert, RefusalsAreOneLineAndLeaveNothing) {
  const auto left = [&] { return std::distance(fs::directory_iterator(folder_), {}); };
  RunResult r = raison({"quantize", golden_model("qwen2"), path("a.gguf"), "--type", "IQ2_XXS"});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(one_line(r).find("importance matrix"), std::string::npos) << r.err;
  r = raison({"quantize", golden_model("qwen2"), path("a.gguf"), "--type", "Q4"});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(one_line(r).find("Q4_K_M"), std::string::npos) << r.err;
  r = raison({"quantize", path("nowhere"), path("a.gguf"), "--type", "Q4_0"});
  EXPECT_EQ(r.code, 1);
  one_line(r);
  r = raison({"quantize", golden_model("qwen2"), path("no/such/a.gguf"), "--type", "Q4_0"});
  EXPECT_EQ(r.code, 1);
  one_line(r);
  r = raison({"convert", golden_model("qwen2"), path("a")});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(one_line(r).find("raison quantize"), std::string::npos) << r.err;
  EXPECT_EQ(raison({"quantize", golden_model("qwen2"), path("a.gguf")}).code, 2);
  EXPECT_EQ(raison({"convert", stories(), path("a"), "--dtype", "q8_0"}).code, 2);
  EXPECT_EQ(left(), 0);
  spill(path("a.gguf"), "mine");
  r = raison({"quantize", stories(), path("a.gguf"), "--type", "Q8_0"});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(one_line(r).find("--force"), std::string::npos) << r.err;
  EXPECT_EQ(slurp(path("a.gguf")), "mine");
  EXPECT_EQ(raison({"quantize", stories(), path("a.gguf"), "--type", "Q8_0", "--force"}).code, 0);
  EXPECT_EQ(left(), 1);
}

}  // namespace
}  // namespace raison::testing
