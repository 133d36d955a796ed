// Configs and files of every architecture that are wrong, each in one way: refused in one line that names what is wrong.
#include <functional>
#include <set>

#include "testing/checkpoints.h"

namespace raison::testing {
namespace {

void expect_one_line(const Result<std::unique_ptr<Model>>& m, const std::string& names, const std::string& what) {
  ASSERT_FALSE(m.ok()) << what << " was taken";
  EXPECT_EQ(m.message().find('\n'), std::string::npos) << what << ": " << m.message();
  EXPECT_NE(m.message().find(names), std::string::npos) << what << " is not named: " << m.message();
  EXPECT_LT(m.message().size(), 500u) << what;
}

// ---- configs ----

struct WrongSetting {
  const char* architecture;
  const char* key;
  nlohmann::json value;
  const char* named;  // in the message; null: the key
};

TEST(ConfigRefusals, OfEveryArchitecture) {
  const nlohmann::json yarn = {{"type", "yarn"}, {"factor", 4.0}};
  const auto yarn_with = [&](const char* key, nlohmann::json value) {
    nlohmann::json y = yarn;
    y[key] = std::move(value);
    return y;
  };
  const WrongSetting wrong[] = {
      {"deepseek_v3", "n_group", 3, "3 groups"},
      {"deepseek_v3", "n_group", 0, nullptr},
      {"deepseek_v3", "n_group", 8, "3 experts a token of 2"},
      {"deepseek_v3", "topk_group", 5, "5 of 4"},
      {"deepseek_v3", "topk_group", -1, nullptr},
      {"deepseek_v3", "num_experts_per_tok", 5, "5 experts a token of 4"},
      {"deepseek_v3", "num_experts_per_tok", 0, nullptr},
      {"deepseek_v3", "num_experts_per_tok", nullptr, nullptr},
      {"deepseek_v2", "num_experts_per_tok", 9, "9 experts a token of 8"},
      {"kimi_k2", "num_experts_per_tok", 9, "9 experts a token of 8"},
      {"deepseek_v3", "scoring_func", "sqrtsoftplus", nullptr},
      {"deepseek_v3", "scoring_func", 1, nullptr},
      {"deepseek_v3", "topk_method", "random", nullptr},
      {"deepseek_v2", "topk_method", std::string(500, 'x'), nullptr},
      {"deepseek_v3", "qk_rope_head_dim", 7, "7 rotary values"},
      {"deepseek_v3", "qk_rope_head_dim", 0, nullptr},
      {"deepseek_v3", "qk_nope_head_dim", 0, nullptr},
      {"deepseek_v3", "qk_nope_head_dim", -8, nullptr},
      {"deepseek_v3", "v_head_dim", 0, nullptr},
      {"deepseek_v3", "kv_lora_rank", nullptr, nullptr},
      {"deepseek_v3", "kv_lora_rank", 1 << 20, nullptr},
      {"deepseek_v3", "q_lora_rank", "none", nullptr},
      {"deepseek_v3", "n_routed_experts", 1 << 20, nullptr},
      {"deepseek_v3", "n_routed_experts", -1, nullptr},
      {"deepseek_v3", "n_shared_experts", -1, nullptr},
      {"deepseek_v3", "moe_layer_freq", 0, nullptr},
      {"deepseek_v3", "moe_intermediate_size", 0, nullptr},
      {"deepseek_v3", "first_k_dense_replace", -1, nullptr},
      {"deepseek_v3", "routed_scaling_factor", -2.5, nullptr},
      {"deepseek_v3", "routed_scaling_factor", "2.5", nullptr},
      {"deepseek_v3", "norm_topk_prob", "yes", nullptr},
      {"deepseek_v3", "hidden_act", "relu", nullptr},
      {"deepseek_v3", "attention_bias", true, nullptr},
      {"deepseek_v3", "num_nextn_predict_layers", 1000, nullptr},
      {"deepseek_v3", "rope_interleave", 3, nullptr},
      {"deepseek_v3", "rope_scaling", yarn_with("beta_slow", 64), "beta_fast"},
      {"deepseek_v3", "rope_scaling", yarn_with("factor", 0.5), "factor"},
      {"deepseek_v3", "rope_scaling", yarn_with("mscale", -1), "mscale"},
      {"qwen3", "rope_scaling", yarn_with("attention_factor", 0), "attention_factor"},
      {"qwen3", "rope_scaling", yarn_with("truncate", 1), "truncate"},
      {"qwen3", "rope_scaling", yarn_with("original_max_position_embeddings", -4096), "original_max"},
      {"qwen3", "head_dim", 25, nullptr},
      {"qwen3", "attention_bias", "no", nullptr},
      {"qwen3", "use_sliding_window", true, nullptr},
      {"qwen3_moe", "num_experts", 0, nullptr},
      {"qwen3_moe", "num_experts", nullptr, nullptr},
      {"qwen3_moe", "num_experts_per_tok", 7, "7 experts a token of 6"},
      {"qwen3_moe", "decoder_sparse_step", 0, nullptr},
      {"qwen3_moe", "mlp_only_layers", 1, nullptr},
      {"qwen3_moe", "mlp_only_layers", {"first"}, nullptr},
      {"qwen3_moe", "moe_intermediate_size", 1 << 30, nullptr},
      {"qwen3_moe", "model_type", "qwen3_next", "qwen3_next"},
  };
  std::set<std::string> seen;
  for (const WrongSetting& w : wrong) {
    nlohmann::json config = tiny_architecture(w.architecture);
    if (seen.insert(w.architecture).second) { ASSERT_TRUE(create_model(config, "c").ok()) << w.architecture; }
    config[w.key] = w.value;
    expect_one_line(create_model(config, "c"), w.named ? w.named : w.key,
                    fmt::format("{}: {} = {}", w.architecture, w.key, w.value.dump().substr(0, 60)));
  }
}

TEST(ConfigRefusals, SettingsThatAreWrongTogether) {
  nlohmann::json config = tiny_architecture("deepseek_v3");
  config["n_group"] = 8, config["topk_group"] = 8;
  expect_one_line(create_model(config, "c"), "no two best", "groups of one by the sum of two");
  config = tiny_architecture("deepseek_v3");
  for (const char* key : {"hidden_size", "moe_intermediate_size"}) config[key] = 1 << 20;
  config["num_hidden_layers"] = 4096, config["n_routed_experts"] = 1 << 16;
  expect_one_line(create_model(config, "c"), "parameters", "more parameters than can be counted");
  config = tiny_architecture("qwen3_moe");
  for (const char* key : {"hidden_size", "moe_intermediate_size"}) config[key] = 1 << 20;
  config["num_hidden_layers"] = 4096, config["num_experts"] = 1 << 16;
  expect_one_line(create_model(config, "c"), "parameters", "more parameters than can be counted");
}

// A softmax router limited to groups by their best alone may have groups of one.
TEST(ConfigRefusals, WhatIsOddButSoundIsTaken) {
  nlohmann::json config = tiny_architecture("v2_group");
  config["n_group"] = 8, config["topk_group"] = 8;
  EXPECT_TRUE(create_model(config, "c").ok());
  config = tiny_architecture("deepseek_v2");
  config["n_group"] = 3, config["topk_group"] = 7;  // greedy: groups do not count
  EXPECT_TRUE(create_model(config, "c").ok());
  config = tiny_architecture("deepseek_v3");
  config["n_routed_experts"] = nullptr;  // dense throughout
  EXPECT_TRUE(create_model(config, "c").ok());
  config = tiny_architecture("deepseek_v3");
  config["first_k_dense_replace"] = 2;
  EXPECT_TRUE(create_model(config, "c").ok());
}

TEST(ConfigRefusals, QuantizationsThatAreNotComputed) {
  const std::pair<nlohmann::json, const char*> wrong[] = {
      {{{"quant_method", "awq"}, {"bits", 4}}, "awq"},
      {{{"quant_method", "gptq"}, {"bits", 4}}, "gptq"},
      {{{"quant_method", "mxfp4"}}, "mxfp4"},
      {{{"quant_method", "compressed-tensors"}}, "compressed-tensors"},
      {{{"bits", 4}}, "method"},
      {{{"quant_method", 3}}, "quant_method"},
      {{{"quant_method", "fp8"}, {"fmt", "e5m2"}, {"weight_block_size", {128, 128}}}, "fmt"},
      {{{"quant_method", "fp8"}, {"weight_block_size", {64, 128}}}, "weight_block_size"},
      {{{"quant_method", "fp8"}, {"weight_block_size", {128}}}, "weight_block_size"},
      {{{"quant_method", "fp8"}, {"weight_block_size", "128x128"}}, "weight_block_size"},
      {{{"quant_method", "fp8"}}, "weight_block_size"},
      {"fp8", "quantization_config"},
      {{"fp8"}, "quantization_config"},
  };
  for (const char* type : {"deepseek_v3", "qwen2"})
    for (const auto& [value, named] : wrong) {
      nlohmann::json config = tiny_architecture(type);
      config["quantization_config"] = value;
      expect_one_line(create_model(config, "c"), named, value.dump());
    }
  nlohmann::json config = tiny_architecture("qwen2");
  config["quantization_config"] = nullptr;
  EXPECT_TRUE(create_model(config, "c").ok());
}

// ---- HF folders ----

struct HfFiles {
  nlohmann::json config;
  std::vector<WrittenTensor> tensors;

