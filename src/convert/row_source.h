// RowSource: the rows of a tensor that is to be written, as fp32, made from tensors that lie in files. Nothing is held but what a
// call asks for, so a model of any size is converted in little memory. All are immutable; read() may be called from many threads.
#pragma once
#include <memory>
#include <vector>

#include "io/tensor_source.h"

namespace raison {

class RowSource {
 public:
  explicit RowSource(std::vector<int64_t> shape);
  virtual ~RowSource() = default;
  const std::vector<int64_t>& shape() const { return shape_; }  // row-major, not empty
  int64_t rows() const { return rows_; }                        // product of all but the last
  int64_t cols() const { return shape_.back(); }
  virtual int64_t unit() const { return 1; }  // calls ask for multiples of it: what shares work
  virtual void read(int64_t first, int64_t count, float* out) const = 0;
  // The pages behind these rows are not needed any more.
  virtual void release(int64_t first, int64_t count) const = 0;
  // If the rows are those of a tensor as it lies: that tensor. Its bytes may then be copied.
  virtual const TensorInfo* plain() const { return nullptr; }

 private:
  std::vector<int64_t> shape_;
  int64_t rows_ = 1;
};
using RowSourcePtr = std::shared_ptr<const RowSource>;

// A tensor of a float or block type, or E4M3 with the multipliers `scales` [ceil(rows/128), ceil(cols/128)] (null otherwise).
// Both must outlive the source. Errors: other types, scales of the wrong shape, FP8 without scales.
Result<RowSourcePtr> rows_of(const TensorInfo& tensor, const TensorInfo* scales);
// Numbers in memory.
RowSourcePtr rows_in_memory(std::vector<int64_t> shape, std::vector<float> values);
// Rotary pairs within each of `heads` heads: HF's order (first halves, then second halves) to pairs side by side, or back. Rows
// of a matrix, elements of a vector; their number must be a multiple of 2 * heads.
RowSourcePtr interleave(RowSourcePtr in, int64_t heads);
RowSourcePtr deinterleave(RowSourcePtr in, int64_t heads);
// Matrices of one shape as [n, rows, cols], and one of them again.
RowSourcePtr stack(std::vector<RowSourcePtr> parts);
RowSourcePtr unstack(RowSourcePtr in, int64_t index);
// MLA: of kv_b [heads * (nope + v), rank] the keys' part, transposed: [heads, rank, nope]; the values' part: [heads, v, rank]; and
// kv_b of the two.
RowSourcePtr keys_of_kv_b(RowSourcePtr kv_b, int64_t heads, int64_t nope, int64_t v);
RowSourcePtr values_of_kv_b(RowSourcePtr kv_b, int64_t heads, int64_t nope, int64_t v);
RowSourcePtr join_kv_b(RowSourcePtr keys, RowSourcePtr values);
// The same rows, of which calls may ask for any: those of a unit are then made for each call that wants some of them.
RowSourcePtr any_rows(RowSourcePtr in);

}  // namespace raison
