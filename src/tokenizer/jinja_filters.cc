// Filters and tests.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/utf8.h"

namespace raison::jinja {
namespace {

using Filter = Value (*)(Interpreter&, const Value& input, Arguments&);
using Test = bool (*)(Interpreter&, const Value& input, Arguments&);

bool given(const Value& v) { return !v.is(Kind::Undefined); }
bool flag(const Value& v, bool fallback) { return given(v) ? v.truthy() : fallback; }
void require(const Value& v) {
  if (!given(v)) fail("{}", v.hint());
}

// Calls a string method on str(input).
Value string_method(Interpreter& i, const char* name, const Value& input, Arguments& a) {
  return call_method(i, Value::string(input.str()), name, a);
}

// "a.b.0" or an index: what map(attribute=...), sort(attribute=...) and their like look up in each item.
Value dotted(Interpreter& i, const Value& item, const Value& path) {
  if (path.is_integral()) return i.item(item, path);
  Value at = item;
  const std::string text = path.str();
  for (size_t begin = 0; begin <= text.size();) {
    const size_t dot = std::min(text.find('.', begin), text.size());
    const std::string part = text.substr(begin, dot - begin);
    int64_t index = 0;
    const auto [end, ec] = std::from_chars(part.data(), part.data() + part.size(), index);
    at = i.item(at, ec == std::errc() && end == part.data() + part.size() ? Value::integer(index) : Value::string(part));
    begin = dot + 1;
  }
  return at;
}

Value fold_case(const Value& v, bool case_sensitive) {
  return v.is(Kind::String) && !case_sensitive ? Value::string(to_lower(v.as_string())) : v;
}

// ---- filters on texts

Value trim(Interpreter& i, const Value& input, Arguments& a) { return string_method(i, "strip", input, a); }

Value replace(Interpreter& i, const Value& input, Arguments& a) {
  const ValueList b = a.bind("replace", {"old", "new", "count"});
  Arguments inner{{Value::string(b[0].str()), Value::string(b[1].str())}, {}};
  if (given(b[2])) inner.positional.push_back(b[2]);
  return string_method(i, "replace", input, inner);
}

Value title(Interpreter& i, const Value& input, Arguments&) {
  std::string out;
  bool start = true;
  for (const std::string& c : characters(input.str())) {
    out += start ? to_upper(c) : to_lower(c);
    start = c == "-" || c == "(" || c == "{" || c == "[" || c == "<" || is_space_char(c);
  }
  return i.text(std::move(out));
}

Value indent(Interpreter& i, const Value& input, Arguments& a) {
  const ValueList b = a.bind("indent", {"width", "first", "blank"});
  const std::string pad = b[0].is(Kind::String)
                              ? b[0].as_string()
                              : std::string(static_cast<size_t>(std::clamp<int64_t>(int_or(b[0], 4), 0, 1000)), ' ');
  const bool first = flag(b[1], false), blank = flag(b[2], false);
  std::string s = input.str();
  s += '\n';
  std::string out;
  bool at_first = true;
  size_t begin = 0;
  for (size_t end; (end = s.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string line = s.substr(begin, end - begin);
    i.charge(1 + (pad.size() + line.size()) / 64);
    if (!at_first) out += '\n';
    if (at_first ? first : (blank || !line.empty())) out += pad;
    out += line;
    at_first = false;
  }
  return i.text(std::move(out));
}

Value escape(Interpreter& i, const Value& input, Arguments&) {
  std::string out;
  for (char c : input.str()) {
    const char* entity = c == '&'    ? "&amp;"
                         : c == '<'  ? "&lt;"
                         : c == '>'  ? "&gt;"
                         : c == '"'  ? "&#34;"
                         : c == '\'' ? "&#39;"
                                     : nullptr;
    if (entity != nullptr) {
      out += entity;
    } else {
      out += c;
    }
  }
  return i.text(std::move(out));
}

Value urlencode(Interpreter& i, const Value& input, Arguments&) {
  std::string out;
  for (char c : input.str()) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-_.~/").find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<uint8_t>(c));
    }
  }
  return i.text(std::move(out));
}

Value truncate(Interpreter& i, const Value& input, Arguments& a) {
  const ValueList b = a.bind("truncate", {"length", "killwords", "end", "leeway"});
  const auto chars = characters(input.str());
  constexpr int64_t kLong = int64_t{1} << 40;
  const int64_t length = std::clamp(int_or(b[0], 255), -kLong, kLong), leeway = std::clamp(int_or(b[3], 5), -kLong, kLong);
  const std::string end = given(b[2]) ? b[2].str() : "...";
  if (static_cast<int64_t>(chars.size()) <= length + leeway) return Value::string(input.str());
  const auto keep = static_cast<size_t>(std::max<int64_t>(0, length - static_cast<int64_t>(utf8_length(end))));
  std::string out;
  for (size_t k = 0; k < keep; ++k) out += chars[k];
  if (!flag(b[1], false)) {
    if (const size_t space = out.rfind(' '); space != std::string::npos) out.resize(space);
  }
  return i.text(out + end);
}

Value wordcount(Interpreter&, const Value& input, Arguments&) {
  int64_t n = 0;
  bool in_word = false;
  for (char c : input.str()) {
    const bool word = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || static_cast<signed char>(c) < 0;
    n += word && !in_word;
    in_word = word;
  }
  return Value::integer(n);
}

// ---- numbers

Value to_int(Interpreter&, const Value& input, Arguments& a) {
  const ValueList b = a.bind("int", {"default", "base"});
  const Value fallback = given(b[0]) ? b[0] : Value::integer(0);
  require(input);
  if (input.is_integral()) return Value::integer(input.as_int());
  if (input.is(Kind::Float))
    return std::abs(input.as_double()) < 9.2e18 ? Value::integer(static_cast<int64_t>(input.as_double())) : fallback;
  if (!input.is(Kind::String)) return fallback;
  std::string s;
  for (char c : input.as_string()) {
    if (c != '_' && !is_space_char(std::string_view(&c, 1))) s += c;
  }
  const bool negative = !s.empty() && s[0] == '-';
  if (!s.empty() && (s[0] == '-' || s[0] == '+')) s.erase(0, 1);
  const auto base = static_cast<int>(int_or(b[1], 10));
  if (base < 2 || base > 36) return fallback;
  std::string digits = s;
  const std::string lead = to_lower(s.substr(0, 2));
  if ((base == 16 && lead == "0x") || (base == 8 && lead == "0o") || (base == 2 && lead == "0b")) digits = s.substr(2);
  int64_t n = 0;
  const bool two_signs = !digits.empty() && digits[0] == '-';
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), n, base);
  if (ec == std::errc() && end == digits.data() + digits.size() && !digits.empty() && !two_signs)
    return Value::integer(negative ? -n : n);
  double d = 0;
  const auto [dend, dec] = std::from_chars(s.data(), s.data() + s.size(), d);
  if (!two_signs && dec == std::errc() && dend == s.data() + s.size() && std::abs(d) < 9.2e18)
    return Value::integer(static_cast<int64_t>(negative ? -d : d));
  return fallback;
}

