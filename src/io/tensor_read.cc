#include "io/tensor_read.h"

#include <cstring>

#include "io/printable.h"

namespace raison {
namespace {
std::string place(const TensorInfo& t) {
  return fmt::format("{}: tensor {}", t.file ? t.file->path() : "?", printable(t.name));
}
}  // namespace

Result<std::vector<float>> read_f32(const TensorInfo& t) {
  const bool floating = t.known_type && (t.type == DType::F32 || t.type == DType::F16 || t.type == DType::BF16 ||
                                         t.type == DType::F64 || is_block_type(t.type));
  if (!floating) return error("{} is of type {}, a float type was expected", place(t), t.type_name);
  std::vector<float> out(static_cast<size_t>(t.elements()));
  if (!out.empty()) dequantize_row(t.type, t.data, out.data(), t.elements());  // rows hold whole blocks, so all rows are one
  return out;
}

Result<std::vector<int32_t>> read_i32(const TensorInfo& t) {
  if (!t.known_type || (t.type != DType::I32 && t.type != DType::I64))
    return error("{} is of type {}, I32 or I64 was expected", place(t), t.type_name);
  std::vector<int32_t> out(static_cast<size_t>(t.elements()));
  for (size_t i = 0; i < out.size(); ++i) {
    if (t.type == DType::I32) {
      std::memcpy(&out[i], t.data + 4 * i, 4);
      continue;
    }
    int64_t v;
    std::memcpy(&v, t.data + 8 * i, 8);
    if (v < INT32_MIN || v > INT32_MAX) return error("{} holds {}, which is no 32-bit number", place(t), v);
    out[i] = static_cast<int32_t>(v);
  }
  return out;
}

}  // namespace raison
