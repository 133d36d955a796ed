#include "tokenizer/jinja_ast.h"
#include "tokenizer/jinja_lexer.h"

namespace raison::jinja {
namespace {

constexpr int kMaxNesting = 200;    // of statements and of brackets
constexpr int kMaxTreeDepth = 400;  // of expressions: a + b + c + ... leans left

class Parser {
 public:
  Parser(const std::string& source, bool lenient) : tokens_(tokenize(source)), lenient_(lenient) {}

  Block run() {
    Block body = block({});
    for (const Expr* e : unknowns_)
      fail("line {}: no {} named '{}'", e->line, e->op == Op::Filter ? "filter" : "test", e->text);
    return body;
  }

 private:
  // --- tokens
  const Token& now() const { return tokens_[pos_]; }
  void next() { pos_ += pos_ + 1 < tokens_.size(); }
  bool is_op(const char* op) const { return now().type == TokenType::Operator && now().text == op; }
  bool is_name(const char* name) const { return now().type == TokenType::Name && now().text == name; }
  bool skip_op(const char* op) { return is_op(op) && (next(), true); }
  bool skip_name(const char* name) { return is_name(name) && (next(), true); }
  [[noreturn]] void stop(const std::string& what) { fail("line {}: {}", now().line, what); }
  void expect_op(const char* op) {
    if (!skip_op(op)) stop(fmt::format("expected '{}'{}", op, found()));
  }
  void expect_block_end() {
    if (now().type != TokenType::BlockEnd) stop("expected '%}'" + found());
    next();
  }
  std::string name_token() {
    if (now().type != TokenType::Name) stop("expected a name" + found());
    std::string text = now().text;
    next();
    return text;
  }
  std::string found() const {
    return now().type == TokenType::End ? ", the template ends here"
           : now().text.empty()         ? ""
                                        : fmt::format(", found '{}'", now().text.substr(0, 40));
  }

  struct Nest {
    explicit Nest(Parser& p) : parser(p) {
      if (++parser.nesting_ > kMaxNesting) parser.stop("nested too deeply");
    }
    ~Nest() { --parser.nesting_; }
    Parser& parser;
  };

  // --- building
  ExprPtr make(Op op, ExprPtr a = nullptr, ExprPtr b = nullptr, ExprPtr c = nullptr) {
    auto e = std::make_unique<Expr>();
    e->op = op;
    e->line = now().line;
    for (const ExprPtr* child : {&a, &b, &c}) deepen(*e, *child);
    e->a = std::move(a);
    e->b = std::move(b);
    e->c = std::move(c);
    return e;
  }
  void deepen(Expr& e, const ExprPtr& child) {
    if (child) e.depth = std::max(e.depth, child->depth + 1);
    if (e.depth > kMaxTreeDepth) stop("expression too long; use ~ or split it");
  }
  ExprPtr constant(Value v) {
    auto e = make(Op::Constant);
    e->value = std::move(v);
    return e;
  }
  void add_arg(Expr& e, ExprPtr arg) {
    deepen(e, arg);
    e.args.push_back(std::move(arg));
  }

  // --- expressions, in Jinja's precedence
  ExprPtr expression() { return condition(); }

  ExprPtr condition() {
    const Nest nest(*this);
    const size_t unknown_before = unknowns_.size();
    ExprPtr value = disjunction();
    while (skip_name("if")) {
      ExprPtr test = disjunction(), other;
      if (skip_name("else")) other = condition();
      value = make(Op::Condition, std::move(value), std::move(test), std::move(other));
      unknowns_.resize(unknown_before);  // within an inline if they fail only when reached
    }
    return value;
  }

  ExprPtr disjunction() {
    ExprPtr left = conjunction();
    while (skip_name("or")) left = make(Op::Or, std::move(left), conjunction());
    return left;
  }
  ExprPtr conjunction() {
    ExprPtr left = negation();
    while (skip_name("and")) left = make(Op::And, std::move(left), negation());
    return left;
  }
  ExprPtr negation() {
    int nots = 0;
    while (skip_name("not")) ++nots;
    ExprPtr e = comparison();
    for (; nots > 0; --nots) e = make(Op::Not, std::move(e));
    return e;
  }

