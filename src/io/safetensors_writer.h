// Writing safetensors, one file or shards with an index.
#pragma once
#include "io/safetensors.h"
#include "io/tensor_writer.h"

namespace raison {

// Tensors are laid out in the order given; types: the plain ones. The header is padded with spaces to a multiple of 8. The same
// input gives the same bytes.
class SafetensorsWriter final : public TensorWriter {
 public:
  // One file.
  static Result<std::unique_ptr<SafetensorsWriter>> create(const std::string& path, const std::vector<TensorSpec>& tensors,
                                                           const std::map<std::string, std::string>& metadata = {});
  // A model's weights in `folder`, as HF lays them out: model.safetensors if max_shard_bytes (0: no limit) hold all tensors, else
  // model-00001-of-0000N.safetensors, ... and model.safetensors.index.json.
  static Result<std::unique_ptr<SafetensorsWriter>> create_sharded(const std::string& folder,
                                                                   const std::vector<TensorSpec>& tensors,
                                                                   uint64_t max_shard_bytes,
                                                                   const std::map<std::string, std::string>& metadata = {});

 private:
  using TensorWriter::TensorWriter;
};

// What they will write.
Result<WritePlan> plan_safetensors(const std::string& path, const std::vector<TensorSpec>& tensors,
                                   const std::map<std::string, std::string>& metadata = {});
Result<WritePlan> plan_sharded_safetensors(const std::string& folder, const std::vector<TensorSpec>& tensors,
                                           uint64_t max_shard_bytes, const std::map<std::string, std::string>& metadata = {});

}  // namespace raison
