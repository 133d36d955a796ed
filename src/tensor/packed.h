// PackedWeight: a matrix [rows, cols] in panels with 16 output rows in the lanes. A matmul then runs one chain of FMAs per
// output element, in ascending column, on any vector width: that is what makes all instruction sets agree to the bit.
//
// Panel p holds rows 16p .. 16p+15 (rows past the end are zero), K = cols:
//   F32         float    [K][16]
//   F16, BF16   uint16_t [K][16]
//   F8_E4M3     float scale [ceil(K/128)], padded to a multiple of 64 bytes; then uint8_t [K][16]
//   block types (Q8_0, Q4_K ...): each block's bytes as GGUF stores them, cut in two (PanelFormat):
//               head [K/block][16][head_bytes], padded to a multiple of 64 bytes; then body uint32_t [K/block][body_bytes/4][16].
//               So a 64-byte line of the body holds the same four bytes of 16 rows' blocks.
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

// How a block of a row is cut: the head is what does not fill whole 32-bit words (mostly the f16 scale), the body the rest.
struct PanelFormat {
  int block;                // values
  int head_at, head_bytes;  // in the block's bytes
  int body_at, body_bytes;  // a multiple of 4
};
// Of block types. (Always inlined: kernels of every instruction set call it.)
__attribute__((always_inline)) constexpr PanelFormat panel_format(DType type) {
  switch (type) {
    case DType::Q4_0:
    case DType::IQ4_NL: return {32, 0, 2, 2, 16};
    case DType::Q4_1: return {32, 0, 0, 0, 20};
    case DType::Q5_0: return {32, 0, 2, 2, 20};
    case DType::Q5_1: return {32, 0, 0, 0, 24};
    case DType::Q8_0: return {32, 0, 2, 2, 32};
    case DType::MXFP4: return {32, 0, 1, 1, 16};
    case DType::Q2_K: return {256, 0, 0, 0, 84};
    case DType::Q3_K: return {256, 108, 2, 0, 108};
    case DType::Q4_K: return {256, 0, 0, 0, 144};
    case DType::Q5_K: return {256, 0, 0, 0, 176};
    case DType::Q6_K: return {256, 208, 2, 0, 208};
    case DType::IQ4_XS: return {256, 0, 0, 0, 136};
    case DType::TQ1_0: return {256, 52, 2, 0, 52};
    case DType::TQ2_0: return {256, 64, 2, 0, 64};
    case DType::IQ1_S: return {256, 0, 2, 2, 48};
    case DType::IQ1_M: return {256, 0, 0, 0, 56};
    case DType::IQ2_XXS: return {256, 0, 2, 2, 64};
    case DType::IQ2_XS: return {256, 0, 2, 2, 72};
    case DType::IQ2_S: return {256, 0, 2, 2, 80};
    case DType::IQ3_XXS: return {256, 0, 2, 2, 96};
    case DType::IQ3_S: return {256, 0, 2, 2, 108};
    default: return {1, 0, 0, 0, 0};
  }
}

constexpr int64_t kFp8Block = 128;  // rows and columns that share a scale
__attribute__((always_inline)) inline int64_t panel_head_bytes(DType type, int64_t cols) {
  if (type == DType::F8_E4M3) return ((cols + kFp8Block - 1) / kFp8Block * 4 + 63) / 64 * 64;
  const PanelFormat f = panel_format(type);
  return (cols / f.block * 16 * f.head_bytes + 63) / 64 * 64;
}
__attribute__((always_inline)) inline int64_t panel_bytes(DType type, int64_t cols) {
  switch (type) {
    case DType::F32: return cols * 64;
    case DType::F16:
    case DType::BF16: return cols * 32;
    case DType::F8_E4M3: return panel_head_bytes(type, cols) + cols * 16;
    default: break;
  }
  const PanelFormat f = panel_format(type);
  return panel_head_bytes(type, cols) + cols / f.block * 16 * f.body_bytes;
}
inline int64_t q8_scale_bytes(int64_t cols) { return panel_head_bytes(DType::Q8_0, cols); }

// The types that matrices may have. kComputable names them in errors.
inline bool is_computable(DType type) {
  return type == DType::F32 || type == DType::F16 || type == DType::BF16 || type == DType::F8_E4M3 || is_block_type(type);
}
inline constexpr const char* kComputable = "F32, F16, BF16, F8_E4M3 and GGUF's block types";

constexpr int kMostBlockBytes = 256;
// Columns [k0, k0 + count) of a row as fp32; both multiples of the type's block.
void dequantize_panel_row(const PackedView& w, int64_t row, int64_t k0, int64_t count, float* out);

// 64-byte-aligned owned memory, zeroed. From 2 MiB on it lies in pages of its own, huge ones if the system gives them.
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
  Storage(uint8_t* data, size_t bytes, size_t mapped) : data_(data), bytes_(bytes), mapped_(mapped) {}
  uint8_t* data_;
  size_t bytes_;
  size_t mapped_;  // bytes of the mapping; 0: allocated
};

class PackedWeight {
 public:
  PackedWeight() = default;
  // Whether a matrix of this type can have this size: a computable type, cols a multiple of its block, no overflow.
  static Status check(DType type, int64_t rows, int64_t cols);
  // An all-zero matrix of a computable type; cols a multiple of the type's block.
  static Result<PackedWeight> zeros(DType type, int64_t rows, int64_t cols);
  // From row-major rows of the same type, as files hold them (row_bytes(type, cols) each). Not for F8_E4M3.
  static Result<PackedWeight> pack(DType type, int64_t rows, int64_t cols, const uint8_t* source);
  // E4M3 codes with one multiplier per 128 x 128 values: scales row-major [ceil(rows/128), ceil(cols/128)].
  static Result<PackedWeight> pack_fp8(int64_t rows, int64_t cols, const uint8_t* codes, const float* scales);
  // From row-major fp32, rounding to a type that quantize_row (tensor/quantize.h) writes.
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
