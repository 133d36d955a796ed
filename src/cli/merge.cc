// raison merge: a model with an adapter as a model of its own.
#include <memory>

#include "cli/commands.h"
#include "cli/conversion.h"
#include "cli/session.h"

namespace raison::cli {
namespace {

struct MergeOptions {
  std::string in, adapter, out, type = "bf16";
  bool force = false;
  int threads = 0;
};

Result<int> run_merge(const MergeOptions& options) {
  const bool gguf = options.out.ends_with(".gguf");
  RAISON_ASSIGN(const FileType* type, find_file_type(options.type));
  if (!gguf && type->base != DType::F32 && type->base != DType::BF16 && type->base != DType::F16)
    return error("--type {}: a folder holds F32, F16 or BF16; name OUT with .gguf for smaller types", options.type);
  if (!gguf && options.force) return error("--force is for a GGUF file; remove the folder {} yourself", options.out);
  RAISON_ASSIGN(const std::string in, resolve_model(options.in));
  return run_conversion(options.threads, options.out, [&](Exec& exec, const Progress& progress) {
    return gguf ? quantize_model(in, options.out, *type, options.force, exec, progress, options.adapter)
                : convert_to_hf(in, options.out, type->base, exec, progress, options.adapter);
  });
}

}  // namespace

void add_merge(CLI::App& app, Action& action) {
  auto options = std::make_shared<MergeOptions>();
  CLI::App* command = app.add_subcommand("merge", "Write a model and a LoRA adapter as one model");
  command->add_option("MODEL", options->in, "The base: model folder, GGUF file or ID of the hub")->required();
  command->add_option("ADAPTER", options->adapter, "The adapter: a folder as PEFT and raison train write it")->required();
  command->add_option("OUT", options->out, "Folder to write, or a GGUF file if it ends in .gguf")->required();
  command
      ->add_option("--type", options->type,
                   "Of a folder: F32, F16 or BF16 (default: BF16); of a GGUF one of " + file_type_names())
      ->type_name("TYPE");
  command->add_flag("--force", options->force, "Replace the GGUF file if it is there");
  add_threads_option(command, &options->threads);
  command->footer(
      "Each matrix becomes W + scale B A, computed in double and rounded once. Without merging, --adapter of run, generate, "
      "eval,\n"
      "logits and perplexity gives the adapter's answers as training saw them.\n\n"
      "Examples:\n"
      "  raison merge models/countdown-base runs/lora/adapter merged/\n"
      "  raison merge DeepSeek-R1-Distill-Qwen-7B/ adapter/ r1-7b-mine.gguf --type Q4_K_M");
  command->callback([options, &action] { action = [options] { return run_merge(*options); }; });
}

}  // namespace raison::cli
