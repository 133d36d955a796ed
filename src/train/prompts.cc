#include "train/prompts.h"

#include <algorithm>

#include "base/rng.h"
#include "train/hash.h"

namespace raison {
namespace {
using Json = nlohmann::ordered_json;

constexpr uint64_t kPromptOrder = 0x70726F6D7074;  // "prompt"
constexpr uint64_t kHeldOut = 0x68656C64;          // "held"

uint64_t hash_tokens(const std::vector<int32_t>& tokens, uint64_t h) {
  return hash_bytes(tokens.data(), tokens.size() * sizeof(int32_t), h);
}

class TaskPrompts final : public PromptSource {
 public:
  TaskPrompts(std::shared_ptr<const SyntheticTask> task, uint64_t seed) : task_(std::move(task)), seed_(seed) {
    fingerprint_ = hash_seed({seed});
    for (uint64_t n = 0; n < 64; ++n) fingerprint_ = hash_tokens(at(n).tokens, fingerprint_);
  }
  TrainPrompt at(uint64_t n) override {
    Rng rng(hash_seed({seed_, kPromptOrder}), n);
    return make(task_->problem(rng, false));
  }
  std::vector<TrainPrompt> validation(int64_t n) const override {
    std::vector<TrainPrompt> out;
    for (int64_t i = 0; i < n; ++i) {
      Rng rng(kHeldOut, static_cast<uint64_t>(i));
      out.push_back(make(task_->problem(rng, true)));
    }
    return out;
  }
  uint64_t fingerprint() const override { return fingerprint_; }

 private:
  TrainPrompt make(std::vector<int32_t> tokens) const {
    TrainPrompt p;
    p.question = std::make_shared<Question>(Question{task_->text(tokens), nullptr});
    // A prompt of these tasks ends within its thought, if there are thoughts at all.
    p.start = task_->counted_thought() ? ThinkPhase::Thinking : ThinkPhase::None;
    p.tokens = std::move(tokens);
    return p;
  }
  std::shared_ptr<const SyntheticTask> task_;
  uint64_t seed_, fingerprint_ = 0;
};

class FilePrompts final : public PromptSource {
 public:
  FilePrompts(std::vector<TrainPrompt> train, std::vector<TrainPrompt> valid, bool shuffle, uint64_t seed)
      : train_(std::move(train)), valid_(std::move(valid)), shuffle_(shuffle), seed_(hash_seed({seed, kPromptOrder})) {
    fingerprint_ = 1;
    for (const TrainPrompt& p : train_) {
      const std::string record = p.question->record.dump(-1, ' ', false, Json::error_handler_t::replace);
      fingerprint_ = hash_bytes(record.data(), record.size(), hash_tokens(p.tokens, fingerprint_));
    }
    order(0);
  }
  TrainPrompt at(uint64_t n) override {
    if (n / train_.size() != epoch_) order(n / train_.size());
    return train_[order_[n % train_.size()]];
  }
  std::vector<TrainPrompt> validation(int64_t n) const override {
    const auto count = std::min(valid_.size(), static_cast<size_t>(n));
    return {valid_.begin(), valid_.begin() + static_cast<std::ptrdiff_t>(count)};
  }
  uint64_t fingerprint() const override { return fingerprint_; }
  std::vector<const TrainPrompt*> all() const override {
    std::vector<const TrainPrompt*> out;
    for (const auto* list : {&train_, &valid_})
      for (const TrainPrompt& p : *list) out.push_back(&p);
    return out;
  }

