#include "base/metadata.h"

namespace raison {
namespace {
template <class T>
const T* get(const Metadata& m, const std::string& key) {
  const MetaValue* v = m.find(key);
  return v ? std::get_if<T>(v) : nullptr;
}
}  // namespace

std::optional<int64_t> Metadata::integer(const std::string& key) const {
  if (auto* i = get<int64_t>(*this, key)) return *i;
  if (auto* u = get<uint64_t>(*this, key); u && *u <= static_cast<uint64_t>(INT64_MAX)) return static_cast<int64_t>(*u);
  return std::nullopt;
}
std::optional<double> Metadata::number(const std::string& key) const {
  if (auto* d = get<double>(*this, key)) return *d;
  if (auto i = integer(key)) return static_cast<double>(*i);
  return std::nullopt;
}
std::optional<bool> Metadata::boolean(const std::string& key) const {
  if (auto* b = get<bool>(*this, key)) return *b;
  return std::nullopt;
}
std::optional<std::string> Metadata::string(const std::string& key) const {
  if (auto* s = get<std::string>(*this, key)) return *s;
  return std::nullopt;
}
const std::vector<std::string>* Metadata::strings(const std::string& key) const {
  return get<std::vector<std::string>>(*this, key);
}
const std::vector<double>* Metadata::numbers(const std::string& key) const { return get<std::vector<double>>(*this, key); }
const std::vector<int64_t>* Metadata::integers(const std::string& key) const { return get<std::vector<int64_t>>(*this, key); }

}  // namespace raison
