#include "train/export.h"

#include <fcntl.h>
#include <stdio.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "io/safetensors.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/word_level.h"
#include "train/run_folder.h"

namespace raison {
namespace {
namespace fs = std::filesystem;

nlohmann::ordered_json generation_json(const GenerationDefaults& g) {
  nlohmann::ordered_json j = nlohmann::ordered_json::object();
  if (g.bos_id) j["bos_token_id"] = *g.bos_id;
  if (g.eos_ids.size() == 1) j["eos_token_id"] = g.eos_ids[0];
  if (g.eos_ids.size() > 1) j["eos_token_id"] = g.eos_ids;
  if (g.pad_id) j["pad_token_id"] = *g.pad_id;
  if (g.do_sample) j["do_sample"] = *g.do_sample;
  if (g.temperature) j["temperature"] = *g.temperature;
  if (g.top_k) j["top_k"] = *g.top_k;
  if (g.top_p) j["top_p"] = *g.top_p;
  if (g.min_p) j["min_p"] = *g.min_p;
  if (g.typical_p) j["typical_p"] = *g.typical_p;
  if (g.repetition_penalty) j["repetition_penalty"] = *g.repetition_penalty;
  if (g.max_new_tokens) j["max_new_tokens"] = *g.max_new_tokens;
  return j;
}

Result<std::string> read_if_named(const std::string& path) {
  if (path.empty()) return std::string();
  return read_file(path, size_t{1} << 29);
}

Result<ModelText> text_of_gguf(const ModelFiles& files) {
  ModelText text;
  const Metadata& m = files.gguf->metadata();
  if (!m.has("tokenizer.ggml.model")) return text;
  RAISON_ASSIGN(const auto tokenizer, Tokenizer::from_gguf(m, files.path));
  RAISON_ASSIGN(text.tokenizer_json, tokenizer->to_hf_json());
  const std::string chat = m.string("tokenizer.chat_template").value_or("");
  text.tokenizer_config_json = tokenizer_config_json(*tokenizer, "", chat);
  text.chat_template_jinja = chat;
  nlohmann::ordered_json generation = nlohmann::ordered_json::object();
  if (const auto bos = tokenizer->bos()) generation["bos_token_id"] = *bos;
  if (const auto eos = tokenizer->eos()) generation["eos_token_id"] = *eos;
  text.generation_config = generation;
  return text;
}

Status write_weights(const Model& model, DType type, const std::string& path) {
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<TensorToWrite> tensors;
  for (const auto& p : model.parameters().all()) {
    const std::vector<float> rows = p->to_row_major();
    std::vector<uint8_t> b(rows.size() * (type == DType::BF16 ? 2 : 4));
    if (type == DType::BF16) {
      for (size_t i = 0; i < rows.size(); ++i) {
        const uint16_t h = f32_to_bf16(rows[i]);
        std::memcpy(b.data() + 2 * i, &h, 2);
      }
    } else {
      std::memcpy(b.data(), rows.data(), b.size());
    }
    bytes.push_back(std::move(b));
  }
  for (size_t i = 0; i < bytes.size(); ++i)
    tensors.push_back({model.parameters().all()[i]->name, type, model.parameters().all()[i]->shape, bytes[i].data()});
  return write_safetensors(path, tensors, {{"format", "pt"}});
}

Status write_folder(const Model& model, const ModelText& text, DType type, const std::string& folder) {
  RAISON_RETURN_IF_ERROR(model.expressible_in_hf());
  RAISON_RETURN_IF_ERROR(write_weights(model, type, folder + "/model.safetensors"));
  RAISON_RETURN_IF_ERROR(write_file_atomic(folder + "/config.json", model.hf_config(type).dump(2) + "\n"));
  if (!text.generation_config.is_null()) {
    RAISON_RETURN_IF_ERROR(write_file_atomic(folder + "/generation_config.json", text.generation_config.dump(2) + "\n"));
  }
  const std::pair<const char*, const std::string*> files[] = {{"tokenizer.json", &text.tokenizer_json},
                                                              {"tokenizer_config.json", &text.tokenizer_config_json},
                                                              {"chat_template.jinja", &text.chat_template_jinja}};
  for (const auto& [name, content] : files) {
    if (content->empty()) continue;
    RAISON_RETURN_IF_ERROR(write_file_atomic(folder + "/" + name, *content));
  }
  return sync_directory(folder);
}

// Puts `temp` in the place of `folder`, which may exist; at no moment is there half a folder of that name.
Status swap_in(const std::string& temp, const std::string& folder) {
  std::error_code ec;
  if (fs::exists(folder, ec)) {
    if (::renameat2(AT_FDCWD, temp.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) == 0) {
      fs::remove_all(temp, ec);  // now the old one
      return {};
    }
    const std::string old = temp + ".old";  // a file system that cannot exchange
    fs::remove_all(old, ec);
    fs::rename(folder, old, ec);
    if (ec) return error("{}: cannot replace: {}", folder, ec.message());
    fs::rename(temp, folder, ec);
    if (ec) return error("{}: cannot rename to {}: {}", temp, folder, ec.message());
    fs::remove_all(old, ec);
    return {};
  }
  fs::rename(temp, folder, ec);
  if (ec) return error("{}: cannot rename to {}: {}", temp, folder, ec.message());
  return {};
}

Result<fs::path> export_target(const std::string& folder) {
  fs::path target = fs::path(folder).lexically_normal();
  if (target.filename().empty()) target = target.parent_path();
  if (target.filename().empty() || target.filename() == "." || target.filename() == "..")
    return error("{}: cannot export here; name a folder", folder);
  std::error_code ec;
  if (fs::exists(target, ec) && !fs::exists(target / "config.json", ec) && !fs::is_empty(target, ec))
    return error("{}: exists and is no model folder; choose another", folder);
  return target;
}

}  // namespace

Status check_export_folder(const std::string& folder) {
  RAISON_RETURN_IF_ERROR(export_target(folder));
  return {};
}

Result<ModelText> read_model_text(const ModelFiles& files) {
  if (files.format == ModelFiles::Format::Gguf) return text_of_gguf(files);
  ModelText text;
  RAISON_ASSIGN(text.tokenizer_json, read_if_named(files.tokenizer_json));
  RAISON_ASSIGN(text.tokenizer_config_json, read_if_named(files.tokenizer_config_json));
  RAISON_ASSIGN(text.chat_template_jinja, read_if_named(files.chat_template_jinja));
  const nlohmann::ordered_json generation = generation_json(files.generation);
  if (!generation.empty()) text.generation_config = generation;
  return text;
}

Status export_model(const Model& model, const ModelText& text, DType type, const std::string& folder) {
  if (type != DType::F32 && type != DType::BF16)
    return error("{}: a model is exported as F32 or BF16, not {}", folder, dtype_name(type));
  RAISON_ASSIGN(const fs::path target, export_target(folder));
  std::error_code ec;
  const fs::path parent = target.has_parent_path() ? target.parent_path() : fs::path(".");
  RAISON_RETURN_IF_ERROR(create_folders(parent.string()));
  const std::string temp = (parent / (".writing-" + target.filename().string())).string();
  fs::remove_all(temp, ec);
  if (!fs::create_directory(temp, ec)) return error("{}: cannot create the folder: {}", temp, ec.message());
  Status written = write_folder(model, text, type, temp);
  if (written.ok()) written = swap_in(temp, target.string());
  if (!written.ok()) {
    fs::remove_all(temp, ec);
    return written;
  }
  return sync_directory(parent.string());
}

}  // namespace raison
