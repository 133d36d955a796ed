// OptionReader: the settings given to a verifier; what is not asked for is a mistake.
#pragma once
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "base/result.h"

namespace raison {

class OptionReader {
 public:
  // `options`: an object, or null for none. `who` is named in errors.
  OptionReader(std::string who, const nlohmann::json& options) : who_(std::move(who)), options_(options) {}
  // Each leaves *value as it is if the option was not given.
  void read(const char* key, bool* value);
  void read(const char* key, std::string* value);
  void read(const char* key, std::vector<std::string>* value);
  void read(const char* key, double* value, double least, double most);
  void read(const char* key, int64_t* value, int64_t least, int64_t most);
  // The first mistake made, or an option that nobody asked for.
  Status finish() const;

 private:
  const nlohmann::json* find(const char* key);
  void wrong(const char* key, const std::string& what);
  std::string who_;
  const nlohmann::json& options_;
  std::set<std::string> known_;
  std::string fault_;
};

}  // namespace raison
