// Writing tensors of RowSources through a TensorWriter, chunk by chunk: rows are made and rounded in parallel, written in order, and
// the pages behind them released.
#pragma once
#include <functional>

#include "base/exec.h"
#include "convert/row_source.h"
#include "io/tensor_writer.h"

namespace raison {

struct OutputTensor {
  std::string name;
  DType type = DType::F32;  // one that quantize_row makes, or that of rows->plain(), which is then copied
  RowSourcePtr rows;
};

// Called now and then with bytes of output; false stops the work.
using Progress = std::function<bool(uint64_t done, uint64_t total)>;

std::vector<TensorSpec> specs_of(const std::vector<OutputTensor>& tensors);
// The same bytes on any number of threads. Errors name the tensor: NaN or infinities in it, values that the type cannot hold,
// "interrupted".
Status write_tensors(TensorWriter& writer, const std::vector<OutputTensor>& tensors, Exec& exec, const Progress& progress);

}  // namespace raison
