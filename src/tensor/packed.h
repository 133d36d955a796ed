// PackedWeight: a matrix [rows, cols] in panels with 16 output rows in the lanes. A matmul then runs one chain of FMAs per
// output element, in ascending column, on any vector width: that is what makes all instruction sets agree to the bit.
//
// Panel p holds rows 16p .. 16p+15 (rows past the end are zero), K = cols:
//   F32         float    [K][16]
//   F16, BF16   uint16_t [K][16]
//   Q8_0        uint16_t scale [K/32][16] (f16), padded to a multiple of 64 bytes; then int8_t code [K/4][16][4]
#pragma once
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "tensor/dtype.h"

namespace raison {

constexpr int kPanelRows = 16;
constexpr int kPanelLayoutVersion = 1;

// What a kernel sees.
struct PackedView {
  DType type;
  int64_t rows, cols;
  const uint8_t* data;  // 64-byte aligned
};

inline int64_t panel_count(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }
inline int64_t q8_scale_bytes(int64_t cols) { return (cols / 32 * 32 + 63) / 64 * 64; }
inline int64_t panel_bytes(DType type, int64_t cols) {
  switch (type) {
    case DType::F32: return cols * 64;
    case DType::F16:
    case DType::BF16: return cols * 32;
    default: return q8_scale_bytes(cols) + cols * 16;  // Q8_0
  }
}

// The types that matrices may have. kComputable names them in errors.
inline bool is_computable(DType type) {
  return type == DType::F32 || type == DType::F16 || type == DType::BF16 || type == DType::Q8_0;
}
inline constexpr const char* kComputable = "F32, F16, BF16 and Q8_0";

// 64-byte-aligned owned memory, zeroed.
class Storage {
 public:
  static Result<std::shared_ptr<Storage>> allocate(size_t bytes);  // an error, never bad_alloc
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  Storage(uint8_t* data, size_t bytes) : data_(data), bytes_(bytes) {}
  uint8_t* data_;
  size_t bytes_;
};

class PackedWeight {
 public:
  PackedWeight() = default;
  // An all-zero matrix. type: F32, F16, BF16 or Q8_0 (cols a multiple of 32).
  static Result<PackedWeight> zeros(DType type, int64_t rows, int64_t cols);
  // From row-major rows of the same type, as files hold them (row_bytes(type, cols) each).
  static Result<PackedWeight> pack(DType type, int64_t rows, int64_t cols, const uint8_t* source);
  // From row-major fp32, rounding to `type` (F16/BF16 to nearest even; Q8_0 by quantize_q8_0).
  static Result<PackedWeight> pack_f32(DType type, int64_t rows, int64_t cols, const float* source);
  void unpack_f32(float* out) const;  // row-major [rows, cols], dequantised

  bool empty() const { return storage_ == nullptr; }
  DType type() const { return type_; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t bytes() const { return panel_count(rows_) * panel_bytes(type_, cols_); }
  PackedView view() const { return {type_, rows_, cols_, storage_->data()}; }
  // F32 only: the panels themselves (masters in training), panel_count(rows) * cols * 16 floats.
  float* f32_panels() { return reinterpret_cast<float*>(storage_->data()); }
  const float* f32_panels() const { return reinterpret_cast<const float*>(storage_->data()); }
  int64_t f32_panel_floats() const { return panel_count(rows_) * cols_ * kPanelRows; }

 private:
  DType type_ = DType::F32;
  int64_t rows_ = 0, cols_ = 0;
  std::shared_ptr<Storage> storage_;
};

// F32 panels <-> row-major, for masters, gradients and optimiser state.
void pack_f32_panels(const float* row_major, int64_t rows, int64_t cols, float* panels);
void unpack_f32_panels(const float* panels, int64_t rows, int64_t cols, float* row_major);

}  // namespace raison
