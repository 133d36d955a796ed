// Recipes: what is read, and one line for everything that is wrong with one.
#include "train/recipe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>

namespace raison {
namespace {

const char kGood[] = R"(
kind = "pretrain"
seed = 7
steps = 100
out = "runs/x"
recompute = true
cache_type = "bf16"
[model]
tokenizer = "tok"
[model.config]
model_type = "llama"
hidden_size = 32
rope_parameters = { rope_theta = 1e4, list = [1, 2.5, true] }
[model.init]
residual_scale = 0.05
embedding_std = 0.05
[data]
train = "a.jsonl"
valid = ["b.jsonl", "c.jsonl"]
max_length = 64
[batch]
tokens = 128
accumulation = 3
[optimizer]
lr = 2e-3
betas = [0.9, 0.95]
weight_decay = 0.01
decay = "matrices"
[schedule]
name = "cosine"
warmup = 10
[checkpoint]
every = 20
keep_last = 5
[validation]
every = 10
)";

TEST(Recipe, ReadsEverySection) {
  const auto r = parse_recipe(kGood, "good.toml");
  ASSERT_TRUE(r.ok()) << r.message();
  EXPECT_EQ(r->kind, TrainKind::Pretrain);
  EXPECT_EQ(r->seed, 7u);
  EXPECT_EQ(r->steps, 100);
  EXPECT_TRUE(r->recompute);
  EXPECT_EQ(r->cache_type, DType::BF16);
  EXPECT_EQ(r->model.config["hidden_size"], 32);
  EXPECT_EQ(r->model.config["rope_parameters"]["list"], nlohmann::json::parse("[1, 2.5, true]"));
  EXPECT_EQ(r->model.init.residual_scale, 0.05);
  EXPECT_EQ(r->data.train, std::vector<std::string>{"a.jsonl"});
  EXPECT_EQ(r->data.valid.size(), 2u);
  EXPECT_EQ(r->data.loss, "all");  // of pretraining
  EXPECT_EQ(r->batch.accumulation, 3);
  EXPECT_EQ(r->optimizer.beta2, 0.95);
  EXPECT_EQ(r->optimizer.decay, "matrices");
  EXPECT_EQ(r->schedule.warmup, 10);
  EXPECT_EQ(r->checkpoint_dir, "runs/x/checkpoints");
  EXPECT_EQ(r->keep_last, 5);
}

TEST(Recipe, ReadsNothingFromAMissingFile) {
  const auto r = read_recipe("/nonexistent/recipe.toml");
  ASSERT_FALSE(r.ok());
  EXPECT_NE(r.message().find("/nonexistent/recipe.toml"), std::string::npos);
}

struct Bad {
  const char* name;
  const char* find;  // replaced in kGood by
  const char* replace;
  const char* says;  // part of the message
};

class BadRecipe : public ::testing::TestWithParam<Bad> {};

TEST_P(BadRecipe, IsOneLineWithFileAndKey) {
  std::string text = kGood;
  const size_t at = text.find(GetParam().find);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, std::string(GetParam().find).size(), GetParam().replace);
  const auto r = parse_recipe(text, "bad.toml");
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.message().rfind("bad.toml", 0), 0u) << r.message();
  EXPECT_NE(r.message().find(GetParam().says), std::string::npos) << r.message();
  EXPECT_EQ(r.message().find('\n'), std::string::npos) << r.message();
  EXPECT_LT(r.message().size(), 400u);
}

