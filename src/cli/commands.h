// The subcommands, one file each: add_X describes the command line and leaves what to run in `action`.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace raison::cli {

// Runs after parsing. The value is the exit code; an Error is printed as one line and gives code 1.
using Action = std::function<Result<int>()>;

void add_run(CLI::App& app, Action& action);
void add_logits(CLI::App& app, Action& action);
void add_tokenize(CLI::App& app, Action& action);
void add_render(CLI::App& app, Action& action);
void add_perplexity(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_train(CLI::App& app, Action& action);
void add_eval(CLI::App& app, Action& action);
void add_demo(CLI::App& app, Action& action);
void add_generate(CLI::App& app, Action& action);
void add_pull(CLI::App& app, Action& action);
void add_list(CLI::App& app, Action& action);
void add_rm(CLI::App& app, Action& action);
void add_quantize(CLI::App& app, Action& action);
void add_convert(CLI::App& app, Action& action);
void add_merge(CLI::App& app, Action& action);

// Options that several commands share.
CLI::Option* add_threads_option(CLI::App* command, int* threads);
// Bytes, or with K, M, G or T; unset if not given.
CLI::Option* add_weights_memory_option(CLI::App* command, std::optional<int64_t>* bytes);
CLI::Option* add_adapter_option(CLI::App* command, std::string* folder);
CLI::Option* add_cache_memory_option(CLI::App* command, std::optional<int64_t>* bytes);
// fallback "": the model's default.
CLI::Option* add_cache_type_option(CLI::App* command, std::string* type, const std::string& fallback);
// A whole number from 0; CLI11 itself would take -1 for the largest of them.
CLI::Option* add_seed_option(CLI::App* command, uint64_t* seed, const std::string& help);
CLI::Validator whole_number();
std::optional<uint64_t> parse_whole(std::string_view text);  // decimal digits alone, up to 2^64 - 1

// "1,4,16", whole numbers within bounds.
CLI::Option* add_list_option(CLI::App* command, const std::string& name, std::vector<int64_t>* list, int64_t low, int64_t high,
                             const std::string& help);

// Text that a command works on: -p, else -f FILE ("-" is stdin), else stdin. One newline at the end is dropped.
struct TextInput {
  std::string text, file;
  bool has_text = false;
};
Result<std::string> read_text(const TextInput& input);

}  // namespace raison::cli
