// The program `raison`: picks a subcommand, prints what goes wrong as one line. Exit codes: 0 well, 1 an error, 2 a command
// line that makes no sense, 130 stopped by Ctrl+C.
#include <memory>
#include <new>

#include "base/cpu.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "kernels/kernel_table.h"

#ifndef RAISON_VERSION
#define RAISON_VERSION "0.1.0"
#endif

namespace raison::cli {
namespace {

std::string one_line(std::string text) {
  text = terminal_safe(text);
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  while (!text.empty() && (text.back() == ' ' || text.back() == '.')) text.pop_back();
  return text;
}

int fail(const std::string& message, int code) {
  note("raison: error: " + one_line(message));
  return code;
}

Result<int> print_version() {
  RAISON_ASSIGN(const KernelTable* kernels, select_kernels_from_environment());
  put(fmt::format("raison {}\nkernels {}\nCPU {}\n", RAISON_VERSION, kernels->name, cpu_name().name));
  return 0;
}

// The deepest subcommand on the command line, for the hint to its help.
std::string command_path(const CLI::App& app) {
  std::string path = "raison";
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    path += " " + at->get_name();
  }
  return path;
}

// Help without CLI11's type checks and cross references: names, a word for the value, a sentence.
class PlainHelp : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_positional() || option->get_type_size() == 0) return "";
    const std::string type = option->get_type_name();
    return " " + type.substr(0, type.find(':'));
  }
};

int run(int argc, char** argv) {
  CLI::App app{"raison runs and teaches reasoning models on your own hardware."};
  app.name("raison");
  app.require_subcommand(0, 1);
  app.formatter(std::make_shared<PlainHelp>());  // before the subcommands, which inherit it
  app.footer(
      "Examples:\n  raison demo                        meet the bundled model\n  raison run model/ -p \"Hello\"       one "
      "answer\n"
      "  raison run model.gguf              a chat\n  raison run ORG/NAME                a model of the hub, downloaded if "
      "need be\n  raison COMMAND --help              what a command can do");
  bool version = false;
  app.add_flag("--version", version, "Print version, kernels chosen and CPU");
  Action action;
  add_run(app, action);
  add_demo(app, action);
  add_pull(app, action);
  add_list(app, action);
  add_rm(app, action);
  add_train(app, action);
  add_generate(app, action);
  add_eval(app, action);
  add_inspect(app, action);
  add_bench(app, action);
  add_quantize(app, action);
  add_convert(app, action);
  add_merge(app, action);
  add_tokenize(app, action);
  add_render(app, action);
  add_logits(app, action);
  add_perplexity(app, action);
  app.set_help_all_flag("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const CLI::App* at = &app;
    while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
    put(at->help(at == &app ? "" : "raison"));
    return output_status().ok() ? 0 : fail(output_status().message(), 1);
  } catch (const CLI::ParseError& e) { return fail(one_line(e.what()) + "; see " + command_path(app) + " --help", 2); }
  if (version) action = print_version;
  if (!action) {
    put(app.help());
    return output_status().ok() ? 0 : fail(output_status().message(), 1);
  }
  const Result<int> code = action();
  if (!code.ok()) return fail(code.message(), 1);
  if (const Status written = output_status(); !written.ok()) return fail(written.message(), 1);
  return *code;
}

}  // namespace
}  // namespace raison::cli

int main(int argc, char** argv) {
  raison::cli::secure_standard_streams();
  try {
    return raison::cli::run(argc, argv);
  } catch (const std::bad_alloc&) { return raison::cli::fail("out of memory", 1); } catch (const std::exception& e) {
    return raison::cli::fail(std::string("internal: ") + e.what(), 1);
  }
}
