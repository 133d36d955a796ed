#include "train/trainer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/memory.h"
#include "tokenizer/utf8.h"
#include "train/checkpoint.h"
#include "train/event_file.h"
#include "train/log_file.h"
#include "train/memory_plan.h"
#include "train/run_folder.h"
#include "train/schedule.h"
#include "train/train_method.h"

namespace raison {
namespace {
namespace fs = std::filesystem;

// Running out of memory is an error like others.
template <class F>
auto guarded(F&& f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    return error("out of memory; lower batch.tokens, or of grpo rollout.together");
  } catch (const std::exception& e) { return error("{}", e.what()); }
}

double now_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

AdamWOptions adamw_options(const OptimizerRecipe& o) {
  AdamWOptions a;
  a.beta1 = o.beta1;
  a.beta2 = o.beta2;
  a.eps = o.eps;
  a.weight_decay = o.weight_decay;
  a.decay_matrices_only = o.decay == "matrices";
  a.clip = o.clip;
  return a;
}

}  // namespace

struct TrainSession::Impl {
  Recipe recipe;
  Exec& exec;
  const KernelTable& kernels;
  TrainSinks sinks;
  TrainSetup setup;  // model, its text files, codec
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<MicroBatchRunner> runner;
  std::unique_ptr<TrainMethod> method;
  Schedule schedule;
  std::function<bool()> should_stop;  // of the call to run()
  std::unique_ptr<FolderLock> lock, checkpoint_lock;
  LogFile metrics, events;
  std::string memory_line;
  int64_t step = 0, checkpointed_step = -1;
  uint64_t tokens = 0;
  double smooth_tokens = 0, smooth_seconds = 0;  // decaying sums for the speed
  double step_seconds = 0, saved_at = 0;         // of the step in flight, so far; when the last checkpoint was made

  Impl(const Recipe& r, Exec& e, const KernelTable& k, TrainSinks s, Schedule rate)
      : recipe(r), exec(e), kernels(k), sinks(std::move(s)), schedule(std::move(rate)) {}

  void notice(const std::string& line) const {
    if (sinks.notice) sinks.notice(line);
  }

  Status prepare(Resume resume);
  Status check_paths() const;
  Status make_folders();
  Status plan();
  Status make_method();
  Status open_metrics(Resume resume, const TrainState& state);
  Status find_checkpoint(Resume resume, TrainState* state);
  Status adopt(const std::string& path, const TrainState& head, TrainState* state);
  void notice_steps(const TrainState& head) const;
  void measure(StepMetrics* m, double seconds);
  Result<bool> step_once(StepMetrics* m);
  Status log(const StepMetrics& m);
  Status save_if_due();
  Error save_what_stands(uint64_t version, const Error& why);
  Status save();
};

// What would go wrong only at the first checkpoint, or after the last step, is said before the first.
Status TrainSession::Impl::check_paths() const {
  for (const std::string* path : {&recipe.out, &recipe.checkpoint_dir})
    if (!is_valid_utf8(*path)) return error("{}: the folder's name is not valid UTF-8", *path);
  return recipe.lora.on ? check_lora_folder(recipe.out + "/adapter") : check_export_folder(recipe.out + "/model");
}

Status TrainSession::Impl::make_folders() {
  RAISON_RETURN_IF_ERROR(create_folders(recipe.out));
  RAISON_ASSIGN(lock, FolderLock::take(recipe.out));
  RAISON_RETURN_IF_ERROR(create_folders(recipe.checkpoint_dir));
  RAISON_RETURN_IF_ERROR(check_writable(recipe.checkpoint_dir));
  std::error_code ec;
  const bool inside =
      recipe.checkpoint_dir.rfind(recipe.out + "/", 0) == 0 || fs::equivalent(recipe.checkpoint_dir, recipe.out, ec);
  if (!inside) {  // of its own: two runs might share it
    RAISON_ASSIGN(checkpoint_lock, FolderLock::take(recipe.checkpoint_dir));
  }
  return {};
}

