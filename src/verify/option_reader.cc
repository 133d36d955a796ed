#include "verify/option_reader.h"

namespace raison {

const nlohmann::json* OptionReader::find(const char* key) {
  known_.insert(key);
  if (!options_.is_object()) return nullptr;
  const auto it = options_.find(key);
  return it == options_.end() ? nullptr : &*it;
}

void OptionReader::wrong(const char* key, const std::string& what) {
  if (fault_.empty()) fault_ = fmt::format("{}: {} {}", who_, key, what);
}

void OptionReader::read(const char* key, bool* value) {
  const auto* v = find(key);
  if (v && v->is_boolean()) *value = v->get<bool>();
  if (v && !v->is_boolean()) wrong(key, "must be true or false");
}

void OptionReader::read(const char* key, std::string* value) {
  const auto* v = find(key);
  if (v && v->is_string()) *value = v->get<std::string>();
  if (v && !v->is_string()) wrong(key, "must be a text");
}

void OptionReader::read(const char* key, std::vector<std::string>* value) {
  const auto* v = find(key);
  if (!v) return;
  std::vector<std::string> out;
  for (const auto& item : v->is_array() ? *v : nlohmann::json::array({*v})) {
    if (!item.is_string()) return wrong(key, "must be a text or a list of texts");
    out.push_back(item.get<std::string>());
  }
  *value = std::move(out);
}

void OptionReader::read(const char* key, double* value, double least, double most) {
  const auto* v = find(key);
  if (!v) return;
  if (!v->is_number() || !(v->get<double>() >= least && v->get<double>() <= most))
    return wrong(key, fmt::format("must be a number from {} to {}", least, most));
  *value = v->get<double>();
}

void OptionReader::read(const char* key, int64_t* value, int64_t least, int64_t most) {
  const auto* v = find(key);
  if (!v) return;
  if (!v->is_number_integer() || v->get<int64_t>() < least || v->get<int64_t>() > most)
    return wrong(key, fmt::format("must be a whole number from {} to {}", least, most));
  *value = v->get<int64_t>();
}

Status OptionReader::finish() const {
  if (!fault_.empty()) return Error(fault_);
  if (options_.is_null()) return {};
  if (!options_.is_object()) return error("{}: its options must be a table", who_);
  for (const auto& [key, value] : options_.items()) {
    if (known_.count(key) > 0) continue;
    std::string list;
    for (const std::string& k : known_) list += (list.empty() ? "" : ", ") + k;
    return error("{}: has no option {}; it has {}", who_, key.substr(0, 64), list.empty() ? "none" : list);
  }
  return {};
}

}  // namespace raison
