// Which tensor gets which type. The tables were compared, tensor by tensor, with what llama.cpp's own quantiser writes.
#include "convert/file_type.h"

#include <gtest/gtest.h>

#include <map>

namespace raison {
namespace {

Metadata model_metadata(const std::string& architecture, uint64_t layers, uint64_t heads, uint64_t kv_heads, uint64_t experts) {
  Metadata m;
  m.set("general.architecture", architecture);
  m.set(architecture + ".block_count", layers);
  m.set(architecture + ".attention.head_count", heads);
  m.set(architecture + ".attention.head_count_kv", kv_heads);
  if (experts > 0) m.set(architecture + ".expert_count", experts);
  return m;
}

std::vector<TensorSpec> model_tensors(int layers, int64_t width, bool tied, int64_t experts) {
  std::vector<TensorSpec> out = {{"token_embd.weight", DType::F32, {512, width}}};
  for (int l = 0; l < layers; ++l) {
    const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
      out.push_back({"blk." + std::to_string(l) + "." + name, DType::F32, std::move(shape)});
    };
    add("attn_norm.weight", {width});
    for (const char* name : {"attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight"})
      add(name, {width, width});
    add("attn_q_norm.weight", {4, width});  // a norm, though of two dimensions
    add("attn_k.bias", {width});
    if (experts > 0) {
      add("ffn_gate_inp.weight", {experts, width});
      for (const char* name : {"ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight"})
        add(name, {experts, width, width});
    } else {
      for (const char* name : {"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"}) add(name, {width, width});
    }
  }
  out.push_back({"output_norm.weight", DType::F32, {width}});
  if (!tied) out.push_back({"output.weight", DType::F32, {512, width}});
  return out;
}

std::map<std::string, DType> mix(const char* name, const Metadata& m, const std::vector<TensorSpec>& tensors) {
  const auto type = find_file_type(name);
  EXPECT_TRUE(type.ok()) << type.message();
  const auto types = mixed_types(**type, m, tensors);
  std::map<std::string, DType> out;
  for (size_t i = 0; i < types.size(); ++i) out[tensors[i].name] = types[i];
  return out;
}

TEST(FileType, MixesOfADenseModel) {
  const Metadata m = model_metadata("qwen2", 16, 8, 2, 0);
  const auto tensors = model_tensors(16, 256, false, 0);
  struct Want {
    const char* type;
    DType embedding, head, q, v0, v3, v15, o, down0, down5, down15, up;
  };
  using D = DType;
  const Want wants[] = {
      {"F16", D::F16, D::F16, D::F16, D::F16, D::F16, D::F16, D::F16, D::F16, D::F16, D::F16, D::F16},
      {"Q8_0", D::Q8_0, D::Q8_0, D::Q8_0, D::Q8_0, D::Q8_0, D::Q8_0, D::Q8_0, D::Q8_0, D::Q8_0, D::Q8_0, D::Q8_0},
      {"Q4_0", D::Q4_0, D::Q6_K, D::Q4_0, D::Q4_0, D::Q4_0, D::Q4_0, D::Q4_0, D::Q4_0, D::Q4_0, D::Q4_0, D::Q4_0},
      {"Q2_K", D::Q2_K, D::Q6_K, D::Q2_K, D::Q4_K, D::Q4_K, D::Q4_K, D::Q3_K, D::Q3_K, D::Q3_K, D::Q3_K, D::Q2_K},
      {"Q3_K_S", D::Q3_K, D::Q6_K, D::Q3_K, D::Q3_K, D::Q3_K, D::Q3_K, D::Q3_K, D::Q3_K, D::Q3_K, D::Q3_K, D::Q3_K},
      {"Q3_K_M", D::Q3_K, D::Q6_K, D::Q3_K, D::Q5_K, D::Q4_K, D::Q4_K, D::Q4_K, D::Q5_K, D::Q4_K, D::Q4_K, D::Q3_K},
      {"Q3_K_L", D::Q3_K, D::Q6_K, D::Q3_K, D::Q5_K, D::Q5_K, D::Q5_K, D::Q5_K, D::Q5_K, D::Q5_K, D::Q5_K, D::Q3_K},
      {"Q4_K_S", D::Q4_K, D::Q6_K, D::Q4_K, D::Q5_K, D::Q5_K, D::Q4_K, D::Q4_K, D::Q5_K, D::Q4_K, D::Q4_K, D::Q4_K},
      {"Q4_K_M", D::Q4_K, D::Q6_K, D::Q4_K, D::Q6_K, D::Q4_K, D::Q6_K, D::Q4_K, D::Q6_K, D::Q4_K, D::Q6_K, D::Q4_K},
      {"Q5_K_S", D::Q5_K, D::Q6_K, D::Q5_K, D::Q5_K, D::Q5_K, D::Q5_K, D::Q5_K, D::Q5_K, D::Q5_K, D::Q5_K, D::Q5_K},
      {"q5_k_m", D::Q5_K, D::Q6_K, D::Q5_K, D::Q6_K, D::Q5_K, D::Q6_K, D::Q5_K, D::Q6_K, D::Q5_K, D::Q6_K, D::Q5_K},
      {"IQ4_XS", D::IQ4_XS, D::Q6_K, D::IQ4_XS, D::Q5_K, D::Q5_K, D::Q5_K, D::IQ4_XS, D::Q5_K, D::IQ4_XS, D::IQ4_XS, D::IQ4_XS},
      {"TQ2_0", D::Q4_K, D::Q6_K, D::TQ2_0, D::TQ2_0, D::TQ2_0, D::TQ2_0, D::TQ2_0, D::TQ2_0, D::TQ2_0, D::TQ2_0, D::TQ2_0},
      {"MXFP4", D::Q8_0, D::Q8_0, D::MXFP4, D::MXFP4, D::MXFP4, D::MXFP4, D::MXFP4, D::MXFP4, D::MXFP4, D::MXFP4, D::MXFP4},
  };
  for (const Want& w : wants) {
    SCOPED_TRACE(w.type);
    const auto got = mix(w.type, m, tensors);
    EXPECT_EQ(got.at("token_embd.weight"), w.embedding);
    EXPECT_EQ(got.at("output.weight"), w.head);
    EXPECT_EQ(got.at("blk.5.attn_q.weight"), w.q);
    EXPECT_EQ(got.at("blk.0.attn_v.weight"), w.v0);
    EXPECT_EQ(got.at("blk.3.attn_v.weight"), w.v3);
    EXPECT_EQ(got.at("blk.15.attn_v.weight"), w.v15);
    EXPECT_EQ(got.at("blk.2.attn_output.weight"), w.o);
    EXPECT_EQ(got.at("blk.0.ffn_down.weight"), w.down0);
    EXPECT_EQ(got.at("blk.5.ffn_down.weight"), w.down5);
    EXPECT_EQ(got.at("blk.15.ffn_down.weight"), w.down15);
    EXPECT_EQ(got.at("blk.15.ffn_up.weight"), w.up);
    for (const char* kept : {"blk.0.attn_norm.weight", "blk.0.attn_q_norm.weight", "blk.0.attn_k.bias", "output_norm.weight"})
      EXPECT_EQ(got.at(kept), DType::F32) << kept;
  }
}

TEST(FileType, ExpertsTiedHeadsAndShortRows) {
  const auto eight = mix("Q4_K_M", model_metadata("qwen3moe", 8, 8, 2, 8), model_tensors(8, 256, false, 8));
  EXPECT_EQ(eight.at("blk.1.attn_v.weight"), DType::Q8_0);
  EXPECT_EQ(eight.at("blk.1.attn_k.weight"), DType::Q8_0);
  EXPECT_EQ(eight.at("blk.1.attn_output.weight"), DType::Q5_K);
  EXPECT_EQ(eight.at("blk.1.ffn_gate_inp.weight"), DType::F32);
  EXPECT_EQ(eight.at("blk.7.ffn_down_exps.weight"), DType::Q6_K);
  EXPECT_EQ(eight.at("blk.7.ffn_up_exps.weight"), DType::Q4_K);
  const auto mx = mix("MXFP4", model_metadata("qwen3moe", 8, 8, 2, 16), model_tensors(8, 256, false, 16));
  EXPECT_EQ(mx.at("blk.1.ffn_up_exps.weight"), DType::MXFP4);
  EXPECT_EQ(mx.at("blk.1.attn_q.weight"), DType::Q8_0);
  const auto tied = mix("Q4_K_M", model_metadata("llama", 8, 8, 8, 0), model_tensors(8, 256, true, 0));
  EXPECT_EQ(tied.at("token_embd.weight"), DType::Q6_K);
  const std::pair<const char*, DType> fallbacks[] = {
      {"Q2_K", DType::Q4_0}, {"Q3_K_S", DType::Q4_0}, {"IQ4_XS", DType::IQ4_NL}, {"Q4_K_S", DType::Q5_0},
      {"Q5_K_S", DType::Q5_1}, {"Q6_K", DType::Q8_0},     {"TQ1_0", DType::Q4_0},    {"Q4_1", DType::Q4_1}};
  for (const auto& [name, type] : fallbacks) {
    EXPECT_EQ(mix(name, model_metadata("llama", 8, 8, 8, 0), model_tensors(8, 96, false, 0)).at("blk.4.attn_q.weight"), type)
        << name;
    EXPECT_EQ(mix(name, model_metadata("llama", 8, 8, 8, 0), model_tensors(8, 40, false, 0)).at("blk.4.attn_q.weight"),
              DType::F16)
        << name;
  }
}

TEST(FileType, RefusesWhatItCannotMake) {
  const auto searched = find_file_type("iq2_xxs");
  ASSERT_FALSE(searched.ok());
  EXPECT_NE(searched.message().find("importance matrix"), std::string::npos) << searched.message();
  const auto unknown = find_file_type("Q9_K");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.message().find("Q4_K_M"), std::string::npos) << unknown.message();
}

}  // namespace
}  // namespace raison
