#include "verify/countdown.h"

#include <algorithm>
#include <optional>

namespace raison {
namespace {

// An exact fraction in lowest terms, denominator > 0.
struct Rational {
  int64_t num = 0, den = 1;
};

std::optional<Rational> make_rational(__int128 num, __int128 den) {
  if (den < 0) {
    num = -num;
    den = -den;
  }
  __int128 a = num < 0 ? -num : num, b = den;
  while (b != 0) {
    const __int128 r = a % b;
    a = b;
    b = r;
  }
  num /= a;  // a >= 1, as den > 0
  den /= a;
  constexpr __int128 kMax = INT64_MAX;
  if (num > kMax || num < -kMax || den > kMax) return std::nullopt;
  return Rational{static_cast<int64_t>(num), static_cast<int64_t>(den)};
}

// Products of two 63-bit magnitudes fit 126 bits, and a sum of two of them 127: nothing overflows before the check.
std::optional<Rational> apply(char op, Rational a, Rational b) {
  const __int128 an = a.num, ad = a.den, bn = b.num, bd = b.den;
  switch (op) {
    case '+': return make_rational(an * bd + bn * ad, ad * bd);
    case '-': return make_rational(an * bd - bn * ad, ad * bd);
    case '*': return make_rational(an * bn, ad * bd);
    default: return make_rational(an * bd, ad * bn);  // '/', b != 0
  }
}

struct Value {
  Rational value;
  std::string canonical;
};

// Recursive descent over bytes. A grammar error ends the parse; a flaw of arithmetic is remembered and the parse goes on,
// so that "Unparseable" means the grammar and nothing else.
class Parser {
 public:
  Parser(std::string_view text, const CountdownOptions& options) : text_(text), options_(options) {}

  std::optional<Value> parse() {
    if (text_.size() > options_.max_length) {
      fail(fmt::format("the expression has {} bytes, more than {}", text_.size(), options_.max_length));
      return std::nullopt;
    }
    Value v = expression(0);
    if (grammar_.empty() && peek() != '\0') fail(fmt::format("an operator was expected at byte {}", at_));
    if (!grammar_.empty()) return std::nullopt;
    return v;
  }
  const std::string& grammar_error() const { return grammar_; }
  const std::string& value_error() const { return flaw_; }  // overflow, division by zero
  std::vector<int64_t>& numbers() { return numbers_; }

 private:
  // The next symbol after white space, as one ASCII character; 0 at the end, '?' for what no rule knows. `width_` is its
  // length in bytes.
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
    width_ = 1;
    if (at_ >= text_.size()) return '\0';
    const std::string_view rest = text_.substr(at_);
    if (rest.starts_with("\xE2\x88\x92")) return wide(3, '-');
    if (rest.starts_with("\xC3\x97")) return wide(2, '*');
    if (rest.starts_with("\xC3\xB7")) return wide(2, '/');
    const char c = rest[0];
    return (c >= '0' && c <= '9') || std::string_view("+-*/()").find(c) != std::string_view::npos ? c : '?';
  }
  char wide(size_t width, char as) {
    width_ = width;
    return as;
  }
  void take() { at_ += width_; }
  void fail(std::string why) {
    if (grammar_.empty()) grammar_ = std::move(why);
  }

  Value expression(int depth) {
    Value left = term(depth);
    for (char op = peek(); grammar_.empty() && (op == '+' || op == '-'); op = peek()) {
      take();
      left = combine(op, std::move(left), term(depth));
    }
    return left;
  }

  Value term(int depth) {
    Value left = factor(depth);
    for (char op = peek(); grammar_.empty() && (op == '*' || op == '/'); op = peek()) {
      if (op == '/' && !options_.allow_division) {
        fail(fmt::format("division is not allowed in this task (byte {})", at_));
        break;
      }
      take();
      left = combine(op, std::move(left), factor(depth));
    }
    return left;
  }

  Value factor(int depth) {
    if (!grammar_.empty()) return {};
    const char c = peek();
    if (c >= '0' && c <= '9') return number();
    if (c != '(') {
      fail(c == '\0' ? std::string("the expression ends where a number was expected")
                     : fmt::format("a number or '(' was expected at byte {}", at_));
      return {};
    }
    if (depth >= options_.max_depth) {
      fail(fmt::format("more than {} parentheses within each other", options_.max_depth));
      return {};
    }
    take();
    Value inner = expression(depth + 1);
    if (!grammar_.empty()) return inner;
    if (peek() != ')') {
      fail(fmt::format("')' was expected at byte {}", at_));
      return {};
    }
    take();
    return inner;
  }

  Value number() {
    const size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    const std::string_view digits = text_.substr(begin, at_ - begin);
    Value v;
    v.canonical = std::string(digits);
    if (digits.size() > 1 && digits[0] == '0') fail(fmt::format("a number with a leading zero at byte {}", begin));
    if (digits.size() > 18) {
      flaw("a number of more than 18 digits");
    } else {
      for (char d : digits) v.value.num = v.value.num * 10 + (d - '0');
    }
    numbers_.push_back(v.value.num);
    return v;
  }

