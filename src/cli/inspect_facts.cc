// The gathering half of `raison inspect`: headers, configs and tokenizer, never a weight.
#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>

#include "cli/console.h"
#include "cli/inspect.h"
#include "cli/model_names.h"
#include "cli/session.h"
#include "io/safetensors.h"
#include "tensor/packed.h"

namespace raison::cli {
namespace fs = std::filesystem;
namespace {

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
    if (t.shape.size() == 3)  // experts, one matrix behind the other
      bytes += static_cast<uint64_t>(t.shape[0] * panel_count(t.shape[1]) * panel_bytes(t.type, t.shape[2]));
    else if (t.shape.size() == 2)
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

NameMarkers markers_of(const Result<TextSide>& text) {
  NameMarkers m;
  if (!text.ok()) return m;
  m.r1_turns = text->tokenizer->id_of("<｜Assistant｜>") && think_ids(*text->tokenizer).known();
  m.chooses_thought = text->chat_template && text->chat_template->source().find("thinking") != std::string::npos;
  return m;
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
    else if (const auto whole = outline_model(files); !whole.ok())
      out.unsupported = whole.message();
    else
      out.memory_bytes = memory_of(*files.tensors);
  } else {
    out.unsupported = info.message();
  }
  auto text = load_text_side(files);
  std::tie(out.title, out.remark) = honest_name(out.architecture, out.info ? &*out.info : nullptr, out.parameters,
                                                markers_of(text), out.types.empty() ? "" : weight_type_name(out.types[0].type));
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
