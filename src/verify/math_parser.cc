#include "verify/math_parser.h"

#include <algorithm>
#include <set>

#include "verify/extract.h"
#include "verify/math_lexer.h"

namespace raison {
namespace {

using Kind = MathKind;

// Rules within each other; a pair of braces takes about four.
constexpr int kNesting = 240;

bool is_inverse_trig_base(const std::string& name) {
  return name == "sin" || name == "cos" || name == "tan" || name == "cot" || name == "sec" || name == "csc";
}

std::string full_name(const std::string& name) {
  if (name == "asin" || name == "acos" || name == "atan") return "arc" + name.substr(1);
  return name;
}

bool whole_number(const MathExpr& e) {
  return e->kind == Kind::Number && e->text.find_first_not_of("0123456789") == std::string::npos;
}

// Whether a < b, both digits alone.
bool digits_less(const std::string& a, const std::string& b) {
  const std::string x = a.substr(std::min(a.find_first_not_of('0'), a.size()));
  const std::string y = b.substr(std::min(b.find_first_not_of('0'), b.size()));
  return x.size() != y.size() ? x.size() < y.size() : x < y;
}

class MathParser {
 public:
  explicit MathParser(std::vector<MathToken> tokens) : tokens_(std::move(tokens)) {}

  Result<MathExpr> parse() {
    MathExpr e = items();
    if (fault_.empty() && now().kind != MathToken::End) fail("something is left over at its end");
    if (!fault_.empty()) return Error(fault_);
    return e;
  }

 private:
  // Every rule returns some tree, even after a fault: callers need not look, and the loops end since fault_ stops them.
  const MathToken& now() const { return tokens_[at_]; }
  const MathToken& ahead(size_t n) const { return tokens_[std::min(at_ + n, tokens_.size() - 1)]; }
  void take() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  bool take_mark(std::string_view mark) {
    if (!now().is(mark)) return false;
    take();
    return true;
  }
  bool is_command(std::string_view name) const { return now().kind == MathToken::Command && now().text == name; }
  bool ok() const { return fault_.empty(); }
  MathExpr fail(std::string why) {
    if (fault_.empty()) fault_ = std::move(why);
    return math_number("0");
  }
  MathExpr checked(MathExpr e) {
    if (e->depth > MathLimits::kDepth || e->nodes > MathLimits::kNodes) return fail("it is too large or too deep");
    return e;
  }
  MathExpr node(Kind kind, std::string text, std::vector<MathExpr> kids, int rows = 0) {
    return checked(math_node(kind, std::move(text), std::move(kids), rows));
  }
  MathExpr node(Kind kind, std::vector<MathExpr> kids) { return node(kind, "", std::move(kids)); }

  // Within brackets of its own a bar is not the one that an outer rule waits for.
  struct Nest {
    explicit Nest(MathParser& p) : parser(p), bars(p.bars_) {
      p.bars_ = 0;
      if (++p.depth_ > kNesting) p.fail("it is too deep");
    }
    ~Nest() {
      parser.bars_ = bars;
      --parser.depth_;
    }
    Nest(const Nest&) = delete;
    Nest& operator=(const Nest&) = delete;
    MathParser& parser;
    int bars;
  };

  bool at_separator() const {
    return now().is(",") || now().kind == MathToken::Separator || (now().kind == MathToken::RowBreak && cells_ == 0);
  }

  // "a, b; c": groups by ";" and their members by ",", "and", "or".
  MathExpr items() {
    std::vector<MathExpr> groups;
    while (ok()) {
      std::vector<MathExpr> group;
      while (at_separator()) take();
      while (ok() && !at_close() && !now().is(";")) {
        group.push_back(relation());
        if (group.size() > MathLimits::kListItems) fail("it has too many members");
        if (!at_separator()) break;
        while (at_separator()) take();
      }
      if (!group.empty()) groups.push_back(group.size() == 1 ? group[0] : node(Kind::List, std::move(group)));
      if (!take_mark(";")) break;
    }
    if (groups.empty()) return fail("it is empty");
    if (groups.size() > MathLimits::kListItems) return fail("it has too many members");
    return groups.size() == 1 ? groups[0] : node(Kind::List, std::move(groups));
  }

  bool at_close() const {
    return now().kind == MathToken::End || now().is(")") || now().is("]") || now().is("}") || now().is("\\}") || now().is(">");
  }

