// raison eval: how often a model is right.
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/session.h"
#include "train/eval_countdown.h"

namespace raison::cli {
namespace {

struct EvalOptions {
  std::string model, task, json, cache_type;
  int64_t samples = 1024, greedy = -1;
  uint64_t seed = 1;
  int threads = 0;
  LoadOptions load;
};

std::string row(const char* label, const std::string& sampled, const std::string& greedy) {
  return fmt::format("{:<30}{:>12}{:>12}\n", label, sampled, greedy);
}

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

std::string table(const CountdownReport& r) {
  const auto both = [&](const char* label, auto value) {
    return row(label, r.sampled.problems > 0 ? value(r.sampled) : "-", r.greedy.problems > 0 ? value(r.greedy) : "-");
  };
  using S = const CountdownScore&;
  std::string out = row("countdown, held out", "T = 1", "greedy");
  out += both("problems", [](S s) { return fmt::format("{}", s.problems); });
  out += both("right", [](S s) { return percent(s.accuracy); });
  out += both("tokens in a reply", [](S s) { return fmt::format("{:.1f}", s.length); });
  out += both("cut off", [](S s) { return percent(s.truncated); });
  out += both("equations right", [](S s) { return s.equations > 0 ? percent(s.arithmetic) : std::string("-"); });
  out += both("verdicts right", [](S s) { return s.verdict_count > 0 ? percent(s.verdicts) : std::string("-"); });
  out += both("tries in a thought", [](S s) { return fmt::format("{:.1f}", s.leaves); });
  out += both("seconds", [](S s) { return fmt::format("{:.1f}", s.seconds); });
  return out;
}

Result<int> run_eval(const EvalOptions& options) {
  // Tried before the work (and removed again), so that none is lost on a name that can't be written.
  if (!options.json.empty()) RAISON_RETURN_IF_ERROR(AtomicFile::create(options.json));
  RAISON_ASSIGN(auto m, load_for_use(options.model, options.threads, true, options.load));
  CountdownEvalOptions eval;
  eval.sampled = options.samples;
  eval.greedy = options.greedy >= 0 ? options.greedy : (options.samples + 1) / 2;
  eval.sample_seed = options.seed;
  eval.cache_type = cache_type_from(options.cache_type);
  const bool live = stderr_is_terminal();
  if (live)
    eval.progress = [](int64_t done, int64_t total) {
      fprintf(stderr, "\r\033[K%lld of %lld", static_cast<long long>(done), static_cast<long long>(total));
    };
  const auto report = evaluate_countdown(*m->model, *m->text.tokenizer, *m->pool, *m->kernels, eval);
  if (live) fprintf(stderr, "\r\033[K");
  if (!report.ok()) return report.error();
  put(table(*report));
  if (!options.json.empty()) {
    nlohmann::ordered_json j = countdown_report_json(*report);
    j["model"] = m->files.path;
    j["task"] = options.task;
    j["seed"] = options.seed;
    j["cache_type"] = options.cache_type;
    j["kernels"] = m->kernels->name;
    const std::string text = j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    RAISON_RETURN_IF_ERROR(write_file_atomic(options.json, text));
  }
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command = app.add_subcommand("eval", "Measure how often a model is right");
  command->add_option("MODEL", options->model, "Model folder, GGUF file or ID of the hub")->required();
  command->add_option("TASK", options->task, "countdown: combine three numbers to reach a target")
      ->required()
      ->check(CLI::IsMember({"countdown"}))
      ->type_name("countdown");
  command->add_option("--samples", options->samples, "Held-out problems asked at temperature 1 (default: 1024)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->type_name("N");
  command->add_option("--greedy", options->greedy, "How many of them are asked greedily too (default: half)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->type_name("N");
  add_seed_option(command, &options->seed, "Seed of the sampling (default: 1)");
  command->add_option("--json", options->json, "Write the figures to this file too")->type_name("F");
  add_cache_type_option(command, &options->cache_type, "f32");
  add_weights_memory_option(command, &options->load.weights_memory);
  add_threads_option(command, &options->threads);
  command->footer(
      "The same seed gives the same figures on any machine and with any number of threads.\n\n"
      "Example:\n  raison eval models/countdown-base countdown --samples 256");
  command->callback([options, &action] { action = [options] { return run_eval(*options); }; });
}

}  // namespace raison::cli
