#include "train/model_setup.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "train/hash.h"
#include "train/init.h"
#include "train/task_source.h"

namespace raison {
namespace {
namespace fs = std::filesystem;

// The tokenizer files of a folder, or of the folder in which a tokenizer.json lies.
Result<ModelText> read_tokenizer_files(const std::string& path) {
  std::error_code ec;
  const fs::path folder = fs::is_directory(path, ec) ? fs::path(path) : fs::path(path).parent_path();
  const fs::path main = fs::is_directory(path, ec) ? folder / "tokenizer.json" : fs::path(path);
  ModelText text;
  RAISON_ASSIGN(text.tokenizer_json, read_file(main.string(), size_t{1} << 29));
  const auto optional_file = [&](const char* name, std::string* out) -> Status {
    const std::string file = (folder / name).string();
    if (!fs::exists(file, ec)) return {};
    RAISON_ASSIGN(*out, read_file(file, size_t{1} << 26));
    return {};
  };
  RAISON_RETURN_IF_ERROR(optional_file("tokenizer_config.json", &text.tokenizer_config_json));
  RAISON_RETURN_IF_ERROR(optional_file("chat_template.jinja", &text.chat_template_jinja));
  return text;
}

Result<TextCodec> codec_of(const ModelText& text, const std::string& where) {
  TextCodec codec;
  if (text.tokenizer_json.empty()) return codec;
  RAISON_ASSIGN(codec.tokenizer, Tokenizer::from_hf_json(text.tokenizer_json, text.tokenizer_config_json, where));
  std::string source = text.chat_template_jinja;
  if (source.empty() && !text.tokenizer_config_json.empty()) {
    RAISON_ASSIGN(source, chat_template_of_tokenizer_config(text.tokenizer_config_json, where));
  }
  if (!source.empty()) { RAISON_ASSIGN(codec.chat_template, ChatTemplate::parse(source, where)); }
  return codec;
}

// A key that the model's own config does not know is a misspelling, or asks for what would not be done.
Status check_config_keys(const nlohmann::json& config, const Model& model, const std::string& where) {
  static const std::set<std::string> kOthers = {"rope_scaling", "rope_parameters",    "attention_bias",
                                                "mlp_bias",     "use_sliding_window", "pad_token_id",
                                                "bos_token_id", "eos_token_id",       "initializer_range"};
  const auto known = model.hf_config(DType::F32);
  for (const auto& [key, value] : config.items())
    if (!known.contains(key) && !kOthers.count(key))
      return error("{}: model.config.{}: unknown key of a {} model", where, key, model.info().architecture);
  return {};
}

// What decoding stops at, and what a reader of the exported model looks up.
Status check_token_ids(const nlohmann::json& config, const Model& model, const std::string& where) {
  const auto fits = [&](const nlohmann::json& id) {
    return id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < model.info().vocab;
  };
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    if (!config.contains(key)) continue;
    const nlohmann::json ids = config[key].is_array() ? config[key] : nlohmann::json::array({config[key]});
    for (const auto& id : ids)
      if (!fits(id))
        return error("{}: model.config.{}: is {}, must be a token id below the vocab_size of {}", where, key, id.dump(),
                     model.info().vocab);
  }
  return {};
}

Status check_vocabulary(const TrainSetup& setup, const std::string& where) {
  if (!setup.codec.tokenizer) return {};
  const int64_t tokens = setup.codec.tokenizer->vocab_size(), vocab = setup.model->info().vocab;
  if (tokens > vocab) return error("{}: the tokenizer has {} tokens, the model a vocabulary of {}", where, tokens, vocab);
  return {};
}

// Those of the tokenizer and of generation_config.json, beside those of the model's files.
void add_stop_ids(TrainSetup* setup) {
  std::vector<int32_t>& ids = setup->stop_ids;
  if (setup->codec.tokenizer)
    if (const auto eos = setup->codec.tokenizer->eos()) ids.push_back(*eos);
  const auto& g = setup->text.generation_config;
  const auto add = [&](const nlohmann::ordered_json& id) {
    if (id.is_number_integer()) ids.push_back(id.get<int32_t>());
  };
  if (g.is_object() && g.contains("eos_token_id")) {
    add(g["eos_token_id"]);
    if (g["eos_token_id"].is_array()) std::for_each(g["eos_token_id"].begin(), g["eos_token_id"].end(), add);
  }
  std::erase_if(ids, [&](int32_t id) { return id < 0 || id >= setup->model->info().vocab; });
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

nlohmann::ordered_json new_generation_config(const nlohmann::json& config) {
  nlohmann::ordered_json j = nlohmann::ordered_json::object();
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"})
    if (config.contains(key)) j[key] = nlohmann::ordered_json::parse(config[key].dump());
  return j.empty() ? nlohmann::ordered_json() : j;
}

// A new adapter on the frozen base, or one that is trained further.
Status add_lora(const Recipe& recipe, TrainSetup* setup) {
  for (const auto& p : setup->model->parameters().all()) p->trainable = false;
  if (!recipe.lora.adapter.empty()) {
    RAISON_ASSIGN(setup->lora, read_lora(recipe.lora.adapter, *setup->model, true));
  } else {
    auto made = create_lora(*setup->model, recipe.lora.config, recipe.seed);
    if (!made.ok()) return error("{}: {}", recipe.file, made.message());
    setup->lora = std::move(made).value();
  }
  setup->lora->config.base_model = recipe.model.path;
  setup->adapter = setup->model->add_adapter(setup->lora->adapter);
  return {};
}

// Tells one frozen base from another by the beginning of each of its parameters; experts are only packed when they are needed.
std::string weights_mark(const Model& model) {
  constexpr int64_t kBytes = 4096;
  uint64_t h = 0;
  for (const auto& p : model.parameters().all()) {
    if (p->source) continue;
    const void* data = p->is_matrix() ? static_cast<const void*>(p->matrix.view().data) : p->vector.data();
    const int64_t bytes = p->is_matrix() ? p->matrix.bytes() : static_cast<int64_t>(p->vector.size() * sizeof(float));
    h = hash_bytes(data, static_cast<size_t>(std::min(bytes, kBytes)), h);
  }
  return fmt::format("{:016x}", h);
}

Result<TrainSetup> load_existing(const Recipe& recipe) {
  TrainSetup setup;
  RAISON_ASSIGN(const ModelFiles files, ModelFiles::open(recipe.model.path));
  LoadOptions options;
  options.trainable = !recipe.lora.on;
  options.repack = recipe.model.weights;
  RAISON_ASSIGN(setup.model, load_model(files, options));
  if (recipe.lora.on) RAISON_RETURN_IF_ERROR(add_lora(recipe, &setup));
  RAISON_ASSIGN(setup.text, read_model_text(files));
  for (const int64_t id : files.generation.eos_ids) setup.stop_ids.push_back(static_cast<int32_t>(id));
  return setup;
}

Result<TrainSetup> make_new(const Recipe& recipe) {
  TrainSetup setup;
  RAISON_ASSIGN(setup.model, create_model(recipe.model.config, recipe.file + ": model.config"));
  RAISON_RETURN_IF_ERROR(check_config_keys(recipe.model.config, *setup.model, recipe.file));
  RAISON_RETURN_IF_ERROR(check_token_ids(recipe.model.config, *setup.model, recipe.file));
  initialise(*setup.model, recipe.model.init, recipe.seed);
  if (!recipe.data.task.empty()) { RAISON_ASSIGN(setup.text, task_text(recipe.data.task)); }
  if (setup.text.generation_config.is_null()) setup.text.generation_config = new_generation_config(recipe.model.config);
  return setup;
}

}  // namespace

Result<TrainSetup> set_up_model(const Recipe& recipe) {
  RAISON_ASSIGN(TrainSetup setup, recipe.model.path.empty() ? make_new(recipe) : load_existing(recipe));
  std::string where = recipe.model.path;
  // Before the first step: what is taught must be able to leave as a folder.
  if (const Status sayable = setup.model->expressible_in_hf(); !setup.lora && !sayable.ok())
    return error("{}: {}", where, sayable.message());
  if (!recipe.model.tokenizer.empty()) {
    where = recipe.model.tokenizer;
    RAISON_ASSIGN(ModelText text, read_tokenizer_files(where));
    text.generation_config = setup.text.generation_config;
    setup.text = std::move(text);
  } else if (where.empty()) {
    where = recipe.data.task;
  }
  RAISON_ASSIGN(setup.codec, codec_of(setup.text, where));
  setup.codec.vocab = setup.model->info().vocab;
  RAISON_RETURN_IF_ERROR(check_vocabulary(setup, recipe.file));
  add_stop_ids(&setup);
  if (!recipe.data.task.empty()) {
    RAISON_ASSIGN(const auto task, make_synthetic_task(recipe.data.task));
    if (!setup.codec.tokenizer) return error("{}: the task {} needs a model with its tokenizer", where, task->name());
    RAISON_RETURN_IF_ERROR(check_task_tokenizer(*task, *setup.codec.tokenizer, where));
  }
  return setup;
}

nlohmann::ordered_json model_identity(const TrainSetup& setup) {
  const auto hash = [](const std::string& text) { return fmt::format("{:016x}", hash_bytes(text.data(), text.size())); };
  nlohmann::ordered_json j;
  j["config"] = setup.model->hf_config(DType::F32);
  j["tokenizer.json"] = hash(setup.text.tokenizer_json);
  j["tokenizer_config.json"] = hash(setup.text.tokenizer_config_json);
  j["chat_template.jinja"] = hash(setup.text.chat_template_jinja);
  j["generation_config.json"] = hash(setup.text.generation_config.dump());
  if (setup.lora) j["weights"] = weights_mark(*setup.model);
  return j;
}

Status check_same_model(const nlohmann::ordered_json& before, const TrainSetup& now, const Recipe& recipe,
                        const std::string& where) {
  if (before.is_null()) return {};
  const auto after = model_identity(now);
  const std::string name = recipe.model.path.empty() ? "the model of " + recipe.file : recipe.model.path;
  constexpr const char* kWhatToDo = "put back the former one, or begin anew in another folder (out)";
  const auto member = [](const nlohmann::ordered_json& j, const std::string& key) {
    return j.is_object() ? j.value(key, nlohmann::ordered_json()) : nlohmann::ordered_json();
  };
  const auto old_config = member(before, "config");
  std::set<std::string> keys;
  for (const auto* config : {&old_config, &after["config"]})
    for (const auto& item : config->items()) keys.insert(item.key());
  for (const std::string& key : keys)
    if (member(old_config, key) != member(after["config"], key))
      return error("{}: this run was begun with a model of {} = {}, {} has {}; {}", where, key, member(old_config, key).dump(),
                   name, member(after["config"], key).dump(), kWhatToDo);
  for (const auto& item : after.items())
    if (item.key() != "config" && member(before, item.key()) != item.value())
      return error("{}: {} of {} is not the one that this run was begun with; {}", where, item.key(),
                   recipe.model.tokenizer.empty() || item.key() == "weights" ? name : recipe.model.tokenizer, kWhatToDo);
  return {};
}

namespace {

Status resolve_rollout(const ModelInfo& info, Recipe* recipe) {
  int64_t& length = recipe->rollout.max_length;
  if (length == 0 && !recipe->data.task.empty()) {
    RAISON_ASSIGN(const auto task, make_synthetic_task(recipe->data.task));
    length = task->max_sequence();
  }
  if (length == 0) length = info.context_length;
  if (length > info.context_length)
    return error("{}: rollout.max_length: is {}, the model's context is {}", recipe->file, length, info.context_length);
  int64_t& cache = recipe->policy.overlong_cache;
  if (cache < 0) cache = recipe->policy.name == "dapo" ? length / 5 : 0;
  if (cache >= length)
    return error("{}: policy.overlong_cache: is {}, must be less than the {} tokens of a rollout", recipe->file, cache, length);
  return {};
}

}  // namespace

Status resolve_lengths(const ModelInfo& info, Recipe* recipe) {
  if (recipe->kind == TrainKind::Grpo) return resolve_rollout(info, recipe);
  int64_t& length = recipe->data.max_length;
  if (!recipe->data.task.empty()) {
    RAISON_ASSIGN(const auto task, make_synthetic_task(recipe->data.task));
    length = task->max_sequence();
  }
  const int64_t budget = recipe->batch.tokens > 0 ? recipe->batch.tokens : info.context_length;
  if (length == 0) length = std::min({info.context_length, budget, int64_t{2048}});
  if (length > info.context_length)
    return error("{}: data.max_length: is {}, the model's context is {} (max_position_embeddings)", recipe->file, length,
                 info.context_length);
  if (length > budget)
    return error("{}: data.max_length: is {}, more than the {} tokens of a micro-batch (batch.tokens)", recipe->file, length,
                 budget);
  return {};
}

}  // namespace raison
