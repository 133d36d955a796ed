// Methods of strings, lists, tuples and dicts.
#include <utf8proc.h>

#include <algorithm>
#include <map>

#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/utf8.h"

namespace raison::jinja {
namespace {

using Method = Value (*)(Interpreter&, const Value& self, Arguments&);
using Table = std::map<std::string, Method, std::less<>>;

const std::string& text_of(const Value& v, const char* method) {
  if (!v.is(Kind::String)) fail("{}: a string is required, not {}", method, v.type_name());
  return v.as_string();
}

// ---- strings

std::string strip(const std::string& s, const Value& set, bool left, bool right) {
  std::vector<std::string> wanted;
  const bool blanks = set.is(Kind::Undefined) || set.is(Kind::None);
  if (!blanks) wanted = characters(text_of(set, "strip"));
  spend((s.size() / 16 + 1) * (wanted.size() / 4 + 1));
  const auto drops = [&](std::string_view c) {
    return blanks ? is_space_char(c) : std::find(wanted.begin(), wanted.end(), c) != wanted.end();
  };
  size_t begin = 0, end = s.size();
  while (left && begin < end) {
    const size_t length = utf8_step(s, begin).length;
    if (!drops(std::string_view(s).substr(begin, length))) break;
    begin += length;
  }
  while (right && end > begin) {
    size_t at = end - 1;
    while (at > begin && (static_cast<uint8_t>(s[at]) & 0xC0) == 0x80) --at;
    if (!drops(std::string_view(s).substr(at, end - at))) break;
    end = at;
  }
  return s.substr(begin, end - begin);
}

template <bool Left, bool Right>
Value strip_method(Interpreter& i, const Value& self, Arguments& a) {
  return i.text(strip(self.as_string(), a.bind("strip", {"chars"})[0], Left, Right));
}

ValueList split_blanks(const std::string& s, int64_t limit) {
  ValueList out;
  size_t at = 0;
  const auto skip = [&] {
    while (at < s.size() && is_space_char(std::string_view(s).substr(at, utf8_step(s, at).length)))
      at += utf8_step(s, at).length;
  };
  for (skip(); at < s.size(); skip()) {
    spend(1);
    if (limit >= 0 && static_cast<int64_t>(out.size()) == limit) {
      out.push_back(Value::string(strip(s.substr(at), {}, false, true)));
      break;
    }
    const size_t begin = at;
    while (at < s.size() && !is_space_char(std::string_view(s).substr(at, utf8_step(s, at).length)))
      at += utf8_step(s, at).length;
    out.push_back(Value::string(s.substr(begin, at - begin)));
  }
  return out;
}

template <bool FromRight>
Value split_method(Interpreter& i, const Value& self, Arguments& a) {
  const ValueList bound = a.bind("split", {"sep", "maxsplit"});
  const std::string& s = self.as_string();
  i.charge(s.size() / 16);
  const int64_t limit = int_or(bound[1], -1);
  ValueList out;
  if (bound[0].is(Kind::Undefined) || bound[0].is(Kind::None)) {
    if (FromRight && limit >= 0) fail("rsplit() by white space with a limit is not supported");
    return Value::list(split_blanks(s, limit));
  }
  const std::string& separator = text_of(bound[0], "split");
  if (separator.empty()) fail("empty separator");
  spend_search(s, separator);
  if (FromRight) {
    size_t end = s.size();
    while (limit < 0 || static_cast<int64_t>(out.size()) < limit) {
      const size_t hit = end < separator.size() ? std::string::npos : s.rfind(separator, end - separator.size());
      if (hit == std::string::npos) break;
      spend(1);
      out.push_back(Value::string(s.substr(hit + separator.size(), end - hit - separator.size())));
      end = hit;
    }
    out.push_back(Value::string(s.substr(0, end)));
    std::reverse(out.begin(), out.end());
  } else {
    size_t begin = 0;
    while (limit < 0 || static_cast<int64_t>(out.size()) < limit) {
      const size_t hit = s.find(separator, begin);
      if (hit == std::string::npos) break;
      spend(1);
      out.push_back(Value::string(s.substr(begin, hit - begin)));
      begin = hit + separator.size();
    }
    out.push_back(Value::string(s.substr(begin)));
  }
  return Value::list(std::move(out));
}

template <bool Start>
Value starts_method(Interpreter&, const Value& self, Arguments& a) {
  const ValueList bound = a.bind(Start ? "startswith" : "endswith", {"prefix"});
  const std::string& s = self.as_string();
  const auto fits = [&](const Value& v) {
    const std::string& p = text_of(v, "startswith");
    spend(1 + std::min(p.size(), s.size()) / 64);
    return p.size() <= s.size() && s.compare(Start ? 0 : s.size() - p.size(), p.size(), p) == 0;
  };
  if (!bound[0].is_sequence(SequenceType::Tuple)) return Value::boolean(fits(bound[0]));
  const ValueList& any = bound[0].seq().items;
  return Value::boolean(std::any_of(any.begin(), any.end(), fits));
}

Value replace_method(Interpreter& i, const Value& self, Arguments& a) {
  const ValueList bound = a.bind("replace", {"old", "new", "count"});
  const std::string &s = self.as_string(), &from = text_of(bound[0], "replace"), &to = text_of(bound[1], "replace");
  int64_t left = std::max<int64_t>(int_or(bound[2], -1), -1);
  if (left < 0) left = INT64_MAX;
  spend_search(s, from);
  std::string out;
  if (from.empty()) {
    for (const std::string& c : characters(s)) {
      if (left != 0) {
        spend(to.size() / 64);
        out += to;
        --left;
      }
      out += c;
    }
    if (left != 0) out += to;
    return i.text(std::move(out));
  }
  size_t done = 0;
  for (size_t hit; left != 0 && (hit = s.find(from, done)) != std::string::npos; --left) {
    spend((to.size() + hit - done) / 64);
    out.append(s, done, hit - done).append(to);
    done = hit + from.size();
  }
  return i.text(out.append(s, done));
}

// Character position of a byte offset.
int64_t position(const std::string& s, size_t byte) {
  return static_cast<int64_t>(utf8_length(std::string_view(s).substr(0, byte)));
}

template <bool Last, bool MustFind>
Value find_method(Interpreter&, const Value& self, Arguments& a) {
  const ValueList bound = a.bind("find", {"sub", "start"});
  const std::string& s = self.as_string();
  size_t from = 0;
  for (int64_t k = int_or(bound[1], 0); k > 0 && from < s.size(); --k) from += utf8_step(s, from).length;
  const std::string& what = text_of(bound[0], "find");
  spend_search(s, what);
  size_t hit = Last ? s.rfind(what) : s.find(what, from);
  if (Last && hit != std::string::npos && hit < from) hit = std::string::npos;
  if (hit == std::string::npos && MustFind) fail("substring not found");
  return Value::integer(hit == std::string::npos ? -1 : position(s, hit));
}

Value count_method(Interpreter&, const Value& self, Arguments& a) {
  const std::string &s = self.as_string(), &what = text_of(a.bind("count", {"sub"})[0], "count");
  spend_search(s, what);
  if (what.empty()) return Value::integer(static_cast<int64_t>(utf8_length(s)) + 1);
  int64_t n = 0;
  for (size_t at = 0; (at = s.find(what, at)) != std::string::npos; at += what.size()) ++n;
  return Value::integer(n);
}

Value join_method(Interpreter& i, const Value& self, Arguments& a) {
  std::string out;
  bool first = true;
  for (const Value& v : i.iterate(a.bind("join", {"iterable"})[0])) {
    const std::string& part = text_of(v, "join");
    spend((self.as_string().size() + part.size()) / 64);
    if (!first) out += self.as_string();
    first = false;
    out += part;
  }
  return i.text(std::move(out));
}

using Category = utf8proc_category_t;
Category category_of(const std::string& c) { return utf8proc_category(static_cast<utf8proc_int32_t>(utf8_step(c, 0).code)); }
bool is_letter(const std::string& c) {
  return category_of(c) >= UTF8PROC_CATEGORY_LU && category_of(c) <= UTF8PROC_CATEGORY_LO;
}
bool is_decimal(const std::string& c) { return category_of(c) == UTF8PROC_CATEGORY_ND; }
bool is_alnum(const std::string& c) {
  return is_letter(c) || (category_of(c) >= UTF8PROC_CATEGORY_ND && category_of(c) <= UTF8PROC_CATEGORY_NO);
}
bool is_blank(const std::string& c) { return is_space_char(c); }

template <bool (*Test)(const std::string&)>
Value all_method(Interpreter&, const Value& self, Arguments&) {
  const auto chars = characters(self.as_string());
  return Value::boolean(!chars.empty() && std::all_of(chars.begin(), chars.end(), Test));
}

template <bool Upper>
Value case_test(Interpreter&, const Value& self, Arguments&) {
  const std::string& s = self.as_string();
  const std::string other = Upper ? to_lower(s) : to_upper(s);
  return Value::boolean((Upper ? to_upper(s) : to_lower(s)) == s && other != s);
}

Value title_method(Interpreter& i, const Value& self, Arguments&) {
  std::string out;
  bool in_word = false;
  for (const std::string& c : characters(self.as_string())) {
    out += in_word ? to_lower(c) : to_upper(c);
    in_word = is_letter(c);
  }
  return i.text(std::move(out));
}

Value capitalize_method(Interpreter& i, const Value& self, Arguments&) {
  const std::string& s = self.as_string();
  if (s.empty()) return self;
  const size_t first = utf8_step(s, 0).length;
  return i.text(to_upper(std::string_view(s).substr(0, first)) + to_lower(std::string_view(s).substr(first)));
}

Value swapcase_method(Interpreter& i, const Value& self, Arguments&) {
  std::string out;
  for (const std::string& c : characters(self.as_string()))
    out += category_of(c) == UTF8PROC_CATEGORY_LU ? to_lower(c) : to_upper(c);
  return i.text(std::move(out));
}

template <char Align>
Value justify_method(Interpreter& i, const Value& self, Arguments& a) {
  const ValueList bound = a.bind("justify", {"width", "fillchar"});
  const std::string& s = self.as_string();
  const int64_t width = std::max<int64_t>(0, int_or(bound[0], 0)), length = static_cast<int64_t>(utf8_length(s)),
                room = std::max<int64_t>(0, width - length);
  const std::string fill = bound[1].is(Kind::Undefined) ? " " : text_of(bound[1], "justify");
  if (utf8_length(fill) != 1) fail("the fill character must be exactly one character long");
  i.charge(static_cast<size_t>(room));
  // Python's center puts the odd blank on the left if the width is odd.
  const int64_t left = Align == '<' ? 0 : Align == '>' ? room : room / 2 + (room & width & 1);
  std::string out;
  for (int64_t k = 0; k < left; ++k) out += fill;
  out += s;
  for (int64_t k = left; k < room; ++k) out += fill;
  return i.text(std::move(out));
}

Value zfill_method(Interpreter& i, const Value& self, Arguments& a) {
  const std::string& s = self.as_string();
  const int64_t width = std::max<int64_t>(0, int_or(a.bind("zfill", {"width"})[0], 0)),
                room = width - static_cast<int64_t>(utf8_length(s));
  if (room <= 0) return self;
  i.charge(static_cast<size_t>(room));
  const size_t sign = !s.empty() && (s[0] == '-' || s[0] == '+') ? 1 : 0;
  return i.text(s.substr(0, sign) + std::string(static_cast<size_t>(room), '0') + s.substr(sign));
}

Value splitlines_method(Interpreter& i, const Value& self, Arguments& a) {
  const bool keep = a.bind("splitlines", {"keepends"})[0].truthy();
  const std::string& s = self.as_string();
  i.charge(s.size() / 16);
  ValueList out;
  size_t begin = 0;
  for (size_t at = 0; at < s.size();) {
    const Utf8Step step = utf8_step(s, at);
    const char32_t c = step.code;
    const bool ends = (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    size_t length = step.length;
    if (ends) {
      if (c == '\r' && at + 1 < s.size() && s[at + 1] == '\n') ++length;
      spend(1);
      out.push_back(Value::string(s.substr(begin, at - begin + (keep ? length : 0))));
      begin = at + length;
    }
    at += length;
  }
  if (begin < s.size()) out.push_back(Value::string(s.substr(begin)));
  return Value::list(std::move(out));
}

template <bool Last>
Value partition_method(Interpreter&, const Value& self, Arguments& a) {
  const std::string &s = self.as_string(), &separator = text_of(a.bind("partition", {"sep"})[0], "partition");
  if (separator.empty()) fail("empty separator");
  spend_search(s, separator);
  const size_t hit = Last ? s.rfind(separator) : s.find(separator);
  ValueList out(3, Value::string(""));
  if (hit == std::string::npos) {
    out[Last ? 2 : 0] = self;
  } else {
    out = {Value::string(s.substr(0, hit)), Value::string(separator), Value::string(s.substr(hit + separator.size()))};
  }
  return Value::tuple(std::move(out));
}

template <bool Prefix>
Value remove_method(Interpreter&, const Value& self, Arguments& a) {
  const std::string &s = self.as_string(), &part = text_of(a.bind("removeprefix", {"prefix"})[0], "removeprefix");
  const bool there = s.size() >= part.size() && s.compare(Prefix ? 0 : s.size() - part.size(), part.size(), part) == 0;
  if (!there || part.empty()) return self;
  return Value::string(Prefix ? s.substr(part.size()) : s.substr(0, s.size() - part.size()));
}

const Table& string_methods() {
  static const Table table = {
      {"strip", strip_method<true, true>},
      {"lstrip", strip_method<true, false>},
      {"rstrip", strip_method<false, true>},
      {"split", split_method<false>},
      {"rsplit", split_method<true>},
      {"startswith", starts_method<true>},
      {"endswith", starts_method<false>},
      {"replace", replace_method},
      {"find", find_method<false, false>},
      {"rfind", find_method<true, false>},
      {"index", find_method<false, true>},
      {"rindex", find_method<true, true>},
      {"count", count_method},
      {"join", join_method},
      {"isalpha", all_method<is_letter>},
      {"isdigit", all_method<is_decimal>},
      {"isdecimal", all_method<is_decimal>},
      {"isnumeric", all_method<is_decimal>},
      {"isalnum", all_method<is_alnum>},
      {"isspace", all_method<is_blank>},
      {"isupper", case_test<true>},
      {"islower", case_test<false>},
      {"title", title_method},
      {"capitalize", capitalize_method},
      {"swapcase", swapcase_method},
      {"ljust", justify_method<'<'>},
      {"rjust", justify_method<'>'>},
      {"center", justify_method<'^'>},
      {"zfill", zfill_method},
      {"splitlines", splitlines_method},
      {"partition", partition_method<false>},
      {"rpartition", partition_method<true>},
      {"removeprefix", remove_method<true>},
      {"removesuffix", remove_method<false>},
      {"upper", [](Interpreter& i, const Value& s, Arguments&) { return i.text(to_upper(s.as_string())); }},
      {"lower", [](Interpreter& i, const Value& s, Arguments&) { return i.text(to_lower(s.as_string())); }},
      {"casefold", [](Interpreter& i, const Value& s, Arguments&) { return i.text(to_lower(to_upper(s.as_string()))); }},
      {"format", [](Interpreter& i, const Value& s, Arguments& a) { return i.text(format_braces(s.as_string(), a)); }},
      {"encode", [](Interpreter&, const Value& s, Arguments&) { return Value::bytes(s.as_string()); }},
  };
  return table;
}

// ---- sequences

Value index_method(Interpreter&, const Value& self, Arguments& a) {
  const Value wanted = a.bind("index", {"value"})[0];
  const ValueList& items = self.seq().items;
  for (size_t k = 0; k < items.size(); ++k) {
    if (items[k].equals(wanted)) return Value::integer(static_cast<int64_t>(k));
  }
  fail("{} is not in list", wanted.repr());
}

Value count_items_method(Interpreter&, const Value& self, Arguments& a) {
  const Value wanted = a.bind("count", {"value"})[0];
  const ValueList& items = self.seq().items;
  return Value::integer(std::count_if(items.begin(), items.end(), [&](const Value& v) { return v.equals(wanted); }));
}

const Table& sequence_methods() {
  static const Table table = {{"index", index_method}, {"count", count_items_method}};
  return table;
}

// What the lenient dialect adds. What goes in is copied, so no list ever holds itself.
void grow(const Value& self, size_t at, const Value& item) {
  Value copy = item.deep_copy();
  Sequence& seq = self.seq();
  spend((seq.items.size() - std::min(at, seq.items.size())) / 16);  // what moves up
  seq.depth = std::max(seq.depth, copy.depth() + 1);
  if (seq.depth > kMaxDepth) fail("lists nested more than {} deep", kMaxDepth);
  seq.items.insert(seq.items.begin() + static_cast<ptrdiff_t>(std::min(at, seq.items.size())), std::move(copy));
}

size_t list_index(const ValueList& items, int64_t k) {
  const auto n = static_cast<int64_t>(items.size());
  if (k < 0) k += n;
  if (k < 0 || k >= n) fail("pop index out of range");
  return static_cast<size_t>(k);
}

const Table& list_changers() {
  static const Table table = {
      {"append", [](Interpreter&, const Value& s,
                    Arguments& a) { return grow(s, SIZE_MAX, a.bind("append", {"item"})[0]), Value::none(); }},
      {"insert",
       [](Interpreter&, const Value& s, Arguments& a) {
         const ValueList b = a.bind("insert", {"index", "item"});
         const auto n = static_cast<int64_t>(s.seq().items.size());
         const int64_t k = int_or(b[0], 0);
         return grow(s, static_cast<size_t>(std::clamp<int64_t>(k < 0 ? k + n : k, 0, n)), b[1]), Value::none();
       }},
      {"extend",
       [](Interpreter& i, const Value& s, Arguments& a) {
         for (const Value& v : i.iterate(a.bind("extend", {"items"})[0])) grow(s, SIZE_MAX, v);
         return Value::none();
       }},
      {"pop",
       [](Interpreter&, const Value& s, Arguments& a) {
         ValueList& items = s.seq().items;
         const size_t k = list_index(items, int_or(a.bind("pop", {"index"})[0], -1));
         Value out = items[k];
         spend((items.size() - k) / 16);
         items.erase(items.begin() + static_cast<ptrdiff_t>(k));
         return out;
       }},
      {"clear", [](Interpreter&, const Value& s, Arguments&) { return s.seq().items.clear(), Value::none(); }},
  };
  return table;
}

// ---- dicts

const Table& dict_methods() {
  static const Table table = {
      {"get",
       [](Interpreter&, const Value& s, Arguments& a) {
         const ValueList b = a.bind("get", {"key", "default"});
         const Value* found = s.as_dict().find(b[0]);
         return found != nullptr ? *found : a.positional.size() > 1 || !a.named.empty() ? b[1] : Value::none();
       }},
      {"keys", [](Interpreter& i, const Value& s, Arguments&) { return Value::sequence(SequenceType::Keys, i.iterate(s)); }},
      {"values",
       [](Interpreter& i, const Value& s, Arguments&) {
         ValueList out;
         for (const auto& [key, value] : s.as_dict().entries()) out.push_back(value);
         i.charge(out.size());
         return Value::sequence(SequenceType::Values, std::move(out));
       }},
      {"items",
       [](Interpreter& i, const Value& s, Arguments&) {
         ValueList out;
         for (const auto& [key, value] : s.as_dict().entries()) out.push_back(Value::tuple({key, value}));
         i.charge(out.size());
         return Value::sequence(SequenceType::Items, std::move(out));
       }},
      {"copy",
       [](Interpreter& i, const Value& s, Arguments&) { return i.charge(s.as_dict().size()), Value::dict(Dict(s.as_dict())); }},
  };
  return table;
}

const Table& dict_changers() {
  static const Table table = {
      {"update",
       [](Interpreter&, const Value& s, Arguments& a) {
         for (const Value& other : a.positional) {
           if (!other.is(Kind::Dict)) fail("update() needs a dict");
           const Value copy = other.deep_copy();
           for (const auto& [key, value] : copy.as_dict().entries()) s.as_dict().set(key, value);
         }
         for (const auto& [name, value] : a.named) s.as_dict().set(name, value.deep_copy());
         return Value::none();
       }},
      {"setdefault",
       [](Interpreter&, const Value& s, Arguments& a) {
         const ValueList b = a.bind("setdefault", {"key", "default"});
         if (const Value* found = s.as_dict().find(b[0])) return *found;
         const Value fresh = b[1].is(Kind::Undefined) ? Value::none() : b[1].deep_copy();
         s.as_dict().set(b[0], fresh);
         return fresh;
       }},
      {"pop",
       [](Interpreter&, const Value& s, Arguments& a) {
         const ValueList b = a.bind("pop", {"key", "default"});
         const Value* found = s.as_dict().find(b[0]);
         if (found == nullptr && a.positional.size() < 2) fail("key {} is not in the dict", b[0].repr());
         if (found == nullptr) return b[1];
         Value out = *found;
         s.as_dict().erase(b[0]);
         return out;
       }},
  };
  return table;
}

Method find_method_of(const Value& object, const std::string& name, bool lenient) {
  const auto in = [&](const Table& table) {
    const auto it = table.find(name);
    return it == table.end() ? nullptr : it->second;
  };
  if (object.is(Kind::String)) return in(string_methods());
  if (object.is(Kind::Dict)) {
    Method m = in(dict_methods());
    return m == nullptr && lenient ? in(dict_changers()) : m;
  }
  if (!object.is(Kind::Sequence) || object.is_sequence(SequenceType::Generator)) return nullptr;
  Method m = object.seq().type <= SequenceType::Tuple ? in(sequence_methods()) : nullptr;
  return m == nullptr && lenient && object.is_sequence(SequenceType::List) ? in(list_changers()) : m;
}

}  // namespace

bool has_method(const Value& object, const std::string& name, bool lenient) {
  return find_method_of(object, name, lenient) != nullptr;
}

Value call_method(Interpreter& interpreter, const Value& object, const std::string& name, Arguments& arguments) {
  interpreter.charge(1 + (object.is(Kind::String) ? object.as_string().size() / 64 : 0));
  return find_method_of(object, name, interpreter.lenient())(interpreter, object, arguments);
}

}  // namespace raison::jinja
