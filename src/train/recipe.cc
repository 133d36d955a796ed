#include "train/recipe.h"

#include <filesystem>
#include <set>

#include "base/file.h"
#include "tokenizer/utf8.h"
#include "train/recipe_overrides.h"
#include "train/synthetic_task.h"
#include "train/toml_section.h"

namespace raison {
namespace {

constexpr int64_t kMany = int64_t{1} << 40;

std::optional<DType> float_type(const std::string& name) {
  if (name == "f32") return DType::F32;
  if (name == "f16") return DType::F16;
  if (name == "bf16") return DType::BF16;
  return std::nullopt;
}

const char* float_type_name(DType type) { return type == DType::F16 ? "f16" : type == DType::BF16 ? "bf16" : "f32"; }

DType cache_type_of(const std::string& name) {
  return name == "i8" ? DType::I8 : name == "i16" ? DType::I16 : *float_type(name);
}
const char* cache_type_name(DType type) {
  return type == DType::I8 ? "i8" : type == DType::I16 ? "i16" : float_type_name(type);
}

// Reads the sections one by one into a Recipe; the first error wins.
class RecipeReader {
 public:
  RecipeReader(const toml::table& root, std::string where) : root_(root), where_(std::move(where)) { r_.file = where_; }

  Result<Recipe> read() {
    TomlSection top(root_, "", where_, &error_);
    read_top(top);
    section(top, "model", &RecipeReader::read_model);
    section(top, "lora", &RecipeReader::read_lora);
    section(top, "data", &RecipeReader::read_data);
    section(top, "batch", &RecipeReader::read_batch);
    section(top, "optimizer", &RecipeReader::read_optimizer);
    section(top, "schedule", &RecipeReader::read_schedule);
    section(top, "rollout", &RecipeReader::read_rollouts);
    for (const toml::table* t : top.tables("reward")) {
      TomlSection s(*t, top.name("reward"), where_, &error_);
      r_.rewards.emplace_back();
      read_reward(s, &r_.rewards.back());
      s.finish();
    }
    read_policies(top);
    section(top, "checkpoint", &RecipeReader::read_checkpoint);
    section(top, "validation", &RecipeReader::read_validation);
    section(top, "log", &RecipeReader::read_log);
    section(top, "export", &RecipeReader::read_export);
    top.finish();
    check(top);
    if (error_) return *error_;
    return std::move(r_);
  }

 private:
  void section(TomlSection& parent, const char* key, void (RecipeReader::*reader)(TomlSection&)) {
    const toml::table* t = parent.table(key);
    if (!t) return;
    TomlSection s(*t, parent.name(key), where_, &error_);
    (this->*reader)(s);
    s.finish();
  }

  void read_rollouts(TomlSection& s) { read_rollout(s, &r_.rollout); }

  // The defaults depend on the loss, so an absent section is read too.
  void read_policies(TomlSection& top) {
    static const toml::table kNone;
    const toml::table* t = top.table("policy");
    TomlSection s(t ? *t : kNone, top.name("policy"), where_, &error_);
    if (r_.kind == TrainKind::Grpo) read_policy(s, r_.rollout, &r_.policy);
    if (r_.kind == TrainKind::Dpo) read_preference(s, &r_.preference);
    if (r_.kind == TrainKind::Pretrain || r_.kind == TrainKind::Sft) return only_for(top, "policy", "grpo and dpo");
    s.finish();
  }

  void only_for(TomlSection& top, const char* key, const char* kinds) {
    if (top.has(key)) top.fail(key, fmt::format("is for {}, and the recipe's kind is {}", kinds, train_kind_name(r_.kind)));
  }

