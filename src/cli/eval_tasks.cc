// raison eval on data sets, and on built-in tasks asked like them.
#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/json_depth.h"
#include "cli/console.h"
#include "cli/eval_command.h"
#include "cli/live_block.h"
#include "train/countdown_task.h"
#include "train/eval_data.h"
#include "train/task_source.h"

namespace raison::cli {
namespace {
using TaskJson = nlohmann::ordered_json;

constexpr int64_t kBuiltInQuestions = 256;

// A TASK of the command line.
struct TaskWord {
  std::string name, file;  // file empty: built in
  std::string verifier;    // of the file
  int64_t samples = 1;     // by default
};

Result<TaskWord> parse_task(const std::string& word, const EvalCommand& o) {
  TaskWord out;
  const size_t sign = word.find('=');
  if (is_synthetic_task(word)) {
    out.name = word;
    if (!o.verifier.empty()) return error("{} without a file is judged by itself; leave out --verifier", word);
    return out;
  }
  out.name = word.substr(0, sign);
  if (sign != std::string::npos) out.file = word.substr(sign + 1);
  const EvalPreset* preset = find_eval_preset(out.name);
  if (preset && out.file.empty()) return error("{} needs its file: {}=FILE", out.name, out.name);
  if (!preset && sign == std::string::npos) {  // a file of one's own
    out.file = word;
    out.name = std::filesystem::path(word).stem().string();
  }
  if (sign != std::string::npos && !preset && is_synthetic_task(out.name))
    return error("{} is built in, and has no files", out.name);
  if (out.name.empty() || out.file.empty()) return error("\"{}\" is no task; write NAME=FILE", word);
  if (!preset && o.verifier.empty())
    return error("{}: is no known data set, so say who judges its answers: --verifier {}", word,
                 fmt::join(verifier_names(), ", or "));
  out.verifier = o.verifier.empty() ? preset->verifier : o.verifier;
  if (preset) out.samples = preset->samples;
  return out;
}

struct PreparedTask {
  std::unique_ptr<EvalGrader> grader;
  std::shared_ptr<const ThinkRules> rules;
  EvalTaskReport report;
};

class EvalCli {
 public:
  EvalCli(const EvalCommand& o, nlohmann::json verifier_options, std::unique_ptr<LoadedModel> m)
      : o_(o), m_(std::move(m)), verifier_options_(std::move(verifier_options)) {}

  Result<int> run(const std::vector<TaskWord>& words) {
    RAISON_RETURN_IF_ERROR(set_up());
    for (const TaskWord& word : words) {
      RAISON_ASSIGN(PreparedTask task, prepare(word));
      tasks_.push_back(std::move(task));
    }
    catch_interrupts(true);
    std::vector<EvalTaskReport> reports;
    for (PreparedTask& task : tasks_) {
      RAISON_RETURN_IF_ERROR(ask(&task));
      put((reports.empty() ? "" : "\n") + eval_table(task.report, words_of_sampling()));
      reports.push_back(std::move(task.report));
      if (!reports.back().whole()) break;
    }
    RAISON_RETURN_IF_ERROR(write_files(reports));
    if (reports.back().whole()) return 0;
    const EvalRun& last = reports.back().runs.back().run;
    if (!last.fault.empty())
      return error("{}: {}; the last figures are of the {} judged before", reports.back().task, last.fault,
                   counted(last.figures.samples, "sample"));
    note(fmt::format("stopped: the last figures are partial, of {} out of {}; short replies come first",
                     counted(last.figures.samples, "sample"), total_of(reports.back())));
    return 130;
  }

