// raison eval MODEL countdown (countdown-tries, countdown-four): the built-in tasks' own report.
#include <algorithm>

#include "base/file.h"
#include "cli/console.h"
#include "cli/eval_command.h"
#include "cli/live_block.h"
#include "train/eval_countdown.h"
#include "train/eval_scaling.h"

namespace raison::cli {
namespace {

bool scales(const EvalCommand& c) { return !c.votes.empty() || !c.budgets.empty() || !c.minimums.empty(); }
// The figures of this report are those of an f32 cache.
std::string countdown_cache_type(const EvalCommand& c) { return c.cache_type.empty() ? "f32" : c.cache_type; }

std::string row(const char* label, const std::string& sampled, const std::string& greedy) {
  return fmt::format("{:<30}{:>12}{:>12}\n", label, sampled, greedy);
}

std::string table(const CountdownReport& r) {
  const auto both = [&](const char* label, auto value) {
    return row(label, r.sampled.problems > 0 ? value(r.sampled) : "-", r.greedy.problems > 0 ? value(r.greedy) : "-");
  };
  using S = const CountdownScore&;
  std::string out = row((r.task + ", held out").c_str(), "T = 1", "greedy");
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

Status write_countdown_json(const EvalCommand& options, nlohmann::ordered_json j, const LoadedModel& m) {
  if (options.json.empty()) return {};
  j["model"] = m.files.path;
  if (!options.adapter.empty()) j["adapter"] = options.adapter;
  j["task"] = options.tasks.front();
  j["seed"] = options.seed();
  j["cache_type"] = countdown_cache_type(options);
  j["kernels"] = m.kernels->name;
  return write_eval_json(options.json, j);
}

// An option that only data sets know; empty: none.
std::string foreign_option(const EvalCommand& c) {
  const SamplingOptions& s = c.sampling;
  const ThinkingOptions& t = c.thinking;
  if (s.temp || s.top_p || s.min_p || s.typical_p || s.repeat_penalty || s.presence_penalty || s.frequency_penalty || s.top_k ||
      s.no_repeat_ngram || s.max_tokens || !s.stop.empty())
    return "a setting of the sampler other than --seed";
  if (t.think || t.budget || t.minimum || !t.effort.empty() || !t.marks.empty() || !t.satisfied_by.empty() || t.loops)
    return "a bound of thinking other than --budgets and --minimums";
  const std::pair<const char*, bool> others[] = {{"--verifier", !c.verifier.empty()},
                                                 {"--verifier-options", !c.verifier_options.empty()},
                                                 {"--system", !c.system.empty()},
                                                 {"--prompt-suffix", !!c.suffix},
                                                 {"--samples-file", !c.samples_file.empty()},
                                                 {"--ctx", c.context > 0},
                                                 {"--together", c.together != 256},
                                                 {"--cache-memory", !!c.cache_memory}};
  for (const auto& [name, given] : others)
    if (given) return name;
  return "";
}

std::function<void(int64_t, int64_t)> live_count() {
  if (!stderr_is_terminal()) return {};
  return [](int64_t done, int64_t total) {
    show_progress(fmt::format("{} of {}", done, total));
    if (done == total) clear_progress();
  };
}

Result<int> run_scaling(const EvalCommand& options, const SyntheticTask& task, LoadedModel& m) {
  ScalingOptions o;
  o.votes = options.votes;
  o.budgets = options.budgets;
  o.minimums = options.minimums;
  for (auto* list : {&o.votes, &o.budgets, &o.minimums}) {
    std::sort(list->begin(), list->end());
    list->erase(std::unique(list->begin(), list->end()), list->end());
  }
  o.problems = options.samples >= 0 ? options.samples : 256;
  o.sample_seed = options.seed();
  RAISON_ASSIGN(o.cache_type, cache_type_for(*m.model, countdown_cache_type(options)));
  o.adapter = m.adapter;
  o.progress = live_count();
  RAISON_ASSIGN(const ScalingReport report, evaluate_scaling(*m.model, *m.text.tokenizer, *m.pool, *m.kernels, task, o));
  put(scaling_table(report));
  RAISON_RETURN_IF_ERROR(write_countdown_json(options, scaling_report_json(report), m));
  if (!options.plot.empty()) RAISON_RETURN_IF_ERROR(write_file_atomic(options.plot, scaling_report_svg(report)));
  return 0;
}

}  // namespace

Result<int> run_countdown_eval(const EvalCommand& options) {
  if (!options.plot.empty() && !scales(options))
    return error("--plot draws curves: give --scaling, --votes, --budgets or --minimums too");
  if (options.greedy >= 0 && scales(options))
    return error("--greedy has no use with --scaling, --votes, --budgets or --minimums; leave it out");
  if (const std::string extra = foreign_option(options); !extra.empty())
    return error(
        "{} has no use in the own report of a built-in Countdown task; give --limit N too, and it is asked as a data set would "
        "be",
        extra);
  RAISON_RETURN_IF_ERROR(check_writable({options.json, options.plot}));
  RAISON_ASSIGN(const auto task, make_synthetic_task(options.tasks.front()));
  RAISON_ASSIGN(auto m, load_for_use(options.model, options.threads, true, options.load, options.adapter));
  if (scales(options)) return run_scaling(options, *task, *m);
  CountdownEvalOptions eval;
  eval.sampled = options.samples >= 0 ? options.samples : 1024;
  eval.greedy = options.greedy >= 0 ? options.greedy : (eval.sampled + 1) / 2;
  eval.sample_seed = options.seed();
  RAISON_ASSIGN(eval.cache_type, cache_type_for(*m->model, countdown_cache_type(options)));
  eval.adapter = m->adapter;
  eval.progress = live_count();
  RAISON_ASSIGN(const CountdownReport report,
                evaluate_countdown(*m->model, *m->text.tokenizer, *m->pool, *m->kernels, *task, eval));
  put(table(report));
  RAISON_RETURN_IF_ERROR(write_countdown_json(options, countdown_report_json(report), *m));
  return 0;
}

}  // namespace raison::cli