  void read_top(TomlSection& s) {
    if (!s.has("kind")) s.fail("kind", "is missing; pretrain, sft, dpo or grpo");
    if (!s.has("steps")) s.fail("steps", "is missing; how many updates?");
    std::string kind = "sft", cache = "f32";
    s.one_of("kind", &kind, {"pretrain", "sft", "dpo", "grpo"});
    for (const TrainKind k : {TrainKind::Pretrain, TrainKind::Sft, TrainKind::Dpo, TrainKind::Grpo})
      if (kind == train_kind_name(k)) r_.kind = k;
    r_.data.loss = kind == "pretrain" ? "all" : "completion";
    int64_t seed = 1;
    s.integer("seed", &seed, 0, INT64_MAX);
    r_.seed = static_cast<uint64_t>(seed);
    s.integer("steps", &r_.steps, 1, kMany);
    s.string("out", &r_.out);
    s.boolean("recompute", &r_.recompute);
    s.one_of("cache_type", &cache, {"f32", "f16", "bf16", "i16", "i8"});
    r_.cache_type = cache_type_of(cache);
    if (r_.out.empty()) r_.out = "runs/" + std::filesystem::path(where_).stem().string();
  }

  void read_model(TomlSection& s) {
    s.string("path", &r_.model.path);
    s.string("tokenizer", &r_.model.tokenizer);
    s.json("config", &r_.model.config);
    read_weights_type(s, &r_.model.weights);
    if (const toml::table* t = s.table("init")) {
      TomlSection init(*t, s.name("init"), where_, &error_);
      init.number("std", &r_.model.init.std, 0, 10);
      init.number("residual_scale", &r_.model.init.residual_scale, 0, 10);
      init.number("embedding_std", &r_.model.init.embedding_std, 0, 10);
      init.finish();
    }
    if (!r_.model.path.empty() && s.has("config"))
      s.fail("config", "describes a new model, but model.path names one to start from");
    if (!r_.model.path.empty() && s.has("init")) s.fail("init", "is for a new model, but model.path names one to start from");
  }

  void read_lora(TomlSection& s) { read_lora_section(s, &r_.lora); }

  void read_data(TomlSection& s) {
    DataRecipe& d = r_.data;
    s.one_of("task", &d.task, synthetic_task_names());
    s.strings("train", &d.train);
    s.strings("valid", &d.valid);
    s.one_of("format", &d.format, {"auto", "messages", "prompt_completion", "text", "tokens"});
    s.one_of("loss", &d.loss, {"completion", "all"});
    s.boolean("token_weights", &d.token_weights);
    s.integer("max_length", &d.max_length, 2, int64_t{1} << 24);
    s.boolean("shuffle", &d.shuffle);
    if (r_.kind == TrainKind::Grpo)
      for (const char* key : {"format", "loss", "token_weights", "max_length"})
        if (s.has(key)) s.fail(key, "is not for grpo, whose data are questions (a reply's length is rollout.max_length)");
    for (const char* key : {"train", "valid", "format", "loss", "token_weights", "max_length", "shuffle"})
      if (!d.task.empty() && s.has(key)) s.fail(key, fmt::format("is for files; the task \"{}\" makes its own data", d.task));
  }

  void read_batch(TomlSection& s) {
    s.integer("tokens", &r_.batch.tokens, 2, int64_t{1} << 24);
    s.integer("sequences", &r_.batch.sequences, 1, 1 << 20);
    s.integer("accumulation", &r_.batch.accumulation, 1, 1 << 20);
    if (s.has("tokens") && s.has("sequences")) s.fail("sequences", "and batch.tokens exclude each other; set one of them");
  }

  void read_optimizer(TomlSection& s) {
    OptimizerRecipe& o = r_.optimizer;
    std::vector<double> betas = {o.beta1, o.beta2};
    s.one_of("name", &o.name, {"adamw"});
    s.number("lr", &o.lr, 1e-12, 10);
    s.numbers("betas", &betas, 2, 0, 0.9999999);
    s.number("eps", &o.eps, 1e-30, 1);
    s.number("weight_decay", &o.weight_decay, 0, 10);
    s.one_of("decay", &o.decay, {"all", "matrices"});
    s.number("clip", &o.clip, 0, 1e9);
    o.beta1 = betas[0];
    o.beta2 = betas[1];
    if (o.lr * o.weight_decay >= 1) s.fail("weight_decay", "times lr must be less than 1");
  }