Value to_float(Interpreter&, const Value& input, Arguments& a) {
  const ValueList b = a.bind("float", {"default"});
  require(input);
  if (input.is_number()) return Value::real(input.as_double());
  if (input.is(Kind::String)) {
    std::string s = input.as_string();
    while (!s.empty() && is_space_char(std::string_view(&s.back(), 1))) s.pop_back();
    while (!s.empty() && is_space_char(std::string_view(s.data(), 1))) s.erase(0, 1);
    if (!s.empty() && s[0] == '+') s.erase(0, 1);
    double d = 0;
    const auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), d);
    if (!s.empty() && ec == std::errc() && end == s.data() + s.size()) return Value::real(d);
  }
  return given(b[0]) ? b[0] : Value::real(0);
}

Value absolute(Interpreter& i, const Value& input, Arguments&) {
  require(input);
  if (!input.is_number()) fail("bad operand type for abs(): '{}'", input.type_name());
  if (input.is(Kind::Float)) return Value::real(std::abs(input.as_double()));
  return input.as_int() < 0 ? i.binary("-", Value::integer(0), input) : Value::integer(input.as_int());
}

Value round_number(Interpreter&, const Value& input, Arguments& a) {
  const ValueList b = a.bind("round", {"precision", "method"});
  require(input);
  if (!input.is_number()) fail("type {} doesn't define rounding", input.type_name());
  const int64_t precision = std::clamp<int64_t>(int_or(b[0], 0), -300, 300);
  const std::string method = given(b[1]) ? b[1].str() : "common";
  if (method != "common" && method != "ceil" && method != "floor") fail("round: method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(precision)), x = input.as_double();
  if (method != "common") return Value::real((method == "ceil" ? std::ceil(x * scale) : std::floor(x * scale)) / scale);
  double rounded;
  if (precision > 0) {  // as Python: correctly rounded decimal text
    rounded = std::strtod(format_percent(fmt::format("%.{}f", precision), Value::real(x)).c_str(), nullptr);
  } else {
    rounded = std::nearbyint(x * scale) / scale;
  }
  const bool whole_number = input.is_integral() && std::abs(rounded) < 9.2e18;
  return whole_number ? Value::integer(static_cast<int64_t>(rounded)) : Value::real(rounded);
}

// ---- lists

Value length(Interpreter& i, const Value& input, Arguments&) {
  switch (input.kind()) {
    case Kind::Undefined: return Value::integer(0);
    case Kind::String: return Value::integer(static_cast<int64_t>(utf8_length(input.as_string())));
    case Kind::Dict: return Value::integer(static_cast<int64_t>(input.as_dict().size()));
    case Kind::Sequence:
      if (input.is_sequence(SequenceType::Generator) && !i.lenient()) break;
      return Value::integer(static_cast<int64_t>(input.seq().items.size()));
    default: break;
  }
  fail("object of type '{}' has no len()", input.type_name());
}

Value join(Interpreter& i, const Value& input, Arguments& a) {
  const ValueList b = a.bind("join", {"d", "attribute"});
  const std::string separator = given(b[0]) ? b[0].str() : "";
  std::string out;
  bool first = true;
  for (const Value& item : i.iterate(input)) {
    if (!first) out += separator;
    first = false;
    i.charge(separator.size() / 64);
    out += (given(b[1]) ? dotted(i, item, b[1]) : item).str();
  }
  return i.text(std::move(out));
}

Value first(Interpreter& i, const Value& input, Arguments&) {
  const ValueList items = i.iterate(input);
  return items.empty() ? Value::undefined("no first item, sequence was empty") : items.front();
}

Value last(Interpreter& i, const Value& input, Arguments&) {
  const ValueList items = i.iterate(input);
  return items.empty() ? Value::undefined("no last item, sequence was empty") : items.back();
}

Value reverse(Interpreter& i, const Value& input, Arguments&) {
  ValueList items = i.iterate(input);
  std::reverse(items.begin(), items.end());
  if (!input.is(Kind::String)) return Value::generator(std::move(items));
  std::string out;
  for (const Value& c : items) out += c.as_string();
  return i.text(std::move(out));
}

void sort_by(Interpreter& i, ValueList& items, const Value& attribute, bool case_sensitive, bool reversed) {
  std::vector<std::pair<ValueList, Value>> keyed;
  for (Value& item : items) {
    ValueList keys;
    if (attribute.is(Kind::String)) {  // "a,b": several
      const std::string names = attribute.as_string();
      for (size_t begin = 0; begin <= names.size();) {
        const size_t comma = std::min(names.find(',', begin), names.size());
        keys.push_back(fold_case(dotted(i, item, Value::string(names.substr(begin, comma - begin))), case_sensitive));
        begin = comma + 1;
      }
    } else {
      keys.push_back(fold_case(given(attribute) ? dotted(i, item, attribute) : item, case_sensitive));
    }
    keyed.emplace_back(std::move(keys), item);
  }
  i.charge(items.size() * 8);
  const auto less = [](const auto& x, const auto& y) {
    for (size_t k = 0; k < x.first.size(); ++k) {
      if (const int order = x.first[k].compare(y.first[k]); order != 0) return order < 0;
    }
    return false;
  };
  // A reversed stable sort keeps equal items in their order, as Python's does.
  if (reversed) {
    std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& x, const auto& y) { return less(y, x); });
  } else {
    std::stable_sort(keyed.begin(), keyed.end(), less);
  }
  for (size_t k = 0; k < items.size(); ++k) items[k] = keyed[k].second;
}

