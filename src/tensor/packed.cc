#include "tensor/packed.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "tensor/quantize.h"

namespace raison {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;
#ifdef __SANITIZE_ADDRESS__
constexpr bool kMayMap = false;  // its red zones are worth more
#else
constexpr bool kMayMap = true;
#endif

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Fresh pages, so zeros, that begin on a huge page's boundary; huge where the system grants them: matrices and caches are read from one
// end to the other, and with small pages the next address is translated, and prefetching begins anew, every 4 KiB.
uint8_t* map_huge(size_t bytes) {
  const size_t whole = bytes + kHugePage;
  void* got = ::mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (got == MAP_FAILED) return nullptr;
  auto* begin = static_cast<uint8_t*>(got);
  const size_t skip = round_up(reinterpret_cast<uintptr_t>(begin), kHugePage) - reinterpret_cast<uintptr_t>(begin);
  if (skip > 0) ::munmap(begin, skip);
  if (skip < kHugePage) ::munmap(begin + skip + bytes, kHugePage - skip);
  ::madvise(begin + skip, bytes, MADV_HUGEPAGE);  // advice: small pages serve too
  return begin + skip;
}

}  // namespace

Result<std::shared_ptr<Storage>> Storage::allocate(size_t bytes) {
  const bool mapped = kMayMap && bytes >= kHugePage;
  const size_t rounded = round_up(std::max<size_t>(bytes, 1), mapped ? 4096 : 64);
  if (rounded < bytes || rounded + kHugePage < rounded) return error("cannot allocate {} bytes", bytes);
  uint8_t* p = mapped ? map_huge(rounded) : static_cast<uint8_t*>(::operator new(rounded, std::align_val_t(64), std::nothrow));
  if (!p) return error("cannot allocate {} bytes: out of memory; use a smaller model or context", bytes);
  if (!mapped) std::memset(p, 0, rounded);
  return std::shared_ptr<Storage>(new Storage(p, bytes, mapped ? rounded : 0));
}

Storage::~Storage() {
  if (mapped_ > 0) {
    ::munmap(data_, mapped_);
  } else {
    ::operator delete(data_, std::align_val_t(64));
  }
}

Status PackedWeight::check(DType type, int64_t rows, int64_t cols) {
  if (!is_computable(type)) return error("weights of type {} cannot be computed with; {} can", dtype_name(type), kComputable);
  if (rows < 1 || cols < 1 || rows > (int64_t{1} << 40) || cols > (int64_t{1} << 31))
    return error("a weight of {} x {} is out of range", rows, cols);
  if (const int block = dtype_info(type).block_elements; cols % block != 0)
    return error("{} needs a width that is a multiple of {}, not {}", dtype_name(type), block, cols);
  int64_t bytes;
  if (__builtin_mul_overflow(panel_count(rows), panel_bytes(type, cols), &bytes))
    return error("a weight of {} x {} is out of range", rows, cols);
  return {};
}

Result<PackedWeight> PackedWeight::zeros(DType type, int64_t rows, int64_t cols) {
  RAISON_RETURN_IF_ERROR(check(type, rows, cols));
  PackedWeight w;
  w.type_ = type;
  w.rows_ = rows;
  w.cols_ = cols;
  RAISON_ASSIGN(w.storage_, Storage::allocate(static_cast<size_t>(w.bytes())));
  return w;
}

namespace {
// Row r of the matrix, as files hold it, into its lane of its panel.
void pack_row(DType type, int64_t cols, int64_t r, const uint8_t* row, uint8_t* panels) {
  uint8_t* panel = panels + r / kPanelRows * panel_bytes(type, cols);
  const int lane = static_cast<int>(r % kPanelRows);
  if (type == DType::F32) {
    for (int64_t k = 0; k < cols; ++k) std::memcpy(panel + (k * 16 + lane) * 4, row + k * 4, 4);
  } else if (is_block_type(type)) {
    const PanelFormat f = panel_format(type);
    uint8_t* body = panel + panel_head_bytes(type, cols) + lane * 4;
    const int block_bytes = dtype_info(type).block_bytes;
    for (int64_t b = 0; b < cols / f.block; ++b, row += block_bytes) {
      std::memcpy(panel + (b * 16 + lane) * f.head_bytes, row + f.head_at, static_cast<size_t>(f.head_bytes));
      for (int i = 0; i < f.body_bytes; i += 4, body += 64) std::memcpy(body, row + f.body_at + i, 4);
    }
  } else {
    for (int64_t k = 0; k < cols; ++k) std::memcpy(panel + (k * 16 + lane) * 2, row + k * 2, 2);
  }
}

// Block b of a row, as files hold it, out of its panel.
void gather_block(DType type, int64_t cols, int64_t b, const uint8_t* panel, int lane, uint8_t* block) {
  const PanelFormat f = panel_format(type);
  std::memcpy(block + f.head_at, panel + (b * 16 + lane) * f.head_bytes, static_cast<size_t>(f.head_bytes));
  const uint8_t* body = panel + panel_head_bytes(type, cols) + b * 16 * f.body_bytes + lane * 4;
  for (int i = 0; i < f.body_bytes; i += 4, body += 64) std::memcpy(block + f.body_at + i, body, 4);
}
}  // namespace

