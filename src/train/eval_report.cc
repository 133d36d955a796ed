#include "train/eval_report.h"

#include <algorithm>

#include "train/svg_plot.h"

namespace raison {
namespace {
using ReportJson = nlohmann::ordered_json;

ReportJson estimate_json(const Estimate& e) {
  return {{"value", e.value}, {"low", e.low}, {"high", e.high}, {"questions", e.questions}};
}

ReportJson at_k_json(const std::vector<EvalFigures::AtK>& list) {
  ReportJson out = ReportJson::object();
  for (const auto& [k, estimate] : list) out[std::to_string(k)] = estimate_json(estimate);
  return out;
}

ReportJson verdict_json(const EvalSample& s) {
  ReportJson j = {{"verdict", verdict_name(s.verdict)},
                  {"answer", s.answer},
                  {"vote", s.vote ? ReportJson(*s.vote) : ReportJson(nullptr)},
                  {"finish_reason", finish_reason_name(s.finish)},
                  {"tokens", s.tokens},
                  {"thought_tokens", s.thought_tokens},
                  {"answer_tokens", s.answer_tokens}};
  if (!s.reason.empty()) j["reason"] = s.reason;
  return j;
}

ReportJson questions_json(const EvalTaskReport& report, const EvalRun& run) {
  ReportJson out = ReportJson::array();
  for (size_t q = 0; q < run.samples.size(); ++q) {
    const EvalPrompt& prompt = report.prompts[q];
    ReportJson j = {{"id", prompt.id}};
    if (!prompt.where.empty()) j["where"] = prompt.where;
    if (prompt.question.record.is_object() && prompt.question.record.contains("answer"))
      j["gold"] = prompt.question.record["answer"];
    if (prompt.left_out) j["left_out"] = true;
    ReportJson samples = ReportJson::array();
    int64_t right = 0;
    for (size_t i = 0; i < run.samples[q].size(); ++i) {
      const EvalSample& s = run.samples[q][i];
      if (!s.finished) continue;
      ReportJson sample = {{"sample", i}};
      sample.update(verdict_json(s));
      samples.push_back(std::move(sample));
      right += s.right() ? 1 : 0;
    }
    j["right"] = right;
    j["samples"] = std::move(samples);
    out.push_back(std::move(j));
  }
  return out;
}

ReportJson run_json(const EvalTaskReport& report, const EvalTaskReport::Run& r) {
  const EvalFigures& f = r.run.figures;
  ReportJson j = {{"budget", r.budget >= 0 ? ReportJson(r.budget) : ReportJson(nullptr)},
                  {"partial", !r.run.whole},
                  {"questions_asked", f.questions},
                  {"samples", f.samples},
                  {"accuracy", estimate_json(f.accuracy)},
                  {"pass_at", at_k_json(f.pass)},
                  {"majority_at", at_k_json(f.majority)}};
  if (!f.self_verified.empty()) {
    j["self_verified_at"] = at_k_json(f.self_verified);
    j["found_itself_right"] = f.self_found;
  }
  j["unparseable"] = f.unparseable;
  j["failed"] = f.failed;
  j["cut_off"] = f.cut_off;
  j["tokens"] = f.tokens;
  j["thought_tokens"] = f.thought_tokens;
  j["answer_tokens"] = f.answer_tokens;
  j["seconds"] = r.run.seconds;
  j["tokens_per_second"] = static_cast<double>(r.run.tokens) / std::max(r.run.seconds, 1e-9);
  j["questions"] = questions_json(report, r.run);
  return j;
}

PlotPoint point_of(int64_t x, const Estimate& e) { return {static_cast<double>(x), e.value, e.low, e.high}; }

PlotSeries series_of(const std::string& label, const std::vector<EvalFigures::AtK>& list) {
  PlotSeries s{label, {}};
  for (const auto& [k, estimate] : list) s.points.push_back(point_of(k, estimate));
  return s;
}

std::vector<PlotPanel> panels_of(const EvalTaskReport& report) {
  std::vector<PlotPanel> out;
  std::vector<PlotSeries> by_k, by_budget(2);
  for (const auto& [budget, run] : report.runs) {
    const EvalFigures& f = run.figures;
    if (f.questions == 0) continue;
    const std::string of = budget >= 0 ? ", " + std::to_string(budget) + " tokens" : "";
    if (f.pass.size() > 1) {
      by_k.push_back(series_of("pass@k" + of, f.pass));
      by_k.push_back(series_of("maj@k" + of, f.majority));
      if (!f.self_verified.empty()) by_k.push_back(series_of("self-verified@k" + of, f.self_verified));
    }
    if (budget < 0) continue;
    by_budget[0].label = "one sample";
    by_budget[0].points.push_back(point_of(budget, f.accuracy));
    if (f.majority.size() < 2) continue;
    by_budget[1].label = "maj@" + std::to_string(f.majority.back().k);
    by_budget[1].points.push_back(point_of(budget, f.majority.back().estimate));
  }
  if (by_budget[1].points.empty()) by_budget.pop_back();
  const std::string y = "right answers";
  if (!by_k.empty()) out.push_back({report.task + ": by samples", "samples (k)", y, true, 0, 1, true, std::move(by_k)});
  if (by_budget[0].points.size() > 1) {
    const bool log = by_budget[0].points.front().x > 0;  // they ascend
    out.push_back({report.task + ": by budget", "tokens of a thought at most", y, log, 0, 1, true, std::move(by_budget)});
  }
  return out;
}

}  // namespace

const char* finish_reason_name(FinishReason f) {
  switch (f) {
    case FinishReason::Stop: return "stop";
    case FinishReason::Length: return "length";
    case FinishReason::Cancelled: return "cancelled";
    case FinishReason::Error: return "error";
    case FinishReason::None: break;
  }
  return "none";
}

nlohmann::ordered_json eval_report_json(const EvalTaskReport& r) {
  ReportJson runs = ReportJson::array();
  for (const auto& run : r.runs) runs.push_back(run_json(r, run));
  return {{"task", r.task},         {"file", r.file.empty() ? ReportJson(nullptr) : ReportJson(r.file)},
          {"verifier", r.verifier}, {"questions", static_cast<int64_t>(r.prompts.size()) - r.left_out},
          {"left_out", r.left_out}, {"samples_each", r.samples},
          {"partial", !r.whole()},  {"runs", std::move(runs)}};
}

std::string eval_samples_jsonl(const EvalTaskReport& r) {
  std::string out;
  for (const auto& [budget, run] : r.runs)
    for (size_t q = 0; q < run.samples.size(); ++q)
      for (size_t i = 0; i < run.samples[q].size(); ++i) {
        const EvalSample& s = run.samples[q][i];
        if (!s.finished) continue;
        ReportJson j = {{"task", r.task}, {"budget", budget >= 0 ? ReportJson(budget) : ReportJson(nullptr)},
                        {"index", q},     {"id", r.prompts[q].id},
                        {"sample", i},    {"prompt", r.prompts[q].question.prompt},
                        {"text", s.text}, {"thinking", s.thought}};
        j.update(verdict_json(s));
        out += j.dump(-1, ' ', false, ReportJson::error_handler_t::replace) + "\n";
      }
  return out;
}

std::string eval_reports_svg(const std::vector<EvalTaskReport>& reports) {
  std::vector<PlotPanel> panels;
  for (const EvalTaskReport& r : reports)
    for (PlotPanel& p : panels_of(r)) panels.push_back(std::move(p));
  return panels.empty() ? "" : svg_plot(panels);
}

}  // namespace raison
