#include "cli/thinking.h"

#include <algorithm>

#include "cli/commands.h"
#include "cli/console.h"

namespace raison::cli {
namespace {

// Where a template has no levels of its own: how many tokens a thought may have. High is without bound.
struct EffortLevel {
  const char* name;
  int64_t budget;
};
constexpr EffortLevel kEfforts[] = {{"low", 1024}, {"medium", 4096}, {"high", -1}};

const EffortLevel* find_effort(const std::string& name) {
  for (const EffortLevel& e : kEfforts)
    if (name == e.name) return &e;
  return nullptr;
}

bool asks_for_thoughts(const ThinkingOptions& o) {
  return o.think == std::optional<bool>(true) || o.budget || o.minimum || !o.effort.empty() || !o.marks.empty() ||
         !o.satisfied_by.empty();
}

Result<int32_t> token_of(const TextSide& text, const std::string& piece) {
  if (const auto id = text.tokenizer->id_of(piece)) return *id;
  const auto ids = text.tokenizer->encode(piece);
  if (ids.ok() && ids->size() == 1) return ids->front();
  return error("{} is no single token of this model, so it can't be counted; raison tokenize shows tokens", quote_text(piece));
}

}  // namespace

void ThinkingOptions::add_to(CLI::App* command) {
  const std::string group = "Thinking (for models that think)";
  command
      ->add_flag_function(
          "--think,!--no-think", [this](int64_t n) { think = n > 0; }, "Think first, or answer at once (default: think)")
      ->group(group);
  command->add_option("--budget", budget, "Tokens of a thought at most; it is then closed, and the answer follows")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->type_name("N")
      ->group(group);
  command->add_option("--minimum", minimum, "Tokens of a thought at least; it can't end before")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->type_name("N")
      ->group(group);
  command
      ->add_option("--effort", effort,
                   "low (1,024 tokens), medium (4,096) or high (no bound), or the model's own levels if it has such")
      ->type_name("LEVEL")
      ->group(group);
  command->add_option("--count", marks, "Budget and minimum count these tokens in a thought, not all: --count lo,hi,yes")
      ->delimiter(',')
      ->type_name("TEXT,...")
      ->group(group);
  command->add_option("--until", satisfied_by, "This token in a thought ends the minimum early")
      ->type_name("TEXT")
      ->group(group);
  command->add_flag("--loops", loops, "Let thoughts go round in circles (default: closed after 6 rounds)")->group(group);
}

Result<Thinking> thinking_of(TextSide& text, int64_t vocab) {
  Thinking t;
  if (!text.tokenizer) return t;
  RAISON_ASSIGN(t, find_thinking(text.chat_template.get(), *text.tokenizer, vocab));
  keep_marks(t, &text.stop_ids);
  return t;
}

namespace {

Result<ThinkPrompt> render_prompt(const TextSide& text, const ThinkFormat* format, const nlohmann::ordered_json& messages,
                                  const ThinkingOptions& options) {
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
  variables["messages"] = messages;
  variables["bos_token"] = text.bos_text;
  variables["eos_token"] = text.eos_text;
  ThinkOptions how;
  if (format) how.thinking = options.think.value_or(true);
  if (format && !format->effort_variable.empty()) how.effort = options.effort;
  return think_prompt(*text.chat_template, format, std::move(variables), how);
}

}  // namespace

Status check_thinking(const TextSide& text, const Thinking& thinking, const ThinkingOptions& options) {
  if (!text.chat_template || !thinking.format) return {};
  const nlohmann::ordered_json question = nlohmann::ordered_json::array({{{"role", "user"}, {"content", "?"}}});
  RAISON_RETURN_IF_ERROR(render_prompt(text, &*thinking.format, question, options));
  return {};
}

Result<ModelPrompt> make_prompt(const TextSide& text, const Thinking& thinking, const nlohmann::ordered_json& messages,
                                const std::string& last, bool raw, const ThinkingOptions& options) {
  ModelPrompt out;
  const ThinkFormat* format = thinking.format ? &*thinking.format : nullptr;
  if (!format && asks_for_thoughts(options))
    return error("{}: this model does not think, so there is no thought to steer", text.path);
  if (raw || !text.chat_template) {
    RAISON_ASSIGN(out.tokens, text.tokenizer->encode(last));
    if (out.tokens.empty() && text.tokenizer->bos()) out.tokens.push_back(*text.tokenizer->bos());
    if (format) out.start = phase_of(think_start_after_raw(*format, last));
  } else {
    RAISON_ASSIGN(const ThinkPrompt prompt, render_prompt(text, format, messages, options));
    RAISON_ASSIGN(out.tokens, text.tokenizer->encode(prompt.text, {false, true}));
    if (format) out.start = phase_of(prompt.start);
  }
  if (out.tokens.empty()) return error("the prompt is empty, and the model has no token to begin a text with; give some text");
  return out;
}

Result<ThinkLimits> think_limits(const TextSide& text, const Thinking& thinking, const ThinkingOptions& options) {
  ThinkLimits limits;
  if (!thinking.format) return limits;
  limits.loop_guard = !options.loops;
  if (!options.effort.empty() && thinking.format->effort_variable.empty()) {
    const EffortLevel* level = find_effort(options.effort);
    if (!level) return error("no effort \"{}\"; there are low, medium and high", options.effort);
    limits.budget = level->budget;
  }
  if (options.budget) limits.budget = *options.budget;
  if (options.minimum) limits.minimum = *options.minimum;
  for (const std::string& piece : options.marks) {
    RAISON_ASSIGN(const int32_t id, token_of(text, piece));
    limits.marks.push_back(id);
  }
  if (!options.satisfied_by.empty()) { RAISON_ASSIGN(limits.satisfied_by, token_of(text, options.satisfied_by)); }
  RAISON_RETURN_IF_ERROR(limits.validate());
  return limits;
}

}  // namespace raison::cli
