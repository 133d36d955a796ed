// Countdown with three numbers, the task that thinking is taught on. A problem and one worked sequence:
//
//   <bos> 4 5 7 -> 8 <think> | 7 + 5 = 12 12 + 4 = 16 hi 12 - 4 = 8 yes </think> ( 7 + 5 ) - 4 <eos>
//
// Numbers 1..10, operators + - *, larger operand first, every value in 1..99. `| x o y = r` opens a node (a first step);
// each `X O Y = s verdict` after it is a leaf (a complete expression): lo, hi or yes against the target. The answer is
// seven tokens of infix. Problems whose sorted numbers are on a fixed list of 26 triples are held out from all training.
#pragma once
#include <array>

#include "train/synthetic_task.h"
#include "verify/countdown.h"

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
  float verdict_weight = 3;  // loss of verdicts and of the number after each "="
  float give_up_weight = 6;  // loss of </think> where the thought has no yes
};

struct CountdownStep {
  int x = 0;
  char op = '+';
  int y = 0, result = 0;  // x op y = result, x >= y
  bool operator==(const CountdownStep&) const = default;
};
struct CountdownNode {
  CountdownStep first;
  int rest = 0;  // the number left over
  bool operator==(const CountdownNode&) const = default;
};
struct CountdownLeaf {
  CountdownNode node;
  CountdownStep second;
};

class CountdownTask final : public SyntheticTask {
 public:
  enum Token : int32_t {
    Pad,
    Bos,
    Eos,
    Arrow,
    Think,
    ThinkEnd,
    Plus,
    Minus,
    Times,
    Equals,
    Open,
    Close,
    Bar,
    Yes,
    No,
    Lo,
    Hi,
    FirstNumber
  };
  using Numbers = std::array<int, 3>;
  enum class Kind { Drill, Success, GiveUp, Guess };

  explicit CountdownTask(CountdownMix mix = {});
  const std::string& name() const override { return name_; }
  const std::vector<std::string>& vocab() const override { return vocab_; }  // 117 words
  int64_t max_sequence() const override { return 240; }
  TrainSequence sequence(Rng& rng, bool held_out = false) const override;
  std::vector<int32_t> problem(Rng& rng, bool held_out) const override;
  double reward(std::span<const int32_t> prompt, std::span<const int32_t> reply) const override;
  std::optional<std::string> vote(std::span<const int32_t> reply) const override;
  // The reply ended and its thought contains yes.
  bool can_self_verify() const override { return true; }
  bool self_verified(std::span<const int32_t> reply) const override;
  std::optional<CountedThought> counted_thought() const override;
  // Equations `x o y = r` (right: true and 1 <= r <= 99), and verdicts against the prompt's target. Verdicts count leaves.
  TaskAudit audit(std::span<const int32_t> tokens) const override;

  static int32_t number(int value) { return FirstNumber + value; }  // the token of 0..99
  static bool held_out(Numbers numbers);                            // in any order
  // Every valid x op y of two numbers, + - * in this order; results in 1..99.
  static std::vector<CountdownStep> steps(int a, int b);
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
  std::vector<CountdownLeaf> trace(Rng& rng, const Problem& problem, Kind* kind) const;
  TrainSequence drill(Rng& rng) const;
  TrainSequence write(const Problem& problem, const std::vector<CountdownLeaf>& leaves, bool thought) const;

  CountdownMix mix_;
  std::string name_ = "countdown";
  std::vector<std::string> vocab_;
};

using CountdownStream = TaskStream;

}  // namespace raison