  void read_schedule(TomlSection& s) {
    ScheduleRecipe& c = r_.schedule;
    s.one_of("name", &c.name,
             {"constant", "linear", "cosine", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "inverse_sqrt",
              "warmup_stable_decay", "wsd", "miniature", "miniature_linear"});
    s.integer("warmup", &c.warmup, 0, kMany);
    s.number("min", &c.min, 0, 1);
    s.integer("decay_steps", &c.decay_steps, 0, kMany);
    s.one_of("decay_type", &c.decay_type, {"linear", "cosine", "1-sqrt"});
    if (c.warmup > r_.steps) s.fail("warmup", fmt::format("is {}, longer than the {} steps of the run", c.warmup, r_.steps));
    if (c.decay_steps + c.warmup > r_.steps)
      s.fail("decay_steps", fmt::format("and warmup are {} together, longer than the {} steps of the run",
                                        c.decay_steps + c.warmup, r_.steps));
    const bool wsd = c.name == "wsd" || c.name == "warmup_stable_decay";
    if (wsd && !s.has("decay_steps")) s.fail("decay_steps", "is missing; over how many steps shall the rate fall at the end?");
    if (!wsd)
      for (const char* key : {"decay_steps", "decay_type"})
        if (s.has(key)) s.fail(key, fmt::format("is for the schedule warmup_stable_decay, not for {}", c.name));
    for (const char* without : {"constant", "linear", "cosine", "inverse_sqrt"})
      if (s.has("min") && c.name == without) s.fail("min", fmt::format("is not for the schedule {}", c.name));
  }

  void read_checkpoint(TomlSection& s) {
    s.string("dir", &r_.checkpoint_dir);
    s.integer("every", &r_.checkpoint_every, 0, kMany);
    s.integer("minutes", &r_.checkpoint_minutes, 0, kMany);
    if (r_.kind != TrainKind::Grpo && s.has("minutes")) s.fail("minutes", "is for grpo, whose steps may be long");
    s.integer("keep_last", &r_.keep_last, 1, 1 << 20);
  }

  void read_validation(TomlSection& s) {
    s.integer("every", &r_.validation_every, 0, kMany);
    s.integer("sequences", &r_.validation_sequences, 1, 1 << 24);
  }

  void read_log(TomlSection& s) {
    s.integer("every", &r_.log_every, 1, kMany);
    s.integer("samples", &r_.log_samples, 0, kMany);
    if (r_.kind != TrainKind::Grpo && s.has("samples")) s.fail("samples", "is for grpo, which draws some");
  }

  void read_export(TomlSection& s) {
    std::string type = "f32";
    s.one_of("type", &type, {"f32", "bf16"});
    r_.export_type = *float_type(type);
  }

  // What no single section can know.
  void check(TomlSection& top) {
    if (error_) return;
    if (r_.checkpoint_dir.empty()) r_.checkpoint_dir = r_.out + "/checkpoints";
    if (r_.kind != TrainKind::Grpo)
      for (const char* key : {"rollout", "reward"}) only_for(top, key, "grpo");
    if (r_.kind == TrainKind::Grpo || r_.kind == TrainKind::Dpo) check_policy(top);
    if (error_) return;
    if (r_.model.path.empty() && r_.model.config.is_null())
      top.fail("model", "needs path (a model to start from) or a table config (a new one)");
    else if (r_.lora.on && r_.model.path.empty())
      top.fail("lora", "needs model.path: the base that the adapter is for");
    else if (r_.model.weights && !r_.lora.on)
      top.fail("model", "weights is for a frozen base, beside a section lora; what is trained is f32");
    else if (r_.data.task.empty() && r_.data.train.empty())
      top.fail("data", "needs task or train (JSONL files)");
    else if (r_.model.path.empty() && r_.model.tokenizer.empty() && r_.data.task.empty() && r_.data.format != "tokens")
      top.fail("model", "a new model needs model.tokenizer (unless data.format is tokens)");
    else if (r_.batch.tokens == 0 && r_.batch.sequences == 0)
      top.fail("batch", "needs tokens or sequences");
    else if (!r_.data.task.empty() && r_.batch.tokens == 0)
      top.fail("batch", "needs tokens: the task cuts its data by a token budget");
    else if (r_.validation_every > 0 && r_.data.task.empty() && r_.data.valid.empty())
      top.fail("validation", "is asked for, but data.valid names no file");
  }

