#include "train/eval_countdown.h"

#include <chrono>
#include <unordered_map>

#include "train/task_source.h"

namespace raison {
namespace {

struct Sample {
  std::vector<int32_t> prompt, reply;
  bool ended = false;
};

// One reply to each problem, in one engine run.
Status sample_replies(Engine& engine, const CountdownEvalOptions& o, double temperature, std::vector<Sample>* samples) {
  std::unordered_map<uint64_t, size_t> index;
  for (size_t i = 0; i < samples->size(); ++i) {
    Request r;
    r.prompt = (*samples)[i].prompt;
    r.sampling.temperature = static_cast<float>(temperature);
    r.sampling.seed = o.sample_seed;
    r.sample_index = i;  // every problem draws its own numbers
    r.max_tokens = o.length - static_cast<int64_t>(r.prompt.size());
    r.stop_ids = {SyntheticTask::kEos};
    r.adapter = o.adapter;
    RAISON_ASSIGN(const uint64_t id, engine.submit(std::move(r)));
    index[id] = i;
  }
  std::string fault;
  int64_t done = 0;
  const Status ran = engine.run([&](const TokenEvent& e) {
    if (e.finish == FinishReason::Error) {
      fault = e.error;
      return;
    }
    Sample& s = (*samples)[index.at(e.request)];
    s.reply.push_back(e.token);
    if (e.finish == FinishReason::None) return;
    s.ended = e.finish == FinishReason::Stop;
    ++done;
    if (o.progress) o.progress(done, static_cast<int64_t>(samples->size()));
  });
  RAISON_RETURN_IF_ERROR(ran);
  if (!fault.empty()) return error("evaluation: {}", fault);
  return {};
}

double share(int64_t part, int64_t whole) { return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0; }

CountdownScore score(const SyntheticTask& task, const std::vector<Sample>& samples) {
  CountdownScore out;
  TaskAudit audit;
  double right = 0;
  int64_t tokens = 0, ended = 0;
  for (const Sample& s : samples) {
    right += task.reward(s.prompt, s.reply);
    tokens += static_cast<int64_t>(s.reply.size());
    ended += s.ended ? 1 : 0;
    std::vector<int32_t> all = s.prompt;
    all.insert(all.end(), s.reply.begin(), s.reply.end());
    audit += task.audit(all);
  }
  const auto n = static_cast<int64_t>(samples.size());
  out.problems = n;
  out.accuracy = n > 0 ? right / static_cast<double>(n) : 0;
  out.length = share(tokens, n);
  out.truncated = share(n - ended, n);
  out.arithmetic = share(audit.right_equations, audit.equations);
  out.equations = audit.equations;
  out.verdicts = share(audit.right_verdicts, audit.verdicts);
  out.verdict_count = audit.verdicts;
  out.leaves = share(audit.verdicts, n);
  return out;
}

Result<CountdownScore> measure(const SyntheticTask& task, Engine& engine, const CountdownEvalOptions& o,
                               const std::vector<std::vector<int32_t>>& problems, int64_t count, double temperature) {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Sample> samples(static_cast<size_t>(count));
  for (size_t i = 0; i < samples.size(); ++i) samples[i].prompt = problems[i];
  RAISON_RETURN_IF_ERROR(sample_replies(engine, o, temperature, &samples));
  CountdownScore s = score(task, samples);
  s.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return s;
}

nlohmann::ordered_json score_json(const CountdownScore& s) {
  return {{"problems", s.problems},   {"accuracy", s.accuracy},           {"length", s.length},
          {"truncated", s.truncated}, {"arithmetic", s.arithmetic},       {"equations", s.equations},
          {"verdicts", s.verdicts},   {"verdict_count", s.verdict_count}, {"leaves", s.leaves},
          {"seconds", s.seconds}};
}

}  // namespace

Result<CountdownReport> evaluate_countdown(Model& model, const Tokenizer& tokenizer, Exec& exec, const KernelTable& kernels,
                                           const SyntheticTask& task, const CountdownEvalOptions& given) {
  CountdownEvalOptions o = given;
  if (o.length == 0) o.length = task.max_sequence();
  RAISON_RETURN_IF_ERROR(check_task_tokenizer(task, tokenizer, "the model"));
  if (model.info().vocab < static_cast<int64_t>(task.vocab().size()))
    return error("the model has a vocabulary of {}, the task {} needs {}", model.info().vocab, task.name(),
                 task.vocab().size());
  if (o.length > model.info().context_length)
    return error("the evaluation needs {} positions, the model's context is {}", o.length, model.info().context_length);
  Rng rng(o.problem_seed, 0x6576616C);  // "eval"
  std::vector<std::vector<int32_t>> problems;
  for (int64_t i = 0; i < std::max(o.sampled, o.greedy); ++i) {
    problems.push_back(task.problem(rng, true));
    if (static_cast<int64_t>(problems.back().size()) >= o.length)
      return error("the evaluation's length {} leaves no room behind a prompt of {}", o.length, problems.back().size());
  }
  EngineOptions options;
  options.cache_type = o.cache_type;
  options.max_sequences = o.max_sequences;
  Engine engine(model, exec, kernels, options);
  CountdownReport report;
  report.task = task.name();
  RAISON_ASSIGN(report.sampled, measure(task, engine, o, problems, o.sampled, o.temperature));
  RAISON_ASSIGN(report.greedy, measure(task, engine, o, problems, o.greedy, 0));
  return report;
}

bool has_countdown_report(const std::string& task) { return task.starts_with("countdown") && make_synthetic_task(task).ok(); }

nlohmann::ordered_json countdown_report_json(const CountdownReport& r) {
  return {{"task", r.task}, {"sampled", score_json(r.sampled)}, {"greedy", score_json(r.greedy)}};
}

}  // namespace raison
