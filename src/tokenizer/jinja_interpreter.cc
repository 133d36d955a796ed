#include "tokenizer/jinja_interpreter.h"

#include <algorithm>
#include <cmath>

#include "tokenizer/utf8.h"

namespace raison::jinja {
namespace {

struct Native final : Object {
  Native(std::function<Value(Interpreter&, Arguments&)> f, const char* n) : function(std::move(f)), name(n) {}
  const char* type_name() const override { return "function"; }
  Value attribute(const std::string&) override { return {}; }
  bool callable() const override { return true; }
  Value call(Interpreter& i, Arguments& arguments) override { return function(i, arguments); }
  std::function<Value(Interpreter&, Arguments&)> function;
  const char* name;
};

struct Namespace final : Object {
  const char* type_name() const override { return "Namespace"; }
  Value attribute(const std::string& name) override {
    if (name[0] == '_') fail("access to attribute '{}' of a namespace is unsafe", name);
    const Value* found = attributes.find(name);
    return found != nullptr ? *found : Value();
  }
  Value call(Interpreter&, Arguments&) override { fail("'Namespace' object is not callable"); }
  Dict attributes;
};

struct Macro final : Object {
  Macro(const Stmt& s, ScopePtr sc) : stmt(s), scope(std::move(sc)) {}
  const char* type_name() const override { return "Macro"; }
  Value attribute(const std::string& name) override {
    if (name == "name") return Value::string(stmt.text);
    if (name == "arguments") {
      ValueList names;
      for (const std::string& p : stmt.params) names.push_back(Value::string(p));
      return Value::tuple(std::move(names));
    }
    if (name == "catch_kwargs") return Value::boolean(stmt.uses_kwargs);
    if (name == "catch_varargs") return Value::boolean(stmt.uses_varargs);
    if (name == "caller") return Value::boolean(stmt.uses_caller);
    return {};
  }
  bool callable() const override { return true; }
  Value call(Interpreter& i, Arguments& arguments) override { return i.run_macro(stmt, scope, arguments); }
  const Stmt& stmt;
  ScopePtr scope;
};

struct Loop final : Object {
  Loop(Interpreter& i, const Stmt& s, ScopePtr sc, int d) : interpreter(i), stmt(s), scope(std::move(sc)), depth(d) {}
  const char* type_name() const override { return "LoopContext"; }
  Value attribute(const std::string& name) override {
    const auto n = static_cast<int64_t>(items.size());
    if (name == "index") return Value::integer(index + 1);
    if (name == "index0") return Value::integer(index);
    if (name == "revindex") return Value::integer(n - index);
    if (name == "revindex0") return Value::integer(n - index - 1);
    if (name == "first") return Value::boolean(index == 0);
    if (name == "last") return Value::boolean(index == n - 1);
    if (name == "length") return Value::integer(n);
    if (name == "depth") return Value::integer(depth);
    if (name == "depth0") return Value::integer(depth - 1);
    if (name == "previtem")
      return index > 0 ? items[static_cast<size_t>(index) - 1] : Value::undefined("there is no previous item");
    if (name == "nextitem")
      return index + 1 < n ? items[static_cast<size_t>(index) + 1] : Value::undefined("there is no next item");
    if (name == "cycle") {
      return interpreter.native(
          [this](Interpreter&, Arguments& a) -> Value {
            if (a.positional.empty()) fail("no items for cycling given");
            return a.positional[static_cast<size_t>(index) % a.positional.size()];
          },
          "cycle");
    }
    if (name == "changed") {
      return interpreter.native(
          [this](Interpreter&, Arguments& a) -> Value {
            const Value now = Value::tuple(a.positional);
            const bool same = seen && last.equals(now);
            seen = true;
            last = now;
            return Value::boolean(!same);
          },
          "changed");
    }
    return {};
  }
  bool callable() const override { return true; }
  Value call(Interpreter& i, Arguments& arguments) override {
    if (!stmt.recursive) fail("'loop' can only be called in a recursive loop");
    const ValueList a = arguments.bind("loop", {"iterable"});
    return Value::string(i.run_loop(stmt, scope, a[0], depth + 1));
  }
  Interpreter& interpreter;
  const Stmt& stmt;
  ScopePtr scope;
  int depth;
  int64_t index = 0;
  ValueList items;
  bool seen = false;
  Value last;
};

int64_t checked_int(const Value& v, const char* what) {
  if (!v.is_integral()) fail("{} must be an integer, not {}", what, v.type_name());
  return v.as_int();
}

Value make_range(Interpreter& interpreter, Arguments& arguments) {
  const ValueList& a = arguments.positional;
  if (a.empty() || a.size() > 3 || !arguments.named.empty()) fail("range() takes 1 to 3 arguments");
  const int64_t start = a.size() > 1 ? checked_int(a[0], "range()") : 0, stop = checked_int(a[a.size() > 1 ? 1 : 0], "range()");
  const int64_t step = a.size() > 2 ? checked_int(a[2], "range()") : 1;
  if (step == 0) fail("range() step must not be zero");
  constexpr int64_t kBound = int64_t{1} << 60;
  for (int64_t v : {start, stop, step}) {
    if (v > kBound || v < -kBound) fail("range() out of bounds");
  }
  const int64_t count =
      step > 0 ? (stop > start ? (stop - start - 1) / step + 1 : 0) : (start > stop ? (start - stop - 1) / -step + 1 : 0);
  if (count > 100000) fail("range too big: {} items, 100000 at most", count);
  interpreter.charge(static_cast<size_t>(count));
  ValueList items;
  for (int64_t k = 0; k < count; ++k) items.push_back(Value::integer(start + k * step));
  const std::string repr =
      step == 1 ? fmt::format("range({}, {})", start, stop) : fmt::format("range({}, {}, {})", start, stop, step);
  return Value::sequence(SequenceType::Range, std::move(items), repr);
}

Dict make_dict(Interpreter& interpreter, Arguments& arguments) {
  Dict out;
  if (arguments.positional.size() > 1) fail("dict() takes one positional argument at most");
  for (const Value& v : arguments.positional) {
    if (v.is(Kind::Dict)) {
      out = v.as_dict();
      continue;
    }
    for (const Value& pair : interpreter.iterate(v)) {
      const ValueList two = interpreter.iterate(pair);
      if (two.size() != 2) fail("dict() needs pairs");
      out.set(two[0], two[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) out.set(name, value);
  return out;
}

}  // namespace

const Value* Scope::find(const std::string& name) const {
  for (const Scope* s = this; s != nullptr; s = s->parent_.get()) {
    spend(s->variables_.size() / 16);
    for (const auto& [n, v] : s->variables_) {
      if (n == name) return &v;
    }
  }
  return nullptr;
}

void Scope::set(const std::string& name, Value value) {
  spend(variables_.size() / 16);
  for (auto& [n, v] : variables_) {
    if (n == name) {
      v = std::move(value);
      return;
    }
  }
  variables_.emplace_back(name, std::move(value));
}

Interpreter::Interpreter(const Limits& limits, bool lenient, std::function<std::tm()> now)
    : limits_(limits), lenient_(lenient), now_(std::move(now)), meter_(limits.steps) {}
Interpreter::~Interpreter() = default;

std::string Interpreter::render(const Block& body, const nlohmann::ordered_json& variables) {
  const MeterScope pays(&meter_);
  const auto root = std::make_shared<Scope>(nullptr);
  for (auto it = variables.begin(); it != variables.end(); ++it) root->set(it.key(), Value::from_json(it.value()));
  std::string out;
  // Assignments at the top level shadow the variables, which macros see too.
  run(body, root, out);
  return out;
}

Value Interpreter::text(std::string s) {
  charge(s.size() / 64);
  if (s.size() > limits_.output_bytes) fail("a text of more than {} bytes", limits_.output_bytes);
  return Value::string(std::move(s));
}

void Interpreter::emit(std::string_view s, std::string& out) {
  charge(s.size() / 64);
  if (out.size() + s.size() > limits_.output_bytes) fail("the template's output is larger than {} bytes", limits_.output_bytes);
  out += s;
}

Value Interpreter::native(std::function<Value(Interpreter&, Arguments&)> function, const char* name) {
  return Value::object(make<Native>(std::move(function), name));
}

ValueList Interpreter::iterate(const Value& value) {
  switch (value.kind()) {
    case Kind::Undefined: return {};
    case Kind::Sequence: charge(value.seq().items.size()); return value.seq().items;
    case Kind::String: {
      ValueList out;
      for (std::string& c : characters(value.as_string())) out.push_back(Value::string(std::move(c)));
      return out;
    }
    case Kind::Dict: {
      charge(value.as_dict().size());
      ValueList out;
      for (const auto& [key, v] : value.as_dict().entries()) out.push_back(key);
      return out;
    }
    default: fail("'{}' object is not iterable", value.type_name());
  }
}

// ---- statements

Interpreter::Flow Interpreter::run(const Block& body, const ScopePtr& scope, std::string& out) {
  for (const StmtPtr& s : body) {
    if (const Flow flow = run(*s, scope, out); flow != Flow::Normal) return flow;
  }
  return Flow::Normal;
}

Value Interpreter::capture(const Block& body, const ScopePtr& scope) {
  std::string out;
  run(body, std::make_shared<Scope>(scope), out);
  return text(std::move(out));
}

Interpreter::Flow Interpreter::run(const Stmt& s, const ScopePtr& scope, std::string& out) {
  const Deeper deeper(*this);
  switch (s.kind) {
    case StmtKind::Text: emit(s.text, out); break;
    case StmtKind::Output: emit(eval(*s.exprs[0], scope).str(), out); break;
    case StmtKind::For: for_loop(s, scope, eval(*s.exprs[0], scope), 1, out); break;
    case StmtKind::If:
      for (size_t i = 0; i < s.exprs.size(); ++i) {
        if (eval(*s.exprs[i], scope).truthy()) return run(s.bodies[i], scope, out);
      }
      return run(s.other, scope, out);
    case StmtKind::Set: assign(*s.targets[0], eval(*s.exprs[0], scope), scope); break;
    case StmtKind::SetBlock:
    case StmtKind::FilterBlock: {
      Value value = capture(s.body, scope);
      if (!s.exprs.empty()) {
        const Value* outer = std::exchange(block_input_, &value);
        Value filtered = eval(*s.exprs[0], scope);
        block_input_ = outer;
        value = std::move(filtered);
      }
      if (s.kind == StmtKind::FilterBlock) {
        emit(value.str(), out);
      } else {
        assign(*s.targets[0], value, scope);
      }
      break;
    }
    case StmtKind::With: {
      const auto inner = std::make_shared<Scope>(scope);
      for (size_t i = 0; i < s.targets.size(); ++i) assign(*s.targets[i], eval(*s.exprs[i], scope), inner);
      return run(s.body, inner, out);
    }
    case StmtKind::Scope: return run(s.body, std::make_shared<Scope>(scope), out);
    case StmtKind::Macro: scope->set(s.text, Value::object(make<Macro>(s, scope))); break;
    case StmtKind::CallBlock: {
      const Expr& call_expr = *s.exprs[0];
      Arguments arguments;
      eval_arguments(call_expr, scope, arguments);
      arguments.named.emplace_back("caller", Value::object(make<Macro>(s, scope)));
      emit(call(eval(*call_expr.a, scope), arguments).str(), out);
      break;
    }
    case StmtKind::Break: return Flow::Break;
    case StmtKind::Continue: return Flow::Continue;
  }
  return Flow::Normal;
}

void Interpreter::for_loop(const Stmt& s, const ScopePtr& scope, const Value& items, int depth, std::string& out) {
  Loop* loop = make<Loop>(*this, s, scope, depth);
  loop->items = iterate(items);
  if (s.exprs.size() > 1) {
    ValueList kept;
    for (const Value& item : loop->items) {
      const auto inner = std::make_shared<Scope>(scope);
      assign(*s.targets[0], item, inner);
      if (eval(*s.exprs[1], inner).truthy()) kept.push_back(item);
    }
    loop->items = std::move(kept);
  }
  if (loop->items.empty()) {
    run(s.other, std::make_shared<Scope>(scope), out);
    return;
  }
  for (loop->index = 0; loop->index < static_cast<int64_t>(loop->items.size()); ++loop->index) {
    charge(1);
    const auto inner = std::make_shared<Scope>(scope);
    inner->set("loop", Value::object(loop));
    assign(*s.targets[0], loop->items[static_cast<size_t>(loop->index)], inner);
    if (run(s.body, inner, out) == Flow::Break) break;
  }
}

std::string Interpreter::run_loop(const Stmt& loop, const ScopePtr& scope, const Value& items, int depth) {
  const Deeper deeper(*this);
  std::string out;
  for_loop(loop, scope, items, depth, out);
  return out;
}

void Interpreter::assign(const Expr& target, const Value& value, const ScopePtr& scope) {
  if (target.op == Op::Name) {
    scope->set(target.text, value);
  } else if (target.op == Op::Attribute) {
    const Value* object = scope->find(target.a->text);
    auto* ns = object != nullptr && object->is(Kind::Object) ? dynamic_cast<Namespace*>(object->as_object()) : nullptr;
    if (ns == nullptr) fail("line {}: cannot assign attribute on non-namespace object '{}'", target.line, target.a->text);
    ns->attributes.set(target.text, value);
  } else {
    if (value.is(Kind::Undefined)) fail("{}", value.hint());
    const ValueList parts = iterate(value);
    if (parts.size() != target.args.size()) {
      fail("line {}: cannot unpack {} values into {} names", target.line, parts.size(), target.args.size());
    }
    for (size_t i = 0; i < parts.size(); ++i) assign(*target.args[i], parts[i], scope);
  }
}

Value Interpreter::run_macro(const Stmt& macro, const ScopePtr& scope, Arguments& arguments) {
  const Deeper deeper(*this);
  const auto inner = std::make_shared<Scope>(scope);
  const size_t n = macro.params.size(), required = n - macro.defaults.size();
  charge(n + arguments.named.size() * (n / 16 + 1));
  std::vector<bool> bound(n, false);
  Dict kwargs;
  for (size_t i = 0; i < std::min(n, arguments.positional.size()); ++i) {
    inner->set(macro.params[i], arguments.positional[i]);
    bound[i] = true;
  }
  for (const auto& [name, value] : arguments.named) {
    const auto it = std::find(macro.params.begin(), macro.params.end(), name);
    if (it != macro.params.end()) {
      const auto i = static_cast<size_t>(it - macro.params.begin());
      if (bound[i]) fail("macro '{}' got multiple values for '{}'", macro.text, name);
      inner->set(name, value);
      bound[i] = true;
    } else if (name == "caller" && (macro.uses_caller || macro.kind == StmtKind::Macro)) {
      inner->set("caller", value);
    } else if (macro.uses_kwargs) {
      kwargs.set(name, value);
    } else {
      fail("macro '{}' takes no keyword argument '{}'", macro.text, name);
    }
  }
  if (arguments.positional.size() > n && !macro.uses_varargs)
    fail("macro '{}' takes not more than {} argument(s)", macro.text, n);
  for (size_t i = 0; i < n; ++i) {  // defaults may use the parameters before them
    if (bound[i]) continue;
    inner->set(macro.params[i], i >= required
                                    ? eval(*macro.defaults[i - required], inner)
                                    : Value::undefined(fmt::format("parameter '{}' was not provided", macro.params[i])));
  }
  if (macro.uses_varargs) {
    const auto skip = static_cast<ptrdiff_t>(std::min(n, arguments.positional.size()));
    inner->set("varargs", Value::tuple(ValueList(arguments.positional.begin() + skip, arguments.positional.end())));
  }
  if (macro.uses_kwargs) inner->set("kwargs", Value::dict(std::move(kwargs)));
  std::string out;
  run(macro.body, inner, out);
  return text(std::move(out));
}

// ---- expressions

ValueList Interpreter::eval_all(const std::vector<ExprPtr>& list, const ScopePtr& scope) {
  ValueList out;
  out.reserve(list.size());
  for (const ExprPtr& e : list) out.push_back(e ? eval(*e, scope) : Value::none());
  return out;
}

void Interpreter::eval_arguments(const Expr& e, const ScopePtr& scope, Arguments& out) {
  out.positional = eval_all(e.args, scope);
  for (const auto& [name, value] : e.named) out.named.emplace_back(name, eval(*value, scope));
  if (e.star) {
    for (Value& v : iterate(eval(*e.star, scope))) out.positional.push_back(std::move(v));
  }
  if (e.star_star) {
    const Value more = eval(*e.star_star, scope);
    if (!more.is(Kind::Dict)) fail("argument after ** must be a mapping, not {}", more.type_name());
    charge(more.as_dict().size());
    for (const auto& [key, value] : more.as_dict().entries()) out.named.emplace_back(key.str(), value);
  }
}

Value Interpreter::eval(const Expr& e, const ScopePtr& scope) {
  const Deeper deeper(*this);
  switch (e.op) {
    case Op::Constant: return e.value;
    case Op::Name: return eval_name(e, scope);
    case Op::List: return Value::list(eval_all(e.args, scope));
    case Op::Tuple: return Value::tuple(eval_all(e.args, scope));
    case Op::Dict: return eval_dict(e, scope);
    case Op::Attribute: return attribute(eval(*e.a, scope), e.text);
    case Op::Item: return eval_item(e, scope);
    case Op::Slice: fail("line {}: a slice outside of a subscript", e.line);
    case Op::Call: return eval_call(e, scope);
    case Op::Filter:
    case Op::Test: return eval_filter(e, scope);
    case Op::Not: return Value::boolean(!eval(*e.a, scope).truthy());
    case Op::Negate: return binary("-", Value::integer(0), eval(*e.a, scope));
    case Op::Plus: return binary("+", Value::integer(0), eval(*e.a, scope));
    case Op::Binary: {
      const Value a = eval(*e.a, scope);
      return binary(e.text, a, eval(*e.b, scope));
    }
    case Op::Concat: return eval_concat(e, scope);
    case Op::Compare: return eval_compare(e, scope);
    case Op::And: {
      Value a = eval(*e.a, scope);
      return a.truthy() ? eval(*e.b, scope) : a;
    }
    case Op::Or: {
      Value a = eval(*e.a, scope);
      return a.truthy() ? a : eval(*e.b, scope);
    }
    case Op::Condition:
      if (eval(*e.b, scope).truthy()) return eval(*e.a, scope);
      return e.c ? eval(*e.c, scope) : Value::undefined("the inline if expression is false and has no else");
  }
  return {};
}

Value Interpreter::eval_name(const Expr& e, const ScopePtr& scope) {
  if (const Value* found = scope->find(e.text)) return *found;
  if (auto known = global(e.text)) return *known;
  return Value::undefined(fmt::format("'{}' is undefined", e.text));
}

std::optional<Value> Interpreter::global(const std::string& name) {
  if (name == "range") return native(make_range, "range");
  if (name == "dict") return native([](Interpreter& i, Arguments& a) { return Value::dict(make_dict(i, a)); }, "dict");
  if (name == "namespace") {
    return native(
        [](Interpreter& i, Arguments& a) {
          auto* ns = i.make<Namespace>();
          ns->attributes = make_dict(i, a);
          return Value::object(ns);
        },
        "namespace");
  }
  if (name == "raise_exception") {
    return native(
        [](Interpreter&, Arguments& a) -> Value { throw Failure(a.bind("raise_exception", {"message"})[0].str(), true); },
        "raise_exception");
  }
  if (name == "strftime_now") {
    return native(
        [](Interpreter& i, Arguments& a) { return i.text(format_time(a.bind("strftime_now", {"format"})[0].str(), i.now())); },
        "strftime_now");
  }
  if (name == "joiner") {
    return native(
        [](Interpreter& i, Arguments& a) {
          const ValueList bound = a.bind("joiner", {"sep"});
          const std::string separator = bound[0].is(Kind::Undefined) ? ", " : bound[0].str();
          return i.native(
              [separator, used = false](Interpreter& inner, Arguments&) mutable {
                return inner.text(std::exchange(used, true) ? separator : "");
              },
              "joiner");
        },
        "joiner");
  }
  if (name == "cycler") {
    struct Cycler final : Object {
      const char* type_name() const override { return "Cycler"; }
      Value attribute(const std::string& what) override {
        if (what == "current") return items[at];
        if (what == "next") return owner->native([this](Interpreter&, Arguments&) { return step(); }, "next");
        if (what == "reset") return owner->native([this](Interpreter&, Arguments&) { return at = 0, Value::none(); }, "reset");
        return {};
      }
      Value call(Interpreter&, Arguments&) override { fail("'Cycler' object is not callable"); }
      Value step() {
        const Value now = items[at];
        at = (at + 1) % items.size();
        return now;
      }
      Interpreter* owner = nullptr;
      ValueList items;
      size_t at = 0;
    };
    return native(
        [](Interpreter& i, Arguments& a) {
          if (a.positional.empty()) fail("at least one item has to be provided");
          auto* cycler = i.make<Cycler>();
          cycler->owner = &i;
          cycler->items = a.positional;
          return Value::object(cycler);
        },
        "cycler");
  }
  return std::nullopt;
}

Value Interpreter::eval_dict(const Expr& e, const ScopePtr& scope) {
  Dict d;
  for (size_t i = 0; i + 1 < e.args.size(); i += 2) {
    const Value key = eval(*e.args[i], scope);
    d.set(key, eval(*e.args[i + 1], scope));
  }
  return Value::dict(std::move(d));
}

Value Interpreter::eval_concat(const Expr& e, const ScopePtr& scope) {
  std::string out;
  for (const ExprPtr& part : e.args) {
    out += eval(*part, scope).str();
    if (out.size() > limits_.output_bytes) fail("a text of more than {} bytes", limits_.output_bytes);
  }
  return text(std::move(out));
}

Value Interpreter::eval_compare(const Expr& e, const ScopePtr& scope) {
  Value left = eval(*e.a, scope);
  for (size_t i = 0; i < e.args.size(); ++i) {
    const Value right = eval(*e.args[i], scope);
    const std::string& op = e.operators[i];
    bool holds = false;
    if (op == "==") {
      holds = left.equals(right);
    } else if (op == "!=") {
      holds = !left.equals(right);
    } else if (op == "in" || op == "not in") {
      holds = contains(right, left) == (op == "in");
    } else {
      const int order = left.compare(right);
      holds = op == "<" ? order < 0 : op == "<=" ? order <= 0 : op == ">" ? order > 0 : order >= 0;
    }
    if (!holds) return Value::boolean(false);
    left = right;
  }
  return Value::boolean(true);
}

Value Interpreter::eval_call(const Expr& e, const ScopePtr& scope) {
  Arguments arguments;
  if (e.a->op == Op::Attribute) {
    const Value object = eval(*e.a->a, scope);
    const std::string& name = e.a->text;
    eval_arguments(e, scope, arguments);
    if (!object.is(Kind::Object) && has_method(object, name, lenient_)) return call_method(*this, object, name, arguments);
    return call(attribute(object, name), arguments);
  }
  const Value callee = eval(*e.a, scope);
  eval_arguments(e, scope, arguments);
  return call(callee, arguments);
}

Value Interpreter::call(const Value& callee, Arguments& arguments) {
  const Deeper deeper(*this);
  if (callee.is(Kind::Undefined)) fail("{}", callee.hint());
  if (!callee.is(Kind::Object)) fail("'{}' object is not callable", callee.type_name());
  return callee.as_object()->call(*this, arguments);
}

Value Interpreter::eval_filter(const Expr& e, const ScopePtr& scope) {
  if (e.unknown) fail("line {}: no {} named '{}'", e.line, e.op == Op::Filter ? "filter" : "test", e.text);
  const Value input = e.a ? eval(*e.a, scope) : *block_input_;
  Arguments arguments;
  eval_arguments(e, scope, arguments);
  if (e.op == Op::Test) return Value::boolean(apply_test(e.text, input, arguments));
  return apply_filter(e.text, input, arguments);
}

Value Interpreter::eval_item(const Expr& e, const ScopePtr& scope) {
  const Value object = eval(*e.a, scope);
  if (e.b->op == Op::Slice) return slice(object, eval_all(e.b->args, scope));
  return item(object, eval(*e.b, scope));
}

Value Interpreter::attribute(const Value& object, const std::string& name) {
  if (object.is(Kind::Undefined)) fail("{}", object.hint());
  if (object.is(Kind::Object)) {
    Value found = object.as_object()->attribute(name);
    if (!found.is(Kind::Undefined)) return found;
  } else if (has_method(object, name, lenient_)) {
    return native([object, name](Interpreter& i, Arguments& a) { return call_method(i, object, name, a); }, "method");
  } else if (object.is(Kind::Dict)) {
    if (const Value* found = object.as_dict().find(name)) return *found;
  }
  if (name.size() > 1 && name[0] == '_')
    return Value::undefined(fmt::format("access to attribute '{}' of '{}' object is unsafe", name, object.type_name()), true);
  return Value::undefined(fmt::format("'{}' object has no attribute '{}'", object.type_name(), name));
}

Value Interpreter::item(const Value& object, const Value& key) {
  if (object.is(Kind::Undefined)) fail("{}", object.hint());
  if (object.is(Kind::Dict)) {
    const bool hashable = !key.is(Kind::Dict) && !(key.is(Kind::Sequence) && !key.is_sequence(SequenceType::Tuple));
    if (const Value* found = hashable ? object.as_dict().find(key) : nullptr) return *found;
  } else if (key.is_integral() && object.is(Kind::Sequence) && object.seq().type <= SequenceType::Range &&
             !object.is_sequence(SequenceType::Generator)) {
    const ValueList& items = object.seq().items;
    const int64_t n = static_cast<int64_t>(items.size()), i = key.as_int() < 0 ? key.as_int() + n : key.as_int();
    if (i >= 0 && i < n) return items[static_cast<size_t>(i)];
  } else if (key.is_integral() && object.is(Kind::String)) {
    charge(object.as_string().size() / 64);
    const int64_t n = static_cast<int64_t>(utf8_length(object.as_string())),
                  i = key.as_int() < 0 ? key.as_int() + n : key.as_int();
    if (i >= 0 && i < n) {
      size_t at = 0;
      for (int64_t k = 0; k < i; ++k) at += utf8_step(object.as_string(), at).length;
      return Value::string(object.as_string().substr(at, utf8_step(object.as_string(), at).length));
    }
  }
  if (key.is(Kind::String)) return attribute(object, key.as_string());
  return Value::undefined(fmt::format("'{}' object has no element {}", object.type_name(), key.repr()));
}

Value Interpreter::slice(const Value& object, const ValueList& parts) {
  if (object.is(Kind::Undefined)) fail("{}", object.hint());
  const bool is_text = object.is(Kind::String);
  if (!is_text && !object.is_sequence(SequenceType::List) && !object.is_sequence(SequenceType::Tuple) &&
      !object.is_sequence(SequenceType::Range)) {
    return Value::undefined(fmt::format("'{}' object can't be sliced", object.type_name()));
  }
  const ValueList items = iterate(object);
  const auto n = static_cast<int64_t>(items.size());
  const int64_t step = parts[2].is(Kind::None) ? 1 : checked_int(parts[2], "slice step");
  if (step == 0) fail("slice step cannot be zero");
  const auto bound = [&](const Value& v, int64_t fallback) {
    if (v.is(Kind::None)) return fallback;
    int64_t i = checked_int(v, "slice index");
    if (i < 0) i = i < -n ? -1 : i + n;
    if (step > 0) return std::clamp<int64_t>(i, 0, n);
    return std::clamp<int64_t>(i, -1, n - 1);
  };
  const int64_t begin = bound(parts[0], step > 0 ? 0 : n - 1), end = bound(parts[1], step > 0 ? n : -1);
  ValueList out;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    out.push_back(items[static_cast<size_t>(i)]);
    if (step > n || step < -n) break;
    i += step;
  }
  if (is_text) {
    std::string joined;
    for (const Value& c : out) joined += c.as_string();
    return text(std::move(joined));
  }
  return Value::sequence(object.is_sequence(SequenceType::Tuple) ? SequenceType::Tuple : SequenceType::List, std::move(out));
}

bool Interpreter::contains(const Value& container, const Value& item) {
  if (container.is(Kind::String)) {
    if (item.is(Kind::Undefined)) fail("{}", item.hint());
    if (!item.is(Kind::String)) fail("'in <string>' requires string as left operand, not {}", item.type_name());
    spend_search(container.as_string(), item.as_string());
    return container.as_string().find(item.as_string()) != std::string::npos;
  }
  if (container.is(Kind::Dict)) return container.as_dict().find(item) != nullptr;
  const ValueList items = iterate(container);
  return std::any_of(items.begin(), items.end(), [&](const Value& v) { return v.equals(item); });
}

}  // namespace raison::jinja
