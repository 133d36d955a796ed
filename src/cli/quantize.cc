// raison quantize: a model as a GGUF of smaller numbers.
#include <memory>

#include "cli/commands.h"
#include "cli/conversion.h"
#include "cli/session.h"

namespace raison::cli {
namespace {

struct QuantizeOptions {
  std::string in, out, type;
  bool force = false;
  int threads = 0;
};

Result<int> run_quantize(const QuantizeOptions& options) {
  RAISON_ASSIGN(const FileType* type, find_file_type(options.type));
  RAISON_ASSIGN(const std::string in, resolve_model(options.in));
  return run_conversion(options.threads, options.out, [&](Exec& exec, const Progress& progress) {
    return quantize_model(in, options.out, *type, options.force, exec, progress);
  });
}

}  // namespace

void add_quantize(CLI::App& app, Action& action) {
  auto options = std::make_shared<QuantizeOptions>();
  CLI::App* command = app.add_subcommand("quantize", "Write a model as a GGUF file of smaller numbers");
  command->add_option("IN", options->in, "Model folder or GGUF file (of several parts: any of them)")->required();
  command->add_option("OUT", options->out, "GGUF file to write")->required();
  command->add_option("--type", options->type, "One of " + file_type_names())->required()->type_name("TYPE");
  command->add_flag("--force", options->force, "Replace OUT if it is there");
  add_threads_option(command, &options->threads);
  command->footer(
      "Q4_K_M is a good choice, Q8_0 hardly differs from the original. Which tensor gets which type: docs/quantize.md.\n\n"
      "Examples:\n"
      "  raison quantize DeepSeek-R1-Distill-Qwen-7B/ r1-7b.gguf --type Q4_K_M\n"
      "  raison quantize r1-7b-bf16.gguf r1-7b-q8.gguf --type Q8_0");
  command->callback([options, &action] { action = [options] { return run_quantize(*options); }; });
}

}  // namespace raison::cli