Status TrainSession::Impl::open_metrics(Resume resume, const TrainState& state) {
  const std::string path = recipe.out + "/metrics.jsonl", board = recipe.out + "/tensorboard";
  std::error_code ec;
  const auto size = fs::file_size(path, ec);
  if (checkpointed_step < 0 && !ec && size > 0) {
    if (resume == Resume::Never)
      return error("{}: is the log of an earlier run, which left no checkpoint; move it away, or name another folder (out)",
                   path);
    // Killed before its first checkpoint: it begins again. The file might be another run's, so it is not cut.
    RAISON_ASSIGN(const std::string aside, set_file_aside(path));
    notice(fmt::format("{}: the log of an earlier run without a checkpoint; renamed to {}", path,
                       fs::path(aside).filename().string()));
  }
  RAISON_RETURN_IF_ERROR(metrics.open(path, state.metrics_bytes));
  RAISON_RETURN_IF_ERROR(create_folders(board));
  const std::string curves = board + "/events.out.tfevents.1.raison";
  if (checkpointed_step < 0 && fs::file_size(curves, ec) > 0 && !ec) RAISON_RETURN_IF_ERROR(set_file_aside(curves));
  return events.open(curves, state.event_bytes);
}

Status TrainSession::Impl::make_method() {
  const TrainParts parts{recipe,
                         exec,
                         kernels,
                         setup,
                         *optimizer,
                         *runner,
                         [this](const std::string& line) { notice(line); },
                         [this](const std::string& line) {
                           if (sinks.live) sinks.live(line);
                         },
                         [this] { return should_stop && should_stop(); },
                         [this] { return save_if_due(); }};
  auto made = recipe.kind == TrainKind::Grpo  ? make_policy(parts)
              : recipe.kind == TrainKind::Dpo ? make_preference(parts)
                                              : make_supervised(parts);
  RAISON_ASSIGN(method, std::move(made));
  return {};
}

// Nine tenths of what is free: the plan is an estimate, and a program needs a little for itself.
Status TrainSession::Impl::plan() {
  if (const auto free = available_memory()) {
    std::vector<std::string> notices;
    RAISON_RETURN_IF_ERROR(fit_memory(&recipe, setup, *free / 10 * 9, &notices));
    for (const std::string& n : notices) notice(n);
  }
  memory_line = plan_memory(recipe, setup).line();
  return {};
}

Status TrainSession::Impl::prepare(Resume resume) {
  RAISON_RETURN_IF_ERROR(check_paths());
  RAISON_ASSIGN(setup, set_up_model(recipe));
  RAISON_RETURN_IF_ERROR(resolve_lengths(setup.model->info(), &recipe));
  RAISON_RETURN_IF_ERROR(plan());
  optimizer = std::make_unique<AdamW>(setup.trained(), adamw_options(recipe.optimizer));
  RAISON_ASSIGN(const KvLayout layout, setup.model->kv_layout(recipe.cache_type, 64));
  runner = std::make_unique<MicroBatchRunner>(*setup.model, exec, kernels, layout, recipe.recompute, setup.adapter);
  RAISON_RETURN_IF_ERROR(make_method());
  RAISON_RETURN_IF_ERROR(make_folders());
  TrainState state;
  RAISON_RETURN_IF_ERROR(find_checkpoint(resume, &state));
  RAISON_RETURN_IF_ERROR(open_metrics(resume, state));
  saved_at = now_seconds();
  return method->begin(step);
}

// The newest checkpoint that is whole; a changed recipe or changed data is an error. Damaged ones that are newer are named and
// set aside, lest they count among those that are kept while good ones are removed.
Status TrainSession::Impl::find_checkpoint(Resume resume, TrainState* found) {
  clean_checkpoints(recipe.checkpoint_dir);
  const auto all = list_checkpoints(recipe.checkpoint_dir);
  if (resume == Resume::Never && !all.empty())
    return error("{}: holds checkpoints of an earlier run; resume it, or name another folder (out)", recipe.checkpoint_dir);
  std::vector<std::pair<std::string, std::string>> damaged;  // path, what is wrong
  for (size_t i = all.size(); i-- > 0;) {
    auto state = read_checkpoint_state(all[i]);
    if (!state.ok()) {
      damaged.emplace_back(all[i], state.message());
      continue;
    }
    RAISON_RETURN_IF_ERROR(adopt(all[i], *state, found));
    for (const auto& [path, fault] : damaged) {
      RAISON_ASSIGN(const std::string aside, set_checkpoint_aside(path));
      notice(fmt::format("{}; set aside as {}, falling back to one before it", fault, fs::path(aside).filename().string()));
    }
    notice(fmt::format("resumed from {} at step {} of {}", all[i], step, recipe.steps));
    notice_steps(*state);
    return {};
  }
  if (!damaged.empty())
    return error("{}: no checkpoint is readable ({}); remove the folder to begin anew", recipe.checkpoint_dir,
                 damaged[0].second);
  if (resume == Resume::Require) return error("{}: holds no checkpoint to resume from", recipe.checkpoint_dir);
  return {};
}