  Value combine(char op, Value a, Value b) {
    Value out;
    const bool swap = (op == '+' || op == '*') && b.canonical < a.canonical;
    const std::string &first = swap ? b.canonical : a.canonical, &second = swap ? a.canonical : b.canonical;
    out.canonical = "(" + first + op + second + ")";
    if (!flaw_.empty() || !grammar_.empty()) return out;
    if (op == '/' && b.value.num == 0) {
      flaw("division by zero");
    } else if (const auto r = apply(op, a.value, b.value)) {
      out.value = *r;
    } else {
      flaw("a value does not fit 64 bits");
    }
    return out;
  }
  void flaw(std::string why) {
    if (flaw_.empty()) flaw_ = std::move(why);
  }

  std::string_view text_;
  const CountdownOptions& options_;
  size_t at_ = 0, width_ = 1;
  std::string grammar_, flaw_;
  std::vector<int64_t> numbers_;
};

std::string join(const std::vector<int64_t>& numbers) { return fmt::format("{}", fmt::join(numbers, " ")); }

CountdownVerdict wrong(std::string reason) { return {CountdownVerdict::Wrong, std::move(reason)}; }

}  // namespace

CountdownVerdict judge_countdown_expression(const CountdownProblem& problem, std::string_view expression,
                                            const CountdownOptions& options) {
  Parser parser(expression, options);
  const auto value = parser.parse();
  if (!value) return {CountdownVerdict::Unparseable, parser.grammar_error()};
  if (!parser.value_error().empty()) return wrong(parser.value_error());
  std::vector<int64_t> used = parser.numbers(), given = problem.numbers;
  std::sort(used.begin(), used.end());
  std::sort(given.begin(), given.end());
  if (used != given) return wrong(fmt::format("uses {}, given are {}", join(used), join(given)));
  const Rational v = value->value;
  if (v.den != 1 || v.num != problem.target)
    return wrong(v.den == 1 ? fmt::format("gives {}, not {}", v.num, problem.target)
                            : fmt::format("gives {}/{}, not {}", v.num, v.den, problem.target));
  return {CountdownVerdict::Right, ""};
}

Result<std::string> countdown_answer(std::string_view reply, const CountdownOptions& options) {
  if (!options.think_end.empty()) {
    const size_t found = reply.find(options.think_end);
    const size_t over = options.end.empty() ? std::string_view::npos : reply.find(options.end);
    if (found == std::string_view::npos || over < found) return error("the reply has no {}", options.think_end);
    reply.remove_prefix(found + options.think_end.size());
  }
  if (!options.end.empty()) {
    const size_t found = reply.find(options.end);
    if (found == std::string_view::npos) return error("the reply was cut off before {}", options.end);
    reply = reply.substr(0, found);
  }
  return std::string(reply);
}

CountdownVerdict judge_countdown_reply(const std::vector<int64_t>& numbers, int64_t target, std::string_view reply,
                                       const CountdownOptions& options) {
  const auto answer = countdown_answer(reply, options);
  if (!answer.ok()) return wrong(answer.message());
  return judge_countdown_expression({numbers, target}, *answer, options);
}

Result<std::string> canonical_countdown(std::string_view expression, const CountdownOptions& options) {
  Parser parser(expression, options);
  auto value = parser.parse();
  if (!value) return error("not an expression: {}", parser.grammar_error());
  return std::move(value->canonical);
}

Result<CountdownProblem> parse_countdown_problem(std::string_view text) {
  CountdownProblem out;
  bool arrow = false, target = false;
  for (size_t at = 0; at < text.size();) {
    if (text[at] == ' ' || text[at] == '\n' || text[at] == '\t' || text[at] == '\r') {
      ++at;
      continue;
    }
    const size_t end = std::min(text.find_first_of(" \n\t\r", at), text.size());
    const std::string_view word = text.substr(at, end - at);
    at = end;
    if (word.size() > 2 && word.front() == '<' && word.back() == '>') continue;  // a marker
    if (word == "->" && !arrow && !out.numbers.empty()) {
      arrow = true;
      continue;
    }
    if (word.size() > 15 || word.find_first_not_of("0123456789") != std::string_view::npos || target)
      return error("countdown problem: unexpected '{}'; write numbers, '->' and the target, as in '4 5 7 -> 8'",
                   word.substr(0, 40));
    int64_t n = 0;
    for (char d : word) n = n * 10 + (d - '0');
    if (arrow) {
      out.target = n;
      target = true;
    } else {
      out.numbers.push_back(n);
    }
  }
  if (!target) return error("countdown problem: no target; write numbers, '->' and the target, as in '4 5 7 -> 8'");
  return out;
}

}  // namespace raison
