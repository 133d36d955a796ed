// Prompts: the questions that a policy is taught by: of files, or of a built-in task. The n-th prompt of a run is a function of (data, seed, n)
// alone, so a run is resumed by naming how many it has taken.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/thinking.h"
#include "train/data.h"
#include "train/recipe.h"
#include "train/rollouts.h"
#include "train/synthetic_task.h"
#include "verify/verifier.h"

namespace raison {

struct TrainPrompt : RolloutPrompt {
  std::shared_ptr<const Question> question;  // never null
  std::string where;                         // "FILE:LINE", or empty: made by a task
};

class PromptSource {
 public:
  virtual ~PromptSource() = default;
  virtual TrainPrompt at(uint64_t n) = 0;
  virtual std::vector<TrainPrompt> validation(int64_t n) const = 0;  // fixed ones, held out from at(); at most n, may be empty
  virtual uint64_t fingerprint() const = 0;
  virtual std::vector<const TrainPrompt*> all() const { return {}; }  // of files, held-out ones too
};

// One line of a file of prompts: {"messages": [...]}, or {"prompt": text or [...]}, or "question", or "problem"; all else in it is the
// verifiers'. `thinking` decides how the chat template asks for thoughts. Error: without the file's name.
Result<TrainPrompt> read_prompt(const nlohmann::ordered_json& record, const TextCodec& codec, const Thinking& thinking,
                                const RolloutRecipe& rollout);

// Lines longer than `longest` tokens are left out, with a notice. Error: "FILE:LINE: what".
Result<std::unique_ptr<PromptSource>> make_prompt_source(const Recipe& recipe, const TextCodec& codec, const Thinking& thinking,
                                                         int64_t longest, std::vector<std::string>* notices);

}  // namespace raison
