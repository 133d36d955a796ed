// Models for tests: small random ones made here, and helpers that run a model in every way the numerics contract names.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "engine/kv_cache.h"
#include "io/model_files.h"
#include "models/model.h"
#include "ops/ops.h"

namespace raison::testing {

// Fills every parameter of a fresh model with normals: matrices std 1/sqrt(width), vectors 1 + 0.1 n (biases 0.1 n).
inline void randomise(Model& model, uint64_t seed) {
  for (const auto& p : model.parameters().all()) {
    Rng rng(seed, static_cast<uint64_t>(p->index));
    std::vector<float> values(static_cast<size_t>(p->element_count()));
    const double std = p->is_matrix() ? 1.0 / std::sqrt(static_cast<double>(p->shape[1])) : 0.1;
    const double mean = !p->is_matrix() && p->name.find("bias") == std::string::npos ? 1.0 : 0.0;
    for (float& v : values) v = static_cast<float>(mean + std * rng.normal());
    p->from_row_major(values.data(), p->values());
  }
}

// Rounds every matrix of the model to `type` (those whose width allows it) and back into panels of that type.
inline void repack(Model& model, DType type) {
  for (const auto& p : model.parameters().all()) {
    if (!p->is_matrix() || (type == DType::Q8_0 && p->shape[1] % 32 != 0)) continue;
    auto packed = PackedWeight::pack_f32(type, p->shape[0], p->shape[1], p->to_row_major().data());
    ASSERT_TRUE(packed.ok()) << packed.message();
    p->matrix = std::move(packed).value();
    p->trainable = type == DType::F32;
  }
}

inline nlohmann::json tiny_config(const std::string& type = "qwen2") {
  return {{"model_type", type},
          {"vocab_size", 61},
          {"hidden_size", 32},
          {"intermediate_size", 64},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"max_position_embeddings", 4096},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", type == "llama"}};
}

inline std::unique_ptr<Model> tiny_model(const nlohmann::json& config, uint64_t seed) {
  auto m = create_model(config, "tiny");
  EXPECT_TRUE(m.ok()) << (m.ok() ? "" : m.message());
  if (!m.ok()) return nullptr;
  randomise(**m, seed);
  return std::move(m).value();
}

// Of a folder, every parameter to be trained.
inline std::unique_ptr<Model> trainable_model(const std::string& folder) {
  auto files = ModelFiles::open(folder, true);
  EXPECT_TRUE(files.ok()) << (files.ok() ? "" : files.message());
  if (!files.ok()) return nullptr;
  LoadOptions options;
  options.trainable = true;
  auto model = load_model(*files, options);
  EXPECT_TRUE(model.ok()) << (model.ok() ? "" : model.message());
  return model.ok() ? std::move(*model) : nullptr;
}

inline std::vector<int32_t> random_tokens(int64_t n, int64_t vocab, uint64_t seed) {
  Rng rng(seed, 77);
  std::vector<int32_t> out(static_cast<size_t>(n));
  for (int32_t& t : out) t = static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab)));
  return out;
}

// How a run is cut up. The logits must not depend on any of it.
struct Way {
  const KernelTable* kernels = nullptr;
  int threads = 1;
  int64_t chunk = 0;   // tokens per prefill step; 0 = all at once
  int neighbours = 0;  // other sequences in the same batches, of odd lengths
  bool tape = false;   // forces one pass over the whole prompt
  bool recompute = false;
  int page_size = 64;
  int64_t rope_offset = 0;
};

inline std::string describe(const Way& w) {
  return fmt::format("isa {} threads {} chunk {} neighbours {} tape {} recompute {} page {}", w.kernels->name, w.threads,
                     w.chunk, w.neighbours, w.tape, w.recompute, w.page_size);
}