  MathExpr relation() {
    Nest depth(*this);
    if (now().kind == MathToken::Relation && (now().text == "=" || now().text == "~")) take();
    std::vector<MathExpr> kids{relation_side()};
    std::string ops;
    while (ok() && now().kind == MathToken::Relation) {
      ops += now().text;
      take();
      kids.push_back(relation_side());
      if (kids.size() > MathLimits::kListItems) fail("it has too many signs of relation");
    }
    return ops.empty() ? kids[0] : node(Kind::Relation, ops, std::move(kids));
  }

  // "P(2) = ...": a letter with brackets behind it that fill the side of an equation is a function's value, not a product.
  MathExpr relation_side() {
    const size_t begin = at_;
    MathExpr e = unions();
    if (tokens_[begin].kind == MathToken::Letter && now().kind == MathToken::Relation && e->kind == Kind::Mul &&
        at_ > begin + 2 && tokens_[begin + 1].is("(") && tokens_[at_ - 1].is(")") && e->kids.size() == 2 &&
        e->kids[0]->kind == Kind::Symbol)
      return node(Kind::Call, e->kids[0]->text, {e->kids[1]});
    return e;
  }

  MathExpr unions() {
    MathExpr left = ratio();
    while (ok() && (now().is("U") || now().is("I") || now().is("-set"))) {
      const Kind kind = now().is("U") ? Kind::Union : now().is("I") ? Kind::Intersect : Kind::Without;
      take();
      std::vector<MathExpr> kids;
      if (left->kind == kind) kids = left->kids;
      if (kids.empty()) kids.push_back(left);
      kids.push_back(ratio());
      left = node(kind, std::move(kids));
    }
    return left;
  }

  MathExpr ratio() {
    std::vector<MathExpr> kids{sum()};
    while (ok() && now().is(":") && !builder_) {
      take();
      kids.push_back(sum());
    }
    return kids.size() == 1 ? kids[0] : node(Kind::Ratio, std::move(kids));
  }

  MathExpr sum() {
    std::vector<MathExpr> kids;
    if (now().is("pm") || now().is("mp")) {
      kids.push_back(math_number("0"));
    } else {
      kids.push_back(signed_product());
    }
    while (ok()) {
      if (take_mark("+")) {
        kids.push_back(signed_product());
      } else if (now().is("-")) {
        take();
        kids.push_back(node(Kind::Neg, {signed_product()}));
      } else if (now().is("pm") || now().is("mp")) {
        const Kind kind = now().is("pm") ? Kind::PlusMinus : Kind::MinusPlus;
        take();
        MathExpr left = checked(math_sum(std::move(kids)));
        kids = {node(kind, {left, signed_product()})};
      } else {
        break;
      }
    }
    return checked(math_sum(std::move(kids)));
  }

  MathExpr signed_product() {
    bool minus = false;
    while (ok() && (now().is("+") || now().is("-"))) {
      if (now().is("-")) minus = !minus;
      take();
    }
    MathExpr e = product();
    return minus ? node(Kind::Neg, {e}) : e;
  }

  bool starts_factor() const {
    switch (now().kind) {
      case MathToken::Number:
      case MathToken::Letter:
      case MathToken::Constant:
      case MathToken::Function:
      case MathToken::Currency: return true;
      case MathToken::Command: {
        static const std::set<std::string> none = {"end", "over", "choose", "circ", "degree"};
        return none.count(now().text) == 0;
      }
      case MathToken::Mark: break;
      default: return false;
    }
    if (now().is("|")) return bars_ == 0 && !builder_;
    return now().is("(") || now().is("[") || now().is("{") || now().is("\\{") || now().is("{|") || now().is("<") ||
           now().is("lf") || now().is("lc");
  }

  MathExpr product() {
    std::vector<MathExpr> kids;
    std::string unit;
    kids.push_back(first_factor());
    while (ok()) {
      if (take_mark("*")) {
        kids.push_back(signed_factor());
      } else if (take_mark("/")) {
        kids.push_back(node(Kind::Inv, {signed_factor()}));
      } else if (now().kind == MathToken::Unit || now().kind == MathToken::Text) {
        if (!take_unit(&kids)) break;
      } else if (now().kind == MathToken::Currency && at_ > 0) {
        take();
        kids = {node(Kind::Unit, "$", {checked(math_product(std::move(kids)))})};
      } else if (starts_factor()) {
        if (now().kind == MathToken::Number && kids.back()->kind == Kind::Number) {
          fail("a number behind a number");
          break;
        }
        kids.push_back(factor());
      } else {
        break;
      }
    }
    return checked(math_product(std::move(kids)));
  }

