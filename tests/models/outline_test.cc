// A model known by its headers alone: which tensors hold it in either format, and what a config.json and a GGUF say of it.
#include <set>

#include "models/parameter_loader.h"
#include "testing/checkpoints.h"

namespace raison::testing {
namespace {

Result<std::unique_ptr<Model>> outline_of(const std::string& path, std::vector<ParameterSpec>* specs) {
  RAISON_ASSIGN(const ModelFiles files, ModelFiles::open(path));
  return outline_model(files, specs);
}

TEST(Outline, NamesEveryTensorOfEitherFormat) {
  for (const TinyArchitecture& a : tiny_architectures())
    for (const bool split : {false, true}) {
      if (split && !a.config.contains("kv_lora_rank")) continue;
      const TinyCheckpoint c(a.config, 41);
      const TempDir dir;
      const auto gguf = gguf_tensors(c, DType::F32, split);
      ASSERT_TRUE(write_hf(dir / "m", c, DType::F32).ok());
      ASSERT_TRUE(write_gguf_model(dir / "m.gguf", gguf_metadata(c, split), gguf).ok());
      std::vector<ParameterSpec> of_hf, of_gguf;
      const auto from_hf = outline_of(dir / "m", &of_hf), from_gguf = outline_of(dir / "m.gguf", &of_gguf);
      ASSERT_TRUE(from_hf.ok()) << a.name << ": " << from_hf.message();
      ASSERT_TRUE(from_gguf.ok()) << a.name << ": " << from_gguf.message();
      ASSERT_EQ(of_hf.size(), c.tensors.size()) << a.name;
      ASSERT_EQ(of_gguf.size(), of_hf.size()) << a.name;
      std::map<std::string, std::vector<int64_t>> in_gguf;
      for (const WrittenTensor& t : gguf)
        if (t.name != "rope_freqs.weight") in_gguf[t.name] = t.shape;
      std::set<std::string> named;
      for (size_t i = 0; i < of_hf.size(); ++i) {
        const ParameterSpec& s = of_hf[i];
        EXPECT_EQ(s.hf, of_gguf[i].hf);
        ASSERT_TRUE(c.tensors.count(s.hf)) << s.hf;
        EXPECT_EQ(c.tensors.at(s.hf).shape, s.shape) << s.hf;
        for (const std::string& name : s.is_latent() && split ? std::vector<std::string>{s.gguf_keys(), s.gguf_values()}
                                                              : std::vector<std::string>{s.gguf}) {
          EXPECT_TRUE(in_gguf.count(name)) << name;
          named.insert(name);
        }
      }
      EXPECT_EQ(named.size(), in_gguf.size()) << a.name;
      for (const auto& p : (*from_gguf)->parameters().all()) {
        EXPECT_TRUE(p->matrix.empty() && p->vector.empty() && !p->source) << p->name;
        EXPECT_EQ(p->shape, c.tensors.at(p->name).shape);
      }
    }
}

TEST(Outline, RefusesWhatLoadingRefuses) {
  const TinyCheckpoint c(tiny_architecture("deepseek_v3", 160), 42);
  const std::string expert = "model.layers.1.mlp.experts.3.up_proj.weight";
  const auto refused = [&](const char* says, auto change) {
    auto tensors = hf_tensors(c, DType::F8_E4M3);
    change(tensors);
    const TempDir dir;
    ASSERT_TRUE(write_hf(dir / "m", hf_config_of(c, DType::F8_E4M3), tensors).ok());
    const auto outline = outline_of(dir / "m", nullptr), loaded = open_model(dir / "m");
    ASSERT_FALSE(outline.ok()) << says;
    ASSERT_FALSE(loaded.ok()) << says;
    EXPECT_EQ(outline.message(), loaded.message());
    EXPECT_NE(outline.message().find(says), std::string::npos) << outline.message();
  };
  using Tensors = std::vector<WrittenTensor>;
  const auto erase = [](Tensors& tensors, const std::string& name) {
    std::erase_if(tensors, [&](const WrittenTensor& t) { return t.name == name; });
  };
  refused("experts.3.up_proj.weight is missing", [&](Tensors& t) { erase(t, expert), erase(t, expert + "_scale_inv"); });
  refused("experts.3.up_proj.weight_scale_inv is missing", [&](Tensors& t) { erase(t, expert + "_scale_inv"); });
  refused("strange has no place", [&](Tensors& t) { t.push_back({"strange", DType::F32, {1}, std::vector<uint8_t>(4)}); });
  refused("model.norm.weight is 2 x 80, its config asks for 160", [&](Tensors& t) {
    for (WrittenTensor& x : t)
      if (x.name == "model.norm.weight") x.shape = {2, 80};
  });
}

// ---- what a GGUF says ----

// The keys that a model writes, beside tensors that others wrote: the same answers to the bit.
TEST(GgufConfigs, DescribeTheSameModel) {
  for (TinyArchitecture a : tiny_architectures()) {
    if (a.name == "llama") a.config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 4.0}};
    const TinyCheckpoint c(a.config, 43);
    const bool latent = a.config.contains("kv_lora_rank");
    auto hf = through_hf(c, DType::F32);
    ASSERT_TRUE(hf.ok()) << hf.message();
    const auto said = (*hf)->gguf_config();
    ASSERT_TRUE(said.ok()) << a.name << ": " << said.message();
    EXPECT_TRUE(said->rope_freqs.empty());
    const TempDir dir;
    ASSERT_TRUE(write_gguf_model(dir / "m.gguf", said->metadata, gguf_tensors(c, DType::F32, latent)).ok());
    auto gguf = open_model(dir / "m.gguf");
    ASSERT_TRUE(gguf.ok()) << a.name << ": " << gguf.message();
    Way way;
    way.kernels = *select_kernels_from_environment();
    way.threads = 2;
    const auto tokens = random_tokens(30, (*hf)->info().vocab, 6);
    const int64_t vocab = (*hf)->info().vocab;
    EXPECT_TRUE(same_bits(logits_by(**hf, DType::F32, tokens, way), logits_by(**gguf, DType::F32, tokens, way), vocab))
        << a.name;
    // And once more from the GGUF itself.
    const auto again = (*gguf)->gguf_config();
    ASSERT_TRUE(again.ok());
    for (const auto& [key, value] : said->metadata.values()) EXPECT_TRUE(again->metadata.has(key)) << a.name << " " << key;
  }
}

