// Reinforcement learning on verifiable rewards. The walk of a step: prompts -> rollouts by the engine -> rewards -> advantages -> updates; the engine
// then draws the next step's rollouts from the weights that were updated: there is but one copy of them.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>

#include "base/rng.h"
#include "train/policy_update.h"
#include "train/reference_weights.h"
#include "train/run_folder.h"
#include "train/sample_db.h"
#include "train/step_in_flight.h"
#include "train/train_method.h"

namespace raison {
namespace {

constexpr uint64_t kRolloutSeed = 0x726F6C6C, kValidationSeed2 = 0x76616C32;
constexpr const char* kFlightFile = "rollouts.cbor";
constexpr const char* kReferenceFile = "reference.safetensors";

double clock_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Adds the time it lives to *sum.
class Stopwatch {
 public:
  explicit Stopwatch(double* sum) : sum_(sum), begin_(clock_seconds()) {}
  ~Stopwatch() { *sum_ += clock_seconds() - begin_; }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double* sum_;
  double begin_;
};

// One group of samples that takes part in the update.
struct ChosenGroup {
  size_t draw, prompt;
};

class PolicyMethod final : public TrainMethod {
 public:
  explicit PolicyMethod(const TrainParts& parts)
      : p_(parts), r_(parts.recipe), updater_(parts.exec, parts.kernels, parts.runner, parts.optimizer) {}

  Status prepare();
  Result<bool> step(int64_t done, double lr, StepMetrics* metrics) override;
  Status validate(StepMetrics* metrics) override;
  Status finish_step(const StepMetrics& metrics) override;
  nlohmann::ordered_json cursor() const override { return {{"prompts", taken_}}; }
  Status seek(const nlohmann::ordered_json& cursor) override;
  uint64_t fingerprint() const override { return prompts_->fingerprint(); }
  std::vector<CheckpointPart> parts() const override;
  Status read_parts(const std::string& folder) override;
  bool in_flight() const override { return flight_.finished() > 0; }
  Status begin(int64_t done) override;

 private:
  int64_t group() const { return r_.rollout.group; }
  RolloutOptions rollout_options() const;
  Status check_prompts();
  void add_draw(RolloutDraw* draw, size_t index);
  Result<bool> draw(int64_t done, size_t index);
  Result<bool> draw_all(int64_t done);
  Result<bool> judge(int64_t done, RolloutDraw* draw);
  std::vector<ChosenGroup> choose() const;
  bool has_signal(const RolloutDraw& draw, size_t prompt) const;
  double reward_of(const RewardScores& scores, size_t rollout) const;
  Status learn(double lr, StepMetrics* metrics);
  Status update(const PolicyBatch& batch, double lr, StepMetrics* metrics);
  Status describe(PolicyMetrics* m) const;

