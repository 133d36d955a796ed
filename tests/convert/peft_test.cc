// PEFT's folders: what is written is read again, what cannot be computed is refused in one line, and which modules a config names.
#include "convert/peft.h"

#include <algorithm>
#include <cmath>

#include "io/safetensors.h"
#include "io/tensor_read.h"
#include "testing/adapters.h"
#include "testing/checkpoints.h"

namespace raison::testing {
namespace {

using Json = nlohmann::ordered_json;

PeftConfig lora_of(std::vector<std::string> modules, int64_t r = 4) {
  PeftConfig c;
  c.r = r;
  c.alpha = 8;
  c.target_modules = std::move(modules);
  return c;
}

std::vector<std::string> names_of(const LoraAdapter& lora) {
  std::vector<std::string> out;
  for (const PeftTensor& t : lora.tensors) out.push_back(t.name);
  return out;
}

int64_t ending_in(const LoraAdapter& lora, const std::string& end) {
  const auto names = names_of(lora);
  return std::count_if(names.begin(), names.end(), [&](const std::string& n) { return n.ends_with(end); });
}

void fill(LoraAdapter& lora, uint64_t seed) {
  for (const auto& p : lora.adapter->parameters().all()) {
    Rng rng(seed, static_cast<uint64_t>(p->index));
    std::vector<float> v(static_cast<size_t>(p->element_count()));
    for (float& x : v) x = static_cast<float>(rng.normal());
    p->from_row_major(v.data(), p->values());
  }
}

std::vector<float> values_of(const LoraAdapter& lora) {
  std::vector<float> out;
  for (const auto& p : lora.adapter->parameters().all()) {
    const auto v = p->to_row_major();
    out.insert(out.end(), v.begin(), v.end());
  }
  return out;
}

#define EXPECT_REFUSED(result, part)                                                   \
  do {                                                                                 \
    const auto refused_ = (result);                                                    \
    ASSERT_FALSE(refused_.ok()) << part;                                               \
    EXPECT_NE(refused_.message().find(part), std::string::npos) << refused_.message(); \
    EXPECT_EQ(refused_.message().find('\n'), std::string::npos) << refused_.message(); \
  } while (0)

TEST(Peft, ANewAdapterChangesNothingAndIsDrawnAsPeftsAre) {
  auto model = tiny_model(tiny_config("llama"), 3);
  ASSERT_TRUE(model);
  auto lora = create_lora(*model, lora_of({"q_proj", "down_proj"}), 7);
  ASSERT_TRUE(lora.ok()) << lora.message();
  ASSERT_EQ(lora->tensors.size(), 8u) << "two modules of two layers";
  for (const auto& p : lora->adapter->parameters().all()) {
    EXPECT_TRUE(p->trainable);
    const auto v = p->to_row_major();
    if (p->name.ends_with("lora_B.weight")) {
      EXPECT_EQ(v, std::vector<float>(v.size())) << p->name;
      continue;
    }
    const double bound = 1 / std::sqrt(static_cast<double>(p->shape[1]));
    double squares = 0, most = 0;
    for (const float x : v) squares += double{x} * double{x}, most = std::max(most, std::fabs(double{x}));
    EXPECT_LE(most, bound);
    EXPECT_GT(most, 0.9 * bound);
    EXPECT_NEAR(squares / static_cast<double>(v.size()), bound * bound / 3, 0.15 * bound * bound)
        << "of a uniform distribution";
  }
  auto again = create_lora(*model, lora_of({"q_proj", "down_proj"}), 7),
       other = create_lora(*model, lora_of({"q_proj", "down_proj"}), 8);
  ASSERT_TRUE(again.ok() && other.ok());
  EXPECT_EQ(values_of(*lora), values_of(*again));
  EXPECT_NE(values_of(*lora), values_of(*other));
}

TEST(Peft, TargetsAreNamesEndsAndPatterns) {
  auto dense = tiny_model(tiny_config(), 3);
  auto v3 = tiny_model(tiny_architecture("deepseek_v3"), 3);
  ASSERT_TRUE(dense && v3);
  const auto made = [](const Model& m, const PeftConfig& c) {
    auto lora = create_lora(m, c, 1);
    EXPECT_TRUE(lora.ok()) << (lora.ok() ? "" : lora.message());
    return lora.ok() ? std::move(lora).value() : LoraAdapter();
  };
  EXPECT_EQ(names_of(made(*dense, lora_of({"model.layers.1.self_attn.k_proj"}))),
            (std::vector<std::string>{"base_model.model.model.layers.1.self_attn.k_proj.lora_A.weight",
                                      "base_model.model.model.layers.1.self_attn.k_proj.lora_B.weight"}));
  EXPECT_REFUSED(create_lora(*dense, lora_of({"_proj"}), 1), "name nothing");
  PeftConfig pattern = lora_of({});
  pattern.target_regex = ".*layers\\.0\\.(self_attn\\.[qv]|mlp\\.up)_proj";
  EXPECT_EQ(ending_in(made(*dense, pattern), "lora_A.weight"), 3);
  pattern.target_regex = "layers\\.0";
  EXPECT_REFUSED(create_lora(*dense, pattern, 1), "name nothing");
  pattern.target_regex = "(";
  EXPECT_REFUSED(create_lora(*dense, pattern, 1), "regex");
  PeftConfig one = lora_of({"q_proj"});
  one.layers = {1};
  EXPECT_EQ(ending_in(made(*dense, one), "lora_A.weight"), 1);
  // Everything but routers, embeddings and the head; in a model with experts attention alone. Written with names.
  EXPECT_EQ(ending_in(made(*dense, lora_of({"all-linear"})), "lora_A.weight"), 14);
  const LoraAdapter all = made(*v3, lora_of({"all-linear"}));
  EXPECT_EQ(ending_in(all, "self_attn.kv_b_proj.lora_A.weight"), 2);
  for (const std::string& n : names_of(all)) EXPECT_EQ(n.find(".mlp."), std::string::npos) << n;
  EXPECT_EQ(ending_in(made(*v3, lora_of({"up_proj"})), "shared_experts.up_proj.lora_B.weight"), 1) << "by name";
  EXPECT_EQ(std::count(all.config.target_modules.begin(), all.config.target_modules.end(), "kv_a_proj_with_mqa"), 1);
  for (const char* never : {"embed_tokens", "lm_head", "gate", "input_layernorm"})
    EXPECT_REFUSED(create_lora(*v3, lora_of({"q_b_proj", never}), 1), never);
}

TEST(Peft, RanksAndScales) {
  auto model = tiny_model(tiny_config(), 3);
  ASSERT_TRUE(model);
  PeftConfig c = lora_of({"q_proj", "k_proj", "v_proj"});
  c.rank_pattern = {{"layers\\.0\\.self_attn\\.q_proj", 2}, {"k_proj", 6}};
  c.alpha_pattern = {{"model.layers.1.self_attn.v_proj", 3}};
  for (const bool rslora : {false, true}) {
    c.rslora = rslora;
    auto lora = create_lora(*model, c, 1);
    ASSERT_TRUE(lora.ok()) << lora.message();
    const auto expect = [&](const std::string& weight, int64_t rank, double alpha) {
      const LowRank* l = lora->adapter->find(*model->parameters().find(weight));
      ASSERT_TRUE(l) << weight;
      EXPECT_EQ(l->a->shape[0], rank) << weight;
      const double r = static_cast<double>(rank);
      EXPECT_EQ(l->scale, static_cast<float>(alpha / (rslora ? std::sqrt(r) : r))) << weight;
    };
    expect("model.layers.0.self_attn.q_proj.weight", 2, 8);
    expect("model.layers.1.self_attn.q_proj.weight", 4, 8);
    expect("model.layers.1.self_attn.k_proj.weight", 6, 8);
    expect("model.layers.1.self_attn.v_proj.weight", 4, 3);
  }
}

TEST(Peft, WhatIsWrittenIsReadAgain) {
  for (const char* name : {"qwen2", "qwen3_moe", "deepseek_v3"}) {
    SCOPED_TRACE(name);
    auto model = tiny_model(tiny_architecture(name), 3);
    ASSERT_TRUE(model);
    PeftConfig c = lora_of({"all-linear"}, 3);
    if (model->info().experts > 0) c.target_parameters = {"gate_up_proj", "down_proj"};
    c.rank_pattern = {{".*gate_up_proj", 5}};
    c.alpha = 6.5;
    auto lora = create_lora(*model, c, 1);
    ASSERT_TRUE(lora.ok()) << lora.message();
    fill(*lora, 9);
    const TempDir dir;
    ASSERT_TRUE(write_lora(*lora, DType::F32, dir / "a").ok());
    auto back = read_lora(dir / "a", *model, false);
    ASSERT_TRUE(back.ok()) << back.message();
    EXPECT_EQ(values_of(*back), values_of(*lora));
    EXPECT_EQ(peft_config_json(back->config), peft_config_json(lora->config));
    EXPECT_FALSE(back->adapter->parameters().all()[0]->trainable);
    for (const auto& p : model->parameters().all()) {
      const LowRank *a = lora->adapter->find(*p), *b = back->adapter->find(*p);
      ASSERT_EQ(a == nullptr, b == nullptr) << p->name;
      if (a) { EXPECT_EQ(a->scale, b->scale) << p->name; }
    }
    ASSERT_TRUE(write_lora(*back, DType::BF16, dir / "a").ok()) << "replaces an adapter";
    auto rounded = read_lora(dir / "a", *model, false);
    ASSERT_TRUE(rounded.ok()) << rounded.message();
    EXPECT_NE(values_of(*rounded), values_of(*lora));
    EXPECT_REFUSED(write_lora(*back, DType::Q8_0, dir / "b"), "F32, F16 or BF16");
  }
  auto model = tiny_model(tiny_config(), 3);
  auto lora = create_lora(*model, lora_of({"q_proj"}), 1);
  ASSERT_TRUE(lora.ok());
  const TempDir dir;
  dir.write("notes.txt", "mine");
  EXPECT_REFUSED(write_lora(*lora, DType::F32, dir.path()), "holds no adapter");
}

// Older versions of transformers keep routed experts as lists of modules.
TEST(Peft, ExpertsInAListOfModules) {
  auto model = tiny_model(tiny_architecture("deepseek_v3"), 3);
  ASSERT_TRUE(model);
  std::vector<std::vector<float>> values;
  std::vector<TensorToWrite> tensors;
  const Parameter& w = *model->parameters().find("model.layers.1.mlp.experts.2.up_proj.weight");
  const Parameter& dense = *model->parameters().find("model.layers.0.mlp.up_proj.weight");
  const Parameter& shared = *model->parameters().find("model.layers.1.mlp.shared_experts.up_proj.weight");
  for (const Parameter* p : {&w, &dense, &shared})
    for (const bool a : {true, false}) {
      const std::vector<int64_t> shape = a ? std::vector<int64_t>{4, p->shape[1]} : std::vector<int64_t>{p->shape[0], 4};
      values.emplace_back(static_cast<size_t>(shape[0] * shape[1]), 0.25f);
      tensors.push_back({"base_model.model." + p->name.substr(0, p->name.size() - 6) + (a ? "lora_A.weight" : "lora_B.weight"),
                         DType::F32, shape, nullptr});
    }
  for (size_t i = 0; i < tensors.size(); ++i) tensors[i].data = values[i].data();
  const TempDir dir;
  ASSERT_TRUE(write_safetensors(dir / "adapter_model.safetensors", tensors).ok());
  dir.write("adapter_config.json", peft_config_json(lora_of({"up_proj"})).dump());
  auto lora = read_lora(dir.path(), *model, false);
  ASSERT_TRUE(lora.ok()) << lora.message();
  EXPECT_EQ(lora->tensors.size(), 6u);
  EXPECT_TRUE(lora->adapter->find(w));
  EXPECT_FALSE(lora->adapter->find(*model->parameters().find("model.layers.1.mlp.experts.3.up_proj.weight")));
}

class PeftRefusals : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = tiny_model(tiny_config(), 3);
    ASSERT_TRUE(model_);
    auto lora = create_lora(*model_, lora_of({"q_proj", "up_proj"}), 1);
    ASSERT_TRUE(lora.ok());
    ASSERT_TRUE(write_lora(*lora, DType::F32, dir_ / "a").ok());
    config_ = peft_config_json(lora->config);
  }
  Result<LoraAdapter> with(const std::string& key, const Json& value) {
    Json j = config_;
    j[key] = value;
    dir_.write("a/adapter_config.json", j.dump());
    return read_lora(dir_ / "a", *model_, false);
  }
  TempDir dir_;
  std::unique_ptr<Model> model_;
  Json config_;
};

