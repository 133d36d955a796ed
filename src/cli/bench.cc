// raison bench: how fast a model answers on this machine, and how near that is to what the machine gives.
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/cpu.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/live_block.h"
#include "cli/session.h"
#include "engine/speed.h"

namespace raison::cli {
namespace {

constexpr int64_t kPrefill = 512, kDecodeSteps = 32;

struct BenchOptions {
  std::string model, json, cache_type;
  int64_t prefill = -1, decode = -1, context = 0;  // -1: the default, or what the context allows
  int64_t cached = 0;
  std::vector<int64_t> depths, batches;  // empty: the default
  int repetitions = 3, threads = 0;
  LoadOptions load;
};

std::string bench_label(const SpeedTest& t) {
  if (t.kind == SpeedTest::Kind::Prefill) return fmt::format("prefill {}", t.prompt);
  return t.sequences > 1 ? fmt::format("decode {} at once", t.sequences) : fmt::format("decode at {}", t.prompt);
}

// ---- the table ----

std::string bench_number(double x) { return x < 10 ? fmt::format("{:.2f}", x) : fmt::format("{:.1f}", x); }

std::string bench_head() {
  return fmt::format("{:<20}{:>10}{:>11}{:>9}{:>18}{:>24}  {:<6}{:>9}\n", "test", "tokens/s", "ms/step", "spread", "read GB/s",
                     "products GOPS", "limit", "reached");
}

std::string bench_line(const SpeedRow& r) {
  const double seconds = r.median_seconds();
  const bool int8 = r.cost.int8_ops > r.cost.fp32_ops;
  const double peak = int8 ? r.peaks.int8 : r.peaks.fp32;
  const std::string read =
      fmt::format("{} of {}", bench_number(1e-9 * r.cost.bytes() / seconds), bench_number(1e-9 * r.peaks.read));
  const std::string ops = fmt::format("{} of {} {}", bench_number(1e-9 * r.cost.ops() / seconds),
                                      peak > 0 ? bench_number(1e-9 * peak) : "?", int8 ? "int8" : "fp32");
  const std::string share =
      r.bound.seconds > 0 ? fmt::format("{}{:.1f} %", r.cost.estimated ? "~" : "", 100 * r.share()) : std::string("-");
  return fmt::format("{:<20}{:>10}{:>11.3f}{:>7.1f} %{:>18}{:>24}  {:<6}{:>9}\n", bench_label(r.test),
                     bench_number(r.tokens_per_second()), 1e3 * r.step_seconds(), 100 * r.spread(), read, ops,
                     bound_name(r.bound.kind), share);
}

std::string bench_title(const LoadedModel& m, const SpeedOptions& speed) {
  const ModelInfo& info = m.model->info();
  std::string out =
      fmt::format("{}: {}, {} parameters", m.files.path, info.architecture, human_count(static_cast<double>(info.parameters)));
  if (info.experts > 0) out += fmt::format(", {} active", human_count(static_cast<double>(info.active_parameters)));
  out += fmt::format("; weights {}, {}; cache {}, context {}\n", info.weight_types,
                     human_bytes(static_cast<double>(info.weight_bytes)), cache_type_name(speed.cache_type), speed.context);
  out += fmt::format("{}; kernels {}, {}\n", cpu_name().described(), m.kernels->name, counted(m.pool->threads(), "thread"));
  return out + fmt::format("{} of {} decoded tokens; random prompts, greedy answers, nothing reused\n\n",
                           counted(speed.repetitions, "repetition"), speed.decode_steps);
}

std::string bench_notes(const std::vector<SpeedRow>& rows, const ModelInfo& info) {
  std::string out =
      "\nMedians. spread: slowest less fastest repetition. reached: the share of the shortest time that reading weights and "
      "cache\n"
      "once (read), or the products (fp32, int8), would take at the peaks after \"of\", measured beside each row on its "
      "threads.\n";
  if (std::any_of(rows.begin(), rows.end(), [](const SpeedRow& r) { return r.cost.estimated; }))
    out += "~: which experts a batch meets is estimated, as if each token drew its own by lot.\n";
  if (const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE); cache > 0 && info.weight_bytes < cache)
    out += fmt::format("The weights fit into the CPU's cache of {}: reading them may go faster than memory does.\n",
                       human_bytes(static_cast<double>(cache)));
  return out;
}

// ---- JSON ----

nlohmann::ordered_json bench_row_json(const SpeedRow& r) {
  const auto speed = [&](double seconds) { return static_cast<double>(r.tokens) / seconds; };
  const auto [low, high] = std::minmax_element(r.seconds.begin(), r.seconds.end());
  nlohmann::ordered_json j;
  j["test"] = r.test.kind == SpeedTest::Kind::Prefill ? "prefill" : "decode";
  j["label"] = bench_label(r.test);
  j["depth"] = r.test.kind == SpeedTest::Kind::Prefill ? 0 : r.test.prompt;
  j["sequences"] = r.test.sequences;
  j["tokens"] = r.tokens;
  j["steps"] = r.steps;
  j["seconds"] = r.seconds;
  j["tokens_per_second"] = r.tokens_per_second();
  j["tokens_per_second_min"] = speed(*high);
  j["tokens_per_second_max"] = speed(*low);
  j["ms_per_step"] = 1e3 * r.step_seconds();
  j["spread"] = r.spread();
  const StepCost step = r.cost * (1.0 / static_cast<double>(r.steps));
  j["step"] = {{"weight_bytes", step.weight_bytes},
               {"cache_bytes", step.cache_bytes},
               {"fp32_operations", step.fp32_ops},
               {"int8_operations", step.int8_ops},
               {"estimated", step.estimated}};
  j["peaks"] = {{"read_bytes_per_second", r.peaks.read},
                {"fp32_operations_per_second", r.peaks.fp32},
                {"int8_operations_per_second", r.peaks.int8}};
  j["limit"] = bound_name(r.bound.kind);
  j["reached"] = r.bound.seconds > 0 ? nlohmann::ordered_json(r.share()) : nlohmann::ordered_json();
  return j;
}

Status write_bench_json(const BenchOptions& o, const LoadedModel& m, const SpeedOptions& speed,
                        const std::vector<SpeedRow>& rows, const std::optional<SpeedMeter::FirstToken>& first, bool stopped) {
  if (o.json.empty()) return {};
  const ModelInfo& info = m.model->info();
  const CpuName cpu = cpu_name();
  nlohmann::ordered_json j;
  j["model"] = m.files.path;
  j["architecture"] = info.architecture;
  j["parameters"] = info.parameters;
  j["active_parameters"] = info.active_parameters;
  j["weight_types"] = info.weight_types;
  j["weight_bytes"] = info.weight_bytes;
  j["cache_type"] = cache_type_name(speed.cache_type);
  j["context"] = speed.context;
  j["cpu"] = {{"name", cpu.name}, {"family", cpu.family}, {"model", cpu.model}};
  j["kernels"] = m.kernels->name;
  j["threads"] = m.pool->threads();
  j["repetitions"] = speed.repetitions;
  j["decode_steps"] = speed.decode_steps;
  j["interrupted"] = stopped;
  j["rows"] = nlohmann::ordered_json::array();
  for (const SpeedRow& r : rows) j["rows"].push_back(bench_row_json(r));
  if (first)
    j["first_token"] = {{"prefix", o.cached},
                        {"own", SpeedMeter::kOwn},
                        {"cached_seconds", first->cached},
                        {"uncached_seconds", first->uncached}};
  return write_file_atomic(o.json, j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

// ---- what is measured ----

// What was asked for must be possible; of the defaults those are taken that are. None twice: one sequence at once is decoding at 0.
Result<std::vector<SpeedTest>> bench_plan(const BenchOptions& o, const SpeedMeter& meter, int64_t context) {
  std::vector<SpeedTest> plan;
  const auto add = [&](const SpeedTest& t, bool asked) -> Status {
    if (std::find(plan.begin(), plan.end(), t) != plan.end()) return {};
    const Status possible = meter.check(t);
    if (possible.ok()) plan.push_back(t);
    return asked ? possible : Status();
  };
  const int64_t prompt = o.prefill >= 0 ? o.prefill : std::min(kPrefill, context - 1);
  if (prompt > 0) RAISON_RETURN_IF_ERROR(add({SpeedTest::Kind::Prefill, prompt, 1}, o.prefill >= 0));
  for (const int64_t depth : o.depths.empty() ? std::vector<int64_t>{0, 2048, 8192} : o.depths)
    RAISON_RETURN_IF_ERROR(add({SpeedTest::Kind::Decode, depth, 1}, !o.depths.empty()));
  for (const int64_t batch : o.batches.empty() ? std::vector<int64_t>{1, 4, 16} : o.batches)
    RAISON_RETURN_IF_ERROR(add({SpeedTest::Kind::Decode, 0, batch}, !o.batches.empty()));
  if (o.cached > 0) RAISON_RETURN_IF_ERROR(meter.check({SpeedTest::Kind::Prefill, o.cached + SpeedMeter::kOwn, 1}));
  if (plan.empty()) return error("a context of {} leaves nothing to measure; raise --ctx or lower --decode", context);
  return plan;
}

// On a terminal what is going on, at most ten times a second: the threads that compute should not wait for it.
bool bench_progress(const std::string& what) {
  static double last = 0;
  if (const double now = steady_seconds(); now - last > 0.1) {
    last = now;
    show_progress(what);
  }
  return !interrupted();
}

Result<int> run_bench(const BenchOptions& o) {
  // Tried before the work (and removed again), so that none is lost on a name that can't be written.
  if (!o.json.empty()) RAISON_RETURN_IF_ERROR(AtomicFile::create(o.json));
  RAISON_ASSIGN(auto m, load_for_use(o.model, o.threads, false, o.load));
  const int64_t limit = m->model->info().context_length;
  if (o.context > limit) return error("--ctx {} is more than the model's context of {}", o.context, limit);
  SpeedOptions speed;
  RAISON_ASSIGN(speed.cache_type, cache_type_for(*m->model, o.cache_type));
  speed.context = o.context > 0 ? o.context : limit;
  speed.repetitions = o.repetitions;
  speed.decode_steps = o.decode > 0 ? o.decode : std::clamp<int64_t>(speed.context / 2 / o.repetitions, 1, kDecodeSteps);
  speed.progress = bench_progress;
  RAISON_ASSIGN(const PeakMeter peaks, PeakMeter::create(*m->pool, *m->kernels));
  SpeedMeter meter(*m->model, *m->pool, *m->kernels, peaks, speed);
  RAISON_ASSIGN(const std::vector<SpeedTest> plan, bench_plan(o, meter, speed.context));
  catch_interrupts();
  put(bench_title(*m, speed) + bench_head());
  std::vector<SpeedRow> rows;
  std::optional<Error> failed;
  for (const SpeedTest& test : plan) {
    auto row = meter.measure(test);
    clear_progress();
    if (!row.ok()) failed = row.error();
    if (!row.ok() || !*row) break;
    put(bench_line(**row));
    rows.push_back(std::move(**row));
  }
  bool stopped = rows.size() < plan.size();
  std::optional<SpeedMeter::FirstToken> first;
  if (o.cached > 0 && !stopped && !failed) {
    auto measured = meter.measure_first_token(o.cached);
    clear_progress();
    if (!measured.ok()) failed = measured.error();
    if (measured.ok()) first = *measured;
    stopped = !first;
    if (first)
      put(fmt::format("first token behind {} cached: {:.1f} ms, {:.2f} % of the {:.1f} ms without the cache\n", o.cached,
                      1e3 * first->cached, 100 * first->cached / first->uncached, 1e3 * first->uncached));
  }
  if (!rows.empty()) put(bench_notes(rows, m->model->info()));
  RAISON_RETURN_IF_ERROR(write_bench_json(o, *m, speed, rows, first, stopped));
  if (failed) return *failed;
  if (stopped) note("interrupted; what is above was measured whole");
  return stopped ? 130 : 0;
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  auto o = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand("bench", "Measure how fast a model answers, beside what the machine gives");
  command->add_option("MODEL", o->model, "Model folder, GGUF file or ID of the hub")->required();
  command->add_option("--prefill", o->prefill, "Tokens of the prompt that is timed, 0 for none (default: 512)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24))
      ->type_name("N");
  command->add_option("--decode", o->decode, "Tokens decoded in one repetition (default: 32)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->type_name("N");
  add_list_option(command, "--depths", &o->depths, 0, 1 << 24,
                  "Decode behind so many positions (default: 0,2048,8192, as far as the context goes)");
  add_list_option(command, "--batches", &o->batches, 1, 1024, "Decode so many sequences at once (default: 1,4,16)");
  command
      ->add_option("--cached", o->cached,
                   "Time to the first token of a prompt whose first N tokens are cached, and of one's that are not")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->type_name("N");
  command->add_option("--repetitions", o->repetitions, "Times that each is measured (default: 3)")
      ->check(CLI::Range(1, 1000))
      ->type_name("N");
  command->add_option("--ctx", o->context, "Positions that a sequence may use (default: the model's context)")
      ->check(CLI::Range(int64_t{4}, int64_t{1} << 24))
      ->type_name("N");
  command->add_option("--json", o->json, "Write the figures to this file too")->type_name("F");
  add_cache_type_option(command, &o->cache_type, "");
  add_weights_memory_option(command, &o->load.weights_memory);
  add_threads_option(command, &o->threads);
  command->footer(
      "Ctrl+C ends it with the rows that are done; a second one at once.\n\nExamples:\n  raison bench models/countdown-base\n"
      "  raison bench model.gguf --prefill 128 --depths 0,4096 --batches 1,8 --json speed.json");
  command->callback([o, &action] { action = [o] { return run_bench(*o); }; });
}

}  // namespace raison::cli
