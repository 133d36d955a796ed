// raison run: one answer, or a chat.
#include <memory>

#include "cli/chat.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/hub_session.h"

namespace raison::cli {

namespace {

struct Command {
  RunOptions run;
  TextInput input;
};

Result<int> answer_once(LoadedModel& m, const Thinking& thinking, Engine& engine, const RunOptions& options,
                        const std::string& prompt) {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  if (!options.system.empty()) messages.push_back({{"role", "system"}, {"content", options.system}});
  messages.push_back({{"role", "user"}, {"content", lossy_utf8(prompt)}});
  if (!options.raw && m.text.chat_template && prompt.find_first_not_of(" \t\r\n") == std::string::npos)
    return error("the question is empty; give it with -p or -f, or on standard input");
  catch_interrupts();
  RAISON_ASSIGN(const Reply reply, ask(m, thinking, engine, options, &messages, prompt));
  if (!output_status().ok()) return 1;  // main says why
  if (!options.system.empty() && (options.raw || !m.text.chat_template))
    note("raison: note: --system has no use without a chat template");
  if (!options.raw && !m.text.chat_template)
    note("raison: note: the model has no chat template: it continues the text as it stands");
  if (reply.thought_tokens > 0 && !stdout_is_terminal())
    note(thought_line(reply.thought_tokens, reply.thought_seconds, reply.thought_end));
  note(stats_line(reply));
  return reply.finish == FinishReason::Cancelled ? 130 : 0;
}

Result<int> run_command(const Command& command) {
  RunOptions options = command.run;
  // The bundled models' one task is known.
  if (options.vote.answers.empty())
    options.vote.answers = options.model.empty() || is_bundled(options.model) ? "countdown" : "final";
  const bool chat = !command.input.has_text && command.input.file.empty() && stdin_is_terminal();
  RAISON_RETURN_IF_ERROR(resolve_sampling(options.sampling, {}));  // before any file is read
  RAISON_RETURN_IF_ERROR(options.vote.check());
  std::string prompt;
  if (!chat) { RAISON_ASSIGN(prompt, read_text(command.input)); }
  RAISON_ASSIGN(const auto model, find_or_pull(options.model));
  if (!model) return 130;
  RAISON_ASSIGN(auto m, load_for_use(*model, options.threads, true, options.load, options.adapter));
  const int64_t limit = m->model->info().context_length;
  if (options.context > limit) return error("--ctx {} is more than the model's context of {}", options.context, limit);
  EngineOptions engine_options;
  RAISON_ASSIGN(engine_options.cache_type, cache_type_for(*m->model, options.cache_type));
  engine_options.context = options.context;
  engine_options.cache_bytes = options.cache_memory.value_or(0);
  Engine engine(*m->model, *m->pool, *m->kernels, engine_options);
  RAISON_ASSIGN(const Thinking thinking, thinking_of(m->text, m->model->info().vocab));
  return chat ? run_chat(*m, thinking, engine, options) : answer_once(*m, thinking, engine, options, prompt);
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  auto options = std::make_shared<Command>();
  CLI::App* command = app.add_subcommand("run", "Ask a model, or chat with it");
  command->add_option("MODEL", options->run.model, "Model folder, GGUF file or ID on the hub (default: the bundled model)");
  CLI::Option* prompt = command->add_option("-p,--prompt", options->input.text, "The question")->type_name("TEXT");
  CLI::Option* file = command->add_option("-f,--file", options->input.file, "Read the question from a file")->type_name("FILE");
  file->excludes(prompt);
  command->add_option("--system", options->run.system, "System message")->type_name("TEXT");
  command->add_flag("--raw", options->run.raw, "No chat template: continue the text as it stands");
  command->add_option("--ctx", options->run.context, "Positions a conversation may use (default: the model's)")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 24))
      ->type_name("N");
  command->add_flag("--context-shift", options->run.context_shift,
                    "A conversation that outgrows the context loses its oldest turns (default: it is refused)");
  add_cache_type_option(command, &options->run.cache_type, "");
  add_cache_memory_option(command, &options->run.cache_memory);
  add_adapter_option(command, &options->run.adapter);
  add_weights_memory_option(command, &options->run.load.weights_memory);
  add_threads_option(command, &options->run.threads);
  options->run.thinking.add_to(command);
  command
      ->add_flag("--show-thinking", options->run.show_thinking,
                 "Thoughts stay on the terminal (default: they shrink to one line when done)")
      ->group("Thinking (for models that think)");
  options->run.vote.add_to(command);
  options->run.sampling.add_to(command);
  command->footer(
      "Without -p and -f the question is read from standard input; if that is a terminal, a chat begins (/help there).\n"
      "In a pipe, thoughts stand between the lines <think> and </think>. Ctrl+C stops a reply; in a chat Ctrl+E ends a "
      "thought.\n\n"
      "Examples:\n  raison run model/ -p \"How many primes lie below 30?\"\n  raison run model.gguf --temp 0 < question.txt\n"
      "  raison run deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B        (downloaded if need be, as by `raison pull`)\n"
      "  raison run -p \"2 4 8 -> 24\" --temp 1 --vote 16 --vote-by self-verified\n"
      "  raison run stories.gguf --raw -p \"Once upon a time\" --max-tokens 100");
  command->callback([options, prompt, &action] {
    options->input.has_text = prompt->count() > 0;
    action = [options] { return run_command(*options); };
  });
}

}  // namespace raison::cli