 private:
  Status set_up() {
    const int64_t limit = m_->model->info().context_length;
    if (o_.context > limit) return error("--ctx {} is more than the model's context of {}", o_.context, limit);
    SamplingOptions options = o_.sampling;
    options.seed = o_.seed();
    RAISON_ASSIGN(sampling_, resolve_sampling(options, m_->files.generation));
    if (sampling_.params.temperature == 0 && most_samples() > 1)
      return error("at temperature 0 all samples are the same; give --samples 1, or a temperature");
    RAISON_ASSIGN(thinking_, thinking_of(m_->text, m_->model->info().vocab));
    RAISON_RETURN_IF_ERROR(check_thinking(m_->text, thinking_, o_.thinking));
    RAISON_ASSIGN(limits_, think_limits(m_->text, thinking_, o_.thinking));
    RAISON_ASSIGN(cache_, cache_type_for(*m_->model, o_.cache_type));
    EngineOptions engine;
    engine.cache_type = cache_;
    engine.context = o_.context;
    engine.max_sequences = static_cast<int>(o_.together);
    engine.cache_bytes = o_.cache_memory.value_or(0);
    engine_ = std::make_unique<Engine>(*m_->model, *m_->pool, *m_->kernels, engine);
    if (engine_->room() < engine_->context())
      note(fmt::format("the cache holds {} of the context's {} positions, so replies end there; --cache-memory gives it more",
                       engine_->room(), engine_->context()));
    budgets_ = o_.budgets;
    std::sort(budgets_.begin(), budgets_.end());
    budgets_.erase(std::unique(budgets_.begin(), budgets_.end()), budgets_.end());
    if (sampling_.max_tokens > 0 && !budgets_.empty() && limits_.marks.empty() && budgets_.back() >= sampling_.max_tokens)
      return error(
          "a thought of {} tokens leaves no room for an answer within {} tokens; give more --max-tokens, or smaller --budgets",
          budgets_.back(), sampling_.max_tokens);
    return {};
  }

  // That the user asked for; 1: nothing was said.
  int64_t most_samples() const {
    if (o_.samples > 0) return o_.samples;
    return o_.votes.empty() ? 1 : *std::max_element(o_.votes.begin(), o_.votes.end());
  }

  Result<PreparedTask> prepare(const TaskWord& word) {
    PreparedTask out;
    EvalTaskReport& r = out.report;
    r.task = word.name;
    r.file = word.file;
    r.samples = o_.samples > 0 || !o_.votes.empty() ? most_samples() : word.samples;
    if (sampling_.params.temperature == 0) r.samples = 1;
    RAISON_RETURN_IF_ERROR(word.file.empty() ? prepare_built_in(word, &out) : prepare_file(word, &out));
    r.verifier = out.grader->verifier();
    if (!budgets_.empty() && !out.rules)
      return error("{}: this model does not think, so there is no thought for --budgets", r.task);
    r.left_out = leave_out_long(&r.prompts, engine_->room());
    if (r.left_out == static_cast<int64_t>(r.prompts.size()))
      return error("{}: no question leaves room for an answer within {} tokens", r.file.empty() ? r.task : r.file,
                   engine_->room());
    if (r.left_out > 0)
      note(fmt::format("{}: {} left out, as long as the {} positions there are", r.file, counted(r.left_out, "question"),
                       engine_->room()));
    return out;
  }

  Status prepare_built_in(const TaskWord& word, PreparedTask* out) const {
    RAISON_ASSIGN(const auto task, make_synthetic_task(word.name));
    RAISON_RETURN_IF_ERROR(check_task_tokenizer(*task, *m_->text.tokenizer, m_->files.path));
    if (m_->model->info().vocab < static_cast<int64_t>(task->vocab().size()))
      return error("the model has a vocabulary of {}, the task {} needs {}", m_->model->info().vocab, word.name,
                   task->vocab().size());
    out->report.prompts = task_eval_prompts(*task, o_.limit > 0 ? o_.limit : kBuiltInQuestions);
    if (const auto marks = task->counted_thought()) out->rules = marks->rules;
    out->grader = make_task_grader(task);
    return {};
  }

  Status prepare_file(const TaskWord& word, PreparedTask* out) {
    EvalFile file;
    file.task = word.name;
    file.path = word.file;
    file.verifier = word.verifier;
    file.suffix = o_.suffix;
    file.system = o_.system;
    file.limit = o_.limit;
    file.bare_countdown = check_task_tokenizer(CountdownTask(), *m_->text.tokenizer, "").ok();
    RAISON_ASSIGN(out->grader, make_verifier_grader(word.verifier, verifier_options_, m_->text.tokenizer, thinking_.format));
    RAISON_ASSIGN(auto questions, read_eval_file(file));
    out->rules = thinking_.rules;
    for (EvalQuestion& q : questions) {
      auto prompt = prompt_of(q);
      if (!prompt.ok()) return error("{}: {}", q.where, prompt.message());
      out->report.prompts.push_back(std::move(prompt).value());
      if (const Status ok = out->grader->check(out->report.prompts.back()); !ok.ok())
        return error("{}: {}", out->report.prompts.back().where, ok.message());
    }
    return {};
  }

