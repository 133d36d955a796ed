// Experts packed on demand under a bound: what is held, what is evicted, and that nothing of it can be seen in a bit.
#include "models/weight_memory.h"

#include <atomic>

#include "ops/serial_exec.h"
#include "testing/checkpoints.h"

namespace raison::testing {
namespace {

constexpr int64_t kRows = 20, kCols = 32;

struct Experts {
  std::shared_ptr<WeightMemory> memory;
  std::vector<std::vector<float>> values;
  std::vector<std::unique_ptr<ExpertMatrix>> all;

  Experts(int count, std::optional<int64_t> bound, bool strict = true, std::optional<DType> target = {})
      : memory(std::make_shared<WeightMemory>(bound, strict)) {
    for (int e = 0; e < count; ++e) {
      Rng rng(static_cast<uint64_t>(e), 3);
      values.emplace_back(kRows * kCols);
      for (float& v : values.back()) v = static_cast<float>(rng.normal());
    }
    for (const auto& v : values) {
      MatrixInFile m;
      m.data = reinterpret_cast<const uint8_t*>(v.data());
      m.bytes = v.size() * sizeof(float);
      m.rows = kRows;
      m.cols = kCols;
      all.push_back(std::make_unique<ExpertMatrix>(m, target, memory));
    }
  }
  std::vector<float> unpacked(size_t e) {
    std::vector<float> out(kRows * kCols);
    all[e]->packed().unpack_f32(out.data());
    return out;
  }
};

constexpr int64_t kBytes = 2 * kCols * 16 * 4;  // two panels of F32

TEST(WeightMemory, HoldsEverythingWithoutABound) {
  Experts x(5, {});
  ASSERT_TRUE(x.memory->set_resident(1000).ok());
  EXPECT_EQ(x.all[0]->bytes(), kBytes);
  EXPECT_EQ(x.memory->experts_bytes(), 5 * kBytes);
  EXPECT_EQ(x.memory->most_held(), 0) << "nothing is packed before it is asked for";
  std::vector<PackedWeight> first;
  for (const auto& e : x.all) first.push_back(e->packed());
  for (size_t e = 0; e < 5; ++e) EXPECT_EQ(x.all[e]->packed().view().data, first[e].view().data);
  EXPECT_EQ(x.memory->most_held(), 5 * kBytes);
}

// While a copy is held, its memory cannot be given to another, so a place that is the same means that nothing was packed again.
TEST(WeightMemory, EvictsWhatWasNeededLongestAgo) {
  Experts x(4, 1000 + 3 * kBytes);
  ASSERT_TRUE(x.memory->set_resident(1000).ok());
  std::vector<PackedWeight> before;
  for (size_t e : {0, 1, 2}) before.push_back(x.all[e]->packed());
  const auto still = [&](size_t e) { return x.all[e]->packed().view().data == before[e].view().data; };
  EXPECT_TRUE(still(0));  // now 1 is the oldest
  before.push_back(x.all[3]->packed());
  EXPECT_TRUE(still(2) && still(0) && still(3)) << "the oldest left, no other";
  EXPECT_FALSE(still(1)) << "2 is the oldest now and leaves";
  EXPECT_TRUE(still(3) && still(0));
  EXPECT_FALSE(still(2));
  EXPECT_EQ(x.memory->most_held(), 3 * kBytes);
}

TEST(WeightMemory, PacksTheSameBitsAgain) {
  for (const std::optional<DType> target : {std::optional<DType>(), std::optional(DType::BF16), std::optional(DType::Q8_0)}) {
    Experts x(6, 64 * 1000, true, target);
    ASSERT_TRUE(x.memory->set_resident(64 * 1000 - 2 * x.all[0]->bytes()).ok());
    std::vector<std::vector<uint8_t>> first;
    Rng rng(7);
    for (int round = 0; round < 40; ++round) {
      const size_t e = round < 6 ? static_cast<size_t>(round) : rng.below(6);
      const PackedWeight w = x.all[e]->packed();
      const std::vector<uint8_t> bytes(w.view().data, w.view().data + w.bytes());
      if (round < 6) first.push_back(bytes);
      ASSERT_EQ(bytes, first[e]) << "round " << round;
      ASSERT_EQ(w.type(), target.value_or(DType::F32));
      ASSERT_LE(x.memory->most_held(), 2 * w.bytes());
    }
    EXPECT_EQ(x.memory->most_held(), 2 * x.all[0]->bytes());
  }
}

TEST(WeightMemory, ABoundWithoutRoomForOneExpertIsRefused) {
  Experts x(3, 1000 + kBytes - 1);
  const Status s = x.memory->set_resident(1000);
  ASSERT_FALSE(s.ok());
  EXPECT_EQ(s.message().find('\n'), std::string::npos);
  EXPECT_NE(s.message().find(std::to_string(1000 + kBytes)), std::string::npos) << "names the least: " << s.message();
  EXPECT_TRUE(Experts(3, 1000 + kBytes).memory->set_resident(1000).ok()) << "and the least suffices";
  EXPECT_FALSE(Experts(3, 10).memory->set_resident(1000).ok());
}

TEST(WeightMemory, AWishYieldsToWhatMustBe) {
  Experts x(3, 10, false);
  ASSERT_TRUE(x.memory->set_resident(1000).ok());
  for (size_t e : {0, 1, 2, 0}) EXPECT_EQ(x.unpacked(e), x.values[e]);
  EXPECT_EQ(x.memory->most_held(), kBytes) << "one at a time";
}

TEST(WeightMemory, ThreadsShareIt) {
  Experts x(8, 1000 + 3 * kBytes);
  ASSERT_TRUE(x.memory->set_resident(1000).ok());
  ThreadPool pool(3);
  std::atomic<int> wrong = 0;
  parallel_serial(pool, 300, [&](int64_t i, Exec&) {
    const auto e = static_cast<size_t>(i * 5 % 8);
    wrong += x.unpacked(e) != x.values[e];
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(x.memory->most_held(), 3 * kBytes);
}

TEST(WeightMemory, AMatrixThatGoesLeavesNothingBehind) {
  Experts x(3, 1000 + 2 * kBytes);
  ASSERT_TRUE(x.memory->set_resident(1000).ok());
  x.unpacked(0);
  x.unpacked(1);
  x.all[0].reset();
  for (size_t e : {2, 1, 2}) EXPECT_EQ(x.unpacked(e), x.values[e]);
  EXPECT_LE(x.memory->most_held(), 2 * kBytes);
}

// ---- whole models ----

// The whole's logits, and those of a third of its experts' memory, of the least, and of a wish that cannot be met.
void same_bits_under_any_bound(const std::string& path, const std::string& what) {
  auto files = ModelFiles::open(path);
  ASSERT_TRUE(files.ok()) << files.message();
  auto whole = load_model(*files);
  ASSERT_TRUE(whole.ok()) << what << ": " << whole.message();
  const ModelInfo info = (*whole)->info();
  ASSERT_GT(info.expert_bytes, 0) << what;
  EXPECT_EQ(info.weight_bytes, (*whole)->parameters().bytes() + info.expert_bytes);
  const int64_t resident = info.weight_bytes - info.expert_bytes;
  Way way;
  auto kernels = select_kernels_from_environment();
  way.kernels = *kernels;
  way.threads = 2;
  const auto tokens = random_tokens(33, info.vocab, 4);
  const auto want = logits_by(**whole, DType::F32, tokens, way);

  LoadOptions too_little;
  too_little.weights_memory = resident + 1;
  const auto refused = load_model(*files, too_little);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.message().find('\n'), std::string::npos);
  EXPECT_EQ(refused.message().rfind(path + ": --weights-memory of ", 0), 0u) << refused.message();
  const size_t at = refused.message().rfind("at least ");
  ASSERT_NE(at, std::string::npos) << refused.message();
  const int64_t least = std::stoll(refused.message().substr(at + 9));

  for (const int64_t bound : {resident + info.expert_bytes / 3, least, int64_t{1}}) {
    LoadOptions options;
    options.weights_memory = bound;
    options.weights_memory_is_wish = bound == 1;
    auto model = load_model(*files, options);
    ASSERT_TRUE(model.ok()) << what << ": " << model.message();
    const WeightMemory* memory = (*model)->weight_memory();
    ASSERT_TRUE(memory) << what;
    for (const int64_t chunk : {0, 5}) {
      way.chunk = chunk;
      ASSERT_TRUE(same_bits(want, logits_by(**model, DType::F32, tokens, way), info.vocab)) << what << " bound " << bound;
    }
    EXPECT_GT(memory->most_held(), 0);
    EXPECT_LE(memory->most_held(), bound == 1 ? least - resident : bound - resident) << what;
    EXPECT_LT(memory->most_held(), info.expert_bytes / 2) << what << ": nothing was evicted";
    if (bound != 1) {
      options.weights_memory = least - 1;
      EXPECT_FALSE(load_model(*files, options).ok()) << what << ": less than the least it names is too little";
    }
  }
}

TEST(WeightMemory, AModelUnderABoundHasTheSameBitsFromHf) {
  for (const char* name : {"deepseek_v3", "qwen3_moe"})
    for (const DType type : {DType::BF16, DType::F8_E4M3}) {
      const TempDir dir;
      ASSERT_TRUE(write_hf(dir / "m", TinyCheckpoint(tiny_architecture(name), 5), type).ok());
      same_bits_under_any_bound(dir / "m", std::string(name) + " " + dtype_name(type));
    }
}

TEST(WeightMemory, AModelUnderABoundHasTheSameBitsFromGguf) {
  for (const char* name : {"kimi_k2", "qwen3_moe"})
    for (const DType type : {DType::F32, DType::F16, DType::Q8_0}) {
      const TinyCheckpoint c(tiny_architecture(name), 6);
      const TempDir dir;
      ASSERT_TRUE(write_gguf_model(dir / "m.gguf", gguf_metadata(c), gguf_tensors(c, type)).ok());
      same_bits_under_any_bound(dir / "m.gguf", std::string(name) + " " + dtype_name(type));
    }
}

// What is trained is resident whatever the bound; a model without experts has nothing to evict.
TEST(WeightMemory, WhatIsResidentCountsAgainstTheBound) {
  const TempDir dir;
  ASSERT_TRUE(write_hf(dir / "moe", TinyCheckpoint(tiny_architecture("qwen3_moe"), 5), DType::BF16).ok());
  ASSERT_TRUE(write_hf(dir / "dense", TinyCheckpoint(tiny_architecture("qwen3"), 5), DType::BF16).ok());
  for (const char* name : {"moe", "dense"}) {
    LoadOptions options;
    options.trainable = name == std::string("moe");
    options.weights_memory = 5000;
    const auto m = open_model(dir / name, options);
    ASSERT_FALSE(m.ok()) << name;
    EXPECT_EQ(m.message().find('\n'), std::string::npos);
    options.weights_memory_is_wish = true;
    const auto wished = open_model(dir / name, options);
    ASSERT_TRUE(wished.ok()) << wished.message();
    EXPECT_EQ((*wished)->info().expert_bytes, 0);
    options.weights_memory = (*wished)->info().weight_bytes;
    options.weights_memory_is_wish = false;
    EXPECT_TRUE(open_model(dir / name, options).ok()) << "exactly as much as it takes";
  }
}

}  // namespace
}  // namespace raison::testing
