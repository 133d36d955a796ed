// What the command line says of thinking, and what a loaded model can do of it.
#pragma once
#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/session.h"
#include "engine/thinking.h"

namespace raison::cli {

struct ThinkingOptions {
  std::optional<bool> think;               // unset: it thinks if it can
  std::optional<int64_t> budget, minimum;  // tokens of a thought, or marks
  std::string effort;                      // low, medium, high, or a level of the template's own; empty: unset
  std::vector<std::string> marks;          // what budget and minimum count instead of tokens, by the tokens' texts
  std::string satisfied_by;                // the token that ends the minimum early
  bool loops = false;                      // thoughts may go round in circles

  void add_to(CLI::App* command);
};

// Takes the marks of thoughts out of the text side's stop ids.
Result<Thinking> thinking_of(TextSide& text, int64_t vocab);

struct ModelPrompt {
  std::vector<int32_t> tokens;
  ThinkPhase start = ThinkPhase::None;
};
// The prompt of a conversation by the chat template; or, if `raw` or there is none, `last` as it stands.
Result<ModelPrompt> make_prompt(const TextSide& text, const Thinking& thinking, const nlohmann::ordered_json& messages,
                                const std::string& last, bool raw, const ThinkingOptions& options);
// Errors of the options that make_prompt would find, whatever the question.
Status check_thinking(const TextSide& text, const Thinking& thinking, const ThinkingOptions& options);
// Error: a bound without a thought to bind, marks that are no tokens of the model, crossed bounds.
Result<ThinkLimits> think_limits(const TextSide& text, const Thinking& thinking, const ThinkingOptions& options);

}  // namespace raison::cli