Value sort(Interpreter& i, const Value& input, Arguments& a) {
  const ValueList b = a.bind("sort", {"reverse", "case_sensitive", "attribute"});
  ValueList items = i.iterate(input);
  sort_by(i, items, b[2], flag(b[1], false), flag(b[0], false));
  return Value::list(std::move(items));
}

Value unique(Interpreter& i, const Value& input, Arguments& a) {
  const ValueList b = a.bind("unique", {"case_sensitive", "attribute"});
  Dict seen;
  ValueList out;
  for (const Value& item : i.iterate(input)) {
    const Value key = fold_case(given(b[1]) ? dotted(i, item, b[1]) : item, flag(b[0], false));
    if (seen.find(key) != nullptr) continue;
    seen.set(key, Value::none());
    out.push_back(item);
  }
  return Value::generator(std::move(out));
}

template <bool Max>
Value extreme(Interpreter& i, const Value& input, Arguments& a) {
  const ValueList b = a.bind(Max ? "max" : "min", {"case_sensitive", "attribute"});
  const ValueList items = i.iterate(input);
  if (items.empty()) return Value::undefined("no aggregated item, sequence was empty");
  const auto key = [&](const Value& v) { return fold_case(given(b[1]) ? dotted(i, v, b[1]) : v, flag(b[0], false)); };
  size_t best = 0;
  for (size_t k = 1; k < items.size(); ++k) {
    const int order = key(items[k]).compare(key(items[best]));
    if (Max ? order > 0 : order < 0) best = k;
  }
  return items[best];
}

