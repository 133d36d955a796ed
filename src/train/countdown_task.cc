#include "train/countdown_task.h"

#include <algorithm>

namespace raison {
namespace {

constexpr int kHeldOut[26][3] = {{1, 1, 6},  {1, 1, 10}, {1, 2, 5}, {1, 2, 9},  {1, 4, 10}, {1, 6, 8}, {1, 8, 9},
                                 {2, 4, 4},  {2, 4, 8},  {2, 6, 6}, {2, 6, 9},  {3, 4, 4},  {3, 4, 8}, {3, 5, 5},
                                 {3, 5, 9},  {3, 7, 8},  {4, 5, 7}, {4, 6, 9},  {4, 9, 10}, {5, 6, 6}, {5, 6, 9},
                                 {5, 6, 10}, {5, 9, 10}, {7, 7, 8}, {7, 9, 10}, {8, 8, 9}};
constexpr int kMostTries = 18;  // that fit in max_sequence()

}  // namespace

CountdownMix countdown_tries_mix() {
  CountdownMix mix;
  mix.tries = true;
  mix.stop = 0.35;
  mix.weights.give_up = 1;  // thoughts end as chance has it, with or without a yes
  return mix;
}

CountdownTask::CountdownTask(CountdownMix mix)
    : CountdownForm(mix.tries ? "countdown-tries" : "countdown", std::tuple_size_v<Numbers>), mix_(mix) {}

bool CountdownTask::held_out(Numbers n) {
  std::sort(n.begin(), n.end());
  return std::any_of(std::begin(kHeldOut), std::end(kHeldOut),
                     [&](const int(&t)[3]) { return n[0] == t[0] && n[1] == t[1] && n[2] == t[2]; });
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

size_t CountdownTask::draw_stop(Rng& rng) const {
  size_t keep = 1;
  while (rng.uniform() >= mix_.stop) ++keep;
  return keep;
}

std::vector<CountdownLeaf> CountdownTask::tries(Rng& rng, const Problem& p) const {
  const auto all = nodes(p.numbers);
  std::vector<CountdownLeaf> out;
  for (size_t k = std::min(draw_stop(rng), static_cast<size_t>(kMostTries)); k > 0; --k) {
    const CountdownNode& node = all[rng.below(all.size())];
    const auto leaves = steps(node.first.result, node.rest);
    out.push_back({node, leaves[rng.below(leaves.size())]});
  }
  return out;
}

// The leaves that a sequence shows; for a Guess the one it answers with.
std::vector<CountdownLeaf> CountdownTask::trace(Rng& rng, const Problem& p, Kind* kind) const {
  if (mix_.tries) {
    *kind = Kind::Tries;
    return tries(rng, p);
  }
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
  const size_t keep = draw_stop(rng);
  if (e.leaves.size() > keep) e.leaves.resize(keep);
  if (!e.leaves.empty() && rng.uniform() >= mix_.guess) return std::move(e.leaves);
  *kind = Kind::Guess;
  return explore(rng, p, 1).leaves;
}

TrainSequence CountdownTask::write(const Problem& p, const std::vector<CountdownLeaf>& leaves, bool thought) const {
  std::vector<int32_t> t = prompt(p.numbers, p.target);
  const size_t begin = t.size();
  for (size_t i = 0; thought && i < leaves.size(); ++i) {
    if (mix_.tries || i == 0 || !(leaves[i].node == leaves[i - 1].node)) {
      t.push_back(Bar);
      append_step(&t, leaves[i].node.first);
    }
    append_step(&t, leaves[i].second);
    t.push_back(verdict(leaves[i].second.result, p.target));
  }
  t.push_back(ThinkEnd);
  const CountdownLeaf& last = leaves.back();
  append_answer(&t, std::array{last.node.first.x, last.node.first.y, last.node.rest}, std::array{last.node.first, last.second});
  t.push_back(Eos);
  return weigh(std::move(t), begin, mix_.weights);
}

TrainSequence CountdownTask::draw(Rng& rng, bool from_held_out, Kind* kind) const {
  if (rng.uniform() < mix_.drills) {
    *kind = Kind::Drill;
    return drill(rng, mix_.weights.verdict);
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
  return prompt(p.numbers, p.target);
}

}  // namespace raison
