#include "train/export.h"

#include <cstring>
#include <filesystem>

#include "base/atomic_folder.h"
#include "base/file.h"
#include "io/safetensors.h"

namespace raison {
namespace {
namespace fs = std::filesystem;

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
  RAISON_RETURN_IF_ERROR(write_model_text(text, folder));
  return sync_directory(folder);
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

Status export_model(const Model& model, const ModelText& text, DType type, const std::string& folder) {
  if (type != DType::F32 && type != DType::BF16)
    return error("{}: a model is exported as F32 or BF16, not {}", folder, dtype_name(type));
  RAISON_ASSIGN(const fs::path target, export_target(folder));
  RAISON_ASSIGN(const auto place, AtomicFolder::create(target.string()));
  RAISON_RETURN_IF_ERROR(write_folder(model, text, type, place->temp()));
  return place->commit();
}

}  // namespace raison
