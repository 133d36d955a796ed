#include "train/toml_section.h"

#include <cmath>

namespace raison {
namespace {

// Walks over TOML text without reading it: strings and comments are skipped, dots and brackets counted. What is no TOML is left
// to the parser.
class TomlDepth {
 public:
  TomlDepth(std::string_view text, std::string where) : text_(text), where_(std::move(where)) {}

  Status check() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"' || c == '\'') {
        skip_string(c);
        continue;
      }
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
        continue;
      }
      ++at_;
      if (c == '.' && ++dots_ >= kMostKeyParts)
        return error("{}:{}: a key of more than {} parts", where_, line_, kMostKeyParts);
      if ((c == '[' || c == '{') && ++brackets_ > kMostBrackets)
        return error("{}:{}: more than {} brackets within each other", where_, line_, kMostBrackets);
      if (c == ']' || c == '}') --brackets_;
      if (c == '\n') ++line_;
      if (std::string_view("=,[]{}\n").find(c) != std::string_view::npos) dots_ = 0;
    }
    return {};
  }

 private:
  void skip_string(char quote) {
    const std::string three(3, quote);
    const bool many_lines = text_.compare(at_, 3, three) == 0;
    for (at_ += many_lines ? 3 : 1; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\\' && quote == '"' && at_ + 1 < text_.size() && text_[at_ + 1] != '\n') {
        ++at_;
      } else if (c == '\n') {
        if (!many_lines) return;  // unfinished: the parser will say so
        ++line_;
      } else if (!many_lines && c == quote) {
        ++at_;
        return;
      } else if (many_lines && text_.compare(at_, 3, three) == 0) {
        at_ += 3;
        while (at_ < text_.size() && text_[at_] == quote) ++at_;  // up to two quotes may end the string itself
        return;
      }
    }
  }

  std::string_view text_;
  std::string where_;
  size_t at_ = 0;
  int64_t line_ = 1;
  int dots_ = 0, brackets_ = 0;
};

}  // namespace

Status check_toml_depth(std::string_view text, const std::string& where) { return TomlDepth(text, where).check(); }

void TomlSection::fail_at(const toml::node* node, std::string_view key, const std::string& why) {
  if (*error_) return;
  const auto line = node ? node->source().begin.line : table_.source().begin.line;
  *error_ = line > 0 ? error("{}:{}: {}: {}", file_, line, name(key), why) : error("{}: {}: {}", file_, name(key), why);
}

void TomlSection::integer(const char* key, int64_t* out, int64_t lo, int64_t hi) {
  const toml::node* n = take(key);
  if (!n) return;
  const auto* v = n->as_integer();
  if (!v) return fail_at(n, key, "must be an integer");
  if (v->get() < lo || v->get() > hi) return fail_at(n, key, fmt::format("is {}, must be within {} .. {}", v->get(), lo, hi));
  *out = v->get();
}

void TomlSection::number(const char* key, double* out, double lo, double hi) {
  const toml::node* n = take(key);
  if (!n) return;
  if (!n->is_number()) return fail_at(n, key, "must be a number");
  const double v = n->is_integer() ? static_cast<double>(n->as_integer()->get()) : n->as_floating_point()->get();
  if (!(v >= lo && v <= hi)) return fail_at(n, key, fmt::format("is {}, must be within {} .. {}", v, lo, hi));
  *out = v;
}

void TomlSection::boolean(const char* key, bool* out) {
  const toml::node* n = take(key);
  if (!n) return;
  const auto* v = n->as_boolean();
  if (!v) return fail_at(n, key, "must be true or false");
  *out = v->get();
}

void TomlSection::string(const char* key, std::string* out) {
  const toml::node* n = take(key);
  if (!n) return;
  const auto* v = n->as_string();
  if (!v) return fail_at(n, key, "must be a string");
  if (v->get().find('\0') != std::string::npos) return fail_at(n, key, "contains a NUL character");
  *out = v->get();
}

void TomlSection::one_of(const char* key, std::string* out, const std::vector<std::string>& choices) {
  const toml::node* n = table_.get(key);
  std::string value = *out;
  string(key, &value);
  if (*error_ || !n) return;
  std::string list;
  for (const std::string& c : choices) {
    if (value == c) {
      *out = value;
      return;
    }
    list += (list.empty() ? "" : ", ") + c;
  }
  fail_at(n, key, fmt::format("is \"{}\", must be one of: {}", value.substr(0, 64), list));
}

