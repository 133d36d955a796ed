// StepInFlight: the rollouts of a step that is not yet an update, and their rewards: what a checkpoint holds of it, so that a run that is stopped in
// the middle of its rollouts draws none of them again.
#pragma once
#include <string>
#include <vector>

#include "train/prompts.h"
#include "train/rewards.h"

namespace raison {

// Prompts drawn together: all of a step's, or with dynamic sampling one of several rounds.
struct RolloutDraw {
  std::vector<TrainPrompt> prompts;
  std::vector<Rollout> rollouts;  // [prompts * group]; those that are not finished() are to be drawn
  RewardScores scores;            // of the first ones, in order, once all are finished
  bool judged() const { return !rollouts.empty() && scores.size() == rollouts.size(); }
};

struct StepInFlight {
  std::vector<RolloutDraw> draws;
  int64_t finished() const;
};

// Finished rollouts and rewards; prompts are known again by their numbers.
Status write_step_in_flight(const std::string& path, const StepInFlight& step);
// Error: what the file says is not of such a step.
Result<StepInFlight> read_step_in_flight(const std::string& path);

}  // namespace raison
