// One model in every format that holds it: HF folder, GGUF, both layouts of latent attention. The answers are the same to the bit.
#include "testing/checkpoints.h"

namespace raison::testing {
namespace {

std::vector<float> format_logits(Model& model) {
  Way way;
  way.kernels = *select_kernels_from_environment();
  way.threads = 2;
  return logits_by(model, DType::F32, random_tokens(40, model.info().vocab, 3), way);
}

// Llama 3's scaling has no keys in GGUF (its divisors lie in a tensor, rounded to F32), so here it is linear; see below.
std::vector<TinyArchitecture> sayable_in_both() {
  auto all = tiny_architectures();
  all[0].config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 4.0}};
  return all;
}

TEST(Formats, EveryArchitectureAnswersAlikeFromHfAndGguf) {
  for (const TinyArchitecture& a : sayable_in_both())
    for (const DType type : {DType::F32, DType::BF16}) {
      const TinyCheckpoint c = rounded(TinyCheckpoint(a.config, 21), type);  // GGUF has routers in F32
      auto hf = through_hf(c, type);
      ASSERT_TRUE(hf.ok()) << a.name << ": " << hf.message();
      const auto want = format_logits(**hf);
      const bool latent = a.config.contains("kv_lora_rank");
      for (const bool split : {false, true}) {
        if (split && !latent) continue;
        auto gguf = through_gguf(c, type, split);
        ASSERT_TRUE(gguf.ok()) << a.name << ": " << gguf.message();
        EXPECT_TRUE(same_bits(want, format_logits(**gguf), (*hf)->info().vocab))
            << a.name << " " << dtype_name(type) << (split ? " attn_k_b and attn_v_b" : "");
        EXPECT_EQ((*gguf)->info().parameters, (*hf)->info().parameters) << a.name;
        EXPECT_EQ((*gguf)->info().active_parameters, (*hf)->info().active_parameters) << a.name;
        EXPECT_EQ((*gguf)->info().cache_values, (*hf)->info().cache_values) << a.name;
        EXPECT_EQ((*gguf)->kv_layout(DType::F16, 64)->page_bytes(), (*hf)->kv_layout(DType::F16, 64)->page_bytes());
      }
    }
}

TEST(Formats, Llama3ScalingIsTheSameByItsDivisors) {
  const TinyCheckpoint c(tiny_architecture("llama"), 28);
  auto hf = through_hf(c, DType::F32), gguf = through_gguf(c, DType::F32);
  ASSERT_TRUE(hf.ok() && gguf.ok()) << (gguf.ok() ? "" : gguf.message());
  const auto want = format_logits(**hf), got = format_logits(**gguf);
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 2e-5) << i;
}

TEST(Formats, ParameterCountsAreThoseOfTheTensors) {
  for (const TinyArchitecture& a : tiny_architectures()) {
    const TinyCheckpoint c(a.config, 22);
    int64_t elements = 0;
    for (const auto& [name, t] : c.tensors) elements += static_cast<int64_t>(t.values.size());
    auto m = through_hf(c, DType::BF16);
    ASSERT_TRUE(m.ok()) << a.name << ": " << m.message();
    EXPECT_EQ((*m)->info().parameters, elements) << a.name;
    EXPECT_EQ((*m)->parameters().element_count(), elements) << a.name;
    // A token meets all that is multiplied, but of the experts so many as it is sent to.
    for (const auto& [name, t] : c.tensors) {
      const auto n = static_cast<int64_t>(t.values.size());
      if (name.find("embed_tokens") != name.npos && c.tensors.count("lm_head.weight")) elements -= n;
      if (name.find("mlp.experts.") != name.npos) elements -= n;
      if (name.find("mlp.experts.0.") != name.npos) elements += n * (*m)->info().experts_used;
    }
    EXPECT_EQ((*m)->info().active_parameters, elements) << a.name;
  }
}

// What a model writes as its config.json describes the same model, whatever file it came from.
TEST(Formats, ItsOwnConfigDescribesTheSameModel) {
  for (const TinyArchitecture& a : sayable_in_both()) {
    const TinyCheckpoint c(a.config, 23);
    auto original = through_hf(c, DType::F32);
    ASSERT_TRUE(original.ok()) << original.message();
    const auto want = format_logits(**original);
    for (const bool gguf : {false, true}) {
      auto m = gguf ? through_gguf(c, DType::F32) : through_hf(c, DType::F32);
      ASSERT_TRUE(m.ok() && (*m)->expressible_in_hf().ok()) << a.name;
      TinyCheckpoint again = c;
      again.config = nlohmann::json::parse((*m)->hf_config(DType::F32).dump());
      auto second = through_hf(again, DType::F32);
      ASSERT_TRUE(second.ok()) << a.name << ": " << second.message();
      EXPECT_TRUE(same_bits(want, format_logits(**second), (*m)->info().vocab)) << a.name << (gguf ? " from GGUF" : " from HF");
    }
  }
}

