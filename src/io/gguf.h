// GGUF v2 and v3 (little-endian): metadata and mapped tensors. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once
#include <unordered_map>

#include "io/tensor_source.h"

namespace raison {

// ggml's id of a type, as GGUF writes it; nullopt for the types it does not have.
std::optional<uint32_t> ggml_type_id(DType type);

// The name of part `number` (from 1) of `count`: STEM-00002-of-00005.gguf.
std::string gguf_part_path(const std::string& stem, size_t number, size_t count);

// A GGUF file, or the parts of one model in files NAME-00001-of-0000N.gguf (keys split.no, split.count, split.tensors.count).
class GgufFile final : public TensorSource {
 public:
  // Every count, length, offset and shape is checked against the file's size and for overflow before it is used.
  // Opening any part opens them all: metadata are the first part's, tensors those of all parts, in the parts' order.
  static Result<std::shared_ptr<GgufFile>> open(const std::string& path);
  const std::string& path() const { return paths_[0]; }  // the first part's
  const std::vector<std::string>& paths() const { return paths_; }
  uint32_t version() const { return version_; }
  const Metadata& metadata() const { return metadata_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* find(const std::string& name) const override;

 private:
  GgufFile() = default;
  friend class GgufParser;
  friend class GgufSplit;
  static Result<std::shared_ptr<GgufFile>> open_one(const std::string& path);  // that file alone
  std::vector<std::string> paths_;
  uint32_t version_ = 0;
  Metadata metadata_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace raison
