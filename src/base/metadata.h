// Metadata: typed key-value pairs, as GGUF carries them; HF configs are brought into the same keys by the models' tables.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace raison {

using MetaValue = std::variant<bool, int64_t, uint64_t, double, std::string, std::vector<bool>, std::vector<int64_t>,
                               std::vector<double>, std::vector<std::string>>;

class Metadata {
 public:
  void set(const std::string& key, MetaValue value) { values_[key] = std::move(value); }
  bool has(const std::string& key) const { return values_.count(key) != 0; }
  const MetaValue* find(const std::string& key) const {
    auto it = values_.find(key);
    return it == values_.end() ? nullptr : &it->second;
  }
  // Typed reads: nullopt when missing or of another kind. Integers are accepted where a double is asked for, and either
  // signedness of integer where the value fits.
  std::optional<int64_t> integer(const std::string& key) const;
  std::optional<double> number(const std::string& key) const;
  std::optional<bool> boolean(const std::string& key) const;
  std::optional<std::string> string(const std::string& key) const;
  const std::vector<std::string>* strings(const std::string& key) const;
  const std::vector<double>* numbers(const std::string& key) const;
  const std::vector<int64_t>* integers(const std::string& key) const;
  const std::map<std::string, MetaValue>& values() const { return values_; }

 private:
  std::map<std::string, MetaValue> values_;
};

}  // namespace raison
