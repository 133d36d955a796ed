#include "train/trainer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "tokenizer/utf8.h"
#include "train/checkpoint.h"
#include "train/data.h"
#include "train/metrics_log.h"
#include "train/model_setup.h"
#include "train/optimizer.h"
#include "train/run_folder.h"
#include "train/schedule.h"
#include "train/train_step.h"

namespace raison {
namespace {
namespace fs = std::filesystem;

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
  std::unique_ptr<DataSource> data;
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<GradientStore> gradients;
  std::unique_ptr<MicroBatchRunner> runner;
  Schedule schedule;
  std::vector<MicroBatch> validation;
  std::unique_ptr<FolderLock> lock, checkpoint_lock;
  MetricsLog metrics;
  int64_t step = 0, checkpointed_step = -1;
  uint64_t tokens = 0;
  double smooth_tokens = 0, smooth_seconds = 0;  // decaying sums for the speed

  Impl(const Recipe& r, Exec& e, const KernelTable& k, TrainSinks s, Schedule rate)
      : recipe(r), exec(e), kernels(k), sinks(std::move(s)), schedule(std::move(rate)) {}

  void notice(const std::string& line) const {
    if (sinks.notice) sinks.notice(line);
  }

  Status prepare(Resume resume);
  Status check_paths() const;
  Status make_folders();
  Status open_metrics(Resume resume, uint64_t bytes);
  Status find_checkpoint(Resume resume, uint64_t* metrics_bytes);
  Status adopt(const std::string& path, const TrainState& head, uint64_t* metrics_bytes);
  void notice_steps(const TrainState& head) const;
  void pack_validation();
  Result<double> accumulate(const std::vector<MicroBatch>& batches, double weight);
  Result<double> validate();
  void measure(StepMetrics* m, double seconds);
  Result<StepMetrics> step_once();
  Status save();
};

// What would go wrong only at the first checkpoint, or after the last step, is said before the first.
Status TrainSession::Impl::check_paths() const {
  for (const std::string* path : {&recipe.out, &recipe.checkpoint_dir})
    if (!is_valid_utf8(*path)) return error("{}: the folder's name is not valid UTF-8", *path);
  return check_export_folder(recipe.out + "/model");
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

Status TrainSession::Impl::open_metrics(Resume resume, uint64_t bytes) {
  const std::string path = recipe.out + "/metrics.jsonl";
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
  return metrics.open(path, bytes);
}

Status TrainSession::Impl::prepare(Resume resume) {
  RAISON_RETURN_IF_ERROR(check_paths());
  RAISON_ASSIGN(setup, set_up_model(recipe));
  RAISON_RETURN_IF_ERROR(resolve_lengths(setup.model->info(), &recipe));
  std::vector<std::string> notices;
  RAISON_ASSIGN(data, make_data_source(recipe, setup.codec, &notices));
  for (const std::string& n : notices) notice(n);
  optimizer = std::make_unique<AdamW>(setup.model->parameters(), adamw_options(recipe.optimizer));
  gradients = std::make_unique<GradientStore>(setup.model->parameters());
  RAISON_ASSIGN(const KvLayout layout, setup.model->kv_layout(recipe.cache_type, 64));
  runner = std::make_unique<MicroBatchRunner>(*setup.model, exec, kernels, layout, recipe.recompute);
  pack_validation();
  RAISON_RETURN_IF_ERROR(make_folders());
  uint64_t metrics_bytes = 0;
  RAISON_RETURN_IF_ERROR(find_checkpoint(resume, &metrics_bytes));
  return open_metrics(resume, metrics_bytes);
}

// The newest checkpoint that is whole; a changed recipe or changed data is an error. Damaged ones that are newer are named and
// set aside, lest they count among those that are kept while good ones are removed.
Status TrainSession::Impl::find_checkpoint(Resume resume, uint64_t* metrics_bytes) {
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
    RAISON_RETURN_IF_ERROR(adopt(all[i], *state, metrics_bytes));
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

Status TrainSession::Impl::adopt(const std::string& path, const TrainState& head, uint64_t* metrics_bytes) {
  RAISON_RETURN_IF_ERROR(check_same_recipe(head.recipe, recipe, path));
  RAISON_RETURN_IF_ERROR(check_same_model(head.model, setup, recipe, path));
  if (head.data_fingerprint != data->fingerprint())
    return error("{}: the training data has changed since this run began; resuming would not give the same model", path);
  if (head.step > recipe.steps) return error("{}: is at step {}, beyond the recipe's {} steps", path, head.step, recipe.steps);
  RAISON_RETURN_IF_ERROR(data->seek(head.data_cursor));
  RAISON_ASSIGN(const TrainState state, read_checkpoint(path, setup.model->parameters(), *optimizer));
  step = checkpointed_step = state.step;
  tokens = state.tokens;
  *metrics_bytes = state.metrics_bytes;
  return {};
}

void TrainSession::Impl::pack_validation() {
  const int64_t budget = recipe.batch.tokens > 0 ? recipe.batch.tokens : 4096;
  int64_t used = 0;
  for (TrainSequence& s : data->validation(recipe.validation_sequences)) {
    const auto n = static_cast<int64_t>(s.tokens.size());
    if (validation.empty() || used + n > budget) {
      validation.emplace_back();
      used = 0;
    }
    validation.back().push_back(std::move(s));
    used += n;
  }
}

Result<double> TrainSession::Impl::accumulate(const std::vector<MicroBatch>& batches, double weight) {
  double loss = 0;
  for (const MicroBatch& b : batches) {
    RAISON_ASSIGN(const double sum, runner->run(b, gradients.get(), weight));
    loss += sum;
  }
  return loss / weight;
}

Result<double> TrainSession::Impl::validate() {
  double loss = 0, weight = 0;
  for (const MicroBatch& b : validation) {
    RAISON_ASSIGN(const double sum, runner->run(b, nullptr, 1));
    loss += sum;
    weight += total_weight(b);
  }
  return weight > 0 ? loss / weight : 0.0;
}

void TrainSession::Impl::measure(StepMetrics* m, double seconds) {
  m->seconds = seconds;
  smooth_tokens = smooth_tokens * 0.95 + static_cast<double>(m->tokens);
  smooth_seconds = smooth_seconds * 0.95 + seconds;
  m->tokens_per_second = smooth_seconds > 0 ? smooth_tokens / smooth_seconds : 0;
  const double mean_tokens = static_cast<double>(m->total_tokens) / static_cast<double>(m->step);
  m->eta_seconds = m->tokens_per_second > 0 ? mean_tokens * static_cast<double>(m->steps - m->step) / m->tokens_per_second : 0;
}

Result<StepMetrics> TrainSession::Impl::step_once() {
  const double begin = now_seconds();
  const auto before = data->cursor();
  const auto failed = [&](const std::string& why) {
    gradients = std::make_unique<GradientStore>(setup.model->parameters());  // half a step is forgotten
    const Status back = data->seek(before);
    return error("step {}: {}{}", step + 1, why, back.ok() ? "" : "; " + back.message());
  };
  std::vector<MicroBatch> batches;
  StepMetrics m;
  double weight = 0;
  for (int64_t i = 0; i < recipe.batch.accumulation; ++i) {
    auto batch = data->next();
    if (!batch.ok()) return failed(batch.message());
    weight += total_weight(*batch);
    m.tokens += token_count(*batch);
    batches.push_back(std::move(batch).value());
  }
  auto loss = accumulate(batches, weight);
  if (!loss.ok()) return failed(loss.message());
  if (!std::isfinite(*loss))
    return failed(fmt::format("the loss is {}; lower the learning rate or lengthen the warm-up", *loss));
  m.lr = schedule.rate(step);
  auto norm = optimizer->step(exec, kernels, *gradients, m.lr);
  if (!norm.ok()) return failed(norm.message());
  ++step;
  tokens += static_cast<uint64_t>(m.tokens);
  m.step = step;
  m.steps = recipe.steps;
  m.loss = *loss;
  m.grad_norm = *norm;
  m.total_tokens = tokens;
  measure(&m, now_seconds() - begin);
  if (recipe.validation_every > 0 && step % recipe.validation_every == 0 && !validation.empty()) {
    RAISON_ASSIGN(m.validation_loss, validate());
    m.has_validation = true;
  }
  RAISON_RETURN_IF_ERROR(metrics.append(m));
  if (sinks.step && (step % recipe.log_every == 0 || step == recipe.steps || m.has_validation)) sinks.step(m);
  return m;
}

Status TrainSession::Impl::save() {
  TrainState s;
  s.step = step;
  s.tokens = tokens;
  s.version = setup.model->parameters().version;
  s.seed = recipe.seed;
  s.data_fingerprint = data->fingerprint();
  s.data_cursor = data->cursor();
  s.recipe = recipe_json(recipe);
  s.model = model_identity(setup);
  RAISON_ASSIGN(s.metrics_bytes, metrics.sync());
  RAISON_RETURN_IF_ERROR(write_checkpoint(recipe.checkpoint_dir, s, setup.model->parameters(), *optimizer));
  checkpointed_step = step;
  if (sinks.checkpoint) sinks.checkpoint(fmt::format("{}/step-{:06d}", recipe.checkpoint_dir, step));
  return prune_checkpoints(recipe.checkpoint_dir, recipe.keep_last, step);
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
  return impl_->step_once();
}

Result<RunEnd> TrainSession::run(const std::function<bool()>& should_stop) {
  const Recipe& r = impl_->recipe;
  while (!finished()) {
    if (should_stop && should_stop()) {
      if (impl_->checkpointed_step != impl_->step) RAISON_RETURN_IF_ERROR(checkpoint());
      return RunEnd::Stopped;
    }
    RAISON_RETURN_IF_ERROR(step());
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

Result<double> TrainSession::validation_loss() { return impl_->validate(); }

Status TrainSession::export_to(const std::string& folder) const {
  try {
    return export_model(*impl_->setup.model, impl_->setup.text, impl_->recipe.export_type, folder);
  } catch (const std::exception& e) { return error("{}: cannot export: {}", folder, e.what()); }
}

int64_t TrainSession::steps_done() const { return impl_->step; }
bool TrainSession::finished() const { return impl_->step >= impl_->recipe.steps; }
Model& TrainSession::model() { return *impl_->setup.model; }
const Recipe& TrainSession::recipe() const { return impl_->recipe; }
std::string TrainSession::model_folder() const { return impl_->recipe.out + "/model"; }
std::string TrainSession::metrics_path() const { return impl_->recipe.out + "/metrics.jsonl"; }

std::string progress_line(const StepMetrics& m) {
  const auto eta = static_cast<int64_t>(m.eta_seconds + 0.5);
  const std::string left = eta >= 3600 ? fmt::format("{}:{:02d}:{:02d}", eta / 3600, eta / 60 % 60, eta % 60)
                                       : fmt::format("{}:{:02d}", eta / 60, eta % 60);
  const std::string speed = m.tokens_per_second >= 1000 ? fmt::format("{:.1f}k", m.tokens_per_second / 1000)
                                                        : fmt::format("{:.0f}", m.tokens_per_second);
  std::string line = fmt::format("step {}/{}  loss {:.4f}  lr {:.2e}  norm {:.2f}  {} tok/s  ETA {}", m.step, m.steps, m.loss,
                                 m.lr, m.grad_norm, speed, left);
  if (m.has_validation) line += fmt::format("  validation {:.4f}", m.validation_loss);
  return line;
}

}  // namespace raison