void dequantize_panel_row(const PackedView& w, int64_t row, int64_t k0, int64_t count, float* out) {
  const uint8_t* panel = w.data + row / kPanelRows * panel_bytes(w.type, w.cols);
  const int lane = static_cast<int>(row % kPanelRows);
  if (is_block_type(w.type)) {
    const int block = dtype_info(w.type).block_elements;
    uint8_t raw[kMostBlockBytes];
    for (int64_t k = 0; k < count; k += block) {
      gather_block(w.type, w.cols, (k0 + k) / block, panel, lane, raw);
      dequantize_row(w.type, raw, out + k, block);
    }
    return;
  }
  if (w.type == DType::F8_E4M3) {
    const uint8_t* codes = panel + panel_head_bytes(w.type, w.cols);
    for (int64_t k = k0; k < k0 + count; ++k) {
      float scale;
      std::memcpy(&scale, panel + k / kFp8Block * 4, 4);
      out[k - k0] = f8_e4m3_to_f32(codes[k * 16 + lane]) * scale;
    }
    return;
  }
  for (int64_t k = k0; k < k0 + count; ++k) {
    float& y = out[k - k0];
    if (w.type == DType::F32) {
      std::memcpy(&y, panel + (k * 16 + lane) * 4, 4);
      continue;
    }
    uint16_t h;
    std::memcpy(&h, panel + (k * 16 + lane) * 2, 2);
    y = w.type == DType::F16 ? f16_to_f32(h) : bf16_to_f32(h);
  }
}

Result<PackedWeight> PackedWeight::pack(DType type, int64_t rows, int64_t cols, const uint8_t* source) {
  RAISON_ASSIGN(auto w, zeros(type, rows, cols));
  if (type == DType::F8_E4M3) return error("weights of type F8_E4M3 need their scales beside them");
  const auto stride = static_cast<int64_t>(*row_bytes(type, static_cast<uint64_t>(cols)));
  for (int64_t r = 0; r < rows; ++r) pack_row(type, cols, r, source + r * stride, w.storage_->data());
  return w;
}

Result<PackedWeight> PackedWeight::pack_f32(DType type, int64_t rows, int64_t cols, const float* source) {
  if (type == DType::F32) return pack(type, rows, cols, reinterpret_cast<const uint8_t*>(source));
  RAISON_ASSIGN(auto w, zeros(type, rows, cols));  // refuses sizes and types before anything is computed from them
  if (!can_quantize(type)) return error("weights cannot be rounded to type {}", dtype_name(type));
  std::vector<uint8_t> rounded(static_cast<size_t>(*row_bytes(type, static_cast<uint64_t>(cols))));
  for (int64_t r = 0; r < rows; ++r) {
    quantize_row(type, source + r * cols, rounded.data(), cols);
    pack_row(type, cols, r, rounded.data(), w.storage_->data());
  }
  return w;
}

Result<PackedWeight> PackedWeight::pack_fp8(int64_t rows, int64_t cols, const uint8_t* codes, const float* scales) {
  RAISON_ASSIGN(auto w, zeros(DType::F8_E4M3, rows, cols));
  const int64_t blocks = (cols + kFp8Block - 1) / kFp8Block, stride = panel_bytes(DType::F8_E4M3, cols);
  for (int64_t r = 0; r < rows; ++r) {
    uint8_t* panel = w.storage_->data() + r / kPanelRows * stride;
    if (r % kPanelRows == 0) std::memcpy(panel, scales + r / kFp8Block * blocks, static_cast<size_t>(blocks) * 4);
    uint8_t* out = panel + panel_head_bytes(DType::F8_E4M3, cols) + r % kPanelRows;
    for (int64_t k = 0; k < cols; ++k) out[k * 16] = codes[r * cols + k];
  }
  return w;
}

void PackedWeight::unpack_f32(float* out) const {
  for (int64_t r = 0; r < rows_; ++r) dequantize_panel_row(view(), r, 0, cols_, out + r * cols_);
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
