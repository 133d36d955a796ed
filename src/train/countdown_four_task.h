// Countdown with four numbers. A thought is a search in depth that says after every step which numbers are left:
//
//   <bos> 2 3 8 9 -> 30 <think> | 3 + 2 = 5 -> 5 8 9 || 8 + 5 = 13 -> 13 9 13 + 9 = 22 lo 13 - 9 = 4 lo | 3 - 2 = 1 -> 1 8 9 ...
//   || 9 * 8 = 72 -> 72 1 ... </think> ( ( 3 + 2 ) + 8 ) + 9 <eos>
//
// `|` opens a first step, `||` a second one behind it, and each `X o Y = s verdict` after that is a leaf (a complete expression).
// What is left begins with the newest result. 85 of the 715 sorted quadruples are held out from all training.
#pragma once
#include <array>

#include "train/countdown_form.h"

namespace raison {

// What training sequences are mixed from. The defaults are the recipe's (recipes/countdown-four-base.toml).
struct CountdownFourMix {
  double drills = 0.12;        // bare arithmetic, no problem
  double large = 0.5;          // of their rows: both numbers in 1..99
  double successes = 0.5;      // of the rest: explorations that end in yes; the others give up
  double systematic = 0.7;     // explorations in fixed order that never leave a node early
  double leave = 0.25;         // else: a second step is left for good after a failed leaf,
  double leave_first = 0.3;    //   and then its first step too
  double other_problem = 0.2;  // an exploration that failed is redone, with this chance on another problem
  double stop = 0.65;          // a give-up keeps k leaves with probability stop (1-stop)^(k-1)
  double guess = 0.1;          // of the give-ups: answer at once, without a thought
  int max_leaves = 45;
  CountdownWeights weights;
};

class CountdownFourTask final : public CountdownForm {
 public:
  static constexpr int32_t Bar2 = kWords;  // `||`
  using Numbers = std::array<int, 4>;
  enum class Kind { Drill, Success, GiveUp, Guess };
  // A step and the numbers left after it, its result first.
  struct Move {
    CountdownStep step;
    std::vector<int> left;
    bool operator==(const Move&) const = default;
  };
  using Leaf = std::array<Move, 3>;

  explicit CountdownFourTask(CountdownFourMix mix = {});
  int64_t max_sequence() const override { return 640; }
  TrainSequence sequence(Rng& rng, bool held_out = false) const override;
  std::vector<int32_t> problem(Rng& rng, bool held_out) const override;

  static bool held_out(Numbers numbers);  // in any order
  // Every step that numbers allow, by pairs (0,1), (0,2), ...; duplicates dropped.
  static std::vector<Move> moves(const std::vector<int>& numbers);

  struct Problem {
    Numbers numbers;
    int target;
  };
  Problem draw_problem(Rng& rng, bool held_out) const;
  // A training sequence with its kind.
  TrainSequence draw(Rng& rng, bool held_out, Kind* kind) const;

 private:
  struct Exploration {
    std::vector<Leaf> leaves;
    bool solved = false;
  };
  class Walk;
  Exploration explore(Rng& rng, const Problem& problem, int max_leaves) const;
  std::vector<Leaf> trace(Rng& rng, bool held_out, Problem* problem, Kind* kind) const;
  TrainSequence write(const Problem& problem, const std::vector<Leaf>& leaves, bool thought) const;

  CountdownFourMix mix_;
};

}  // namespace raison