TEST(GgufConfigs, AnAttentionFactorIsAFactorOnYarnsOwn) {
  nlohmann::json config = tiny_architecture("qwen3");
  EXPECT_FALSE((*create_model(config, "c"))->gguf_config()->metadata.has("qwen3.rope.scaling.attn_factor"));
  config["rope_scaling"]["attention_factor"] = 1.25;
  const auto factor = (*create_model(config, "c"))->gguf_config()->metadata.number("qwen3.rope.scaling.attn_factor");
  ASSERT_TRUE(factor);
  EXPECT_NEAR(*factor, 1.25 / (1 + 0.1 * std::log(4.0)), 1e-7);
}

// transformers saves no scoring_func and no topk_method of a model that it made itself.
TEST(GgufConfigs, ASilentDeepseekConfigMeansItsClass) {
  nlohmann::json config = tiny_architecture("deepseek_v3");
  for (const char* key : {"scoring_func", "topk_method", "n_group", "topk_group", "norm_topk_prob", "routed_scaling_factor"})
    config.erase(key);
  config["n_routed_experts"] = 16;
  const auto keys = [&] { return (*create_model(config, "c"))->gguf_config()->metadata; };
  const Metadata v3 = keys();
  EXPECT_EQ(v3.integer("deepseek2.expert_gating_func"), 2);
  EXPECT_EQ(v3.boolean("deepseek2.expert_weights_norm"), true);
  EXPECT_EQ(v3.number("deepseek2.expert_weights_scale"), 2.5);
  EXPECT_EQ(v3.integer("deepseek2.expert_group_count"), 8);
  EXPECT_EQ(v3.integer("deepseek2.expert_group_used_count"), 4);
  config["model_type"] = "deepseek_v2";
  config["n_group"] = 4;  // which a greedy router does not look at
  const Metadata v2 = keys();
  EXPECT_EQ(v2.integer("deepseek2.expert_gating_func"), 1);
  EXPECT_EQ(v2.boolean("deepseek2.expert_weights_norm"), false);
  EXPECT_EQ(v2.number("deepseek2.expert_weights_scale"), 1.0);
  EXPECT_EQ(v2.integer("deepseek2.expert_group_count"), 1);
}

TEST(GgufConfigs, WhatGgufHasNoWordForIsRefused) {
  const auto refused = [](const char* architecture, const char* key, const nlohmann::json& value, const char* says) {
    nlohmann::json config = tiny_architecture(architecture);
    ASSERT_TRUE((*create_model(config, "c"))->gguf_config().ok()) << architecture;
    config[key] = value;
    const auto said = (*create_model(config, "c"))->gguf_config();
    ASSERT_FALSE(said.ok()) << key;
    EXPECT_NE(said.message().find(says), std::string::npos) << said.message();
    EXPECT_EQ(said.message().find('\n'), std::string::npos) << said.message();
  };
  refused("qwen3_moe", "norm_topk_prob", false, "norm_topk_prob");
  refused("qwen3_moe", "mlp_only_layers", {1}, "mlp_only_layers");
  refused("qwen3_moe", "decoder_sparse_step", 2, "decoder_sparse_step");
  refused("deepseek_v3", "moe_layer_freq", 2, "moe_layer_freq");
  refused("deepseek_v3", "rope_interleave", false, "rope_interleave");
  nlohmann::json yarn = {{"type", "yarn"}, {"factor", 40.0}, {"mscale", 0.5}, {"mscale_all_dim", 1.0}};
  refused("deepseek_v3", "rope_scaling", yarn, "mscale");
  yarn = {{"rope_type", "yarn"}, {"factor", 4.0}, {"truncate", false}};
  refused("qwen3", "rope_scaling", yarn, "truncate");
}

