#include "cli/session.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "base/memory.h"
#include "cli/hub_session.h"
#include "convert/peft.h"

namespace raison::cli {
namespace fs = std::filesystem;
namespace {

fs::path executable_folder() {
  std::error_code ec;
  const fs::path self = fs::read_symlink("/proc/self/exe", ec);
  return ec ? fs::path() : self.parent_path();
}

// Folders that may hold the bundled models, best first.
std::vector<fs::path> model_folders() {
  std::vector<fs::path> folders;
  if (const char* env = getenv("RAISON_MODELS"); env && *env) return {fs::path(env)};
  if (const fs::path exe = executable_folder(); !exe.empty()) {
    folders.push_back(exe / "../../models");            // build/<preset>/raison in the source tree
    folders.push_back(exe / "../share/raison/models");  // installed
    folders.push_back(exe / "models");
  }
  return folders;
}

std::string existing(const fs::path& path) {
  std::error_code ec;
  return fs::exists(path, ec) ? path.string() : "";
}

void add_id(std::vector<int32_t>* ids, std::optional<int64_t> id) {
  if (!id || *id < 0 || *id > INT32_MAX) return;
  const auto value = static_cast<int32_t>(*id);
  if (std::find(ids->begin(), ids->end(), value) == ids->end()) ids->push_back(value);
}

Status add_template(TextSide* text, const std::string& source, const std::string& where) {
  if (source.empty()) return {};
  RAISON_ASSIGN(text->chat_template, ChatTemplate::parse(source, where));
  return {};
}

void add_token_facts(TextSide* text) {
  if (const auto bos = text->tokenizer->bos()) text->bos_text = text->tokenizer->piece(*bos);
  if (const auto eos = text->tokenizer->eos()) {
    text->eos_text = text->tokenizer->piece(*eos);
    add_id(&text->stop_ids, *eos);
  }
}

Result<TextSide> text_from_hf(const std::string& path, const std::string& tokenizer_json, const std::string& tokenizer_config,
                              const std::string& jinja) {
  TextSide text;
  text.path = path;
  // Kimi-K2 has a tiktoken file instead.
  const std::string tiktoken = tokenizer_json.empty() ? existing(fs::path(path) / "tiktoken.model") : "";
  const std::string& vocabulary = tiktoken.empty() ? tokenizer_json : tiktoken;
  if (vocabulary.empty())
    return error("{}: has no tokenizer.json, so text cannot be turned into tokens; add the model's tokenizer.json", path);
  RAISON_ASSIGN(const std::string file, read_file(vocabulary));
  std::string config, source;
  if (!tokenizer_config.empty()) { RAISON_ASSIGN(config, read_file(tokenizer_config)); }
  RAISON_ASSIGN(text.tokenizer, tiktoken.empty() ? Tokenizer::from_hf_json(file, config, vocabulary)
                                                 : Tokenizer::from_tiktoken(file, config, vocabulary));
  std::string where = jinja;
  if (!jinja.empty()) {
    RAISON_ASSIGN(source, read_file(jinja, size_t{8} << 20));
  } else if (!config.empty()) {
    where = tokenizer_config;
    RAISON_ASSIGN(source, chat_template_of_tokenizer_config(config, tokenizer_config));
  }
  RAISON_RETURN_IF_ERROR(add_template(&text, source, where));
  add_token_facts(&text);
  return text;
}

Result<TextSide> text_from_gguf(const std::string& path, const Metadata& metadata) {
  TextSide text;
  text.path = path;
  RAISON_ASSIGN(text.tokenizer, Tokenizer::from_gguf(metadata, path));
  RAISON_RETURN_IF_ERROR(add_template(&text, metadata.string("tokenizer.chat_template").value_or(""), path));
  add_token_facts(&text);
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
    add_id(&text.stop_ids, metadata.integer(key));
  return text;
}

bool is_tokenizer_folder(const std::string& path) {
  std::error_code ec;
  return fs::is_directory(path, ec) && !fs::exists(fs::path(path) / "config.json", ec) &&
         (fs::exists(fs::path(path) / "tokenizer.json", ec) || fs::exists(fs::path(path) / "tiktoken.model", ec));
}

}  // namespace

Result<std::string> resolve_model(const std::string& argument) {
  std::error_code ec;
  if (!argument.empty() && fs::exists(argument, ec)) return argument;
  const bool plain_name = argument.find('/') == std::string::npos;
  if (!argument.empty() && !plain_name) return find_in_hub_cache(argument);
  const std::string name = argument.empty() ? kBundledModel : argument;
  for (const fs::path& folder : model_folders()) {
    const fs::path candidate = folder / name;
    if (fs::exists(candidate / "config.json", ec)) {
      const fs::path canonical = fs::canonical(candidate, ec);
      return ec ? candidate.string() : canonical.string();
    }
  }
  if (!argument.empty()) return argument;
  return error("the bundled model {} is not there: give the path of a model, or set RAISON_MODELS to the folder that holds {}",
               kBundledModel, kBundledModel);
}

Result<std::string> TextSide::render(const nlohmann::ordered_json& messages, bool generation_prompt) const {
  if (!chat_template) return error("{}: the model has no chat template; use --raw for plain continuation", path);
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
  variables["messages"] = messages;
  variables["add_generation_prompt"] = generation_prompt;
  variables["bos_token"] = bos_text;
  variables["eos_token"] = eos_text;
  return chat_template->render(variables);
}

Result<TextSide> load_text_side(const ModelFiles& files) {
  auto text = files.gguf
                  ? text_from_gguf(files.path, files.gguf->metadata())
                  : text_from_hf(files.path, files.tokenizer_json, files.tokenizer_config_json, files.chat_template_jinja);
  if (text.ok())
    for (int64_t id : files.generation.eos_ids) add_id(&text->stop_ids, id);
  return text;
}

Result<TextSide> load_text_side(const std::string& path) {
  if (is_tokenizer_folder(path)) {
    const fs::path folder(path);
    return text_from_hf(path, existing(folder / "tokenizer.json"), existing(folder / "tokenizer_config.json"),
                        existing(folder / "chat_template.jinja"));
  }
  RAISON_ASSIGN(const ModelFiles files, ModelFiles::open(path, false));
  return load_text_side(files);
}

Result<std::unique_ptr<LoadedModel>> load_for_use(const std::string& argument, int threads, bool need_text, LoadOptions options,
                                                  const std::string& adapter) {
  auto loaded = std::make_unique<LoadedModel>();
  RAISON_ASSIGN(loaded->kernels, select_kernels_from_environment());
  RAISON_ASSIGN(const std::string path, resolve_model(argument));
  RAISON_ASSIGN(loaded->files, ModelFiles::open(path));
  auto text = load_text_side(loaded->files);
  if (text.ok()) {
    loaded->text = std::move(text).value();
  } else if (need_text) {
    return text.error();
  }
  if (!adapter.empty()) {
    RAISON_ASSIGN(const auto outline, outline_model(loaded->files));
    RAISON_RETURN_IF_ERROR(read_lora(adapter, *outline, false));
  }
  if (!options.weights_memory) {  // experts beyond what is free would be swapped, or end the program
    if (const auto free = available_memory()) options.weights_memory = *free / 100 * 85;
    options.weights_memory_is_wish = true;
  }
  RAISON_ASSIGN(loaded->model, load_model(loaded->files, options));
  if (!adapter.empty()) {
    RAISON_ASSIGN(LoraAdapter lora, read_lora(adapter, *loaded->model, false));
    loaded->adapter = loaded->model->add_adapter(std::move(lora.adapter));
  }
  const int64_t vocab = loaded->model->info().vocab;
  std::erase_if(loaded->text.stop_ids, [&](int32_t id) { return id >= vocab; });
  loaded->pool = std::make_unique<ThreadPool>(threads > 0 ? threads : ThreadPool::default_threads());
  return loaded;
}

DType float_type_from(const std::string& name) {
  return name == "f16" ? DType::F16 : name == "bf16" ? DType::BF16 : DType::F32;
}

Result<DType> cache_type_for(const Model& model, const std::string& name) {
  if (name.empty()) return model.default_cache_type();
  const DType type = name == "i8" ? DType::I8 : name == "i16" ? DType::I16 : float_type_from(name);
  RAISON_RETURN_IF_ERROR(model.kv_layout(type, kAttentionSplit));
  return type;
}

std::string cache_type_name(DType type) {
  std::string name = dtype_name(type);
  for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return name;
}

ThinkIds think_ids(const Tokenizer& tokenizer) { return {tokenizer.id_of("<think>"), tokenizer.id_of("</think>")}; }

}  // namespace raison::cli
