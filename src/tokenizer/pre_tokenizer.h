// Normalizer and PreTokenizer: the two stages of tokenizer.json that come before the model.
#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tokenizer/regex.h"

namespace raison {

// What a Split or Replace looks for: a literal text or a regex.
class Pattern {
 public:
  static Result<Pattern> from_json(const nlohmann::json& pattern, const std::string& where);
  static Pattern literal(std::string text);
  static Result<Pattern> regex(const std::string& text, const std::string& where);
  Status find_all(std::string_view text, std::vector<std::pair<size_t, size_t>>& matches) const;
  std::string signature() const { return regex_ ? "r" + regex_->pattern() : "l" + literal_; }
  const std::string* literal_text() const { return regex_ ? nullptr : &literal_; }

 private:
  std::string literal_;
  std::shared_ptr<const Regex> regex_;
};

class Normalizer {
 public:
  // `node`: the "normalizer" of a tokenizer.json, null included.
  static Result<Normalizer> from_json(const nlohmann::json& node, const std::string& where);
  Status apply(std::string& text) const;  // valid UTF-8 in and out
  bool empty() const { return steps_.empty(); }
  bool is_nfc() const { return steps_.size() == 1 && steps_[0].kind == Kind::Nfc; }

 private:
  enum class Kind { Nfc, Nfd, Nfkc, Nfkd, Prepend, Replace, Strip };
  struct Step {
    Kind kind;
    std::string text;  // what Prepend puts, what Replace puts in
    Pattern pattern;
    bool left = true, right = true;  // Strip
  };
  std::vector<Step> steps_;
};

class PreTokenizer {
 public:
  using Range = std::pair<size_t, size_t>;  // [begin, end) in bytes
  static Result<PreTokenizer> from_json(const nlohmann::json& node, const std::string& where);
  // Splits `text` (which some steps rewrite) into `pieces`. `at_start`: the text begins where the whole input begins.
  Status apply(std::string& text, bool at_start, std::vector<Range>& pieces) const;
  bool byte_level() const { return byte_level_; }  // the model sees bytes written in the byte-level alphabet
  // Equal for pre-tokenisers that do the same thing step by step.
  std::string signature() const;

 private:
  enum class Behaviour { Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };
  enum class Prepend { Always, First, Never };
  struct Step {
    enum class Kind { Split, PrefixSpace, Metaspace } kind = Kind::Split;
    Pattern pattern;
    Behaviour behaviour = Behaviour::Isolated;
    bool invert = false;
    std::string replacement;  // Metaspace
    Prepend prepend = Prepend::Always;
  };
  Status add(const nlohmann::json& node, const std::string& where);
  Status add_split(Pattern pattern, Behaviour behaviour, bool invert = false);
  Status add_byte_level(const nlohmann::json& node, const std::string& where);
  Status add_metaspace(const nlohmann::json& node, const std::string& where);
  static Status split(const Step& step, std::string_view text, std::vector<Range>& pieces);
  static void rewrite(const Step& step, bool at_start, std::string& text, std::vector<Range>& pieces);

  std::vector<Step> steps_;
  bool byte_level_ = false;
};

// The regex that ByteLevel with use_regex splits by (GPT-2's).
extern const char kGpt2Regex[];

}  // namespace raison
