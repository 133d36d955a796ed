#include "train/data.h"

#include <algorithm>

#include "base/rng.h"
#include "train/hash.h"
#include "train/task_source.h"

namespace raison {
namespace {

constexpr uint64_t kShuffleStream = 0x6F72646572;  // "order"

uint64_t hash_sequences(const std::vector<TrainSequence>& sequences, uint64_t h) {
  for (const TrainSequence& s : sequences) {
    h = hash_bytes(s.tokens.data(), s.tokens.size() * sizeof(int32_t), h);
    h = hash_bytes(s.weights.data(), s.weights.size() * sizeof(float), h);
  }
  return h;
}

class MemorySource final : public DataSource {
 public:
  MemorySource(std::vector<TrainSequence> train, std::vector<TrainSequence> valid, const BatchRecipe& batch, bool shuffle,
               uint64_t seed)
      : train_(std::move(train)),
        valid_(std::move(valid)),
        batch_(batch),
        shuffle_(shuffle),
        seed_(hash_seed({seed, kShuffleStream})) {
    fingerprint_ = hash_sequences(train_, 1);
    order_epoch(0);
  }

  Result<MicroBatch> next() override {
    MicroBatch out;
    int64_t tokens = 0;
    while (true) {
      const TrainSequence& s = train_[order_[index_]];
      const auto length = static_cast<int64_t>(s.tokens.size());
      const bool full =
          batch_.sequences > 0 ? static_cast<int64_t>(out.size()) >= batch_.sequences : tokens + length > batch_.tokens;
      if (full && !out.empty()) return out;
      out.push_back(s);
      tokens += length;
      if (++index_ == order_.size()) order_epoch(epoch_ + 1);
    }
  }

  nlohmann::ordered_json cursor() const override { return {{"epoch", epoch_}, {"index", index_}}; }

  Status seek(const nlohmann::ordered_json& cursor) override {
    const auto number = [&](const char* key) -> int64_t {
      return cursor.is_object() && cursor.contains(key) && cursor[key].is_number_integer() ? cursor[key].get<int64_t>() : -1;
    };
    const int64_t epoch = number("epoch"), index = number("index");
    if (epoch < 0 || index < 0 || index >= static_cast<int64_t>(train_.size()))
      return error("the data cursor {} does not fit {} sequences", cursor.dump(), train_.size());
    order_epoch(static_cast<uint64_t>(epoch));
    index_ = static_cast<size_t>(index);
    return {};
  }

  uint64_t fingerprint() const override { return fingerprint_; }

  std::vector<TrainSequence> validation(int64_t n) const override {
    const auto count = std::min(valid_.size(), static_cast<size_t>(n));
    return {valid_.begin(), valid_.begin() + static_cast<std::ptrdiff_t>(count)};
  }

 private:
  // Each epoch's order is a function of (seed, epoch) alone.
  void order_epoch(uint64_t epoch) {
    epoch_ = epoch;
    index_ = 0;
    order_.resize(train_.size());
    for (size_t i = 0; i < order_.size(); ++i) order_[i] = i;
    if (!shuffle_) return;
    Rng rng(seed_, epoch);
    rng.shuffle(order_);
  }

  std::vector<TrainSequence> train_, valid_;
  BatchRecipe batch_;
  bool shuffle_;
  uint64_t seed_, epoch_ = 0, fingerprint_ = 0;
  size_t index_ = 0;
  std::vector<size_t> order_;
};

Result<std::vector<TrainSequence>> read_all(const std::vector<std::string>& paths, const TextCodec& codec,
                                            const DataRecipe& recipe, std::vector<std::string>* notices) {
  std::vector<TrainSequence> out;
  for (const std::string& path : paths) {
    RAISON_ASSIGN(JsonlData data, read_jsonl(path, codec, recipe));
    if (data.truncated > 0)
      notices->push_back(
          fmt::format("{}: {} records were cut at {} tokens (data.max_length)", path, data.truncated, recipe.max_length));
    if (data.dropped > 0)
      notices->push_back(fmt::format("{}: {} records have nothing to learn and were left out", path, data.dropped));
    std::move(data.sequences.begin(), data.sequences.end(), std::back_inserter(out));
  }
  return out;
}

}  // namespace

std::unique_ptr<DataSource> make_memory_source(std::vector<TrainSequence> train, std::vector<TrainSequence> valid,
                                               const BatchRecipe& batch, bool shuffle, uint64_t seed) {
  return std::make_unique<MemorySource>(std::move(train), std::move(valid), batch, shuffle, seed);
}

Result<std::unique_ptr<DataSource>> make_data_source(const Recipe& recipe, const TextCodec& codec,
                                                     std::vector<std::string>* notices) {
  if (!recipe.data.task.empty()) return make_task_source(recipe);
  RAISON_ASSIGN(auto train, read_all(recipe.data.train, codec, recipe.data, notices));
  RAISON_ASSIGN(auto valid, read_all(recipe.data.valid, codec, recipe.data, notices));
  return make_memory_source(std::move(train), std::move(valid), recipe.batch, recipe.data.shuffle, recipe.seed);
}

}  // namespace raison
