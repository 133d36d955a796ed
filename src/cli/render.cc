// raison render: what the chat template makes of a conversation.
#include <memory>

#include "base/json_depth.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/session.h"

namespace raison::cli {
namespace {

struct RenderOptions {
  std::string model, messages, system;
  TextInput input;
  bool no_generation_prompt = false;
};

Result<nlohmann::ordered_json> read_messages(const std::string& path) {
  TextInput input;
  input.file = path;
  RAISON_ASSIGN(const std::string text, read_text(input));
  if (json_too_deep_at(text) != kShallow) return error("{}: JSON nested more than {} deep", path, kMaxJsonDepth);
  auto parsed = nlohmann::ordered_json::parse(text, nullptr, false);
  if (parsed.is_discarded()) return error("{}: not valid JSON", path);
  if (parsed.is_object() && parsed.contains("messages")) parsed = nlohmann::ordered_json(parsed["messages"]);
  if (!parsed.is_array()) return error("{}: should be a list of messages [{{\"role\": ..., \"content\": ...}}]", path);
  for (const auto& message : parsed)
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string())
      return error("{}: every message must be an object with a \"role\"", path);
  return parsed;
}

Result<int> run_render(const RenderOptions& options) {
  RAISON_ASSIGN(const std::string path, resolve_model(options.model));
  RAISON_ASSIGN(const TextSide text, load_text_side(path));
  if (!text.chat_template) return error("{}: the model has no chat template", path);
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  if (!options.messages.empty()) {
    RAISON_ASSIGN(messages, read_messages(options.messages));
  } else {
    RAISON_ASSIGN(const std::string prompt, read_text(options.input));
    if (!options.system.empty()) messages.push_back({{"role", "system"}, {"content", options.system}});
    messages.push_back({{"role", "user"}, {"content", lossy_utf8(prompt)}});
  }
  RAISON_ASSIGN(const std::string prompt, text.render(messages, !options.no_generation_prompt));
  put(stdout_is_terminal() ? terminal_safe(prompt) : prompt);
  // A shell's prompt should not follow on the same line; in a pipe the bytes stay exactly the template's.
  if (stdout_is_terminal() && (prompt.empty() || prompt.back() != '\n')) put("\n");
  return 0;
}

}  // namespace

void add_render(CLI::App& app, Action& action) {
  auto options = std::make_shared<RenderOptions>();
  CLI::App* command = app.add_subcommand("render", "Show the prompt that the chat template makes");
  command->add_option("MODEL", options->model, "Model folder, tokenizer folder or GGUF file")->required();
  CLI::Option* prompt = command->add_option("-p,--prompt", options->input.text, "What the user says")->type_name("TEXT");
  CLI::Option* file = command->add_option("-f,--file", options->input.file, "Read it from a file")->type_name("FILE");
  CLI::Option* messages =
      command->add_option("--messages", options->messages, "A JSON file with a list of messages")->type_name("FILE.json");
  CLI::Option* system = command->add_option("--system", options->system, "System message")->type_name("TEXT");
  command->add_flag("--no-generation-prompt", options->no_generation_prompt, "Do not open the assistant's turn");
  file->excludes(prompt);
  messages->excludes(prompt)->excludes(file)->excludes(system);
  command->footer(
      "Examples:\n  raison render model/ -p \"Hello\"\n  raison render model/ --messages chat.json --no-generation-prompt");
  command->callback([options, prompt, &action] {
    options->input.has_text = prompt->count() > 0;
    action = [options] { return run_render(*options); };
  });
}

}  // namespace raison::cli