  void check_policy(TomlSection& top) {
    const bool grpo = r_.kind == TrainKind::Grpo;
    if (r_.model.path.empty())
      top.fail("model",
               "needs path: rewards and preferences teach a model that can already answer; begin with pretrain or sft");
    if (r_.batch.sequences > 0) top.fail("batch", "takes tokens: how many go through the model at once in an update");
    if (r_.batch.accumulation != 1)
      top.fail("batch", "has no accumulation here: a step's micro-batches are as many as it needs");
    if (r_.batch.tokens == 0) r_.batch.tokens = 4096;
    if (!grpo && !r_.data.task.empty()) top.fail("data", "needs train: files of preference pairs");
    if (grpo && r_.rewards.empty() && r_.data.task.empty())
      top.fail("reward", "is missing: what is a good reply? e.g. [[reward]] with verifier = \"math\"");
    if (grpo && r_.rewards.empty()) r_.rewards.push_back({"task", "task", 1, nullptr});
    std::set<std::string> names = {"overlong"};
    for (const RewardRecipe& w : r_.rewards)
      if (!names.insert(w.name).second)
        top.fail("reward", fmt::format("two parts are named \"{}\"; give one a name of its own", w.name));
    for (const RewardRecipe& w : r_.rewards)
      if (w.verifier == "task" && r_.data.task.empty()) top.fail("reward", "\"task\" is for built-in tasks (data.task)");
  }

