// What a file asks for and raison cannot compute must be refused, never computed otherwise.
#include <gtest/gtest.h>

#include <map>

#include "io/gguf_writer.h"
#include "models/registry.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {

nlohmann::json base_config(const std::string& type) {
  return {{"model_type", type},     {"vocab_size", 11},         {"hidden_size", 8},         {"intermediate_size", 16},
          {"num_hidden_layers", 1}, {"num_attention_heads", 2}, {"num_key_value_heads", 1}, {"rope_theta", 10000.0}};
}

TEST(Refusals, SettingsThatWouldBeComputedWrong) {
  const std::pair<const char*, nlohmann::json> wrong[] = {
      {"hidden_act", "gelu"},
      {"mlp_bias", true},
      {"use_sliding_window", true},
      {"layer_types", {"sliding_attention"}},
      {"partial_rotary_factor", 0.5},
      {"rope_scaling", {{"factor", 4}}},
      {"rope_scaling", {{"rope_type", "dynamic"}, {"factor", 4}}},
      {"rope_scaling", {{"rope_type", "longrope"}}},
      {"rope_parameters", {{"full_attention", {{"rope_theta", 1e4}}}}},
      {"rope_parameters", {{"rope_type", "default"}, {"partial_rotary_factor", 0.25}}},
      {"rope_parameters", 3},
      {"num_key_value_heads", 3},
      {"head_dim", 3},
      {"hidden_size", 0},
      {"num_hidden_layers", 100000},
      {"vocab_size", -4},
      {"rms_norm_eps", "small"},
  };
  for (const char* type : {"llama", "qwen2"}) {
    ASSERT_TRUE(create_model(base_config(type), "c").ok());
    for (const auto& [key, value] : wrong) {
      nlohmann::json config = base_config(type);
      config[key] = value;
      const auto m = create_model(config, "c");
      ASSERT_FALSE(m.ok()) << type << " " << key << " " << value.dump();
      EXPECT_EQ(m.message().find('\n'), std::string::npos) << m.message();
    }
    nlohmann::json both = base_config(type);
    both["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e4}};
    ASSERT_TRUE(create_model(both, "c").ok());
    both["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2.0}};
    EXPECT_FALSE(create_model(both, "c").ok());
  }
}

// A whole tiny llama GGUF; `more` adds or replaces keys and tensors.
struct TinyGguf {
  Metadata meta;
  std::map<std::string, std::vector<int64_t>> tensors;
  std::vector<float> rope_freqs = {1, 1, 1, 1};
  TinyGguf() {
    meta.set("general.architecture", std::string("llama"));
    for (const auto& [key, value] : std::vector<std::pair<std::string, int64_t>>{{"embedding_length", 8},
                                                                                 {"feed_forward_length", 16},
                                                                                 {"block_count", 1},
                                                                                 {"attention.head_count", 1},
                                                                                 {"context_length", 64}})
      meta.set("llama." + key, value);
    tensors = {{"token_embd.weight", {5, 8}},
               {"output_norm.weight", {8}},
               {"blk.0.attn_norm.weight", {8}},
               {"blk.0.ffn_norm.weight", {8}}};
    for (const char* n : {"attn_q", "attn_k", "attn_v", "attn_output"}) tensors[std::string("blk.0.") + n + ".weight"] = {8, 8};
    for (const char* n : {"ffn_gate", "ffn_up"}) tensors[std::string("blk.0.") + n + ".weight"] = {16, 8};
    tensors["blk.0.ffn_down.weight"] = {8, 16};
  }
  Result<std::unique_ptr<Model>> load() const {
    const TempDir dir;
    const std::vector<float> ones(200, 1.0f);
    std::vector<TensorToWrite> list;
    for (const auto& [name, shape] : tensors)
      list.push_back({name, DType::F32, shape, name == "rope_freqs.weight" ? rope_freqs.data() : ones.data()});
    RAISON_RETURN_IF_ERROR(write_gguf(dir / "m.gguf", meta, list));
    RAISON_ASSIGN(const ModelFiles files, ModelFiles::open(dir / "m.gguf"));
    return load_model(files);
  }
};

TEST(Refusals, TensorsWithoutAPlace) {
  ASSERT_TRUE(TinyGguf().load().ok()) << TinyGguf().load().message();
  for (const char* name :
       {"blk.0.ffn_up.bias", "blk.0.attn_q_norm.weight", "output.bias", "blk.1.attn_norm.weight", "blk.0.attn_k.bias"}) {
    TinyGguf g;
    g.tensors[name] = {8};
    const auto m = g.load();
    ASSERT_FALSE(m.ok()) << name;
    EXPECT_NE(m.message().find(name), std::string::npos) << m.message();
  }
}

TEST(Refusals, GgufKeysThatWouldBeComputedWrong) {
  const std::pair<const char*, MetaValue> wrong[] = {
      {"rope.dimension_count", int64_t{4}}, {"attention.value_length", int64_t{4}},
      {"expert_count", int64_t{8}},         {"attention.sliding_window", int64_t{16}},
      {"rope.scaling.type", int64_t{1}},    {"rope.scaling.type", std::string("longrope")},
      {"rope.scaling.factor", 4.0},         {"rope.scale_linear", 4.0},
  };
  for (const auto& [key, value] : wrong) {
    TinyGguf g;
    g.meta.set(std::string("llama.") + key, value);
    const auto m = g.load();
    ASSERT_FALSE(m.ok()) << key;
    EXPECT_NE(m.message().find(key), std::string::npos) << m.message();
  }
}

TEST(Refusals, WhatNoConfigJsonCanSayIsNotExported) {
  TinyGguf plain;
  EXPECT_TRUE((*plain.load())->expressible_in_hf().ok());
  TinyGguf freqs;
  freqs.tensors["rope_freqs.weight"] = {4};
  EXPECT_TRUE((*freqs.load())->expressible_in_hf().ok()) << "divided by one";
  freqs.rope_freqs = {1, 3, 2, 5};  // nobody's scaling
  EXPECT_FALSE((*freqs.load())->expressible_in_hf().ok());
  TinyGguf biases;
  for (const char* n : {"attn_q", "attn_k", "attn_v"}) biases.tensors[std::string("blk.0.") + n + ".bias"] = {8};
  EXPECT_FALSE((*biases.load())->expressible_in_hf().ok());
}

}  // namespace
}  // namespace raison::testing
