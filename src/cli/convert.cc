// raison convert: a GGUF as a Hugging Face folder.
#include <memory>

#include "cli/commands.h"
#include "cli/conversion.h"
#include "cli/session.h"

namespace raison::cli {
namespace {

struct ConvertOptions {
  std::string in, out, dtype = "bf16";
  int threads = 0;
};

Result<int> run_convert(const ConvertOptions& options) {
  return run_conversion(options.threads, options.out, [&](Exec& exec, const Progress& progress) {
    return convert_to_hf(options.in, options.out, float_type_from(options.dtype), exec, progress);
  });
}

}  // namespace

void add_convert(CLI::App& app, Action& action) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = app.add_subcommand("convert", "Write a GGUF as a Hugging Face folder");
  command->add_option("IN", options->in, "GGUF file (of several parts: any of them)")->required();
  command->add_option("OUT", options->out, "Folder to write: config.json, safetensors, tokenizer, chat template")->required();
  command->add_option("--dtype", options->dtype, "Type of the weights: f32, f16 or bf16 (default: bf16)")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->type_name("TYPE");
  add_threads_option(command, &options->threads);
  command->footer(
      "The other way round, and into smaller types: raison quantize.\n\nExample:\n"
      "  raison convert r1-7b.gguf r1-7b/");
  command->callback([options, &action] { action = [options] { return run_convert(*options); }; });
}

}  // namespace raison::cli
