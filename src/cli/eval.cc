// raison eval: how often a model is right.
#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/eval_command.h"
#include "train/eval_countdown.h"

namespace raison::cli {
namespace {

std::string known_tasks() {
  std::string out;
  for (const EvalPreset& p : eval_presets()) out += std::string(out.empty() ? "" : ", ") + p.name;
  for (const std::string& name : synthetic_task_names())
    if (!find_eval_preset(name)) out += ", " + name;
  return out;
}

// NAME[=FILE] of a task that is known, or a file. What else is wrong is found when all is read.
std::string check_task_word(std::string& word) {
  std::error_code ec;
  const bool known = find_eval_preset(word) || is_synthetic_task(word) || word.find('=') != std::string::npos ||
                     word.find_first_of("./") != std::string::npos || std::filesystem::exists(word, ec);
  return known ? "" : fmt::format("no task is called \"{}\"; there are {}, and any file with --verifier", word, known_tasks());
}

void add_task_options(CLI::App* command, const std::shared_ptr<EvalCommand>& o) {
  const std::string group = "Questions";
  command
      ->add_option(
          "--samples", o->samples,
          "Samples of each question (default: 1; aime24: 8); of a built-in Countdown task, without --limit, the problems "
          "asked at temperature 1 (default: 1024; 256 for curves)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->type_name("N")
      ->group(group);
  command->add_option("--limit", o->limit, "Ask only the first so many questions (default: all; 256 of a built-in task)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->type_name("N")
      ->group(group);
  command->add_option("--verifier", o->verifier, "Who judges the answers to your own file; replaces a known task's own")
      ->check(CLI::IsMember(verifier_names()))
      ->type_name("NAME")
      ->group(group);
  command->add_option("--verifier-options", o->verifier_options, "Its settings, as a JSON object: {\"division\": false}")
      ->type_name("JSON")
      ->group(group);
  command->add_option("--system", o->system, "System message before every question")->type_name("TEXT")->group(group);
  command
      ->add_option("--prompt-suffix", o->suffix,
                   std::string("A line behind every question; \"\" is none (default for mathematics: ") + kBoxedSuffix + ")")
      ->type_name("TEXT")
      ->group(group);
}

void add_figure_options(CLI::App* command, const std::shared_ptr<EvalCommand>& o) {
  const std::string group = "Figures";
  add_list_option(command, "--votes", &o->votes, 1, 1 << 16,
                  "The k of pass@k and of votes (default: 1, 2, 4 ... up to the samples)")
      ->group(group);
  add_list_option(
      command, "--budgets", &o->budgets, 0, 1 << 24,
      "Ask once for each: thoughts are closed after that many tokens (of a built-in Countdown task's own report: failed tries)")
      ->group(group);
  command->add_option("--json", o->json, "Write all figures, and each question's answers, to this file")
      ->type_name("FILE")
      ->group(group);
  command->add_option("--samples-file", o->samples_file, "Write every reply to this file, as JSON lines")
      ->type_name("FILE")
      ->group(group);
  command->add_option("--plot", o->plot, "Draw pass@k, votes and budgets into this SVG file")->type_name("FILE")->group(group);
  const std::string own = "The own report of the built-in Countdown tasks";
  command->add_option("--greedy", o->greedy, "How many problems are asked greedily too (default: half)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->type_name("N")
      ->group(own);
  add_list_option(command, "--minimums", &o->minimums, 0, 1 << 20,
                  "Accuracy if thoughts are kept open for that many tries, or until one succeeds")
      ->group(own);
  command
      ->add_flag_callback(
          "--scaling",
          [o] {
            o->votes = {1, 2, 4, 8, 16};
            o->budgets = {1, 2, 4, 8, 12, 16, 20};
            o->minimums = {0, 2, 4, 8, 16};
          },
          "Votes, budgets and minimums: 1 to 16 votes, 1 to 20 tries at most, 0 to 16 at least")
      ->group(own);
}

}  // namespace

Status check_writable(const std::vector<std::string>& files) {
  for (const std::string& file : files)
    if (!file.empty()) RAISON_RETURN_IF_ERROR(AtomicFile::create(file));
  return {};
}

Status write_eval_json(const std::string& file, const nlohmann::ordered_json& json) {
  return write_file_atomic(file, json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

void add_eval(CLI::App& app, Action& action) {
  auto options = std::make_shared<EvalCommand>();
  CLI::App* command = app.add_subcommand("eval", "Measure how often a model is right");
  command->add_option("MODEL", options->model, "Model folder, GGUF file or ID of the hub")->required();
  std::string about = "NAME=FILE, one or several; or your own FILE with --verifier. Built in, without a file: " +
                      fmt::format("{}. Names:", fmt::join(synthetic_task_names(), ", "));
  for (const EvalPreset& p : eval_presets()) about += fmt::format("\n{} ({})", p.name, p.about);
  command->add_option("TASK", options->tasks, about)
      ->required()
      ->check(CLI::Validator(check_task_word, ""))
      ->type_name("TASK...");
  add_task_options(command, options);
  add_figure_options(command, options);
  command->add_option("--together", options->together, "Sequences computed together at most (default: 256)")
      ->check(CLI::Range(int64_t{1}, int64_t{4096}))
      ->type_name("N");
  command->add_option("--ctx", options->context, "Positions a sequence may use (default: the model's)")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 24))
      ->type_name("N");
  add_cache_type_option(command, &options->cache_type, "");
  add_cache_memory_option(command, &options->cache_memory);
  add_adapter_option(command, &options->adapter);
  add_weights_memory_option(command, &options->load.weights_memory);
  add_threads_option(command, &options->threads);
  options->thinking.add_to(command);
  options->sampling.add_to(command);
  command->footer(
      "Files are JSON lines as the data sets are published, or tables (.csv); your own have \"prompt\" (or \"question\",\n"
      "\"problem\", \"messages\") and what the verifier reads: \"answer\", or \"nums\" and \"target\".\n"
      "pass@k is the chance that of k samples one is right, maj@k how often the answer that most of k give is. Intervals are "
      "of\n"
      "95 %, and take the question as the unit. Ctrl+C ends early: what has come so far is reported, with exit code 130.\n"
      "The same seed (default here: 1) gives the same figures on any machine and with any number of threads.\n\n"
      "Examples:\n  raison eval MODEL gsm8k=test.jsonl --limit 200 --max-tokens 4000\n"
      "  raison eval MODEL math500=math500.jsonl aime24=aime24.jsonl --json figures.json\n"
      "  raison eval MODEL aime24=aime24.jsonl --samples 16 --budgets 1024,4096,16384 --plot budgets.svg\n"
      "  raison eval MODEL mine.jsonl --verifier math --samples 4 --samples-file replies.jsonl\n"
      "  raison eval models/countdown-base countdown --samples 256\n"
      "  raison eval models/countdown-base countdown --scaling --plot scaling.svg");
  command->callback([options, &action] {
    action = [options] {
      const bool own = options->tasks.size() == 1 && has_countdown_report(options->tasks.front()) && options->limit == 0;
      return own ? run_countdown_eval(*options) : run_task_eval(*options);
    };
  });
}

}  // namespace raison::cli
