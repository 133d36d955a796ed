// Values of the template language: Python's, as far as chat templates need them. Immutable to templates, except that the
// lenient dialect lets lists grow.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"

namespace raison::jinja {

// Thrown inside the template engine only; parse() and render() turn it into an Error. `from_template`: the text of
// raise_exception.
struct Failure : std::runtime_error {
  explicit Failure(const std::string& message, bool template_said = false)
      : std::runtime_error(message), from_template(template_said) {}
  bool from_template;
};
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Failure(fmt::format(format, std::forward<Args>(args)...));
}

// A rendering's share of work, in steps. Whatever takes time or memory pays for it as it goes along, so that no way of putting
// cheap things together becomes dear.
class Meter {
 public:
  explicit Meter(int64_t steps) : limit_(steps), left_(steps) {}
  void spend(size_t steps) {
    if (steps > static_cast<size_t>(left_)) fail("the template ran for more than {} steps", limit_);
    left_ -= static_cast<int64_t>(steps);
  }

 private:
  int64_t limit_, left_;
};

// What pays on this thread while it lives.
class MeterScope {
 public:
  explicit MeterScope(Meter* meter);
  ~MeterScope();
  MeterScope(const MeterScope&) = delete;
  MeterScope& operator=(const MeterScope&) = delete;

 private:
  Meter* outer_;
};

// Charges the rendering on this thread; free where there is none (parsing).
void spend(size_t steps);
// For looking for `needle` in `text`, at worst.
void spend_search(std::string_view text, std::string_view needle);

class Value;
class Dict;
struct Arguments;
class Interpreter;
using ValueList = std::vector<Value>;

// What lives until the rendering ends, owned by the interpreter: such objects may refer to each other in cycles.
struct Object {
  virtual ~Object() = default;
  virtual const char* type_name() const = 0;
  virtual Value attribute(const std::string& name) = 0;  // Undefined if there is none
  virtual bool callable() const { return false; }
  virtual Value call(Interpreter& interpreter, Arguments& arguments) = 0;
};

enum class Kind : uint8_t { Undefined, None, Bool, Int, Float, String, Bytes, Sequence, Dict, Object };
// Sequences differ in how they print and what they allow.
enum class SequenceType : uint8_t { List, Tuple, Generator, Range, Keys, Values, Items };

struct Sequence {
  SequenceType type = SequenceType::List;
  int depth = 1;  // nesting of containers, bounded so that recursion over values is
  ValueList items;
  std::string repr;  // Range: how it prints
};

// Containers nest at most this deep (twice as deep where lists were grown through an alias).
inline constexpr int kMaxDepth = 150;

class Value {
 public:
  Value() = default;  // Undefined
  static Value undefined(std::string hint, bool unsafe = false);
  static Value none() { return Value(Kind::None); }
  static Value boolean(bool b);
  static Value integer(int64_t i);
  static Value real(double d);
  static Value string(std::string s);
  static Value bytes(std::string s);
  static Value sequence(SequenceType type, ValueList items, std::string repr = "");
  static Value list(ValueList items) { return sequence(SequenceType::List, std::move(items)); }
  static Value tuple(ValueList items) { return sequence(SequenceType::Tuple, std::move(items)); }
  static Value generator(ValueList items) { return sequence(SequenceType::Generator, std::move(items)); }
  static Value dict(Dict d);
  static Value object(Object* o);
  static Value from_json(const nlohmann::ordered_json& json, int depth = 0);

  Kind kind() const { return kind_; }
  bool is(Kind k) const { return kind_ == k; }
  bool is_sequence(SequenceType t) const { return kind_ == Kind::Sequence && seq_->type == t; }
  bool is_number() const { return kind_ == Kind::Bool || kind_ == Kind::Int || kind_ == Kind::Float; }
  bool is_integral() const { return kind_ == Kind::Bool || kind_ == Kind::Int; }
  bool as_bool() const { return int_ != 0; }
  int64_t as_int() const { return int_; }  // Bool and Int
  double as_double() const { return kind_ == Kind::Float ? real_ : static_cast<double>(int_); }
  const std::string& as_string() const { return *str_; }  // String and Bytes; Undefined: what to say about it
  Sequence& seq() const { return *seq_; }
  Dict& as_dict() const { return *dict_; }
  Object* as_object() const { return object_; }
  bool unsafe() const { return kind_ == Kind::Undefined && int_ != 0; }
  std::string hint() const { return str_ ? *str_ : "value is undefined"; }
  int depth() const;

  bool truthy() const;
  const char* type_name() const;  // Python's
  std::string str() const;        // str(): what printing shows
  std::string repr() const;
  bool equals(const Value& other) const;
  // < 0, 0, > 0; fails for kinds that don't compare.
  int compare(const Value& other) const;
  std::string hash_key() const;  // equal keys of dicts have equal hash keys; fails for unhashable values
  Value deep_copy() const;

 private:
  explicit Value(Kind kind) : kind_(kind) {}
  void repr_to(std::string& out) const;
  Kind kind_ = Kind::Undefined;
  union {
    int64_t int_ = 0;
    double real_;
    Object* object_;
  };
  std::shared_ptr<std::string> str_;
  std::shared_ptr<Sequence> seq_;
  std::shared_ptr<Dict> dict_;
};

// Insertion-ordered, as Python's.
class Dict {
 public:
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  void set(const Value& key, Value value);
  void set(const std::string& key, Value value) { set(Value::string(key), std::move(value)); }
  bool erase(const Value& key);
  const std::vector<std::pair<Value, Value>>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  int depth = 1;

 private:
  std::vector<std::pair<Value, Value>> entries_;
  std::unordered_map<std::string, size_t> index_;
};

struct Arguments {
  ValueList positional;
  std::vector<std::pair<std::string, Value>> named;
  // Matches the arguments to `names`; missing ones stay Undefined. Fails on too many or unknown ones.
  ValueList bind(const char* function, std::initializer_list<const char*> names) const;
};

// An optional argument: `fallback` if undefined or none; fails unless an integer.
int64_t int_or(const Value& v, int64_t fallback);

struct JsonStyle {
  int indent = -1;  // < 0: one line
  std::string item_separator = ", ", key_separator = ": ";
  bool ensure_ascii = false, sort_keys = false, generators = false;
};
std::string to_json(const Value& value, const JsonStyle& style);

std::string float_repr(double d);  // Python's repr of a float
std::string string_repr(std::string_view s);

// Code points: strings are indexed by them.
std::vector<std::string> characters(std::string_view s);
std::string to_upper(std::string_view s);
std::string to_lower(std::string_view s);
bool is_space_char(std::string_view character);

}  // namespace raison::jinja