  ExprPtr comparison() {
    ExprPtr first = sum();
    ExprPtr compare;
    while (true) {
      std::string op;
      if (now().type == TokenType::Operator &&
          (is_op("==") || is_op("!=") || is_op("<") || is_op(">") || is_op("<=") || is_op(">="))) {
        op = now().text;
        next();
      } else if (skip_name("in")) {
        op = "in";
      } else if (is_name("not") && tokens_[pos_ + 1].type == TokenType::Name && tokens_[pos_ + 1].text == "in") {
        next();
        next();
        op = "not in";
      } else {
        break;
      }
      if (!compare) compare = make(Op::Compare, std::move(first));
      compare->operators.push_back(op);
      add_arg(*compare, sum());
    }
    return compare ? std::move(compare) : std::move(first);
  }

  ExprPtr binary(const char* op, ExprPtr left, ExprPtr right) {
    ExprPtr e = make(Op::Binary, std::move(left), std::move(right));
    e->text = op;
    return e;
  }
  ExprPtr sum() {
    ExprPtr left = concatenation();
    while (is_op("+") || is_op("-")) {
      const char* op = is_op("+") ? "+" : "-";
      next();
      left = binary(op, std::move(left), concatenation());
    }
    return left;
  }
  ExprPtr concatenation() {
    ExprPtr first = product();
    if (!is_op("~")) return first;
    ExprPtr e = make(Op::Concat);
    add_arg(*e, std::move(first));
    while (skip_op("~")) add_arg(*e, product());
    return e;
  }
  ExprPtr product() {
    ExprPtr left = power();
    while (true) {
      const char* op = is_op("*") ? "*" : is_op("//") ? "//" : is_op("/") ? "/" : is_op("%") ? "%" : nullptr;
      if (op == nullptr) return left;
      next();
      left = binary(op, std::move(left), power());
    }
  }
  ExprPtr power() {
    ExprPtr left = unary(true);
    while (skip_op("**")) left = binary("**", std::move(left), unary(true));
    return left;
  }
  ExprPtr unary(bool with_filter) {
    const Nest nest(*this);
    ExprPtr e;
    if (skip_op("-")) {
      e = make(Op::Negate, unary(false));
    } else if (skip_op("+")) {
      e = make(Op::Plus, unary(false));
    } else {
      e = primary();
    }
    e = postfix(std::move(e));
    return with_filter ? filters(std::move(e)) : std::move(e);
  }

  ExprPtr primary() {
    const Token token = now();
    switch (token.type) {
      case TokenType::Name: {
        next();
        if (token.text == "true" || token.text == "True") return constant(Value::boolean(true));
        if (token.text == "false" || token.text == "False") return constant(Value::boolean(false));
        if (token.text == "none" || token.text == "None") return constant(Value::none());
        ExprPtr e = make(Op::Name);
        e->text = token.text;
        if (token.text == "varargs") uses_varargs_ = true;
        if (token.text == "kwargs") uses_kwargs_ = true;
        if (token.text == "caller") uses_caller_ = true;
        return e;
      }
      case TokenType::String: {
        std::string text;
        for (; now().type == TokenType::String; next()) text += now().text;
        return constant(Value::string(std::move(text)));
      }
      case TokenType::Integer: next(); return constant(Value::integer(token.integer));
      case TokenType::Float: next(); return constant(Value::real(token.real));
      default: break;
    }
    if (skip_op("(")) {
      ExprPtr e = tuple(false, true, true);
      expect_op(")");
      return e;
    }
    if (skip_op("[")) {
      ExprPtr e = make(Op::List);
      comma_list("]", [&] { add_arg(*e, expression()); });
      return e;
    }
    if (skip_op("{")) {
      ExprPtr e = make(Op::Dict);
      comma_list("}", [&] {
        add_arg(*e, expression());
        expect_op(":");
        add_arg(*e, expression());
      });
      return e;
    }
    stop("expected an expression" + found());
  }

  template <class Item>
  void comma_list(const char* close, Item item) {
    for (bool first = true; !skip_op(close); first = false) {
      if (!first) {
        expect_op(",");
        if (skip_op(close)) return;
      }
      item();
    }
  }