 private:
  void order(uint64_t epoch) {
    epoch_ = epoch;
    order_.resize(train_.size());
    for (size_t i = 0; i < order_.size(); ++i) order_[i] = i;
    if (!shuffle_) return;
    Rng rng(seed_, epoch);
    rng.shuffle(order_);
  }
  std::vector<TrainPrompt> train_, valid_;
  bool shuffle_;
  uint64_t seed_, epoch_ = 0, fingerprint_ = 0;
  std::vector<size_t> order_;
};

Result<Json> messages_in(const Json& record, const char* key, const std::string& system) {
  Json messages = Json::array();
  if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
  const Json& value = record[key];
  if (value.is_string()) {
    messages.push_back({{"role", "user"}, {"content", value}});
    return messages;
  }
  if (!value.is_array() || value.empty()) return error("\"{}\" is neither a text nor a list of messages", key);
  for (const Json& m : value) {
    if (!m.is_object() || !m.contains("role") || !m["role"].is_string())
      return error("every message of \"{}\" must be an object with a \"role\"", key);
    messages.push_back(m);
  }
  return messages;
}

// The words of the last message of a user, or of the prompt.
std::string text_in(const Json& messages) {
  for (size_t i = messages.size(); i-- > 0;)
    if (messages[i]["role"] == "user" && messages[i].contains("content") && messages[i]["content"].is_string())
      return messages[i]["content"].get<std::string>();
  return "";
}

Result<std::vector<TrainPrompt>> read_prompt_files(const std::vector<std::string>& paths, const TextCodec& codec,
                                                   const Thinking& thinking, const RolloutRecipe& rollout, int64_t longest,
                                                   std::vector<std::string>* notices) {
  std::vector<TrainPrompt> out;
  for (const std::string& path : paths) {
    int64_t too_long = 0;
    RAISON_RETURN_IF_ERROR(read_json_lines(path, [&](const Json& record, int64_t line) -> Status {
      RAISON_ASSIGN(TrainPrompt prompt, read_prompt(record, codec, thinking, rollout));
      prompt.where = fmt::format("{}:{}", path, line);
      if (static_cast<int64_t>(prompt.tokens.size()) >= longest) {
        ++too_long;
      } else {
        out.push_back(std::move(prompt));
      }
      return {};
    }));
    if (too_long > 0)
      notices->push_back(
          fmt::format("{}: {} prompts leave no room to answer within {} tokens (rollout.max_length) and were left out", path,
                      too_long, longest));
  }
  return out;
}

}  // namespace

Result<TrainPrompt> read_prompt(const Json& record, const TextCodec& codec, const Thinking& thinking,
                                const RolloutRecipe& rollout) {
  if (!record.is_object()) return error("must be a JSON object");
  if (!codec.tokenizer) return error("text needs a tokenizer, and this model has none");
  const char* key = nullptr;
  for (const char* k : {"messages", "prompt", "question", "problem"})
    if (!key && record.contains(k)) key = k;
  if (!key) return error("has none of \"messages\", \"prompt\", \"question\" and \"problem\"");
  RAISON_ASSIGN(const Json messages, messages_in(record, key, rollout.system));
  TrainPrompt out;
  out.question = std::make_shared<Question>(Question{text_in(messages), nlohmann::json::parse(record.dump())});
  const ThinkFormat* format = thinking.format ? &*thinking.format : nullptr;
  if (!codec.chat_template) {
    if (!record[key].is_string()) return error("without a chat template \"{}\" must be a text", key);
    const std::string text =
        rollout.system.empty() ? record[key].get<std::string>() : rollout.system + "\n" + record[key].get<std::string>();
    RAISON_ASSIGN(out.tokens, codec.tokenizer->encode(text));
    if (format) out.start = phase_of(think_start_after_raw(*format, text));
  } else {
    Json variables = {{"messages", messages}};
    const auto piece = [&](std::optional<TokenId> id) { return id ? codec.tokenizer->piece(*id) : std::string(); };
    variables["bos_token"] = piece(codec.tokenizer->bos());
    variables["eos_token"] = piece(codec.tokenizer->eos());
    if (record.contains("tools")) variables["tools"] = record["tools"];
    ThinkOptions how;
    if (format) how.thinking = rollout.think.value_or(true);
    RAISON_ASSIGN(const ThinkPrompt prompt, think_prompt(*codec.chat_template, format, std::move(variables), how));
    RAISON_ASSIGN(out.tokens, codec.tokenizer->encode(prompt.text, {false, true}));
    if (format) out.start = phase_of(prompt.start);
  }
  if (out.tokens.empty()) return error("the prompt is empty");
  for (const int32_t t : out.tokens)
    if (codec.vocab > 0 && t >= codec.vocab)
      return error("token {} is outside of the model's vocabulary of {}", t, codec.vocab);
  return out;
}

Result<std::unique_ptr<PromptSource>> make_prompt_source(const Recipe& recipe, const TextCodec& codec, const Thinking& thinking,
                                                         int64_t longest, std::vector<std::string>* notices) {
  if (!recipe.data.task.empty()) {
    RAISON_ASSIGN(auto task, make_synthetic_task(recipe.data.task));
    return std::unique_ptr<PromptSource>(std::make_unique<TaskPrompts>(std::move(task), recipe.seed));
  }
  RAISON_ASSIGN(auto train, read_prompt_files(recipe.data.train, codec, thinking, recipe.rollout, longest, notices));
  RAISON_ASSIGN(auto valid, read_prompt_files(recipe.data.valid, codec, thinking, recipe.rollout, longest, notices));
  if (train.empty()) return error("{}: data.train holds no prompts", recipe.file);
  return std::unique_ptr<PromptSource>(
      std::make_unique<FilePrompts>(std::move(train), std::move(valid), recipe.data.shuffle, recipe.seed));
}

}  // namespace raison
