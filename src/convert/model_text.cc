#include "convert/model_text.h"

#include <algorithm>

#include "models/loading.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/word_level.h"

namespace raison {
namespace {

nlohmann::ordered_json generation_json(const GenerationDefaults& g) {
  nlohmann::ordered_json j = nlohmann::ordered_json::object();
  if (g.bos_id) j["bos_token_id"] = *g.bos_id;
  if (g.eos_ids.size() == 1) j["eos_token_id"] = g.eos_ids[0];
  if (g.eos_ids.size() > 1) j["eos_token_id"] = g.eos_ids;
  if (g.pad_id) j["pad_token_id"] = *g.pad_id;
  if (g.do_sample) j["do_sample"] = *g.do_sample;
  if (g.temperature) j["temperature"] = *g.temperature;
  if (g.top_k) j["top_k"] = *g.top_k;
  if (g.top_p) j["top_p"] = *g.top_p;
  if (g.min_p) j["min_p"] = *g.min_p;
  if (g.typical_p) j["typical_p"] = *g.typical_p;
  if (g.repetition_penalty) j["repetition_penalty"] = *g.repetition_penalty;
  if (g.max_new_tokens) j["max_new_tokens"] = *g.max_new_tokens;
  return j;
}

Result<std::string> read_if_named(const std::string& path) {
  if (path.empty()) return std::string();
  return read_file(path, size_t{1} << 29);
}

constexpr const char* kEndKeys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                    "tokenizer.ggml.eom_token_id"};

nlohmann::ordered_json generation_of_gguf(const Metadata& m, const Tokenizer& tokenizer) {
  nlohmann::ordered_json j = nlohmann::ordered_json::object();
  if (const auto bos = tokenizer.bos()) j["bos_token_id"] = *bos;
  std::vector<int64_t> ends;
  if (const auto eos = tokenizer.eos()) ends.push_back(*eos);
  for (const char* key : kEndKeys)
    if (const auto id = m.integer(key); id && std::find(ends.begin(), ends.end(), *id) == ends.end()) ends.push_back(*id);
  if (ends.size() == 1) j["eos_token_id"] = ends[0];
  if (ends.size() > 1) j["eos_token_id"] = ends;
  if (const auto pad = m.integer("tokenizer.ggml.padding_token_id")) j["pad_token_id"] = *pad;
  const auto temperature = m.number("general.sampling.temp");
  if (temperature) j["do_sample"] = *temperature > 0;
  if (temperature) j["temperature"] = decimal_of_f32(*temperature);
  if (const auto k = m.integer("general.sampling.top_k")) j["top_k"] = *k;
  if (const auto p = m.number("general.sampling.top_p")) j["top_p"] = decimal_of_f32(*p);
  if (const auto p = m.number("general.sampling.min_p")) j["min_p"] = decimal_of_f32(*p);
  return j;
}

Result<ModelText> text_of_gguf(const ModelFiles& files) {
  ModelText text;
  const Metadata& m = files.gguf->metadata();
  if (!m.has("tokenizer.ggml.model")) return text;
  RAISON_ASSIGN(const auto tokenizer, Tokenizer::from_gguf(m, files.path));
  RAISON_ASSIGN(text.tokenizer_json, tokenizer->to_hf_json());
  const std::string chat = m.string("tokenizer.chat_template").value_or("");
  text.tokenizer_config_json = tokenizer_config_json(*tokenizer, "", chat);
  text.chat_template_jinja = chat;
  text.generation_config = generation_of_gguf(m, *tokenizer);
  return text;
}

// What generation_config.json says, in GGUF's keys. Of several ends of text the first is eos, the next are ends of a turn.
void add_generation(const GenerationDefaults& g, Metadata* m) {
  if (!g.eos_ids.empty()) {
    std::vector<int64_t> ends;
    if (const auto eos = m->integer(kEndKeys[0])) ends.push_back(*eos);
    for (const int64_t id : g.eos_ids)
      if (id >= 0 && std::find(ends.begin(), ends.end(), id) == ends.end()) ends.push_back(id);
    for (size_t i = 0; i < ends.size() && i < 3; ++i) m->set(kEndKeys[i], static_cast<uint64_t>(ends[i]));
  }
  if (g.pad_id && *g.pad_id >= 0) m->set("tokenizer.ggml.padding_token_id", static_cast<uint64_t>(*g.pad_id));
  const bool greedy = g.do_sample && !*g.do_sample;
  const auto real = [m](const char* key, double v) { m->set(key, double{static_cast<float>(v)}); };
  if (!greedy && g.temperature) real("general.sampling.temp", *g.temperature);
  if (!greedy && g.top_k) m->set("general.sampling.top_k", *g.top_k);
  if (!greedy && g.top_p) real("general.sampling.top_p", *g.top_p);
  if (!greedy && g.min_p) real("general.sampling.min_p", *g.min_p);
}

// GGUF's readers take a row of the embedding for every token.
Status fill_token_list(const std::string& where, int64_t vocab, Metadata* m) {
  const auto* tokens = m->strings("tokenizer.ggml.tokens");
  const auto* types = m->integers("tokenizer.ggml.token_type");
  if (tokens == nullptr || types == nullptr) return {};
  const auto have = static_cast<int64_t>(tokens->size());
  if (have > vocab) return error("{}: the tokenizer has {} tokens, the embedding {} rows", where, have, vocab);
  std::vector<std::string> filled = *tokens;
  std::vector<int64_t> filled_types = *types;
  constexpr int64_t unused = 5;
  for (int64_t i = have; i < vocab; ++i) {
    filled.push_back(fmt::format("[PAD{}]", i));
    filled_types.push_back(unused);
  }
  m->set("tokenizer.ggml.tokens", std::move(filled));
  m->set("tokenizer.ggml.token_type", std::move(filled_types));
  return {};
}

}  // namespace