TEST_F(PeftRefusals, WhatIsNotComputed) {
  for (const auto& [key, value, part] : std::vector<std::tuple<std::string, Json, std::string>>{
           {"peft_type", "IA3", "LORA is supported"},
           {"bias", "lora_only", "without trained biases"},
           {"use_dora", true, "use_dora"},
           {"lora_bias", true, "lora_bias"},
           {"fan_in_fan_out", true, "fan_in_fan_out"},
           {"modules_to_save", {"lm_head"}, "modules_to_save"},
           {"trainable_token_indices", {1, 2}, "trainable_token_indices"},
           {"exclude_modules", {"q_proj"}, "exclude_modules"},
           {"layer_replication", Json::parse("[[0,1]]"), "layer_replication"},
           {"a_feature_to_come", 1, "a_feature_to_come"},
           {"init_lora_weights", "pissa", "changes the base"},
           {"layers_pattern", "blocks", "layers_pattern"},
           {"layers_to_transform", {-1}, "layers_to_transform"},
           {"r", 0, "\"r\""},
           {"r", 1 << 20, "\"r\""},
           {"lora_alpha", "x", "lora_alpha"},
           {"rank_pattern", {{"q_proj", 0}}, "rank_pattern"},
           {"rank_pattern", {{"(q_proj", 2}}, "regex"},
           {"alpha_pattern", {1}, "alpha_pattern"},
           {"target_modules", {1}, "target_modules"},
           {"target_modules", {"embed_tokens"}, "embeddings or the head"},
           {"target_modules", Json::array(), "names no module"}}) {
    SCOPED_TRACE(key + " " + value.dump());
    EXPECT_REFUSED(with(key, value), part);
  }
  for (const auto& [key, value] : std::vector<std::pair<std::string, Json>>{{"a_feature_to_come", nullptr},
                                                                            {"lora_dropout", 0.1},
                                                                            {"layers_to_transform", {0, 1}},
                                                                            {"layers_pattern", "layers"},
                                                                            {"init_lora_weights", "gaussian"}}) {
    auto lora = with(key, value);
    EXPECT_TRUE(lora.ok()) << lora.message();
  }
}

