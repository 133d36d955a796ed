#include "tokenizer/jinja_value.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "tokenizer/utf8.h"

namespace raison::jinja {

namespace {
thread_local Meter* current_meter = nullptr;
}

MeterScope::MeterScope(Meter* meter) : outer_(std::exchange(current_meter, meter)) {}
MeterScope::~MeterScope() { current_meter = outer_; }

void spend(size_t steps) {
  if (current_meter != nullptr) current_meter->spend(steps);
}

void spend_search(std::string_view text, std::string_view needle) { spend((text.size() / 64 + 1) * (needle.size() / 64 + 1)); }

Value Value::undefined(std::string hint, bool unsafe) {
  Value v;
  v.str_ = std::make_shared<std::string>(std::move(hint));
  v.int_ = unsafe;
  return v;
}
Value Value::boolean(bool b) {
  Value v(Kind::Bool);
  v.int_ = b;
  return v;
}
Value Value::integer(int64_t i) {
  Value v(Kind::Int);
  v.int_ = i;
  return v;
}
Value Value::real(double d) {
  Value v(Kind::Float);
  v.real_ = d;
  return v;
}
Value Value::string(std::string s) {
  Value v(Kind::String);
  v.str_ = std::make_shared<std::string>(std::move(s));
  return v;
}
Value Value::bytes(std::string s) {
  Value v(Kind::Bytes);
  v.str_ = std::make_shared<std::string>(std::move(s));
  return v;
}
Value Value::object(Object* o) {
  Value v(Kind::Object);
  v.object_ = o;
  return v;
}

Value Value::sequence(SequenceType type, ValueList items, std::string repr) {
  Value v(Kind::Sequence);
  v.seq_ = std::make_shared<Sequence>();
  v.seq_->type = type;
  for (const Value& item : items) v.seq_->depth = std::max(v.seq_->depth, item.depth() + 1);
  if (v.seq_->depth > kMaxDepth) fail("lists nested more than {} deep", kMaxDepth);
  v.seq_->items = std::move(items);
  v.seq_->repr = std::move(repr);
  return v;
}

Value Value::dict(Dict d) {
  if (d.depth > kMaxDepth) fail("dicts nested more than {} deep", kMaxDepth);
  Value v(Kind::Dict);
  v.dict_ = std::make_shared<Dict>(std::move(d));
  return v;
}

Value Value::from_json(const nlohmann::ordered_json& json, int depth) {
  if (depth >= kMaxDepth) fail("a variable nests more than {} deep", kMaxDepth);
  spend(1);
  using T = nlohmann::ordered_json::value_t;
  switch (json.type()) {
    case T::boolean: return boolean(json.get<bool>());
    case T::number_integer: return integer(json.get<int64_t>());
    case T::number_unsigned: {
      const auto u = json.get<uint64_t>();
      return u > INT64_MAX ? real(static_cast<double>(u)) : integer(static_cast<int64_t>(u));
    }
    case T::number_float: return real(json.get<double>());
    case T::string: return string(json.get<std::string>());
    case T::array: {
      ValueList items;
      for (const auto& item : json) items.push_back(from_json(item, depth + 1));
      return list(std::move(items));
    }
    case T::object: {
      Dict d;
      for (auto it = json.begin(); it != json.end(); ++it) d.set(it.key(), from_json(it.value(), depth + 1));
      return dict(std::move(d));
    }
    default: return none();
  }
}

int Value::depth() const {
  if (kind_ == Kind::Sequence) return seq_->depth;
  if (kind_ == Kind::Dict) return dict_->depth;
  return 0;
}

bool Value::truthy() const {
  switch (kind_) {
    case Kind::Undefined:
    case Kind::None: return false;
    case Kind::Bool:
    case Kind::Int: return int_ != 0;
    case Kind::Float: return real_ != 0;
    case Kind::String:
    case Kind::Bytes: return !str_->empty();
    case Kind::Sequence: return seq_->type == SequenceType::Generator || !seq_->items.empty();
    case Kind::Dict: return dict_->size() != 0;
    case Kind::Object: return true;
  }
  return false;
}

const char* Value::type_name() const {
  switch (kind_) {
    case Kind::Undefined: return "Undefined";
    case Kind::None: return "NoneType";
    case Kind::Bool: return "bool";
    case Kind::Int: return "int";
    case Kind::Float: return "float";
    case Kind::String: return "str";
    case Kind::Bytes: return "bytes";
    case Kind::Dict: return "dict";
    case Kind::Object: return object_->type_name();
    case Kind::Sequence: break;
  }
  static const char* const names[] = {"list", "tuple", "generator", "range", "dict_keys", "dict_values", "dict_items"};
  return names[static_cast<int>(seq_->type)];
}

std::string float_repr(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::scientific).ptr;
  std::string text(buffer, end), sign;
  if (text[0] == '-') {
    sign = "-";
    text.erase(0, 1);
  }
  const size_t e = text.find('e');
  const int exponent = std::atoi(text.c_str() + e + 1);
  std::string digits = text.substr(0, e);
  digits.erase(std::remove(digits.begin(), digits.end(), '.'), digits.end());
  if (exponent < -4 || exponent >= 16) {
    std::string mantissa = digits.substr(0, 1);
    if (digits.size() > 1) mantissa += "." + digits.substr(1);
    return fmt::format("{}{}e{}{:02d}", sign, mantissa, exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string string_repr(std::string_view s) {
  spend(s.size() / 16);
  const char quote = s.find('\'') != std::string_view::npos && s.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < s.size();) {
    const Utf8Step step = utf8_step(s, i);
    const char32_t c = step.code;
    const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    const bool hidden =
        c != ' ' && (category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_ZS ||
                     category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP || category == UTF8PROC_CATEGORY_CN ||
                     category == UTF8PROC_CATEGORY_CO);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\\' || c == static_cast<char32_t>(quote)) {
      out.append({'\\', static_cast<char>(c)});
    } else if (!hidden) {
      out.append(s.substr(i, step.length));
    } else {
      out += c < 0x100     ? fmt::format("\\x{:02x}", static_cast<uint32_t>(c))
             : c < 0x10000 ? fmt::format("\\u{:04x}", static_cast<uint32_t>(c))
                           : fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
    }
    i += step.length;
  }
  return out + quote;
}

namespace {

std::string bytes_repr(const std::string& bytes) {
  spend(bytes.size() / 16);
  std::string out = "b'";
  for (char c : bytes) {
    const auto b = static_cast<uint8_t>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\'' || c == '\\') {
      out.append({'\\', c});
    } else if (b < 32 || b > 126) {
      out += fmt::format("\\x{:02x}", b);
    } else {
      out += c;
    }
  }
  return out + "'";
}

}  // namespace

