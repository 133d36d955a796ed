// Countdown with three numbers, the task that thinking is taught on. A problem and one worked sequence:
//
//   <bos> 4 5 7 -> 8 <think> | 7 + 5 = 12 12 + 4 = 16 hi 12 - 4 = 8 yes </think> ( 7 + 5 ) - 4 <eos>
//
// Numbers 1..10, operators + - *, larger operand first, every value in 1..99. `| x o y = r` opens a node (a first step);
// each `X O Y = s verdict` after it is a leaf (a complete expression): lo, hi or yes against the target. The answer is
// seven tokens of infix. Problems whose sorted numbers are on a fixed list of 26 triples are held out from all training.
//
// Two mixes of training sequences are tasks of their own: "countdown", whose thoughts search and give up early, and
// "countdown-tries", whose thoughts try at random.
#pragma once
#include <array>

#include "train/countdown_form.h"

namespace raison {

// What training sequences are mixed from. The defaults are the recipe of the demonstration.
struct CountdownMix {
  double drills = 0.12;     // bare arithmetic, no problem
  double successes = 0.5;   // of the rest: explorations that end in yes; the others give up
  double systematic = 0.7;  // explorations in fixed order that never leave a node early
  double leave = 0.25;      // else: a node is left for good after a failed leaf
  double stop = 0.65;       // a give-up keeps k leaves with probability stop (1-stop)^(k-1)
  double guess = 0.1;       // of the give-ups: answer at once, without a thought
  int max_leaves = 27;
  CountdownWeights weights;
  // Instead of all that searches: k leaves, k as of a give-up, each drawn anew among all; the last is the answer, right or wrong.
  bool tries = false;
};
// The task "countdown-tries": who learns from it knows arithmetic, verdicts and the form, but neither searches nor heeds a yes.
CountdownMix countdown_tries_mix();

struct CountdownNode {
  CountdownStep first;
  int rest = 0;  // the number left over
  bool operator==(const CountdownNode&) const = default;
};
struct CountdownLeaf {
  CountdownNode node;
  CountdownStep second;
};

class CountdownTask final : public CountdownForm {
 public:
  using Numbers = std::array<int, 3>;
  enum class Kind { Drill, Success, GiveUp, Guess, Tries };

  explicit CountdownTask(CountdownMix mix = {});
  int64_t max_sequence() const override { return 240; }
  TrainSequence sequence(Rng& rng, bool held_out = false) const override;
  std::vector<int32_t> problem(Rng& rng, bool held_out) const override;

  static bool held_out(Numbers numbers);  // in any order
  // The first steps of a problem: pairs (0,1), (0,2), (1,2), duplicates dropped.
  static std::vector<CountdownNode> nodes(const Numbers& numbers);

  struct Problem {
    Numbers numbers;
    int target;
  };
  Problem draw_problem(Rng& rng, bool held_out) const;
  // A training sequence with its kind.
  TrainSequence draw(Rng& rng, bool held_out, Kind* kind) const;

 private:
  struct Exploration {
    std::vector<CountdownLeaf> leaves;
    bool solved = false;
  };
  Exploration explore(Rng& rng, const Problem& problem, int max_leaves) const;
  size_t draw_stop(Rng& rng) const;
  std::vector<CountdownLeaf> tries(Rng& rng, const Problem& problem) const;
  std::vector<CountdownLeaf> trace(Rng& rng, const Problem& problem, Kind* kind) const;
  TrainSequence write(const Problem& problem, const std::vector<CountdownLeaf>& leaves, bool thought) const;

  CountdownMix mix_;
};

using CountdownStream = TaskStream;

}  // namespace raison
