// raison train: a training run from a recipe, with a progress line; Ctrl+C, SIGTERM and SIGHUP save a checkpoint first.
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "base/file.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/live_block.h"
#include "cli/session.h"
#include "cli/terminal_plot.h"
#include "train/curves.h"
#include "train/trainer.h"

namespace raison::cli {
namespace {

struct TrainOptions {
  std::string kind, recipe, out, plot;
  std::vector<std::string> settings;
  bool resume = false;
  int threads = 0;
};

// The progress line: redrawn in place on a terminal; elsewhere a line now and then, and always the last.
class Progress {
 public:
  void show(const StepMetrics& m) {
    const std::string line = progress_line(m);
    if (stderr_is_terminal()) {
      note_raw("\r\033[K" + line);
      open_ = true;
      return;
    }
    const auto now = std::chrono::steady_clock::now();
    if (m.step != m.steps && !m.has_validation && shown_ && now - last_ < std::chrono::seconds(10)) return;
    shown_ = true;
    last_ = now;
    note(line);
  }
  // How far a step is: behind the last step's line, a few times a second.
  void live(const std::string& line) {
    const auto now = std::chrono::steady_clock::now();
    if (!stderr_is_terminal() || now - drawn_ < std::chrono::milliseconds(100)) return;
    drawn_ = now;
    note_raw("\r\033[K" + line);
    open_ = true;
  }
  void say(const std::string& line) {
    close();
    note(line);
  }
  void close() {
    if (open_) note_raw("\n");
    open_ = false;
  }