void Value::repr_to(std::string& out) const {
  spend(1);
  const auto join = [&](const ValueList& items, const char* open, const char* close) {
    out += open;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += ", ";
      items[i].repr_to(out);
    }
    out += close;
  };
  switch (kind_) {
    case Kind::Undefined: out += "Undefined"; return;
    case Kind::None: out += "None"; return;
    case Kind::Bool: out += int_ != 0 ? "True" : "False"; return;
    case Kind::Int: out += fmt::format("{}", int_); return;
    case Kind::Float: out += float_repr(real_); return;
    case Kind::String: out += string_repr(*str_); return;
    case Kind::Bytes: out += bytes_repr(*str_); return;
    case Kind::Object: out += fmt::format("<{}>", object_->type_name()); return;
    case Kind::Dict: {
      out += "{";
      bool first = true;
      for (const auto& [key, value] : dict_->entries()) {
        if (!first) out += ", ";
        first = false;
        key.repr_to(out);
        out += ": ";
        value.repr_to(out);
      }
      out += "}";
      return;
    }
    case Kind::Sequence: break;
  }
  switch (seq_->type) {
    case SequenceType::List: join(seq_->items, "[", "]"); break;
    case SequenceType::Tuple: join(seq_->items, "(", seq_->items.size() == 1 ? ",)" : ")"); break;
    case SequenceType::Generator: out += "<generator object>"; break;
    case SequenceType::Range: out += seq_->repr; break;
    default: out += type_name(); join(seq_->items, "([", "])");
  }
}

