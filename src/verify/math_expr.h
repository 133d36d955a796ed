// MathExpr: what an answer in mathematics says, as a tree. Values that never change, shared freely; small by construction (MathLimits).
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace raison {

enum class MathKind : uint8_t {
  Number,     // text: digits with an optional point and an optional repeating part, "12", "0.5", "0.1(6)"
  Symbol,     // text: its name with its subscript, "x", "alpha", "x_1"; the names of a thing too, "angle ABC"
  Pi,         //
  Euler,      // e
  Imaginary,  // i
  Infinity,   //
  Add,        // kids: two or more
  Mul,        // kids: two or more
  Neg,        // kids: 1
  Inv,        // kids: 1; a/b is Mul(a, Inv(b)), so that a long quotient stays flat
  Pow,        // kids: base, exponent
  Root,       // kids: radicand, index
  Call,       // text: a function's name; kids: its arguments. "log": argument, base
  PlusMinus,  // kids: a, b: a + b or a - b
  MinusPlus,  // kids: a, b: the other sign
  Percent,    // kids: 1
  Degree,     // kids: 1
  Unit,       // text: unit as canonical_unit() gives it; kids: 1
  Based,      // text: digits; kids: the base
  Text,       // text: words
  List,       // kids: what stands beside each other without brackets, or in a group {a, b}
  Set,        // kids: {...}, may be empty
  Tuple,      // text: its two brackets, "()", "[)", "<>"; kids: 1 or more
  Union,      // kids: two or more
  Intersect,  // kids: two or more
  Without,    // kids: two or more: the first without the others
  Named,      // text: "R", "Z", "Q", "N", "C"
  Matrix,     // rows, kids: its entries row by row
  Relation,   // text: one character between each two kids: = < > l(<=) g(>=) n(not =) ~(about) e(in) #(congruent)
  Ratio       // kids: two or more, a : b
};

struct MathNode;
using MathExpr = std::shared_ptr<const MathNode>;

struct MathNode {
  MathKind kind = MathKind::Number;
  std::string text;
  std::vector<MathExpr> kids;
  int rows = 0;       // Matrix
  int depth = 1;      // of the tree below and with it
  int64_t nodes = 1;  // as a tree, shared ones counted each time
};

// What is read at all. A tree beyond them is refused as it is built: what walks one may recurse.
struct MathLimits {
  static constexpr size_t kAnswerBytes = 4096;
  static constexpr size_t kReplyBytes = size_t{1} << 20;
  static constexpr int kDepth = 100;
  static constexpr int64_t kNodes = 4096;
  static constexpr size_t kMatrixEntries = 256;
  static constexpr size_t kListItems = 64;
};

// Work allowed for one judgement, counted in operations and not in time: the same input gets the same verdict everywhere.
class MathBudget {
 public:
  explicit MathBudget(int64_t steps = 400000) : left_(steps) {}
  // False once all is spent.
  bool spend(int64_t steps) {
    left_ = left_ < steps ? -1 : left_ - steps;
    return left_ >= 0;
  }
  bool spent() const { return left_ < 0; }

 private:
  int64_t left_;
};

MathExpr math_node(MathKind kind, std::string text, std::vector<MathExpr> kids, int rows = 0);
inline MathExpr math_node(MathKind kind, std::vector<MathExpr> kids) { return math_node(kind, "", std::move(kids)); }
inline MathExpr math_leaf(MathKind kind, std::string text = "") { return math_node(kind, std::move(text), {}); }
inline MathExpr math_number(std::string text) { return math_leaf(MathKind::Number, std::move(text)); }

// a + b, a - b, a * b, a / b. One kid alone stands for itself.
MathExpr math_sum(std::vector<MathExpr> kids);
MathExpr math_product(std::vector<MathExpr> kids);
MathExpr math_difference(const MathExpr& a, const MathExpr& b);
MathExpr math_quotient(const MathExpr& a, const MathExpr& b);

// One text for trees that differ at most by the order of summands, factors and members of a set.
std::string math_key(const MathExpr& e);

// Whether some node below or at `e` is of this kind.
bool math_contains(const MathExpr& e, MathKind kind);
// Names of its symbols, each once, sorted.
std::vector<std::string> math_symbols(const MathExpr& e);

// "centimetres" -> "cm", "square feet" -> "ft^2"; "" for words that are no unit we know ("apples", "units").
std::string canonical_unit(std::string_view words);

}  // namespace raison