  MathExpr signed_factor() {
    bool minus = false;
    while (ok() && (now().is("+") || now().is("-"))) {
      if (now().is("-")) minus = !minus;
      take();
    }
    MathExpr e = factor();
    return minus ? node(Kind::Neg, {e}) : e;
  }

  // A mixed number, 2\frac13 or 2 1/3, or a factor.
  MathExpr first_factor() {
    if (now().kind != MathToken::Number || !now().plain) return factor();
    const MathExpr whole = math_number(now().text);
    const size_t begin = at_;
    take();
    MathExpr part;
    if (is_command("frac")) {
      take();
      const MathExpr top = fraction_part(), bottom = fraction_part();
      if (ok() && whole_number(top) && whole_number(bottom) && digits_less(top->text, bottom->text))
        part = math_quotient(top, bottom);
    } else if (now().kind == MathToken::Number && now().spaced && now().plain && ahead(1).is("/") &&
               ahead(2).kind == MathToken::Number && ahead(2).plain && digits_less(now().text, ahead(2).text)) {
      part = math_quotient(math_number(now().text), math_number(ahead(2).text));
      take(), take(), take();
    }
    const bool degrees = now().is("^") && (is_circ(ahead(1)) || (ahead(1).is("{") && is_circ(ahead(2))));
    if (part && (degrees || !now().is("^")) && !now().is("!")) return suffixes(math_sum({whole, part}));
    reset(begin);
    return factor();
  }

  static bool is_circ(const MathToken& t) { return t.kind == MathToken::Command && (t.text == "circ" || t.text == "degree"); }

  // fraction_part() may split a number's token; going back needs them whole.
  void reset(size_t at) {
    at_ = at;
    for (const auto& [place, text] : split_) tokens_[place].text = text;
    split_.clear();
  }

  // What stands behind \frac: a group, or one digit or letter.
  MathExpr fraction_part() {
    if (now().kind == MathToken::Number && now().plain && now().text.size() > 1) {
      split_.emplace_back(at_, now().text);
      const MathExpr digit = math_number(now().text.substr(0, 1));
      tokens_[at_].text.erase(0, 1);
      return digit;
    }
    return argument();
  }

  // One thing as a command's argument or an exponent: a group, a number, a letter, or a command with its own.
  MathExpr argument() {
    Nest depth(*this);
    if (!ok()) return math_number("0");
    if (now().is("-") || now().is("+")) {
      const bool minus = now().is("-");
      take();
      MathExpr e = argument();
      return minus ? node(Kind::Neg, {e}) : e;
    }
    return atom();
  }

  // "5 cm", "\frac{1}{3} \text{meters}^2": false where words stand alone.
  bool take_unit(std::vector<MathExpr>* kids) {
    std::string unit = now().kind == MathToken::Unit ? now().text : canonical_unit(now().text);
    if (unit.empty() && says_more(now().text)) {
      fail("words behind a number that say more than its unit");
      return false;
    }
    take();
    if (now().is("^")) {
      const size_t begin = at_;
      take();
      const bool braced = take_mark("{");
      const std::string power = now().kind == MathToken::Number ? now().text : "";
      if (power == "2" || power == "3") take();
      if ((power != "2" && power != "3") || (braced && !take_mark("}"))) {
        at_ = begin;
        return false;
      }
      if (!unit.empty()) unit += "^" + power;
    }
    *kids = {node(Kind::Unit, unit, {checked(math_product(std::move(*kids)))})};
    return true;
  }

  // "7 (or 8)", "7 not 8": words that may take back what stands before them.
  static bool says_more(const std::string& words) {
    std::string word;
    for (const char c : words + " ") {
      if (c >= '0' && c <= '9') return true;
      if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        word += static_cast<char>(c | 32);
        continue;
      }
      for (const std::string_view w : {"or", "not", "and", "but", "maybe", "possibly", "no"})
        if (word == w) return true;
      word.clear();
    }
    return false;
  }

  MathExpr factor() {
    Nest depth(*this);
    bars_ = depth.bars;  // a factor is no bracket
    if (!ok()) return math_number("0");
    return suffixes(atom());
  }