std::string Value::repr() const {
  std::string out;
  repr_to(out);
  return out;
}

std::string Value::str() const {
  if (kind_ == Kind::String) {
    spend(str_->size() / 64);
    return *str_;
  }
  if (kind_ == Kind::Undefined) return "";
  return repr();
}

bool Value::equals(const Value& other) const {
  spend(1);
  if (is_number() && other.is_number()) {
    return is_integral() && other.is_integral() ? int_ == other.int_ : as_double() == other.as_double();
  }
  if (kind_ != other.kind_) return false;
  switch (kind_) {
    case Kind::String:
    case Kind::Bytes:
      if (str_->size() == other.str_->size()) spend(str_->size() / 64);
      return *str_ == *other.str_;
    case Kind::Object: return object_ == other.object_;
    case Kind::Sequence: {
      if (seq_ == other.seq_) return true;
      if (seq_->type != other.seq_->type || seq_->type == SequenceType::Generator ||
          seq_->items.size() != other.seq_->items.size())
        return false;
      for (size_t i = 0; i < seq_->items.size(); ++i) {
        if (!seq_->items[i].equals(other.seq_->items[i])) return false;
      }
      return true;
    }
    case Kind::Dict:
      if (dict_->size() != other.dict_->size()) return false;
      for (const auto& [key, value] : dict_->entries()) {
        const Value* found = other.dict_->find(key);
        if (found == nullptr || !value.equals(*found)) return false;
      }
      return true;
    default: return true;  // Undefined, None
  }
}

int Value::compare(const Value& other) const {
  spend(1);
  if (kind_ == Kind::Undefined) fail("{}", hint());
  if (other.kind_ == Kind::Undefined) fail("{}", other.hint());
  if (is_number() && other.is_number()) {
    if (is_integral() && other.is_integral()) return int_ < other.int_ ? -1 : int_ > other.int_;
    const double a = as_double(), b = other.as_double();
    return a < b ? -1 : a > b;
  }
  if (kind_ == Kind::String && other.kind_ == Kind::String) {
    spend(std::min(str_->size(), other.str_->size()) / 64);
    const int order = str_->compare(*other.str_);  // UTF-8 keeps the order of code points
    return order < 0 ? -1 : order > 0;
  }
  const bool lists = kind_ == Kind::Sequence && other.kind_ == Kind::Sequence && seq_->type == other.seq_->type &&
                     (seq_->type == SequenceType::List || seq_->type == SequenceType::Tuple);
  if (!lists) fail("'<' not supported between instances of '{}' and '{}'", type_name(), other.type_name());
  const ValueList &a = seq_->items, &b = other.seq_->items;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (!a[i].equals(b[i])) return a[i].compare(b[i]);
  }
  return a.size() < b.size() ? -1 : a.size() > b.size();
}

std::string Value::hash_key() const {
  spend(1);
  switch (kind_) {
    case Kind::Undefined: return "U";
    case Kind::None: return "N";
    case Kind::Bool:
    case Kind::Int: return fmt::format("n{}", int_);
    case Kind::Float:
      if (std::abs(real_) < 9e15 && real_ == std::floor(real_)) return fmt::format("n{}", static_cast<int64_t>(real_));
      return "f" + float_repr(real_);
    case Kind::String:
    case Kind::Bytes: spend(str_->size() / 64); return (kind_ == Kind::String ? "s" : "b") + *str_;
    case Kind::Object: return fmt::format("o{}", static_cast<const void*>(object_));
    case Kind::Sequence:
      if (seq_->type == SequenceType::Tuple) {
        std::string key = "t";
        for (const Value& item : seq_->items) {
          const std::string part = item.hash_key();
          spend(part.size() / 64);
          key += fmt::format("{}:", part.size()) + part;
        }
        return key;
      }
      break;
    default: break;
  }
  fail("unhashable type: '{}'", type_name());
}

Value Value::deep_copy() const {
  spend(4);
  if (kind_ == Kind::Sequence) {
    ValueList items;
    for (const Value& item : seq_->items) items.push_back(item.deep_copy());
    return sequence(seq_->type, std::move(items), seq_->repr);
  }
  if (kind_ == Kind::Dict) {
    Dict copy;
    for (const auto& [key, value] : dict_->entries()) copy.set(key, value.deep_copy());
    return dict(std::move(copy));
  }
  return *this;
}

