// safetensors: 8-byte header length, JSON header (name -> dtype, shape, data_offsets), data.
// https://huggingface.co/docs/safetensors. Checked: header length <= 100 MB and within the file, no overlaps, no gaps,
// whole file covered, sizes equal to dtype x shape without overflow, no duplicate names.
#pragma once
#include <map>
#include <unordered_map>

#include "io/tensor_writer.h"

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
  friend class ShardedSafetensors;
  std::string path_;
  std::map<std::string, std::string> metadata_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

// Several safetensors files seen as one (model.safetensors.index.json, or a single model.safetensors). Every shard that the
// index names must be there, beside the index, and every tensor in the shard it is said to be in; a name that occurs twice,
// in the index or in two shards, is an error.
class ShardedSafetensors final : public TensorSource {
 public:
  static Result<std::shared_ptr<ShardedSafetensors>> open_folder(const std::string& folder);
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* find(const std::string& name) const override;

 private:
  ShardedSafetensors() = default;
  Status add(SafetensorsFile&& shard);
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

// What SafetensorsWriter writes (io/safetensors_writer.h), of tensors that are whole in memory.
Status write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                         const std::map<std::string, std::string>& metadata = {});

}  // namespace raison
