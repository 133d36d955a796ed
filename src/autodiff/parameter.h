// Parameter: a named leaf: a matrix in panels, or a vector. ParameterStore owns those of a model.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "tensor/packed.h"

namespace raison {

// Where a matrix comes from that is packed when it is first asked for, and may be evicted and packed again (the same bits).
class MatrixSource {
 public:
  virtual ~MatrixSource() = default;
  // The matrix, kept alive by what is returned. Throws std::bad_alloc only.
  virtual PackedWeight packed() = 0;
  virtual DType type() const = 0;
};

struct Parameter {
  std::string name;                      // as in the HF checkpoint
  std::vector<int64_t> shape;            // [rows, cols] or [n]
  PackedWeight matrix;                   // set if 2-D and resident
  std::shared_ptr<MatrixSource> source;  // set if 2-D and packed on demand: never trainable
  std::vector<float> vector;             // set if 1-D
  bool trainable = false;                // then matrix is F32: the compute copy is the master
  int32_t index = -1;                    // in its store

  bool is_matrix() const { return shape.size() == 2; }
  // The matrix for as long as the caller holds it.
  PackedWeight packed() const { return source ? source->packed() : matrix; }
  DType matrix_type() const { return source ? source->type() : matrix.type(); }
  // Values the optimiser sees (panels with their zero padding, or the vector).
  float* values() { return is_matrix() ? matrix.f32_panels() : vector.data(); }
  const float* values() const { return is_matrix() ? matrix.f32_panels() : vector.data(); }
  int64_t value_count() const { return is_matrix() ? matrix.f32_panel_floats() : static_cast<int64_t>(vector.size()); }
  int64_t element_count() const { return is_matrix() ? shape[0] * shape[1] : shape[0]; }
  // Row-major fp32, for writing and comparing.
  std::vector<float> to_row_major() const;
  std::vector<float> to_row_major(const float* values) const;  // gradients or moments laid out like values()
  void from_row_major(const float* row_major, float* values) const;
};

class ParameterStore {
 public:
  Parameter& add(Parameter p);  // name must be new
  const std::vector<std::unique_ptr<Parameter>>& all() const { return parameters_; }
  Parameter* find(const std::string& name);
  const Parameter* find(const std::string& name) const;
  int64_t element_count() const;
  int64_t bytes() const;  // of the resident compute copies
  // Counts updates: whatever was computed under an older version (cached pages, logprobs) is stale.
  uint64_t version = 0;

 private:
  std::vector<std::unique_ptr<Parameter>> parameters_;
  std::unordered_map<std::string, int32_t> index_;
};

// Gradients, laid out like Parameter::values(). Each micro-batch's gradient is summed alone (`micro`), then added to the
// total in order, so R ranks equal R accumulated micro-batches.
class GradientStore {
 public:
  explicit GradientStore(const ParameterStore& store);
  bool wanted(const Parameter& p) const { return p.trainable; }
  // The micro-batch's buffer of p; a parameter of another store is a programming error (std::logic_error). `fresh` says whether nothing was summed into it yet (its contents are then undefined).
  float* micro(const Parameter& p, bool* fresh);
  float* micro_zeroed(const Parameter& p);  // the same, zeroed if fresh
  void finish_micro_batch();                // total += micro, parameter by parameter
  float* total(const Parameter& p) { return entries_[static_cast<size_t>(p.index)].total.data(); }
  bool has_total(const Parameter& p) const { return entries_[static_cast<size_t>(p.index)].has_total; }
  void clear();  // forgets the totals

 private:
  struct Entry {
    const Parameter* parameter = nullptr;
    std::vector<float> micro, total;
    bool fresh = true, has_total = false;
  };
  std::vector<Entry> entries_;
};

}  // namespace raison