void TrainSession::Impl::notice_steps(const TrainState& head) const {
  const auto before = head.recipe.is_object() ? head.recipe.value("steps", nlohmann::ordered_json()) : nlohmann::ordered_json();
  if (before == recipe.steps || schedule.endless()) return;
  notice(fmt::format(
      "steps was {} and is {}: the schedule {} depends on it, so this is not what {} steps from the start would give",
      before.dump(), recipe.steps, recipe.schedule.name, recipe.steps));
}

Status TrainSession::Impl::adopt(const std::string& path, const TrainState& head, TrainState* state) {
  RAISON_RETURN_IF_ERROR(check_same_recipe(head.recipe, recipe, path));
  RAISON_RETURN_IF_ERROR(check_same_model(head.model, setup, recipe, path));
  if (head.data_fingerprint != method->fingerprint())
    return error("{}: the training data has changed since this run began; resuming would not give the same model", path);
  if (head.step > recipe.steps) return error("{}: is at step {}, beyond the recipe's {} steps", path, head.step, recipe.steps);
  RAISON_RETURN_IF_ERROR(method->seek(head.data_cursor));
  RAISON_RETURN_IF_ERROR(method->read_parts(path));
  RAISON_ASSIGN(*state, read_checkpoint(path, setup.trained(), *optimizer));
  step = checkpointed_step = state->step;
  tokens = state->tokens;
  return {};
}

void TrainSession::Impl::measure(StepMetrics* m, double seconds) {
  m->seconds = seconds;
  smooth_tokens = smooth_tokens * 0.95 + static_cast<double>(m->tokens);
  smooth_seconds = smooth_seconds * 0.95 + seconds;
  m->tokens_per_second = smooth_seconds > 0 ? smooth_tokens / smooth_seconds : 0;
  const double mean_tokens = static_cast<double>(m->total_tokens) / static_cast<double>(m->step);
  m->eta_seconds = m->tokens_per_second > 0 ? mean_tokens * static_cast<double>(m->steps - m->step) / m->tokens_per_second : 0;
}

Result<bool> TrainSession::Impl::step_once(StepMetrics* m) {
  const double begin = now_seconds();
  m->lr = schedule.rate(step);
  auto whole = guarded([&] { return method->step(step, m->lr, m); });
  step_seconds += now_seconds() - begin;
  if (!whole.ok()) return error("step {}: {}", step + 1, whole.message());
  if (!*whole) return false;
  ++step;
  tokens += static_cast<uint64_t>(m->tokens);
  m->step = step;
  m->steps = recipe.steps;
  m->total_tokens = tokens;
  measure(m, step_seconds);
  step_seconds = 0;
  if (recipe.validation_every > 0 && step % recipe.validation_every == 0) {
    const Status valid = guarded([&] { return method->validate(m); });
    if (!valid.ok()) notice(fmt::format("validation at step {}: {}", step, valid.message()));  // the step stands all the same
  }
  m->memory = resident_memory().value_or(0);
  RAISON_RETURN_IF_ERROR(log(*m));
  if (sinks.step && (step % recipe.log_every == 0 || step == recipe.steps || m->has_validation)) sinks.step(*m);
  return true;
}

