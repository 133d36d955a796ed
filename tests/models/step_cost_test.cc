// What a forward pass reads and multiplies: by hand for one small model, against ModelInfo for all architectures.
#include "models/step_cost.h"

#include "testing/checkpoints.h"

namespace raison::testing {
namespace {

std::unique_ptr<Model> created(const nlohmann::json& config) {
  auto m = create_model(config, "tiny");
  EXPECT_TRUE(m.ok()) << m.message();
  return m.ok() ? std::move(m).value() : nullptr;
}

TEST(StepCounter, ATokenMeetsTheActiveParameters) {
  for (const TinyArchitecture& a : tiny_architectures()) {
    SCOPED_TRACE(a.name);
    const auto m = created(a.config);
    ASSERT_TRUE(m);
    EXPECT_EQ(StepCounter(*m, *m->kv_layout(DType::F16, 64)).active_elements(), m->info().active_parameters);
  }
}

// Two layers of hidden 32, feed-forward 48, 4 query and 2 KV heads of 8, vocabulary 64; an untied head, no biases.
nlohmann::json by_hand() {
  return {{"model_type", "llama"},
          {"architectures", {"LlamaForCausalLM"}},
          {"vocab_size", 64},
          {"hidden_size", 32},
          {"intermediate_size", 48},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"head_dim", 8},
          {"max_position_embeddings", 128},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", false}};
}
constexpr double kLayer = 32 * 32 + 2 * 16 * 32 + 32 * 32 + 3 * 48 * 32;  // q, k and v, o, gate and up and down
constexpr double kNorms = 5 * 32, kHead = 64 * 32;

TEST(StepCounter, CountsAsByHand) {
  const auto m = created(by_hand());
  ASSERT_TRUE(m);
  const StepCounter counter(*m, *m->kv_layout(DType::F16, 64));
  const double position = 2 * 2 * 2 * 8 * 2;     // bytes: layers, K and V, KV heads, values, f16
  const double attention = 2 * 2 * 4 * (8 + 8);  // operations for a row and a position: layers, heads, scores and sums
  const StepCost one = counter.count({1, 1, 9, true});
  EXPECT_EQ(one.weight_bytes, 4 * (2 * kLayer + kNorms + kHead));
  EXPECT_EQ(one.cache_bytes, 10 * position);
  EXPECT_EQ(one.fp32_ops, 2 * (2 * kLayer + kHead) + 10 * attention);
  EXPECT_EQ(one.int8_ops, 0);
  EXPECT_FALSE(one.estimated);

  const StepCost prompt = counter.count({1, 5, 3, true});  // sees 4, 5, 6, 7 and 8 positions
  EXPECT_EQ(prompt.weight_bytes, one.weight_bytes);
  EXPECT_EQ(prompt.cache_bytes, 8 * position);
  EXPECT_EQ(prompt.fp32_ops, 2 * (5 * 2 * kLayer + kHead) + 30 * attention);

  const StepCost inner = counter.count({1, 5, 3, false});  // not the end of a prompt: no logits
  EXPECT_EQ(prompt.weight_bytes - inner.weight_bytes, 4 * kHead);
  EXPECT_EQ(prompt.fp32_ops - inner.fp32_ops, 2 * kHead);

  const StepCost batch = counter.count({7, 1, 9, true});
  EXPECT_EQ(batch.weight_bytes, one.weight_bytes) << "read once for all";
  EXPECT_EQ(batch.cache_bytes, 7 * one.cache_bytes);
  EXPECT_EQ(batch.fp32_ops, 7 * one.fp32_ops);

  StepCost sum = one * 2;
  sum += batch;
  EXPECT_EQ(sum.bytes(), 2 * one.bytes() + batch.bytes());
  EXPECT_EQ(sum.ops(), 9 * one.ops());
}

TEST(StepCounter, BlockTypesAreProductsOfBytes) {
  const auto m = created(by_hand());
  ASSERT_TRUE(m);
  repack(*m, DType::Q8_0);  // but for down, which is 48 wide: not whole blocks
  const StepCost c = StepCounter(*m, *m->kv_layout(DType::F16, 64)).count({1, 1, 0, true});
  const double down = 48 * 32, attention = 2 * 2 * 4 * (8 + 8);
  EXPECT_EQ(c.int8_ops, 2 * (2 * (kLayer - down) + kHead));
  EXPECT_EQ(c.fp32_ops, 2 * 2 * down + attention);
  const double padding =
      (2 * (2 + 1 + 1 + 2 + 3 + 3) + 4) * 32;  // of each panel's scales: one block's, 32 bytes, in a line of 64
  EXPECT_EQ(c.weight_bytes, (2 * (kLayer - down) + kHead) * 34 / 32 + padding + 4 * (2 * down + kNorms));
}

TEST(StepCounter, ExpertsAreMetByShare) {
  auto config = tiny_architecture("qwen3_moe");  // 2 of 6 experts
  const auto m = created(config);
  ASSERT_TRUE(m);
  const KvLayout layout = *m->kv_layout(DType::F32, 64);
  double all = 0;
  for (const auto& p : m->parameters().all())
    if (p->name.find("mlp.experts.") != std::string::npos) all += static_cast<double>(p->matrix.bytes());
  ASSERT_GT(all, 0);
  const StepCounter counter(*m, layout);
  const StepCost one = counter.count({1, 1, 0, true}), two = counter.count({2, 1, 0, true}),
                 many = counter.count({1, 999, 0, true});
  EXPECT_FALSE(one.estimated);
  EXPECT_TRUE(two.estimated && many.estimated);
  const double rest = one.weight_bytes - all / 3;
  EXPECT_NEAR(two.weight_bytes, rest + all * 5 / 9, 1e-6 * all) << "1 - (2/3)^2 of them";
  EXPECT_NEAR(many.weight_bytes, rest + all, 1e-6 * all);
  const auto on_demand = through_hf(TinyCheckpoint(config, 1), DType::F32);
  ASSERT_TRUE(on_demand.ok()) << on_demand.message();
  EXPECT_EQ(StepCounter(**on_demand, layout).count({2, 1, 0, true}).weight_bytes, two.weight_bytes);
  EXPECT_NEAR(two.ops(), 2 * one.ops(), 1e-6 * one.ops()) << "each token meets two, whichever";
}

TEST(CostBound, TheSlowerKindOfWorkBounds) {
  const Peaks peaks{100, 400, 10};
  StepCost c;
  EXPECT_EQ(bound_of(c, peaks).kind, CostBound::Kind::None);
  c.weight_bytes = 30, c.cache_bytes = 20, c.fp32_ops = 200, c.int8_ops = 800;
  EXPECT_EQ(bound_of(c, peaks).kind, CostBound::Kind::Read);
  EXPECT_EQ(bound_of(c, peaks).seconds, 5);
  c.int8_ops = 2000;  // the kinds of products take turns on the same units
  EXPECT_EQ(bound_of(c, peaks).kind, CostBound::Kind::Int8);
  EXPECT_EQ(bound_of(c, peaks).seconds, 7);
  c.fp32_ops = 900;
  EXPECT_EQ(bound_of(c, peaks).kind, CostBound::Kind::Fp32);
  EXPECT_EQ(bound_of(c, peaks).seconds, 14);
  EXPECT_EQ(bound_of(c, {0, 0, 10}).kind, CostBound::Kind::Read) << "peaks of products unknown";
  EXPECT_EQ(bound_of(c, {}).kind, CostBound::Kind::None);
  EXPECT_STREQ(bound_name(CostBound::Kind::Int8), "int8");
}

}  // namespace
}  // namespace raison::testing
