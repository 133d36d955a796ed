// Adapters through the program: taught, killed and taught further, used unmerged by every command, merged into either format.
#include <cmath>
#include <nlohmann/json.hpp>

#include "e2e/cli_fixture.h"
#include "io/safetensors.h"
#include "io/tensor_read.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {
namespace fs = std::filesystem;

constexpr const char* kBase = RAISON_SOURCE_DIR "/models/countdown-base";
constexpr const char* kLoraRecipe = R"(kind = "sft"
seed = 5
steps = 40
[model]
path = ")" RAISON_SOURCE_DIR R"(/models/countdown-base"
weights = "q8_0"
[lora]
r = 4
[data]
train = ")" RAISON_SOURCE_DIR R"(/recipes/sft-example.jsonl"
[batch]
tokens = 256
[optimizer]
lr = 5e-3
[checkpoint]
every = 2
)";

class AdapterCli : public ::testing::Test {
 protected:
  void SetUp() override {
    recipe_ = dir_.write("lora.toml", kLoraRecipe);
    const RunResult r = raison({"train", "sft", recipe_, "--out", dir_ / "run"});
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_NE(r.out.find("adapter in " + adapter()), std::string::npos) << r.out;
  }
  std::string adapter() const { return dir_ / "run/adapter"; }
  std::vector<float> logits(const std::string& model, std::vector<std::string> more = {}) {
    std::vector<std::string> args = {"logits", model, "--tokens", "1,15,6,20,9,33,4,12", "--out", dir_ / "l.safetensors"};
    args.insert(args.end(), more.begin(), more.end());
    const RunResult r = raison(args);
    EXPECT_EQ(r.code, 0) << r.err;
    if (r.code != 0) return {};
    const auto out = SafetensorsFile::open(dir_ / "l.safetensors");
    EXPECT_TRUE(out.ok()) << out.message();
    return read_f32(*(*out)->find("logits")).value();
  }
  static double apart(const std::vector<float>& a, const std::vector<float>& b) {
    if (a.size() != b.size() || a.empty()) return INFINITY;
    double worst = 0;
    for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::fabs(double{a[i]} - double{b[i]}));
    return worst;
  }
  TempDir dir_;
  std::string recipe_;
};

TEST_F(AdapterCli, MergedAnswersAsUnmergedInEitherFormat) {
  const auto base = logits(kBase), unmerged = logits(kBase, {"--adapter", adapter()});
  EXPECT_GT(apart(base, unmerged), 0.5);
  EXPECT_EQ(unmerged, logits(kBase, {"--adapter", adapter(), "--chunk", "3", "--threads", "2"}));
  const std::string folder = dir_ / "merged", gguf = dir_ / "merged.gguf", q8 = dir_ / "merged-q8.gguf";
  for (const auto& [out, type] : {std::pair{folder, "F32"}, {gguf, "f32"}, {q8, "Q8_0"}}) {
    const RunResult r = raison({"merge", kBase, adapter(), out, "--type", type});
    ASSERT_EQ(r.code, 0) << r.err;
  }
  EXPECT_LE(apart(unmerged, logits(folder)), 1e-4);
  EXPECT_LE(apart(unmerged, logits(gguf)), 1e-4);
  EXPECT_LE(apart(unmerged, logits(q8)), 2);
  EXPECT_TRUE(fs::exists(folder + "/tokenizer.json"));
  // A merged model is a base like others, and a GGUF takes an adapter too.
  ASSERT_EQ(raison({"merge", gguf, adapter(), dir_ / "twice.gguf", "--type", "F32"}).code, 0);
  EXPECT_GT(apart(unmerged, logits(dir_ / "twice.gguf")), 0.1);
}

