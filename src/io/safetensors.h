// safetensors: 8-byte header length, JSON header (name -> dtype, shape, data_offsets), data.
// https://huggingface.co/docs/safetensors. Checked: header length <= 100 MB and within the file, no overlaps, no gaps,
// whole file covered, sizes equal to dtype x shape without overflow, no duplicate names.
#pragma once
#include <map>
#include <unordered_map>

#include "io/tensor_source.h"

namespace raison {

class SafetensorsFile final : public TensorSource {
 public:
  static Result<std::shared_ptr<SafetensorsFile>> open(const std::string& path);
  const std::string& path() const { return path_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }  // "__metadata__"
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* find(const std::string& name) const override;

 private:
  SafetensorsFile() = default;
  friend struct SafetensorsParser;
  std::string path_;
  std::map<std::string, std::string> metadata_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

// Several safetensors files seen as one (model.safetensors.index.json, or a single model.safetensors).
// Every tensor named by the index must be in the shard it names; a name in two shards is an error.
class ShardedSafetensors final : public TensorSource {
 public:
  static Result<std::shared_ptr<ShardedSafetensors>> open_folder(const std::string& folder);
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* find(const std::string& name) const override;

 private:
  ShardedSafetensors() = default;
  std::vector<std::shared_ptr<SafetensorsFile>> files_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

struct TensorToWrite {
  std::string name;
  DType type;  // plain types only
  std::vector<int64_t> shape;
  const void* data;  // row-major, shape x type bytes
};

// Writes atomically (temporary file, fsync, rename). Tensors are laid out in the order given; the header is padded with
// spaces to a multiple of 8. The same input gives the same bytes.
Status write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                         const std::map<std::string, std::string>& metadata = {});

}  // namespace raison