  MathExpr suffixes(MathExpr e) {
    while (ok()) {
      if (now().is("^")) {
        take();
        e = power(e);
      } else if (now().is("_")) {
        take();
        e = subscript(e);
      } else if (take_mark("!")) {
        e = node(Kind::Call, "fact", {e});
      } else if (take_mark("%")) {
        e = node(Kind::Percent, {e});
      } else if (is_command("degree") || is_command("circ")) {
        take();
        e = node(Kind::Degree, {e});
      } else if (now().is("'") && e->kind == Kind::Symbol) {
        take();
        e = math_leaf(Kind::Symbol, e->text + "'");
      } else if (now().is("(") && is_function_name(e)) {
        take();
        e = node(Kind::Call, e->kind == Kind::Symbol ? e->text : math_key(e), bracket_items(")"));
      } else {
        break;
      }
    }
    return e;
  }

  // f and g are functions, with primes, subscripts and powers such as f^{-1}; other letters before brackets are factors.
  static bool is_function_name(const MathExpr& e) {
    if (e->kind == Kind::Pow) return is_function_name(e->kids[0]) && e->kids[1]->kind == Kind::Neg;
    return e->kind == Kind::Symbol && (e->text[0] == 'f' || e->text[0] == 'g') &&
           (e->text.size() == 1 || !(e->text[1] >= 'a' && e->text[1] <= 'z'));
  }

  std::vector<MathExpr> bracket_items(std::string_view close) {
    Nest depth(*this);
    if (!ok()) return {};
    MathExpr inner = items();
    if (!take_mark(close)) fail("a bracket is not closed");
    if (inner->kind == Kind::List) return inner->kids;
    return {inner};
  }

  MathExpr power(const MathExpr& base) {
    if (is_circ(now())) {
      take();
      return node(Kind::Degree, {base});
    }
    if (now().is("{") && is_circ(ahead(1)) && ahead(2).is("}")) {
      take(), take(), take();
      return node(Kind::Degree, {base});
    }
    if (now().is("'")) return base;
    MathExpr exponent = argument();
    while (ok() && now().is("^")) {  // 2^3^2 = 2^(3^2)
      take();
      exponent = power(exponent);
    }
    if (take_mark("!")) exponent = node(Kind::Call, "fact", {exponent});
    return node(Kind::Pow, {base, exponent});
  }

  MathExpr subscript(const MathExpr& base) {
    std::string name;
    const size_t begin = at_;
    const MathExpr sub = argument();
    if (base->kind == Kind::Number) return node(Kind::Based, base->text, {sub});
    if (base->kind != Kind::Symbol && base->kind != Kind::Euler && base->kind != Kind::Imaginary)
      return fail("a subscript of what is no name");
    for (size_t i = begin; i < at_; ++i)
      if (!tokens_[i].is("{") && !tokens_[i].is("}")) name += tokens_[i].text;
    const std::string letter = base->kind == Kind::Symbol ? base->text : base->kind == Kind::Euler ? "e" : "i";
    return math_leaf(Kind::Symbol, letter + "_" + name);
  }

  MathExpr atom() {
    const MathToken t = now();
    switch (t.kind) {
      case MathToken::Number: take(); return math_number(t.text);
      case MathToken::Letter:
        take();
        if (t.text == "e") return math_leaf(Kind::Euler);
        if (t.text == "i") return math_leaf(Kind::Imaginary);
        return math_leaf(Kind::Symbol, t.text);
      case MathToken::Constant: take(); return constant(t.text);
      case MathToken::Function: take(); return function(full_name(t.text));
      case MathToken::Command: take(); return command(t.text);
      case MathToken::Text: take(); return math_leaf(Kind::Text, t.text);
      case MathToken::Currency: {
        take();
        MathExpr amount = factor();
        return node(Kind::Unit, t.text, {amount});
      }
      case MathToken::Mark: take(); return bracket(t.text);
      default: return fail(t.kind == MathToken::End ? "it ends where something was expected" : "something is missing in it");
    }
  }

  static MathExpr constant(const std::string& name) {
    if (name == "pi") return math_leaf(Kind::Pi);
    if (name == "oo") return math_leaf(Kind::Infinity);
    if (name == "empty") return math_leaf(Kind::Set);
    return math_leaf(Kind::Named, name);
  }