Value sum(Interpreter& i, const Value& input, Arguments& a) {
  const ValueList b = a.bind("sum", {"attribute", "start"});
  Value total = given(b[1]) ? b[1] : Value::integer(0);
  for (const Value& item : i.iterate(input))
    total = i.binary("+", total, given(b[0]) && !b[0].is(Kind::None) ? dotted(i, item, b[0]) : item);
  return total;
}

Value batch(Interpreter& i, const Value& input, Arguments& a) {
  const ValueList b = a.bind("batch", {"linecount", "fill_with"});
  const int64_t n = int_or(b[0], 0);
  if (n < 1) fail("batch: linecount must be at least 1");
  ValueList out, row;
  for (const Value& item : i.iterate(input)) {
    if (static_cast<int64_t>(row.size()) == n) out.push_back(Value::list(std::exchange(row, {})));
    row.push_back(item);
  }
  if (!row.empty()) {
    if (given(b[1]) && !b[1].is(Kind::None)) {
      i.charge(static_cast<size_t>(n));
      while (static_cast<int64_t>(row.size()) < n) row.push_back(b[1]);
    }
    out.push_back(Value::list(std::move(row)));
  }
  return Value::generator(std::move(out));
}

Value slice(Interpreter& i, const Value& input, Arguments& a) {
  const ValueList b = a.bind("slice", {"slices", "fill_with"});
  const int64_t n = int_or(b[0], 0);
  if (n < 1) fail("slice: slices must be at least 1");
  i.charge(static_cast<size_t>(n));
  const ValueList items = i.iterate(input);
  const size_t count = static_cast<size_t>(n), per = items.size() / count, more = items.size() % count;
  ValueList out;
  size_t at = 0;
  for (size_t k = 0; k < count; ++k) {
    const size_t size = per + (k < more);
    ValueList row(items.begin() + static_cast<ptrdiff_t>(at), items.begin() + static_cast<ptrdiff_t>(at + size));
    if (given(b[1]) && !b[1].is(Kind::None) && k >= more && more != 0) row.push_back(b[1]);
    at += size;
    out.push_back(Value::list(std::move(row)));
  }
  return Value::generator(std::move(out));
}