// ---- what a config.json says of a GGUF ----

// R1's first GGUF files have no keys for the gating function and the groups.
TEST(HfConfigs, FilesOlderThanTheRoutersKeysAreV3) {
  for (const char* name : {"deepseek_v3", "deepseek_v2"}) {
    const TinyCheckpoint c(tiny_architecture(name), 44);
    Metadata old;
    const Metadata full = gguf_metadata(c);
    for (const auto& [key, value] : full.values())
      if (key.find("gating") == std::string::npos && key.find("group") == std::string::npos) old.set(key, value);
    const TempDir dir;
    ASSERT_TRUE(write_gguf_model(dir / "m.gguf", old, gguf_tensors(c, DType::F32)).ok());
    const auto model = outline_of(dir / "m.gguf", nullptr);
    ASSERT_TRUE(model.ok()) << model.message();
    const auto config = (*model)->hf_config(DType::BF16);
    const bool v3 = name == std::string("deepseek_v3");
    EXPECT_EQ(config["model_type"], name);
    EXPECT_EQ(config["scoring_func"], v3 ? "sigmoid" : "softmax");
    EXPECT_EQ(config["topk_method"], v3 ? "noaux_tc" : "greedy");
    EXPECT_EQ(config["n_group"], 1);
  }
  nlohmann::json large = tiny_architecture("deepseek_v3");
  large["n_routed_experts"] = 256;
  const TinyCheckpoint c(large, 45);
  Metadata old;
  const Metadata full = gguf_metadata(c);
  for (const auto& [key, value] : full.values())
    if (key.find("group") == std::string::npos) old.set(key, value);
  const TempDir dir;
  ASSERT_TRUE(write_gguf_model(dir / "m.gguf", old, gguf_tensors(c, DType::F32)).ok());
  const auto config = (*outline_of(dir / "m.gguf", nullptr))->hf_config(DType::BF16);
  EXPECT_EQ(config["n_group"], 8);
  EXPECT_EQ(config["topk_group"], 4);
}

TEST(HfConfigs, Llama3sNumbersAreFoundAgainFromItsDivisors) {
  for (const auto& [factor, original, context] : {std::tuple{8.0, 64, 1024}, {8.0, 8192, 131072}, {32.0, 8192, 131072}}) {
    nlohmann::json config = tiny_architecture("llama");
    config["head_dim"] = 64;  // enough frequencies to tell
    config["rope_theta"] = 500000.0;
    config["rope_scaling"]["factor"] = factor;
    config["rope_scaling"]["original_max_position_embeddings"] = original;
    config["max_position_embeddings"] = context;
    const TinyCheckpoint c(config, 46);
    auto hf = through_hf(c, DType::F32), gguf = through_gguf(c, DType::F32);
    ASSERT_TRUE(hf.ok() && gguf.ok());
    EXPECT_TRUE((*gguf)->expressible_in_hf().ok());
    EXPECT_EQ(nlohmann::json((*gguf)->hf_config(DType::F32)["rope_scaling"]), config["rope_scaling"]);
    const auto want = llama3_divisors(config), made = (*hf)->gguf_config()->rope_freqs,
               kept = (*gguf)->gguf_config()->rope_freqs;
    ASSERT_EQ(made.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(made[i], want[i], 1e-6f * want[i]) << i;
    EXPECT_EQ(kept, want);
  }
}

// A GGUF's reals are f32; a config.json says them as people write them.
TEST(HfConfigs, RealsOfGgufAreDecimal) {
  const TinyCheckpoint c(tiny_architecture("kimi_k2"), 47);
  const auto gguf = through_gguf(c, DType::F32);
  ASSERT_TRUE(gguf.ok());
  const auto config = (*gguf)->hf_config(DType::F32);
  EXPECT_EQ(config["rms_norm_eps"].dump(), c.config["rms_norm_eps"].dump());
  EXPECT_EQ(config["routed_scaling_factor"].dump(), "2.827");
  EXPECT_EQ(config["rope_scaling"]["mscale_all_dim"].dump(), "0.707");
}

}  // namespace
}  // namespace raison::testing
