// Small training runs for tests: a tiny model, token data of our own making, recipes in memory.
#pragma once
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "testing/temp_dir.h"
#include "train/trainer.h"

namespace raison::testing {

// `count` sequences over 13 tokens in which the next token is mostly a function of the last two.
inline std::string token_lines(int count, uint64_t seed) {
  Rng rng(seed, 5);
  std::string out;
  for (int i = 0; i < count; ++i) {
    const auto n = rng.between(3, 24);
    int64_t a = rng.between(0, 12), b = rng.between(0, 12);
    out += "{\"tokens\":[" + std::to_string(a) + "," + std::to_string(b);
    for (int64_t t = 2; t < n; ++t) {
      const int64_t c = rng.uniform() < 0.1 ? rng.between(0, 12) : (a * 3 + b) % 13;
      out += "," + std::to_string(c);
      a = b;
      b = c;
    }
    out += "],\"weight\":" + std::string(i % 3 == 0 ? "2.5" : "1") + "}\n";
  }
  return out;
}

inline std::string tiny_recipe_text(const std::string& folder, const std::string& out, int64_t steps) {
  return "kind = \"pretrain\"\nseed = 3\nsteps = " + std::to_string(steps) + "\nout = \"" + out + R"("
[model.config]
model_type = "llama"
vocab_size = 13
hidden_size = 32
intermediate_size = 48
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
max_position_embeddings = 64
tie_word_embeddings = true
[model.init]
residual_scale = 0.05
embedding_std = 0.05
[data]
format = "tokens"
train = ")" +
         folder + R"(/train.jsonl"
valid = ")" +
         folder + R"(/valid.jsonl"
[batch]
tokens = 70
accumulation = 2
[optimizer]
lr = 5e-3
betas = [0.9, 0.95]
weight_decay = 0.01
[schedule]
name = "cosine"
warmup = 4
[validation]
every = 10
[checkpoint]
keep_last = 2
)";
}

inline Recipe tiny_recipe(const TempDir& dir, const std::string& out, int64_t steps) {
  dir.write("train.jsonl", token_lines(40, 1));
  dir.write("valid.jsonl", token_lines(10, 2));
  auto r = parse_recipe(tiny_recipe_text(dir.path(), dir / out, steps), "tiny.toml");
  EXPECT_TRUE(r.ok()) << (r.ok() ? "" : r.message());
  return r.ok() ? *r : Recipe{};
}

inline std::string file_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// Row-major values of every parameter, one after the other.
inline std::vector<float> weights_of(Model& model) {
  std::vector<float> all;
  for (const auto& p : model.parameters().all()) {
    const auto v = p->to_row_major();
    all.insert(all.end(), v.begin(), v.end());
  }
  return all;
}

}  // namespace raison::testing
