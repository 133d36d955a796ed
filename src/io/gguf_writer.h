// Writing GGUF v3.
#pragma once
#include "io/gguf.h"
#include "io/tensor_writer.h"

namespace raison {

// Writes `path`, or, where the tensors take more than max_part_bytes (0: no limit), parts of at most so many bytes of tensors
// each: NAME.gguf becomes NAME-00001-of-0000N.gguf and so on, the first with the metadata.
// The same input gives the same bytes, and reading them gives the same metadata and tensors; only split.no, split.count and
// split.tensors.count, which speak of files, are never taken from the metadata.
// Types: all that GGUF has (data = blocks as GGUF stores them). Shapes: 1 to 4 dimensions, none 0, row-major as everywhere
// here; rows are multiples of the type's block. Each tensor begins at a multiple of general.alignment, 32 if the metadata holds
// none. Metadata's integers and reals are written in the narrowest of u32/u64, i32/i64, f32/f64 that holds the value exactly (for
// arrays: all values).
class GgufWriter final : public TensorWriter {
 public:
  static Result<std::unique_ptr<GgufWriter>> create(const std::string& path, const Metadata& metadata,
                                                    const std::vector<TensorSpec>& tensors, uint64_t max_part_bytes = 0);

 private:
  using TensorWriter::TensorWriter;
};

// What GgufWriter will write.
Result<WritePlan> plan_gguf(const std::string& path, const Metadata& metadata, const std::vector<TensorSpec>& tensors,
                            uint64_t max_part_bytes = 0);

// The same of tensors that are whole in memory.
Status write_gguf(const std::string& path, const Metadata& metadata, const std::vector<TensorToWrite>& tensors);

}  // namespace raison
