// For the tests of how models think: the published templates, each with a tokenizer that holds its marks.
#pragma once
#include <gtest/gtest.h>

#include <map>

#include "testing/shared_data.h"
#include "tokenizer/helpers.h"
#include "tokenizer/think_format.h"
#include "tokenizer/utf8.h"

namespace raison::think_test {

using nlohmann::ordered_json;

// Every mark of every family.
inline const std::vector<std::string>& all_marks() {
  static const std::vector<std::string> marks = {"<think>",
                                                 "</think>",
                                                 "<think>\n\n</think>\n\n",
                                                 "[THINK]",
                                                 "[/THINK]",
                                                 "<|channel|>analysis<|message|>",
                                                 "<|channel|>final<|message|>",
                                                 "<|end|><|start|>assistant<|channel|>final<|message|>",
                                                 "<|START_THINKING|>",
                                                 "<|END_THINKING|>",
                                                 "<seed:think>",
                                                 "</seed:think>",
                                                 "◁think▷",
                                                 "◁/think▷",
                                                 "<response>",
                                                 "</response>"};
  return marks;
}

// Byte-level BPE of 256 bytes, a few merges that glue marks of plain text to what stands beside them, and added tokens.
inline std::shared_ptr<Tokenizer> small_tokenizer(const std::vector<std::string>& added) {
  using nlohmann::json;
  json vocab = json::object();
  const auto name = [](std::string_view bytes) {
    std::string out;
    for (char c : bytes) append_utf8(out, byte_level_char(static_cast<uint8_t>(c)));
    return out;
  };
  for (int c = 0; c < 256; ++c) vocab[name(std::string(1, static_cast<char>(c)))] = c;
  json merges = json::array();
  for (const auto& [a, b] : std::vector<std::pair<std::string, std::string>>{
           {"t", "h"}, {"n", "k"}, {"th", "i"}, {"thi", "nk"}, {"<", "/"}, {".", "</"}, {" ", "<"}, {">", "<"}, {">", "."}}) {
    merges.push_back({name(a), name(b)});
    vocab[name(a + b)] = vocab.size();
  }
  json file = {{"version", "1.0"}, {"added_tokens", json::array()}, {"normalizer", nullptr}, {"post_processor", nullptr}};
  for (const std::string& content : added) {
    file["added_tokens"].push_back({{"id", vocab.size() + file["added_tokens"].size()},
                                    {"content", content},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", true}});
  }
  file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  file["decoder"] = {{"type", "ByteLevel"}};
  file["model"] = {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}};
  auto tokenizer = Tokenizer::from_hf_json(file.dump(), "", "small");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.message();
  return tokenizer.ok() ? *tokenizer : nullptr;
}

// A tokenizer of goldens/tokenizers, read once; null if the shared data is missing.
inline std::shared_ptr<Tokenizer> real_tokenizer(const std::string& name) {
  static std::map<std::string, std::shared_ptr<Tokenizer>> known;
  if (known.count(name)) return known[name];
  const std::string meta = raison::testing::shared_dir() + "/goldens/tokenizers/" + name + ".meta.json";
  if (!tokenizer_test::exists(meta)) return nullptr;
  auto tokenizer = tokenizer_test::golden_tokenizer(name);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.message();
  return known[name] = tokenizer.ok() ? *tokenizer : nullptr;
}

inline std::tm fixed_clock() {
  std::tm t{};  // the goldens': 2025-03-14T09:26:53, a Friday
  t.tm_year = 125, t.tm_mon = 2, t.tm_mday = 14, t.tm_hour = 9, t.tm_min = 26, t.tm_sec = 53, t.tm_wday = 5, t.tm_yday = 72;
  return t;
}

inline std::shared_ptr<ChatTemplate> parse_template(const std::string& source) {
  ChatTemplateOptions options;
  options.now = fixed_clock;
  auto parsed = ChatTemplate::parse(source, "t", options);
  EXPECT_TRUE(parsed.ok()) << parsed.message();
  return parsed.ok() ? *parsed : nullptr;
}

// The source of refdata/templates/NAME.jinja, or of the template within a tokenizer_config.json or among huggingface.js's.
inline std::string template_source(const std::string& name) {
  const std::string refdata = raison::testing::shared_dir() + "/refdata/";
  if (name.rfind("hfjs:", 0) == 0) {
    for (const auto& c : ordered_json::parse(tokenizer_test::slurp(refdata + "templates/jinja-tests/chat_template_e2e.json"))) {
      if (c["name"] == name.substr(5)) return c["chat_template"];
    }
    return "";
  }
  if (name.rfind("tokenizer:", 0) == 0) {
    const std::string config = tokenizer_test::slurp(refdata + "tokenizers/" + name.substr(10) + "/tokenizer_config.json");
    return *chat_template_of_tokenizer_config(config, name);
  }
  return tokenizer_test::slurp(refdata + "templates/" + name + ".jinja");
}

inline bool has_templates() {
  return tokenizer_test::exists(raison::testing::shared_dir() + "/refdata/templates/MiniMax-M2.jinja");
}

inline ordered_json message(const std::string& role, const ordered_json& content) {
  return {{"role", role}, {"content", content}};
}

inline ordered_json variables_of(const Tokenizer& tokenizer, const ordered_json& messages) {
  return {{"messages", messages},
          {"bos_token", tokenizer.bos() ? tokenizer.piece(*tokenizer.bos()) : ""},
          {"eos_token", tokenizer.eos() ? tokenizer.piece(*tokenizer.eos()) : ""}};
}

inline std::string rendered(const ChatTemplate& chat_template, ordered_json variables, bool generation_prompt) {
  variables["add_generation_prompt"] = generation_prompt;
  auto text = chat_template.render(variables);
  EXPECT_TRUE(text.ok()) << text.message();
  return text.ok() ? *text : "";
}

}  // namespace raison::think_test
