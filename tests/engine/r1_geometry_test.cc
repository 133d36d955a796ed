// A model with the widths of DeepSeek-R1's layers, its router's groups and the weight types of its small files, but two layers and
// 64 experts: decodes end to end, and under a third of its memory with the same bits.
#include <gtest/gtest.h>

#include <cstring>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "engine/engine.h"
#include "io/gguf_writer.h"
#include "models/registry.h"
#include "models/weight_memory.h"
#include "testing/temp_dir.h"

namespace raison {
namespace {

constexpr int64_t kLayers = 2, kHidden = 7168, kHeads = 128, kNope = 128, kRope = 64, kValue = 128, kRank = 512, kQRank = 1536,
                  kDense = 18432, kExperts = 64, kExpertWidth = 2048, kVocab = 512;

Metadata r1_metadata() {
  Metadata m;
  const auto set = [&](const std::string& key, auto value) { m.set("deepseek2." + key, MetaValue(value)); };
  m.set("general.architecture", MetaValue(std::string("deepseek2")));
  set("block_count", int64_t{kLayers});
  set("context_length", int64_t{163840});
  set("embedding_length", int64_t{kHidden});
  set("feed_forward_length", int64_t{kDense});
  set("attention.head_count", int64_t{kHeads});
  set("attention.head_count_kv", int64_t{1});
  set("attention.q_lora_rank", int64_t{kQRank});
  set("attention.kv_lora_rank", int64_t{kRank});
  set("attention.key_length", int64_t{kRank + kRope});
  set("attention.value_length", int64_t{kRank});
  set("attention.key_length_mla", int64_t{kNope + kRope});
  set("attention.value_length_mla", int64_t{kValue});
  set("attention.layer_norm_rms_epsilon", 1e-6);
  set("rope.dimension_count", int64_t{kRope});
  set("rope.freq_base", 10000.0);
  set("rope.scaling.type", std::string("yarn"));
  set("rope.scaling.factor", 40.0);
  set("rope.scaling.original_context_length", int64_t{4096});
  set("rope.scaling.yarn_log_multiplier", 0.1);
  set("leading_dense_block_count", int64_t{1});
  set("expert_count", int64_t{kExperts});
  set("expert_used_count", int64_t{8});
  set("expert_shared_count", int64_t{1});
  set("expert_feed_forward_length", int64_t{kExpertWidth});
  set("expert_weights_scale", 2.5);
  set("expert_weights_norm", true);
  set("expert_gating_func", int64_t{2});
  set("expert_group_count", int64_t{8});
  set("expert_group_used_count", int64_t{4});
  return m;
}

std::vector<TensorSpec> r1_tensors() {
  std::vector<TensorSpec> out;
  const auto add = [&](const std::string& name, DType type, std::vector<int64_t> shape) { out.push_back({name, type, shape}); };
  add("token_embd.weight", DType::Q4_K, {kVocab, kHidden});
  for (int64_t l = 0; l < kLayers; ++l) {
    const std::string b = "blk." + std::to_string(l) + ".";
    add(b + "attn_norm.weight", DType::F32, {kHidden});
    add(b + "attn_q_a.weight", DType::Q4_K, {kQRank, kHidden});
    add(b + "attn_q_a_norm.weight", DType::F32, {kQRank});
    add(b + "attn_q_b.weight", DType::Q4_K, {kHeads * (kNope + kRope), kQRank});
    add(b + "attn_kv_a_mqa.weight", DType::Q8_0, {kRank + kRope, kHidden});
    add(b + "attn_kv_a_norm.weight", DType::F32, {kRank});
    add(b + "attn_k_b.weight", DType::F16, {kHeads, kRank, kNope});
    add(b + "attn_v_b.weight", DType::F16, {kHeads, kValue, kRank});
    add(b + "attn_output.weight", DType::Q4_K, {kHidden, kHeads * kValue});
    add(b + "ffn_norm.weight", DType::F32, {kHidden});
    if (l == 0) {
      add(b + "ffn_gate.weight", DType::Q2_K, {kDense, kHidden});
      add(b + "ffn_up.weight", DType::IQ1_S, {kDense, kHidden});
      add(b + "ffn_down.weight", DType::Q3_K, {kHidden, kDense});
      continue;
    }
    add(b + "ffn_gate_inp.weight", DType::F32, {kExperts, kHidden});
    add(b + "exp_probs_b.bias", DType::F32, {kExperts});
    add(b + "ffn_gate_exps.weight", DType::IQ2_XXS, {kExperts, kExpertWidth, kHidden});
    add(b + "ffn_up_exps.weight", DType::Q4_K, {kExperts, kExpertWidth, kHidden});
    add(b + "ffn_down_exps.weight", DType::Q3_K, {kExperts, kHidden, kExpertWidth});
    add(b + "ffn_gate_shexp.weight", DType::Q4_K, {kExpertWidth, kHidden});
    add(b + "ffn_up_shexp.weight", DType::Q4_K, {kExpertWidth, kHidden});
    add(b + "ffn_down_shexp.weight", DType::Q6_K, {kHidden, kExpertWidth});
  }
  add("output_norm.weight", DType::F32, {kHidden});
  add("output.weight", DType::Q6_K, {kVocab, kHidden});
  return out;
}

// Where a block's f16 scales lie.
std::vector<int> scales_of(DType type) {
  switch (type) {
    case DType::Q8_0:
    case DType::IQ2_XXS:
    case DType::IQ1_S: return {0};
    case DType::Q4_K:
    case DType::Q5_K: return {0, 2};
    case DType::Q2_K: return {80, 82};
    case DType::Q3_K: return {108};
    default: return {208};  // Q6_K
  }
}

// Random codes under small scales; random norms and routers.
std::vector<uint8_t> random_rows(const TensorSpec& t, uint64_t bytes, Rng& rng) {
  std::vector<uint8_t> data(bytes);
  if (t.type == DType::F16) {
    for (uint64_t i = 0; i < bytes; i += 2) {
      const uint16_t h = f32_to_f16(static_cast<float>(0.02 * rng.normal()));
      std::memcpy(data.data() + i, &h, 2);
    }
    return data;
  }
  if (t.type == DType::F32) {
    const bool norm = t.shape.size() == 1 && t.name.find("norm") != std::string::npos;
    for (uint64_t i = 0; i < bytes; i += 4) {
      const auto v = static_cast<float>(norm ? 1 + 0.1 * rng.normal() : 0.02 * rng.normal());
      std::memcpy(data.data() + i, &v, 4);
    }
    return data;
  }
  for (uint64_t i = 0; i + 8 <= bytes; i += 8) {
    const uint64_t r = rng.below(UINT64_MAX);
    std::memcpy(data.data() + i, &r, 8);
  }
  const auto block = static_cast<uint64_t>(dtype_info(t.type).block_bytes);
  const double scale = t.type == DType::Q8_0 ? 3e-4 : t.type == DType::Q6_K ? 2e-5 : 2e-4;
  for (uint64_t b = 0; b < bytes; b += block)
    for (const int at : scales_of(t.type)) {
      const uint16_t h = f32_to_f16(static_cast<float>(scale * (0.5 + rng.uniform())));
      std::memcpy(data.data() + b + static_cast<uint64_t>(at), &h, 2);
    }
  return data;
}

Status write_model(const std::string& path) {
  const auto tensors = r1_tensors();
  RAISON_ASSIGN(auto writer, GgufWriter::create(path, r1_metadata(), tensors));
  Rng rng(1, 0);
  for (const TensorSpec& t : tensors) {
    uint64_t rows = 1;
    for (size_t i = 0; i + 1 < t.shape.size(); ++i) rows *= static_cast<uint64_t>(t.shape[i]);
    const uint64_t row = *row_bytes(t.type, static_cast<uint64_t>(t.shape.back()));
    // A stretch of random rows, repeated at an odd length, so that no two experts are alike.
    const uint64_t stretch = std::min<uint64_t>(rows, 241);
    const auto data = random_rows(t, stretch * row, rng);
    for (uint64_t r = 0; r < rows; r += stretch)
      RAISON_RETURN_IF_ERROR(writer->append(data.data(), std::min(stretch, rows - r) * row));
  }
  return writer->finish();
}

struct Seen {
  std::vector<float> logits;
  std::vector<int32_t> tokens;
};

Seen answers(Model& model) {
  ThreadPool pool(2);
  const KernelTable& kernels = **select_kernels_from_environment();
  Seen seen;
  auto logits = compute_logits(model, pool, kernels, DType::F32, {3, 77, 401}, 2);
  EXPECT_TRUE(logits.ok()) << logits.message();
  if (logits.ok()) seen.logits = *logits;
  EngineOptions options;
  options.cache_type = DType::F16;
  options.context = 64;
  Engine engine(model, pool, kernels, options);
  Request request;
  request.prompt = {5, 6, 7};
  request.sampling.temperature = 0;
  request.max_tokens = 3;
  auto got = generate(engine, request);
  EXPECT_TRUE(got.ok()) << got.message();
  if (got.ok()) seen.tokens = got->tokens;
  return seen;
}

TEST(R1Geometry, SlowDecodesAndInAThirdOfItsMemory) {
  const testing::TempDir dir;
  const Status written = write_model(dir / "r1.gguf");
  ASSERT_TRUE(written.ok()) << written.message();
  const auto files = ModelFiles::open(dir / "r1.gguf");
  ASSERT_TRUE(files.ok()) << files.message();
  auto whole = load_model(*files);
  ASSERT_TRUE(whole.ok()) << whole.message();
  const ModelInfo info = (*whole)->info();
  EXPECT_LT(info.weight_bytes, int64_t{3} << 30);
  const Seen want = answers(**whole);
  ASSERT_EQ(want.logits.size(), static_cast<size_t>(3 * kVocab));
  for (const float z : want.logits) ASSERT_TRUE(std::isfinite(z));
  EXPECT_EQ(want.tokens.size(), 3u);
  whole->reset();

  LoadOptions options;
  options.weights_memory = info.weight_bytes / 3;
  const int64_t resident = info.weight_bytes - info.expert_bytes;
  auto bounded = load_model(*files, options);
  ASSERT_TRUE(bounded.ok()) << bounded.message();
  const Seen got = answers(**bounded);
  EXPECT_EQ(std::memcmp(got.logits.data(), want.logits.data(), want.logits.size() * sizeof(float)), 0);
  EXPECT_EQ(got.tokens, want.tokens);
  const WeightMemory* memory = (*bounded)->weight_memory();
  ASSERT_TRUE(memory);
  EXPECT_LE(resident + memory->most_held(), *options.weights_memory);
  EXPECT_GT(memory->most_held(), 0);
}

}  // namespace
}  // namespace raison
