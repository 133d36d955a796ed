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

MathJudgement judged(MathJudgement::Kind kind, std::string answer, std::string reason) {
  answer.resize(std::min(answer.size(), MathLimits::kAnswerBytes));
  return {kind, std::move(answer), std::move(reason)};
}

// "1,22" in a gold may be a decimal with a comma as well as two members.
bool maybe_decimal_comma(std::string_view gold) {
  const size_t comma = gold.find(',');
  return comma != std::string_view::npos && comma > 0 && comma + 3 == gold.size() &&
         std::count_if(gold.begin(), gold.end(), [](char c) { return c >= '0' && c <= '9'; }) + 1 ==
             static_cast<std::ptrdiff_t>(gold.size());
}

// Error: the answer can't be read.
Result<bool> same_parts(const std::vector<std::string>& gold, const std::vector<std::string>& answer,
                        const MathOptions& options) {
  // Words are the same by their letters alone: as products, anagrams would be.
  if (gold.size() == 1 && is_words(gold[0])) return false;
  RAISON_ASSIGN(const MathExpr y, parse_parts(answer));
  const auto x = parse_parts(gold);
  if (!x.ok()) return false;  // a gold that is no mathematics is its text
  if (answer.size() == 1 && is_words(answer[0])) return false;
  MathBudget budget;
  bool same = same_math(*x, y, options.decimals, &budget);
  if (!same && gold.size() == 1 && maybe_decimal_comma(gold[0])) {
    std::string point = gold[0];
    point[point.find(',')] = '.';
    same = same_math(math_number(point), y, options.decimals, &budget);
  }
  if (budget.spent()) return error("it asks for too much work");
  return same;
}

}  // namespace

MathJudgement judge_math_answer(std::string_view gold, std::string_view reply, const MathOptions& options) {
  const auto x = find_math_gold(gold), y = find_math_answer(reply);
  if (y.empty()) return judged(MathJudgement::Unparseable, "", "no answer was found");
  const std::string answer = joined_parts(y);
  if (x.empty()) return judged(MathJudgement::Different, answer, "the gold is empty");
  if (same_text(joined_parts(x), answer)) return judged(MathJudgement::Same, answer, "");
  const auto same = same_parts(x, y, options);
  if (!same.ok()) return judged(MathJudgement::Unparseable, answer, "the answer can't be read: " + same.message());
  return *same ? judged(MathJudgement::Same, answer, "") : judged(MathJudgement::Different, answer, "another answer");
}

Result<bool> same_math_answer(std::string_view a, std::string_view b) {
  const MathJudgement j = judge_math_answer(a, b);
  if (j.kind == MathJudgement::Unparseable) return Error(j.reason);
  return j.kind == MathJudgement::Same;
}

std::optional<std::string> extract_math_answer(std::string_view reply) {
  const auto parts = find_math_answer(reply);
  if (parts.empty()) return std::nullopt;
  return joined_parts(parts);
}

}  // namespace raison