  TrainParts p_;
  const Recipe& r_;
  Thinking thinking_;
  std::vector<int32_t> stop_ids_;
  int64_t max_length_ = 0;
  std::unique_ptr<PromptSource> prompts_;
  std::unique_ptr<RewardSet> rewards_;
  std::unique_ptr<Engine> engine_;
  PolicyUpdater updater_;
  ReferenceWeights reference_;
  std::unique_ptr<SampleDb> db_;
  uint64_t taken_ = 0;              // prompts of the steps that are done
  StepInFlight flight_, made_;      // made_: of the step just made, for the samples' record
  uint64_t first_prompt_ = 0;       // of it
  std::vector<double> advantages_;  // by rollout of the chosen groups, for the samples' record
  std::vector<ChosenGroup> chosen_;
  double rollout_seconds_ = 0, verify_seconds_ = 0, update_seconds_ = 0;  // of the step in flight
};

Status PolicyMethod::prepare() {
  const ModelInfo& info = p_.setup.model->info();
  const TextCodec& codec = p_.setup.codec;
  if (!codec.tokenizer) return error("{}: {} has no tokenizer, so replies can't be read", r_.file, r_.model.path);
  RAISON_ASSIGN(thinking_, find_thinking(codec.chat_template.get(), *codec.tokenizer, info.vocab));
  stop_ids_ = p_.setup.stop_ids;
  keep_marks(thinking_, &stop_ids_);
  if (stop_ids_.empty()) return error("{}: {} names no token that ends a reply (eos_token_id)", r_.file, r_.model.path);
  if (!thinking_.format && (r_.rollout.budget >= 0 || r_.rollout.minimum > 0 || r_.rollout.think == std::optional<bool>(true)))
    return error("{}: rollout: this model does not think, so there is no thought to steer", r_.file);
  std::shared_ptr<const SyntheticTask> task;
  if (!r_.data.task.empty()) { RAISON_ASSIGN(task, make_synthetic_task(r_.data.task)); }
  max_length_ = r_.rollout.max_length;  // settled by resolve_lengths
  RAISON_ASSIGN(rewards_, RewardSet::create(r_, task, codec, thinking_, max_length_));
  std::vector<std::string> notices;
  RAISON_ASSIGN(prompts_, make_prompt_source(r_, codec, thinking_, max_length_, &notices));
  for (const std::string& n : notices) p_.notice(n);
  RAISON_RETURN_IF_ERROR(check_prompts());
  EngineOptions engine;
  engine.cache_type = r_.cache_type;
  engine.max_sequences = static_cast<int>(r_.rollout.together);
  engine.context = max_length_;
  engine_ = std::make_unique<Engine>(*p_.setup.model, p_.exec, p_.kernels, engine);
  return {};
}

// Every part of the reward must be able to judge every question: said now, not after an hour.
Status PolicyMethod::check_prompts() {
  for (const TrainPrompt* q : prompts_->all())
    if (const Status ok = rewards_->check(*q->question); !ok.ok()) return error("{}: {}", q->where, ok.message());
  return {};
}

Status PolicyMethod::begin(int64_t done) {
  if (r_.policy.has_reference() && !reference_.held()) {
    if (done > 0) return error("the checkpoint of step {} holds no reference for the KL", done);
    reference_.take(p_.setup.trained());
  }
  const std::string db = r_.out + "/samples.db";
  std::error_code ec;
  if (done == 0 && std::filesystem::exists(db, ec)) {  // of a run that left no checkpoint, or of another
    RAISON_ASSIGN(const std::string aside, set_file_aside(db));
    for (const char* extra : {"-wal", "-shm"}) std::filesystem::rename(db + extra, aside + extra, ec);
    p_.notice(fmt::format("{}: of an earlier run without a checkpoint; renamed to {}", db,
                          std::filesystem::path(aside).filename().string()));
  }
  if (r_.log_samples > 0) { RAISON_ASSIGN(db_, SampleDb::open(db, done)); }
  return {};
}

Status PolicyMethod::seek(const nlohmann::ordered_json& j) {
  if (!j.is_object() || !j.contains("prompts") || !j["prompts"].is_number_unsigned())
    return error("the data cursor {} names no place among prompts", j.dump());
  taken_ = j["prompts"].get<uint64_t>();
  return {};
}

std::vector<CheckpointPart> PolicyMethod::parts() const {
  std::vector<CheckpointPart> out;
  if (in_flight())
    out.push_back({kFlightFile, [this](const std::string& path) { return write_step_in_flight(path, flight_); }});
  if (reference_.held())
    out.push_back({kReferenceFile, [this](const std::string& path) { return reference_.write(path, p_.setup.trained()); }});
  return out;
}

Status PolicyMethod::read_parts(const std::string& folder) {
  const auto there = [&](const char* name) { return ::access((folder + "/" + name).c_str(), F_OK) == 0; };
  if (r_.policy.has_reference() && there(kReferenceFile))
    RAISON_RETURN_IF_ERROR(reference_.read(folder + "/" + kReferenceFile, p_.setup.trained()));
  if (!there(kFlightFile)) return {};
  RAISON_ASSIGN(StepInFlight flight, read_step_in_flight(folder + "/" + kFlightFile));
  const auto count = static_cast<size_t>(r_.rollout.prompts * group());
  for (size_t d = 0; d < flight.draws.size(); ++d) {
    RolloutDraw& draw = flight.draws[d];
    add_draw(&draw, d);
    bool same = draw.rollouts.size() == count;
    for (size_t i = 0; same && i < count; ++i)
      same = !draw.rollouts[i].finished() || draw.rollouts[i].prompt == draw.prompts[i / static_cast<size_t>(group())].tokens;
    if (!same) return error("{}/{}: rollouts of other prompts than this run's", folder, kFlightFile);
  }
  if (flight.draws.size() > static_cast<size_t>(r_.policy.most_draws))
    return error("{}/{}: more rounds of rollouts than this run draws", folder, kFlightFile);
  for (const RolloutDraw& d : flight.draws)
    if (d.scores.size() > 0 && d.scores.parts.size() != rewards_->names().size())
      return error("{}/{}: rewards of other parts than this run's", folder, kFlightFile);
  flight_ = std::move(flight);
  return {};
}

RolloutOptions PolicyMethod::rollout_options() const {
  const RolloutRecipe& r = r_.rollout;
  RolloutOptions o;
  o.group = r.group;
  o.sampling.temperature = static_cast<float>(r.temperature);
  o.sampling.top_k = static_cast<int>(r.top_k);
  o.sampling.top_p = static_cast<float>(r.top_p);
  o.sampling.min_p = static_cast<float>(r.min_p);
  o.sampling.repetition_penalty = static_cast<float>(r.repetition_penalty);
  o.sampling.presence_penalty = static_cast<float>(r.presence_penalty);
  o.sampling.frequency_penalty = static_cast<float>(r.frequency_penalty);
  o.length = max_length_;
  o.stop_ids = stop_ids_;
  o.adapter = p_.setup.adapter;
  o.think = thinking_.rules;
  o.think_limits.budget = r.budget;
  o.think_limits.minimum = r.minimum;
  return o;
}

void PolicyMethod::add_draw(RolloutDraw* draw, size_t index) {
  const auto n = static_cast<uint64_t>(r_.rollout.prompts);
  for (uint64_t i = 0; i < n; ++i) draw->prompts.push_back(prompts_->at(taken_ + index * n + i));
}

Result<bool> PolicyMethod::draw(int64_t done, size_t index) {
  RolloutDraw& d = flight_.draws[index];
  if (d.judged()) return true;
  const Stopwatch watch(&rollout_seconds_);
  const double begin = clock_seconds();
  const int64_t before = engine_->stats().generated_tokens;
  const std::vector<RolloutPrompt> prompts(d.prompts.begin(), d.prompts.end());
  const auto seed = hash_seed({r_.seed, kRolloutSeed, static_cast<uint64_t>(done), index});
  const auto progress = [&](int64_t finished) -> Result<bool> {
    if (p_.should_stop()) return false;
    const double seconds = clock_seconds() - begin;
    const auto tokens = static_cast<double>(engine_->stats().generated_tokens - before);
    p_.live(fmt::format("step {}/{}  {} of {} rollouts  {:.0f} tok/s", done + 1, r_.steps, finished, d.rollouts.size(),
                        tokens / std::max(seconds, 1e-6)));
    RAISON_RETURN_IF_ERROR(p_.save_if_due());
    return true;
  };
  return draw_rollouts(*engine_, prompts, seed, rollout_options(), &d.rollouts, progress);
}

// In slices, between which a run can be stopped and saved: a judge may take longer than the rollouts. false: stopped.
Result<bool> PolicyMethod::judge(int64_t done, RolloutDraw* d) {
  constexpr size_t kSlice = 32;
  const Stopwatch watch(&verify_seconds_);
  while (!d->judged()) {
    if (p_.should_stop()) return false;
    RAISON_RETURN_IF_ERROR(p_.save_if_due());
    std::vector<const TrainPrompt*> prompts;
    std::vector<const Rollout*> rollouts;
    const size_t begin = d->scores.size();
    for (size_t i = begin; i < std::min(begin + kSlice, d->rollouts.size()); ++i) {
      prompts.push_back(&d->prompts[i / static_cast<size_t>(group())]);
      rollouts.push_back(&d->rollouts[i]);
    }
    p_.live(fmt::format("step {}/{}  {} of {} judged", done + 1, r_.steps, begin, d->rollouts.size()));
    RAISON_ASSIGN(RewardScores some, rewards_->score(prompts, rollouts));
    d->scores.append(std::move(some));
  }
  return true;
}

double PolicyMethod::reward_of(const RewardScores& s, size_t rollout) const {
  double sum = 0;
  for (size_t f = 0; f < s.parts.size(); ++f) sum += rewards_->weights()[f] * s.parts[f][rollout].value_or(0);
  return sum;
}

// Do its samples' rewards differ? Without what shapes lengths: DAPO's eq. 11 asks for right answers and wrong ones.
bool PolicyMethod::has_signal(const RolloutDraw& d, size_t prompt) const {
  const auto g = static_cast<size_t>(group());
  const size_t parts = d.scores.parts.size() - (r_.policy.overlong_cache > 0 ? 1 : 0);
  using Value = std::optional<double>;
  const auto differ = [&](auto&& value) {  // those that no judge could tell of say nothing
    Value first;
    for (size_t i = prompt * g; i < (prompt + 1) * g; ++i) {
      const Value v = value(i);
      if (v && first && *v != *first) return true;
      if (v) first = v;
    }
    return false;
  };
  if (r_.policy.advantage.normalise_each)
    for (size_t f = 0; f < parts; ++f)
      if (differ([&](size_t i) { return d.scores.parts[f][i]; })) return true;
  return differ([&](size_t i) {
    Value sum;
    for (size_t f = 0; f < parts; ++f)
      if (const Value v = d.scores.parts[f][i]) sum = sum.value_or(0) + rewards_->weights()[f] * *v;
    return sum;
  });
}

std::vector<ChosenGroup> PolicyMethod::choose() const {
  std::vector<ChosenGroup> out;
  for (size_t d = 0; d < flight_.draws.size(); ++d)
    for (size_t i = 0; i < flight_.draws[d].prompts.size(); ++i) {
      if (static_cast<int64_t>(out.size()) == r_.rollout.prompts) return out;
      if (!r_.policy.dynamic_sampling || has_signal(flight_.draws[d], i)) out.push_back({d, i});
    }
  return out;
}

// Draws and judges until there are groups enough. false: stopped.
Result<bool> PolicyMethod::draw_all(int64_t done) {
  const int64_t most = r_.policy.dynamic_sampling ? r_.policy.most_draws : 1;
  for (size_t k = 0; static_cast<int64_t>(k) < most; ++k) {
    if (flight_.draws.size() <= k) {
      flight_.draws.emplace_back();
      add_draw(&flight_.draws.back(), k);
    }
    RAISON_ASSIGN(const bool whole, draw(done, k));
    if (!whole) return false;
    RAISON_ASSIGN(const bool judged, judge(done, &flight_.draws[k]));
    if (!judged) return false;
    if (k + 1 == flight_.draws.size() && static_cast<int64_t>(choose().size()) == r_.rollout.prompts) break;
  }
  return true;
}

Result<bool> PolicyMethod::step(int64_t done, double lr, StepMetrics* m) {
  RAISON_ASSIGN(const bool whole, draw_all(done));
  if (!whole) return false;
  engine_->forget_prefixes();  // the update needs the memory, and they are of weights that are about to change
  m->policy.emplace();
  RAISON_RETURN_IF_ERROR(describe(&*m->policy));
  RAISON_RETURN_IF_ERROR(learn(lr, m));
  m->tokens = m->policy->generated;
  m->policy->rollout_seconds = rollout_seconds_;
  m->policy->verify_seconds = verify_seconds_;
  m->policy->update_seconds = update_seconds_;
  const int64_t every = r_.policy.reference_every;
  if (r_.policy.has_reference() && every > 0 && (done + 1) % every == 0) reference_.take(p_.setup.trained());
  // From here on the step is made, whatever becomes of its logs.
  first_prompt_ = taken_;
  taken_ += flight_.draws.size() * static_cast<uint64_t>(r_.rollout.prompts);
  made_ = std::move(flight_);
  flight_ = {};
  rollout_seconds_ = verify_seconds_ = update_seconds_ = 0;
  return true;
}

Status PolicyMethod::learn(double lr, StepMetrics* m) {
  const Stopwatch watch(&update_seconds_);
  chosen_ = choose();
  const auto g = static_cast<size_t>(group());
  PolicyBatch all;
  RewardScores scores;
  for (const ChosenGroup& c : chosen_) {
    const RolloutDraw& d = flight_.draws[c.draw];
    RewardScores part;
    for (size_t f = 0; f < d.scores.parts.size(); ++f) {
      const auto begin = d.scores.parts[f].begin() + static_cast<std::ptrdiff_t>(c.prompt * g);
      part.parts.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(g));
    }
    scores.append(std::move(part));
    for (size_t i = c.prompt * g; i < (c.prompt + 1) * g; ++i) all.rollouts.push_back(&d.rollouts[i]);
  }
  advantages_.assign(all.rollouts.size(), 0);
  if (chosen_.empty()) return {};
  RAISON_ASSIGN(Advantages gains, advantages(scores.parts, rewards_->weights(), r_.policy.advantage));
  advantages_ = gains.values;
  all.advantages = std::move(gains.values);
  all.silent = std::move(gains.silent);
  std::vector<std::vector<float>> reference;
  if (r_.policy.has_reference()) {
    p_.live(fmt::format("logprobs of the reference for {} rollouts", all.rollouts.size()));
    const ReferenceWeights::InPlace in_place(reference_, p_.setup.trained());
    RAISON_ASSIGN(reference, updater_.logprobs(all.rollouts, static_cast<float>(r_.rollout.temperature), r_.batch.tokens));
  }
  for (const auto& ref : reference) all.ref.push_back(&ref);
  return update(all, lr, m);
}

// `epochs` passes of `updates` each, over whole groups.
Status PolicyMethod::update(const PolicyBatch& all, double lr, StepMetrics* m) {
  PolicyUpdateOptions o;
  o.loss = r_.policy.loss;
  o.temperature = static_cast<float>(r_.rollout.temperature);
  o.micro_batch = r_.batch.tokens;
  o.count_silent = !r_.policy.skip_silent;
  PolicyMetrics& pm = *m->policy;
  pm.groups = static_cast<int64_t>(chosen_.size());
  pm.ratio = 0;
  const uint64_t version = p_.setup.trained().version;
  const int64_t parts = std::min(r_.policy.updates, pm.groups);
  double norms = 0;
  for (int64_t k = 0; k < r_.policy.epochs * parts; ++k) {
    const int64_t part = k % parts, begin = part * pm.groups / parts * group(), end = (part + 1) * pm.groups / parts * group();
    const auto cut = [&](const auto& list) {
      using List = std::remove_cvref_t<decltype(list)>;
      return list.empty() ? List() : List(list.begin() + begin, list.begin() + end);
    };
    const PolicyBatch batch{cut(all.rollouts), cut(all.advantages), cut(all.silent), cut(all.ref)};
    p_.live(fmt::format("update {} of {}", k + 1, r_.policy.epochs * parts));
    // Logprobs are those before truncation, so they are compared off policy too.
    RAISON_ASSIGN(const PolicyUpdate u, updater_.update(batch, p_.setup.trained().version == version, o, lr));
    pm.compared += u.compared;
    if (!u.made) continue;  // nothing but silent groups
    ++pm.updates;
    m->loss += u.loss;
    norms += u.grad_norm;
    pm.samples += u.samples;
    pm.updated += u.tokens;
    pm.delta_logprob = std::max(pm.delta_logprob, u.delta_logprob);
    for (const auto& [to, value] :
         {std::pair{&pm.kl, u.kl}, {&pm.clipped_low, u.clipped_low}, {&pm.clipped_high, u.clipped_high}, {&pm.ratio, u.ratio}})
      *to += value;
  }
  const double n = static_cast<double>(std::max<int64_t>(pm.updates, 1));
  for (double* mean : {&m->loss, &pm.kl, &pm.clipped_low, &pm.clipped_high, &pm.ratio}) *mean /= n;
  m->grad_norm = norms / n;
  return {};
}

// What the step's rollouts were like, all draws together.
Status PolicyMethod::describe(PolicyMetrics* m) const {
  RewardScores all;
  double sum = 0, squares = 0, logprobs = 0;
  int64_t n = 0, ended = 0, ended_tokens = 0, drawn = 0, groups = 0, silent = 0;
  for (const RolloutDraw& d : flight_.draws) {
    all.append(d.scores);
    for (size_t i = 0; i < d.prompts.size(); ++i) silent += has_signal(d, i) ? 0 : 1;
    groups += static_cast<int64_t>(d.prompts.size());
    for (size_t i = 0; i < d.rollouts.size(); ++i) {
      const Generation& g = d.rollouts[i].reply;
      const auto tokens = static_cast<int64_t>(g.tokens.size());
      const double reward = reward_of(d.scores, i);
      sum += reward;
      squares += reward * reward;
      ++n;
      m->generated += tokens;
      m->length_most = std::max(m->length_most, tokens);
      ended += d.rollouts[i].truncated() ? 0 : 1;
      ended_tokens += d.rollouts[i].truncated() ? 0 : tokens;
      for (size_t t = 0; t < g.tokens.size(); ++t) {
        if (g.forced[t] != 0) continue;
        logprobs += static_cast<double>(g.logprobs[t]);
        ++drawn;
      }
    }
  }
  const double count = static_cast<double>(n);
  m->draws = static_cast<int64_t>(flight_.draws.size());
  m->reward = sum / count;
  m->reward_std = std::sqrt(std::max(0.0, squares / count - m->reward * m->reward));
  m->silent = static_cast<double>(silent) / static_cast<double>(groups);
  m->length = static_cast<double>(m->generated) / count;
  m->length_ended = ended > 0 ? static_cast<double>(ended_tokens) / static_cast<double>(ended) : 0;
  m->truncated = 1 - static_cast<double>(ended) / count;
  m->entropy = drawn > 0 ? -logprobs / static_cast<double>(drawn) : 0;
  for (const Verdict& v : all.verdicts) {
    m->right += v.kind == Verdict::Right ? 1 / count : 0;
    m->unparseable += v.kind == Verdict::Unparseable ? 1 / count : 0;
    m->failed += v.kind == Verdict::Failed ? 1 / count : 0;
  }
  for (size_t f = 0; f < all.parts.size(); ++f) {
    double part = 0;
    for (const auto& v : all.parts[f]) part += v.value_or(0);
    m->parts.emplace_back(rewards_->names()[f], part / count);
  }
  return {};
}

Status PolicyMethod::finish_step(const StepMetrics& m) {
  std::vector<SampleRow> rows;
  const auto g = static_cast<size_t>(group());
  for (size_t c = 0; c < chosen_.size() && static_cast<int64_t>(c) < r_.log_samples && db_; ++c) {
    const RolloutDraw& d = made_.draws[chosen_[c].draw];
    for (size_t k = 0; k < g; ++k) {
      const size_t i = chosen_[c].prompt * g + k;
      const Reply reply = rewards_->reply_of(d.rollouts[i]);
      const Verdict& v = d.scores.verdicts[i];
      nlohmann::ordered_json parts = nlohmann::ordered_json::object();
      for (size_t f = 0; f < d.scores.parts.size(); ++f) parts[rewards_->names()[f]] = d.scores.parts[f][i].value_or(0);
      SampleRow row;
      row.step = m.step;
      row.prompt = static_cast<int64_t>(first_prompt_ + chosen_[c].draw * d.prompts.size() + chosen_[c].prompt);
      row.sample = static_cast<int64_t>(k);
      row.question = d.prompts[chosen_[c].prompt].question->prompt;
      row.thought = reply.thought;
      row.reply = reply.text;
      row.answer = v.answer;
      row.verdict = verdict_name(v.kind);
      row.reason = v.reason;
      row.parts = parts.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
      row.reward = reward_of(d.scores, i);
      row.advantage = advantages_[c * g + k];
      row.tokens = reply.tokens;
      row.ended = reply.ended;
      rows.push_back(std::move(row));
    }
  }
  made_ = {};
  const Status kept = db_ && !rows.empty() ? db_->add(rows) : Status();
  if (!kept.ok()) {  // a record for people: no reason to end a run
    p_.notice(kept.message() + "; no more samples are kept");
    db_.reset();
  }
  return {};
}

Status PolicyMethod::validate(StepMetrics* m) {
  const auto prompts = prompts_->validation(r_.validation_sequences);
  if (prompts.empty()) return {};
  p_.live(fmt::format("step {}/{}  {} held-out prompts", m->step, r_.steps, prompts.size()));
  RolloutOptions o = rollout_options();
  o.group = 1;
  std::vector<Rollout> rollouts;
  // The same numbers each time, so that two steps differ by their weights alone.
  RAISON_RETURN_IF_ERROR(
      draw_rollouts(*engine_, {prompts.begin(), prompts.end()}, hash_seed({r_.seed, kValidationSeed2}), o, &rollouts));
  std::vector<const TrainPrompt*> questions;
  std::vector<const Rollout*> replies;
  for (size_t i = 0; i < prompts.size(); ++i) questions.push_back(&prompts[i]), replies.push_back(&rollouts[i]);
  RAISON_ASSIGN(const RewardScores scores, rewards_->score(questions, replies));
  double sum = 0, right = 0;
  for (size_t i = 0; i < prompts.size(); ++i) sum += reward_of(scores, i), right += scores.verdicts[i].right() ? 1 : 0;
  m->has_validation = true;
  m->validation_reward = sum / static_cast<double>(prompts.size());
  m->more.emplace_back("validation_right", right / static_cast<double>(prompts.size()));
  return {};
}

}  // namespace

Result<std::unique_ptr<TrainMethod>> make_policy(const TrainParts& parts) {
  auto method = std::make_unique<PolicyMethod>(parts);
  RAISON_RETURN_IF_ERROR(method->prepare());
  return std::unique_ptr<TrainMethod>(std::move(method));
}

}  // namespace raison
