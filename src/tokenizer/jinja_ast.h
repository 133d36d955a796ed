// The syntax tree of a template, and the parser that makes it. Nesting is bounded while parsing, so walking the tree may
// recurse.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja_value.h"

namespace raison::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

enum class Op : uint8_t {
  Constant,   // value
  Name,       // text
  List,       // args
  Tuple,      // args
  Dict,       // args: key, value, key, value, ...
  Attribute,  // a.text
  Item,       // a[b]
  Slice,      // args: begin, end, step (null = absent); only as b of Item
  Call,       // a(args, named, star, star_star)
  Filter,     // a|text(args...); a null: within {% filter %} and {% set %} blocks
  Test,       // a is text(args...)
  Not,
  Negate,
  Plus,
  Binary,   // a text b, text one of + - * / // % **
  Concat,   // args joined by ~
  Compare,  // a, then names[i] args[i]
  And,
  Or,
  Condition,  // a if b else c (c null: undefined)
};

struct Expr {
  Op op = Op::Constant;
  int line = 0, depth = 1;
  bool unknown = false;  // a filter or test there is none of; fails when reached
  std::string text;
  Value value;
  ExprPtr a, b, c;
  std::vector<ExprPtr> args;
  std::vector<std::pair<std::string, ExprPtr>> named;
  std::vector<std::string> operators;
  ExprPtr star, star_star;
};

struct Stmt;
using StmtPtr = std::unique_ptr<Stmt>;
using Block = std::vector<StmtPtr>;

enum class StmtKind : uint8_t {
  Text,         // text
  Output,       // exprs
  For,          // target in exprs[0] [if exprs[1]]: body; else other
  If,           // branches: exprs[i] -> bodies[i]; else other
  Set,          // target = exprs[0]
  SetBlock,     // target = body, through filter exprs[0] if any
  With,         // targets[i] = exprs[i]: body
  Macro,        // text(params, defaults): body
  CallBlock,    // exprs[0] is a Call; caller(params): body
  FilterBlock,  // exprs[0] is a Filter chain over body
  Scope,        // body in a scope of its own: {% generation %}, {% block %}
  Break,
  Continue,
};

struct Stmt {
  StmtKind kind = StmtKind::Text;
  int line = 0;
  bool recursive = false;
  std::string text;
  std::vector<ExprPtr> exprs, targets;  // a target is a Name, an Attribute of a Name (namespace), or a Tuple of those
  std::vector<std::string> params;
  std::vector<ExprPtr> defaults;  // of the last parameters
  Block body, other;
  std::vector<Block> bodies;
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

// Parses; throws Failure. `lenient`: knows from_json.
Block parse_template(const std::string& source, bool lenient);

bool filter_exists(const std::string& name, bool lenient);
bool test_exists(const std::string& name);

}  // namespace raison::jinja
