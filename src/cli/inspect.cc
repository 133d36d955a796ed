// raison inspect: what a file or folder is, honestly named.
#include "cli/inspect.h"

#include <filesystem>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/session.h"

namespace raison::cli {
namespace {

void line(std::string* out, std::string_view label, const std::string& value) {
  if (!value.empty()) *out += fmt::format("{:<14}{}\n", label, terminal_safe(value));
}

int64_t cache_bytes_per_token(const ModelInfo& info, int64_t element_bytes) { return info.cache_values * element_bytes; }

std::string template_words(const TokenizerFacts& t) {
  if (!t.has_template) return "none (raw continuation only)";
  if (!t.template_problem.empty()) return "present, but: " + t.template_problem;
  if (t.prompt_opens_thought) return "present; its prompt ends inside <think>, so every reply begins with a thought";
  if (t.template_knows_thought) return "present; knows thoughts, the model opens them itself";
  return "present; without thoughts";
}

void model_lines(const ModelInfo& m, std::string* out) {
  line(out, "context", fmt::format("{} positions", grouped(m.context_length)));
  line(out, "layers", fmt::format("{}, hidden {}, feed-forward {}", m.layers, m.hidden, m.feed_forward));
  line(out, "heads", fmt::format("{} query, {} key-value, {} wide", m.q_heads, m.kv_heads, m.head_dim));
  if (m.experts > 0)
    line(out, "experts",
         fmt::format("{} of which a token meets {}{}", m.experts, m.experts_used,
                     m.shared_experts > 0 ? fmt::format(", and {} shared by all", m.shared_experts) : ""));
  if (m.mtp_layers > 0)
    line(out, "set aside", fmt::format("{} multi-token-prediction layer{}", m.mtp_layers, m.mtp_layers == 1 ? "" : "s"));
  line(out, "vocabulary",
       fmt::format("{} rows, embeddings {}", grouped(m.vocab), m.tied_embeddings ? "tied to the head" : "apart from the head"));
}

}  // namespace

std::string inspection_text(const Inspection& i) {
  std::string out;
  line(&out, "what", i.title);
  line(&out, "", i.remark);
  line(&out, "path", i.path);
  line(&out, "format", i.format);
  line(&out, "calls itself", i.name);
  if (!i.architecture.empty())
    line(&out, "architecture", i.hf_class.empty() ? i.architecture : fmt::format("{} ({})", i.architecture, i.hf_class));
  if (!i.unsupported.empty()) line(&out, "runs here", "no: " + i.unsupported);
  if (i.parameters > 0)
    line(&out, i.info ? "parameters" : "elements",
         fmt::format("{} ({})", grouped(i.parameters), human_count(static_cast<double>(i.parameters))));
  bool first = true;
  for (const TypeCount& t : i.types) {
    line(&out, first ? "tensors" : "",
         fmt::format("{} of {}, {} values, {}", t.tensors, t.type, grouped(t.elements),
                     human_bytes(static_cast<double>(t.bytes))));
    first = false;
  }
  if (i.info) model_lines(*i.info, &out);
  if (i.tokenizer) {
    line(&out, "tokenizer",
         fmt::format("{}, {} entries{}{}", i.tokenizer->kind, grouped(i.tokenizer->vocabulary),
                     i.tokenizer->bos.empty() ? "" : ", begins with " + i.tokenizer->bos,
                     i.tokenizer->eos.empty() ? "" : ", ends with " + i.tokenizer->eos));
    line(&out, "template", template_words(*i.tokenizer));
    line(&out, "think tokens", i.tokenizer->think_tokens ? "<think> and </think> are single tokens" : "none");
  } else if (!i.tokenizer_problem.empty()) {
    line(&out, "tokenizer", "unusable: " + i.tokenizer_problem);
  }
  line(&out, "on disk",
       fmt::format("{} in {} file{}", human_bytes(static_cast<double>(i.disk_bytes)), i.files, i.files == 1 ? "" : "s"));
  if (i.memory_bytes) {
    const int64_t per_token = cache_bytes_per_token(*i.info, 2);
    line(&out, "in memory",
         fmt::format("{} of weights, and {} of f16 cache per token ({} for the whole context)",
                     human_bytes(static_cast<double>(*i.memory_bytes)), human_bytes(static_cast<double>(per_token)),
                     human_bytes(static_cast<double>(per_token) * static_cast<double>(i.info->context_length))));
  }
  return out;
}

nlohmann::ordered_json inspection_json(const Inspection& i) {
  nlohmann::ordered_json j;
  j["title"] = i.title;
  if (!i.remark.empty()) j["remark"] = i.remark;
  j["path"] = i.path;
  j["format"] = i.format;
  j["name"] = i.name;
  j["architecture"] = i.architecture;
  j["hf_class"] = i.hf_class;
  j["supported"] = i.info.has_value() && i.unsupported.empty();
  if (!i.unsupported.empty()) j["unsupported"] = i.unsupported;
  j["parameters"] = i.parameters;
  j["tensor_types"] = nlohmann::ordered_json::array();
  for (const TypeCount& t : i.types)
    j["tensor_types"].push_back({{"type", t.type}, {"tensors", t.tensors}, {"elements", t.elements}, {"bytes", t.bytes}});
  if (i.info) {
    const ModelInfo& m = *i.info;
    j["context_length"] = m.context_length;
    j["layers"] = m.layers;
    j["hidden"] = m.hidden;
    j["feed_forward"] = m.feed_forward;
    j["query_heads"] = m.q_heads;
    j["kv_heads"] = m.kv_heads;
    j["head_dim"] = m.head_dim;
    if (m.experts > 0) {
      j["experts"] = m.experts;
      j["experts_used"] = m.experts_used;
      j["shared_experts"] = m.shared_experts;
      j["active_parameters"] = m.active_parameters;
    }
    if (m.mtp_layers > 0) j["mtp_layers"] = m.mtp_layers;
    j["vocabulary"] = m.vocab;
    j["tied_embeddings"] = m.tied_embeddings;
    j["f16_cache_bytes_per_token"] = cache_bytes_per_token(m, 2);
  }
  if (i.tokenizer) {
    j["tokenizer"] = {{"kind", i.tokenizer->kind},
                      {"vocabulary", i.tokenizer->vocabulary},
                      {"bos", i.tokenizer->bos},
                      {"eos", i.tokenizer->eos},
                      {"think_tokens", i.tokenizer->think_tokens}};
    j["chat_template"] = {{"present", i.tokenizer->has_template},
                          {"prompt_opens_thought", i.tokenizer->prompt_opens_thought},
                          {"knows_thoughts", i.tokenizer->template_knows_thought}};
    if (!i.tokenizer->template_problem.empty()) j["chat_template"]["problem"] = i.tokenizer->template_problem;
  } else if (!i.tokenizer_problem.empty()) {
    j["tokenizer_problem"] = i.tokenizer_problem;
  }
  j["disk_bytes"] = i.disk_bytes;
  j["tensor_bytes"] = i.tensor_bytes;
  if (i.memory_bytes) j["memory_bytes"] = *i.memory_bytes;
  return j;
}

namespace {

struct InspectOptions {
  std::string path;
  bool json = false;
};

Result<int> run_inspect(const InspectOptions& options) {
  RAISON_ASSIGN(const std::string path, resolve_model(options.path));
  RAISON_ASSIGN(const Inspection inspection, inspect_path(path));
  if (options.json)
    put(inspection_json(inspection).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  else
    put(inspection_text(inspection));
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand("inspect", "Say what a model file or folder is");
  command
      ->add_option("PATH", options->path,
                   "Model folder, GGUF or safetensors file, or tokenizer folder (default: the bundled model)")
      ->type_name("FILE|DIR");
  command->add_flag("--json", options->json, "Print JSON");
  command->footer(
      "Reads headers and configs only, never the weights.\n\nExamples:\n  raison inspect model.gguf\n  raison inspect model/ "
      "--json");
  command->callback([options, &action] { action = [options] { return run_inspect(*options); }; });
}

}  // namespace raison::cli