void TomlSection::strings(const char* key, std::vector<std::string>* out) {
  const toml::node* n = take(key);
  if (!n) return;
  if (const auto* s = n->as_string()) {
    *out = {s->get()};
    return;
  }
  const auto* a = n->as_array();
  if (!a) return fail_at(n, key, "must be a string or an array of strings");
  out->clear();
  for (const auto& e : *a) {
    if (!e.is_string()) return fail_at(&e, key, "must be a string or an array of strings");
    out->push_back(e.as_string()->get());
  }
}

void TomlSection::numbers(const char* key, std::vector<double>* out, size_t count, double lo, double hi) {
  const toml::node* n = take(key);
  if (!n) return;
  const auto* a = n->as_array();
  if (!a || a->size() != count) return fail_at(n, key, fmt::format("must be an array of {} numbers", count));
  std::vector<double> values;
  for (const auto& e : *a) {
    if (!e.is_number()) return fail_at(&e, key, fmt::format("must be an array of {} numbers", count));
    const double v = e.is_integer() ? static_cast<double>(e.as_integer()->get()) : e.as_floating_point()->get();
    if (!(v >= lo && v <= hi)) return fail_at(&e, key, fmt::format("holds {}, must be within {} .. {}", v, lo, hi));
    values.push_back(v);
  }
  *out = std::move(values);
}

void TomlSection::integers(const char* key, std::vector<int64_t>* out, int64_t lo, int64_t hi) {
  const toml::node* n = take(key);
  if (!n) return;
  if (!n->is_array()) return fail_at(n, key, "must be an array of integers");
  std::vector<int64_t> values;
  for (const auto& e : *n->as_array()) {
    if (!e.is_integer()) return fail_at(&e, key, "must be an array of integers");
    const int64_t v = e.as_integer()->get();
    if (v < lo || v > hi) return fail_at(&e, key, fmt::format("holds {}, must be within {} .. {}", v, lo, hi));
    values.push_back(v);
  }
  *out = std::move(values);
}

const toml::table* TomlSection::table(const char* key) {
  const toml::node* n = take(key);
  if (!n) return nullptr;
  if (!n->is_table()) {
    fail_at(n, key, "must be a table");
    return nullptr;
  }
  return n->as_table();
}

std::vector<const toml::table*> TomlSection::tables(const char* key) {
  const toml::node* n = take(key);
  if (!n) return {};
  if (const auto* t = n->as_table()) return {t};
  std::vector<const toml::table*> out;
  const auto* a = n->as_array();
  for (size_t i = 0; a && i < a->size(); ++i) {
    const toml::table* t = a->get(i)->as_table();
    if (t) out.push_back(t);
  }
  if (!a || out.size() != a->size()) fail_at(n, key, "must be a table, or several: [[" + name(key) + "]]");
  return *error_ ? std::vector<const toml::table*>() : out;
}

void TomlSection::json(const char* key, nlohmann::json* out) {
  if (const toml::table* t = table(key)) *out = json_of(*t, key);
}

void TomlSection::finish() {
  for (const auto& [key, node] : table_) {
    if (*error_) return;
    if (known_.count(key.str())) continue;
    std::string list;
    for (const auto& k : known_) list += (list.empty() ? "" : ", ") + k;
    fail_at(&node, key.str(), fmt::format("unknown key; known here: {}", list));
  }
}

nlohmann::json TomlSection::json_of(const toml::node& node, const std::string& key) {
  if (const auto* t = node.as_table()) {
    nlohmann::json out = nlohmann::json::object();
    for (const auto& [k, value] : *t) {
      const std::string inner(k.str());
      out[inner] = json_of(value, key.empty() ? inner : key + "." + inner);
    }
    return out;
  }
  if (const auto* a = node.as_array()) {
    nlohmann::json out = nlohmann::json::array();
    for (const auto& value : *a) out.push_back(json_of(value, key));
    return out;
  }
  if (const auto* v = node.as_integer()) return v->get();
  if (const auto* v = node.as_boolean()) return v->get();
  if (const auto* v = node.as_string()) return v->get();
  if (const auto* v = node.as_floating_point()) {
    if (!std::isfinite(v->get())) fail_at(&node, key, "must be a finite number");
    return v->get();
  }
  fail_at(&node, key, "is a date or a time, which no config holds");
  return nullptr;
}

}  // namespace raison
