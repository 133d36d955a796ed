// Evaluation: samples of many questions, drawn by the Engine, judged, and what they say of the model.
#pragma once
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/thinking.h"
#include "tokenizer/tokenizer.h"
#include "train/eval_stats.h"
#include "train/rollouts.h"
#include "train/synthetic_task.h"
#include "verify/judge.h"
#include "verify/verifier.h"

namespace raison {

// A question ready to be asked.
struct EvalPrompt : RolloutPrompt {
  Question question;
  nlohmann::json id;
  std::string where;      // "FILE:LINE", or empty
  bool left_out = false;  // it is too long; it keeps its place, on which the other questions' samples depend
};

struct EvalSample {
  bool finished = false;  // false: stopped before its end; nothing else here counts then
  FinishReason finish = FinishReason::None;
  Verdict::Kind verdict = Verdict::Wrong;
  std::string answer, reason;       // what the judge found, and why it is not right
  std::optional<std::string> vote;  // see ScoredSample
  bool verified = false;
  int64_t tokens = 0, thought_tokens = 0, answer_tokens = 0;
  std::string text, thought;  // only if they are to be kept
  bool right() const { return verdict == Verdict::Right; }
  bool cut_off() const { return finish != FinishReason::Stop; }
};

// Judges replies.
class EvalGrader {
 public:
  virtual ~EvalGrader() = default;
  virtual const std::string& verifier() const = 0;
  virtual bool can_self_verify() const = 0;
  // Ok if the question can be judged.
  virtual Status check(const EvalPrompt& prompt) const = 0;
  // Fills what a verdict and a vote are in samples[i], from rollouts[i], a reply to prompts[i]. Error: the judge is out of order.
  virtual Status grade(const std::vector<const EvalPrompt*>& prompts, const std::vector<const Rollout*>& rollouts,
                       bool keep_text, const std::vector<EvalSample*>& samples) = 0;
  // Answers of one question that are the same, though their votes read differently, get the vote of the first of them.
  virtual void unite(const std::vector<EvalSample*>&) const {}
};

// By a verifier (`options`: its own), whose answers vote as verify/judge.h, and in mathematics verify/math.h, tells them apart.
Result<std::unique_ptr<EvalGrader>> make_verifier_grader(const std::string& verifier, const nlohmann::json& options,
                                                         std::shared_ptr<Tokenizer> tokenizer,
                                                         std::optional<ThinkFormat> format);
// By a built-in task.
std::unique_ptr<EvalGrader> make_task_grader(std::shared_ptr<const SyntheticTask> task);
// Held-out problems of it: always the same ones, the first `count`.
std::vector<EvalPrompt> task_eval_prompts(const SyntheticTask& task, int64_t count);

struct EvalProgress {
  int64_t finished = 0, total = 0;  // samples
  int64_t judged = 0, right = 0, tokens = 0;
  double seconds = 0;
};

struct EvalOptions {
  int64_t samples = 1;  // of a question
  SamplingParams sampling;
  uint64_t seed = 1;
  int64_t max_tokens = 0;  // of a reply; 0 = what the context holds
  std::vector<int32_t> stop_ids;
  std::shared_ptr<const ThinkRules> think;
  ThinkLimits think_limits;
  int32_t adapter = -1;  // an id of the model's; -1: the base
  bool keep_text = false;
  std::vector<int64_t> votes;  // k of pass@k and of votes, ascending; those above `samples` are passed over
  std::function<bool(const EvalProgress&)> progress;  // after every step; false ends it. May be empty
};

struct EvalFigures {
  int64_t questions = 0, samples = 0;  // with a finished sample; finished
  Estimate accuracy;                   // pass@1
  struct AtK {
    int64_t k;
    Estimate estimate;
  };
  std::vector<AtK> pass, majority, self_verified;  // over questions with at least k finished samples
  double unparseable = 0, failed = 0, cut_off = 0,
         self_found = 0;  // shares of samples; self_found: thoughts that found their answer right
  double tokens = 0, thought_tokens = 0, answer_tokens = 0;  // means of samples
};

struct EvalRun {
  std::vector<std::vector<EvalSample>> samples;  // [question][sample]; none of those left out
  EvalFigures figures;
  bool whole = true;  // false: `progress` ended it, or
  std::string fault;  // a judge that broke: one line; what was judged before is here all the same
  double seconds = 0;
  int64_t tokens = 0;  // generated, by those that were stopped too
};

// Marks prompts that leave no room for an answer within so many positions (Engine::room). Returns how many.
int64_t leave_out_long(std::vector<EvalPrompt>* prompts, int64_t room);

// The samples of question q depend on the model, its prompt, (seed, q, sample) and the sampling alone. Error: no room in the cache, a judge
// that is out of order, a thought's budget that leaves no room for an answer within max_tokens.
Result<EvalRun> run_eval(Engine& engine, const std::vector<EvalPrompt>& prompts, EvalGrader& grader,
                         const EvalOptions& options);
EvalFigures eval_figures(const std::vector<std::vector<EvalSample>>& samples, const std::vector<int64_t>& votes,
                         bool self_verified);

}  // namespace raison
