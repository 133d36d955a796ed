#include "convert/stream.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "io/printable.h"
#include "tensor/quantize.h"

namespace raison {
namespace {

constexpr int64_t kChunkFloats = int64_t{8} << 20, kPieceFloats = int64_t{1} << 17;

int64_t rows_for(int64_t floats, const RowSource& rows) {
  const int64_t per_unit = rows.unit() * rows.cols();
  return std::max<int64_t>(1, floats / per_unit) * rows.unit();
}

// A chunk of rows of one tensor, made in pieces.
struct Chunk {
  const OutputTensor* tensor;
  Exec* exec;
  uint64_t row_bytes;
  int64_t first, count, piece;
  uint8_t* out;
  std::atomic<int> trouble{0};  // 1: not finite, 2: too large for the type

  void make(int64_t item, int worker) {
    const RowSource& rows = *tensor->rows;
    const int64_t at = item * piece, n = std::min(piece, count - at), values = n * rows.cols();
    uint8_t* to = out + static_cast<uint64_t>(at) * row_bytes;
    if (const TensorInfo* same = rows.plain(); same != nullptr && same->type == tensor->type) {
      std::memcpy(to, same->data + static_cast<uint64_t>(first + at) * row_bytes, static_cast<uint64_t>(n) * row_bytes);
      return;
    }
    auto* x = static_cast<float*>(exec->scratch(worker, 0, static_cast<size_t>(values) * sizeof(float)));
    rows.read(first + at, n, x);
    float most = 0;
    bool finite = true;
    for (int64_t i = 0; i < values; ++i) {
      finite = finite && std::isfinite(x[i]);
      most = std::fabs(x[i]) > most ? std::fabs(x[i]) : most;
    }
    // All types with an f16 scale or value end near 65504.
    const bool wide = tensor->type == DType::F32 || tensor->type == DType::BF16 || tensor->type == DType::MXFP4;
    if (!finite) {
      trouble = 1;
    } else if (!wide && most > 65504.0f) {
      trouble = 2;
    } else {
      quantize_row(tensor->type, x, to, values);
    }
  }
};

}  // namespace

std::vector<TensorSpec> specs_of(const std::vector<OutputTensor>& tensors) {
  std::vector<TensorSpec> out;
  for (const OutputTensor& t : tensors) out.push_back({t.name, t.type, t.rows->shape()});
  return out;
}

Status write_tensors(TensorWriter& writer, const std::vector<OutputTensor>& tensors, Exec& exec, const Progress& progress) {
  const uint64_t total = writer.plan().bytes();
  uint64_t done = 0;
  std::vector<uint8_t> buffer;
  for (const OutputTensor& t : tensors) {
    const RowSource& rows = *t.rows;
    const auto bytes = row_bytes(t.type, static_cast<uint64_t>(rows.cols()));
    const int64_t step = rows_for(kChunkFloats, rows);
    for (int64_t first = 0; first < rows.rows(); first += step) {
      const int64_t count = std::min(step, rows.rows() - first);
      buffer.resize(static_cast<size_t>(static_cast<uint64_t>(count) * *bytes));
      Chunk chunk{&t, &exec, *bytes, first, count, rows_for(kPieceFloats, rows), buffer.data()};
      exec.run((count + chunk.piece - 1) / chunk.piece,
               [](void* c, int64_t item, int worker) { static_cast<Chunk*>(c)->make(item, worker); }, &chunk);
      if (chunk.trouble == 1) return error("tensor {} holds NaN or infinities; the model is damaged", printable(t.name));
      if (chunk.trouble == 2)
        return error("tensor {} holds values beyond 65504, which {} cannot; choose BF16", printable(t.name),
                     dtype_name(t.type));
      RAISON_RETURN_IF_ERROR(writer.append(buffer.data(), buffer.size()));
      rows.release(first, count);
      done += buffer.size();
      if (progress && !progress(done, total)) return error("interrupted");
    }
  }
  return writer.finish();
}

}  // namespace raison
