#include "tensor/packed.h"

#include <cstring>
#include <new>
#include <vector>

namespace raison {

Result<std::shared_ptr<Storage>> Storage::allocate(size_t bytes) {
  const size_t rounded = (bytes + 63) / 64 * 64;
  if (rounded < bytes) return error("cannot allocate {} bytes", bytes);
  void* p = ::operator new(rounded ? rounded : 64, std::align_val_t(64), std::nothrow);
  if (!p) return error("cannot allocate {} bytes: out of memory; use a smaller model or context", bytes);
  std::memset(p, 0, rounded ? rounded : 64);
  return std::shared_ptr<Storage>(new Storage(static_cast<uint8_t*>(p), bytes));
}

Storage::~Storage() { ::operator delete(data_, std::align_val_t(64)); }

Result<PackedWeight> PackedWeight::zeros(DType type, int64_t rows, int64_t cols) {
  if (!is_computable(type)) return error("weights of type {} cannot be computed with; {} can", dtype_name(type), kComputable);
  if (rows < 1 || cols < 1 || rows > (int64_t{1} << 40) || cols > (int64_t{1} << 31))
    return error("a weight of {} x {} is out of range", rows, cols);
  if (type == DType::Q8_0 && cols % 32 != 0) return error("Q8_0 needs a width that is a multiple of 32, not {}", cols);
  int64_t bytes;
  if (__builtin_mul_overflow(panel_count(rows), panel_bytes(type, cols), &bytes))
    return error("a weight of {} x {} is out of range", rows, cols);
  PackedWeight w;
  w.type_ = type;
  w.rows_ = rows;
  w.cols_ = cols;
  RAISON_ASSIGN(w.storage_, Storage::allocate(static_cast<size_t>(bytes)));
  return w;
}

namespace {
// Row r of the matrix, as files hold it, into its lane of its panel.
void pack_row(DType type, int64_t cols, int64_t r, const uint8_t* row, uint8_t* panels) {
  uint8_t* panel = panels + r / kPanelRows * panel_bytes(type, cols);
  const int lane = static_cast<int>(r % kPanelRows);
  if (type == DType::F32) {
    for (int64_t k = 0; k < cols; ++k) std::memcpy(panel + (k * 16 + lane) * 4, row + k * 4, 4);
  } else if (type == DType::Q8_0) {
    for (int64_t b = 0; b < cols / 32; ++b) {
      std::memcpy(panel + (b * 16 + lane) * 2, row + b * 34, 2);
      uint8_t* codes = panel + q8_scale_bytes(cols) + b * 512;
      for (int i = 0; i < 32; i += 4) std::memcpy(codes + i * 16 + lane * 4, row + b * 34 + 2 + i, 4);
    }
  } else {
    for (int64_t k = 0; k < cols; ++k) std::memcpy(panel + (k * 16 + lane) * 2, row + k * 2, 2);
  }
}
}  // namespace

Result<PackedWeight> PackedWeight::pack(DType type, int64_t rows, int64_t cols, const uint8_t* source) {
  RAISON_ASSIGN(auto w, zeros(type, rows, cols));
  const auto stride = static_cast<int64_t>(*row_bytes(type, static_cast<uint64_t>(cols)));
  for (int64_t r = 0; r < rows; ++r) pack_row(type, cols, r, source + r * stride, w.storage_->data());
  return w;
}

Result<PackedWeight> PackedWeight::pack_f32(DType type, int64_t rows, int64_t cols, const float* source) {
  if (type == DType::F32) return pack(type, rows, cols, reinterpret_cast<const uint8_t*>(source));
  RAISON_ASSIGN(auto w, zeros(type, rows, cols));  // refuses sizes and types before anything is computed from them
  std::vector<uint8_t> rounded(static_cast<size_t>(*row_bytes(type, static_cast<uint64_t>(cols))));
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = source + r * cols;
    if (type == DType::Q8_0) {
      quantize_q8_0(in, rounded.data(), cols);
    } else {
      for (int64_t k = 0; k < cols; ++k) {
        const uint16_t h = type == DType::F16 ? f32_to_f16(in[k]) : f32_to_bf16(in[k]);
        std::memcpy(rounded.data() + 2 * k, &h, 2);
      }
    }
    pack_row(type, cols, r, rounded.data(), w.storage_->data());
  }
  return w;
}

void PackedWeight::unpack_f32(float* out) const {
  const int64_t stride = panel_bytes(type_, cols_);
  for (int64_t r = 0; r < rows_; ++r) {
    const uint8_t* panel = storage_->data() + r / kPanelRows * stride;
    const int lane = static_cast<int>(r % kPanelRows);
    for (int64_t k = 0; k < cols_; ++k) {
      float& y = out[r * cols_ + k];
      if (type_ == DType::F32) {
        std::memcpy(&y, panel + (k * 16 + lane) * 4, 4);
      } else if (type_ == DType::Q8_0) {
        uint16_t h;
        std::memcpy(&h, panel + (k / 32 * 16 + lane) * 2, 2);
        const auto code = static_cast<int8_t>(panel[q8_scale_bytes(cols_) + k / 4 * 64 + lane * 4 + k % 4]);
        y = static_cast<float>(code) * f16_to_f32(h);
      } else {
        uint16_t h;
        std::memcpy(&h, panel + (k * 16 + lane) * 2, 2);
        y = type_ == DType::F16 ? f16_to_f32(h) : bf16_to_f32(h);
      }
    }
  }
}

void pack_f32_panels(const float* row_major, int64_t rows, int64_t cols, float* panels) {
  std::memset(panels, 0, static_cast<size_t>(panel_count(rows) * cols) * 64);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t k = 0; k < cols; ++k) panels[(r / 16 * cols + k) * 16 + r % 16] = row_major[r * cols + k];
}

void unpack_f32_panels(const float* panels, int64_t rows, int64_t cols, float* row_major) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t k = 0; k < cols; ++k) row_major[r * cols + k] = panels[(r / 16 * cols + k) * 16 + r % 16];
}

}  // namespace raison
