// The gathering half of `raison inspect`: headers, configs and tokenizer, never a weight.
#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>

#include "cli/console.h"
#include "cli/inspect.h"
#include "cli/session.h"
#include "io/safetensors.h"
#include "tensor/packed.h"

namespace raison::cli {
namespace fs = std::filesystem;
namespace {

struct Known {
  const char* architecture;
  int64_t layers, hidden;
  const char* name;
};

// Shapes of the families' published sizes; anything else is named by its number of parameters.
constexpr std::array kKnown = {
    Known{"qwen2", 24, 896, "Qwen2 0.5B"},   Known{"qwen2", 28, 1536, "Qwen2 1.5B"}, Known{"qwen2", 36, 2048, "Qwen2 3B"},
    Known{"qwen2", 28, 3584, "Qwen2 7B"},    Known{"qwen2", 48, 5120, "Qwen2 14B"},  Known{"qwen2", 64, 5120, "Qwen2 32B"},
    Known{"qwen2", 80, 8192, "Qwen2 72B"},   Known{"llama", 16, 2048, "Llama 1B"},   Known{"llama", 28, 3072, "Llama 3B"},
    Known{"llama", 32, 4096, "Llama 7B/8B"}, Known{"llama", 80, 8192, "Llama 70B"},
};

std::string family_name(const std::string& architecture) {
  static const std::map<std::string, std::string> names = {{"llama", "Llama"},
                                                           {"qwen2", "Qwen2"},
                                                           {"qwen3", "Qwen3"},
                                                           {"qwen3moe", "Qwen3-MoE"},
                                                           {"qwen3_moe", "Qwen3-MoE"},
                                                           {"deepseek2", "DeepSeek"},
                                                           {"deepseek_v2", "DeepSeek-V2"},
                                                           {"deepseek_v3", "DeepSeek-V3"},
                                                           {"kimi_k2", "Kimi-K2"}};
  const auto it = names.find(architecture);
  return it != names.end() ? it->second : architecture.empty() ? "unknown architecture" : architecture;
}

std::string short_count(int64_t n) {
  const auto d = static_cast<double>(n);
  if (n >= 1'000'000'000) return fmt::format("{:.3g}B", d / 1e9);
  if (n >= 1'000'000) return fmt::format("{:.3g}M", d / 1e6);
  if (n >= 1'000) return fmt::format("{:.3g}K", d / 1e3);
  return fmt::format("{}", n);
}

void count_types(const TensorSource& source, Inspection* out) {
  std::map<std::string, TypeCount> types;
  for (const TensorInfo& t : source.tensors()) {
    TypeCount& count = types[t.type_name];
    count.type = t.type_name;
    ++count.tensors;
    count.elements += t.elements();
    count.bytes += t.bytes;
    out->tensor_bytes += t.bytes;
    out->parameters += t.elements();
  }
  for (const auto& [name, count] : types) out->types.push_back(count);
  std::stable_sort(out->types.begin(), out->types.end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
}

// The first tensor that loading would refuse for its type, or null.
const TensorInfo* uncomputable(const TensorSource& source) {
  for (const TensorInfo& t : source.tensors())
    if (!t.known_type || !is_computable(t.type)) return &t;
  return nullptr;
}

// Matrices lie in panels of 16 rows (tensor/packed.h), everything else as fp32.
uint64_t memory_of(const TensorSource& source) {
  uint64_t bytes = 0;
  for (const TensorInfo& t : source.tensors()) {
    if (t.shape.size() == 2)
      bytes += static_cast<uint64_t>(panel_count(t.shape[0]) * panel_bytes(t.type, t.shape[1]));
    else
      bytes += 4 * static_cast<uint64_t>(t.elements());
  }
  return bytes;
}

void measure_disk(const fs::path& path, Inspection* out) {
  std::error_code ec;
  if (fs::is_regular_file(path, ec)) {
    out->disk_bytes += fs::file_size(path, ec);
    ++out->files;
    return;
  }
  for (const auto& entry : fs::directory_iterator(path, ec))
    if (entry.is_regular_file(ec)) {
      out->disk_bytes += entry.file_size(ec);
      ++out->files;
    }
}

void probe_template(const TextSide& text, TokenizerFacts* facts) {
  facts->has_template = text.chat_template != nullptr;
  if (!text.chat_template) return;
  facts->template_knows_thought = text.chat_template->source().find("think") != std::string::npos;
  const nlohmann::ordered_json hello = nlohmann::ordered_json::array({{{"role", "user"}, {"content", "Hello"}}});
  const auto prompt = text.render(hello);
  if (!prompt.ok()) {
    facts->template_problem = prompt.message();
    return;
  }
  const size_t open = prompt->rfind("<think>"), close = prompt->rfind("</think>");
  facts->prompt_opens_thought = open != std::string::npos && (close == std::string::npos || close < open);
}

void add_tokenizer(Result<TextSide> text, Inspection* out) {
  if (!text.ok()) {
    out->tokenizer_problem = text.message();
    return;
  }
  TokenizerFacts facts;
  facts.kind = text->tokenizer->kind();
  facts.vocabulary = text->tokenizer->vocab_size();
  facts.bos = text->bos_text;
  facts.eos = text->eos_text;
  facts.think_tokens = think_ids(*text->tokenizer).known();
  probe_template(*text, &facts);
  out->tokenizer = facts;
}

bool has_r1_markers(const Result<TextSide>& text) {
  return text.ok() && text->tokenizer->id_of("<｜Assistant｜>") && think_ids(*text->tokenizer).known();
}

Result<Inspection> inspect_model(const std::string& path) {
  RAISON_ASSIGN(const ModelFiles files, ModelFiles::open(path));
  Inspection out;
  out.path = path;
  out.format = files.gguf ? fmt::format("GGUF v{}", files.gguf->version()) : "HF folder";
  if (files.gguf) {
    out.name = files.gguf->metadata().string("general.name").value_or("");
    out.architecture = files.gguf->metadata().string("general.architecture").value_or("");
  } else if (files.config.is_object()) {
    out.architecture =
        files.config.value("model_type", nlohmann::json()).is_string() ? files.config["model_type"].get<std::string>() : "";
    const auto classes = files.config.find("architectures");
    if (classes != files.config.end() && classes->is_array() && !classes->empty() && (*classes)[0].is_string())
      out.hf_class = (*classes)[0].get<std::string>();
  }
  count_types(*files.tensors, &out);
  if (files.gguf) {
    for (const std::string& part : files.gguf->paths()) measure_disk(part, &out);
  } else {
    measure_disk(path, &out);
  }
  auto info = describe_model(files);
  if (info.ok()) {
    out.info = *info;
    out.architecture = info->architecture;
    out.hf_class = info->hf_class;
    if (info->parameters > 0) out.parameters = info->parameters;
    if (const TensorInfo* t = uncomputable(*files.tensors))
      out.unsupported = fmt::format("tensor {} is of type {}; {} can be computed with", t->name, t->type_name, kComputable);
    else
      out.memory_bytes = memory_of(*files.tensors);
  } else {
    out.unsupported = info.message();
  }
  auto text = load_text_side(files);
  const bool r1 = has_r1_markers(text);
  std::tie(out.title, out.remark) = honest_name(out.architecture, out.info ? &*out.info : nullptr, out.parameters, r1);
  add_tokenizer(std::move(text), &out);
  return out;
}

bool ends_with(const std::string& text, const std::string& suffix) {
  return text.size() >= suffix.size() && text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
}

bool is_gguf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  return file.read(magic, 4) && std::string_view(magic, 4) == "GGUF";
}

}  // namespace

std::pair<std::string, std::string> honest_name(const std::string& architecture, const ModelInfo* info, int64_t parameters,
                                                bool r1_markers) {
  std::string name = fmt::format("{} {}", family_name(architecture), short_count(parameters));
  bool published = false;
  if (info)
    for (const Known& k : kKnown)
      if (k.architecture == architecture && k.layers == info->layers && k.hidden == info->hidden) {
        name = k.name;
        published = true;
      }
  // Markers alone make no distill: any tokenizer may carry them.
  if (r1_markers && !published) return {fmt::format("{} with DeepSeek-R1's turn markers", name), ""};
  const bool dense = architecture == "llama" || architecture == "qwen2" || architecture == "qwen3";
  if (r1_markers && dense)
    return {fmt::format("{} with DeepSeek-R1's turn markers: an R1 distill", name),
            fmt::format("a distill is a {} taught on R1's answers; R1 itself is a mixture of experts of 671B",
                        family_name(architecture))};
  return {name, ""};
}

Result<Inspection> inspect_path(const std::string& path) {
  std::error_code ec;
  const fs::path p(path);
  if (!fs::exists(p, ec)) return error("{}: no such file or folder", path);
  if (fs::is_directory(p, ec)) {
    if (fs::exists(p / "config.json", ec) || !fs::exists(p / "tokenizer.json", ec)) return inspect_model(path);
    RAISON_ASSIGN(auto text, load_text_side(path));
    Inspection out;
    out.path = path;
    out.format = "tokenizer folder";
    out.title = "a tokenizer without a model";
    measure_disk(path, &out);
    add_tokenizer(std::move(text), &out);
    return out;
  }
  if (!is_gguf(path) && ends_with(path, ".safetensors")) {
    RAISON_ASSIGN(const auto file, SafetensorsFile::open(path));
    Inspection out;
    out.path = path;
    out.format = "safetensors file";
    out.title = "tensors without a config";
    for (const auto& [key, value] : file->metadata())
      if (key == "format") out.name = value;
    count_types(*file, &out);
    measure_disk(path, &out);
    return out;
  }
  return inspect_model(path);
}

}  // namespace raison::cli