INSTANTIATE_TEST_SUITE_P(
    All, BadRecipe,
    ::testing::Values(
        Bad{"NotToml", "steps = 100", "steps = = 100", "bad.toml:4: not valid TOML"},
        Bad{"UnclosedString", "out = \"runs/x\"", "out = \"runs/x", "not valid TOML"},
        Bad{"DuplicateKey", "steps = 100", "steps = 100\nsteps = 5", "not valid TOML"},
        Bad{"NotUtf8", "runs/x", "runs/\xff\xfe", "not valid UTF-8"},
        Bad{"UnknownTopKey", "seed = 7", "sead = 7", "bad.toml:3: sead: unknown key"},
        Bad{"UnknownSection", "[validation]", "[validaton]", "validaton: unknown key"},
        Bad{"UnknownKeyInSection", "lr = 2e-3", "rate = 2e-3", "optimizer.rate: unknown key"},
        Bad{"NoKind", "kind = \"pretrain\"", "", "kind: is missing"}, Bad{"NoSteps", "steps = 100", "", "steps: is missing"},
        Bad{"OddKind", "\"pretrain\"", "\"grow\"", "must be one of: pretrain, sft"},
        Bad{"KindOfWrongType", "\"pretrain\"", "3", "kind: must be a string"},
        Bad{"StepsZero", "steps = 100", "steps = 0", "steps: is 0"},
        Bad{"StepsNegative", "steps = 100", "steps = -5", "steps: is -5"},
        Bad{"StepsFloat", "steps = 100", "steps = 1.5", "steps: must be an integer"},
        Bad{"StepsOverflow", "steps = 100", "steps = 99999999999999999999", "not valid TOML"},
        Bad{"SeedNegative", "seed = 7", "seed = -1", "seed: is -1"},
        Bad{"RecomputeAsString", "recompute = true", "recompute = \"yes\"", "recompute: must be true or false"},
        Bad{"OddCacheType", "\"bf16\"", "\"int4\"", "cache_type"}, Bad{"RateNan", "lr = 2e-3", "lr = nan", "optimizer.lr"},
        Bad{"RateInfinite", "lr = 2e-3", "lr = inf", "optimizer.lr"},
        Bad{"RateNegative", "lr = 2e-3", "lr = -1.0", "optimizer.lr"},
        Bad{"BetaOne", "[0.9, 0.95]", "[0.9, 1.0]", "optimizer.betas"},
        Bad{"ThreeBetas", "[0.9, 0.95]", "[0.9, 0.95, 0.99]", "array of 2 numbers"},
        Bad{"DecayTimesRate", "lr = 2e-3\nbetas = [0.9, 0.95]\nweight_decay = 0.01", "lr = 1.0\nweight_decay = 2.0",
            "weight_decay"},
        Bad{"OptimizerNoTable", "[optimizer]\nlr = 2e-3\nbetas = [0.9, 0.95]\nweight_decay = 0.01\ndecay = \"matrices\"",
            "[[optimizer]]", "optimizer: must be a table"},
        Bad{"TokensAndSequences", "tokens = 128", "tokens = 128\nsequences = 4", "exclude each other"},
        Bad{"NoBatchSize", "tokens = 128", "", "needs tokens or sequences"},
        Bad{"AccumulationZero", "accumulation = 3", "accumulation = 0", "batch.accumulation"},
        Bad{"WarmupTooLong", "warmup = 10", "warmup = 101", "longer than the 100 steps"},
        Bad{"OddSchedule", "\"cosine\"", "\"sine\"", "schedule.name"},
        Bad{"DecayStepsOfCosine", "warmup = 10", "warmup = 10\ndecay_steps = 5", "schedule.decay_steps"},
        Bad{"DecayStepsMissing", "\"cosine\"", "\"wsd\"", "schedule.decay_steps: is missing"},
        Bad{"ConfigHoldsADate", "model_type = \"llama\"", "model_type = \"llama\"\nhidden_act = 2024-05-06",
            "bad.toml:12: model.config.hidden_act: is a date"},
        Bad{"ConfigHoldsATimeDeepDown", "list = [1,", "list = [07:32:00,",
            "bad.toml:13: model.config.rope_parameters.list: is a date"},
        Bad{"ConfigHoldsNan", "rope_theta = 1e4", "rope_theta = nan", "rope_parameters.rope_theta: must be a finite number"},
        Bad{"KeepNone", "keep_last = 5", "keep_last = 0", "checkpoint.keep_last"},
        Bad{"NoData", "train = \"a.jsonl\"", "", "needs task or train"},
        Bad{"UnknownTask", "train = \"a.jsonl\"", "task = \"chess\"", "data.task"},
        Bad{"TaskAndFiles", "train = \"a.jsonl\"", "train = \"a.jsonl\"\ntask = \"countdown\"", "makes its own data"},
        Bad{"TrainOfNumbers", "\"a.jsonl\"", "[1, 2]", "data.train"},
        Bad{"PathAndConfig", "tokenizer = \"tok\"", "path = \"m\"", "model.config"},
        Bad{"NoTokenizer", "tokenizer = \"tok\"", "", "needs model.tokenizer"},
        Bad{"ValidationWithoutData", "valid = [\"b.jsonl\", \"c.jsonl\"]", "", "data.valid"},
        Bad{"LengthOne", "max_length = 64", "max_length = 1", "data.max_length"}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

std::string repeated(const std::string& part, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += part;
  return out;
}

TEST(Recipe, DeepNestingIsRefused) {
  const std::string keys = repeated("a.", 50000) + "a", quoted = repeated("\"a\" . ", 50000) + "'b'";
  const std::pair<std::string, const char*> files[] = {
      {"\n" + keys + " = 1\n", "bad.toml:2: a key of more than 32 parts"},
      {"[" + keys + "]\n", "bad.toml:1: a key of more than 32 parts"},
      {"x = '''\n\n'''\n" + quoted + " = 1\n", "bad.toml:4: a key of more than 32 parts"},
      {"x = {" + keys + " = 1}\n", "bad.toml:1: a key of more than 32 parts"},
      {"x = " + repeated("[", 50000), "bad.toml:1: more than 32 brackets"},
      {"x = " + repeated("{a=", 50000), "bad.toml:1: more than 32 brackets"},
  };
  for (const auto& [text, says] : files) {
    const auto r = parse_recipe(text, "bad.toml");
    ASSERT_FALSE(r.ok()) << says;
    EXPECT_EQ(r.message().rfind(says, 0), 0u) << r.message().substr(0, 200);
  }
  // Dots and brackets in strings and comments are no nesting.
  const std::string dots = repeated("[.", 60);
  const auto fine = parse_recipe(
      std::string(kGood) + "# " + dots + "\n[log]\nevery = 2 # " + dots + "\n", "good.toml",
      {"out=\"" + dots + "\\\"" + dots + "\"", "model.tokenizer='''" + dots + "\n''" + dots + "'''", "checkpoint.dir=" + dots});
  ASSERT_TRUE(fine.ok()) << fine.message();
  EXPECT_EQ(fine->out, dots + "\"" + dots);
  EXPECT_EQ(fine->checkpoint_dir, dots);
}

TEST(Recipe, ThoseOfTheRepositoryAreRead) {
  for (const char* name : {"countdown-base", "countdown-zero", "countdown-tries-base", "countdown-tries-zero",
                           "countdown-four-base", "countdown-four-zero", "sft-example"}) {
    const auto r = read_recipe(std::string(RAISON_SOURCE_DIR "/recipes/") + name + ".toml");
    ASSERT_TRUE(r.ok()) << r.message();
    EXPECT_EQ(r->out, std::string("runs/") + name);
  }
}

// Every key there is stands in the example, in force or as a comment, in its own section.
// "section.key" of the lines of a recipe, of those commented out too.
void add_explained(const std::string& path, std::set<std::string>* explained) {
  std::ifstream in(path);
  std::string section;
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("# ", 0) == 0) line = line.substr(2);
    const size_t begin = line.find_first_not_of('['), equals = line.find(" = "), end = line.find(']');
    if (line[0] == '[' && end != std::string::npos) {
      section = line.substr(begin, end - begin) + ".";
      explained->insert(line.substr(begin, end - begin));
    } else if (equals != std::string::npos) {
      explained->insert(section + line.substr(0, equals));
    }
  }
}

