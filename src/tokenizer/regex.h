// Regex: the pre-tokenisers' regular expressions, on PCRE2 with Unicode properties and its JIT.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace raison {

class Regex {
 public:
  // `pattern` is in the dialect of tokenizer.json (Oniguruma): \s, \S, \w, names of scripts and class
  // intersections are brought into PCRE2's. Errors are one line: "WHERE: regex ...: reason".
  static Result<std::shared_ptr<const Regex>> compile(const std::string& pattern, const std::string& where);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Appends the [begin, end) byte ranges of all non-overlapping matches within text[begin, end); look-around sees
  // nothing outside of that range. The text must be valid UTF-8. Fails only when the matcher hits its work limit.
  Status find_all(std::string_view text, std::vector<std::pair<size_t, size_t>>& matches) const;
  const std::string& pattern() const { return pattern_; }

 private:
  Regex(std::string pattern, void* code, bool jit) : pattern_(std::move(pattern)), code_(code), jit_(jit) {}
  std::string pattern_;
  void* code_;  // pcre2_code
  bool jit_;    // compiled to machine code
};

// Exposed for tests: the pattern as PCRE2 gets it.
std::string translate_oniguruma(std::string_view pattern);

}  // namespace raison
