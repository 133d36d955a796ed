// What the Countdown tasks share: the words, the tables of arithmetic, how equations, verdicts and answers are written, weighed
// and judged. Operators + - *, larger operand first, every value in 1..99.
#pragma once
#include "train/synthetic_task.h"

namespace raison {

struct CountdownStep {
  int x = 0;
  char op = '+';
  int y = 0, result = 0;  // x op y = result, x >= y
  bool operator==(const CountdownStep&) const = default;
};

// How the words of a training sequence weigh in the loss; those of the prompt weigh nothing.
struct CountdownWeights {
  float verdict = 3;  // verdicts, and the number after each "="
  float give_up = 6;  // </think> where the thought has no yes
};

class CountdownForm : public SyntheticTask {
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
  static constexpr int32_t kWords = FirstNumber + 100;

  const std::string& name() const override { return name_; }
  const std::vector<std::string>& vocab() const override { return vocab_; }
  double reward(std::span<const int32_t> prompt, std::span<const int32_t> reply) const override;
  std::optional<std::string> vote(std::span<const int32_t> reply) const override;
  // The reply ended and its thought contains yes.
  bool can_self_verify() const override { return true; }
  bool self_verified(std::span<const int32_t> reply) const override;
  std::optional<CountedThought> counted_thought() const override;
  // Equations `x o y = r` (right: true and 1 <= r <= 99), and verdicts against the prompt's target. Verdicts count leaves.
  TaskAudit audit(std::span<const int32_t> tokens) const override;

  static int32_t number(int value) { return FirstNumber + value; }  // the token of 0..99
  // Every valid x op y of two numbers, + - * in this order; results in 1..99.
  static std::vector<CountdownStep> steps(int a, int b);

 protected:
  // Problems of so many numbers; `more` words come after the 117 of all Countdown tasks.
  CountdownForm(std::string name, size_t numbers, const std::vector<std::string>& more = {});

  static int32_t verdict(int value, int target);
  static void append_step(std::vector<int32_t>* out, const CountdownStep& step);
  // The expression that the steps make of the numbers. Each step's operands must be there; of two that are equal it takes the
  // one made last.
  static void append_answer(std::vector<int32_t>* out, std::span<const int> numbers, std::span<const CountdownStep> steps);
  std::vector<int32_t> prompt(std::span<const int> numbers, int target) const;
  // `tokens` from the one at `prompt` on are the reply.
  static TrainSequence weigh(std::vector<int32_t> tokens, size_t prompt, const CountdownWeights& weights);
  // Eight rows of bare arithmetic, one number in 1..99, the other in 1..10, or with chance `large` in 1..99 as well.
  static TrainSequence drill(Rng& rng, float weight, double large = 0);

 private:
  std::string name_;
  size_t numbers_;
  std::vector<std::string> vocab_;
};

}  // namespace raison