TEST(Recipe, TheExamplesExplainEveryKey) {
  std::set<std::string> explained;
  for (const char* name : {"sft", "grpo"}) {
    const std::string path = RAISON_SOURCE_DIR "/recipes/" + std::string(name) + "-example.toml";
    add_explained(path, &explained);
    const auto r = read_recipe(path);
    ASSERT_TRUE(r.ok()) << r.message();
    Recipe with_lora = *r;
    with_lora.lora.on = true;
    with_lora.model.weights = DType::Q8_0;
    const auto all = recipe_json(with_lora);
    for (const auto& item : all.items()) EXPECT_TRUE(explained.count(item.key())) << name << ": " << item.key();
  }
}

TEST(Recipe, SettingsOverTheFile) {
  const auto r = parse_recipe(kGood, "good.toml",
                              {"steps=300", "optimizer.lr=1e-4", "out=runs/a b", "data.train=[\"x\", \"y\"]", "log.every=5",
                               "data.valid=\"v.jsonl\"\nseed = 9"});
  ASSERT_TRUE(r.ok()) << r.message();
  EXPECT_EQ(r->steps, 300);
  EXPECT_EQ(r->optimizer.lr, 1e-4);
  EXPECT_EQ(r->out, "runs/a b");
  EXPECT_EQ(r->data.train, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(r->log_every, 5);
  EXPECT_EQ(r->seed, 7u);
  EXPECT_EQ(r->data.valid, std::vector<std::string>{"\"v.jsonl\"\nseed = 9"});  // plain text, for what it is worth
}

// The file keeps its line numbers; a setting has none.
TEST(Recipe, FaultsBesideSettingsNameTheRightLine) {
  const auto fault = [](const std::string& text, const std::vector<std::string>& settings) {
    const auto r = parse_recipe(text, "f.toml", settings);
    EXPECT_FALSE(r.ok());
    const std::string message = r.ok() ? "" : r.message();
    EXPECT_EQ(message.find('\n'), std::string::npos);
    EXPECT_LT(message.size(), 400u);
    return message;
  };
  std::string text = kGood;
  text.replace(text.find("keep_last = 5"), 13, "keep_last = 0");
  const auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(text.find("keep_last")), '\n') + 1;
  EXPECT_EQ(fault(text, {"steps=300", "batch.accumulation=2"}).rfind("f.toml:" + std::to_string(line) + ": checkpoint.keep", 0),
            0u)
      << fault(text, {"steps=300"});
  EXPECT_EQ(fault(kGood, {"steps=0"}).rfind("f.toml: steps: is 0", 0), 0u) << fault(kGood, {"steps=0"});
  EXPECT_EQ(fault(kGood, {"optimizer.rate=1"}).rfind("f.toml: optimizer.rate: unknown key", 0), 0u);
  EXPECT_NE(fault(kGood, {"=3"}).find("--set needs KEY=VALUE"), std::string::npos);
  EXPECT_NE(fault(kGood, {"seed.x=3"}).find("seed is no section"), std::string::npos);
  EXPECT_NE(fault(kGood, {"out=\xff"}).find("--set: not valid UTF-8"), std::string::npos);
  EXPECT_NE(fault(kGood, {repeated("a.", 50000) + "a=1"}).find("more than 32 parts"), std::string::npos);
  EXPECT_NE(fault(kGood, {"steps=" + repeated("[", 50000)}).find("steps: must be an integer"), std::string::npos);
  EXPECT_NE(fault(kGood, {"steps={" + repeated("a.", 50000) + "a=1}"}).find("steps: must be an integer"), std::string::npos);
}

