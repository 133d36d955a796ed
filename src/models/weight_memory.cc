#include "models/weight_memory.h"

#include <algorithm>
#include <new>

namespace raison {

DType packed_type(const MatrixInFile& m, std::optional<DType> target) {
  if (!target) return m.type;
  return m.cols % dtype_info(*target).block_elements == 0 ? *target : DType::F32;
}

Result<PackedWeight> pack_matrix(const MatrixInFile& m, std::optional<DType> wanted) {
  const DType target = packed_type(m, wanted);
  const bool fp8 = m.type == DType::F8_E4M3;
  if (target == m.type)
    return fp8 ? PackedWeight::pack_fp8(m.rows, m.cols, m.data, m.scales.data())
               : PackedWeight::pack(m.type, m.rows, m.cols, m.data);
  std::vector<float> values(static_cast<size_t>(m.rows * m.cols));
  const uint64_t stride = m.bytes / static_cast<uint64_t>(m.rows);
  for (int64_t r = 0; r < m.rows; ++r) {
    const uint8_t* row = m.data + static_cast<uint64_t>(r) * stride;
    if (fp8) {
      dequantize_fp8_row(row, r, m.cols, m.scales.data(), values.data() + r * m.cols);
    } else {
      dequantize_row(m.type, row, values.data() + r * m.cols, m.cols);
    }
  }
  return PackedWeight::pack_f32(target, m.rows, m.cols, values.data());
}

Status WeightMemory::set_resident(int64_t bytes) {
  if (!bound_) return {};
  room_ = *bound_ - bytes;
  if (room_ >= largest_ || !strict_) return {};
  return error(
      "{}: --weights-memory of {} bytes is too small: what every token needs takes {}, the largest expert's matrix {}; give it "
      "at "
      "least {}",
      where_, *bound_, bytes, largest_, bytes + largest_);
}

void WeightMemory::add(int64_t bytes) {
  all_experts_ += bytes;
  largest_ = std::max(largest_, bytes);
}

ExpertMatrix::ExpertMatrix(MatrixInFile source, std::optional<DType> target, std::shared_ptr<WeightMemory> memory)
    : source_(std::move(source)), target_(target), memory_(std::move(memory)) {
  memory_->add(bytes());
}

ExpertMatrix::~ExpertMatrix() {
  const std::lock_guard lock(memory_->mutex_);
  if (cached_.empty()) return;
  memory_->held_ -= bytes();
  memory_->recent_.erase(place_);
}

int64_t ExpertMatrix::bytes() const { return panel_count(source_.rows) * panel_bytes(type(), source_.cols); }

PackedWeight ExpertMatrix::packed() {
  WeightMemory& m = *memory_;
  const std::lock_guard lock(m.mutex_);
  if (!cached_.empty()) {
    m.recent_.splice(m.recent_.begin(), m.recent_, place_);
    return cached_;
  }
  while (!m.recent_.empty() && m.held_ + bytes() > m.room_) {
    ExpertMatrix& oldest = *m.recent_.back();
    m.held_ -= oldest.bytes();
    oldest.cached_ = {};
    m.recent_.pop_back();
  }
  auto packed = pack_matrix(source_, target_);
  if (!packed.ok()) throw std::bad_alloc();  // its sizes and type were checked when the model was loaded
  if (source_.file) source_.file->release(source_.offset, source_.bytes);
  cached_ = std::move(packed).value();
  m.recent_.push_front(this);
  place_ = m.recent_.begin();
  m.held_ += bytes();
  m.most_ = std::max(m.most_, m.held_);
  return cached_;
}

}  // namespace raison