// GGUF's scaling that R1's family is not published with, but could be.
TEST(Formats, LatentScalingFromGgufIsSaidInItsConfig) {
  const TinyCheckpoint c(tiny_architecture("deepseek_v3"), 27);
  for (const char* kind : {"linear", "yarn without a multiplier", "yarn with a factor of its own"}) {
    Metadata m = gguf_metadata(c);
    const bool linear = kind == std::string("linear");
    m.set("deepseek2.rope.scaling.type", std::string(linear ? "linear" : "yarn"));
    if (kind != std::string("yarn with a factor of its own")) m.set("deepseek2.rope.scaling.yarn_log_multiplier", 0.0);
    if (!linear) m.set("deepseek2.rope.scaling.attn_factor", 1.25);
    const TempDir dir;
    ASSERT_TRUE(write_gguf_model(dir / "m.gguf", m, gguf_tensors(c, DType::F32)).ok());
    auto model = open_model(dir / "m.gguf");
    ASSERT_TRUE(model.ok()) << model.message();
    TinyCheckpoint again = c;
    again.config = nlohmann::json::parse((*model)->hf_config(DType::F32).dump());
    auto second = through_hf(again, DType::F32);
    ASSERT_TRUE(second.ok()) << kind << ": " << second.message();
    EXPECT_TRUE(same_bits(format_logits(**model), format_logits(**second), 61)) << kind;
  }
}

// Layers of multi-token prediction are no part of the answer: kept aside, counted apart.
TEST(Formats, PredictionLayersAreKeptAside) {
  const TinyCheckpoint plain(tiny_architecture("deepseek_v3"), 24);
  TinyCheckpoint with = plain;
  add_prediction_layer(&with);
  auto want = through_hf(plain, DType::F32);
  ASSERT_TRUE(want.ok()) << want.message();
  for (const bool gguf : {false, true}) {
    auto m = gguf ? through_gguf(with, DType::F32) : through_hf(with, DType::F32);
    ASSERT_TRUE(m.ok()) << m.message();
    EXPECT_EQ((*m)->info().mtp_layers, 1);
    EXPECT_EQ((*m)->info().layers, (*want)->info().layers);
    EXPECT_EQ((*m)->info().parameters, (*want)->info().parameters);
    EXPECT_TRUE(same_bits(format_logits(**want), format_logits(**m), (*m)->info().vocab)) << (gguf ? "GGUF" : "HF");
  }
}

// FP8's values are code times scale of its block of 128 x 128, whole matrices and experts alike: as if they came as F32.
TEST(Formats, Fp8IsItsValues) {
  for (const char* name : {"deepseek_v3", "qwen3_moe", "llama"}) {
    const TinyCheckpoint c(tiny_architecture(name, 160), 25);
    LoadOptions as_f32;
    as_f32.repack = DType::F32;
    auto fp8 = through_hf(c, DType::F8_E4M3, as_f32);
    ASSERT_TRUE(fp8.ok()) << fp8.message();
    for (const auto& p : (*fp8)->parameters().all()) {
      const auto& original = c.tensors.at(p->name);
      const auto got = p->to_row_major();
      const bool matrix = p->is_matrix() && p->name.find("embed") == std::string::npos && p->name != "lm_head.weight" &&
                          p->name.find("mlp.gate.weight") == std::string::npos;
      if (!matrix) continue;
      const Fp8Matrix m = encode_fp8(original.values, original.shape[0], original.shape[1]);
      const int64_t cols = original.shape[1], across = m.scale_shape[1];
      for (size_t i = 0; i < got.size(); ++i) {
        const auto row = static_cast<int64_t>(i) / cols, col = static_cast<int64_t>(i) % cols;
        const float value = f8_e4m3_to_f32(m.codes[i]) * m.scales[static_cast<size_t>(row / 128 * across + col / 128)];
        ASSERT_EQ(got[i], value) << p->name << " " << i;
      }
    }
  }
}

// Scales as powers of two (UE8M0) or in BF16 say the same as in F32.
TEST(Formats, Fp8ScalesOfOtherTypes) {
  const TinyCheckpoint c(tiny_architecture("qwen3"), 26);
  auto tensors = hf_tensors(c, DType::F8_E4M3);
  std::map<DType, std::vector<float>> logits;
  for (const DType type : {DType::F32, DType::BF16, DType::F8_E8M0}) {
    for (WrittenTensor& t : tensors) {
      if (!t.name.ends_with("_scale_inv")) continue;
      t.type = type;
      t.bytes.clear();
      const std::vector<float> scales(static_cast<size_t>(t.shape[0] * t.shape[1]), 0.0078125f);
      if (type == DType::F8_E8M0) {
        t.bytes.assign(scales.size(), 120);
      } else {
        t.bytes = encode(type, scales, t.shape[1]);
      }
    }
    const TempDir dir;
    ASSERT_TRUE(write_hf(dir / "m", hf_config_of(c, DType::F8_E4M3), tensors).ok());
    LoadOptions as_f32;
    as_f32.repack = DType::F32;
    auto m = open_model(dir / "m", as_f32);
    ASSERT_TRUE(m.ok()) << m.message();
    logits[type] = format_logits(**m);
  }
  EXPECT_TRUE(same_bits(logits[DType::F32], logits[DType::BF16], 61));
  EXPECT_TRUE(same_bits(logits[DType::F32], logits[DType::F8_E8M0], 61));
}

}  // namespace
}  // namespace raison::testing