Status TrainSession::Impl::log(const StepMetrics& m) {
  RAISON_RETURN_IF_ERROR(metrics.append(step_json(m).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"));
  const double wall = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  if (events.bytes() == 0) RAISON_RETURN_IF_ERROR(events.append(event_file_head(wall)));
  RAISON_RETURN_IF_ERROR(events.append(event_record(m.step, wall, step_scalars(m))));
  return method->finish_step(m);
}

Status TrainSession::Impl::save() {
  TrainState s;
  s.step = step;
  s.tokens = tokens;
  s.version = setup.trained().version;
  s.seed = recipe.seed;
  s.data_fingerprint = method->fingerprint();
  s.data_cursor = method->cursor();
  s.recipe = recipe_json(recipe);
  s.model = model_identity(setup);
  RAISON_ASSIGN(s.metrics_bytes, metrics.sync());
  RAISON_ASSIGN(s.event_bytes, events.sync());
  RAISON_RETURN_IF_ERROR(write_checkpoint(recipe.checkpoint_dir, s, setup.trained(), *optimizer, method->parts()));
  checkpointed_step = step;
  saved_at = now_seconds();
  if (sinks.checkpoint) sinks.checkpoint(fmt::format("{}/step-{:06d}", recipe.checkpoint_dir, step));
  return prune_checkpoints(recipe.checkpoint_dir, recipe.keep_last, step);
}

Status TrainSession::Impl::save_if_due() {
  if (recipe.checkpoint_minutes == 0 || now_seconds() - saved_at < 60.0 * static_cast<double>(recipe.checkpoint_minutes))
    return {};
  return save();
}

// A judge that broke, say: the steps before this one and its rollouts are kept, unless the weights have moved within it.
Error TrainSession::Impl::save_what_stands(uint64_t version, const Error& why) {
  const bool news = checkpointed_step != step || method->in_flight();
  if (recipe.kind != TrainKind::Grpo || setup.trained().version != version || !news) return why;
  const Status saved = guarded([&] { return save(); });
  if (!saved.ok()) return why;
  return error("{}; what was done before is saved: --resume goes on from there", why.message());
}

TrainSession::TrainSession(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TrainSession::~TrainSession() = default;

Result<std::unique_ptr<TrainSession>> TrainSession::create(const Recipe& recipe, Exec& exec, const KernelTable& kernels,
                                                           TrainSinks sinks, Resume resume) {
  RAISON_ASSIGN(Schedule schedule, schedule_of(recipe));
  try {
    auto impl = std::make_unique<Impl>(recipe, exec, kernels, std::move(sinks), std::move(schedule));
    RAISON_RETURN_IF_ERROR(impl->prepare(resume));
    return std::unique_ptr<TrainSession>(new TrainSession(std::move(impl)));
  } catch (const std::bad_alloc&) {
    return error("{}: out of memory; training keeps four copies of the weights", recipe.file);
  } catch (const std::exception& e) { return error("{}: {}", recipe.file, e.what()); }
}

Result<StepMetrics> TrainSession::step() {
  if (finished()) return error("{}: all {} steps are done", impl_->recipe.file, impl_->recipe.steps);
  StepMetrics m;
  impl_->should_stop = {};
  RAISON_RETURN_IF_ERROR(impl_->step_once(&m));
  return m;
}

Result<RunEnd> TrainSession::run(const std::function<bool()>& should_stop) {
  const Recipe& r = impl_->recipe;
  impl_->should_stop = should_stop;
  while (!finished()) {
    if (should_stop && should_stop()) {
      if (impl_->checkpointed_step != impl_->step || impl_->method->in_flight()) RAISON_RETURN_IF_ERROR(checkpoint());
      return RunEnd::Stopped;
    }
    StepMetrics m;
    const uint64_t version = impl_->setup.trained().version;
    const auto whole = impl_->step_once(&m);
    if (!whole.ok()) return impl_->save_what_stands(version, whole.error());
    if (!*whole) continue;
    const bool due = r.checkpoint_every > 0 && impl_->step % r.checkpoint_every == 0;
    if (due || finished()) RAISON_RETURN_IF_ERROR(checkpoint());
  }
  RAISON_RETURN_IF_ERROR(export_to(model_folder()));
  return RunEnd::Finished;
}

Status TrainSession::checkpoint() {
  try {
    return impl_->save();
  } catch (const std::exception& e) {
    return error("{}: cannot write a checkpoint: {}", impl_->recipe.checkpoint_dir, e.what());
  }
}

Result<double> TrainSession::validation_loss() {
  StepMetrics m;
  RAISON_RETURN_IF_ERROR(impl_->method->validate(&m));
  return m.validation_loss;
}

Status TrainSession::export_to(const std::string& folder) const {
  try {
    if (impl_->setup.lora) return write_lora(*impl_->setup.lora, impl_->recipe.export_type, folder);
    return export_model(*impl_->setup.model, impl_->setup.text, impl_->recipe.export_type, folder);
  } catch (const std::exception& e) { return error("{}: cannot export: {}", folder, e.what()); }
}

int64_t TrainSession::steps_done() const { return impl_->step; }
bool TrainSession::finished() const { return impl_->step >= impl_->recipe.steps; }
Model& TrainSession::model() { return *impl_->setup.model; }
const Recipe& TrainSession::recipe() const { return impl_->recipe; }
std::string TrainSession::model_folder() const { return impl_->recipe.out + (impl_->recipe.lora.on ? "/adapter" : "/model"); }
std::string TrainSession::metrics_path() const { return impl_->recipe.out + "/metrics.jsonl"; }
const std::string& TrainSession::memory_plan() const { return impl_->memory_line; }

}  // namespace raison