TEST_F(AdapterCli, EveryCommandThatAnswersTakesIt) {
  const std::vector<std::string> ask = {"run", kBase, "-p", "2 5 7 -> 10", "--temp", "0"};
  auto with = ask;
  with.insert(with.end(), {"--adapter", adapter()});
  const RunResult plain = raison(ask), adapted = raison(with);
  ASSERT_EQ(plain.code, 0) << plain.err;
  ASSERT_EQ(adapted.code, 0) << adapted.err;
  EXPECT_NE(plain.out, adapted.out);
  ASSERT_EQ(raison({"merge", kBase, adapter(), dir_ / "merged", "--type", "F32"}).code, 0);
  auto merged = ask;
  merged[1] = dir_ / "merged";
  EXPECT_EQ(raison(merged).out, adapted.out);

  const std::string prompts = dir_.write("p.jsonl", "{\"prompt\": \"2 5 7 -> 10\"}\n{\"prompt\": \"1 2 3 -> 6\"}\n");
  const std::vector<std::string> draw = {"generate", kBase, prompts,     "-o",     dir_ / "s.jsonl",
                                         "--temp",   "0",   "--adapter", adapter()};
  const RunResult drawn = raison(draw);
  ASSERT_EQ(drawn.code, 0) << drawn.err;
  const auto first = nlohmann::json::parse(slurp(dir_ / "s.jsonl").substr(0, slurp(dir_ / "s.jsonl").find('\n')));
  EXPECT_NE(adapted.out.find(first.at("answer").get<std::string>()), std::string::npos);

  const RunResult eval =
      raison({"eval", kBase, "countdown", "--samples", "8", "--adapter", adapter(), "--json", dir_ / "e.json"});
  const RunResult base_eval = raison({"eval", kBase, "countdown", "--samples", "8", "--json", dir_ / "b.json"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  ASSERT_EQ(base_eval.code, 0) << base_eval.err;
  EXPECT_EQ(nlohmann::json::parse(slurp(dir_ / "e.json")).at("adapter"), adapter());
  const auto length = [&](const char* file) { return nlohmann::json::parse(slurp(dir_ / file)).at("sampled").dump(); };
  EXPECT_NE(length("e.json"), length("b.json"));

  dir_.write("text.txt", "2 5 7 -> 10");
  const RunResult a = raison({"perplexity", kBase, dir_ / "text.txt"});
  const RunResult b = raison({"perplexity", kBase, dir_ / "text.txt", "--adapter", adapter()});
  ASSERT_EQ(b.code, 0) << b.err;
  EXPECT_NE(a.out, b.out);
}

TEST_F(AdapterCli, KilledAndResumedIsTheSameFile) {
  const std::vector<std::string> args = {RAISON_BINARY,   "train",    "sft",       recipe_, "--out",
                                         dir_ / "killed", "--resume", "--threads", "1"};
  int kills = 0;
  for (; kills < 3 && !fs::exists(dir_ / "killed/adapter"); ++kills) {
    const std::string before = timeless(dir_ / "killed/metrics.jsonl");
    const pid_t child = start_quietly(args);
    ASSERT_GE(child, 0);
    for (int i = 0; i < 60000 && timeless(dir_ / "killed/metrics.jsonl").size() <= before.size(); ++i) usleep(1000);
    kill(child, SIGKILL);
    wait_status(child);
  }
  const RunResult rest = run_program(args);
  ASSERT_EQ(rest.code, 0) << rest.err;
  for (const char* file : {"adapter/adapter_model.safetensors", "adapter/adapter_config.json"})
    EXPECT_EQ(slurp(dir_ / ("run/" + std::string(file))), slurp(dir_ / ("killed/" + std::string(file)))) << file;
  EXPECT_FALSE(fs::exists(dir_ / "killed/model"));
}

TEST_F(AdapterCli, RefusalsAreOneLine) {
  dir_.write("empty.gguf", "");
  for (const auto& [args, says] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"logits", kBase, "--tokens", "1,2", "--adapter", dir_ / "nowhere"}, "adapter_config.json is missing"},
           {{"run", kBase, "-p", "x", "--adapter", kBase}, "adapter_config.json is missing"},
           {{"merge", kBase, dir_ / "nowhere", dir_ / "out"}, "adapter_config.json is missing"},
           {{"merge", kBase, adapter(), dir_ / "out", "--type", "Q4_K_M"}, "a folder holds"},
           {{"merge", kBase, adapter(), dir_ / "out", "--force"}, "--force is for a GGUF"},
           {{"merge", kBase, adapter(), dir_ / "run"}, "is there already"},
           {{"merge", kBase, adapter(), dir_ / "empty.gguf"}, "is there already"},
           {{"merge", kBase, adapter(), dir_ / "out", "--type", "tiny"}, "is not known"}}) {
    const RunResult r = raison(args);
    EXPECT_EQ(r.code, 1) << says;
    EXPECT_EQ(line_count(r.err), 1) << r.err;
    EXPECT_NE(r.err.find(says), std::string::npos) << r.err;
    EXPECT_EQ(r.out, "");
    EXPECT_FALSE(fs::exists(dir_ / "out"));
  }
}

}  // namespace
}  // namespace raison::testing
