// raison demo: what ./run shows. The bundled model thinks about a few problems that it was not taught on, and the verifier
// judges its answers.
#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>

#include "cli/chat.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/reply.h"
#include "verify/countdown.h"

namespace raison::cli {
namespace {

struct DemoOptions {
  std::string model;
  uint64_t seed = 1;
  int threads = 0;
};

// Their numbers (4-5-7, 2-6-9, 3-7-8) are among the triples that no training problem has.
constexpr std::array kQuestions = {"4 5 7 -> 8", "9 2 6 -> 30", "3 8 7 -> 29"};
constexpr int64_t kReplyLength = 240;  // tokens, the prompt's included: what the model was taught with

Result<Reply> ask(LoadedModel& m, const Thinking& thinking, Engine& engine, const std::string& question, uint64_t seed) {
  const nlohmann::ordered_json messages = nlohmann::ordered_json::array({{{"role", "user"}, {"content", question}}});
  ReplyRequest request;
  RAISON_ASSIGN(request.prompt, make_prompt(m.text, thinking, messages, question, false, {}));
  request.sampling.temperature = 1.0f;
  request.sampling.seed = seed;
  request.max_tokens = std::max<int64_t>(1, kReplyLength - static_cast<int64_t>(request.prompt.tokens.size()));
  return stream_reply(m.text, thinking, engine, request);
}

std::string verdict_line(const CountdownProblem& problem, const Reply& reply) {
  if (reply.finish != FinishReason::Stop) return "verifier: wrong: the reply did not come to an end";
  const CountdownVerdict verdict = judge_countdown_expression(problem, reply.answer);
  if (verdict.right()) return "verifier: right";
  return "verifier: wrong: " + terminal_safe(verdict.reason);
}

std::string name_of(const LoadedModel& m) {
  const auto path = std::filesystem::path(m.files.path + "/").lexically_normal().parent_path();
  return terminal_safe(path.has_filename() ? path.filename().string() : m.files.path);
}

std::string introduction(const LoadedModel& m, bool bundled) {
  if (!bundled)
    return fmt::format(
        "{}, a model of {} parameters, is asked to combine three numbers, each used once, by + - * to reach a\n"
        "target. Answers are checked exactly.\n\n",
        name_of(m), human_count(static_cast<double>(m.model->info().parameters)));
  return fmt::format(
      "This is {}, a model of {} parameters that raison itself taught: first to calculate and\n"
      "to search, then, by rewards alone, to keep looking. It knows the numbers from 0 to 99, and one task: combine three\n"
      "numbers, each used once, by + - * to reach a target.\n"
      "It thinks first: \"| 7 + 5 = 12\" combines two numbers, \"12 - 4 = 8 yes\" tries the third; lo and hi say\n"
      "that the result lies below or above the target. Below, thoughts are dim, and answers are checked exactly.\n\n",
      name_of(m), human_count(static_cast<double>(m.model->info().parameters)));
}

std::string closing(int right, size_t asked, bool bundled) {
  const std::string score = fmt::format("{} of {} right.", right, asked);
  if (!bundled) return score + "\n";
  return score +
         " Of 1,024 problems whose numbers it never saw together in training it solves 87 %;\n"
         "its base, countdown-base, 19 %. Between the two lie 60 steps of reinforcement learning, one or two minutes on two\n"
         "cores, in which nothing was said but right or wrong (recipes/countdown-zero.toml).\n"
         "To be open about it: the base's drills held the sums and products of these problems, never the problems; and the "
         "base\n"
         "can search already, it only gives up early: made to think on (--minimum 8 --count lo,hi,yes --until yes) it solves\n"
         "84 % untaught. What the rewards taught is, above all, that going on pays.\n\n"
         "Ask your own (three numbers from 1 to 10):\n"
         "  ./run run -p \"2 4 8 -> 24\"        one question\n"
         "  ./run run                          a chat\n"
         "  ./run demo countdown-base          the same problems, untaught\n"
         "  ./run train grpo recipes/countdown-zero.toml     teach it yourself; ./run train --plot runs/countdown-zero\n"
         "  ./run run YOUR_MODEL               any other model: a folder with config.json, a GGUF file, or an ID of the hub\n"
         "  ./run --help                       everything else; docs/teaching.md: your own task in ten minutes\n";
}

Result<int> run_demo(const DemoOptions& options) {
  RAISON_ASSIGN(auto m, load_for_use(options.model, options.threads));
  EngineOptions engine_options;
  engine_options.cache_type = DType::F32;  // as it was trained
  Engine engine(*m->model, *m->pool, *m->kernels, engine_options);
  RAISON_ASSIGN(const Thinking thinking, thinking_of(m->text, m->model->info().vocab));
  catch_interrupts();
  const bool bundled = options.model.empty();
  put(introduction(*m, bundled));
  int right = 0;
  for (const char* question : kQuestions) {
    RAISON_ASSIGN(const CountdownProblem problem, parse_countdown_problem(question));
    put(fmt::format("{}{}{}\n", stdout_has_style() ? "\033[1m" : "question: ", question, stdout_has_style() ? "\033[0m" : ""));
    RAISON_ASSIGN(const Reply reply, ask(*m, thinking, engine, question, options.seed));
    if (reply.finish == FinishReason::Cancelled) return output_status().ok() ? 130 : 1;
    const std::string verdict = verdict_line(problem, reply);
    right += verdict == "verifier: right";
    put(verdict + "\n\n");
  }
  put(closing(right, kQuestions.size(), bundled));
  return 0;
}

}  // namespace

void add_demo(CLI::App& app, Action& action) {
  auto options = std::make_shared<DemoOptions>();
  CLI::App* command = app.add_subcommand("demo", "Meet the bundled model: three problems, its thoughts, the verifier's word");
  command->add_option("MODEL", options->model, "Another model for the same task (default: the bundled one)");
  add_seed_option(command, &options->seed, "Seed of the random numbers (default: 1)");
  add_threads_option(command, &options->threads);
  command->footer("Example:\n  raison demo --seed 7");
  command->callback([options, &action] { action = [options] { return run_demo(*options); }; });
}

}  // namespace raison::cli
