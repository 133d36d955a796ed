#include "train/countdown_form.h"

#include <algorithm>

#include "verify/countdown.h"

namespace raison {
namespace {

using Words = std::vector<int32_t>;

int32_t op_token(char op) { return op == '+' ? CountdownForm::Plus : op == '-' ? CountdownForm::Minus : CountdownForm::Times; }
bool is_verdict(int32_t t) { return t >= CountdownForm::Yes && t <= CountdownForm::Hi; }
bool is_number(int32_t t) { return t >= CountdownForm::FirstNumber && t < CountdownForm::kWords; }

// An expression on its way to the answer.
struct Part {
  int value;
  Words words;
};

Part take(std::vector<Part>* parts, int value) {
  const auto found = std::find_if(parts->begin(), parts->end(), [&](const Part& p) { return p.value == value; });
  Part out = std::move(*found);
  parts->erase(found);
  return out;
}

void append_operand(Words* out, const Words& words) {
  if (words.size() > 1) out->push_back(CountdownForm::Open);
  out->insert(out->end(), words.begin(), words.end());
  if (words.size() > 1) out->push_back(CountdownForm::Close);
}

}  // namespace

CountdownForm::CountdownForm(std::string name, size_t numbers, const std::vector<std::string>& more)
    : name_(std::move(name)), numbers_(numbers) {
  vocab_ = {"<pad>", "<bos>", "<eos>", "->", "<think>", "</think>", "+", "-", "*", "=", "(", ")", "|", "yes", "no", "lo", "hi"};
  for (int n = 0; n < 100; ++n) vocab_.push_back(std::to_string(n));
  vocab_.insert(vocab_.end(), more.begin(), more.end());
}

std::vector<CountdownStep> CountdownForm::steps(int a, int b) {
  const int x = std::max(a, b), y = std::min(a, b);
  std::vector<CountdownStep> out;
  for (const CountdownStep& s : {CountdownStep{x, '+', y, x + y}, {x, '-', y, x - y}, {x, '*', y, x * y}})
    if (s.result >= 1 && s.result <= 99) out.push_back(s);
  return out;
}

int32_t CountdownForm::verdict(int value, int target) { return value == target ? Yes : value < target ? Lo : Hi; }

void CountdownForm::append_step(Words* out, const CountdownStep& s) {
  out->insert(out->end(), {number(s.x), op_token(s.op), number(s.y), Equals, number(s.result)});
}

void CountdownForm::append_answer(Words* out, std::span<const int> numbers, std::span<const CountdownStep> steps) {
  std::vector<Part> parts;
  for (const int n : numbers) parts.push_back({n, {number(n)}});
  for (const CountdownStep& s : steps) {
    const Part x = take(&parts, s.x), y = take(&parts, s.y);
    Part made{s.result, {}};
    append_operand(&made.words, x.words);
    made.words.push_back(op_token(s.op));
    append_operand(&made.words, y.words);
    parts.insert(parts.begin(), std::move(made));
  }
  out->insert(out->end(), parts.front().words.begin(), parts.front().words.end());
}

Words CountdownForm::prompt(std::span<const int> numbers, int target) const {
  Words out{Bos};
  for (const int n : numbers) out.push_back(number(n));
  out.insert(out.end(), {Arrow, number(target), Think});
  return out;
}

TrainSequence CountdownForm::weigh(Words tokens, size_t prompt, const CountdownWeights& weights) {
  TrainSequence s;
  s.tokens = std::move(tokens);
  const Words& t = s.tokens;
  const bool solved = std::find(t.begin(), t.end(), Yes) != t.end();
  s.weights.assign(t.size(), 0.0f);
  for (size_t i = prompt; i < t.size(); ++i) {
    const bool heavy = is_verdict(t[i]) || t[i - 1] == Equals;
    s.weights[i] = heavy ? weights.verdict : t[i] == ThinkEnd && !solved ? weights.give_up : 1.0f;
  }
  return s;
}

TrainSequence CountdownForm::drill(Rng& rng, float weight, double large) {
  TrainSequence s;
  s.tokens.push_back(Bos);
  for (int i = 0; i < 8; ++i) {
    const int a = static_cast<int>(rng.between(1, 99));
    const int most = large > 0 && rng.uniform() < large ? 99 : 10;
    const int b = static_cast<int>(rng.between(1, most));
    s.tokens.push_back(Bar);
    for (const CountdownStep& step : steps(a, b)) append_step(&s.tokens, step);
  }
  s.tokens.push_back(Eos);
  s.weights.assign(s.tokens.size(), 0.0f);
  for (size_t i = 1; i < s.tokens.size(); ++i)
    if (s.tokens[i - 1] == Equals) s.weights[i] = weight;
  return s;
}

double CountdownForm::reward(std::span<const int32_t> prompt, std::span<const int32_t> reply) const {
  const auto p = parse_countdown_problem(text(prompt));
  return p.ok() && judge_countdown_reply(p->numbers, p->target, text(reply)).right() ? 1 : 0;
}

std::optional<std::string> CountdownForm::vote(std::span<const int32_t> reply) const {
  if (std::find(reply.begin(), reply.end(), Eos) == reply.end()) return std::nullopt;
  const auto answer = countdown_answer(text(reply));
  if (!answer.ok()) return "";
  auto canonical = canonical_countdown(*answer);
  return canonical.ok() ? std::move(canonical).value() : *answer;
}

bool CountdownForm::self_verified(std::span<const int32_t> reply) const {
  const auto thought_end = std::find(reply.begin(), reply.end(), ThinkEnd);
  return std::find(reply.begin(), reply.end(), Eos) != reply.end() && std::find(reply.begin(), thought_end, Yes) != thought_end;
}

std::optional<SyntheticTask::CountedThought> CountdownForm::counted_thought() const {
  auto rules = ThinkRules::create({{{Think}}, {{ThinkEnd}}, {ThinkEnd}, false});
  if (!rules.ok()) return std::nullopt;
  return CountedThought{*rules, {Lo, Hi}, {Lo, Hi, Yes}, Yes};
}

TaskAudit CountdownForm::audit(std::span<const int32_t> t) const {
  TaskAudit out;
  const size_t begin = numbers_ + 3;  // behind <bos> a b c -> T
  if (t.size() < begin || !is_number(t[begin - 1])) return out;
  const int32_t target = t[begin - 1];
  for (size_t i = begin; i + 4 < t.size(); ++i) {
    const bool op = t[i + 1] == Plus || t[i + 1] == Minus || t[i + 1] == Times;
    if (!op || t[i + 3] != Equals || !is_number(t[i]) || !is_number(t[i + 2]) || !is_number(t[i + 4])) continue;
    const int32_t x = t[i] - FirstNumber, y = t[i + 2] - FirstNumber, r = t[i + 4] - FirstNumber;
    const int32_t value = t[i + 1] == Plus ? x + y : t[i + 1] == Minus ? x - y : x * y;
    ++out.equations;
    out.right_equations += value == r && r >= 1;  // a number token is at most 99
    if (i + 5 >= t.size() || !is_verdict(t[i + 5])) continue;
    ++out.verdicts;
    out.right_verdicts += t[i + 5] == verdict(r, target - FirstNumber);
  }
  return out;
}

}  // namespace raison