  bool tuple_ends() const {
    return now().type == TokenType::VariableEnd || now().type == TokenType::BlockEnd || is_op(")") || is_name("in") ||
           is_name("recursive") || is_op("=");
  }

  // An expression, or several with commas. `simple`: only primaries, as targets are; `conditions`: may hold inline ifs.
  ExprPtr tuple(bool simple, bool conditions, bool parentheses) {
    std::vector<ExprPtr> items;
    bool is_tuple = false;
    while (true) {
      if (!items.empty()) expect_op(",");
      if (tuple_ends() && !(is_op("=") && items.empty())) break;
      items.push_back(simple ? target_primary() : conditions ? expression() : disjunction());
      if (!is_op(",")) break;
      is_tuple = true;
    }
    if (!is_tuple && !items.empty()) return std::move(items[0]);
    if (!is_tuple && !parentheses) stop("expected an expression" + found());
    ExprPtr e = make(Op::Tuple);
    for (ExprPtr& item : items) add_arg(*e, std::move(item));
    return e;
  }

  ExprPtr target_primary() {
    if (skip_op("(")) {
      const Nest nest(*this);
      ExprPtr e = tuple(true, true, true);
      expect_op(")");
      return e;
    }
    ExprPtr e = make(Op::Name);
    e->text = name_token();
    static const char* const reserved[] = {"true", "false", "none", "True", "False", "None"};
    for (const char* word : reserved) {
      if (e->text == word) stop(fmt::format("can't assign to '{}'", word));
    }
    if (!skip_op(".")) return e;
    ExprPtr attribute = make(Op::Attribute, std::move(e));
    attribute->text = name_token();
    return attribute;
  }

  ExprPtr postfix(ExprPtr e) {
    while (true) {
      if (is_op(".") || is_op("[")) {
        e = subscript(std::move(e));
      } else if (is_op("(")) {
        e = call(std::move(e));
      } else {
        return e;
      }
    }
  }

  ExprPtr filters(ExprPtr e) {
    while (true) {
      if (is_op("|")) {
        next();
        e = filter(std::move(e));
      } else if (skip_name("is")) {
        e = test(std::move(e));
      } else if (is_op("(")) {
        e = call(std::move(e));
      } else {
        return e;
      }
    }
  }

  ExprPtr subscript(ExprPtr e) {
    if (skip_op(".")) {
      if (now().type == TokenType::Integer) {
        ExprPtr index = constant(Value::integer(now().integer));
        next();
        return make(Op::Item, std::move(e), std::move(index));
      }
      ExprPtr attribute = make(Op::Attribute, std::move(e));
      attribute->text = name_token();
      return attribute;
    }
    expect_op("[");
    std::vector<ExprPtr> keys;
    do {
      if (is_op("]") && !keys.empty()) break;
      keys.push_back(subscript_key());
    } while (skip_op(","));
    expect_op("]");
    if (keys.size() == 1) return make(Op::Item, std::move(e), std::move(keys[0]));
    ExprPtr key = make(Op::Tuple);
    for (ExprPtr& k : keys) add_arg(*key, std::move(k));
    return make(Op::Item, std::move(e), std::move(key));
  }

  ExprPtr subscript_key() {
    ExprPtr parts[3];
    int colons = 0;
    while (true) {
      if (skip_op(":")) {
        if (++colons > 2) stop("a slice has two ':' at most");
      } else if (is_op("]") || is_op(",") || parts[colons]) {
        break;
      } else {
        parts[colons] = expression();
      }
    }
    if (colons == 0) {
      if (!parts[0]) stop("expected a subscript" + found());
      return std::move(parts[0]);
    }
    ExprPtr e = make(Op::Slice);
    for (ExprPtr& part : parts) add_arg(*e, std::move(part));
    return e;
  }

  void arguments(Expr& e) {
    expect_op("(");
    const Nest nest(*this);
    comma_list(")", [&] {
      if (skip_op("**")) {
        e.star_star = expression();
        deepen(e, e.star_star);
      } else if (skip_op("*")) {
        e.star = expression();
        deepen(e, e.star);
      } else if (now().type == TokenType::Name && tokens_[pos_ + 1].type == TokenType::Operator &&
                 tokens_[pos_ + 1].text == "=") {
        std::string name = name_token();
        next();
        e.named.emplace_back(std::move(name), expression());
        deepen(e, e.named.back().second);
      } else {
        if (!e.named.empty()) stop("positional argument after a named one");
        add_arg(e, expression());
      }
    });
  }

