// What raison eval shows of a task.
#include <algorithm>

#include "cli/console.h"
#include "cli/eval_command.h"

namespace raison::cli {
namespace {

std::string with_interval(const Estimate& e) {
  return fmt::format("{:>8}  ({:.1f} to {:.1f})", percent(e.value), 100 * e.low, 100 * e.high);
}

double tokens_per_second(const EvalRun& r) { return static_cast<double>(r.tokens) / std::max(r.seconds, 1e-9); }

std::string run_rows(const EvalRun& r) {
  const EvalFigures& f = r.figures;
  std::string out;
  const auto line = [&](const std::string& label, const std::string& value) {
    out += fmt::format("  {:<22}{}\n", label, value);
  };
  const auto curve = [&](const char* name, const std::vector<EvalFigures::AtK>& list) {
    for (const auto& [k, estimate] : list)
      if (k > 1) line(fmt::format("{}@{}", name, k), with_interval(estimate));
  };
  line("pass@1", with_interval(f.accuracy));
  curve("pass", f.pass);
  curve("maj", f.majority);
  curve("self-verified", f.self_verified);
  line("unparseable", fmt::format("{:>8}", percent(f.unparseable)));
  if (f.failed > 0) line("judge failed", fmt::format("{:>8}", percent(f.failed)));
  line("cut off", fmt::format("{:>8}", percent(f.cut_off)));
  line("tokens of a thought", fmt::format("{:>8.1f}", f.thought_tokens));
  line("tokens of an answer", fmt::format("{:>8.1f}", f.answer_tokens));
  line("tokens/s", fmt::format("{:>8.1f}", tokens_per_second(r)));
  return out;
}

std::string budget_rows(const EvalTaskReport& report) {
  int64_t k = 1;
  for (const auto& run : report.runs)
    if (!run.run.figures.majority.empty()) k = std::max(k, run.run.figures.majority.back().k);
  std::string out = fmt::format("  {:>8}{:>26}", "budget", "pass@1");
  if (k > 1) out += fmt::format("{:>26}{:>26}", fmt::format("pass@{}", k), fmt::format("maj@{}", k));
  out += fmt::format("{:>13}{:>10}{:>10}{:>10}\n", "unparseable", "cut off", "thought", "tokens/s");
  for (const auto& [budget, run] : report.runs) {
    const EvalFigures& f = run.figures;
    if (f.samples == 0) continue;
    out += fmt::format("  {:>8}{:>26}", budget, with_interval(f.accuracy));
    if (k > 1)
      for (const auto* list : {&f.pass, &f.majority})
        out += fmt::format("{:>26}", !list->empty() && list->back().k == k ? with_interval(list->back().estimate) : "-");
    out += fmt::format("{:>13}{:>10}{:>10.1f}{:>10.1f}\n", percent(f.unparseable), percent(f.cut_off), f.thought_tokens,
                       tokens_per_second(run));
  }
  return out;
}

}  // namespace

std::string eval_table(const EvalTaskReport& r, const std::string& settings) {
  const auto asked = static_cast<long long>(r.prompts.size()) - r.left_out;
  std::string out = terminal_safe(fmt::format("{}: {}, {} each, judged by {}; {}\n", r.task, counted(asked, "question"),
                                              counted(r.samples, "sample"),
                                              r.verifier == "built in" ? "the task itself" : r.verifier, settings));
  if (r.runs.empty() || (r.runs.size() == 1 && r.runs.front().run.figures.samples == 0))
    return out + "  nothing was finished\n";
  if (r.runs.size() == 1 && r.runs.front().budget < 0) return out + run_rows(r.runs.front().run);
  return out + budget_rows(r);
}

}  // namespace raison::cli