  Result<EvalPrompt> prompt_of(EvalQuestion& q) const {
    std::string last;
    if (!m_->text.chat_template) {
      const TaskJson& message = q.messages.back();
      if (q.messages.size() > (o_.system.empty() ? 1u : 2u) || !message.contains("content") || !message["content"].is_string())
        return error("the model has no chat template, so a question must be one text");
      last = (o_.system.empty() ? "" : o_.system + "\n") + message["content"].get<std::string>();
    }
    RAISON_ASSIGN(ModelPrompt made, make_prompt(m_->text, thinking_, q.messages, last, false, o_.thinking));
    EvalPrompt out;
    out.tokens = std::move(made.tokens);
    out.start = made.start;
    out.question = std::move(q.question);
    out.id = std::move(q.id);
    out.where = std::move(q.where);
    return out;
  }

  Status ask(PreparedTask* task) {
    EvalOptions e;
    e.samples = task->report.samples;
    e.sampling = sampling_.params;
    e.seed = o_.seed();
    e.max_tokens = sampling_.max_tokens;
    e.stop_ids = m_->text.stop_ids;
    e.adapter = m_->adapter;
    e.think = task->rules;
    e.think_limits = limits_;
    e.keep_text = !o_.samples_file.empty();
    e.votes = o_.votes.empty() ? powers_up_to(e.samples) : o_.votes;
    std::sort(e.votes.begin(), e.votes.end());
    e.votes.erase(std::unique(e.votes.begin(), e.votes.end()), e.votes.end());
    std::vector<int64_t> budgets = budgets_;
    if (budgets.empty()) budgets.push_back(-1);
    for (const int64_t budget : budgets) {
      if (budget >= 0) e.think_limits.budget = budget;
      RAISON_RETURN_IF_ERROR(e.think_limits.validate());
      const std::string title = task->report.task + (budget >= 0 ? fmt::format(", {} tokens", budget) : "");
      drawn_ = -1;
      e.progress = [&](const EvalProgress& p) {
        show(title, p);
        return !interrupted() && output_status().ok();
      };
      auto run = run_eval(*engine_, task->report.prompts, *task->grader, e);
      clear_progress();
      if (!run.ok()) return error("{}: {}", task->report.file.empty() ? task->report.task : task->report.file, run.message());
      task->report.runs.push_back({budget, std::move(run).value()});
      if (!task->report.whole()) break;
    }
    return {};
  }

  void show(const std::string& title, const EvalProgress& p) {
    const auto now = static_cast<int64_t>(p.seconds * 5);
    if (now == drawn_) return;
    drawn_ = now;
    constexpr int64_t kBar = 20;
    const auto filled = static_cast<size_t>(kBar * p.finished / std::max<int64_t>(p.total, 1));
    std::string line = fmt::format("{} [{:<20}] {} of {} samples", title, std::string(filled, '#'), p.finished, p.total);
    if (p.judged > 0) line += " · right " + percent(static_cast<double>(p.right) / static_cast<double>(p.judged));
    line += fmt::format(" · {:.1f} tokens/s", static_cast<double>(p.tokens) / std::max(p.seconds, 1e-9));
    if (p.finished > 0)
      line += fmt::format(" · {:.0f} s left",
                          p.seconds / static_cast<double>(p.finished) * static_cast<double>(p.total - p.finished));
    show_progress(terminal_safe(line));
  }

  static int64_t total_of(const EvalTaskReport& r) { return (static_cast<int64_t>(r.prompts.size()) - r.left_out) * r.samples; }

  std::string words_of_sampling() const { return sampling_words(sampling_); }

  TaskJson header(bool whole) const {
    const SamplingParams& p = sampling_.params;
    TaskJson settings = {{"temperature", p.temperature},
                         {"top_p", p.top_p},
                         {"top_k", p.top_k},
                         {"min_p", p.min_p},
                         {"words", words_of_sampling()},
                         {"max_tokens", sampling_.max_tokens},
                         {"context", engine_->room()},
                         {"thinks", thinking_.format.has_value()},
                         {"budget", limits_.budget},
                         {"minimum", limits_.minimum},
                         {"loop_guard", limits_.loop_guard},
                         {"verifier_options", verifier_options_},
                         {"system", o_.system},
                         {"prompt_suffix", o_.suffix ? TaskJson(*o_.suffix) : TaskJson(nullptr)},
                         {"limit", o_.limit}};
    return {{"model", m_->files.path},
            {"adapter", o_.adapter.empty() ? TaskJson(nullptr) : TaskJson(o_.adapter)},
            {"seed", o_.seed()},
            {"cache_type", cache_type_name(cache_)},
            {"kernels", m_->kernels->name},
            {"settings", std::move(settings)},
            {"partial", !whole}};
  }