  MathExpr bracket(const std::string& open) {
    Nest depth(*this);
    if (!ok()) return math_number("0");
    if (open == "(" || open == "[" || open == "<") return tuple(open);
    if (open == "{") return group();
    if (open == "\\{") return set();
    if (open == "|" || open == "{|") return absolute(open == "|" ? "|" : "|}");
    if (open == "lf" || open == "lc") {
      MathExpr e = sum();
      if (!take_mark(open == "lf" ? "rf" : "rc")) fail("a bracket is not closed");
      return node(Kind::Call, open == "lf" ? "floor" : "ceil", {e});
    }
    return fail("a sign stands where a number was expected");
  }

  MathExpr tuple(const std::string& open) {
    if (now().is(")") && open == "(") return fail("an empty pair of brackets");
    const bool builder = builder_;
    builder_ = false;
    MathExpr inner = items();
    builder_ = builder;
    std::string brackets = open;
    if (now().is(")")) {
      brackets += ")";
    } else if (now().is("]")) {
      brackets += "]";
    } else if (now().is(">") && open == "<") {
      brackets += ">";
    } else {
      return fail("a bracket is not closed");
    }
    take();
    std::vector<MathExpr> kids{inner};
    if (inner->kind == Kind::List) kids = inner->kids;
    if (kids.size() == 1 && (brackets == "()" || brackets == "[]")) return inner;
    return node(Kind::Tuple, brackets, std::move(kids));
  }

  // {a, b}, {a \over b}, {n \choose k}
  MathExpr group() {
    if (take_mark("}")) return fail("an empty pair of braces");
    MathExpr e = items();
    if (is_command("over") || is_command("choose")) {
      const bool over = is_command("over");
      take();
      MathExpr bottom = items();
      e = over ? checked(math_quotient(e, bottom)) : node(Kind::Call, "binom", {e, bottom});
    }
    if (!take_mark("}")) fail("a brace is not closed");
    return e;
  }

  // \{a, b\}, and \{x | x > 0\}, which says the condition.
  MathExpr set() {
    if (take_mark("\\}")) return math_leaf(Kind::Set);
    const bool builder = builder_;
    builder_ = true;
    MathExpr inner = items();
    builder_ = builder;
    if (take_mark("|") || take_mark(":")) {
      inner = items();
      if (!take_mark("\\}")) fail("a brace is not closed");
      return inner;
    }
    if (!take_mark("\\}")) fail("a brace is not closed");
    if (inner->kind == Kind::List) return node(Kind::Set, inner->kids);
    return node(Kind::Set, {inner});
  }

  MathExpr absolute(std::string_view close) {
    const bool builder = builder_;
    builder_ = false;
    bars_ = 1;
    MathExpr e = sum();
    builder_ = builder;
    if (!take_mark(close) && !take_mark("|")) fail("a bar is not closed");
    return node(Kind::Call, "abs", {e});
  }

  MathExpr command(const std::string& name) {
    if (name == "frac") {
      const MathExpr top = fraction_part(), bottom = fraction_part();
      split_.clear();
      return checked(math_quotient(top, bottom));
    }
    if (name == "sqrt") return root();
    if (name == "binom") {
      const MathExpr n = fraction_part(), k = fraction_part();
      split_.clear();
      return node(Kind::Call, "binom", {n, k});
    }
    if (name == "begin") return environment();
    if (name == "angle") {
      std::string letters;
      while (now().kind == MathToken::Letter && now().text.size() == 1) {
        letters += now().text;
        take();
      }
      if (letters.empty() && now().kind == MathToken::Number) {
        letters = now().text;
        take();
      }
      return letters.empty() ? fail("an angle without a name") : math_leaf(Kind::Symbol, "angle " + letters);
    }
    if (name == "mod") return node(Kind::Call, "mod", {argument()});
    return fail(name == "unread" ? "sums, products, integrals and limits can't be read" : "\\" + name + " can't stand here");
  }

  MathExpr root() {
    MathExpr index = math_number("2");
    if (take_mark("[")) {
      index = items();
      if (!take_mark("]")) fail("a bracket is not closed");
    }
    MathExpr radicand = argument();
    return node(Kind::Root, {radicand, index});
  }

