// File types: which type each tensor of a GGUF gets when a model is quantised "to Q4_K_M". The rules are llama.cpp's
// (llama-quant.cpp, without an importance matrix); docs/quantize.md states them in a table.
#pragma once
#include <string>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "io/tensor_source.h"

namespace raison {

struct FileType {
  const char* name;  // "Q4_K_M"
  uint32_t id;       // general.file_type
  DType base;        // of most matrices
};
// Case-insensitive. Errors: unknown names; types that need an importance matrix.
Result<const FileType*> find_file_type(const std::string& name);
std::string file_type_names();  // "F32, F16, ..."

// True for tensors that get a type of the mix; false: vectors, norms, routers, which stay as they are (F32 if made from HF).
bool is_mixed(const TensorSpec& tensor);
// One per tensor; for those that are not mixed their own. `metadata`: the GGUF's (layers, heads, experts).
std::vector<DType> mixed_types(const FileType& type, const Metadata& metadata, const std::vector<TensorSpec>& tensors);

}  // namespace raison