  Status write_files(const std::vector<EvalTaskReport>& reports) const {
    if (!o_.json.empty()) {
      TaskJson j = header(reports.size() == tasks_.size() && reports.back().whole());
      TaskJson list = TaskJson::array();
      for (const EvalTaskReport& r : reports) list.push_back(eval_report_json(r));
      j["tasks"] = std::move(list);
      RAISON_RETURN_IF_ERROR(write_eval_json(o_.json, j));
    }
    if (!o_.samples_file.empty()) {
      RAISON_ASSIGN(const auto file, AtomicFile::create(o_.samples_file));
      for (const EvalTaskReport& r : reports) {
        const std::string lines = eval_samples_jsonl(r);
        RAISON_RETURN_IF_ERROR(file->append(lines.data(), lines.size()));
      }
      RAISON_RETURN_IF_ERROR(file->commit());
    }
    if (o_.plot.empty()) return {};
    const std::string svg = eval_reports_svg(reports);
    if (!svg.empty()) return write_file_atomic(o_.plot, svg);
    note(fmt::format("{}: not written, one sample of each question and one budget draw no curve", o_.plot));
    return {};
  }

  const EvalCommand& o_;
  std::unique_ptr<LoadedModel> m_;
  ResolvedSampling sampling_;
  Thinking thinking_;
  ThinkLimits limits_;
  nlohmann::json verifier_options_;
  DType cache_ = DType::F16;
  std::unique_ptr<Engine> engine_;
  std::vector<int64_t> budgets_;
  std::vector<PreparedTask> tasks_;
  int64_t drawn_ = -1;
};

// Will there be a curve?
bool has_points(const EvalCommand& o, const std::vector<TaskWord>& words) {
  const auto several = [](const TaskWord& w) { return w.samples > 1; };
  return o.budgets.size() > 1 || o.samples > 1 || (!o.votes.empty() && *std::max_element(o.votes.begin(), o.votes.end()) > 1) ||
         (o.samples < 0 && std::any_of(words.begin(), words.end(), several));
}

}  // namespace

Result<int> run_task_eval(const EvalCommand& o) {
  RAISON_RETURN_IF_ERROR(resolve_sampling(o.sampling, {}));  // before any file is read
  if (!o.sampling.stop.empty()) return error("an evaluation looks for no stop strings; leave out --stop");
  if (o.greedy >= 0 || !o.minimums.empty())
    return error(
        "--greedy, --minimums and --scaling belong to the own report of the built-in Countdown tasks: one of these alone, "
        "without --limit");
  if (o.thinking.budget && !o.budgets.empty()) return error("give --budget or --budgets, not both");
  if (o.samples > 0 && !o.votes.empty() && *std::max_element(o.votes.begin(), o.votes.end()) > o.samples)
    return error("votes of {} need as many --samples", *std::max_element(o.votes.begin(), o.votes.end()));
  std::vector<TaskWord> words;
  for (const std::string& word : o.tasks) {
    RAISON_ASSIGN(TaskWord parsed, parse_task(word, o));
    if (!parsed.file.empty()) RAISON_RETURN_IF_ERROR(MappedFile::open(parsed.file));
    words.push_back(std::move(parsed));
  }
  nlohmann::json verifier_options;
  if (!o.verifier_options.empty()) {
    if (json_too_deep_at(o.verifier_options) == kShallow)
      verifier_options = nlohmann::json::parse(o.verifier_options, nullptr, false);
    if (!verifier_options.is_object())
      return error("--verifier-options must be a JSON object, such as {{\"division\": false}}");
  }
  for (const TaskWord& w : words) {
    if (w.file.empty()) continue;
    if (const auto made = make_verifier(w.verifier, verifier_options); !made.ok()) return error("{}", made.message());
  }
  if (!o.plot.empty() && !has_points(o, words)) return error("--plot draws curves: give --samples, --votes or --budgets too");
  RAISON_RETURN_IF_ERROR(check_writable({o.json, o.plot, o.samples_file}));
  RAISON_ASSIGN(auto m, load_for_use(o.model, o.threads, true, o.load, o.adapter));
  return EvalCli(o, std::move(verifier_options), std::move(m)).run(words);
}

}  // namespace raison::cli
