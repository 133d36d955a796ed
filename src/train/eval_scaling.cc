#include "train/eval_scaling.h"

#include <algorithm>

#include "train/rollouts.h"
#include "train/svg_plot.h"
#include "train/task_source.h"

namespace raison {
namespace {

struct Drawn {
  Generation reply;
  double reward = 0;
};
using Problems = std::vector<std::vector<int32_t>>;

class ScalingRun {
 public:
  ScalingRun(Engine& engine, const SyntheticTask& task, const ScalingOptions& o, Problems problems)
      : engine_(engine), task_(task), o_(o), problems_(std::move(problems)) {
    const int64_t most = o.votes.empty() ? 1 : o.votes.back();
    total_ = static_cast<int64_t>(problems_.size()) * (most + static_cast<int64_t>(o.budgets.size() + o.minimums.size()));
  }

  Result<ScalingReport> run() {
    ScalingReport report;
    report.task = task_.name();
    report.problems = static_cast<int64_t>(problems_.size());
    const int64_t most = o_.votes.empty() ? 1 : o_.votes.back();
    RAISON_ASSIGN(const auto samples, draw(most, {}));
    report.single = mean_of(samples, most, 0);
    if (!o_.votes.empty()) report.votes = vote_curves(samples, most);
    const auto marks = task_.counted_thought();
    if (!o_.budgets.empty()) {
      ScalingCurve curve{"budget", "closed after so many failed tries", {}};
      for (const int64_t n : o_.budgets) {
        ThinkLimits limits;
        limits.budget = n;
        limits.marks = marks->failed;
        RAISON_ASSIGN(const auto some, draw(1, limits));
        curve.points.push_back(mean_of(some, 1, n));
      }
      report.budgets.push_back(std::move(curve));
    }
    if (!o_.minimums.empty()) {
      ScalingCurve curve{"minimum", "kept open for so many tries", {}};
      for (const int64_t n : o_.minimums) {
        ThinkLimits limits;
        limits.minimum = n;
        limits.marks = marks->all;
        limits.satisfied_by = marks->success;
        RAISON_ASSIGN(const auto some, draw(1, limits));
        curve.points.push_back(mean_of(some, 1, n));
      }
      report.minimums.push_back(std::move(curve));
    }
    return report;
  }

 private:
  // `each` samples of every problem: problem p's are [p*each, (p+1)*each).
  Result<std::vector<Drawn>> draw(int64_t each, const ThinkLimits& limits) {
    RolloutOptions options;
    options.group = each;
    options.sampling.temperature = static_cast<float>(o_.temperature);
    options.length = o_.length;
    options.stop_ids = {SyntheticTask::kEos};
    options.adapter = o_.adapter;
    std::vector<RolloutPrompt> prompts;
    for (const auto& problem : problems_) prompts.push_back({problem, ThinkPhase::Thinking});
    if (const auto marks = task_.counted_thought()) {
      options.think = marks->rules;
      options.think_limits = limits;
    }
    std::vector<Rollout> rollouts;
    RAISON_RETURN_IF_ERROR(
        draw_rollouts(engine_, prompts, o_.sample_seed, options, &rollouts, [&](int64_t finished) -> Result<bool> {
          if (o_.progress) o_.progress(done_ + finished, total_);
          return true;
        }));
    done_ += static_cast<int64_t>(rollouts.size());
    std::vector<Drawn> out;
    for (Rollout& r : rollouts) {
      out.push_back({std::move(r.reply), 0});
      out.back().reward = task_.reward(r.prompt, out.back().reply.tokens);
    }
    return out;
  }

  ScalingPoint point(int64_t x, double right, double tokens) const {
    ScalingPoint p;
    const auto n = static_cast<double>(problems_.size());
    p.x = x;
    p.accuracy = right / n;
    p.tokens = tokens / n;
    wilson_interval(p.accuracy, n, &p.low, &p.high);
    return p;
  }

  // Of the first sample of each problem.
  ScalingPoint mean_of(const std::vector<Drawn>& samples, int64_t each, int64_t x) const {
    double right = 0, tokens = 0;
    for (size_t i = 0; i < samples.size(); i += static_cast<size_t>(each)) {
      right += samples[i].reward;
      tokens += static_cast<double>(samples[i].reply.tokens.size());
    }
    return point(x, right, tokens);
  }

  Vote vote_of(const Drawn& d) const {
    Vote v;
    v.answer = task_.vote(d.reply.tokens);
    v.verified = task_.self_verified(d.reply.tokens);
    v.confidence = confidence(d.reply);
    v.score = d.reward;
    return v;
  }

