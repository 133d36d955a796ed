// Runs a parsed template. One Interpreter per rendering.
#pragma once
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/jinja_ast.h"

namespace raison::jinja {

struct Limits {
  int64_t steps = 5'000'000;  // expressions, statements, list items, looks at a value; text counts by its length / 64
  size_t output_bytes = size_t{64} << 20;
  int recursion = 1200;  // of the tree walk; macros that call themselves end here
};

class Scope {
 public:
  explicit Scope(std::shared_ptr<Scope> parent) : parent_(std::move(parent)) {}
  const Value* find(const std::string& name) const;
  void set(const std::string& name, Value value);

 private:
  std::shared_ptr<Scope> parent_;
  std::vector<std::pair<std::string, Value>> variables_;
};
using ScopePtr = std::shared_ptr<Scope>;

class Interpreter {
 public:
  Interpreter(const Limits& limits, bool lenient, std::function<std::tm()> now);
  ~Interpreter();
  std::string render(const Block& body, const nlohmann::ordered_json& variables);  // throws Failure

  // For filters, tests and methods.
  void charge(size_t items) { meter_.spend(items); }
  Value text(std::string s);              // a string value, charged for and bounded
  ValueList iterate(const Value& value);  // fails for what can't be iterated
  Value call(const Value& callee, Arguments& arguments);
  Value attribute(const Value& object, const std::string& name);
  Value item(const Value& object, const Value& key);
  Value apply_filter(const std::string& name, const Value& input, Arguments& arguments);
  bool apply_test(const std::string& name, const Value& input, Arguments& arguments);
  bool contains(const Value& container, const Value& item);
  Value binary(const std::string& op, const Value& a, const Value& b);
  Value native(std::function<Value(Interpreter&, Arguments&)> function, const char* name);
  bool lenient() const { return lenient_; }
  std::tm now() const { return now_(); }
  template <class T, class... Args>
  T* make(Args&&... args) {
    auto owned = std::make_unique<T>(std::forward<Args>(args)...);
    T* raw = owned.get();
    objects_.push_back(std::move(owned));
    charge(1);
    return raw;
  }

  // For macros and loops.
  Value run_macro(const Stmt& macro, const ScopePtr& scope, Arguments& arguments);
  std::string run_loop(const Stmt& loop, const ScopePtr& scope, const Value& items, int depth);

 private:
  enum class Flow { Normal, Break, Continue };
  struct Deeper {
    explicit Deeper(Interpreter& i) : interpreter(i) {
      i.charge(1);
      if (++i.depth_ > i.limits_.recursion) fail("the template recurses too deeply");
    }
    ~Deeper() { --interpreter.depth_; }
    Interpreter& interpreter;
  };

  Flow run(const Block& body, const ScopePtr& scope, std::string& out);
  Flow run(const Stmt& s, const ScopePtr& scope, std::string& out);
  void for_loop(const Stmt& s, const ScopePtr& scope, const Value& items, int depth, std::string& out);
  void assign(const Expr& target, const Value& value, const ScopePtr& scope);
  void emit(std::string_view text, std::string& out);
  Value capture(const Block& body, const ScopePtr& scope);

  Value eval(const Expr& e, const ScopePtr& scope);
  Value eval_name(const Expr& e, const ScopePtr& scope);
  Value eval_call(const Expr& e, const ScopePtr& scope);
  Value eval_filter(const Expr& e, const ScopePtr& scope);
  Value eval_item(const Expr& e, const ScopePtr& scope);
  Value eval_dict(const Expr& e, const ScopePtr& scope);
  Value eval_concat(const Expr& e, const ScopePtr& scope);
  Value eval_compare(const Expr& e, const ScopePtr& scope);
  ValueList eval_all(const std::vector<ExprPtr>& list, const ScopePtr& scope);
  void eval_arguments(const Expr& e, const ScopePtr& scope, Arguments& out);
  Value slice(const Value& object, const ValueList& parts);
  std::optional<Value> global(const std::string& name);

  Limits limits_;
  bool lenient_;
  std::function<std::tm()> now_;
  Meter meter_;
  int depth_ = 0;
  const Value* block_input_ = nullptr;  // what {% filter %} filters
  std::vector<std::unique_ptr<Object>> objects_;
};

// Methods of strings, lists and dicts.
bool has_method(const Value& object, const std::string& name, bool lenient);
Value call_method(Interpreter& interpreter, const Value& object, const std::string& name, Arguments& arguments);

// Python's "%" and str.format, and strftime.
std::string format_percent(const std::string& format, const Value& arguments);
std::string format_braces(const std::string& format, const Arguments& arguments);
std::string format_time(const std::string& format, const std::tm& time);
// Python's floor division and remainder.
Value floor_divide(const Value& a, const Value& b);
Value remainder(const Value& a, const Value& b);

}  // namespace raison::jinja