Value groupby(Interpreter& i, const Value& input, Arguments& a) {
  const ValueList b = a.bind("groupby", {"attribute", "default", "case_sensitive"});
  struct Group final : Object {
    const char* type_name() const override { return "_GroupTuple"; }
    Value attribute(const std::string& name) override { return name == "grouper" ? grouper : name == "list" ? list : Value(); }
    Value call(Interpreter&, Arguments&) override { fail("'_GroupTuple' object is not callable"); }
    Value grouper, list;
  };
  const auto key_of = [&](const Value& item) {
    Value key = dotted(i, item, b[0]);
    return !given(key) && given(b[1]) ? b[1] : key;
  };
  ValueList items = i.iterate(input), out, row;
  sort_by(i, items, b[0], flag(b[2], false), false);
  for (size_t k = 0; k < items.size(); ++k) {
    row.push_back(items[k]);
    const bool ends =
        k + 1 == items.size() || !fold_case(key_of(items[k]), false).equals(fold_case(key_of(items[k + 1]), false));
    if (!ends) continue;
    auto* group = i.make<Group>();
    group->grouper = key_of(row.front());
    group->list = Value::list(std::exchange(row, {}));
    out.push_back(Value::object(group));
  }
  return Value::list(std::move(out));
}

Value dictsort(Interpreter& i, const Value& input, Arguments& a) {
  const ValueList b = a.bind("dictsort", {"case_sensitive", "by", "reverse"});
  if (!input.is(Kind::Dict)) fail("dictsort needs a dict, not {}", input.type_name());
  const std::string by = given(b[1]) ? b[1].str() : "key";
  if (by != "key" && by != "value") fail("dictsort: by must be 'key' or 'value'");
  ValueList pairs;
  for (const auto& [key, value] : input.as_dict().entries()) pairs.push_back(Value::tuple({key, value}));
  sort_by(i, pairs, Value::integer(by == "value"), flag(b[0], false), flag(b[2], false));
  return Value::list(std::move(pairs));
}

Value items(Interpreter& i, const Value& input, Arguments&) {
  if (!given(input)) return Value::generator({});
  if (!input.is(Kind::Dict)) fail("can only get item pairs from a mapping, not {}", input.type_name());
  Arguments none;
  return Value::generator(i.iterate(call_method(i, input, "items", none)));
}

// map('filter', ...) and map(attribute='name', default=...)
Value map(Interpreter& i, const Value& input, Arguments& a) {
  ValueList out;
  if (a.positional.empty()) {
    const ValueList b = a.bind("map", {"attribute", "default"});
    if (!given(b[0])) fail("map requires a filter argument");
    for (const Value& item : i.iterate(input)) {
      Value v = dotted(i, item, b[0]);
      out.push_back(!given(v) && given(b[1]) ? b[1] : v);
    }
    return Value::generator(std::move(out));
  }
  const std::string name = a.positional[0].str();
  if (!filter_exists(name, i.lenient())) fail("no filter named '{}'", name);
  for (const Value& item : i.iterate(input)) {
    Arguments inner = a;
    inner.positional.erase(inner.positional.begin());
    i.charge(1);
    out.push_back(i.apply_filter(name, item, inner));
  }
  return Value::generator(std::move(out));
}

