// WeightMemory: how much memory packed weights may hold. Experts are packed when a token first needs them; where they would not
// all fit, those that were needed longest ago are evicted and, when needed again, packed again from the file: the same bits.
#pragma once
#include <list>
#include <mutex>
#include <optional>

#include "autodiff/parameter.h"
#include "io/tensor_source.h"

namespace raison {

class ExpertMatrix;

class WeightMemory {
 public:
  // Bytes for all packed weights; none: no bound. Not strict: what is resident may go beyond it.
  // `where`: the model's path, for errors.
  explicit WeightMemory(std::optional<int64_t> bound, bool strict = true, std::string where = "")
      : bound_(bound), strict_(strict), where_(std::move(where)) {}
  // Tells what is packed for good, once that is known. Error: the bound leaves no room for a single expert's matrix.
  Status set_resident(int64_t bytes);
  int64_t experts_bytes() const { return all_experts_; }  // if all were packed at once
  int64_t most_held() const { return most_; }             // the most that experts held at once

 private:
  friend class ExpertMatrix;
  void add(int64_t bytes);
  std::optional<int64_t> bound_;
  bool strict_;
  std::string where_;
  int64_t room_ = INT64_MAX;  // for experts
  int64_t held_ = 0, most_ = 0, all_experts_ = 0, largest_ = 0;
  std::list<ExpertMatrix*> recent_;  // packed ones, the one used last in front
  std::mutex mutex_;
};

// A matrix of an expert, as it lies in a file.
struct MatrixInFile {
  std::shared_ptr<MappedFile> file;
  const uint8_t* data = nullptr;   // rows as files hold them
  uint64_t offset = 0, bytes = 0;  // of data within the file
  DType type = DType::F32;
  int64_t rows = 0, cols = 0;
  std::vector<float> scales;  // F8_E4M3: row-major [ceil(rows/128), ceil(cols/128)]
};
// In panels of its own type, or rounded to `target`. Errors: sizes the type can't have, out of memory.
Result<PackedWeight> pack_matrix(const MatrixInFile& m, std::optional<DType> target);
DType packed_type(const MatrixInFile& m, std::optional<DType> target);

class ExpertMatrix final : public MatrixSource {
 public:
  ExpertMatrix(MatrixInFile source, std::optional<DType> target, std::shared_ptr<WeightMemory> memory);
  ~ExpertMatrix() override;
  ExpertMatrix(const ExpertMatrix&) = delete;
  ExpertMatrix& operator=(const ExpertMatrix&) = delete;
  PackedWeight packed() override;
  DType type() const override { return packed_type(source_, target_); }
  int64_t bytes() const;  // packed

 private:
  friend class WeightMemory;
  MatrixInFile source_;
  std::optional<DType> target_;
  std::shared_ptr<WeightMemory> memory_;
  PackedWeight cached_;
  std::list<ExpertMatrix*>::iterator place_;  // in memory_->recent_ while cached_
};

}  // namespace raison
