// TensorWriter: writes files of tensors from front to back, in chunks of any size, without ever holding a tensor.
#pragma once
#include <memory>

#include "io/tensor_source.h"

namespace raison {

// A file to be written: its header, then the bytes of each tensor, each padded with zeros to a multiple of `alignment`.
struct FilePlan {
  struct Piece {
    std::string name;
    uint64_t bytes;
  };
  std::string path, header;
  std::vector<Piece> tensors;
  uint64_t alignment = 1;
  uint64_t bytes() const;  // the whole file's; saturates
};

// One file, or the files of a model in parts and, if `index_path` is not empty, the text of their index, written last.
struct WritePlan {
  std::vector<FilePlan> files;
  std::string index_path, index;
  uint64_t bytes() const;
};

// Consecutive ranges [first, second) of at most `max_bytes` each, as few as their order allows; a tensor that is larger has a
// range of its own. 0: no limit. At least one range.
std::vector<std::pair<size_t, size_t>> ranges_within(const std::vector<FilePlan::Piece>& tensors, uint64_t max_bytes);

// Bytes of a tensor; an error names `path` and the tensor if its shape is impossible.
Result<uint64_t> tensor_bytes(const std::string& path, const TensorSpec& tensor);

// Each file appears under its name only when it is whole and synced (base/file.h); one file replaces what had its name, several
// must find their names free. That all have room is checked before anything is written. Destroyed before finish() has succeeded,
// a writer removes whatever it wrote.
class TensorWriter {
 public:
  virtual ~TensorWriter();
  TensorWriter(const TensorWriter&) = delete;
  TensorWriter& operator=(const TensorWriter&) = delete;

  // The next bytes of the tensors' data: tensor after tensor in the plan's order, without padding. A chunk may end anywhere,
  // also in a later tensor than it begins in. After an error every later call gives the same error.
  Status append(const void* data, size_t bytes);
  // Error if a tensor lacks bytes.
  Status finish();
  const WritePlan& plan() const { return plan_; }

 protected:
  explicit TensorWriter(WritePlan plan) : plan_(std::move(plan)) {}
  Status begin();

 private:
  Status open_file();
  Status write(const void* data, size_t bytes);
  Status end_tensor();
  Status end_full_tensors();
  Status end_file();
  Status fail(Status s);

  WritePlan plan_;
  std::unique_ptr<AtomicFile> out_;
  size_t file_ = 0, tensor_ = 0;  // tensor_: in the file
  uint64_t done_ = 0;             // bytes of that tensor
  std::vector<std::string> written_;
  Status failed_;
  bool finished_ = false;
};

// A tensor to be written that is whole in memory.
struct TensorToWrite {
  std::string name;
  DType type;
  std::vector<int64_t> shape;
  const void* data;  // row-major, shape x type bytes
};

std::vector<TensorSpec> specs_of(const std::vector<TensorToWrite>& tensors);
// Appends all of them and finishes.
Status write_all(TensorWriter& writer, const std::vector<TensorToWrite>& tensors);

}  // namespace raison
