#include "train/task_source.h"

#include "base/rng.h"
#include "tokenizer/word_level.h"
#include "train/hash.h"

namespace raison {
namespace {

constexpr uint64_t kValidationSeed = 0x76616C6964;  // "valid"

// One problem at a time: the last message of the user is the problem, and what the assistant says begins with <think>.
constexpr const char* kTaskTemplate =
    "{%- if messages[-1]['role'] == 'assistant' -%}\n"
    "{{- bos_token + ' ' + messages[-2]['content'] + ' ' + messages[-1]['content'] + ' ' + eos_token -}}\n"
    "{%- else -%}\n"
    "{{- bos_token + ' ' + messages[-1]['content'] -}}\n"
    "{%- if add_generation_prompt -%}{{- ' <think>' -}}{%- endif -%}\n"
    "{%- endif -%}\n";

uint64_t hash_batches(const std::vector<MicroBatch>& batches, uint64_t h) {
  for (const MicroBatch& b : batches)
    for (const TrainSequence& s : b) {
      h = hash_bytes(s.tokens.data(), s.tokens.size() * sizeof(int32_t), h);
      h = hash_bytes(s.weights.data(), s.weights.size() * sizeof(float), h);
    }
  return h;
}

class TaskSource final : public DataSource {
 public:
  TaskSource(std::shared_ptr<const SyntheticTask> task, uint64_t seed, int64_t budget)
      : task_(task), stream_(std::move(task), seed, budget) {
    // The first round stands for all: a task whose code has changed gives another.
    fingerprint_ = hash_batches(stream_.round(0), hash_seed({seed, static_cast<uint64_t>(budget)}));
  }

  Result<MicroBatch> next() override { return stream_.next(); }

  nlohmann::ordered_json cursor() const override {
    const TaskStream::Cursor c = stream_.cursor();
    return {{"round", c.round}, {"position", c.position}};
  }

  Status seek(const nlohmann::ordered_json& j) override {
    for (const char* key : {"round", "position"})
      if (!j.is_object() || !j.contains(key) || !j[key].is_number_integer() || j[key].get<int64_t>() < 0)
        return error("the data cursor {} names no place in the stream of {}", j.dump(), task_->name());
    return stream_.seek({j["round"].get<uint64_t>(), j["position"].get<uint64_t>()});
  }

  uint64_t fingerprint() const override { return fingerprint_; }

  std::vector<TrainSequence> validation(int64_t n) const override {
    std::vector<TrainSequence> out;
    Rng rng(kValidationSeed);
    for (int64_t i = 0; i < n; ++i) out.push_back(task_->sequence(rng, true));
    return out;
  }

 private:
  std::shared_ptr<const SyntheticTask> task_;
  TaskStream stream_;
  uint64_t fingerprint_ = 0;
};

}  // namespace

Result<std::unique_ptr<DataSource>> make_task_source(const Recipe& recipe) {
  RAISON_ASSIGN(auto task, make_synthetic_task(recipe.data.task));
  return std::unique_ptr<DataSource>(std::make_unique<TaskSource>(std::move(task), recipe.seed, recipe.batch.tokens));
}

Result<ModelText> task_text(const std::string& name) {
  RAISON_ASSIGN(const auto task, make_synthetic_task(name));
  const std::vector<std::string>& vocab = task->vocab();
  WordLevelSpecials specials;
  specials.pad = vocab[SyntheticTask::kPad];
  specials.bos = vocab[SyntheticTask::kBos];
  specials.eos = vocab[SyntheticTask::kEos];
  specials.add_bos = true;
  RAISON_ASSIGN(const auto tokenizer, make_word_level(vocab, specials));
  ModelText text;
  RAISON_ASSIGN(text.tokenizer_json, tokenizer->to_hf_json());
  const bool thinks = tokenizer->id_of("<think>").has_value();
  if (thinks) text.chat_template_jinja = kTaskTemplate;
  text.tokenizer_config_json = tokenizer_config_json(*tokenizer, specials.pad, text.chat_template_jinja);
  text.generation_config = {{"bos_token_id", SyntheticTask::kBos},
                            {"eos_token_id", SyntheticTask::kEos},
                            {"pad_token_id", SyntheticTask::kPad},
                            {"do_sample", true},
                            {"temperature", 1.0},
                            {"max_new_tokens", task->max_sequence()}};
  return text;
}

Status check_task_tokenizer(const SyntheticTask& task, const Tokenizer& tokenizer, const std::string& where) {
  for (size_t i = 0; i < task.vocab().size(); ++i) {
    const auto id = tokenizer.id_of(task.vocab()[i]);
    if (!id || *id != static_cast<TokenId>(i))
      return error("{}: its tokenizer has not the vocabulary of the task {} (token {} should be {})", where, task.name(), i,
                   task.vocab()[i]);
  }
  return {};
}

}  // namespace raison
