// TomlSection: one table of a TOML file, read key by key. Collects the first error and knows which keys nobody asked for.
#pragma once
#include <toml++/toml.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"

namespace raison {

// The TOML parser and what reads its tables recurse; a file must not decide how deep. Error: a key of more parts, or more
// brackets within each other. To be asked before toml::parse.
inline constexpr int kMostKeyParts = 32, kMostBrackets = 32;
Status check_toml_depth(std::string_view text, const std::string& where);

class TomlSection {
 public:
  // `error` is shared by all sections of a file; once it is set every read is a no-op.
  TomlSection(const toml::table& table, std::string prefix, std::string file, std::optional<Error>* error)
      : table_(table), prefix_(std::move(prefix)), file_(std::move(file)), error_(error) {}

  bool has(const char* key) const { return table_.contains(key); }
  void integer(const char* key, int64_t* out, int64_t lo, int64_t hi);
  void number(const char* key, double* out, double lo, double hi);
  void boolean(const char* key, bool* out);
  void string(const char* key, std::string* out);
  void one_of(const char* key, std::string* out, const std::vector<std::string>& choices);
  void strings(const char* key, std::vector<std::string>* out);  // a string, or an array of them
  void numbers(const char* key, std::vector<double>* out, size_t count, double lo, double hi);
  void json(const char* key, nlohmann::json* out);          // a table, as JSON; dates and numbers that JSON has not are refused
  const toml::table* table(const char* key);                // null if absent or wrong
  std::vector<const toml::table*> tables(const char* key);  // [[key]], or one table
  void integers(const char* key, std::vector<int64_t>* out, int64_t lo, int64_t hi);  // an array of any length
  // After the last read: an error if some key was never asked for.
  void finish();
  void fail(const char* key, const std::string& why) { fail_at(table_.get(key), key, why); }
  std::string name(std::string_view key) const { return prefix_.empty() ? std::string(key) : prefix_ + "." + std::string(key); }

 private:
  const toml::node* take(const char* key) {
    known_.insert(key);
    return *error_ ? nullptr : table_.get(key);
  }
  nlohmann::json json_of(const toml::node& node, const std::string& key);
  void fail_at(const toml::node* node, std::string_view key, const std::string& why);
  const toml::table& table_;
  std::string prefix_, file_;
  std::optional<Error>* error_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace raison