  ExprPtr call(ExprPtr callee) {
    ExprPtr e = make(Op::Call, std::move(callee));
    arguments(*e);
    return e;
  }

  void note_unknown(Expr& e, bool known) {
    e.unknown = !known;
    if (!known) unknowns_.push_back(&e);
  }

  ExprPtr filter(ExprPtr input) {
    ExprPtr e = make(Op::Filter, std::move(input));
    e->text = name_token();
    while (skip_op(".")) e->text += "." + name_token();
    note_unknown(*e, filter_exists(e->text, lenient_));
    if (is_op("(")) arguments(*e);
    return e;
  }

  ExprPtr test(ExprPtr input) {
    const bool negated = skip_name("not");
    ExprPtr e = make(Op::Test, std::move(input));
    e->text = name_token();
    while (skip_op(".")) e->text += "." + name_token();
    note_unknown(*e, test_exists(e->text));
    const TokenType type = now().type;
    if (is_op("(")) {
      arguments(*e);
    } else if ((type == TokenType::Name && !is_name("else") && !is_name("or") && !is_name("and")) ||
               type == TokenType::String || type == TokenType::Integer || type == TokenType::Float || is_op("[") ||
               is_op("{")) {
      if (is_name("is")) stop("tests can't be chained with 'is'");
      // "x is defined if y" and the like: the word ends the test, as no test that takes an argument wants it.
      if (!is_name("if") && !is_name("in") && !is_name("not")) add_arg(*e, postfix(primary()));
    }
    return negated ? make(Op::Not, std::move(e)) : std::move(e);
  }

  // --- statements
  StmtPtr statement(StmtKind kind) {
    auto s = std::make_unique<Stmt>();
    s->kind = kind;
    s->line = now().line;
    return s;
  }

  // Statements until a tag named in `ends`, which stays current (behind "{%"). Without `ends`: to the end.
  Block block(const std::vector<const char*>& ends) {
    const Nest nest(*this);
    Block out;
    while (true) {
      const Token& token = now();
      if (token.type == TokenType::Data) {
        StmtPtr s = statement(StmtKind::Text);
        s->text = token.text;
        out.push_back(std::move(s));
        next();
      } else if (token.type == TokenType::VariableBegin) {
        next();
        StmtPtr s = statement(StmtKind::Output);
        s->exprs.push_back(tuple(false, true, false));
        if (now().type != TokenType::VariableEnd) stop("expected '}}'" + found());
        next();
        out.push_back(std::move(s));
      } else if (token.type == TokenType::BlockBegin) {
        next();
        for (const char* end : ends) {
          if (is_name(end)) return out;
        }
        out.push_back(tag());
      } else if (ends.empty()) {
        return out;
      } else {
        stop(fmt::format("expected {{% {} %}}{}", ends.back(), found()));
      }
    }
  }

  Block body_until(const char* end) {
    expect_block_end();
    Block body = block({end});
    next();
    return body;
  }

  StmtPtr tag() {
    const std::string name = name_token();
    if (name == "for") return for_tag();
    if (name == "if") return if_tag();
    if (name == "set") return set_tag();
    if (name == "with") return with_tag();
    if (name == "macro") return macro_tag();
    if (name == "call") return call_tag();
    if (name == "filter") return filter_tag();
    if (name == "generation") return scope_tag("endgeneration");
    if (name == "block") {
      name_token();
      return scope_tag("endblock");
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) stop(name + " outside of a loop");
      StmtPtr s = statement(name == "break" ? StmtKind::Break : StmtKind::Continue);
      expect_block_end();
      return s;
    }
    if (name == "include" || name == "extends" || name == "import" || name == "from")
      stop("{% " + name + " %} is not supported: a chat template stands alone");
    stop("unknown tag '" + name + "'");
  }

  StmtPtr scope_tag(const char* end) {
    StmtPtr s = statement(StmtKind::Scope);
    s->body = body_until(end);
    if (std::string_view(end) == "endblock" && now().type == TokenType::Name) next();
    expect_block_end();
    return s;
  }

