#include "train/countdown_task.h"

#include <algorithm>

namespace raison {
namespace {

constexpr int kHeldOut[26][3] = {{1, 1, 6},  {1, 1, 10}, {1, 2, 5}, {1, 2, 9},  {1, 4, 10}, {1, 6, 8}, {1, 8, 9},
                                 {2, 4, 4},  {2, 4, 8},  {2, 6, 6}, {2, 6, 9},  {3, 4, 4},  {3, 4, 8}, {3, 5, 5},
                                 {3, 5, 9},  {3, 7, 8},  {4, 5, 7}, {4, 6, 9},  {4, 9, 10}, {5, 6, 6}, {5, 6, 9},
                                 {5, 6, 10}, {5, 9, 10}, {7, 7, 8}, {7, 9, 10}, {8, 8, 9}};

int32_t op_token(char op) { return op == '+' ? CountdownTask::Plus : op == '-' ? CountdownTask::Minus : CountdownTask::Times; }

void append_step(std::vector<int32_t>* out, const CountdownStep& s) {
  out->insert(out->end(), {CountdownTask::number(s.x), op_token(s.op), CountdownTask::number(s.y), CountdownTask::Equals,
                           CountdownTask::number(s.result)});
}

int32_t verdict(int value, int target) {
  return value == target ? CountdownTask::Yes : value < target ? CountdownTask::Lo : CountdownTask::Hi;
}

bool is_verdict(int32_t t) { return t >= CountdownTask::Yes && t <= CountdownTask::Hi; }
bool is_number(int32_t t) { return t >= CountdownTask::FirstNumber && t < CountdownTask::FirstNumber + 100; }

void append_answer(std::vector<int32_t>* out, const CountdownLeaf& leaf) {
  const CountdownStep& a = leaf.node.first;
  const int32_t op = op_token(leaf.second.op), rest = CountdownTask::number(leaf.node.rest);
  const bool left = leaf.second.x == a.result;
  if (!left) out->insert(out->end(), {rest, op});
  out->insert(out->end(), {CountdownTask::Open, CountdownTask::number(a.x), op_token(a.op), CountdownTask::number(a.y),
                           CountdownTask::Close});
  if (left) out->insert(out->end(), {op, rest});
}

}  // namespace

CountdownTask::CountdownTask(CountdownMix mix) : mix_(mix) {
  vocab_ = {"<pad>", "<bos>", "<eos>", "->", "<think>", "</think>", "+", "-", "*", "=", "(", ")", "|", "yes", "no", "lo", "hi"};
  for (int n = 0; n < 100; ++n) vocab_.push_back(std::to_string(n));
}

bool CountdownTask::held_out(Numbers n) {
  std::sort(n.begin(), n.end());
  return std::any_of(std::begin(kHeldOut), std::end(kHeldOut),
                     [&](const int(&t)[3]) { return n[0] == t[0] && n[1] == t[1] && n[2] == t[2]; });
}

std::vector<CountdownStep> CountdownTask::steps(int a, int b) {
  const int x = std::max(a, b), y = std::min(a, b);
  std::vector<CountdownStep> out;
  for (const CountdownStep& s : {CountdownStep{x, '+', y, x + y}, {x, '-', y, x - y}, {x, '*', y, x * y}})
    if (s.result >= 1 && s.result <= 99) out.push_back(s);
  return out;
}

std::vector<CountdownNode> CountdownTask::nodes(const Numbers& n) {
  std::vector<CountdownNode> out;
  for (const auto& [i, j, k] : {std::array<size_t, 3>{0, 1, 2}, {0, 2, 1}, {1, 2, 0}})
    for (const CountdownStep& s : steps(n[i], n[j])) {
      const CountdownNode node{s, n[k]};
      if (std::find(out.begin(), out.end(), node) == out.end()) out.push_back(node);
    }
  return out;
}

CountdownTask::Problem CountdownTask::draw_problem(Rng& rng, bool want_held_out) const {
  for (;;) {
    Problem p;
    for (int& n : p.numbers) n = static_cast<int>(rng.between(1, 10));
    if (held_out(p.numbers) != want_held_out) continue;
    const auto first = nodes(p.numbers);
    const CountdownNode& node = first[rng.below(first.size())];
    const auto second = steps(node.first.result, node.rest);
    p.target = second[rng.below(second.size())].result;
    return p;
  }
}

CountdownTask::Exploration CountdownTask::explore(Rng& rng, const Problem& p, int max_leaves) const {
  Exploration out;
  auto order = nodes(p.numbers);
  const bool systematic = rng.uniform() < mix_.systematic;
  if (!systematic) rng.shuffle(order);
  for (const CountdownNode& node : order) {
    auto leaves = steps(node.first.result, node.rest);
    if (!systematic) rng.shuffle(leaves);
    for (const CountdownStep& leaf : leaves) {
      if (static_cast<int>(out.leaves.size()) >= max_leaves) return out;
      out.leaves.push_back({node, leaf});
      out.solved = leaf.result == p.target;
      if (out.solved) return out;
      if (!systematic && rng.uniform() < mix_.leave) break;
    }
  }
  return out;
}

// The leaves that a sequence shows; for a Guess the one it answers with.
std::vector<CountdownLeaf> CountdownTask::trace(Rng& rng, const Problem& p, Kind* kind) const {
  if (rng.uniform() < mix_.successes) {
    *kind = Kind::Success;
    for (;;) {  // ends: a systematic exploration reaches every leaf, and every target is some leaf's result
      Exploration e = explore(rng, p, mix_.max_leaves);
      if (e.solved) return std::move(e.leaves);
    }
  }
  *kind = Kind::GiveUp;
  Exploration e = explore(rng, p, mix_.max_leaves);
  if (e.solved) e.leaves.pop_back();
  size_t keep = 1;
  while (rng.uniform() >= mix_.stop) ++keep;
  if (e.leaves.size() > keep) e.leaves.resize(keep);
  if (!e.leaves.empty() && rng.uniform() >= mix_.guess) return std::move(e.leaves);
  *kind = Kind::Guess;
  return explore(rng, p, 1).leaves;
}

TrainSequence CountdownTask::write(const Problem& p, const std::vector<CountdownLeaf>& leaves, bool thought) const {
  TrainSequence s;
  std::vector<int32_t>& t = s.tokens;
  t.push_back(Bos);
  for (int n : p.numbers) t.push_back(number(n));
  for (int32_t token : {static_cast<int32_t>(Arrow), number(p.target), static_cast<int32_t>(Think)}) t.push_back(token);
  const size_t prompt = t.size();
  bool solved = false;
  if (thought) {
    for (size_t i = 0; i < leaves.size(); ++i) {
      if (i == 0 || !(leaves[i].node == leaves[i - 1].node)) {
        t.push_back(Bar);
        append_step(&t, leaves[i].node.first);
      }
      append_step(&t, leaves[i].second);
      t.push_back(verdict(leaves[i].second.result, p.target));
      solved = solved || t.back() == Yes;
    }
  }
  t.push_back(ThinkEnd);
  append_answer(&t, leaves.back());
  t.push_back(Eos);
  s.weights.assign(t.size(), 0.0f);
  for (size_t i = prompt; i < t.size(); ++i) {
    const bool heavy = is_verdict(t[i]) || t[i - 1] == Equals;
    s.weights[i] = heavy ? mix_.verdict_weight : t[i] == ThinkEnd && !solved ? mix_.give_up_weight : 1.0f;
  }
  return s;
}

TrainSequence CountdownTask::drill(Rng& rng) const {
  TrainSequence s;
  s.tokens.push_back(Bos);
  for (int i = 0; i < 8; ++i) {
    const int a = static_cast<int>(rng.between(1, 99)), b = static_cast<int>(rng.between(1, 10));
    s.tokens.push_back(Bar);
    for (const CountdownStep& step : steps(a, b)) append_step(&s.tokens, step);
  }
  s.tokens.push_back(Eos);
  s.weights.assign(s.tokens.size(), 0.0f);
  for (size_t i = 1; i < s.tokens.size(); ++i)
    if (s.tokens[i - 1] == Equals) s.weights[i] = mix_.verdict_weight;
  return s;
}

TrainSequence CountdownTask::draw(Rng& rng, bool from_held_out, Kind* kind) const {
  if (rng.uniform() < mix_.drills) {
    *kind = Kind::Drill;
    return drill(rng);
  }
  const Problem p = draw_problem(rng, from_held_out);
  const auto leaves = trace(rng, p, kind);
  return write(p, leaves, *kind != Kind::Guess);
}

TrainSequence CountdownTask::sequence(Rng& rng, bool from_held_out) const {
  Kind kind;
  return draw(rng, from_held_out, &kind);
}

std::vector<int32_t> CountdownTask::problem(Rng& rng, bool from_held_out) const {
  const Problem p = draw_problem(rng, from_held_out);
  return {Bos, number(p.numbers[0]), number(p.numbers[1]), number(p.numbers[2]), Arrow, number(p.target), Think};
}

double CountdownTask::reward(std::span<const int32_t> prompt, std::span<const int32_t> reply) const {
  const auto p = parse_countdown_problem(text(prompt));
  return p.ok() && judge_countdown_reply(p->numbers, p->target, text(reply)).right() ? 1 : 0;
}

std::optional<std::string> CountdownTask::vote(std::span<const int32_t> reply) const {
  if (std::find(reply.begin(), reply.end(), Eos) == reply.end()) return std::nullopt;
  const auto answer = countdown_answer(text(reply));
  if (!answer.ok()) return "";
  auto canonical = canonical_countdown(*answer);
  return canonical.ok() ? std::move(canonical).value() : *answer;
}

bool CountdownTask::self_verified(std::span<const int32_t> reply) const {
  const auto thought_end = std::find(reply.begin(), reply.end(), ThinkEnd);
  return std::find(reply.begin(), reply.end(), Eos) != reply.end() && std::find(reply.begin(), thought_end, Yes) != thought_end;
}

std::optional<SyntheticTask::CountedThought> CountdownTask::counted_thought() const {
  auto rules = ThinkRules::create({{{Think}}, {{ThinkEnd}}, {ThinkEnd}, false});
  if (!rules.ok()) return std::nullopt;
  return CountedThought{*rules, {Lo, Hi}, {Lo, Hi, Yes}, Yes};
}

TaskAudit CountdownTask::audit(std::span<const int32_t> t) const {
  TaskAudit out;
  constexpr size_t kPrompt = 6;  // <bos> a b c -> T
  if (t.size() < kPrompt || !is_number(t[5])) return out;
  const int32_t target = t[5];
  for (size_t i = kPrompt; i + 4 < t.size(); ++i) {
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