  MathExpr environment() {
    std::string name;
    if (!take_mark("{")) return fail("an environment without a name");
    while (now().kind == MathToken::Letter || now().is("*") || now().kind == MathToken::Unit ||
           now().kind == MathToken::Function) {
      name += now().text;
      take();
    }
    if (!take_mark("}")) return fail("an environment without a name");
    if (name == "array") skip_columns();
    ++cells_;
    std::vector<std::vector<MathExpr>> rows = read_rows();
    --cells_;
    take();  // \end
    int open = 0;
    do {
      if (now().is("{")) ++open;
      if (now().is("}")) --open;
      take();
    } while (open > 0 && now().kind != MathToken::End);
    if (!ok()) return math_number("0");
    std::vector<MathExpr> cells;
    for (const auto& row : rows) {
      if (row.size() != rows[0].size()) return fail("a matrix with rows of unequal lengths");
      cells.insert(cells.end(), row.begin(), row.end());
    }
    if (cells.empty() || cells.size() > MathLimits::kMatrixEntries) return fail("a matrix that is empty or too large");
    if (name.find("matrix") == std::string::npos && name != "array")
      return rows.size() == 1 ? cells[0] : node(Kind::List, std::move(cells));
    MathExpr m = node(Kind::Matrix, "", std::move(cells), static_cast<int>(rows.size()));
    return name == "vmatrix" ? node(Kind::Call, "det", {m}) : m;
  }

  void skip_columns() {
    if (!take_mark("{")) return;
    while (now().kind != MathToken::End && !now().is("}")) take();
    take();
  }

  std::vector<std::vector<MathExpr>> read_rows() {
    std::vector<std::vector<MathExpr>> rows;
    std::vector<MathExpr> row;
    size_t cells = 0;
    while (ok()) {
      if (is_command("end")) break;
      if (now().kind == MathToken::RowBreak) {
        take();
        if (!row.empty()) rows.push_back(std::move(row));
        row.clear();
        continue;
      }
      if (take_mark("&")) continue;
      if (now().kind == MathToken::End || ++cells > MathLimits::kMatrixEntries) {
        fail("a matrix that does not end or is too large");
        break;
      }
      row.push_back(relation());
      if (ok() && !now().is("&") && now().kind != MathToken::RowBreak && !is_command("end"))
        fail("a matrix's cell can't be read");
    }
    if (!row.empty()) rows.push_back(std::move(row));
    return rows;
  }

  MathExpr function(const std::string& name) {
    MathExpr exponent, base;
    for (int i = 0; i < 2 && ok(); ++i) {
      if (!exponent && take_mark("^")) exponent = argument();
      if (!base && take_mark("_")) base = argument();
    }
    std::vector<MathExpr> arguments;
    if (now().is("(") || now().is("[")) {
      const std::string close = now().is("(") ? ")" : "]";
      take();
      arguments = bracket_items(close);
    } else if (now().is("{") || now().is("\\{")) {
      const MathExpr e = atom();
      arguments = e->kind == Kind::List || e->kind == Kind::Set ? e->kids : std::vector<MathExpr>{e};
    } else {
      arguments.push_back(bare_argument());
    }
    if (!ok()) return math_number("0");
    if (name == "log") arguments.push_back(base ? base : math_number("10"));
    std::string called = name;
    if (exponent && is_inverse_trig_base(name) && exponent->kind == Kind::Neg && exponent->kids[0]->kind == Kind::Number &&
        exponent->kids[0]->text == "1") {
      called = "arc" + name;
      exponent = nullptr;
    }
    MathExpr e = node(Kind::Call, called, std::move(arguments));
    return exponent ? node(Kind::Pow, {e, exponent}) : e;
  }

  // \sin 2x: the factors written beside each other, up to the next function or bracket.
  MathExpr bare_argument() {
    Nest depth(*this);
    bars_ = depth.bars;
    bool minus = false;
    if (now().is("-")) {
      minus = true;
      take();
    }
    std::vector<MathExpr> kids{factor()};
    while (ok() && starts_factor() && now().kind != MathToken::Function && !now().is("(") && !now().is("[") &&
           !now().is("\\{") && !now().is("{|") && !now().is("|") &&
           !(now().kind == MathToken::Number && kids.back()->kind == Kind::Number))
      kids.push_back(factor());
    MathExpr e = checked(math_product(std::move(kids)));
    return minus ? node(Kind::Neg, {e}) : e;
  }

  std::vector<MathToken> tokens_;
  std::vector<std::pair<size_t, std::string>> split_;
  size_t at_ = 0;
  int depth_ = 0;
  int bars_ = 0;   // 1: a bar closes
  int cells_ = 0;  // > 0: within a matrix
  bool builder_ = false;
  std::string fault_;
};

}  // namespace

Result<MathExpr> parse_math(std::string_view text) {
  auto tokens = math_tokens(text);
  if (!tokens.ok()) return tokens.error();
  return MathParser(std::move(*tokens)).parse();
}

}  // namespace raison