  StmtPtr for_tag() {
    StmtPtr s = statement(StmtKind::For);
    s->targets.push_back(tuple(true, true, false));
    if (!skip_name("in")) stop("expected 'in'" + found());
    s->exprs.push_back(tuple(false, false, false));
    if (skip_name("if")) s->exprs.push_back(expression());
    s->recursive = skip_name("recursive");
    expect_block_end();
    ++loops_;
    s->body = block({"endfor", "else"});
    --loops_;
    const bool has_else = is_name("else");
    next();
    if (has_else) s->other = body_until("endfor");
    expect_block_end();
    return s;
  }

  StmtPtr if_tag() {
    StmtPtr s = statement(StmtKind::If);
    const size_t unknown_before = unknowns_.size();
    while (true) {
      s->exprs.push_back(tuple(false, false, false));
      expect_block_end();
      s->bodies.push_back(block({"elif", "else", "endif"}));
      if (!skip_name("elif")) break;
    }
    const bool has_else = is_name("else");
    next();
    if (has_else) s->other = body_until("endif");
    expect_block_end();
    unknowns_.resize(unknown_before);
    return s;
  }

  StmtPtr set_tag() {
    StmtPtr s = statement(StmtKind::Set);
    s->targets.push_back(tuple(true, true, false));
    if (skip_op("=")) {
      s->exprs.push_back(tuple(false, true, false));
      expect_block_end();
      return s;
    }
    s->kind = StmtKind::SetBlock;
    if (skip_op("|")) s->exprs.push_back(filters(filter(nullptr)));
    s->body = body_until("endset");
    expect_block_end();
    return s;
  }

  StmtPtr with_tag() {
    StmtPtr s = statement(StmtKind::With);
    while (now().type != TokenType::BlockEnd) {
      if (!s->targets.empty()) expect_op(",");
      s->targets.push_back(target_primary());
      expect_op("=");
      s->exprs.push_back(expression());
    }
    s->body = body_until("endwith");
    expect_block_end();
    return s;
  }

  void signature(Stmt& s) {
    expect_op("(");
    comma_list(")", [&] {
      s.params.push_back(name_token());
      if (skip_op("=")) {
        s.defaults.push_back(expression());
      } else if (!s.defaults.empty()) {
        stop("parameter without a default after one with");
      }
    });
  }

  // The body of a macro or call block, with what it asks of its caller.
  void macro_body(Stmt& s, const char* end) {
    const int loops = std::exchange(loops_, 0);
    const bool varargs = std::exchange(uses_varargs_, false), kwargs = std::exchange(uses_kwargs_, false),
               caller = std::exchange(uses_caller_, false);
    s.body = body_until(end);
    s.uses_varargs = std::exchange(uses_varargs_, varargs);
    s.uses_kwargs = std::exchange(uses_kwargs_, kwargs);
    s.uses_caller = std::exchange(uses_caller_, caller);
    loops_ = loops;
    expect_block_end();
  }

  StmtPtr macro_tag() {
    StmtPtr s = statement(StmtKind::Macro);
    s->text = name_token();
    signature(*s);
    macro_body(*s, "endmacro");
    return s;
  }

  StmtPtr call_tag() {
    StmtPtr s = statement(StmtKind::CallBlock);
    s->text = "caller";
    if (is_op("(")) signature(*s);
    s->exprs.push_back(expression());
    if (s->exprs[0]->op != Op::Call) stop("{% call %} needs a call");
    macro_body(*s, "endcall");
    return s;
  }

  StmtPtr filter_tag() {
    StmtPtr s = statement(StmtKind::FilterBlock);
    s->exprs.push_back(filters(filter(nullptr)));
    s->body = body_until("endfilter");
    expect_block_end();
    return s;
  }

  std::vector<Token> tokens_;
  size_t pos_ = 0;
  bool lenient_;
  int nesting_ = 0, loops_ = 0;
  bool uses_varargs_ = false, uses_kwargs_ = false, uses_caller_ = false;
  std::vector<Expr*> unknowns_;  // those that make compiling fail
};

}  // namespace

Block parse_template(const std::string& source, bool lenient) { return Parser(source, lenient).run(); }

}  // namespace raison::jinja
