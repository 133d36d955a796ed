// raison pull, list, rm: the models of the hub that are on this machine.
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/hub_session.h"
#include "hub/inventory.h"

namespace raison::cli {
namespace {
using nlohmann::ordered_json;

Result<int> run_pull(const std::string& argument) {
  RAISON_ASSIGN(const ModelId id, parse_model_id(argument));
  RAISON_ASSIGN(const HubSettings settings, hub_settings_from_environment());
  RAISON_ASSIGN(const PullResult result, pull_visibly(id, settings));
  if (result.stopped) return 130;
  if (result.files > 0)
    note(fmt::format("{}: {}, {}; {}", id.text(), counted(result.files, "file"), short_bytes(result.bytes),
                     result.new_files > 0 ? fmt::format("{} fetched now", result.new_files) : "all were here already"));
  put(result.path + "\n");
  return 0;
}

std::string day(int64_t seconds) {
  if (seconds <= 0) return "-";
  const auto time = static_cast<time_t>(seconds);
  struct tm parts = {};
  char text[16] = "";
  if (!localtime_r(&time, &parts) || strftime(text, sizeof text, "%Y-%m-%d", &parts) == 0) return "-";
  return text;
}

std::string joined(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, ", ")); }

// Columns as wide as they must be; two spaces between them.
std::string table_text(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}", row[i], widths[i] + 2);
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

std::string cache_table(const std::vector<CachedRepo>& repos) {
  std::vector<std::vector<std::string>> rows = {{"MODEL", "REVISION", "SIZE", "FILES", "USED", "WEIGHTS"}};
  int64_t total = 0;
  for (const CachedRepo& repo : repos) {
    total += repo.bytes;
    for (const CachedRevision& r : repo.revisions) {
      const std::string names = r.refs.empty() ? r.commit.substr(0, 12) : joined(r.refs);
      std::string weights = joined(r.weights);
      if (!r.whole) weights += (weights.empty() ? "" : "; ") + std::string("partial: ") + r.why;
      rows.push_back({repo.repo, terminal_safe(names), short_bytes(r.bytes), fmt::format("{}", r.files), day(r.last_used),
                      terminal_safe(weights)});
    }
    if (repo.partial_bytes > 0)
      rows.push_back({repo.repo, "-", short_bytes(repo.partial_bytes), "-", "-", "partial: a download that can go on"});
    else if (repo.revisions.empty())
      rows.push_back({repo.repo, "-", short_bytes(repo.bytes), "-", "-", "partial: no revision"});
  }
  return table_text(rows) + fmt::format("{} on disk\n", short_bytes(total));
}

ordered_json cache_json(const HubCache& cache, const std::vector<CachedRepo>& repos) {
  ordered_json out;
  out["cache"] = cache.root();
  out["models"] = ordered_json::array();
  for (const CachedRepo& repo : repos) {
    ordered_json j = {{"id", repo.repo}, {"path", repo.folder}, {"bytes", repo.bytes}, {"partial_bytes", repo.partial_bytes}};
    j["revisions"] = ordered_json::array();
    for (const CachedRevision& r : repo.revisions)
      j["revisions"].push_back({{"commit", r.commit},
                                {"refs", r.refs},
                                {"path", r.path},
                                {"files", r.files},
                                {"bytes", r.bytes},
                                {"last_used", r.last_used},
                                {"last_modified", r.last_modified},
                                {"complete", r.whole},
                                {"weights", r.weights}});
    out["models"].push_back(std::move(j));
  }
  return out;
}

Result<int> run_list(bool json) {
  RAISON_ASSIGN(const HubSettings settings, hub_settings_from_environment());
  const HubCache cache(settings.cache);
  const auto repos = list_cache(cache);
  if (json) {
    put(cache_json(cache, repos).dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  } else if (repos.empty()) {
    note(fmt::format("no models in {}; `raison pull ORG/NAME` brings one", settings.cache));
  } else {
    put(cache_table(repos));
  }
  return 0;
}

// What a person answers to a yes-or-no question.
bool says_yes(const std::string& question) {
  fwrite(question.data(), 1, question.size(), stderr);
  fflush(stderr);
  char answer[64];
  const ssize_t n = read(STDIN_FILENO, answer, sizeof answer);
  return n > 0 && (answer[0] == 'y' || answer[0] == 'Y');
}

struct RmOptions {
  std::string model;
  bool yes = false;
};

Result<int> run_rm(const RmOptions& options) {
  RAISON_ASSIGN(const ModelId id, parse_model_id(options.model));
  RAISON_ASSIGN(const HubSettings settings, hub_settings_from_environment());
  const HubCache cache(settings.cache);
  RAISON_ASSIGN(const Removal removal, plan_removal(cache, id));
  if (!options.yes) {
    if (!stdin_is_terminal() || !stderr_is_terminal())
      return error("{}: {} would be removed; say --yes, as there is no terminal to ask on", removal.what,
                   short_bytes(removal.bytes));
    if (!says_yes(fmt::format("Remove {} from {} ({})? [y/N] ", removal.what, settings.cache, short_bytes(removal.bytes)))) {
      note("nothing is removed");
      return 1;
    }
  }
  RAISON_RETURN_IF_ERROR(carry_out(cache, removal));
  put(fmt::format("removed {}: {} freed\n", removal.what, short_bytes(removal.bytes)));
  return 0;
}

}  // namespace

void add_pull(CLI::App& app, Action& action) {
  auto model = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("pull", "Download a model of the hub");
  command->add_option("ID", *model, "ORG/NAME[@REVISION][:QUANT]")->required();
  command->footer(
      "Into the cache that all clients of the hub share: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub. Only\n"
      "what the model needs: configs, tokenizer and safetensors, or one GGUF model (Q4_K_M unless QUANT says otherwise). "
      "Prints\n"
      "where it lies. After a break the same command goes on; nothing half counts as a model. HF_TOKEN opens gated and "
      "private\n"
      "models, HF_ENDPOINT names another hub.\n\n"
      "Examples:\n  raison pull deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B\n"
      "  raison pull bartowski/DeepSeek-R1-Distill-Llama-8B-GGUF:Q5_K_M");
  command->callback([model, &action] { action = [model] { return run_pull(*model); }; });
}

void add_list(CLI::App& app, Action& action) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("list", "Show the models in the hub's cache");
  command->add_flag("--json", *json, "Print JSON");
  command->footer("Sizes count what several names share once.\n\nExample:\n  raison list");
  command->callback([json, &action] { action = [json] { return run_list(*json); }; });
}

void add_rm(CLI::App& app, Action& action) {
  auto options = std::make_shared<RmOptions>();
  CLI::App* command = app.add_subcommand("rm", "Remove a model from the hub's cache");
  command->add_option("ID", options->model, "ORG/NAME[@REVISION][:QUANT]")->required();
  command->add_flag("--yes", options->yes, "Do not ask");
  command->footer(
      "Without @REVISION and :QUANT all of the model's revisions go. Other clients of the hub lose them too.\n\n"
      "Examples:\n  raison rm deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B\n  raison rm ORG/NAME-GGUF:Q8_0 --yes");
  command->callback([options, &action] { action = [options] { return run_rm(*options); }; });
}

}  // namespace raison::cli
