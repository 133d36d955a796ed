// Names of both formats: each leads to the other and back, for everything that lies in the shared models.
#include "convert/tensor_names.h"

#include <gtest/gtest.h>

#include "convert/goldens.h"

namespace raison {
namespace {

TEST(TensorNames, EveryCheckpointNameComesBack) {
  const auto folders = testing::model_folders();
  if (folders.empty()) GTEST_SKIP() << testing::missing(testing::shared_dir() + "/goldens");
  for (const std::string& folder : folders) {
    SCOPED_TRACE(folder);
    const auto files = ModelFiles::open(folder);
    ASSERT_TRUE(files.ok()) << files.message();
    const auto architecture = gguf_architecture(ConfigReader(files->config, folder));
    ASSERT_TRUE(architecture.ok()) << architecture.message();
    const auto layers = files->config["num_hidden_layers"].get<int64_t>();
    int named = 0;
    for (const TensorInfo& t : files->tensors->tensors()) {
      if (t.name.find("_scale_inv") != std::string::npos) continue;
      const auto place = place_of_hf(*architecture, t.name);
      if (!place) {  // only the parts of a multi-token prediction layer have no name in GGUF
        EXPECT_NE(t.name.find("model.layers." + std::to_string(layers) + "."), std::string::npos) << t.name;
        continue;
      }
      ++named;
      EXPECT_EQ(hf_name(*place), t.name);
      auto back = place_of_gguf(*architecture, gguf_name(*place));
      ASSERT_TRUE(back) << gguf_name(*place);
      back->expert = place->expert;  // GGUF stacks them
      EXPECT_EQ(hf_name(*back), t.name);
    }
    EXPECT_GT(named, 10);
  }
}

TEST(TensorNames, KnowsNoOthers) {
  for (const char* name :
       {"", "model.layers.0", "model.layers.x.input_layernorm.weight", "model.layers.01.input_layernorm.weight",
        "model.layers.0.input_layernorm", "model.layers.0.mlp.experts.up_proj.weight", "model.layers.0.mlp.experts.1.weight",
        "input_layernorm.weight", "model.norm.weight.weight", "model.layers.0.model.norm.weight",
        "model.layers.99999999999999999999.input_layernorm.weight"})
    EXPECT_FALSE(place_of_hf("qwen3moe", name)) << name;
  for (const char* name :
       {"blk.0.output.weight", "blk.token_embd.weight", "attn_q.weight", "blk.0.attn_q", "blk.0.nothing.weight"})
    EXPECT_FALSE(place_of_gguf("llama", name)) << name;
  EXPECT_FALSE(place_of_hf("qwen2", "model.layers.0.self_attn.q_norm.weight"));  // qwen3's
  EXPECT_FALSE(place_of_hf("mamba", "model.norm.weight"));
  const auto bias = place_of_hf("deepseek2", "model.layers.3.mlp.gate.e_score_correction_bias");
  ASSERT_TRUE(bias);
  EXPECT_EQ(gguf_name(*bias), "blk.3.exp_probs_b.bias");
}

}  // namespace
}  // namespace raison
