#include "verify/math_expr.h"

#include <algorithm>
#include <iterator>
#include <set>

namespace raison {
namespace {

bool order_is_free(MathKind kind) {
  return kind == MathKind::Add || kind == MathKind::Mul || kind == MathKind::Set || kind == MathKind::Union ||
         kind == MathKind::Intersect;
}

void collect_symbols(const MathExpr& e, std::set<std::string>* out) {
  if (e->kind == MathKind::Symbol) out->insert(e->text);
  for (const MathExpr& kid : e->kids) collect_symbols(kid, out);
}

struct UnitName {
  std::string_view word, unit;
};

constexpr UnitName kUnits[] = {
    {"mm", "mm"},          {"millimeter", "mm"}, {"millimetre", "mm"}, {"cm", "cm"},         {"centimeter", "cm"},
    {"centimetre", "cm"},  {"m", "m"},           {"meter", "m"},       {"metre", "m"},       {"km", "km"},
    {"kilometer", "km"},   {"kilometre", "km"},  {"in", "in"},         {"inch", "in"},       {"inche", "in"},
    {"ft", "ft"},          {"foot", "ft"},       {"feet", "ft"},       {"yd", "yd"},         {"yard", "yd"},
    {"mi", "mi"},          {"mile", "mi"},       {"g", "g"},           {"gram", "g"},        {"kg", "kg"},
    {"kilogram", "kg"},    {"mg", "mg"},         {"milligram", "mg"},  {"lb", "lb"},         {"pound", "lb"},
    {"oz", "oz"},          {"ounce", "oz"},      {"sec", "s"},         {"second", "s"},      {"s", "s"},
    {"min", "min"},        {"minute", "min"},    {"h", "h"},           {"hr", "h"},          {"hour", "h"},
    {"day", "day"},        {"week", "week"},     {"month", "month"},   {"year", "year"},     {"l", "L"},
    {"liter", "L"},        {"litre", "L"},       {"ml", "mL"},         {"milliliter", "mL"}, {"millilitre", "mL"},
    {"degree", "deg"},     {"deg", "deg"},       {"radian", "rad"},    {"rad", "rad"},       {"dollar", "$"},
    {"usd", "$"},          {"buck", "$"},        {"cent", "cent"},     {"euro", "eur"},      {"eur", "eur"},
    {"percent", "%"},      {"pct", "%"},         {"percentage", "%"},  {"mph", "mi/h"},      {"kph", "km/h"},
    {"kmh", "km/h"},       {"acre", "acre"},     {"gallon", "gal"},    {"gal", "gal"},       {"quart", "qt"},
    {"pint", "pint"},      {"cup", "cup"},       {"ton", "ton"},       {"tonne", "t"},       {"watt", "W"},
    {"joule", "J"},        {"newton", "N"},      {"hz", "Hz"},         {"hertz", "Hz"},      {"yuan", "yuan"},
    {"rupee", "rupee"},    {"celsius", "C"},     {"fahrenheit", "F"},  {"volt", "V"},        {"ampere", "A"},
    {"ohm", "ohm"},        {"kelvin", "K"},      {"bit", "bit"},       {"byte", "byte"},     {"decade", "decade"},
    {"century", "century"}};

std::string lower_word(std::string_view text) {
  std::string out;
  for (const char c : text) out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

std::string unit_of_word(std::string word) {
  for (int tries = 0; tries < 2; ++tries) {
    for (const UnitName& u : kUnits)
      if (u.word == word) return std::string(u.unit);
    if (word.size() < 4 || word.back() != 's') break;
    word.pop_back();
  }
  return "";
}

}  // namespace

MathExpr math_node(MathKind kind, std::string text, std::vector<MathExpr> kids, int rows) {
  auto out = std::make_shared<MathNode>();
  out->kind = kind;
  out->text = std::move(text);
  out->rows = rows;
  for (const MathExpr& kid : kids) {
    out->depth = std::max(out->depth, kid->depth + 1);
    out->nodes += kid->nodes;
  }
  out->kids = std::move(kids);
  return out;
}

MathExpr math_sum(std::vector<MathExpr> kids) { return kids.size() == 1 ? kids[0] : math_node(MathKind::Add, std::move(kids)); }

MathExpr math_product(std::vector<MathExpr> kids) {
  return kids.size() == 1 ? kids[0] : math_node(MathKind::Mul, std::move(kids));
}

MathExpr math_difference(const MathExpr& a, const MathExpr& b) { return math_sum({a, math_node(MathKind::Neg, {b})}); }

MathExpr math_quotient(const MathExpr& a, const MathExpr& b) { return math_product({a, math_node(MathKind::Inv, {b})}); }

std::string math_key(const MathExpr& e) {
  std::vector<std::string> kids;
  for (const MathExpr& kid : e->kids) kids.push_back(math_key(kid));
  if (order_is_free(e->kind)) std::sort(kids.begin(), kids.end());
  std::string out = std::to_string(static_cast<int>(e->kind)) + ":" + std::to_string(e->text.size()) + e->text;
  if (e->kind == MathKind::Matrix) out += "/" + std::to_string(e->rows);
  if (kids.empty()) return out;
  out += "(";
  for (const std::string& kid : kids) out += kid + " ";
  out += ")";
  return out;
}

bool math_contains(const MathExpr& e, MathKind kind) {
  if (e->kind == kind) return true;
  return std::any_of(e->kids.begin(), e->kids.end(), [&](const MathExpr& kid) { return math_contains(kid, kind); });
}

std::vector<std::string> math_symbols(const MathExpr& e) {
  std::set<std::string> names;
  collect_symbols(e, &names);
  return {names.begin(), names.end()};
}

std::string canonical_unit(std::string_view words) {
  // Words and "/" apart; "per" is "/"; "square" and "cubic" raise the word behind them.
  std::vector<std::string> parts;
  for (const char c : lower_word(words)) {
    const bool letter = c >= 'a' && c <= 'z';
    if (letter && !parts.empty() && !parts.back().empty() && parts.back() != "/") {
      parts.back() += c;
    } else if (letter) {
      parts.emplace_back(1, c);
    } else if (c == '/') {
      parts.emplace_back("/");
    } else if ((c == '2' || c == '3') && !parts.empty()) {
      parts.emplace_back(c == '2' ? "^2" : "^3");
      parts.emplace_back();
    } else {
      parts.emplace_back();
    }
  }
  std::string out, power;
  for (const std::string& part : parts) {
    if (part.empty()) continue;
    if (part == "square" || part == "sq" || part == "cubic") {
      power = part == "cubic" ? "^3" : "^2";
    } else if (part == "/" || part == "per" || part == "an" || part == "^2" || part == "^3") {
      out += part[0] == '^' ? part : part == "an" ? "" : "/";
    } else {
      const std::string unit = unit_of_word(part);
      if (unit.empty()) return "";
      out += unit + power;
      power.clear();
    }
  }
  return out;
}

}  // namespace raison