const Value* Dict::find(const Value& key) const {
  const auto it = index_.find(key.hash_key());
  return it == index_.end() ? nullptr : &entries_[it->second].second;
}

const Value* Dict::find(std::string_view key) const {
  std::string hash = "s";
  hash += key;
  const auto it = index_.find(hash);
  return it == index_.end() ? nullptr : &entries_[it->second].second;
}

void Dict::set(const Value& key, Value value) {
  depth = std::max(depth, value.depth() + 1);
  if (depth > kMaxDepth) fail("dicts nested more than {} deep", kMaxDepth);
  const auto [it, added] = index_.try_emplace(key.hash_key(), entries_.size());
  if (added) {
    entries_.emplace_back(key, std::move(value));
  } else {
    entries_[it->second].second = std::move(value);
  }
}

bool Dict::erase(const Value& key) {
  const auto it = index_.find(key.hash_key());
  if (it == index_.end()) return false;
  spend(entries_.size() / 16);
  const size_t at = it->second;
  index_.erase(it);
  entries_.erase(entries_.begin() + static_cast<ptrdiff_t>(at));
  for (auto& [hash, i] : index_) i -= i > at;
  return true;
}

ValueList Arguments::bind(const char* function, std::initializer_list<const char*> names) const {
  spend(named.size());
  if (positional.size() > names.size())
    fail("{}() takes at most {} arguments, {} given", function, names.size(), positional.size());
  ValueList out = positional;
  out.resize(names.size());
  for (const auto& [name, value] : named) {
    const auto it = std::find_if(names.begin(), names.end(), [&](const char* n) { return name == n; });
    if (it == names.end()) fail("{}() got an unexpected keyword argument '{}'", function, name);
    out[static_cast<size_t>(it - names.begin())] = value;
  }
  return out;
}

// ---- JSON as Python's json.dumps writes it

