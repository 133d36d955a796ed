// GGUF v2 and v3 (little-endian): metadata and mapped tensors. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once
#include <unordered_map>

#include "io/tensor_source.h"

namespace raison {

class GgufFile final : public TensorSource {
 public:
  // Every count, length, offset and shape is checked against the file's size and for overflow before it is used.
  static Result<std::shared_ptr<GgufFile>> open(const std::string& path);
  const std::string& path() const { return path_; }
  uint32_t version() const { return version_; }
  const Metadata& metadata() const { return metadata_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* find(const std::string& name) const override;

 private:
  GgufFile() = default;
  friend class GgufParser;
  std::string path_;
  uint32_t version_ = 0;
  Metadata metadata_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace raison
