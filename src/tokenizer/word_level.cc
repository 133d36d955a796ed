#include "tokenizer/word_level.h"

#include <set>

#include "tokenizer/pipeline.h"
#include "tokenizer/utf8.h"

namespace raison {
namespace {

using json = nlohmann::json;

// HF's WordLevel must name an unknown token; this one is in no vocabulary, so unknown words stay errors there too.
std::string absent_token(const VocabMap& vocab) {
  std::string name = "<unk>";
  while (vocab.count(name)) name = "<" + name + ">";
  return name;
}

}  // namespace

Result<std::shared_ptr<Tokenizer>> make_word_level(const std::vector<std::string>& vocab, const WordLevelSpecials& specials) {
  const std::string where = "word-level vocabulary";
  PipelineSpec spec;
  for (const std::string& word : vocab) {
    if (word.empty() || word.find_first_of(" \t\r\n") != std::string::npos || !is_valid_utf8(word)) {
      return error("{}: word {} (\"{}\") is empty, holds white space or is not UTF-8", where, spec.vocab.size(), shown(word));
    }
    const auto id = static_cast<TokenId>(spec.vocab.size());
    if (!spec.vocab.emplace(word, id).second) return error("{}: \"{}\" comes twice", where, shown(word));
  }
  std::set<TokenId> special_ids;
  std::vector<std::string> names = specials.others;
  for (const std::string& name : {specials.bos, specials.eos, specials.pad}) {
    if (!name.empty()) names.push_back(name);
  }
  for (const std::string& name : names) {
    const auto it = spec.vocab.find(name);
    if (it == spec.vocab.end()) return error("{}: special token \"{}\" is not among the words", where, shown(name));
    special_ids.insert(it->second);
  }
  json added = json::array();
  for (TokenId id : special_ids) {
    added.push_back({{"id", id},
                     {"content", vocab[static_cast<size_t>(id)]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  spec.skeleton = {{"version", "1.0"},
                   {"truncation", nullptr},
                   {"padding", nullptr},
                   {"added_tokens", added},
                   {"normalizer", nullptr},
                   {"pre_tokenizer", {{"type", "WhitespaceSplit"}}},
                   {"post_processor", nullptr},
                   {"decoder", nullptr},
                   {"model", {{"type", "WordLevel"}, {"unk_token", absent_token(spec.vocab)}}}};
  spec.bos = specials.bos;
  spec.eos = specials.eos;
  spec.add_bos = specials.add_bos;
  return PipelineTokenizer::build(std::move(spec), where);
}

std::string tokenizer_config_json(const Tokenizer& tokenizer, const std::string& pad_token, const std::string& chat_template) {
  json config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  const auto name_of = [&](std::optional<TokenId> id, const char* key) {
    if (id) config[key] = tokenizer.piece(*id);
  };
  name_of(tokenizer.bos(), "bos_token");
  name_of(tokenizer.eos(), "eos_token");
  if (!pad_token.empty()) config["pad_token"] = pad_token;
  if (!chat_template.empty()) config["chat_template"] = chat_template;
  return config.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace raison
