// Makes small WordLevel tokenizers: one word, one token, words parted by white space.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace raison {

struct WordLevelSpecials {
  std::string bos, eos, pad;        // "" = none; each must be in the vocabulary
  std::vector<std::string> others;  // more special tokens, recognised within words and left out by skip_special
  bool add_bos = false;             // encode() puts bos before a text
};

// `vocab`: the words by id, specials included; no duplicates, none empty, no white space within. There is no unknown
// token: encoding a word outside the vocabulary is an error that names the word. decode() joins by " ".
Result<std::shared_ptr<Tokenizer>> make_word_level(const std::vector<std::string>& vocab, const WordLevelSpecials& specials);

// The text of a tokenizer_config.json to lie beside a tokenizer's tokenizer.json: bos, eos, pad and the chat template
// (empties left out).
std::string tokenizer_config_json(const Tokenizer& tokenizer, const std::string& pad_token, const std::string& chat_template);

}  // namespace raison