// select, reject, selectattr, rejectattr
template <bool Keep, bool ByAttribute>
Value select(Interpreter& i, const Value& input, Arguments& a) {
  Arguments inner = a;
  Value attribute;
  if (ByAttribute) {
    if (inner.positional.empty()) fail("missing parameter for attribute name");
    attribute = inner.positional[0];
    inner.positional.erase(inner.positional.begin());
  }
  std::string test;
  if (!inner.positional.empty()) {
    test = inner.positional[0].str();
    inner.positional.erase(inner.positional.begin());
    if (!test_exists(test)) fail("no test named '{}'", test);
  }
  ValueList out;
  for (const Value& item : i.iterate(input)) {
    i.charge(1);
    const Value v = ByAttribute ? dotted(i, item, attribute) : item;
    if ((test.empty() ? v.truthy() : i.apply_test(test, v, inner)) == Keep) out.push_back(item);
  }
  return Value::generator(std::move(out));
}

// ---- others

Value default_filter(Interpreter&, const Value& input, Arguments& a) {
  const ValueList b = a.bind("default", {"default_value", "boolean"});
  const bool use = !given(input) || (flag(b[1], false) && !input.truthy());
  return !use ? input : given(b[0]) ? b[0] : Value::string("");
}

Value tojson(Interpreter& i, const Value& input, Arguments& a) {
  const ValueList b = a.bind("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  // A lone positional argument is Jinja's own tojson(indent).
  const bool lone = a.positional.size() == 1 && a.positional[0].is(Kind::Int);
  const Value indent_value = lone ? a.positional[0] : b[1];
  style.ensure_ascii = !lone && flag(b[0], false);
  style.sort_keys = flag(b[3], false);
  style.generators = i.lenient();
  if (given(indent_value) && !indent_value.is(Kind::None)) {
    style.indent = static_cast<int>(std::clamp<int64_t>(int_or(indent_value, 0), 0, 64));
    style.item_separator = ",";
  }
  if (given(b[2]) && !b[2].is(Kind::None)) {
    const ValueList two = i.iterate(b[2]);
    if (two.size() != 2) fail("tojson: separators must be a pair");
    style.item_separator = two[0].str();
    style.key_separator = two[1].str();
  }
  return i.text(to_json(input, style));
}

Value from_json(Interpreter& i, const Value& input, Arguments&) {
  if (!input.is(Kind::String)) fail("from_json: a string is required, not {}", input.type_name());
  i.charge(input.as_string().size() / 2);
  bool too_deep = false;
  const auto shallow = [&](int depth, nlohmann::ordered_json::parse_event_t, nlohmann::ordered_json&) {
    return too_deep = too_deep || depth > kMaxDepth, !too_deep;
  };
  const auto json = nlohmann::ordered_json::parse(input.as_string(), shallow, false);
  if (json.is_discarded() || too_deep) fail("from_json: not valid JSON");
  return Value::from_json(json);
}

Value attr(Interpreter& i, const Value& input, Arguments& a) {
  const Value name = a.bind("attr", {"name"})[0];
  if (input.is(Kind::Dict) && !has_method(input, name.str(), i.lenient()))
    return Value::undefined(fmt::format("no attribute {}", name.repr()));
  return i.attribute(input, name.str());
}

Value center(Interpreter& i, const Value& input, Arguments& a) {
  const ValueList b = a.bind("center", {"width"});
  Arguments inner{{given(b[0]) ? b[0] : Value::integer(80)}, {}};
  return string_method(i, "center", input, inner);
}

using FilterTable = std::map<std::string, Filter, std::less<>>;
const FilterTable& filters() {
  static const FilterTable table = {
      {"trim", trim},
      {"replace", replace},
      {"title", title},
      {"indent", indent},
      {"escape", escape},
      {"e", escape},
      {"forceescape", escape},
      {"urlencode", urlencode},
      {"truncate", truncate},
      {"wordcount", wordcount},
      {"int", to_int},
      {"float", to_float},
      {"abs", absolute},
      {"round", round_number},
      {"length", length},
      {"count", length},
      {"join", join},
      {"first", first},
      {"last", last},
      {"reverse", reverse},
      {"sort", sort},
      {"unique", unique},
      {"min", extreme<false>},
      {"max", extreme<true>},
      {"sum", sum},
      {"batch", batch},
      {"slice", slice},
      {"groupby", groupby},
      {"dictsort", dictsort},
      {"items", items},
      {"map", map},
      {"select", select<true, false>},
      {"reject", select<false, false>},
      {"selectattr", select<true, true>},
      {"rejectattr", select<false, true>},
      {"default", default_filter},
      {"d", default_filter},
      {"tojson", tojson},
      {"attr", attr},
      {"center", center},
      {"upper", [](Interpreter& i, const Value& v, Arguments&) { return i.text(to_upper(v.str())); }},
      {"lower", [](Interpreter& i, const Value& v, Arguments&) { return i.text(to_lower(v.str())); }},
      {"capitalize", [](Interpreter& i, const Value& v, Arguments& a) { return string_method(i, "capitalize", v, a); }},
      {"string", [](Interpreter& i, const Value& v, Arguments&) { return i.text(v.str()); }},
      {"safe", [](Interpreter& i, const Value& v, Arguments&) { return i.text(v.str()); }},
      {"list", [](Interpreter& i, const Value& v, Arguments&) { return Value::list(i.iterate(v)); }},
      {"format",
       [](Interpreter& i, const Value& v, Arguments& a) {
         if (a.named.empty()) return i.text(format_percent(v.str(), Value::tuple(a.positional)));
         Dict d;
         for (const auto& [name, value] : a.named) d.set(name, value);
         return i.text(format_percent(v.str(), Value::dict(std::move(d))));
       }},
      {"pprint", [](Interpreter& i, const Value& v, Arguments&) { return i.text(v.repr()); }},
  };
  return table;
}

// ---- tests

Value argument(Arguments& a, const char* test) {
  if (a.positional.size() != 1) fail("test '{}' needs one argument", test);
  return a.positional[0];
}

template <int Want, bool OrEqual>
bool ordered(Interpreter&, const Value& v, Arguments& a) {
  const int order = v.compare(argument(a, "compare"));
  return order * Want > 0 || (OrEqual && order == 0);
}
bool equal(Interpreter&, const Value& v, Arguments& a) { return v.equals(argument(a, "eq")); }
bool not_equal(Interpreter&, const Value& v, Arguments& a) { return !v.equals(argument(a, "ne")); }

template <bool Upper>
bool is_case(Interpreter& i, const Value& v, Arguments&) {
  Arguments none;
  return call_method(i, Value::string(v.str()), Upper ? "isupper" : "islower", none).truthy();
}

bool same_as(Interpreter&, const Value& v, Arguments& a) {
  const Value other = argument(a, "sameas");
  if (v.kind() != other.kind()) return false;
  if (v.is(Kind::Sequence)) return &v.seq() == &other.seq();
  if (v.is(Kind::Dict)) return &v.as_dict() == &other.as_dict();
  return v.equals(other);
}

int64_t whole(const Value& v) {
  require(v);
  if (!v.is_integral()) fail("an integer is required, not {}", v.type_name());
  return v.as_int();
}

using TestTable = std::map<std::string, Test, std::less<>>;
const TestTable& tests() {
  using A = Arguments;
  using I = Interpreter;
  static const TestTable table = {
      {"defined", [](I&, const Value& v, A&) { return given(v); }},
      {"undefined", [](I&, const Value& v, A&) { return !given(v); }},
      {"none", [](I&, const Value& v, A&) { return v.is(Kind::None); }},
      {"boolean", [](I&, const Value& v, A&) { return v.is(Kind::Bool); }},
      {"true", [](I&, const Value& v, A&) { return v.is(Kind::Bool) && v.as_bool(); }},
      {"false", [](I&, const Value& v, A&) { return v.is(Kind::Bool) && !v.as_bool(); }},
      {"integer", [](I&, const Value& v, A&) { return v.is(Kind::Int); }},
      {"float", [](I&, const Value& v, A&) { return v.is(Kind::Float); }},
      {"number", [](I&, const Value& v, A&) { return v.is_number(); }},
      {"string", [](I&, const Value& v, A&) { return v.is(Kind::String); }},
      {"mapping", [](I&, const Value& v, A&) { return v.is(Kind::Dict); }},
      {"sequence",
       [](I&, const Value& v, A&) {
         return !given(v) || v.is(Kind::String) || v.is(Kind::Bytes) || v.is(Kind::Dict) ||
                (v.is(Kind::Sequence) && v.seq().type != SequenceType::Generator && v.seq().type <= SequenceType::Range);
       }},
      {"iterable",
       [](I&, const Value& v, A&) {
         return !given(v) || v.is(Kind::String) || v.is(Kind::Bytes) || v.is(Kind::Dict) || v.is(Kind::Sequence);
       }},
      {"callable", [](I&, const Value& v, A&) { return !given(v) || (v.is(Kind::Object) && v.as_object()->callable()); }},
      {"odd", [](I&, const Value& v, A&) { return (whole(v) & 1) != 0; }},
      {"even", [](I&, const Value& v, A&) { return (whole(v) & 1) == 0; }},
      {"divisibleby",
       [](I&, const Value& v, A& a) {
         return remainder(Value::integer(whole(v)), Value::integer(whole(argument(a, "divisibleby")))).as_int() == 0;
       }},
      {"lower", is_case<false>},
      {"upper", is_case<true>},
      {"sameas", same_as},
      {"in", [](I& i, const Value& v, A& a) { return i.contains(argument(a, "in"), v); }},
      {"filter", [](I& i, const Value& v, A&) { return filter_exists(v.str(), i.lenient()); }},
      {"test", [](I&, const Value& v, A&) { return test_exists(v.str()); }},
      {"escaped", [](I&, const Value&, A&) { return false; }},
      {"eq", equal},
      {"equalto", equal},
      {"==", equal},
      {"ne", not_equal},
      {"!=", not_equal},
      {"gt", ordered<1, false>},
      {"greaterthan", ordered<1, false>},
      {">", ordered<1, false>},
      {"ge", ordered<1, true>},
      {">=", ordered<1, true>},
      {"lt", ordered<-1, false>},
      {"lessthan", ordered<-1, false>},
      {"<", ordered<-1, false>},
      {"le", ordered<-1, true>},
      {"<=", ordered<-1, true>},
  };
  return table;
}

}  // namespace

bool filter_exists(const std::string& name, bool lenient) {
  return filters().count(name) != 0 || (lenient && name == "from_json");
}
bool test_exists(const std::string& name) { return tests().count(name) != 0; }

Value Interpreter::apply_filter(const std::string& name, const Value& input, Arguments& arguments) {
  if (name == "from_json") return from_json(*this, input, arguments);
  const Deeper deeper(*this);
  if (input.is(Kind::String)) charge(input.as_string().size() / 64);
  return filters().find(name)->second(*this, input, arguments);
}

bool Interpreter::apply_test(const std::string& name, const Value& input, Arguments& arguments) {
  charge(1);
  return tests().find(name)->second(*this, input, arguments);
}

}  // namespace raison::jinja
