// TensorSource: named tensors lying in files, as GGUF and safetensors hold them. Nothing is copied on opening: a TensorInfo
// points into a mapping that the source keeps alive.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/metadata.h"
#include "base/result.h"
#include "tensor/dtype.h"

namespace raison {

struct TensorInfo {
  std::string name;
  DType type = DType::F32;
  std::string type_name;       // the file's own name of the type; type is meaningful only if `known_type`
  bool known_type = true;      // false: a type this build can't compute with (listed by inspect, refused by loading)
  std::vector<int64_t> shape;  // row-major, outermost first (GGUF's order is reversed on reading), each >= 0
  const uint8_t* data = nullptr;
  uint64_t bytes = 0;
  std::shared_ptr<MappedFile> file;  // what `data` points into
  uint64_t offset = 0;               // of data in that file
  int64_t elements() const {
    int64_t n = 1;
    for (int64_t d : shape) n *= d;  // checked for overflow when the file was opened
    return n;
  }
};

// A tensor to be written, without its bytes.
struct TensorSpec {
  std::string name;
  DType type = DType::F32;
  std::vector<int64_t> shape;  // row-major, outermost first
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual const std::vector<TensorInfo>& tensors() const = 0;
  virtual const TensorInfo* find(const std::string& name) const = 0;  // nullptr if absent
};

}  // namespace raison