  std::vector<ScalingCurve> vote_curves(const std::vector<Drawn>& samples, int64_t each) const {
    std::vector<ScalingCurve> curves = {{"majority", "majority", {}},
                                        {"self_verified", "self-verified", {}},
                                        {"weighted", "by confidence", {}},
                                        {"best", "best (pass@n)", {}}};
    constexpr VoteRule kRules[] = {VoteRule::Majority, VoteRule::SelfVerified, VoteRule::Weighted, VoteRule::Best};
    for (size_t c = 0; c < curves.size(); ++c) {
      if (kRules[c] == VoteRule::SelfVerified && !task_.can_self_verify()) continue;
      for (const int64_t k : o_.votes) {
        double right = 0, tokens = 0;
        for (size_t p = 0; p < problems_.size(); ++p) {
          Ballot ballot(kRules[c], k);
          for (int64_t i = 0; i < k; ++i) {
            const Drawn& d = samples[p * static_cast<size_t>(each) + static_cast<size_t>(i)];
            ballot.add(i, vote_of(d));
            tokens += static_cast<double>(d.reply.tokens.size());
          }
          if (const auto w = ballot.winner()) right += samples[p * static_cast<size_t>(each) + static_cast<size_t>(*w)].reward;
        }
        curves[c].points.push_back(point(k, right, tokens));
      }
    }
    std::erase_if(curves, [](const ScalingCurve& c) { return c.points.empty(); });
    return curves;
  }

  Engine& engine_;
  const SyntheticTask& task_;
  const ScalingOptions& o_;
  Problems problems_;
  int64_t done_ = 0, total_ = 0;
};

}  // namespace

Result<ScalingReport> evaluate_scaling(Model& model, const Tokenizer& tokenizer, Exec& exec, const KernelTable& kernels,
                                       const SyntheticTask& task, const ScalingOptions& given) {
  ScalingOptions o = given;
  if (o.length == 0) o.length = task.max_sequence();
  RAISON_RETURN_IF_ERROR(check_task_tokenizer(task, tokenizer, "the model"));
  if (model.info().vocab < static_cast<int64_t>(task.vocab().size()))
    return error("the model has a vocabulary of {}, the task {} needs {}", model.info().vocab, task.name(),
                 task.vocab().size());
  if (o.length > model.info().context_length)
    return error("the evaluation needs {} positions, the model's context is {}", o.length, model.info().context_length);
  if (!task.counted_thought() && !(o.budgets.empty() && o.minimums.empty()))
    return error("the task {} has no tries to count in a thought; leave budgets and minimums out", task.name());
  Rng rng(o.problem_seed, 0x6576616C);  // "eval"
  Problems problems;
  for (int64_t i = 0; i < o.problems; ++i) problems.push_back(task.problem(rng, true));
  EngineOptions options;
  options.cache_type = o.cache_type;
  Engine engine(model, exec, kernels, options);
  return ScalingRun(engine, task, o, std::move(problems)).run();
}

namespace {

nlohmann::ordered_json curves_json(const std::vector<ScalingCurve>& curves) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const ScalingCurve& c : curves) {
    nlohmann::ordered_json points = nlohmann::ordered_json::array();
    for (const ScalingPoint& p : c.points)
      points.push_back({{"x", p.x}, {"accuracy", p.accuracy}, {"low", p.low}, {"high", p.high}, {"tokens", p.tokens}});
    out[c.name] = points;
  }
  return out;
}

PlotPanel panel_of(const std::vector<ScalingCurve>& curves, const std::string& title, const std::string& x_label, bool log_x) {
  PlotPanel panel;
  panel.title = title;
  panel.x_label = x_label;
  panel.y_label = "right answers, held out";
  panel.log_x = log_x;
  for (const ScalingCurve& c : curves) {
    PlotSeries s{c.label, {}};
    for (const ScalingPoint& p : c.points) s.points.push_back({static_cast<double>(p.x), p.accuracy, p.low, p.high});
    panel.series.push_back(std::move(s));
  }
  return panel;
}

}  // namespace

nlohmann::ordered_json scaling_report_json(const ScalingReport& r) {
  nlohmann::ordered_json j = {
      {"task", r.task}, {"problems", r.problems}, {"accuracy", r.single.accuracy}, {"tokens", r.single.tokens}};
  if (!r.votes.empty()) j["votes"] = curves_json(r.votes);
  if (!r.budgets.empty()) j["budgets"] = curves_json(r.budgets);
  if (!r.minimums.empty()) j["minimums"] = curves_json(r.minimums);
  return j;
}

std::string scaling_report_svg(const ScalingReport& r) {
  std::vector<PlotPanel> panels;
  if (!r.votes.empty()) panels.push_back(panel_of(r.votes, r.task + ": thinking in parallel", "votes", true));
  std::vector<ScalingCurve> length = r.budgets;
  length.insert(length.end(), r.minimums.begin(), r.minimums.end());
  if (!length.empty()) panels.push_back(panel_of(length, r.task + ": thinking longer", "tries in a thought", false));
  return svg_plot(panels);
}

}  // namespace raison