TEST_F(PeftRefusals, FilesThatAreMissingDamagedOrAnotherModels) {
  EXPECT_REFUSED(read_lora(dir_ / "nowhere", *model_, false), "adapter_config.json is missing");
  // Another rank than the tensors have, another set of modules, another width.
  EXPECT_REFUSED(with("r", 5), "[5, 32]");
  EXPECT_REFUSED(with("target_modules", {"q_proj", "up_proj", "o_proj"}), "o_proj.lora_A.weight is missing");
  EXPECT_REFUSED(with("target_modules", {"q_proj"}), "is of no module");
  ASSERT_TRUE(with("target_modules", {"q_proj", "up_proj"}).ok());
  auto config = tiny_config();
  config["hidden_size"] = 48;
  auto wide = tiny_model(config, 3);
  EXPECT_REFUSED(read_lora(dir_ / "a", *wide, false), "another model");
  config = tiny_config();
  config["num_hidden_layers"] = 1;
  auto low = tiny_model(config, 3);
  EXPECT_REFUSED(read_lora(dir_ / "a", *low, false), "is of no module");
  const std::string weights = dir_ / "a/adapter_model.safetensors";
  std::filesystem::resize_file(weights, std::filesystem::file_size(weights) - 5);
  EXPECT_REFUSED(read_lora(dir_ / "a", *model_, false), "adapter_model.safetensors");
  dir_.write("a/adapter_config.json", "{\"r\": 4,");
  EXPECT_REFUSED(read_lora(dir_ / "a", *model_, false), "not valid JSON");
  dir_.write("a/adapter_config.json", "[]");
  EXPECT_REFUSED(read_lora(dir_ / "a", *model_, false), "no JSON object");
  dir_.write("a/adapter_config.json", config_.dump());
  std::filesystem::remove(weights);
  EXPECT_REFUSED(read_lora(dir_ / "a", *model_, false), "adapter_model.safetensors");
  dir_.write("a/adapter_model.bin", "x");
  EXPECT_REFUSED(read_lora(dir_ / "a", *model_, false), "safe_serialization");
}

}  // namespace
}  // namespace raison::testing