// Logits [T, vocab] of `tokens`.
inline std::vector<float> logits_by(Model& model, DType cache_type, const std::vector<int32_t>& tokens, const Way& way) {
  ThreadPool pool(way.threads);
  const int64_t vocab = model.info().vocab, total = static_cast<int64_t>(tokens.size());
  KvCache cache(*model.kv_layout(cache_type, way.page_size));
  struct Run {
    std::vector<int32_t> tokens;
    KvCache::Sequence pages;
    int64_t done = 0;
  };
  std::vector<Run> runs;
  // The sequence under test stands in the middle of its neighbours.
  for (int i = 0; i <= way.neighbours; ++i) {
    Run r;
    r.tokens = i == way.neighbours / 2 ? tokens : random_tokens(1 + (i * 37) % 50, vocab, 1000 + static_cast<uint64_t>(i));
    r.pages = cache.sequence();
    EXPECT_TRUE(r.pages.reserve(static_cast<int64_t>(r.tokens.size())).ok());
    runs.push_back(std::move(r));
  }
  std::vector<float> out(static_cast<size_t>(total * vocab));
  Arena arena;
  GradientStore gradients(model.parameters());
  const int64_t chunk = way.tape || way.chunk == 0 ? total : way.chunk;
  Run& subject = runs[static_cast<size_t>(way.neighbours / 2)];
  while (subject.done < total) {
    ForwardBatch b;
    b.kv = cache.layout();
    b.rope_offset = way.rope_offset;
    b.seq_offsets = {0};
    const int64_t begin = subject.done;
    for (Run& r : runs) {
      const int64_t left = static_cast<int64_t>(r.tokens.size()) - r.done;
      const int64_t n = std::min(way.tape ? left : &r == &subject ? chunk : std::min<int64_t>(chunk, 5), left);
      if (n <= 0) continue;
      for (int64_t i = 0; i < n; ++i) {
        if (&r == &subject) b.output_rows.push_back(static_cast<int32_t>(b.rows()));
        b.tokens.push_back(r.tokens[static_cast<size_t>(r.done + i)]);
        b.positions.push_back(static_cast<int32_t>(r.done + i));
      }
      r.done += n;
      b.seq_offsets.push_back(static_cast<int32_t>(b.rows()));
      b.seq_pages.push_back(r.pages.pages());
    }
    const Status ok = check_batch(model, b);
    EXPECT_TRUE(ok.ok()) << (ok.ok() ? "" : ok.message());
    if (!ok.ok()) return {};
    Tape tape(gradients);
    arena.reset();
    Context ctx{pool, *way.kernels, arena, way.tape ? &tape : nullptr, way.recompute};
    const Tensor hidden = model.forward(ctx, b);
    Context plain{pool, *way.kernels, arena, nullptr, false};
    const Tensor z = head_logits(plain, model.head(), hidden);
    std::memcpy(out.data() + begin * vocab, z.data, static_cast<size_t>(z.size()) * sizeof(float));
  }
  return out;
}

// memcmp with the first differing coordinate named.
inline ::testing::AssertionResult same_bits(const std::vector<float>& a, const std::vector<float>& b, int64_t cols) {
  if (a.size() != b.size()) return ::testing::AssertionFailure() << "sizes " << a.size() << " and " << b.size();
  if (std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0) return ::testing::AssertionSuccess();
  for (size_t i = 0; i < a.size(); ++i)
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0)
      return ::testing::AssertionFailure() << "first difference at row " << static_cast<int64_t>(i) / cols << " column "
                                           << static_cast<int64_t>(i) % cols << ": " << a[i] << " and " << b[i];
  return ::testing::AssertionSuccess();
}

// One packed batch of whole sequences, next-token targets from `first_target` of each on (-1 before), and its loss
// -sum(w logp)/sum(w) with w = 1. Gradients land in `gradients` (micro-batch finished). Returns the loss in double.
struct TrainBatch {
  ForwardBatch batch;
  std::vector<int32_t> targets;  // [R], one for each output row
  std::vector<KvCache::Sequence> pages;
};

inline TrainBatch make_train_batch(KvCache& cache, const std::vector<std::vector<int32_t>>& sequences,
                                   const std::vector<int64_t>& first_target) {
  TrainBatch t;
  t.batch.kv = cache.layout();
  t.batch.seq_offsets = {0};
  for (size_t s = 0; s < sequences.size(); ++s) {
    t.pages.push_back(cache.sequence());
    EXPECT_TRUE(t.pages.back().reserve(static_cast<int64_t>(sequences[s].size())).ok());
    for (size_t i = 0; i < sequences[s].size(); ++i) {
      if (i + 1 < sequences[s].size() && static_cast<int64_t>(i) + 1 >= first_target[s]) {
        t.batch.output_rows.push_back(static_cast<int32_t>(t.batch.rows()));
        t.targets.push_back(sequences[s][i + 1]);
      }
      t.batch.tokens.push_back(sequences[s][i]);
      t.batch.positions.push_back(static_cast<int32_t>(i));
    }
    t.batch.seq_offsets.push_back(static_cast<int32_t>(t.batch.rows()));
    t.batch.seq_pages.push_back(t.pages.back().pages());
  }
  return t;
}

inline double loss_and_gradients(Model& model, Exec& exec, const KernelTable& kernels, const TrainBatch& t,
                                 GradientStore* gradients, bool recompute = false) {
  Arena arena;
  std::unique_ptr<Tape> tape = gradients ? std::make_unique<Tape>(*gradients) : nullptr;
  Context ctx{exec, kernels, arena, tape.get(), recompute};
  const Tensor hidden = model.forward(ctx, t.batch);
  const Tensor logp = log_softmax_gather(ctx, model.head(), hidden, t.targets, 1.0f);
  double sum = 0;
  for (int64_t i = 0; i < logp.rows; ++i) sum += static_cast<double>(logp.data[i]);
  if (tape) {
    std::vector<float> seed(static_cast<size_t>(logp.rows), static_cast<float>(-1.0 / static_cast<double>(logp.rows)));
    tape->add_grad(ctx, logp, seed.data(), false);
    tape->backward(ctx);
    gradients->finish_micro_batch();
  }
  return -sum / static_cast<double>(logp.rows);
}

}  // namespace raison::testing