TEST(Recipe, OnlyStepsAndPathsMayChangeOnResume) {
  const auto r = parse_recipe(kGood, "good.toml");
  ASSERT_TRUE(r.ok()) << r.message();
  const auto before = recipe_json(*r);
  EXPECT_TRUE(check_same_recipe(before, *r, "ckpt").ok());
  Recipe longer = *r;
  longer.steps = 500;
  longer.out = "elsewhere";
  longer.data.train = {"/moved/a.jsonl"};
  longer.recompute = false;
  EXPECT_TRUE(check_same_recipe(before, longer, "ckpt").ok());
  Recipe hotter = *r;
  hotter.optimizer.lr = 3e-3;
  const Status s = check_same_recipe(before, hotter, "ckpt");
  ASSERT_FALSE(s.ok());
  EXPECT_NE(s.message().find("optimizer.lr = 0.002"), std::string::npos) << s.message();
  Recipe other = *r;
  other.seed = 8;
  EXPECT_FALSE(check_same_recipe(before, other, "ckpt").ok());
  other = *r;
  other.model.config["hidden_size"] = 64;
  EXPECT_FALSE(check_same_recipe(before, other, "ckpt").ok());
  // What a checkpoint's state.json gives back is what went in.
  const auto again = nlohmann::ordered_json::parse(before.dump());
  EXPECT_TRUE(check_same_recipe(again, *r, "ckpt").ok());
}

}  // namespace
}  // namespace raison
