#include "verify/math.h"

#include <algorithm>

#include "verify/extract.h"
#include "verify/math_answer.h"
#include "verify/math_compare.h"
#include "verify/math_parser.h"

namespace raison {
namespace {

std::string joined_parts(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& p : parts) out += (out.empty() ? "" : ", ") + p;
  return out;
}

Result<MathExpr> parse_parts(const std::vector<std::string>& parts) {
  std::vector<MathExpr> members;
  for (const std::string& p : parts) {
    RAISON_ASSIGN(MathExpr e, parse_math(p));
    if (e->kind == MathKind::List && parts.size() > 1) {
      members.insert(members.end(), e->kids.begin(), e->kids.end());
    } else {
      members.push_back(e);
    }
  }
  if (members.size() > MathLimits::kListItems) return error("it has too many members");
  return members.size() == 1 ? members[0] : math_node(MathKind::List, std::move(members));
}

}  // namespace

Result<bool> same_math_answer(std::string_view a, std::string_view b) {
  const auto gold = find_math_gold(a), answer = find_math_answer(b);
  if (gold.empty()) return error("the gold is empty");
  if (answer.empty()) return error("no answer was found");
  if (same_text(joined_parts(gold), joined_parts(answer))) return true;
  // Words are the same by their letters alone: as products, anagrams would be.
  if (gold.size() == 1 && is_words(gold[0])) return false;
  const auto y = parse_parts(answer);
  if (!y.ok()) return error("the answer can't be read: {}", y.message());
  const auto x = parse_parts(gold);
  if (!x.ok()) return false;  // a gold that is no mathematics is its text
  if ((*x)->kind == MathKind::Text || (answer.size() == 1 && is_words(answer[0]))) return false;
  MathBudget budget;
  const bool same = same_math(*x, *y, &budget);
  if (budget.spent()) return error("the answer asks for too much work");
  return same;
}

std::optional<std::string> extract_math_answer(std::string_view reply) {
  const auto parts = find_math_answer(reply);
  if (parts.empty()) return std::nullopt;
  return joined_parts(parts);
}

}  // namespace raison
