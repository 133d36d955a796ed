// raison eval: how often a model is right.
#include <algorithm>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/live_block.h"
#include "cli/session.h"
#include "train/countdown_task.h"
#include "train/eval_countdown.h"
#include "train/eval_scaling.h"

namespace raison::cli {
namespace {

struct EvalOptions {
  std::string model, task, json, plot, cache_type, adapter;
  int64_t samples = -1, greedy = -1;
  std::vector<int64_t> votes, budgets, minimums;
  bool scales() const { return !votes.empty() || !budgets.empty() || !minimums.empty(); }
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

std::string curves_table(const char* title, const char* head, const std::vector<ScalingCurve>& curves) {
  if (curves.empty()) return "";
  std::string out = fmt::format("\n{}\n{:>8}", title, head);
  for (const ScalingCurve& c : curves) out += fmt::format("{:>26}", curves.size() > 1 ? c.label : "right");
  out += fmt::format("{:>12}\n", "tokens");
  for (size_t i = 0; i < curves.front().points.size(); ++i) {
    out += fmt::format("{:>8}", curves.front().points[i].x);
    for (const ScalingCurve& c : curves) {
      const ScalingPoint& p = c.points[i];
      out += fmt::format("{:>26}", fmt::format("{} ({:.1f} to {:.1f})", percent(p.accuracy), 100 * p.low, 100 * p.high));
    }
    out += fmt::format("{:>12.1f}\n", curves.front().points[i].tokens);
  }
  return out;
}

std::string scaling_table(const ScalingReport& r) {
  std::string out =
      fmt::format("{}, held out: {} problems, one sample each: {} ({:.1f} to {:.1f}), {:.1f} tokens\n", r.task, r.problems,
                  percent(r.single.accuracy), 100 * r.single.low, 100 * r.single.high, r.single.tokens);
  out += curves_table("Thinking in parallel: right answers by votes", "votes", r.votes);
  out += curves_table("Thinking is cut short: closed after so many failed tries", "tries", r.budgets);
  out += curves_table("Thinking is kept open: for so many tries, or until one succeeds", "tries", r.minimums);
  return out + "(in brackets: 95 % intervals; tokens: generated for one problem)\n";
}

void write_header(nlohmann::ordered_json* j, const EvalOptions& options, const LoadedModel& m) {
  (*j)["model"] = m.files.path;
  if (!options.adapter.empty()) (*j)["adapter"] = options.adapter;
  (*j)["task"] = options.task;
  (*j)["seed"] = options.seed;
  (*j)["cache_type"] = options.cache_type;
  (*j)["kernels"] = m.kernels->name;
}

Status write_json(const EvalOptions& options, nlohmann::ordered_json j, const LoadedModel& m) {
  if (options.json.empty()) return {};
  write_header(&j, options, m);
  return write_file_atomic(options.json, j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::function<void(int64_t, int64_t)> live_count() {
  if (!stderr_is_terminal()) return {};
  return [](int64_t done, int64_t total) {
    show_progress(fmt::format("{} of {}", done, total));
    if (done == total) clear_progress();
  };
}

Result<int> run_scaling(const EvalOptions& options, LoadedModel& m) {
  ScalingOptions o;
  o.votes = options.votes;
  o.budgets = options.budgets;
  o.minimums = options.minimums;
  for (auto* list : {&o.votes, &o.budgets, &o.minimums}) {
    std::sort(list->begin(), list->end());
    list->erase(std::unique(list->begin(), list->end()), list->end());
  }
  o.problems = options.samples >= 0 ? options.samples : 256;
  o.sample_seed = options.seed;
  RAISON_ASSIGN(o.cache_type, cache_type_for(*m.model, options.cache_type));
  o.adapter = m.adapter;
  o.progress = live_count();
  RAISON_ASSIGN(const ScalingReport report,
                evaluate_scaling(*m.model, *m.text.tokenizer, *m.pool, *m.kernels, CountdownTask(), o));
  put(scaling_table(report));
  RAISON_RETURN_IF_ERROR(write_json(options, scaling_report_json(report), m));
  if (!options.plot.empty()) RAISON_RETURN_IF_ERROR(write_file_atomic(options.plot, scaling_report_svg(report)));
  return 0;
}

Result<int> run_eval(const EvalOptions& options) {
  if (!options.plot.empty() && !options.scales())
    return error("--plot draws curves: give --scaling, --votes, --budgets or --minimums too");
  if (options.greedy >= 0 && options.scales())
    return error("--greedy has no use with --scaling, --votes, --budgets or --minimums; leave it out");
  // Tried before the work (and removed again), so that none is lost on a name that can't be written.
  for (const std::string* file : {&options.json, &options.plot})
    if (!file->empty()) RAISON_RETURN_IF_ERROR(AtomicFile::create(*file));
  RAISON_ASSIGN(auto m, load_for_use(options.model, options.threads, true, options.load, options.adapter));
  if (options.scales()) return run_scaling(options, *m);
  CountdownEvalOptions eval;
  eval.sampled = options.samples >= 0 ? options.samples : 1024;
  eval.greedy = options.greedy >= 0 ? options.greedy : (eval.sampled + 1) / 2;
  eval.sample_seed = options.seed;
  RAISON_ASSIGN(eval.cache_type, cache_type_for(*m->model, options.cache_type));
  eval.adapter = m->adapter;
  eval.progress = live_count();
  RAISON_ASSIGN(const CountdownReport report, evaluate_countdown(*m->model, *m->text.tokenizer, *m->pool, *m->kernels, eval));
  put(table(report));
  RAISON_RETURN_IF_ERROR(write_json(options, countdown_report_json(report), *m));
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
  command->add_option("--samples", options->samples, "Held-out problems asked at temperature 1 (default: 1024; 256 for curves)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->type_name("N");
  command->add_option("--greedy", options->greedy, "How many of them are asked greedily too (default: half)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->type_name("N");
  add_list_option(command, "--votes", &options->votes, 1, 1024, "Accuracy of votes over that many samples");
  add_list_option(command, "--budgets", &options->budgets, 0, 1 << 20,
                  "Accuracy if thoughts are closed after that many failed tries");
  add_list_option(command, "--minimums", &options->minimums, 0, 1 << 20,
                  "Accuracy if thoughts are kept open for that many tries, or until one succeeds");
  command->add_flag_callback(
      "--scaling",
      [options] {
        options->votes = {1, 2, 4, 8, 16};
        options->budgets = {1, 2, 4, 8, 12, 16, 20};
        options->minimums = {0, 2, 4, 8, 16};
      },
      "All three: 1 to 16 votes, 1 to 20 tries at most, 0 to 16 at least");
  command->add_option("--plot", options->plot, "Draw these curves into this SVG file")->type_name("F");
  add_seed_option(command, &options->seed, "Seed of the sampling (default: 1)");
  command->add_option("--json", options->json, "Write the figures to this file too")->type_name("F");
  add_cache_type_option(command, &options->cache_type, "f32");
  add_adapter_option(command, &options->adapter);
  add_weights_memory_option(command, &options->load.weights_memory);
  add_threads_option(command, &options->threads);
  command->footer(
      "The same seed gives the same figures on any machine and with any number of threads.\n\n"
      "Examples:\n  raison eval models/countdown-base countdown --samples 256\n"
      "  raison eval models/countdown-base countdown --scaling --plot scaling.svg");
  command->callback([options, &action] { action = [options] { return run_eval(*options); }; });
}

}  // namespace raison::cli