  WrittenTensor& at(const std::string& name) {
    for (WrittenTensor& t : tensors)
      if (t.name == name) return t;
    ADD_FAILURE() << "no tensor " << name;
    return tensors.front();
  }
  void erase(const std::string& name) {
    at(name);
    std::erase_if(tensors, [&](const WrittenTensor& t) { return t.name == name; });
  }
  // Of the same type, all bytes zero.
  void reshape(const std::string& name, std::vector<int64_t> shape) {
    WrittenTensor& t = at(name);
    int64_t rows = 1;
    for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
    t.bytes.assign(static_cast<size_t>(rows) * *row_bytes(t.type, static_cast<uint64_t>(shape.back())), 0);
    t.shape = std::move(shape);
  }
  void retype(const std::string& name, DType type) {
    WrittenTensor& t = at(name);
    t.type = type;
    reshape(name, t.shape);
  }
};

struct WrongFiles {
  const char* named;
  std::function<void(HfFiles&)> change;
};

void expect_hf_refusals(const TinyCheckpoint& c, DType type, const std::vector<WrongFiles>& wrong) {
  const HfFiles sound{hf_config_of(c, type), hf_tensors(c, type)};
  const TempDir dir;
  int n = 0;
  const auto load = [&](const HfFiles& f) -> Result<std::unique_ptr<Model>> {
    const std::string folder = dir / std::to_string(n++);
    RAISON_RETURN_IF_ERROR(write_hf(folder, f.config, f.tensors));
    return open_model(folder);
  };
  const auto taken = load(sound);
  ASSERT_TRUE(taken.ok()) << taken.message();
  for (const WrongFiles& w : wrong) {
    HfFiles f = sound;
    w.change(f);
    expect_one_line(load(f), w.named, w.named);
  }
}

TEST(HfRefusals, Fp8WithoutItsScales) {
  nlohmann::json config = tiny_architecture("deepseek_v3", 160);  // two blocks each way
  const std::string layer = "model.layers.1.", o = layer + "self_attn.o_proj.weight", kv = layer + "self_attn.kv_b_proj.weight",
                    up = layer + "mlp.experts.3.up_proj.weight", dense = "model.layers.0.mlp.down_proj.weight";
  static const std::string missing = up + "_scale_inv is missing";
  expect_hf_refusals(
      TinyCheckpoint(config, 31), DType::F8_E4M3,
      {{"mlp.experts.3.up_proj.weight_scale_inv is missing", [&](HfFiles& f) { f.erase(up + "_scale_inv"); }},
       {"o_proj.weight_scale_inv is missing", [&](HfFiles& f) { f.erase(o + "_scale_inv"); }},
       {"kv_b_proj.weight_scale_inv is missing", [&](HfFiles& f) { f.erase(kv + "_scale_inv"); }},
       {"o_proj.weight_scale_inv is 1 x 1",
        [&](HfFiles& f) {
          f.reshape(o + "_scale_inv", {1, 1});
        }},
       {"down_proj.weight_scale_inv is 3 x 2",
        [&](HfFiles& f) {
          f.reshape(dense + "_scale_inv", {3, 2});
        }},  // transposed
       {"o_proj.weight_scale_inv is 4,", [&](HfFiles& f) { f.reshape(o + "_scale_inv", {4}); }},
       {"o_proj.weight_scale_inv is 160 x 2",
        [&](HfFiles& f) {
          f.reshape(o + "_scale_inv", {160, 2});
        }},  // per row
       {"o_proj.weight_scale_inv is of type I32", [&](HfFiles& f) { f.retype(o + "_scale_inv", DType::I32); }},
       {"o_proj.weight_scale_inv is of type F8_E4M3", [&](HfFiles& f) { f.retype(o + "_scale_inv", DType::F8_E4M3); }},
       {"o_proj.weight_scale_inv has no place", [&](HfFiles& f) { f.retype(o, DType::BF16); }},
       {"o_proj.weight is of type F8_E5M2", [&](HfFiles& f) { f.retype(o, DType::F8_E5M2); }},
       {"experts.3.up_proj.weight is of type I8", [&](HfFiles& f) { f.retype(up, DType::I8); }}});
}

TEST(HfRefusals, ExpertsAndLayersThatDoNotFit) {
  TinyCheckpoint c(tiny_architecture("deepseek_v3"), 32);
  add_prediction_layer(&c);
  const std::string moe = "model.layers.1.mlp.";
  expect_hf_refusals(
      c, DType::BF16,
      {{"mlp.experts.5.down_proj.weight is missing", [&](HfFiles& f) { f.erase(moe + "experts.5.down_proj.weight"); }},
       {"mlp.experts.0.up_proj.weight is 32 x 31",
        [&](HfFiles& f) {
          f.reshape(moe + "experts.0.up_proj.weight", {32, 31});
        }},
       {"mlp.experts.8.up_proj.weight has no place",
        [&](HfFiles& f) {
          f.tensors.push_back({moe + "experts.8.up_proj.weight", DType::BF16, {1}, {0, 0}});
        }},
       {"mlp.gate.e_score_correction_bias is missing", [&](HfFiles& f) { f.erase(moe + "gate.e_score_correction_bias"); }},
       {"e_score_correction_bias is 9", [&](HfFiles& f) { f.reshape(moe + "gate.e_score_correction_bias", {9}); }},
       {"mlp.gate.weight is 7 x 32",
        [&](HfFiles& f) {
          f.reshape(moe + "gate.weight", {7, 32});
        }},
       {"mlp.shared_experts.up_proj.weight is missing", [&](HfFiles& f) { f.erase(moe + "shared_experts.up_proj.weight"); }},
       {"shared_experts.gate_proj.weight is 64 x 32", [&](HfFiles& f) { f.config["n_shared_experts"] = 1; }},
       {"mlp.shared_experts.down_proj.weight has no place", [&](HfFiles& f) { f.config["n_shared_experts"] = 0; }},
       {"model.layers.2.", [&](HfFiles& f) { f.config.erase("num_nextn_predict_layers"); }},
       {"model.layers.20.enorm.weight has no place",
        [&](HfFiles& f) {
          f.tensors.push_back({"model.layers.20.enorm.weight", DType::BF16, {1}, {0, 0}});
        }},
       {"model.layers.0.mlp.gate.weight", [&](HfFiles& f) { f.config["first_k_dense_replace"] = 0; }},
       {"self_attn.q_proj.weight is missing", [&](HfFiles& f) { f.config["q_lora_rank"] = nullptr; }},
       {"self_attn.kv_b_proj.weight is", [&](HfFiles& f) { f.config["v_head_dim"] = 10; }}});
}

TEST(HfRefusals, Qwen3AndItsExperts) {
  expect_hf_refusals(
      TinyCheckpoint(tiny_architecture("qwen3_moe"), 33), DType::BF16,
      {{"self_attn.q_norm.weight is missing", [&](HfFiles& f) { f.erase("model.layers.0.self_attn.q_norm.weight"); }},
       {"self_attn.k_norm.weight is 32,", [&](HfFiles& f) { f.reshape("model.layers.0.self_attn.k_norm.weight", {32}); }},
       {"mlp.experts.0.gate_proj.weight is missing",
        [&](HfFiles& f) { f.erase("model.layers.1.mlp.experts.0.gate_proj.weight"); }},
       {"mlp.gate_proj.weight is missing", [&](HfFiles& f) { f.config["mlp_only_layers"] = {1}; }},
       {"self_attn.q_proj.bias is missing", [&](HfFiles& f) { f.config["attention_bias"] = true; }}});
}

// ---- GGUF files ----

struct GgufFiles {
  Metadata metadata;
  HfFiles f;
};
struct WrongGguf {
  const char* named;
  std::function<void(GgufFiles&)> change;
};

void expect_gguf_refusals(const TinyCheckpoint& c, bool split, const std::vector<WrongGguf>& wrong) {
  const GgufFiles sound{gguf_metadata(c, split), {{}, gguf_tensors(c, DType::BF16, split)}};
  const TempDir dir;
  const auto load = [&](const GgufFiles& g) -> Result<std::unique_ptr<Model>> {
    RAISON_RETURN_IF_ERROR(write_gguf_model(dir / "m.gguf", g.metadata, g.f.tensors));
    return open_model(dir / "m.gguf");
  };
  const auto taken = load(sound);
  ASSERT_TRUE(taken.ok()) << taken.message();
  for (const WrongGguf& w : wrong) {
    GgufFiles g = sound;
    w.change(g);
    expect_one_line(load(g), w.named, w.named);
  }
}

WrongGguf with_key(const char* key, MetaValue value, const char* named = nullptr) {
  return {named ? named : key, [key, value](GgufFiles& g) { g.metadata.set(key, value); }};
}

TEST(GgufRefusals, DeepseekKeysAndTensors) {
  const std::string moe = "blk.1.ffn_";
  expect_gguf_refusals(TinyCheckpoint(tiny_architecture("deepseek_v3"), 34), false,
                       {with_key("deepseek2.expert_group_count", int64_t{3}, "3 groups"),
                        with_key("deepseek2.expert_group_count", int64_t{0}),
                        with_key("deepseek2.expert_group_used_count", int64_t{5}, "5 of 4"),
                        with_key("deepseek2.expert_used_count", int64_t{5}, "5 experts a token of 4"),
                        with_key("deepseek2.expert_gating_func", int64_t{3}),
                        with_key("deepseek2.expert_count", int64_t{1} << 40),
                        with_key("deepseek2.attention.key_length", int64_t{8}, "nothing beside"),
                        with_key("deepseek2.attention.key_length", int64_t{1}, "nothing beside"),
                        with_key("deepseek2.rope.dimension_count", int64_t{7}, "7 rotary values"),
                        with_key("deepseek2.nextn_predict_layers", int64_t{2}, "leave no layer"),
                        with_key("deepseek2.expert_weights_scale", -1.0),
                        with_key("deepseek2.expert_weights_scale", std::string("2.5")),
                        with_key("deepseek2.rope.scaling.type", std::string("longrope"), "longrope"),
                        with_key("deepseek2.rope.scaling.yarn_log_multiplier", -0.1),
                        with_key("deepseek2.attention.kv_lora_rank", std::string("512")),
                        {"blk.1.ffn_up_exps.weight is 7 x 32 x 32",
                         [&](GgufFiles& g) {
                           g.f.reshape(moe + "up_exps.weight", {7, 32, 32});
                         }},
                        {"blk.1.ffn_up_exps.weight is 9 x 32 x 32",
                         [&](GgufFiles& g) {
                           g.f.reshape(moe + "up_exps.weight", {9, 32, 32});
                         }},
                        {"blk.1.ffn_down_exps.weight is 256 x 32",
                         [&](GgufFiles& g) {
                           g.f.reshape(moe + "down_exps.weight", {256, 32});
                         }},
                        {"blk.1.ffn_gate_exps.weight is missing", [&](GgufFiles& g) { g.f.erase(moe + "gate_exps.weight"); }},
                        {"blk.1.ffn_down_shexp.weight is missing", [&](GgufFiles& g) { g.f.erase(moe + "down_shexp.weight"); }},
                        {"blk.0.attn_k_b.weight is missing", [&](GgufFiles& g) { g.f.erase("blk.0.attn_kv_b.weight"); }},
                        {"blk.0.attn_k_b.weight has no place",
                         [&](GgufFiles& g) {
                           g.f.tensors.push_back({"blk.0.attn_k_b.weight", DType::F32, {1}, {0, 0, 0, 0}});
                         }},
                        {"blk.1.exp_probs_b.bias", [&](GgufFiles& g) { g.f.reshape("blk.1.exp_probs_b.bias", {4}); }}});
}

TEST(GgufRefusals, DeepseekWithKeysAndValuesApart) {
  expect_gguf_refusals(
      TinyCheckpoint(tiny_architecture("deepseek_v2"), 35), true,
      {{"blk.1.attn_v_b.weight is missing", [&](GgufFiles& g) { g.f.erase("blk.1.attn_v_b.weight"); }},
       {"blk.1.attn_k_b.weight is missing", [&](GgufFiles& g) { g.f.erase("blk.1.attn_k_b.weight"); }},
       {"blk.0.attn_k_b.weight is 4 x 20 x 32",  // not transposed
        [&](GgufFiles& g) {
          g.f.reshape("blk.0.attn_k_b.weight", {4, 20, 32});
        }},
       {"blk.0.attn_v_b.weight is 3 x 12 x 32",
        [&](GgufFiles& g) {
          g.f.reshape("blk.0.attn_v_b.weight", {3, 12, 32});
        }},
       {"blk.0.attn_k_b.weight is of type I16", [&](GgufFiles& g) { g.f.retype("blk.0.attn_k_b.weight", DType::I16); }},
       with_key("deepseek2.attention.key_length_mla", int64_t{8}, "nothing beside"),
       with_key("deepseek2.attention.value_length_mla", int64_t{0})});
}

TEST(GgufRefusals, Qwen3AndItsExperts) {
  expect_gguf_refusals(
      TinyCheckpoint(tiny_architecture("qwen3_moe"), 36), false,
      {with_key("qwen3moe.expert_used_count", int64_t{7}, "7 experts a token of 6"),
       with_key("qwen3moe.expert_count", int64_t{5}, "is 6 x 32"),
       with_key("qwen3moe.expert_count", int64_t{0}),
       with_key("qwen3moe.attention.key_length", int64_t{9}, "key_length 9"),
       {"blk.0.attn_q_norm.weight is missing", [](GgufFiles& g) { g.f.erase("blk.0.attn_q_norm.weight"); }},
       {"blk.1.ffn_gate_inp.weight is missing", [](GgufFiles& g) { g.f.erase("blk.1.ffn_gate_inp.weight"); }}});
  expect_gguf_refusals(TinyCheckpoint(tiny_architecture("qwen3"), 37), false,
                       {{"feed_forward_length", [](GgufFiles& g) { g.metadata.set("qwen3.feed_forward_length", int64_t{0}); }},
                        with_key("qwen3.rope.scaling.factor", 0.25),
                        with_key("qwen3.rope.scaling.yarn_beta_slow", 64.0, "yarn_beta_fast"),
                        with_key("qwen3.attention.head_count", int64_t{0}),
                        with_key("general.architecture", std::string("qwen3vl"), "qwen3vl")});
}

}  // namespace
}  // namespace raison::testing