  const toml::table& root_;
  std::string where_;
  std::optional<Error> error_;
  Recipe r_;
};

}  // namespace

const char* train_kind_name(TrainKind kind) {
  switch (kind) {
    case TrainKind::Pretrain: return "pretrain";
    case TrainKind::Sft: return "sft";
    case TrainKind::Dpo: return "dpo";
    case TrainKind::Grpo: return "grpo";
  }
  return "?";
}

Result<Recipe> parse_recipe(std::string_view text, const std::string& where, const std::vector<std::string>& settings) {
  if (!is_valid_utf8(text)) return error("{}: not valid UTF-8", where);
  RAISON_RETURN_IF_ERROR(check_toml_depth(text, where));
  try {
    toml::table root = toml::parse(text, where);
    RAISON_RETURN_IF_ERROR(override_recipe(&root, settings));
    return RecipeReader(root, where).read();
  } catch (const toml::parse_error& e) {
    std::string why(e.description());
    for (char& c : why)
      if (c == '\n' || c == '\r') c = ' ';
    return error("{}:{}: not valid TOML: {}", where, e.source().begin.line, why);
  } catch (const std::exception& e) { return error("{}: {}", where, e.what()); }
}

Result<Recipe> read_recipe(const std::string& path) {
  RAISON_ASSIGN(const std::string text, read_file(path, size_t{1} << 24));
  return parse_recipe(text, path);
}

nlohmann::ordered_json recipe_json(const Recipe& r) {
  nlohmann::ordered_json j;
  j["kind"] = train_kind_name(r.kind);
  j["seed"] = r.seed;
  j["steps"] = r.steps;
  j["out"] = r.out;
  j["recompute"] = r.recompute;
  j["cache_type"] = cache_type_name(r.cache_type);
  j["model.path"] = r.model.path;
  j["model.config"] = nlohmann::ordered_json::parse(r.model.config.dump());
  j["model.init.std"] = r.model.init.std;
  j["model.init.residual_scale"] = r.model.init.residual_scale;
  j["model.init.embedding_std"] = r.model.init.embedding_std;
  j["model.tokenizer"] = r.model.tokenizer;
  add_lora_json(r.lora, r.model.weights, &j);
  j["data.task"] = r.data.task;
  j["data.train"] = r.data.train;
  j["data.valid"] = r.data.valid;
  j["data.format"] = r.data.format;
  j["data.loss"] = r.data.loss;
  j["data.token_weights"] = r.data.token_weights;
  j["data.max_length"] = r.data.max_length;
  j["data.shuffle"] = r.data.shuffle;
  j["batch.tokens"] = r.batch.tokens;
  j["batch.sequences"] = r.batch.sequences;
  j["batch.accumulation"] = r.batch.accumulation;
  j["optimizer.name"] = r.optimizer.name;
  j["optimizer.lr"] = r.optimizer.lr;
  j["optimizer.betas"] = {r.optimizer.beta1, r.optimizer.beta2};
  j["optimizer.eps"] = r.optimizer.eps;
  j["optimizer.weight_decay"] = r.optimizer.weight_decay;
  j["optimizer.decay"] = r.optimizer.decay;
  j["optimizer.clip"] = r.optimizer.clip;
  j["schedule.name"] = r.schedule.name;
  j["schedule.warmup"] = r.schedule.warmup;
  j["schedule.min"] = r.schedule.min;
  j["schedule.decay_steps"] = r.schedule.decay_steps;
  j["schedule.decay_type"] = r.schedule.decay_type;
  j["checkpoint.dir"] = r.checkpoint_dir;
  j["checkpoint.every"] = r.checkpoint_every;
  j["checkpoint.keep_last"] = r.keep_last;
  j["validation.every"] = r.validation_every;
  j["validation.sequences"] = r.validation_sequences;
  j["log.every"] = r.log_every;
  if (r.kind == TrainKind::Grpo) {
    j["checkpoint.minutes"] = r.checkpoint_minutes;
    j["log.samples"] = r.log_samples;
    policy_json(r.rollout, r.rewards, r.policy, &j);
  }
  if (r.kind == TrainKind::Dpo) j["policy.beta"] = r.preference.beta;
  if (r.kind == TrainKind::Dpo) j["policy.pairs"] = r.preference.pairs;
  j["export.type"] = float_type_name(r.export_type);
  return j;
}

Status check_same_recipe(const nlohmann::ordered_json& before, const Recipe& now, const std::string& where) {
  // None of these moves a bit of the weights at a given step (a longer cosine does, and that is asked for).
  static const char* const kFree[] = {
      "steps",       "out",         "recompute",          "model.path",       "model.tokenizer",      "lora.adapter",
      "data.train",  "data.valid",  "checkpoint.dir",     "checkpoint.every", "checkpoint.keep_last", "log.every",
      "export.type", "log.samples", "checkpoint.minutes", "rollout.together"};
  if (!before.is_object()) return error("{}: holds no recipe", where);
  const nlohmann::ordered_json after = recipe_json(now);
  for (const auto& [key, value] : after.items()) {
    if (std::any_of(std::begin(kFree), std::end(kFree), [&](const char* f) { return key == f; })) continue;
    const auto it = before.find(key);
    const nlohmann::ordered_json old = it == before.end() ? nlohmann::ordered_json() : *it;
    if (old != value)
      return error(
          "{}: this run was begun with {} = {}, {} says {}; only steps and paths may change, or begin anew in another "
          "folder (out)",
          where, key, old.dump(), now.file, value.dump());
  }
  return {};
}

}  // namespace raison
