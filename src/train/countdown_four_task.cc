#include "train/countdown_four_task.h"

#include <algorithm>

namespace raison {
namespace {

std::vector<int> after(std::vector<int> numbers, const CountdownStep& s) {
  numbers.erase(std::find(numbers.begin(), numbers.end(), s.x));
  numbers.erase(std::find(numbers.begin(), numbers.end(), s.y));
  numbers.insert(numbers.begin(), s.result);
  return numbers;
}

}  // namespace

CountdownFourTask::CountdownFourTask(CountdownFourMix mix)
    : CountdownForm("countdown-four", std::tuple_size_v<Numbers>, {"||"}), mix_(mix) {}

bool CountdownFourTask::held_out(Numbers n) {
  std::sort(n.begin(), n.end());
  uint64_t hash = 0;
  for (const int v : n) hash = hash_seed({hash, static_cast<uint64_t>(v)});
  return hash % 10 == 0;
}

std::vector<CountdownFourTask::Move> CountdownFourTask::moves(const std::vector<int>& n) {
  std::vector<Move> out;
  for (size_t i = 0; i < n.size(); ++i)
    for (size_t j = i + 1; j < n.size(); ++j)
      for (const CountdownStep& s : steps(n[i], n[j])) {
        Move m{s, after(n, s)};
        if (std::find(out.begin(), out.end(), m) == out.end()) out.push_back(std::move(m));
      }
  return out;
}

CountdownFourTask::Problem CountdownFourTask::draw_problem(Rng& rng, bool want_held_out) const {
  for (;;) {
    Problem p;
    for (int& n : p.numbers) n = static_cast<int>(rng.between(1, 10));
    if (held_out(p.numbers) != want_held_out) continue;
    std::vector<int> left(p.numbers.begin(), p.numbers.end());
    while (left.size() > 1) {
      auto all = moves(left);
      if (all.empty()) break;
      left = std::move(all[rng.below(all.size())].left);
    }
    if (left.size() > 1) continue;  // a dead end: no value of the last two lies in 1..99
    p.target = left[0];
    return p;
  }
}

// One exploration in depth.
class CountdownFourTask::Walk {
 public:
  Walk(const CountdownFourMix& mix, Rng& rng, int target, size_t max_leaves)
      : mix_(mix), rng_(rng), target_(target), max_leaves_(max_leaves), systematic_(rng.uniform() < mix.systematic) {}

  Exploration run(const Numbers& numbers) {
    visit({numbers.begin(), numbers.end()}, 0);
    return std::move(out_);
  }

 private:
  enum class Way { On, Leave, End };

  // Leave: the node of these moves is left early, for good.
  Way visit(const std::vector<int>& numbers, size_t depth) {
    auto all = moves(numbers);
    if (!systematic_) rng_.shuffle(all);
    for (Move& m : all) {
      path_[depth] = std::move(m);
      const bool last = depth + 1 == path_.size();
      const Way way = last ? leaf() : visit(path_[depth].left, depth + 1);
      if (way == Way::End || (way == Way::Leave && last)) return way;
      if (way == Way::Leave && rng_.uniform() < mix_.leave_first) break;
    }
    return Way::On;
  }

  Way leaf() {
    if (out_.leaves.size() >= max_leaves_) return Way::End;
    out_.leaves.push_back(path_);
    out_.solved = path_.back().step.result == target_;
    if (out_.solved) return Way::End;
    return !systematic_ && rng_.uniform() < mix_.leave ? Way::Leave : Way::On;
  }

  const CountdownFourMix& mix_;
  Rng& rng_;
  int target_;
  size_t max_leaves_;
  bool systematic_;
  Leaf path_;
  Exploration out_;
};

CountdownFourTask::Exploration CountdownFourTask::explore(Rng& rng, const Problem& p, int max_leaves) const {
  return Walk(mix_, rng, p.target, static_cast<size_t>(max_leaves)).run(p.numbers);
}

// The leaves that a sequence shows; for a Guess the one it answers with.
std::vector<CountdownFourTask::Leaf> CountdownFourTask::trace(Rng& rng, bool held_out, Problem* p, Kind* kind) const {
  *p = draw_problem(rng, held_out);
  if (rng.uniform() < mix_.successes) {
    *kind = Kind::Success;
    for (;;) {  // ends: shuffled walks and other problems are solved with some chance
      Exploration e = explore(rng, *p, mix_.max_leaves);
      if (e.solved) return std::move(e.leaves);
      if (rng.uniform() < mix_.other_problem) *p = draw_problem(rng, held_out);
    }
  }
  *kind = Kind::GiveUp;
  Exploration e = explore(rng, *p, mix_.max_leaves);
  if (e.solved) e.leaves.pop_back();
  size_t keep = 1;
  while (rng.uniform() >= mix_.stop) ++keep;
  if (e.leaves.size() > keep) e.leaves.resize(keep);
  if (!e.leaves.empty() && rng.uniform() >= mix_.guess) return std::move(e.leaves);
  *kind = Kind::Guess;
  return explore(rng, *p, 1).leaves;
}

TrainSequence CountdownFourTask::write(const Problem& p, const std::vector<Leaf>& leaves, bool thought) const {
  std::vector<int32_t> t = prompt(p.numbers, p.target);
  const size_t begin = t.size();
  const auto open = [&](int32_t mark, const Move& m) {
    t.push_back(mark);
    append_step(&t, m.step);
    t.push_back(Arrow);
    for (const int n : m.left) t.push_back(number(n));
  };
  for (size_t i = 0; thought && i < leaves.size(); ++i) {
    const Leaf& leaf = leaves[i];
    const bool first = i == 0 || !(leaf[0] == leaves[i - 1][0]);
    if (first) open(Bar, leaf[0]);
    if (first || !(leaf[1] == leaves[i - 1][1])) open(Bar2, leaf[1]);
    append_step(&t, leaf[2].step);
    t.push_back(verdict(leaf[2].step.result, p.target));
  }
  t.push_back(ThinkEnd);
  const Leaf& last = leaves.back();
  append_answer(&t, p.numbers, std::array{last[0].step, last[1].step, last[2].step});
  t.push_back(Eos);
  return weigh(std::move(t), begin, mix_.weights);
}

TrainSequence CountdownFourTask::draw(Rng& rng, bool from_held_out, Kind* kind) const {
  if (rng.uniform() < mix_.drills) {
    *kind = Kind::Drill;
    return drill(rng, mix_.weights.verdict, mix_.large);
  }
  for (;;) {  // a shuffled walk that leaves many nodes early may be longer than the bound
    Problem p;
    const auto leaves = trace(rng, from_held_out, &p, kind);
    TrainSequence s = write(p, leaves, *kind != Kind::Guess);
    if (static_cast<int64_t>(s.tokens.size()) <= max_sequence()) return s;
  }
}

TrainSequence CountdownFourTask::sequence(Rng& rng, bool from_held_out) const {
  Kind kind;
  return draw(rng, from_held_out, &kind);
}

std::vector<int32_t> CountdownFourTask::problem(Rng& rng, bool from_held_out) const {
  const Problem p = draw_problem(rng, from_held_out);
  return prompt(p.numbers, p.target);
}

}  // namespace raison