namespace {

void json_string_to(std::string_view s, bool ascii, std::string& out) {
  spend(s.size() / 16);
  out += '"';
  for (size_t i = 0; i < s.size();) {
    const Utf8Step step = utf8_step(s, i);
    const auto c = static_cast<uint32_t>(step.code);
    static const std::pair<uint32_t, const char*> escapes[] = {{'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\n"}, {'\r', "\\r"},
                                                               {'\t', "\\t"}, {'\f', "\\f"},  {'\b', "\\b"}};
    const auto* escape = std::find_if(std::begin(escapes), std::end(escapes), [&](const auto& e) { return e.first == c; });
    if (escape != std::end(escapes)) {
      out += escape->second;
    } else if (c < 0x20 || (ascii && c > 0x7E && c < 0x10000)) {
      out += fmt::format("\\u{:04x}", c);
    } else if (ascii && c >= 0x10000) {
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      out.append(s.substr(i, step.length));
    }
    i += step.length;
  }
  out += '"';
}

std::string json_key(const Value& key) {
  switch (key.kind()) {
    case Kind::String: return key.as_string();
    case Kind::None: return "null";
    case Kind::Bool: return key.as_bool() ? "true" : "false";
    case Kind::Int:
    case Kind::Float: return key.repr();
    default: fail("keys must be str, int, float, bool or None, not {}", key.type_name());
  }
}

void json_to(const Value& value, const JsonStyle& style, int level, std::string& out) {
  const auto line = [&](int at) {
    if (style.indent < 0) return;
    const size_t blanks = static_cast<size_t>(style.indent) * static_cast<size_t>(at);
    spend(blanks / 16);
    out.append("\n").append(blanks, ' ');
  };
  const auto separate = [&](const std::string& separator) {
    spend(separator.size() / 64);
    out += separator;
  };
  spend(1);
  switch (value.kind()) {
    case Kind::None: out += "null"; return;
    case Kind::Bool: out += value.as_bool() ? "true" : "false"; return;
    case Kind::Int: out += value.repr(); return;
    case Kind::Float: {
      const double d = value.as_double();
      out += std::isnan(d) ? "NaN" : std::isinf(d) ? (d < 0 ? "-Infinity" : "Infinity") : float_repr(d);
      return;
    }
    case Kind::String: json_string_to(value.as_string(), style.ensure_ascii, out); return;
    case Kind::Sequence: {
      const SequenceType type = value.seq().type;
      if (type != SequenceType::List && type != SequenceType::Tuple && !style.generators) break;
      const ValueList& items = value.seq().items;
      out += '[';
      for (size_t i = 0; i < items.size(); ++i) {
        if (i > 0) separate(style.item_separator);
        line(level + 1);
        json_to(items[i], style, level + 1, out);
      }
      if (!items.empty()) line(level);
      out += ']';
      return;
    }
    case Kind::Dict: {
      auto entries = value.as_dict().entries();
      if (style.sort_keys)
        std::stable_sort(entries.begin(), entries.end(),
                         [](const auto& a, const auto& b) { return a.first.compare(b.first) < 0; });
      out += '{';
      for (size_t i = 0; i < entries.size(); ++i) {
        if (i > 0) separate(style.item_separator);
        line(level + 1);
        json_string_to(json_key(entries[i].first), style.ensure_ascii, out);
        separate(style.key_separator);
        json_to(entries[i].second, style, level + 1, out);
      }
      if (!entries.empty()) line(level);
      out += '}';
      return;
    }
    default: break;
  }
  fail("Object of type {} is not JSON serializable", value.type_name());
}

}  // namespace

std::string to_json(const Value& value, const JsonStyle& style) {
  std::string out;
  json_to(value, style, 0, out);
  return out;
}

// ---- characters

std::vector<std::string> characters(std::string_view s) {
  spend(s.size());
  std::vector<std::string> out;
  for (size_t i = 0; i < s.size();) {
    const size_t length = utf8_step(s, i).length;
    out.emplace_back(s.substr(i, length));
    i += length;
  }
  return out;
}

std::string to_upper(std::string_view s) {
  spend(s.size() / 16);
  // The few characters whose upper case is longer (Unicode's SpecialCasing) and likely in text.
  static const std::pair<char32_t, const char*> special[] = {{0xDF, "SS"},   {0x149, "ʼN"},  {0x1F0, "J̌"},    {0xFB00, "FF"},
                                                             {0xFB01, "FI"}, {0xFB02, "FL"}, {0xFB03, "FFI"}, {0xFB04, "FFL"},
                                                             {0xFB05, "ST"}, {0xFB06, "ST"}, {0x587, "ԵՒ"}};
  std::string out;
  for (size_t i = 0; i < s.size();) {
    const Utf8Step step = utf8_step(s, i);
    const auto* hit = std::find_if(std::begin(special), std::end(special), [&](const auto& e) { return e.first == step.code; });
    if (hit != std::end(special)) {
      out += hit->second;
    } else {
      append_utf8(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(step.code))));
    }
    i += step.length;
  }
  return out;
}

namespace {

bool is_cased(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT;
}

}  // namespace

std::string to_lower(std::string_view s) {
  spend(s.size() / 16);
  std::string out;
  bool after_letter = false;
  for (size_t i = 0; i < s.size();) {
    const Utf8Step step = utf8_step(s, i);
    i += step.length;
    if (step.code == 0x130) {
      out += "i\u0307";
    } else if (step.code == 0x3A3) {  // sigma: final form at the end of a word
      const bool more = i < s.size() && is_cased(utf8_step(s, i).code);
      append_utf8(out, after_letter && !more ? 0x3C2 : 0x3C3);
    } else {
      append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(step.code))));
    }
    after_letter = is_cased(step.code);
  }
  return out;
}

int64_t int_or(const Value& v, int64_t fallback) {
  if (v.is(Kind::Undefined) || v.is(Kind::None)) return fallback;
  if (!v.is_integral()) fail("an integer is required, not {}", v.type_name());
  return v.as_int();
}

bool is_space_char(std::string_view character) {
  const char32_t c = utf8_step(character, 0).code;
  if ((c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85) return true;  // Python counts U+001C..1F too
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

}  // namespace raison::jinja