Result<ModelText> read_model_text(const ModelFiles& files) {
  if (files.format == ModelFiles::Format::Gguf) return text_of_gguf(files);
  ModelText text;
  RAISON_ASSIGN(text.tokenizer_json, read_if_named(files.tokenizer_json));
  RAISON_ASSIGN(text.tokenizer_config_json, read_if_named(files.tokenizer_config_json));
  RAISON_ASSIGN(text.chat_template_jinja, read_if_named(files.chat_template_jinja));
  const nlohmann::ordered_json generation = generation_json(files.generation);
  if (!generation.empty()) text.generation_config = generation;
  return text;
}

Status write_model_text(const ModelText& text, const std::string& folder) {
  if (!text.generation_config.is_null()) {
    RAISON_RETURN_IF_ERROR(write_file_atomic(folder + "/generation_config.json", text.generation_config.dump(2) + "\n"));
  }
  const std::pair<const char*, const std::string*> files[] = {{"tokenizer.json", &text.tokenizer_json},
                                                              {"tokenizer_config.json", &text.tokenizer_config_json},
                                                              {"chat_template.jinja", &text.chat_template_jinja}};
  for (const auto& [name, content] : files) {
    if (content->empty()) continue;
    RAISON_RETURN_IF_ERROR(write_file_atomic(folder + "/" + name, *content));
  }
  return {};
}

Result<Metadata> gguf_text(const ModelFiles& files, int64_t vocab) {
  Metadata m;
  if (!files.tokenizer_json.empty()) {
    RAISON_ASSIGN(const ModelText text, read_model_text(files));
    RAISON_ASSIGN(const auto tokenizer,
                  Tokenizer::from_hf_json(text.tokenizer_json, text.tokenizer_config_json, files.tokenizer_json));
    RAISON_ASSIGN(m, tokenizer->to_gguf());
    RAISON_RETURN_IF_ERROR(fill_token_list(files.path, vocab, &m));
    std::string chat = text.chat_template_jinja;
    if (chat.empty() && !text.tokenizer_config_json.empty()) {
      RAISON_ASSIGN(chat, chat_template_of_tokenizer_config(text.tokenizer_config_json, files.tokenizer_config_json));
    }
    if (!chat.empty()) m.set("tokenizer.chat_template", chat);
  }
  add_generation(files.generation, &m);
  return m;
}

}  // namespace raison