 private:
  static void note_raw(const std::string& text) {
    fwrite(text.data(), 1, text.size(), stderr);
    fflush(stderr);
  }
  bool open_ = false, shown_ = false;
  std::chrono::steady_clock::time_point last_, drawn_;
};

Result<Recipe> load_recipe(const TrainOptions& options) {
  RAISON_ASSIGN(const std::string text, read_file(options.recipe, size_t{16} << 20));
  RAISON_ASSIGN(Recipe recipe, parse_recipe(text, options.recipe, options.settings));
  if (!options.out.empty()) {
    // The checkpoints move with the run's folder unless the recipe puts them somewhere of its own.
    if (recipe.checkpoint_dir == recipe.out + "/checkpoints") recipe.checkpoint_dir = options.out + "/checkpoints";
    recipe.out = options.out;
  }
  // A model to start from may be an ID of the hub; the run's papers name where it lies.
  if (!recipe.model.path.empty()) { RAISON_ASSIGN(recipe.model.path, resolve_model(recipe.model.path)); }
  const char* kind = train_kind_name(recipe.kind);
  if (options.kind != kind)
    return error("{}: the recipe is for {}, so the command is: raison train {} {}", options.recipe, kind, kind, options.recipe);
  return recipe;
}

// The curves of a run: in the terminal, and as a file beside its log.
Result<int> plot_run(const std::string& run) {
  std::error_code ec;
  const bool folder = std::filesystem::is_directory(run, ec);
  const std::string log = folder ? run + "/metrics.jsonl" : run;
  RAISON_ASSIGN(const std::vector<PlotPanel> panels, run_curves(log));
  const char* locale = std::getenv("LC_ALL");
  for (const char* name : {"LC_CTYPE", "LANG"})
    if (!locale || !*locale) locale = std::getenv(name);
  const std::string words = locale ? locale : "";
  const bool unicode =
      !stdout_is_terminal() || words.find("UTF-8") != std::string::npos || words.find("utf8") != std::string::npos;
  const int width = std::min(stdout_is_terminal() ? terminal_size().columns : 80, 120);
  for (const PlotPanel& p : panels) put(terminal_plot(p, width, 7, unicode) + "\n");
  const std::string svg = (folder ? run : std::filesystem::path(run).parent_path().string()) + "/curves.svg";
  RAISON_RETURN_IF_ERROR(write_file_atomic(svg, svg_plot(panels)));
  put(fmt::format("drawn: {}\n", svg));
  return 0;
}

Result<int> run_train(const TrainOptions& options) {
  if (!options.plot.empty()) {
    if (!options.kind.empty()) return error("--plot RUN draws a run that is there; leave out {}", options.kind);
    return plot_run(options.plot);
  }
  if (options.kind.empty() || options.recipe.empty())
    return error("needs a kind and a recipe: raison train grpo RECIPE.toml (or --plot RUN)");
  RAISON_ASSIGN(const KernelTable* kernels, select_kernels_from_environment());
  RAISON_ASSIGN(const Recipe recipe, load_recipe(options));
  signal(SIGPIPE, SIG_IGN);  // a closed terminal must not cost the work since the last checkpoint
  ThreadPool pool(options.threads > 0 ? options.threads : ThreadPool::default_threads());
  Progress progress;
  TrainSinks sinks;
  sinks.step = [&](const StepMetrics& m) { progress.show(m); };
  sinks.notice = [&](const std::string& line) { progress.say(line); };
  sinks.live = [&](const std::string& line) { progress.live(line); };
  sinks.checkpoint = [&](const std::string& path) { progress.say("checkpoint " + path); };
  // From here on, so that a mistake in the recipe or a long tokenisation ends at the first Ctrl+C.
  auto created = TrainSession::create(recipe, pool, *kernels, sinks, options.resume ? Resume::Auto : Resume::Never);
  if (!created.ok()) return created.error();
  TrainSession& session = **created;
  progress.say(session.memory_plan());
  catch_interrupts(true);
  const auto end = session.run([] { return interrupted(); });
  progress.close();
  if (!end.ok()) return end.error();
  if (*end == RunEnd::Stopped) {
    put(fmt::format("stopped after step {} of {}, checkpoint saved; --resume goes on with the same bits\n",
                    session.steps_done(), recipe.steps));
    return 130;
  }
  put(fmt::format("done: {} steps; {} in {}, metrics in {}\n", session.steps_done(), recipe.lora.on ? "adapter" : "model",
                  session.model_folder(), session.metrics_path()));
  return 0;
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = app.add_subcommand("train", "Teach a model by a recipe");
  command->add_option("KIND", options->kind, "pretrain, sft, dpo or grpo, as the recipe says")
      ->check(CLI::IsMember({"pretrain", "sft", "dpo", "grpo"}))
      ->type_name("pretrain|sft|dpo|grpo");
  command->add_option("RECIPE", options->recipe, "The recipe, a TOML file")->type_name("RECIPE.toml");
  command->add_flag("--resume", options->resume, "Go on from the newest checkpoint, if there is one, to the same bits");
  command->add_option("--out", options->out, "Folder of the run (default: the recipe's)")->type_name("DIR");
  command
      ->add_option("--set", options->settings,
                   "Change a value of the recipe, e.g. optimizer.lr=1e-4; may be given several times")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->expected(1);
  command->add_option("--plot", options->plot, "Draw the curves of a run's folder, here and into curves.svg in it")
      ->type_name("RUN");
  add_threads_option(command, &options->threads);
  command->footer(
      "Ctrl+C, SIGTERM and SIGHUP save a checkpoint and stop; a second Ctrl+C stops at once. The result has the same bits\n"
      "for any number of threads. The run's folder gets metrics.jsonl, checkpoints/ and, at the end, model/, or\n"
      "adapter/ (PEFT's format) by a recipe with a section lora.\n\n"
      "Examples:\n  raison train pretrain recipes/countdown-base.toml\n  raison train sft recipe.toml --out runs/a --resume\n"
      "  raison train sft recipe.toml --set steps=100 --set optimizer.lr=5e-4\n"
      "  raison train grpo recipes/countdown-zero.toml\n  raison train --plot runs/countdown-zero");
  command->callback([options, &action] { action = [options] { return run_train(*options); }; });
}

}  // namespace raison::cli
