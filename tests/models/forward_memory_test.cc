// What a forward pass needs of memory when nobody looks back: one layer's activations, however many layers there are.
#include "testing/models.h"

namespace raison::testing {
namespace {

size_t reserved_by(int64_t layers, bool tape) {
  auto config = tiny_config();
  config["num_hidden_layers"] = layers;
  const auto model = tiny_model(config, 3);
  const auto kernels = select_kernels_from_environment();
  if (!model || !kernels.ok()) return 0;
  constexpr int64_t kTokens = 1500;
  KvCache cache(*model->kv_layout(DType::F16, 64));
  auto pages = cache.sequence();
  EXPECT_TRUE(pages.reserve(kTokens).ok());
  ForwardBatch b;
  b.kv = cache.layout();
  b.tokens = random_tokens(kTokens, model->info().vocab, 5);
  for (int32_t i = 0; i < kTokens; ++i) b.positions.push_back(i);
  b.output_rows = {kTokens - 1};
  b.seq_offsets = {0, kTokens};
  b.seq_pages = {pages.pages()};
  GradientStore gradients(model->parameters());
  Tape records(gradients);
  ThreadPool pool(1);
  Arena arena;
  Context ctx{pool, **kernels, arena, tape ? &records : nullptr, false};
  EXPECT_EQ(model->forward(ctx, b).rows, 1);
  return arena.reserved();
}

TEST(ForwardMemory, IsOneLayersWithoutATape) {
  const size_t two = reserved_by(2, false);
  ASSERT_GT(two, 0u);
  EXPECT_EQ(reserved_by(12, false), two);
  EXPECT_GT(reserved_by(12, true), two) << "a tape holds what the backward reads";
}

}  // namespace
}  // namespace raison::testing
